/* SPDX-License-Identifier: MIT */
#include "daemon/config_load.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/paths.h"
#include "common/text.h"

static int read_file(struct config *config, const char *path, bool is_needed)
{
	AUTO_FREE char *error = NULL;
	const int r = config_read(config, path, &error);

	if (r == -ENOENT && !is_needed)
		return 0;
	if (r < 0)
		return log_error(r, "%s", error ? error : strerror(-r));
	return 0;
}

/* The snippets beside the main file, in the order of their names. */
static int read_snippets(struct config *config, const char *dir)
{
	AUTO_FREE char *pattern = NULL;
	glob_t found = { 0 };
	int r = 0;

	if (asprintf(&pattern, "%s/tfqd.conf.d/*.conf", dir) < 0) {
		pattern = NULL;
		return log_oom();
	}
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc && r >= 0; i++)
			r = read_file(config, found.gl_pathv[i], true);
	globfree(&found);
	return r;
}

static int read_all(struct config *config, const struct config_options *options)
{
	AUTO_FREE char *user_dir = NULL;
	AUTO_FREE char *path = NULL;
	const char *dir = "/etc/tfqd";
	int r;

	if (options->file)
		return read_file(config, options->file, true);
	if (geteuid() != 0) {
		user_dir = paths_user_config_dir(geteuid());
		if (!user_dir)
			return 0;
		dir = user_dir;
	}
	if (asprintf(&path, "%s/tfqd.conf", dir) < 0) {
		path = NULL;
		return log_oom();
	}
	r = read_file(config, path, false);
	return r < 0 ? r : read_snippets(config, dir);
}

/*
 * A command-line option wins over the configuration, which wins over systemd's @variable,
 * which wins over @fallback.
 */
static int settle(char **field, const char *arg, const char *variable, const char *fallback)
{
	const char *from_systemd = variable ? getenv(variable) : NULL;
	const char *value = fallback;

	if (arg && arg[0] != '/')
		return log_error(-EINVAL, "'%s' is no absolute path", arg);
	if (arg)
		value = arg;
	else if (*field)
		return 0;
	else if (from_systemd && *from_systemd)
		value = from_systemd;
	if (!value) {
		return log_error(
			-ENOENT,
			"Cannot tell where to keep things: set HOME, or give --state-dir and "
			"--runtime-dir");
	}
	return text_replace(field, value) < 0 ? log_oom() : 0;
}

static int settle_paths(struct config *config, const struct config_options *options)
{
	const bool is_root = geteuid() == 0;
	AUTO_FREE char *state_dir = paths_user_state_dir(geteuid());
	AUTO_FREE char *runtime_dir = paths_user_runtime_dir(geteuid());
	AUTO_FREE char *socket = NULL;
	int r;

	r = settle(&config->state_dir, options->state_dir, "STATE_DIRECTORY",
		   is_root ? "/var/lib/tfqd" : state_dir);
	if (r >= 0) {
		r = settle(&config->runtime_dir, options->runtime_dir, "RUNTIME_DIRECTORY",
			   is_root ? "/run/tfqd" : runtime_dir);
	}
	if (r < 0)
		return r;
	if (asprintf(&socket, "%s/tfqd.sock", config->runtime_dir) < 0) {
		socket = NULL;
		return log_oom();
	}
	return settle(&config->socket, options->socket, NULL, socket);
}

static int check(const struct config *config)
{
	AUTO_FREE char *error = NULL;
	const char *key;
	size_t index = 0;
	int r;

	r = config_check(config, &error);
	if (r < 0)
		return log_error(r, "%s", error ? error : strerror(-r));
	while ((key = config_next_unused(config, &index)))
		log_warning(0, "%s is set, but this version does nothing with it yet", key);
	return 0;
}

int config_load(struct config **ret, const struct config_options *options)
{
	CLEANUP(config_freep) struct config *config = NULL;
	int r;

	r = config_new(&config);
	if (r < 0)
		return log_oom();
	r = read_all(config, options);
	if (r >= 0)
		r = settle_paths(config, options);
	if (r >= 0)
		r = check(config);
	if (r >= 0)
		*ret = TAKE_PTR(config);
	return r;
}
