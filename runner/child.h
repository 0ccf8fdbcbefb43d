/* SPDX-License-Identifier: MIT */
/*
 * terraform as a process: forked and made ready ahead of its turn, so that all that is left
 * then is one exec. In its own process group, so that a signal for one is not one for all; on a
 * terminal also in its own session.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "runner/terminal.h"

struct child_spec {
	const char *program;
	char *const *argv;
	char *const *env;
	const char *directory;
	mode_t umask;
	int stdin_fd;                         /* borrowed; -1: a pipe, child::in */
	const struct terminal_size *terminal; /* of this size, for all three; NULL: none, pipes */
	const struct rlimit *nofile;          /* its RLIMIT_NOFILE; NULL: as ours */
};

struct child {
	pid_t pid;
	int out, err; /* non-blocking, to read what it prints; -1: closed, or on a terminal err */
	int in;       /* non-blocking, to write to its stdin; -1: none */
	int slave;    /* the terminal's other end: open so that its output ends with the last
			 process, not with the last that happens to have it open; -1: none */
	int go, exec_error;
	uint64_t *called_usec; /* memory that it shares; NULL: none */
	uint64_t exec_usec;    /* when it called execve(2), CLOCK_MONOTONIC; since child_go() */
};

/* Fork it; it waits. Return: 0 or a negative errno (chdir(2)'s too). */
int child_prepare(struct child *ret, const struct child_spec *spec);

/*
 * Let it go. @until_usec: CLOCK_BOOTTIME; it does not begin then or later, and dies with this
 * process (not if its program is set-user-ID: execve(2) clears that); 0: neither.
 * Return: 0 once it has become @spec's program; -ETIME if it was too late; -EPIPE if it had died
 * before; or execve(2)'s negative errno. After an error it is to be reaped.
 */
int child_go(struct child *child, uint64_t until_usec);

/* Close what is open to it. A child that still waits ends by that. */
void child_close(struct child *child);
