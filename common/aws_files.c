/* SPDX-License-Identifier: MIT */
#include "common/aws_files.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/env.h"
#include "common/secret.h"

const char *aws_files_profile(const json_t *backend, char *const *env)
{
	const char *name = json_string_value(json_object_get(backend, "profile"));

	if (!name || !*name)
		name = env_get_filled(env, "AWS_PROFILE");
	return name ? name : env_get_filled(env, "AWS_DEFAULT_PROFILE");
}

const char *aws_files_home(char *const *env)
{
	const char *home = env_get_filled(env, "HOME");
	const struct passwd *user;

	if (home)
		return home;
	user = getpwuid(geteuid());
	return user ? user->pw_dir : NULL;
}

/* The variable at *@at, behind its "$"; *@at is moved behind it. "" if it is not set. */
static const char *take_variable(char *const *env, const char **at)
{
	const bool is_braced = **at == '{';
	const char *start = *at + is_braced;
	const char *value;
	AUTO_FREE char *name = NULL;
	size_t len = 0;

	while (isalnum((unsigned char)start[len]) || start[len] == '_')
		len++;
	*at = start + len + (is_braced && start[len] == '}');
	name = strndup(start, len);
	value = name ? env_get_filled(env, name) : NULL;
	return value ? value : "";
}

int aws_files_expand(char **ret, char *const *env, const char *path)
{
	AUTO_FREE char *text = NULL;
	const char *home;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return -ENOMEM;
	if (path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
		home = aws_files_home(env);
		(void)fputs(home ? home : "~", out);
		path++;
	}
	while (*path) {
		if (*path == '$') {
			path++;
			(void)fputs(take_variable(env, &path), out);
		} else {
			(void)fputc(*path++, out);
		}
	}
	if (fclose(out) != 0)
		return -ENOMEM;
	*ret = TAKE_PTR(text);
	return 0;
}

static int load_path(struct profiles *profiles, const struct aws_files *files,
		     enum profile_file file, const char *path)
{
	CLEANUP(secret_freep) char *text = NULL;
	const int r = files->read(files->context, path, &text);

	return r < 0 || !text ? r : profiles_add(profiles, file, text);
}

static int load(struct profiles *profiles, const struct aws_files *files, enum profile_file file,
		const char *path)
{
	AUTO_FREE char *full = NULL;
	const int r = aws_files_expand(&full, files->env, path);

	return r < 0 ? r : load_path(profiles, files, file, full);
}

/* The files of one kind: the backend's list, else a variable's one, else the usual one. */
static int load_kind(struct profiles *profiles, const struct aws_files *files,
		     enum profile_file file)
{
	const bool is_config = file == PROFILE_CONFIG;
	const json_t *list = is_config ? files->config_files : files->credentials_files;
	const char *path = env_get_filled(files->env, is_config ? "AWS_SHARED_CONFIG_FILE"
								: "AWS_SHARED_CREDENTIALS_FILE");
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = load(profiles, files, file, json_string_value(json_array_get(list, i)) ?: "");
	if (r < 0 || json_array_size(list) > 0)
		return r;
	if (path)
		return load(profiles, files, file, path);
	path = is_config ? env_get_filled(files->env, "AWS_CONFIG_FILE") : NULL;
	if (path) /* the SDK's own, which takes it as it is */
		return load_path(profiles, files, file, path);
	return load(profiles, files, file, is_config ? "~/.aws/config" : "~/.aws/credentials");
}

int aws_files_load(struct profiles *profiles, const struct aws_files *files)
{
	const int r = load_kind(profiles, files, PROFILE_CONFIG);

	return r < 0 ? r : load_kind(profiles, files, PROFILE_CREDENTIALS);
}
