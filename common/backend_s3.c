/* SPDX-License-Identifier: MIT */
/* terraform's S3 backend: from its attributes and the environment to one object. */
#include "common/backend_parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/env.h"
#include "common/explain.h"
#include "common/text.h"

#define REGION_MAX         64
#define BUCKET_MAX         255
#define KEY_MAX            (1024 - (sizeof(".tflock") - 1)) /* S3's limit is for the lock object too */
#define CUSTOMER_KEY_LEN   44                               /* 32 bytes in base64 */

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int refuse(const struct backend_parse *parse, const char *attribute, const char *why)
{
	return explain(parse->ret_error, -EINVAL,
		       "%s: the S3 backend's %s %s: correct it, then run "
		       "\"terraform init -reconfigure\"",
		       parse->source->directory, attribute, why);
}

/* Return: 1 if @name is set (*@ret), 0 if it is null, absent or @name is NULL, -EBADMSG. */
static int get_bool(const struct backend_parse *parse, const json_t *config, const char *name,
		    bool *ret)
{
	const json_t *value = name ? json_object_get(config, name) : NULL;

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_boolean(value)) {
		return explain(parse->ret_error, -EBADMSG,
			       "%s: the backend's \"%s\" is not a boolean: run \"terraform init "
			       "-reconfigure\" there",
			       parse->source->directory, name);
	}
	*ret = json_is_true(value);
	return 1;
}

/* null and false mean the same, unless there is an older name or a variable to ask next. */
static int parse_bools(const struct backend_parse *parse, const json_t *config,
		       struct backend *backend)
{
	const struct {
		const char *name;
		const char *old_name; /* if @name is null */
		const char *env; /* if both are; any value, even "false", is true (until 1.15) */
		bool *field;
	} attributes[] = {
		/* clang-format off */
		{ "use_lockfile",           NULL,               NULL, &backend->use_lockfile },
		{ "encrypt",                NULL,               NULL, &backend->encrypt },
		{ "insecure",               NULL,               NULL, &backend->insecure },
		{ "skip_s3_checksum",       NULL,               NULL, &backend->skip_s3_checksum },
		{ "use_path_style",         "force_path_style", NULL, &backend->path_style },
		{ "use_fips_endpoint",      NULL, "AWS_USE_FIPS_ENDPOINT",      &backend->use_fips },
		{ "use_dualstack_endpoint", NULL, "AWS_USE_DUALSTACK_ENDPOINT", &backend->use_dualstack },
		/* clang-format on */
	};
	int r;

	for (size_t i = 0; i < ARRAY_COUNT(attributes); i++) {
		r = get_bool(parse, config, attributes[i].name, attributes[i].field);
		if (r == 0)
			r = get_bool(parse, config, attributes[i].old_name, attributes[i].field);
		if (r < 0)
			return r;
		if (r == 0 && attributes[i].env)
			*attributes[i].field = env_get_filled(parse->env, attributes[i].env);
	}
	return 0;
}

/* An attribute for which "" means the same as null. */
static int copy_string(const struct backend_parse *parse, const json_t *config, const char *name,
		       char **ret)
{
	const char *value = NULL;
	int r;

	r = backend_get_string(parse, config, name, &value);
	return r < 0 ? r : backend_set_string(ret, value);
}

static int parse_strings(const struct backend_parse *parse, const json_t *config,
			 struct backend *backend)
{
	const char *ca_bundle = NULL;
	int r;

	r = copy_string(parse, config, "acl", &backend->acl);
	if (r == 0)
		r = copy_string(parse, config, "access_key", &backend->access_key);
	if (r == 0)
		r = copy_string(parse, config, "secret_key", &backend->secret_key);
	if (r == 0)
		r = copy_string(parse, config, "token", &backend->token);
	if (r == 0)
		r = copy_string(parse, config, "profile", &backend->profile);
	if (r == 0)
		r = copy_string(parse, config, "dynamodb_table", &backend->dynamodb_table);
	if (r == 0)
		r = backend_get_string(parse, config, "custom_ca_bundle", &ca_bundle);
	if (r < 0)
		return r;

