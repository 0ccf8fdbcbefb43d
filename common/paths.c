/* SPDX-License-Identifier: MIT */
#include "common/paths.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

static char *format(const char *dir, const char *rest)
{
	char *path = NULL;

	return asprintf(&path, "%s%s", dir, rest) < 0 ? NULL : path;
}

/* A variable counts only if it holds an absolute path (XDG Base Directory Specification). */
static const char *absolute_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

static const char *home_of(uid_t uid)
{
	const char *home = absolute_env("HOME");
	const struct passwd *entry = home ? NULL : getpwuid(uid);

	return entry ? entry->pw_dir : home;
}

char *paths_user_runtime_dir(uid_t uid)
{
	const char *runtime = absolute_env("XDG_RUNTIME_DIR");
	char *path = NULL;

	if (runtime)
		return format(runtime, "/tfqd");
	return asprintf(&path, "/tmp/tfqd-%u", (unsigned)uid) < 0 ? NULL : path;
}

char *paths_user_state_dir(uid_t uid)
{
	const char *state = absolute_env("XDG_STATE_HOME");
	const char *home = home_of(uid);

	if (state)
		return format(state, "/tfqd");
	return home ? format(home, "/.local/state/tfqd") : NULL;
}

char *paths_user_config_dir(uid_t uid)
{
	const char *config = absolute_env("XDG_CONFIG_HOME");
	const char *home = home_of(uid);

	if (config)
		return format(config, "/tfqd");
	return home ? format(home, "/.config/tfqd") : NULL;
}

char *paths_client_socket(void)
{
	const char *given = getenv("TFQ_SOCKET");
	AUTO_FREE char *dir = NULL;

	if (given && *given)
		return strdup(given);
	if (access(PATHS_SYSTEM_SOCKET, F_OK) == 0)
		return strdup(PATHS_SYSTEM_SOCKET);
	dir = paths_user_runtime_dir(geteuid());
	return dir ? format(dir, "/tfqd.sock") : NULL;
}

static int make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

int paths_make_dir(const char *path, mode_t mode)
{
	AUTO_FREE char *copy = strdup(path);
	struct stat st;
	int r;

	if (!copy)
		return -ENOMEM;
	/* A slash at the end would make it a parent, and lstat() follow a link. */
	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	r = make_parents(copy);
	if (r < 0)
		return r;
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(copy, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	return 0;
}
