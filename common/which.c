/* SPDX-License-Identifier: MIT */
#include "common/which.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static bool is_skipped(const struct stat *st, const char *const *skip)
{
	struct stat other;

	for (; skip && *skip; skip++) {
		if (**skip && stat(*skip, &other) == 0 && other.st_dev == st->st_dev &&
		    other.st_ino == st->st_ino)
			return true;
	}
	return false;
}

/* Return: 0, or why not. */
static int try_file(const char *file, const char *const *skip)
{
	struct stat st;

	if (stat(file, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	if (is_skipped(&st, skip))
		return -ELOOP;
	return access(file, X_OK) == 0 ? 0 : -EACCES;
}

int which_program(char **ret, const char *name, const char *path, const char *const *skip)
{
	int best = -ENOENT;

	if (strchr(name, '/')) {
		const int r = try_file(name, skip);

		if (r < 0)
			return r;
		*ret = strdup(name);
		return *ret ? 0 : -ENOMEM;
	}

	for (const char *at = path ? path : DEFAULT_PATH; at;) {
		const size_t len = strcspn(at, ":");
		AUTO_FREE char *file = NULL;
		int r;

		/* An empty element is the current directory (POSIX, 8.3). */
		if (asprintf(&file, "%.*s%s%s", (int)len, at, len > 0 ? "/" : "./", name) < 0) {
			file = NULL;
			return -ENOMEM;
		}
		r = try_file(file, skip);
		if (r == 0) {
			*ret = TAKE_PTR(file);
			return 0;
		}
		if (r != -ENOENT)
			best = r;
		at = at[len] ? at + len + 1 : NULL;
	}
	return best;
}
