/* SPDX-License-Identifier: MIT */
/* Submit's parameters to a job: everything checked, nothing believed that the kernel can say. */
#pragma once

#include <jansson.h>

#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/peer.h"

/* Who asks, and the descriptors that came with it; NULL: it is a Submit of before a restart. */
struct submit_source {
	const struct job_owner *owner;
	struct varlink *fds;
};

/*
 * Make the job that @source asks for with @parameters.
 *
 * Return: 0; -EBADMSG for parameters of a wrong kind or over a limit; -EPROTO for another
 * version of the protocol; -EINVAL for a command line that cannot be run under a lock;
 * -ENXIO for a state that cannot be told or has no lock; -ENOMEM. *@ret_error is a sentence
 * for the user, the caller's to free.
 */
int submit_parse(struct job **ret, const json_t *parameters, const struct submit_source *source,
		 const struct config *config, char **ret_error);

/*
 * Give @job back what job_reduce() took from it; @parameters are those that it was made of. Return:
 * 0; -EBADMSG or another negative errno if they are not: then it is as it was, and *@ret_error may
 * say more. -ENOMEM.
 */
int submit_parse_again(struct job *job, const json_t *parameters, char **ret_error);

/* Take the next descriptor of @fds, a stream socket to show output on. Return: it, the caller's, or
 * -EBADMSG. */
int submit_take_socket(struct varlink *fds);
/* Take it to be @job's stdin. Return: 0, or -EBADMSG and a sentence. */
int submit_take_stdin(struct job *job, struct varlink *fds, char **ret_error);

/*
 * Of the same parameters only what says which state, and whose credentials: for a job that is
 * not to be run (job::is_inquiry). Return: as above.
 */
int submit_parse_state(struct job **ret, const json_t *parameters, struct peer *peer,
		       const struct config *config, char **ret_error);
