/* SPDX-License-Identifier: MIT */
/* What the user's profile, in AWS's shared files, says of the S3 backend's endpoints. */
#include "common/backend_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/aws_files.h"
#include "common/env.h"

/* Terraform passes over what it cannot read; to do so could lock another store than it uses. */
static int read_shared(void *context, const char *path, char **ret)
{
	const struct backend_reader *reader = context;
	int r;

	if (!*path || strcmp(path, "/dev/null") == 0)
		return 0;
	r = backend_read_file(reader, path, AWS_FILE_MAX, ret);
	if (r == -ENOTDIR) { /* $HOME is none: there can be no file */
		free(*reader->ret_error);
		*reader->ret_error = NULL;
		return 0;
	}
	return r;
}

static int load_profiles(struct profiles *profiles, const struct backend_reader *reader,
			 const json_t *config, char *const *env)
{
	const json_t *credentials = json_object_get(config, "shared_credentials_files");
	json_t *old = json_object_get(config, "shared_credentials_file"); /* its older form */
	CLEANUP(backend_json_freep)
	json_t *list = json_array_size(credentials) == 0 && json_string_length(old) > 0
			       ? json_pack("[s]", json_string_value(old))
			       : json_array();
	struct backend_reader copy = *reader;
	const struct aws_files files = {
		.env = env,
		.config_files = json_object_get(config, "shared_config_files"),
		.credentials_files = json_array_size(list) > 0 ? list : credentials,
		.read = read_shared,
		.context = &copy,
	};

	return list ? aws_files_load(profiles, &files) : -ENOMEM;
}

/* @env_name: its own variable; AWS_ENDPOINT_URL beside it, even if empty, hides "services". */
static int put_endpoint(json_t *into, const struct profiles *profiles, const char *profile,
			const char *service, const char *env_name, char *const *env)
{
	const char *services = profiles_get(profiles, PROFILE_PROFILE, profile, "services");
	char key[32];
	const char *url = NULL;

	(void)snprintf(key, sizeof(key), "%s.endpoint_url", service);
	if (services && (!env_get(env, "AWS_ENDPOINT_URL") || env_get(env, env_name)))
		url = profiles_get(profiles, PROFILE_SERVICES, services, key);
	if (!url)
		url = profiles_get(profiles, PROFILE_PROFILE, profile, "endpoint_url");
	return url && json_object_set_new(into, service, json_string(url)) < 0 ? -ENOMEM : 0;
}

static int find_endpoints(json_t *into, const struct profiles *profiles, const char *profile,
			  char *const *env)
{
	const char *ignore =
		profiles_get(profiles, PROFILE_PROFILE, profile, "ignore_configured_endpoint_urls");
	int r;

	if (ignore && strcasecmp(ignore, "true") == 0 &&
	    !env_get_filled(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
		return json_object_set_new(into, "ignore", json_true()) < 0 ? -ENOMEM : 0;
	r = put_endpoint(into, profiles, profile, "s3", "AWS_ENDPOINT_URL_S3", env);
	return r < 0 ? r
		     : put_endpoint(into, profiles, profile, "dynamodb",
				    "AWS_ENDPOINT_URL_DYNAMODB", env);
}

int backend_read_profile(char **ret, const struct backend_reader *reader, const char *file,
			 char *const *env)
{
	json_error_t error;
	CLEANUP(backend_json_freep)
	json_t *root = json_loads(file, JSON_DECODE_INT_AS_REAL, &error);
	CLEANUP(backend_json_freep) json_t *found = json_object();
	CLEANUP(profiles_freep) struct profiles *profiles = NULL;
	const json_t *backend = json_object_get(root, "backend");
	const json_t *config = json_object_get(backend, "config");
	const char *type = json_string_value(json_object_get(backend, "type"));
	int r;

	if (!found || (!root && json_error_code(&error) == json_error_out_of_memory))
		return -ENOMEM;
	if (!type || strcmp(type, "s3") != 0 || !backend_asks_profile(config, env))
		return 0; /* or damaged, which backend_parse() will say */
	r = profiles_new(&profiles);
	if (r == 0)
		r = load_profiles(profiles, reader, config, env);
	if (r == 0)
		r = find_endpoints(found, profiles, aws_files_profile(config, env) ?: "default",
				   env);
	if (r < 0 || json_object_size(found) == 0)
		return r;
	*ret = json_dumps(found, JSON_COMPACT | JSON_SORT_KEYS);
	return *ret ? 0 : -ENOMEM;
}
