/* SPDX-License-Identifier: MIT */
/* Starts runners as the users whose jobs they run. */
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include "daemon/job.h"

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
