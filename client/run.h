/* SPDX-License-Identifier: MIT */
/* A terraform command, queued: submitted, waited for, watched, its exit code passed on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct run_options {
	const char *label, *reason, *priority; /* NULL: none */
	uint64_t wait_timeout_usec;            /* 0: none */
	bool detach, no_wait, quiet;
};

/* Queue terraform's command line @argv, NULL-ended, without the program's name. Return: the exit
 * code. */
int run_queued(char *const *argv, const struct run_options *options);

/* Become the real terraform with @argv as it is. Return: the exit code if there is none. */
int run_terraform(char *const *argv);
