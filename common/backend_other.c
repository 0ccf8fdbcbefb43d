/* SPDX-License-Identifier: MIT */
/* Backends whose locks terraform takes itself: only which state it is. */
#include "common/backend_parts.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/env.h"
#include "common/explain.h"

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DIGEST_HEX         (2 * 32) /* digits of a SHA-256 */
#define NAME_DIGITS        16       /* of the digest, in a backend's name */
#define MEMBERS_MAX        8

/*
 * What tells the states of a backend apart: members of its config, and the
 * variables that stand in for those that are null. A backend that is not here
 * is told by all of its config but what looks like a secret.
 */
static const struct {
	const char *type;
	struct {
		const char *name; /* NULL: there is only the variable */
		const char *env;
	} members[MEMBERS_MAX];
} known[] = {
	/* clang-format off */
	{ "azurerm", { { "storage_account_name", NULL }, { "container_name", NULL }, { "key", NULL } } },
	{ "cloud",   { { "hostname", "TF_CLOUD_HOSTNAME" }, { "organization", "TF_CLOUD_ORGANIZATION" },
		       { "workspaces", NULL } } },
	{ "consul",  { { "address", "CONSUL_HTTP_ADDR" }, { "datacenter", NULL }, { "path", NULL } } },
	{ "cos",     { { "bucket", NULL }, { "region", "TENCENTCLOUD_REGION" }, { "prefix", NULL },
		       { "key", NULL } } },
	{ "gcs",     { { "bucket", NULL }, { "prefix", NULL } } },
	{ "http",    { { "address", "TF_HTTP_ADDRESS" } } },
	{ "kubernetes", { { "secret_suffix", NULL }, { "namespace", "KUBE_NAMESPACE" },
			  { "host", "KUBE_HOST" }, { "config_path", "KUBE_CONFIG_PATH" },
			  { "config_paths", "KUBE_CONFIG_PATHS" }, { "config_context", "KUBE_CTX" },
			  { "config_context_cluster", "KUBE_CTX_CLUSTER" } } },
	{ "oci",     { { "bucket", NULL }, { "namespace", NULL }, { "region", NULL }, { "key", NULL },
		       { "workspace_key_prefix", NULL } } },
	{ "oss",     { { "bucket", NULL }, { "region", "ALICLOUD_REGION" },
		       { "endpoint", "ALICLOUD_OSS_ENDPOINT" }, { "prefix", NULL }, { "key", NULL } } },
	{ "pg",      { { "conn_str", "PG_CONN_STR" }, { "schema_name", "PG_SCHEMA_NAME" },
		       { NULL, "PGHOST" }, { NULL, "PGPORT" }, { NULL, "PGDATABASE" } } },
	{ "remote",  { { "hostname", NULL }, { "organization", NULL }, { "workspaces", NULL } } },
	/* clang-format on */
};

/* Credentials do not name a state, and two people have two. */
static bool is_secret(const char *name)
{
	static const char *const parts[] = {
		"secret",     "password",  "passwd",      "passphrase", "token",       "credential",
		"access_key", "access_id", "private_key", "client_key", "client_cert", "sas_",
	};

	for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
		if (strcasestr(name, parts[i]))
			return true;
	return false;
}

/* Cut the user and the password out of a URL, and "password=..." out of a PostgreSQL string. */
static void scrub(char *text)
{
	char *authority = strstr(text, "://");
	char *found;

	if (authority) {
		authority += 3;
		found = memrchr(authority, '@', strcspn(authority, "/?#"));
		if (found)
			memmove(authority, found + 1, strlen(found + 1) + 1);
	}
	while ((found = strcasestr(text, "password="))) {
		const char *end = found + strlen("password=");

		if (*end == '\'') {
			for (end++; *end && *end != '\''; end++)
				end += *end == '\\' && end[1];
			end += *end != '\0';
		}
		end += strcspn(end, " \t\r\n&");
		memmove(found, end, strlen(end) + 1);
	}
}

static int scrub_string(json_t *value)
{
	AUTO_FREE char *text = strdup(json_string_value(value));
	int r;

	if (!text)
		return -ENOMEM;

	scrub(text);
	backend_json_wipe(value);
	r = json_string_set(value, text) < 0 ? -ENOMEM : 0;
	explicit_bzero(text, strlen(text));
	return r;
}

static int clean(json_t *value, bool by_name);

/* As clean(), for an object alone. */
static int clean_object(json_t *object, bool by_name)
{
	void *next;
	int r = 0;

	for (void *i = json_object_iter(object); i && r == 0; i = next) {
		const char *name = json_object_iter_key(i);
		json_t *member = json_object_iter_value(i);

		next = json_object_iter_next(object, i);
		if (!json_is_null(member) && !(by_name && is_secret(name))) {
			r = clean(member, by_name);
		} else {
			backend_json_wipe(member);
			r = json_object_del(object, name);
		}
	}
	return r;
}

/*
 * Take out of @value what is null and, if @by_name, what is called like a
 * secret; scrub the rest. Return: 0, -ENOMEM.
 */
