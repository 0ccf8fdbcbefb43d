/* SPDX-License-Identifier: MIT */
/* Which shared files of AWS's tools terraform reads, and in which order (aws.md 5.2). */
#pragma once

#include <jansson.h>

#include "common/aws_profile.h"

#define AWS_FILE_MAX 1048576 /* bytes of one */

struct aws_files {
	char *const *env;                               /* terraform's */
	const json_t *config_files, *credentials_files; /* the backend block's lists; NULL: none */
	/*
	 * Read @path: *@ret is its text, to be wiped and freed by the caller, or NULL if there is
	 * none. Return: 0 or a negative errno, which ends it all.
	 */
	int (*read)(void *context, const char *path, char **ret);
	void *context;
};

/* The profile that @backend, a block, or @env names; NULL: none, which is "default". Lent. */
const char *aws_files_profile(const json_t *backend, char *const *env);

/* $HOME of @env, else the user's from the password database. NULL: none. Lent. */
const char *aws_files_home(char *const *env);

/* @path with $NAME, ${NAME} and a leading ~ put in, as terraform does. Return: 0 or -ENOMEM. */
int aws_files_expand(char **ret, char *const *env, const char *path);

/* Read them all into @profiles. Return: 0, what @files->read returns, or -ENOMEM. */
int aws_files_load(struct profiles *profiles, const struct aws_files *files);
