/* SPDX-License-Identifier: MIT */
/*
 * Who holds the lock of a state? Of one that jobs of this daemon work on it is known; for a
 * directory it is asked of the stores, with the credentials of who asks.
 */
#pragma once

#include <jansson.h>

#include "common/cleanup.h"
#include "daemon/scheduler.h"

struct inquiry;

/*
 * The answer, stolen by the callee; or NULL and why, which is valid as long as the inquiry. From
 * the loop; may free the inquiry.
 */
typedef void (*inquiry_done_fn)(json_t *answer, const char *error, void *userdata);

/*
 * Ask for the state of @job, which is taken, also on failure: a job made by submit_parse_state().
 * Return: 0, and @done is called once, later; -ENOMEM or another negative errno.
 */
int inquiry_new(struct inquiry **ret, struct scheduler *scheduler, struct job *job,
		inquiry_done_fn done, void *userdata);
struct inquiry *inquiry_free(struct inquiry *inquiry);
DEFINE_FREEP(inquiry);

/*
 * What is known of the line of @state (its name or identity) without asking. Return: a new object,
 * or NULL if no line of that name is known.
 */
json_t *inquiry_known(const struct scheduler *scheduler, const char *state);
