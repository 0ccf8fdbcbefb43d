/* SPDX-License-Identifier: MIT */
/* What a command that is to be queued is about: where, and on which terraform state. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "common/backend.h"
#include "common/tfargs.h"

struct subject {
	char *cwd; /* where it was typed */
	struct backend_source *source;
	bool is_plan; /* a saved plan has told the source, and not the directory */
};

/*
 * Find out for the command line that @args were read from, with our own environment and
 * directory. A saved plan of which only terraform can tell leaves the directory's state,
 * and a note on stderr.
 *
 * Return: 0; what backend_source_read(), plan_source_read() and backend_parse() return, or
 * the negative errno of a directory that cannot be entered. *@ret_error as there. @ret is to
 * be cleared in any case.
 */
int subject_find(struct subject *ret, const struct tfargs *args, char **ret_error);

void subject_clear(struct subject *subject);

/*
 * The parameters by which tfqd is told of a state: state_directory, backend, profile_endpoints,
 * workspace and our environment. Variables that are no valid UTF-8 are left out, with a note on
 * stderr. Return: a new object, or NULL when out of memory.
 */
json_t *subject_json(const struct backend_source *source);
