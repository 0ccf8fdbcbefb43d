/* SPDX-License-Identifier: MIT */
#include "daemon/aws/credentials.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/env.h"

/* The SDK takes the second names too (aws-sdk-go-v2 config/env_config.go); an ID without a secret
 * is none. */
static bool from_env(struct credentials *ret, char *const *env, const char *source)
{
	const char *access_key = env_get_filled(env, "AWS_ACCESS_KEY_ID");
	const char *secret_key = env_get_filled(env, "AWS_SECRET_ACCESS_KEY");

	if (!access_key)
		access_key = env_get_filled(env, "AWS_ACCESS_KEY");
	if (!secret_key)
		secret_key = env_get_filled(env, "AWS_SECRET_KEY");
	if (!access_key || !secret_key)
		return false;
	*ret = (struct credentials){
		.access_key = access_key,
		.secret_key = secret_key,
		.token = env_get_filled(env, "AWS_SESSION_TOKEN"),
		.source = source,
	};
	return true;
}

int credentials_find(struct credentials *ret, const struct backend *backend, char *const *job_env,
		     char *const *daemon_env, enum config_credentials mode, const char **ret_why)
{
	if (mode == CONFIG_CREDENTIALS_DAEMON) {
		*ret_why = "tfqd's own environment has no credentials";
		return from_env(ret, daemon_env, "tfqd's environment") ? 0 : -ENOKEY;
	}
	if (backend->has_assume_role) {
		*ret_why = "the backend assumes a role";
		return -ENOKEY;
	}
	if (backend->access_key && backend->secret_key) {
		*ret = (struct credentials){
			.access_key = backend->access_key,
			.secret_key = backend->secret_key,
			.token = backend->token,
			.source = "backend block",
		};
		return 0;
	}
	if (backend->access_key || backend->secret_key || backend->token) {
		*ret_why = "the backend block has half of a static credential";
		return -ENOKEY;
	}
	if (backend->profile) {
		*ret_why = "the backend names a profile";
		return -ENOKEY;
	}
	if (from_env(ret, job_env, "environment"))
		return 0;
	*ret_why = "the credentials come from a profile or a role";
	return -ENOKEY;
}
