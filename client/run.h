/* SPDX-License-Identifier: MIT */
/* A terraform command, queued: submitted, waited for, watched, its exit code passed on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/keys.h"

struct run_options {
	const char *label, *reason, *priority; /* NULL: none */
	uint64_t wait_timeout_usec;            /* 0: none */
	bool detach, no_wait, quiet, json;
	bool supersede; /* own jobs that wait there to do the same leave the queue */
};

/* Queue terraform's command line @argv, NULL-ended, without the program's name. Return: the exit
 * code. */
int run_queued(char *const *argv, const struct run_options *options);

/* Become the real terraform with @argv as it is. Return: the exit code if there is none. */
int run_terraform(char *const *argv);

/* Watch job @id, from the start of its output; what is typed goes to it, unless @has_input is
 * false. Return: the job's exit code, or an own one. */
int run_attached(uint64_t id, bool has_input, const struct keys *keys);

/* What of the recording to show. */
struct run_logs_options {
	uint64_t since_usec; /* 0: from its start */
	uint64_t lines;      /* UINT64_MAX: all */
	bool timestamps, follow;
};

/* Show the output of job @id. Return: the exit code: 0 however the job ended. */
int run_logs(uint64_t id, const struct run_logs_options *options);

/* Wait until job @id is over; say how only if it did not end well. @deadline_usec: of
 * CLOCK_MONOTONIC, 0: none. Return: its exit code, or an own one. */
int run_wait(uint64_t id, uint64_t deadline_usec);
