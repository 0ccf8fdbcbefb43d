/* SPDX-License-Identifier: MIT */
/* Where terraform's S3 backend finds S3 and DynamoDB. */
#include "common/backend_parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/env.h"
#include "common/explain.h"

#define ENDPOINT_MAX 2048 /* bytes of a URL */

struct service {
	const char *name;
	const char *old_attribute;
	const char *env;
	const char *old_env;
};

static bool is_endpoint(const char *url)
{
	const size_t scheme = strncasecmp(url, "https://", 8) == 0  ? 8
			      : strncasecmp(url, "http://", 7) == 0 ? 7
								    : 0;

	if (scheme == 0 || strlen(url) > ENDPOINT_MAX || strcspn(url + scheme, "/") == 0)
		return false;
	for (const char *c = url; *c; c++)
		if (!isgraph((unsigned char)*c) || strchr("@?#|\\\"<>", *c))
			return false;
	return true;
}

static const struct service services[] = {
	{
		.name = "s3",
		.old_attribute = "endpoint",
		.env = "AWS_ENDPOINT_URL_S3",
		.old_env = "AWS_S3_ENDPOINT",
	},
	{
		.name = "dynamodb",
		.old_attribute = "dynamodb_endpoint",
		.env = "AWS_ENDPOINT_URL_DYNAMODB",
		.old_env = "AWS_DYNAMODB_ENDPOINT",
	},
};

/* Terraform's own: *@ret is lent, and NULL if there is none. The SDK's come after it. */
static int own_endpoint(const struct backend_parse *parse, const json_t *config,
			const struct service *service, const char **ret)
{
	const json_t *endpoints = NULL;
	int r;

	*ret = NULL;
	r = backend_get_object(parse, config, "endpoints", &endpoints);
	if (r == 0 && endpoints)
		r = backend_get_string(parse, endpoints, service->name, ret);
	if (r == 0 && !*ret)
		r = backend_get_string(parse, config, service->old_attribute, ret);
	if (r < 0)
		return r;
	if (!*ret)
		*ret = env_get_filled(parse->env, service->env);
	if (!*ret)
		*ret = env_get_filled(parse->env, service->old_env);
	return 0;
}

/* The SDK's: a variable of the environment, which also says whether they count, then @profile. */
static const char *sdk_endpoint(const struct backend_parse *parse, const json_t *profile,
				const struct service *service)
{
	const char *ignore = env_get_filled(parse->env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	const char *url;

	if (ignore ? strcasecmp(ignore, "true") == 0
		   : json_is_true(json_object_get(profile, "ignore")))
		return NULL;
	url = env_get_filled(parse->env, "AWS_ENDPOINT_URL");
	return url ? url : json_string_value(json_object_get(profile, service->name));
}

static int parse_endpoint(const struct backend_parse *parse, const json_t *config,
			  const json_t *profile, const struct service *service, char **field)
{
	const char *url;
	int r;

	r = own_endpoint(parse, config, service, &url);
	if (r < 0)
		return r;
	if (!url)
		url = sdk_endpoint(parse, profile, service);
	if (!url)
		return 0;

	/* Not NULL but "" is no way to say "none": terraform then fails, too. */
	if (!is_endpoint(url)) {
		return explain(
			parse->ret_error, -EINVAL,
			"%s: the S3 backend's %s endpoint (from the backend block, %s or the AWS "
			"profile) must be a URL like https://HOST:PORT, without user, password or "
			"query",
			parse->source->directory, service->name, service->env);
	}
	return backend_set_string(field, url);
}

int backend_parse_endpoints(const struct backend_parse *parse, const json_t *config,
			    struct backend *backend)
{
	const char *text = parse->source->profile_endpoints;
	CLEANUP(backend_json_freep) json_t *profile = text ? json_loads(text, 0, NULL) : NULL;
	int r;

	if (text && !json_is_object(profile))
		return explain(parse->ret_error, -EBADMSG, "profile_endpoints is no JSON object");
	r = parse_endpoint(parse, config, profile, &services[0], &backend->endpoint_s3);
	if (r < 0)
		return r;
	return parse_endpoint(parse, config, profile, &services[1], &backend->endpoint_dynamodb);
}

bool backend_asks_profile(const json_t *config, char *const *env)
{
	const char *ignore = env_get_filled(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	const bool has_table = json_string_length(json_object_get(config, "dynamodb_table")) > 0;
	const struct backend_source source = { 0 };
	AUTO_FREE char *error = NULL;
	const struct backend_parse parse = { .source = &source, .env = env, .ret_error = &error };
	const char *url;

	if (ignore && strcasecmp(ignore, "true") == 0)
		return false;
	for (size_t i = 0; i < (has_table ? 2 : 1); i++) {
		if (own_endpoint(&parse, config, &services[i], &url) < 0)
			return false; /* it is damaged, as backend_parse() will say */
		if (!url)
			return true;
	}
	return false;
}

char *backend_canonical_endpoint(const char *url)
{
	char *text = strdup(url);
	size_t host_end;
	char *host;
	char *port;

	if (!text)
		return NULL;

	host = strstr(text, "://") + 3;
	host_end = strcspn(host, "/");
	for (char *c = text; c < host + host_end; c++)
		*c = (char)tolower((unsigned char)*c);
	for (size_t len = strlen(text); len > 0 && text[len - 1] == '/'; len--)
		text[len - 1] = '\0';

	host_end = strcspn(host, "/");
	port = memchr(host, ':', host_end);
	if (port && *host != '[') {
		const char *default_port = strncmp(text, "https:", 6) == 0 ? ":443" : ":80";
		const size_t len = (size_t)(host + host_end - port);

		if (len == strlen(default_port) && memcmp(port, default_port, len) == 0)
			memmove(port, port + len, strlen(port + len) + 1);
	}
	if (backend_ends_with(host, ".amazonaws.com") ||
	    backend_ends_with(host, ".amazonaws.com.cn") || backend_ends_with(host, ".api.aws"))
		(void)snprintf(text, strlen(text) + 1, "aws");
	return text;
}
