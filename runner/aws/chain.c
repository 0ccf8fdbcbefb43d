/* SPDX-License-Identifier: MIT */
#include "runner/aws/chain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws_files.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/timestamp.h"
#include "runner/aws/sources.h"

#define SOURCES_MAX  16 /* profiles that lead from one to the next */
#define DURATION_MAX UINT64_C(43200)
#define ROLES_MAX    16

/* The profiles on the way to the keys. */
struct walk {
	const char *names[SOURCES_MAX];
	size_t count;
};

/* --- the environment ------------------------------------------------------------------------- */

static bool env_has_keys(const struct ask *ask)
{
	return (ask_env(ask, "AWS_ACCESS_KEY_ID") || ask_env(ask, "AWS_ACCESS_KEY")) &&
	       (ask_env(ask, "AWS_SECRET_ACCESS_KEY") || ask_env(ask, "AWS_SECRET_KEY"));
}

static int from_env(struct keys *keys, const struct ask *ask)
{
	const char *access_key = ask_env(ask, "AWS_ACCESS_KEY_ID");
	const char *secret_key = ask_env(ask, "AWS_SECRET_ACCESS_KEY");
	const char *until = ask_env(ask, "AWS_CREDENTIAL_EXPIRATION");
	int r;

	r = keys_set(keys, access_key ? access_key : ask_env(ask, "AWS_ACCESS_KEY"),
		     secret_key ? secret_key : ask_env(ask, "AWS_SECRET_KEY"),
		     ask_env(ask, "AWS_SESSION_TOKEN"));
	if (r < 0)
		return r;
	if (until)
		(void)timestamp_parse(until, &keys->expires_usec);
	return text_replace(&keys->source, "environment");
}

static int from_env_web_identity(struct keys *keys, struct ask *ask)
{
	const struct sts_role role = {
		.arn = ask_env(ask, "AWS_ROLE_ARN"),
		.session_name = ask_env(ask, "AWS_ROLE_SESSION_NAME"),
	};

	return sts_web_identity(keys, ask, &role, NULL,
				ask_env(ask, "AWS_WEB_IDENTITY_TOKEN_FILE"));
}

/* --- profiles -------------------------------------------------------------------------------- */

static const char *get(const struct ask *ask, const char *profile, const char *key)
{
	return profiles_get(ask->profiles, PROFILE_PROFILE, profile, key);
}

static bool has_static(const struct ask *ask, const char *profile)
{
	return get(ask, profile, "aws_access_key_id") && get(ask, profile, "aws_secret_access_key");
}

