/* SPDX-License-Identifier: MIT */
/*
 * A question for credentials, and what every source needs to answer it.
 *
 * It comes as one JSON object:
 *   environment        list of "NAME=value": that of the terraform whose credentials these are
 *   directory          absolute: where that terraform runs; we do, too, so relative paths are right
 *   backend            the S3 backend's: access_key, secret_key, token, profile,
 *                      shared_config_files, shared_credentials_files, assume_role (an object or
 *                      a list), assume_role_with_web_identity, endpoint_sts, endpoint_sso,
 *                      ec2_metadata_service_endpoint, ec2_metadata_service_endpoint_mode,
 *                      skip_metadata_api_check, sts_region; and, with the environment's already
 *                      in them, region, use_fips, use_dualstack, custom_ca_bundle, insecure
 *   proxy              http, https, no_proxy: as proxy_settings_find() found them
 *   endpoint_sts       where nothing else says where STS is
 *   session_name       of a role's session, where nothing else says one
 *   seconds            for all together, 1 to 60, which it is if it is not said
 * All may be missing or null but environment and directory.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/aws/proxy.h"
#include "common/aws_profile.h"
#include "common/backend_parts.h"
#include "common/cleanup.h"
#include "common/secret.h"

#define ASK_QUESTION_MAX ((size_t)16 * 1024 * 1024) /* bytes; an environment may have that much */
#define ASK_FILE_MAX     1048576                    /* bytes of a shared file, a token or a cache */
#define ASK_SECONDS      60                         /* for everything together, at most */

struct ask {
	json_t *question;      /* with secrets */
	const json_t *backend; /* lent; NULL: nothing said */
	char **env;            /* lent texts, NULL-ended */
	const char *session_name;
	struct profiles *profiles; /* NULL until ask_load_profiles() */
	char *unread;        /* a shared file that is there and could not be read; NULL: none */
	const char *profile; /* the one that counts for endpoints and the like; NULL: none */
	struct proxy_settings proxy;
	uint64_t seconds;       /* for everything */
	uint64_t deadline_usec; /* by the monotonic clock */
	bool has_strays; /* a process of somebody's had to be killed: its children may live on */
	char *error;     /* the sentence of the last failure */
};

/* What was found. All strings are the struct's own; NULL: none. */
struct keys {
	char *access_key, *secret_key, *token;
	char *source;          /* for people */
	uint64_t expires_usec; /* since 1970; 0: never, or not known */
	bool can_refresh;
};
void keys_clear(struct keys *keys); /* wipes */

/* Set *@keys, which is empty; any of the texts may be NULL. Return: 0 or -ENOMEM. */
int keys_set(struct keys *keys, const char *access_key, const char *secret_key, const char *token);

/* Microseconds of the real, and of the monotonic clock. */
uint64_t ask_now(void);
uint64_t ask_clock(void);

/*
 * Understand @text (not kept) and go to its directory. Return: 0; -EINVAL, -ENOENT and the like
 * with (*@ret)->error set; -ENOMEM without @ret.
 */
int ask_new(struct ask **ret, const char *text, size_t len);
struct ask *ask_free(struct ask *ask); /* wipes */
DEFINE_FREEP(ask);

/* Set the sentence for the user, in place of an earlier one. Return: @error. */
int ask_fail(struct ask *ask, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The backend's member as a text, or a variable of the environment; NULL if not set, or empty. */
const char *ask_text(const struct ask *ask, const char *member);
const char *ask_env(const struct ask *ask, const char *name);

/* The backend's member if it is true or false, else whether @env_name (may be NULL) is set. */
bool ask_bool(const struct ask *ask, const char *member, const char *env_name);

/* A key of the profile that counts, shared files being read at first need; NULL if not set. */
const char *ask_profile_text(const struct ask *ask, const char *key);

/* Read the shared files, once; what cannot be read is passed over. Return: 0 or -ENOMEM. */
int ask_load_profiles(struct ask *ask);

/*
 * The text of a regular file of at most ASK_FILE_MAX bytes, the caller's to wipe and free. Never
 * blocks on a FIFO. Return: 0; -ENOENT and others of open(2), -EFBIG, -EINVAL for no regular file
 * or a NUL in it, -ENOMEM. Sets no sentence.
 */
int ask_read_file(char **ret, const char *path);

/*
 * The URL at which @service ("STS", "SSO", "SSO_OIDC") is to be asked, from the backend's @member
 * (may be NULL), the environment and the profile; NULL: AWS's own. Lent.
 */
const char *ask_endpoint(const struct ask *ask, const char *member, const char *service);
