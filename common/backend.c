/* SPDX-License-Identifier: MIT */
#include "common/backend.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backend_parts.h"
#include "common/explain.h"
#include "common/secret.h"

void backend_json_wipe(json_t *value)
{
	const char *text = json_string_value(value);
	void *mem;

	if (text) {
		/* jansson lends its own, writable memory as const. */
		memcpy(&mem, &text, sizeof(mem));
		explicit_bzero(mem, json_string_length(value));
	}
	for (size_t i = 0; i < json_array_size(value); i++)
		backend_json_wipe(json_array_get(value, i));
	for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i))
		backend_json_wipe(json_object_iter_value(i));
}

void backend_json_free(json_t *value)
{
	backend_json_wipe(value);
	json_decref(value);
}

static int damaged(const struct backend_parse *parse, const char *what)
{
	return explain(
		parse->ret_error, -EBADMSG,
		"%s: what \"terraform init\" left in its data directory is damaged (%s): run "
		"\"terraform init -reconfigure\" there",
		parse->source->directory, what);
}

int backend_get_string(const struct backend_parse *parse, const json_t *object, const char *name,
		       const char **ret)
{
	const json_t *value = json_object_get(object, name);

	if (value && !json_is_null(value) && !json_is_string(value)) {
		return explain(parse->ret_error, -EBADMSG,
			       "%s: the backend's \"%s\" is not a string: run \"terraform init "
			       "-reconfigure\" there",
			       parse->source->directory, name);
	}

	*ret = json_string_value(value);
	return 0;
}

int backend_get_object(const struct backend_parse *parse, const json_t *object, const char *name,
		       const json_t **ret)
{
	const json_t *value = json_object_get(object, name);

	if (!value || json_is_null(value)) {
		*ret = NULL;
		return 0;
	}
	if (!json_is_object(value)) {
		return explain(parse->ret_error, -EBADMSG,
			       "%s: the backend's \"%s\" is not an object: run \"terraform init "
			       "-reconfigure\" there",
			       parse->source->directory, name);
	}
	*ret = value;
	return 0;
}

int backend_set_string(char **ret, const char *value)
{
	*ret = NULL;
	if (!value || !*value)
		return 0;
	*ret = strdup(value);
	return *ret ? 0 : -ENOMEM;
}

bool backend_is_workspace(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > BACKEND_WORKSPACE_MAX || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (!isascii((unsigned char)*name) ||
		    !(isalnum((unsigned char)*name) || strchr("-_.~$&+:=@", *name)))
			return false;
	}
	return true;
}

/* Go's path.Clean(): the shortest path that names the same, by its letters alone. */
void backend_clean_path(char *path)
{
	const size_t root = path[0] == '/';
	size_t floor = root; /* what ".." must not eat */
	size_t from = root;
	size_t to = root;

	while (path[from]) {
		const size_t len = strcspn(path + from, "/");

		if (len == 2 && path[from] == '.' && path[from + 1] == '.' && to > floor) {
			do
				to--;
			while (to > floor && path[to] != '/');
		} else if (len == 2 && path[from] == '.' && path[from + 1] == '.' && root) {
			; /* above the root is the root */
		} else if (len > 0 && !(len == 1 && path[from] == '.')) {
			const bool is_up = len == 2 && path[from] == '.' && path[from + 1] == '.';

			if (to > root)
				path[to++] = '/';
			memmove(path + to, path + from, len);
			to += len;
			if (is_up)
				floor = to;
		}
		from += len + (path[from + len] == '/');
	}

	if (to == 0)
		path[to++] = '.';
	path[to] = '\0';
}

/*
 * The file's tree. Go takes the last of two equal members, and so does jansson
 * when not told to refuse them. Integers become reals: "hash" may be any
 * uint64. A NUL within a string is refused, as no name of ours may hold one.
 */
static int load(const struct backend_parse *parse, json_t **ret)
{
	json_error_t error;
	json_t *root = json_loads(parse->source->file, JSON_DECODE_INT_AS_REAL, &error);
	char what[64];

	/* jansson's own text would quote the file, secrets and all. */
	if (!root && json_error_code(&error) == json_error_out_of_memory)
		return -ENOMEM;
	if (!root) {
		(void)snprintf(what, sizeof(what), "not JSON, line %d, column %d", error.line,
			       error.column);
		return damaged(parse, what);
	}

	*ret = root;
	return 0;
}

