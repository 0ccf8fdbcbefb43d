/* SPDX-License-Identifier: MIT */
/*
 * Whose AWS credentials a job's lock is taken with: static and environment ones, which are there at
 * once. All others are asked for (identity.h). Pure.
 */
#pragma once

#include "common/backend.h"
#include "daemon/config.h"

/* All lent: from the backend, the job's environment, or the daemon's. */
struct credentials {
	const char *access_key, *secret_key, *token; /* token: NULL if none */
	const char *source; /* static, for people: "backend block", "environment", "tfqd's
			       environment" */
};

/*
 * Find them in terraform's order: the backend block's own; then, unless the block asks for
 * something that must be looked up (a profile, a role), @job_env. @daemon_env only in mode daemon:
 * a job's terraform does not see it, so it would be another identity than terraform's own; in that
 * mode nothing of the backend counts. @mode: credentials = auto|daemon|job.
 *
 * Return: 0; or -ENOKEY, and *@ret_why (static) says in words what the credentials come from:
 * then the helper is asked (identity.h).
 */
int credentials_find(struct credentials *ret, const struct backend *backend, char *const *job_env,
		     char *const *daemon_env, enum config_credentials mode, const char **ret_why);
