/* SPDX-License-Identifier: MIT */
/* What the daemon told a runner to run, checked against the disk as the job's user. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "runner/terminal.h"

#define SPEC_EXIT_FAILED    125 /* docker's and timeout's codes: could not be run by us, */
#define SPEC_EXIT_NOT_EXEC  126 /* is not executable, */
#define SPEC_EXIT_NOT_FOUND 127 /* is not there */

struct spec {
	char **argv; /* the user's */
	char **env;  /* the user's, with TFQ_JOB */
	char *directory, *state_directory, *identity, *lock_timeout, *binary, *client;
	char *endpoint_dynamodb; /* of its lock, if that is in a table of no AWS; NULL: AWS's own */
	char *journal; /* the name of the state, if what it prints is to go into the journal; NULL
			*/
	mode_t umask;
	bool hold_lock;
	bool is_plan; /* the state is the one that a saved plan names */
	bool has_stdin;
	bool has_terminal; /* terraform gets one, of this size; then it has no other stdin */
	struct terminal_size size;
	uint64_t approval_usec; /* patience with a question that nobody can answer; 0: endless */
};

/* Read it from the daemon's order. Return: 0, -EBADMSG or -ENOMEM. */
int spec_parse(struct spec **ret, const json_t *object, uint64_t job);
struct spec *spec_free(struct spec *spec);
DEFINE_FREEP(spec);

/*
 * Find terraform and write the command line that runs it, by @hold_lock with -lock=false.
 * Return: 0 and *@ret_program, *@ret_argv (tfargs_strv_free()); or the exit code that says
 * what is wrong, with a sentence for the user in *@ret_error.
 */
int spec_command(const struct spec *spec, bool hold_lock, char **ret_program, char ***ret_argv,
		 char **ret_error);

/*
 * Does the directory, or the saved plan, still work on the state whose lock is held?
 * Return: 0, or the exit code, with a sentence in *@ret_error.
 */
int spec_check_state(const struct spec *spec, char **ret_error);
