/* SPDX-License-Identifier: MIT */
/* Submit's parameters to a job: everything checked, nothing believed that the kernel can say. */
#pragma once

#include <jansson.h>

#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/peer.h"

/*
 * Make the job that @peer asks for with @parameters and the descriptors that came
 * with them.
 *
 * Return: 0; -EBADMSG for parameters of a wrong kind or over a limit; -EPROTO for another
 * version of the protocol; -EINVAL for a command line that cannot be run under a lock;
 * -ENXIO for a state that cannot be told or has no lock; -ENOMEM. *@ret_error is a sentence
 * for the user, the caller's to free.
 */
int submit_parse(struct job **ret, const json_t *parameters, struct peer *peer,
		 const struct config *config, char **ret_error);

/*
 * Of the same parameters only what says which state, and whose credentials: for a job that is
 * not to be run (job::is_inquiry). Return: as above.
 */
int submit_parse_state(struct job **ret, const json_t *parameters, struct peer *peer,
		       const struct config *config, char **ret_error);
