/* SPDX-License-Identifier: MIT */
/* Jobs by the page, over one connection. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "common/varlink.h"

/*
 * Ask for @method with @parameters, which are stolen.
 * Return: 0 and the answer, which may be an error and is the caller's, or a negative errno.
 */
int fetch_answer(struct varlink *varlink, const char *method, json_t *parameters, json_t **ret);

/*
 * Append all pages of @method (List, History) to @jobs; @cursor is the parameter that takes the
 * last one's id. After @enough jobs (0: never) no further page is asked for. @parameters are
 * borrowed, and @cursor is set in them.
 * Return: 0; 1 and an answer that is an error, the caller's, in *@ret; or a negative errno.
 */
struct fetch {
	const char *method, *cursor;
	json_t *parameters;
	size_t enough;
};
int fetch_jobs(struct varlink *varlink, const struct fetch *fetch, json_t *jobs, json_t **ret);

/* The same on a connection of its own. Return: 0, or the exit code; then the user has been told. */
int fetch_or_tell(const struct fetch *fetch, json_t *jobs);