	if (!ca_bundle ||
	    !*ca_bundle) /* terraform hands "" on to the SDK, which then looks here, too */
		ca_bundle = env_get_filled(parse->env, "AWS_CA_BUNDLE");
	return backend_set_string(&backend->ca_bundle, ca_bundle);
}

static int parse_proxies(const struct backend_parse *parse, const json_t *config,
			 struct backend *backend)
{
	const struct {
		const char *name;
		char **field;
	} proxies[] = {
		{ "http_proxy", &backend->http_proxy },
		{ "https_proxy", &backend->https_proxy },
		{ "no_proxy", &backend->no_proxy },
	};
	const char *value = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_COUNT(proxies); i++) {
		r = backend_get_string(parse, config, proxies[i].name, &value);
		if (r < 0)
			return r;
		backend->has_proxy |= value != NULL;
		/* "" is no no_proxy, but it is a word about the other two. */
		if (value && (*value || proxies[i].field != &backend->no_proxy) &&
		    text_replace(proxies[i].field, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Assume-role: only whether there is any. "role_arn" is OpenTofu's flat form. */
static int parse_presence(const struct backend_parse *parse, const json_t *config,
			  struct backend *backend)
{
	static const char *const roles[] = { "assume_role", "assume_role_with_web_identity" };
	const json_t *role = NULL;
	const char *value = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
		r = backend_get_object(parse, config, roles[i], &role);
		if (r < 0)
			return r;
		backend->has_assume_role |= role != NULL;
	}
	r = backend_get_string(parse, config, "role_arn", &value);
	if (r < 0)
		return r;
	backend->has_assume_role |= value && *value;
	return 0;
}

static int parse_region(const struct backend_parse *parse, const json_t *config,
			struct backend *backend)
{
	const char *region = NULL;
	int r;

	r = backend_get_string(parse, config, "region", &region);
	if (r < 0)
		return r;
	if (!region || !*region)
		region = env_get_filled(parse->env, "AWS_REGION");
	if (!region)
		region = env_get_filled(parse->env, "AWS_DEFAULT_REGION");
	if (!region) {
		return explain(
			parse->ret_error, -EINVAL,
			"%s: the S3 backend has no region: put region = \"...\" into the backend "
			"block, or set AWS_REGION",
			parse->source->directory);
	}

	for (const char *c = region; *c; c++) { /* it gets into host names */
		if (!isascii((unsigned char)*c) ||
		    !(isalnum((unsigned char)*c) || strchr("-_.", *c)) || c - region >= REGION_MAX)
			return refuse(parse, "region", "is not the name of one");
	}
	return backend_set_string(&backend->region, region);
}

static int parse_bucket(const struct backend_parse *parse, const json_t *config,
			struct backend *backend)
{
	const char *bucket = NULL;
	int r;

	r = backend_get_string(parse, config, "bucket", &bucket);
	if (r < 0)
		return r;
	if (!bucket || !*bucket)
		return refuse(parse, "bucket", "is not set");
	if (strncmp(bucket, "arn:", 4) == 0 || backend_ends_with(bucket, "-s3alias") ||
	    backend_ends_with(bucket, "--ol-s3") || backend_ends_with(bucket, "--xa-s3")) {
		return refuse(
			parse, "bucket",
			"is an access point, of which one state can have several: name the bucket "
			"itself");
	}
	if (backend_ends_with(bucket, "--x-s3")) {
		return refuse(parse, "bucket",
			      "is a directory bucket, whose sessions are not supported here: use a "
			      "general purpose bucket");
	}
	for (const char *c = bucket; *c; c++) {
		if (!isgraph((unsigned char)*c) || strchr("/|?#%@\\\"", *c) ||
		    c - bucket >= BUCKET_MAX)
			return refuse(parse, "bucket", "is not the name of one");
	}
	return backend_set_string(&backend->bucket, bucket);
}

static bool is_edged_by_slash(const char *text)
{
	return text[0] == '/' || (*text && text[strlen(text) - 1] == '/');
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			return true;
	return false;
}

/* The object of a workspace other than "default", whose key is not cleaned. */
static int set_workspace_key(struct backend *backend, const char *prefix, const char *key)
{
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s%s%s/%s", prefix, *prefix ? "/" : "", backend->workspace, key) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	backend_clean_path(path);
	return backend_set_string(&backend->key, path);
}

static int parse_key(const struct backend_parse *parse, const json_t *config,
		     struct backend *backend)
{
	const char *prefix = NULL;
	const char *key = NULL;
	int r;

	r = backend_get_string(parse, config, "key", &key);
	if (r < 0)
		return r;
	r = backend_get_string(parse, config, "workspace_key_prefix", &prefix);
	if (r < 0)
		return r;

	if (!key || !*key)
		return refuse(parse, "key", "is not set");
	if (is_edged_by_slash(key) || strstr(key, "//"))
		return refuse(parse, "key", "must not start or end with \"/\", nor hold \"//\"");
	if (!prefix)
		prefix = "env:";
	if (is_edged_by_slash(prefix))
		return refuse(parse, "workspace_key_prefix", "must not start or end with \"/\"");
	if (has_control(key) || has_control(prefix))
		return refuse(parse, "key or workspace_key_prefix", "holds a control character");

	r = strcmp(backend->workspace, "default") == 0 ? backend_set_string(&backend->key, key)
						       : set_workspace_key(backend, prefix, key);
	if (r < 0)
		return r;
	if (strlen(backend->key) > KEY_MAX)
		return refuse(parse, "key", "is longer than S3 allows");
	return 0;
}

static bool is_customer_key(const char *key)
{
	return strlen(key) == CUSTOMER_KEY_LEN && key[CUSTOMER_KEY_LEN - 1] == '=' &&
	       strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") ==
		       CUSTOMER_KEY_LEN - 1;
}

static int parse_encryption(const struct backend_parse *parse, const json_t *config,
			    struct backend *backend)
{
	const char *customer_key = NULL;
	const char *kms_key = NULL;
	int r;

	r = backend_get_string(parse, config, "kms_key_id", &kms_key);
	if (r < 0)
		return r;
	r = backend_get_string(parse, config, "sse_customer_key", &customer_key);
	if (r < 0)
		return r;
	if (!customer_key)
		customer_key = env_get_filled(parse->env, "AWS_SSE_CUSTOMER_KEY");

	/* terraform looks at both, whether encrypt is on or not. */
	if (kms_key && customer_key)
		return refuse(parse, "kms_key_id",
			      "excludes sse_customer_key and AWS_SSE_CUSTOMER_KEY");
	if (customer_key && !is_customer_key(customer_key))
		return refuse(parse, "sse_customer_key (or AWS_SSE_CUSTOMER_KEY)",
			      "must be 32 bytes in base64, that is 44 characters");
	if (!backend->encrypt)
		return 0;

	r = backend_set_string(&backend->kms_key_id, kms_key);
	if (r < 0)
		return r;
	return backend_set_string(&backend->sse_customer_key, customer_key);
}

static int set_identity(struct backend *backend)
{
	AUTO_FREE char *endpoint = backend->endpoint_s3
					   ? backend_canonical_endpoint(backend->endpoint_s3)
					   : strdup("aws");

	if (!endpoint)
		return -ENOMEM;
	if (asprintf(&backend->identity, "s3|%s|%s|%s|%s", endpoint, backend->region,
		     backend->bucket, backend->key) < 0) {
		backend->identity = NULL;
		return -ENOMEM;
	}
	if (asprintf(&backend->name, "s3://%s/%s", backend->bucket, backend->key) < 0) {
		backend->name = NULL;
		return -ENOMEM;
	}
	return 0;
}

int backend_parse_s3(const struct backend_parse *parse, const json_t *config,
		     struct backend *backend)
{
	static int (*const steps[])(const struct backend_parse *, const json_t *,
				    struct backend *) = {
		parse_bools,
		parse_strings,
		parse_proxies,
		parse_presence,
		backend_parse_endpoints,
		parse_region,
		parse_bucket,
		parse_key,
		parse_encryption,
		backend_parse_credentials,
	};
	int r;

	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		r = steps[i](parse, config, backend);
		if (r < 0)
			return r;
	}
	return set_identity(backend);
}