static int clean(json_t *value, bool by_name)
{
	int r = 0;

	if (json_is_string(value))
		return scrub_string(value);
	for (size_t i = 0; i < json_array_size(value) && r == 0; i++)
		r = clean(json_array_get(value, i), by_name);
	if (r == 0 && json_is_object(value))
		r = clean_object(value, by_name);
	return r < 0 ? -ENOMEM : 0;
}

/* What tells the states of the @type-th known backend apart, from @config and the environment. */
static int pick_known(const struct backend_parse *parse, size_t type, const json_t *config,
		      json_t *picked)
{
	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		const char *name = known[type].members[i].name;
		const char *variable = known[type].members[i].env;
		const json_t *member = name ? json_object_get(config, name) : NULL;
		const char *text = variable ? env_get_filled(parse->env, variable) : NULL;
		json_t *value;

		if (member && !json_is_null(member)) {
			if (json_object_set_new(picked, name, json_deep_copy(member)) < 0)
				return -ENOMEM;
		} else if (text) {
			value = json_string(text);
			if (!value) {
				return explain(
					parse->ret_error, -EINVAL,
					"The environment variable %s is not UTF-8: correct it",
					variable);
			}
			if (json_object_set_new(picked, variable, value) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int pick(const struct backend_parse *parse, const char *type, const json_t *config,
		json_t *picked)
{
	json_t *copy;
	int r;

	for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
		if (strcmp(known[i].type, type) != 0)
			continue;
		r = pick_known(parse, i, config, picked);
		return r < 0 ? r : clean(picked, false);
	}

	copy = config ? json_deep_copy(config) : json_object();
	if (json_object_set_new(picked, "config", copy) < 0)
		return -ENOMEM;
	return clean(picked, true);
}

/* SHA-256 of @value in its one canonical spelling, in hex. */
static int digest(const json_t *value, char *ret_hex)
{
	AUTO_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (!text)
		return -ENOMEM;
	if (EVP_Digest(text, strlen(text), md, &len, EVP_sha256(), NULL) != 1)
		return -ENOMEM;

	for (unsigned int i = 0; i < len && 2 * i < DIGEST_HEX; i++)
		(void)snprintf(ret_hex + 2 * (size_t)i, 3, "%02x", md[i]);
	return 0;
}

static int set_names(struct backend *backend, const char *identity, const char *name)
{
	if (asprintf(&backend->identity, "%s|%s", backend->type, identity) < 0) {
		backend->identity = NULL;
		return -ENOMEM;
	}
	if (asprintf(&backend->name, "%s:%s", backend->type, name) < 0) {
		backend->name = NULL;
		return -ENOMEM;
	}
	return 0;
}

int backend_parse_other(const struct backend_parse *parse, const json_t *config,
			struct backend *backend)
{
	CLEANUP(backend_json_freep) json_t *picked = json_object();
	char hex[DIGEST_HEX + 1] = "";
	char short_hex[NAME_DIGITS + 1];
	int r;

	if (!picked)
		return -ENOMEM;

	r = pick(parse, backend->type, config, picked);
	if (r < 0)
		return r;
	if (json_object_set_new(picked, "workspace", json_string(backend->workspace)) < 0)
		return -ENOMEM;
	r = digest(picked, hex);
	if (r < 0)
		return r;

	(void)snprintf(short_hex, sizeof(short_hex), "%.*s", NAME_DIGITS, hex);
	return set_names(backend, hex, short_hex);
}

/* A path attribute of the local backend; terraform refuses "". *@ret stays if it is null. */
static int get_path(const struct backend_parse *parse, const json_t *config, const char *name,
		    const char **ret)
{
	const char *path = NULL;
	int r;

	r = backend_get_string(parse, config, name, &path);
	if (r < 0)
		return r;
	if (path && !*path) {
		return explain(
			parse->ret_error, -EINVAL,
			"%s: the local backend's %s is empty: correct it, then run \"terraform "
			"init -reconfigure\"",
			parse->source->directory, name);
	}
	if (path)
		*ret = path;
	return 0;
}

int backend_parse_local(const struct backend_parse *parse, const json_t *config,
			struct backend *backend)
{
	const bool is_default = strcmp(backend->workspace, "default") == 0;
	const char *workspaces = "terraform.tfstate.d";
	const char *file = "terraform.tfstate";
	AUTO_FREE char *path = NULL;
	const char *parent;
	int r;

	r = get_path(parse, config, "path", &file);
	if (r < 0)
		return r;
	r = get_path(parse, config, "workspace_dir", &workspaces);
	if (r < 0)
		return r;

	/* "path" is the default workspace's alone. */
	parent = *(is_default ? file : workspaces) == '/' ? "" : parse->source->directory;
	r = is_default ? asprintf(&path, "%s/%s", parent, file)
		       : asprintf(&path, "%s/%s/%s/terraform.tfstate", parent, workspaces,
				  backend->workspace);
	if (r < 0) {
		path = NULL;
		return -ENOMEM;
	}
	backend_clean_path(path);
	return set_names(backend, path, path);
}
