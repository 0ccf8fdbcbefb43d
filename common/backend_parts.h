/* SPDX-License-Identifier: MIT */
/* What the files of backend share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/backend.h"

#define BACKEND_TYPE_SIZE 32 /* bytes of a backend's type, with its NUL */

static inline bool backend_ends_with(const char *text, const char *end)
{
	const size_t text_len = strlen(text);
	const size_t end_len = strlen(end);

	return text_len >= end_len && memcmp(text + text_len - end_len, end, end_len) == 0;
}

/* What every step of a parse needs to know. */
struct backend_parse {
	const struct backend_source *source;
	char *const *env;
	char **ret_error;
};

/*
 * The string called @name in @object, lent; *@ret is NULL if it is null or absent.
 * Return: 0, -EBADMSG for another type.
 */
int backend_get_string(const struct backend_parse *parse, const json_t *object, const char *name,
		       const char **ret);

/* The same for an object. */
int backend_get_object(const struct backend_parse *parse, const json_t *object, const char *name,
		       const json_t **ret);

/* Copy @value, which was not set before; NULL and "" give NULL. Return: 0, -ENOMEM. */
int backend_set_string(char **ret, const char *value);

/* Overwrite all strings below @value: jansson frees them as they are. */
void backend_json_wipe(json_t *value);

/* Wipe @value, which may be NULL, and give up our reference to it. */
void backend_json_free(json_t *value);
static inline void backend_json_freep(json_t **p)
{
	backend_json_free(*p);
}

/*
 * As backend_source_read(), but if @file is not NULL, it is the text, and nothing needs to be
 * in @directory. @file is stolen, in any case.
 */
int backend_source_make(struct backend_source **ret, const char *directory, char *const *env,
			char *file, char **ret_error);

/* Where to read, and how to say what went wrong. */
struct backend_reader {
	int dir_fd;
	const char *directory;
	const char *data_dir; /* relative to @directory, or absolute */
	char **ret_error;
};

/*
 * The text of @path, which has @max bytes at most; *@ret is NULL if there is no such file; to be
 * wiped and freed. Return: 0, or as backend_source_read(), with the sentence set.
 */
int backend_read_file(const struct backend_reader *reader, const char *path, size_t max,
		      char **ret);

/*
 * backend_source.profile_endpoints for the backend whose file's text is @file: NULL if the shared
 * files say nothing that counts, or need not be looked at. Return: as backend_read_file().
 */
int backend_read_profile(char **ret, const struct backend_reader *reader, const char *file,
			 char *const *env);

/* Whether a profile has a say in where the S3 backend @config finds S3 or DynamoDB. */
bool backend_asks_profile(const json_t *config, char *const *env);

/* The state file of a local backend. Return: 0, -EBADMSG, -EINVAL, -ENOMEM. */
int backend_parse_local(const struct backend_parse *parse, const json_t *config,
			struct backend *backend);

/* A backend of which we only know what tells its states apart. Return: 0, -EINVAL, -ENOMEM. */
int backend_parse_other(const struct backend_parse *parse, const json_t *config,
			struct backend *backend);

/* All of an S3 backend but whether it locks. Return: 0, -EBADMSG, -EINVAL, -ENOMEM. */
int backend_parse_s3(const struct backend_parse *parse, const json_t *config,
		     struct backend *backend);

/* What its block says of credentials: backend->credentials_json. Return: 0, -EBADMSG, -ENOMEM. */
int backend_parse_credentials(const struct backend_parse *parse, const json_t *config,
			      struct backend *backend);

/* The S3 backend's endpoints, from @config and the environment. Return: as above. */
int backend_parse_endpoints(const struct backend_parse *parse, const json_t *config,
			    struct backend *backend);

/*
 * The endpoint @url in one spelling: lower case, no default port, no slash at the
 * end. All of AWS's own are "aws": its regions share the names of buckets, and
 * FIPS, dual-stack and VPC endpoints lead to the same ones. Return: the caller's
 * to free; NULL if there is no memory.
 */
char *backend_canonical_endpoint(const char *url);

/*
 * Whether @name is what Go's url.PathEscape() makes of it, no step in a path,
 * and has BACKEND_WORKSPACE_MAX bytes at most.
 */
bool backend_is_workspace(const char *name);

/* Go's path.Clean() in place; @path holds at least two bytes. */
void backend_clean_path(char *path);

/*
 * Whether a *.tf file's @text names a backend or has a cloud block. Pure.
 * @ret_type holds BACKEND_TYPE_SIZE bytes: its type, or "cloud".
 */
bool backend_scan_hcl(const char *text, char *ret_type);

/* The same for a *.tf.json file. What is not JSON names none: terraform will complain. */
bool backend_scan_json(const char *text, char *ret_type);