static int from_static(struct keys *keys, struct ask *ask, const char *profile)
{
	int r;

	r = keys_set(keys, get(ask, profile, "aws_access_key_id"),
		     get(ask, profile, "aws_secret_access_key"),
		     get(ask, profile, "aws_session_token"));
	if (r < 0)
		return r;
	keys->can_refresh = true; /* other tools write new ones into the file */
	if (asprintf(&keys->source, "profile %s", profile) < 0) {
		keys->source = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* What has no name of its own: the machine that we run on. */
static int from_machine(struct keys *keys, struct ask *ask, const char *profile)
{
	AUTO_FREE char *tried = NULL;

	if (container_is_there(ask))
		return container_find(keys, ask);
	if (asprintf(&tried, "neither the backend block nor the environment nor profile %s%s%s%s",
		     profile, ask->unread ? " (" : "", ask->unread ? ask->unread : "",
		     ask->unread ? " cannot be read)" : "") < 0) {
		tried = NULL;
		return -ENOMEM;
	}
	return instance_find(keys, ask, tried);
}

static int from_named_source(struct keys *keys, struct ask *ask, const char *profile,
			     const char *source)
{
	if (strcmp(source, "Environment") == 0) {
		if (!env_has_keys(ask)) {
			return ask_fail(ask, -ENOKEY,
					"Profile %s takes its credentials from the environment, "
					"which has none: set AWS_ACCESS_KEY_ID and "
					"AWS_SECRET_ACCESS_KEY.",
					profile);
		}
		return from_env(keys, ask);
	}
	if (strcmp(source, "EcsContainer") == 0) {
		if (!container_is_there(ask)) {
			return ask_fail(ask, -ENOKEY,
					"Profile %s takes its credentials from the container, but "
					"there is no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or "
					"_FULL_URI.",
					profile);
		}
		return container_find(keys, ask);
	}
	if (strcmp(source, "Ec2InstanceMetadata") == 0)
		return instance_find(keys, ask, "the profile's credential_source");
	return ask_fail(ask, -EINVAL,
			"Profile %s has an unknown credential_source: it must be Environment, "
			"Ec2InstanceMetadata or EcsContainer.",
			profile);
}

static int check_profile(struct ask *ask, const char *profile)
{
	const char *source = get(ask, profile, "source_profile");
	const char *named = get(ask, profile, "credential_source");
	const char *web = get(ask, profile, "web_identity_token_file");

	if (!!source + !!named + !!web > 1) {
		return ask_fail(
			ask, -EINVAL,
			"Profile %s must have only one of source_profile, credential_source "
			"and web_identity_token_file.",
			profile);
	}
	if ((source || named || web) && !get(ask, profile, "role_arn")) {
		return ask_fail(ask, -EINVAL,
				"Profile %s has %s but no role_arn: add the role that is to be "
				"assumed.",
				profile,
				source  ? "source_profile"
				: named ? "credential_source"
					: "web_identity_token_file");
	}
	return 0;
}

static int assume_by_profile(struct keys *keys, struct ask *ask, const char *profile)
{
	CLEANUP(keys_clear) struct keys base = *keys;
	const char *duration = get(ask, profile, "duration_seconds");
	struct sts_role role = {
		.arn = get(ask, profile, "role_arn"),
		.session_name = get(ask, profile, "role_session_name"),
		.external_id = get(ask, profile, "external_id"),
	};

	*keys = (struct keys){ 0 };
	if (duration && parse_u64(duration, DURATION_MAX, &role.duration_seconds) < 0) {
		return ask_fail(ask, -EINVAL,
				"duration_seconds of profile %s must be a number, 43200 at most.",
				profile);
	}
	return sts_assume(keys, ask, &role, &base);
}

static int from_profile(struct keys *keys, struct ask *ask, const char *profile, struct walk *walk);

/* Once round: a profile may be its own source if it has keys, but that is all. */
static int from_source(struct keys *keys, struct ask *ask, const char *profile, struct walk *walk)
{
	const char *source = get(ask, profile, "source_profile");

	for (size_t i = 0; i < walk->count; i++) {
		if (strcmp(walk->names[i], source) != 0)
			continue;
		if (i + 1 == walk->count && has_static(ask, source))
			return from_static(keys, ask, source);
		return ask_fail(
			ask, -ELOOP,
			"Profile %s leads back to itself by source_profile: one of them must "
			"have credentials of its own.",
			source);
	}
	if (!profiles_has(ask->profiles, PROFILE_PROFILE, source)) {
		return ask_fail(ask, -ENOENT,
				"Profile %s names the source_profile %s, but there is no such "
				"profile in ~/.aws/config or ~/.aws/credentials.",
				profile, source);
	}
	if (walk->count == SOURCES_MAX)
		return ask_fail(ask, -ELOOP, "Too many profiles lead from one to the next.");
	return from_profile(keys, ask, source, walk);
}

/* What the profile's own settings give, before its role. */
static int from_settings(struct keys *keys, struct ask *ask, const char *profile, struct walk *walk)
{
	const char *named = get(ask, profile, "credential_source");
	const char *command = get(ask, profile, "credential_process");

	if (get(ask, profile, "source_profile"))
		return from_source(keys, ask, profile, walk);
	if (has_static(ask, profile))
		return from_static(keys, ask, profile);
	if (named)
		return from_named_source(keys, ask, profile, named);
	if (get(ask, profile, "sso_session") || get(ask, profile, "sso_start_url"))
		return sso_find(keys, ask, profile);
	if (get(ask, profile, "login_session")) {
		return ask_fail(
			ask, -EOPNOTSUPP,
			"Profile %s signs in by aws login, which tfqd cannot ask. Add a "
			"profile with credential_process = aws configure export-credentials "
			"--profile %s --format process, and use that.",
			profile, profile);
	}
	if (command)
		return command_find(keys, ask, profile, command);
	return from_machine(keys, ask, profile);
}

static int from_profile(struct keys *keys, struct ask *ask, const char *profile, struct walk *walk)
{
	const char *web = get(ask, profile, "web_identity_token_file");
	const char *role_arn = get(ask, profile, "role_arn");
	int r;

	walk->names[walk->count++] = profile;
	r = check_profile(ask, profile);
	if (r < 0)
		return r;
	if (role_arn && get(ask, profile, "mfa_serial")) {
		return ask_fail(ask, -EOPNOTSUPP,
				"Profile %s asks for a code of an MFA device (mfa_serial), which "
				"nobody can be asked for here. Use SSO, or a credential_process.",
				profile);
	}
	if (web && !has_static(ask, profile)) {
		const struct sts_role role = {
			.arn = role_arn,
			.session_name = get(ask, profile, "role_session_name"),
		};

		return sts_web_identity(keys, ask, &role, NULL, web);
	}
	r = from_settings(keys, ask, profile, walk);
	return r < 0 || !role_arn ? r : assume_by_profile(keys, ask, profile);
}

static int from_first_profile(struct keys *keys, struct ask *ask, bool is_named)
{
	struct walk walk = { 0 };

	if (is_named && !profiles_has(ask->profiles, PROFILE_PROFILE, ask->profile)) {
		return ask_fail(
			ask, -ENOENT,
			"There is no AWS profile %s in ~/.aws/config or ~/.aws/credentials "
			"(or the files named in their place)%s%s%s: correct AWS_PROFILE, or "
			"profile in the backend block.",
			ask->profile, ask->unread ? "; " : "", ask->unread ? ask->unread : "",
			ask->unread ? " cannot be read" : "");
	}
	return from_profile(keys, ask, ask->profile, &walk);
}

/* --- the backend block ----------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value && *value ? value : NULL;
}

int chain_parse_duration(const char *text, uint64_t *ret_seconds)
{
	uint64_t sum = 0;

	do {
		char *end;
		uint64_t value;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = strtoull(text, &end, 10);
		if (value > DURATION_MAX)
			return -EINVAL;
		if (*end == 'h')
			sum += value * 3600;
		else if (*end == 'm')
			sum += value * 60;
		else if (*end == 's' || *end == '\0')
			sum += value;
		else
			return -EINVAL;
		text = end + (*end != '\0');
	} while (*text);
	if (sum > DURATION_MAX)
		return -EINVAL;
	*ret_seconds = sum;
	return 0;
}

static int read_role(struct sts_role *ret, struct ask *ask, const json_t *block)
{
	const char *duration = text_of(block, "duration");

	*ret = (struct sts_role){
		.arn = text_of(block, "role_arn"),
		.session_name = text_of(block, "session_name"),
		.external_id = text_of(block, "external_id"),
		.policy = text_of(block, "policy"),
		.source_identity = text_of(block, "source_identity"),
		.policy_arns = json_object_get(block, "policy_arns"),
		.tags = json_object_get(block, "tags"),
		.transitive_tag_keys = json_object_get(block, "transitive_tag_keys"),
	};
	if (duration && chain_parse_duration(duration, &ret->duration_seconds) < 0) {
		return ask_fail(ask, -EINVAL,
				"The duration of a role in the backend block must be a time like "
				"\"1h\", \"12h\" at most.");
	}
	return 0;
}

static int from_block_web_identity(struct keys *keys, struct ask *ask, const json_t *block)
{
	const char *file = text_of(block, "web_identity_token_file");
	struct sts_role role;
	int r;

	r = read_role(&role, ask, block);
	if (r < 0)
		return r;
	if (!role.arn)
		role.arn = ask_env(ask, "AWS_ROLE_ARN");
	if (!role.session_name)
		role.session_name = ask_env(ask, "AWS_ROLE_SESSION_NAME");
	return sts_web_identity(keys, ask, &role, text_of(block, "web_identity_token"),
				file ? file : ask_env(ask, "AWS_WEB_IDENTITY_TOKEN_FILE"));
}

static int from_block_static(struct keys *keys, struct ask *ask)
{
	const char *access_key = ask_text(ask, "access_key");
	const char *secret_key = ask_text(ask, "secret_key");
	int r;

	if (!access_key || !secret_key) {
		return ask_fail(
			ask, -EINVAL,
			"The backend block has half of a static credential: give access_key "
			"and secret_key, or none of them, then run terraform init "
			"-reconfigure.");
	}
	r = keys_set(keys, access_key, secret_key, ask_text(ask, "token"));
	return r < 0 ? r : text_replace(&keys->source, "backend block");
}

/* --- all ------------------------------------------------------------------------------------- */

static int from_sdk(struct keys *keys, struct ask *ask)
{
	const json_t *web = json_object_get(ask->backend, "assume_role_with_web_identity");
	const bool is_asked = ask_text(ask, "profile");

	if (json_is_object(web))
		return from_block_web_identity(keys, ask, web);
	if (!is_asked && env_has_keys(ask))
		return from_env(keys, ask);
	if (!is_asked && ask_env(ask, "AWS_WEB_IDENTITY_TOKEN_FILE"))
		return from_env_web_identity(keys, ask);
	return from_first_profile(keys, ask, aws_files_profile(ask->backend, ask->env));
}

/* One role after the other, each taken with the keys of the one before. */
static int assume_roles(struct keys *keys, struct ask *ask)
{
	json_t *list = json_object_get(ask->backend, "assume_role");
	const bool is_one = json_is_object(list);
	const size_t count = is_one ? 1 : json_array_size(list);

	for (size_t i = 0; i < count && i < ROLES_MAX; i++) {
		CLEANUP(keys_clear) struct keys base = *keys;
		struct sts_role role;
		int r;

		*keys = (struct keys){ 0 };
		r = read_role(&role, ask, is_one ? list : json_array_get(list, i));
		if (r == 0)
			r = sts_assume(keys, ask, &role, &base);
		if (r < 0)
			return r;
	}
	return 0;
}

int chain_find(struct keys *keys, struct ask *ask)
{
	int r;

	r = ask_load_profiles(ask);
	if (r < 0)
		return r;
	/* What it says of endpoints counts whatever the keys come from. */
	ask->profile = aws_files_profile(ask->backend, ask->env) ?: "default";
	if (ask_text(ask, "access_key") || ask_text(ask, "secret_key") || ask_text(ask, "token"))
		r = from_block_static(keys, ask);
	else
		r = from_sdk(keys, ask);
	return r < 0 ? r : assume_roles(keys, ask);
}