/* Find the backend in @root: *@ret_type (lent) and *@ret_config (lent, or NULL if it is null). */
static int find_backend(const struct backend_parse *parse, const json_t *root,
			const char **ret_type, const json_t **ret_config)
{
	const json_t *backend = json_object_get(root, "backend");
	const char *type = NULL;
	int r;

	if (backend && !json_is_null(backend) && !json_is_object(backend))
		return damaged(parse, "\"backend\" is not an object");

	r = backend_get_string(parse, backend, "type", &type);
	if (r < 0)
		return r;
	if (type && *type) {
		*ret_config = json_object_get(backend, "config");
	} else {
		/* Terraform 1.13 and newer: state that a provider stores. */
		*ret_config = json_object_get(root, "state_store");
		type = json_is_object(*ret_config) ? "state_store" : "local";
	}
	if (json_is_null(*ret_config))
		*ret_config = NULL;
	if (*ret_config && !json_is_object(*ret_config))
		return damaged(parse, "\"config\" is not an object");

	if (strlen(type) >= BACKEND_TYPE_SIZE ||
	    type[strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_-")])
		return damaged(parse, "the backend's type is no name");
	*ret_type = type;
	return 0;
}

static int check_lock(const struct backend_parse *parse, const struct backend *backend)
{
	if (backend->kind != BACKEND_S3 || backend->use_lockfile || backend->dynamodb_table)
		return 0;
	return explain(
		parse->ret_error, -ENOLCK,
		"%s: its S3 backend has no lock, so nothing would keep a second terraform off "
		"%s. Put one of these lines into the backend \"s3\" block:\n"
		"    use_lockfile = true        (terraform 1.10 and newer)\n"
		"    dynamodb_table = \"...\"\n"
		"then run: terraform init -reconfigure",
		parse->source->directory, backend->name);
}

static int parse_version(const struct backend_parse *parse, const json_t *root,
			 struct backend *backend)
{
	const json_t *version = json_object_get(root, "version");
	const char *terraform_version = NULL;
	int r;

	if (!json_is_object(root))
		return damaged(parse, "not an object");
	if (!json_is_number(version))
		return damaged(parse, "no version");
	if (json_number_value(version) < 3 || json_number_value(version) > 3)
		return damaged(parse, "its version is not 3");

	r = backend_get_string(parse, root, "terraform_version", &terraform_version);
	return r < 0 ? r : backend_set_string(&backend->terraform_version, terraform_version);
}

/* What is the same for all kinds. */
static int set_common(struct backend *backend, const char *type, const char *workspace)
{
	backend->kind = strcmp(type, "s3") == 0      ? BACKEND_S3
			: strcmp(type, "local") == 0 ? BACKEND_LOCAL
						     : BACKEND_OTHER;
	backend->type = strdup(type);
	backend->workspace = strdup(workspace);
	if (!backend->terraform_version)
		backend->terraform_version = strdup("");
	return backend->type && backend->workspace && backend->terraform_version ? 0 : -ENOMEM;
}

/* What @root says, into @backend. */
static int parse_root(const struct backend_parse *parse, const json_t *root,
		      struct backend *backend)
{
	const json_t *config = NULL;
	const char *type = "local";
	int r;

	if (root) {
		r = parse_version(parse, root, backend);
		if (r < 0)
			return r;
		r = find_backend(parse, root, &type, &config);
		if (r < 0)
			return r;
	}
	r = set_common(backend, type, parse->source->workspace);
	if (r < 0)
		return r;

	switch (backend->kind) {
	case BACKEND_S3:
		return config ? backend_parse_s3(parse, config, backend)
			      : damaged(parse, "the backend has no \"config\"");
	case BACKEND_LOCAL: return backend_parse_local(parse, config, backend);
	case BACKEND_OTHER: return backend_parse_other(parse, config, backend);
	}
	assert(!"not a kind of backend");
	return -EINVAL;
}

int backend_parse(struct backend **ret, const struct backend_source *source, char *const *env,
		  bool require_lock, char **ret_error)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	CLEANUP(backend_json_freep) json_t *root = NULL;
	struct backend_parse parse;
	int r;

	assert(ret && source && source->directory && source->workspace && ret_error);

	if (!backend_is_workspace(source->workspace))
		return explain(ret_error, -EINVAL, "%s: the selected workspace has no valid name",
			       source->directory);

	backend = calloc(1, sizeof(*backend));
	if (!backend)
		return -ENOMEM;

	parse = (struct backend_parse){
		.source = source,
		.env = env,
		.ret_error = ret_error,
	};
	if (source->file) {
		r = load(&parse, &root);
		if (r < 0)
			return r;
	}
	r = parse_root(&parse, root, backend);
	if (r < 0)
		return r;
	r = require_lock ? check_lock(&parse, backend) : 0;
	if (r < 0)
		return r;

	*ret = TAKE_PTR(backend);
	return 0;
}

int backend_outline(struct backend **ret, const struct backend *backend)
{
	CLEANUP(backend_freep) struct backend *outline = calloc(1, sizeof(*outline));

	if (!outline)
		return -ENOMEM;
	outline->kind = backend->kind;
	outline->identity = strdup(backend->identity);
	outline->name = strdup(backend->name);
	outline->workspace = strdup(backend->workspace);
	if (!outline->identity || !outline->name || !outline->workspace)
		return -ENOMEM;
	*ret = TAKE_PTR(outline);
	return 0;
}

struct backend *backend_ref(struct backend *backend)
{
	backend->others++;
	return backend;
}

struct backend *backend_free(struct backend *backend)
{
	if (!backend)
		return NULL;
	if (backend->others > 0) {
		backend->others--;
		return NULL;
	}

	secret_free(backend->http_proxy); /* may hold a password */
	secret_free(backend->https_proxy);
	free(backend->no_proxy);
	secret_free(backend->credentials_json);
	free(backend->profile);
	secret_free(backend->token);
	secret_free(backend->secret_key);
	secret_free(backend->access_key);
	free(backend->ca_bundle);
	free(backend->acl);
	secret_free(backend->sse_customer_key);
	free(backend->kms_key_id);
	free(backend->dynamodb_table);
	free(backend->endpoint_dynamodb);
	free(backend->endpoint_s3);
	free(backend->region);
	free(backend->key);
	free(backend->bucket);
	free(backend->name);
	free(backend->identity);
	free(backend->terraform_version);
	free(backend->workspace);
	free(backend->type);
	free(backend);
	return NULL;
}
