/* SPDX-License-Identifier: MIT */
#include "common/env.h"

#include <stddef.h>
#include <string.h>

const char *env_get(char *const *env, const char *name)
{
	const size_t len = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

const char *env_get_filled(char *const *env, const char *name)
{
	const char *value = env_get(env, name);

	return value && *value ? value : NULL;
}
