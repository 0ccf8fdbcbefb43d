/* SPDX-License-Identifier: MIT */
/* Starts runners as the users whose jobs they run. */
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include "daemon/job.h"

/* A program to be started as somebody. All borrowed for the call. */
struct launcher_program {
	const struct job_owner *owner;
	char *const *argv; /* argv[0] is its path */
	char *const *env;
	int stdin_fd, stdout_fd; /* -1: /dev/null */
	const struct rlimit *nofile;
};

/*
 * Start it as its owner: own session, no signal blocked or ignored, only standard descriptors;
 * stderr is ours if the owner is. The caller reaps it. Return: as launcher_direct_start().
 */
int launcher_direct_spawn(pid_t *ret_pid, const struct launcher_program *program);

/*
 * Start @runner, the path of tfq-runner, for @job as its owner: own session, empty
 * environment, only standard descriptors. It says hello on the socket at @socket.
 * The caller reaps it. @nofile: RLIMIT_NOFILE for it, which the daemon has raised for itself.
 *
 * Return: 0 and *@ret_pid; -EPERM if this process cannot become that user; or what
 * fork(2), setgroups(2), setresuid(2) or execve(2) says.
 */
int launcher_direct_start(pid_t *ret_pid, const struct job *job, const char *runner,
			  const char *socket, const struct rlimit *nofile);
