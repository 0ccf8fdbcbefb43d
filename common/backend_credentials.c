/* SPDX-License-Identifier: MIT */
/* What of the S3 backend's block leads to its credentials, kept for who asks for them. */
#include "common/backend_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct rename {
	const char *from, *to;
};

static const struct rename members[] = {
	{ "access_key", "access_key" },
	{ "secret_key", "secret_key" },
	{ "token", "token" },
	{ "profile", "profile" },
	{ "shared_config_files", "shared_config_files" },
	{ "shared_credentials_files", "shared_credentials_files" },
	{ "assume_role", "assume_role" },
	{ "assume_role_with_web_identity", "assume_role_with_web_identity" },
	{ "sts_endpoint", "endpoint_sts" },
	{ "sts_region", "sts_region" },
	{ "ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint" },
	{ "ec2_metadata_service_endpoint_mode", "ec2_metadata_service_endpoint_mode" },
	{ "skip_metadata_api_check", "skip_metadata_api_check" },
};

/* These are in "endpoints", and come before the older ones. */
static const struct rename endpoint_members[] = {
	{ "sts", "endpoint_sts" },
	{ "sso", "endpoint_sso" },
};

/* OpenTofu's flat role, and terraform's until 1.9: as if it were in assume_role. */
static const struct rename flat_members[] = {
	{ "role_arn", "role_arn" },
	{ "session_name", "session_name" },
	{ "external_id", "external_id" },
	{ "assume_role_policy", "policy" },
	{ "assume_role_policy_arns", "policy_arns" },
	{ "assume_role_tags", "tags" },
	{ "assume_role_transitive_tag_keys", "transitive_tag_keys" },
};

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* null and "" are nothing, as for terraform. */
static bool is_said(const json_t *value)
{
	return value && !json_is_null(value) &&
	       !(json_is_string(value) && json_string_length(value) == 0);
}

static int copy(json_t *to, const json_t *from, const struct rename *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const json_t *value = json_object_get(from, names[i].from);

		if (is_said(value) &&
		    json_object_set_new(to, names[i].to, json_deep_copy(value)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int copy_flat_role(json_t *to, const json_t *config)
{
	CLEANUP(backend_json_freep) json_t *role = json_object();
	const json_t *seconds = json_object_get(config, "assume_role_duration_seconds");
	char duration[32];

	if (!role || copy(role, config, flat_members, ARRAY_COUNT(flat_members)) < 0)
		return -ENOMEM;
	if (json_is_number(seconds) && json_number_value(seconds) >= 1) {
		(void)snprintf(duration, sizeof(duration), "%.0fs", json_number_value(seconds));
		if (json_object_set_new(role, "duration", json_string(duration)) < 0)
			return -ENOMEM;
	}
	return json_object_set_new(to, "assume_role", TAKE_PTR(role)) < 0 ? -ENOMEM : 0;
}

/* The old form of shared_credentials_files. */
static int copy_old_file(json_t *to, const json_t *config)
{
	json_t *list;

	if (json_object_get(to, "shared_credentials_files") ||
	    !is_said(json_object_get(config, "shared_credentials_file")))
		return 0;
	list = json_pack("[O]", json_object_get(config, "shared_credentials_file"));
	return json_object_set_new(to, "shared_credentials_files", list) < 0 ? -ENOMEM : 0;
}

int backend_parse_credentials(const struct backend_parse *parse, const json_t *config,
			      struct backend *backend)
{
	CLEANUP(backend_json_freep) json_t *found = json_object();
	const json_t *endpoints = NULL;
	int r;

	if (!found)
		return -ENOMEM;
	r = backend_get_object(parse, config, "endpoints", &endpoints);
	if (r < 0)
		return r;
	r = copy(found, config, members, ARRAY_COUNT(members));
	if (r == 0)
		r = copy(found, endpoints, endpoint_members, ARRAY_COUNT(endpoint_members));
	if (r == 0)
		r = copy_old_file(found, config);
	if (r == 0 && !json_object_get(found, "assume_role") &&
	    is_said(json_object_get(config, "role_arn")))
		r = copy_flat_role(found, config);
	if (r < 0 || json_object_size(found) == 0)
		return r;
	backend->credentials_json = json_dumps(found, JSON_COMPACT | JSON_SORT_KEYS);
	return backend->credentials_json ? 0 : -ENOMEM;
}
