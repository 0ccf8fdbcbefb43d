/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/paths.h"
#include "common/text.h"
#include "daemon/config.h"
#include "daemon/daemon.h"

static const char *arg_config, *arg_socket, *arg_state_dir, *arg_runtime_dir;
static bool arg_check_config;

static void print_help(void)
{
	(void)printf(
		"tfqd [--config FILE] [--socket PATH] [--state-dir DIR] [--runtime-dir DIR]\n"
		"\n"
		"Queues terraform runs and holds terraform's own state lock for them; see tfq(1).\n"
		"As root it serves everybody, otherwise the user who starts it.\n"
		"\n"
		"  --config FILE      read FILE instead of /etc/tfqd/tfqd.conf and tfqd.conf.d/*.conf\n"
		"                     (~/.config/tfqd/tfqd.conf if not root)\n"
		"  --socket PATH      listen there instead of " PATHS_SYSTEM_SOCKET "\n"
		"                     ($XDG_RUNTIME_DIR/tfqd/tfqd.sock if not root)\n"
		"  --state-dir DIR    queue, history, recordings of what jobs print (/var/lib/tfqd)\n"
		"  --runtime-dir DIR  what a reboot may forget: socket, environments (/run/tfqd)\n"
		"  --check-config     check the configuration and exit\n"
		"  --version          print the version and exit\n"
		"  --help             print this and exit\n");
}

/* Return: -1 to go on, or the exit code. */
static int parse_arguments(int argc, char **argv)
{
	enum {
		OPT_CONFIG = 256,
		OPT_SOCKET,
		OPT_STATE,
		OPT_RUNTIME,
		OPT_CHECK,
		OPT_VERSION,
		OPT_HELP
	};
	static const struct option options[] = {
		{ "config", required_argument, NULL, OPT_CONFIG },
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "state-dir", required_argument, NULL, OPT_STATE },
		{ "runtime-dir", required_argument, NULL, OPT_RUNTIME },
		{ "check-config", no_argument, NULL, OPT_CHECK },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (option) {
		case OPT_CONFIG: arg_config = optarg; break;
		case OPT_SOCKET: arg_socket = optarg; break;
		case OPT_STATE: arg_state_dir = optarg; break;
		case OPT_RUNTIME: arg_runtime_dir = optarg; break;
		case OPT_CHECK: arg_check_config = true; break;
		case OPT_VERSION: (void)printf("tfqd %s\n", VERSION); return EXIT_SUCCESS;
		case 'h':
		case OPT_HELP: print_help(); return EXIT_SUCCESS;
		default: (void)fprintf(stderr, "Try 'tfqd --help'.\n"); return EX_USAGE;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "tfqd: '%s' is no option. Try 'tfqd --help'.\n",
			      argv[optind]);
		return EX_USAGE;
	}
	return -1;
}

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

static int read_config(struct config *config)
{
	AUTO_FREE char *user_dir = NULL;
	AUTO_FREE char *path = NULL;
	const char *dir = "/etc/tfqd";
	int r;

	if (arg_config)
		return read_file(config, arg_config, true);
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

static int settle_paths(struct config *config)
{
	const bool is_root = geteuid() == 0;
	AUTO_FREE char *state_dir = paths_user_state_dir(geteuid());
	AUTO_FREE char *runtime_dir = paths_user_runtime_dir(geteuid());
	AUTO_FREE char *socket = NULL;
	int r;

	r = settle(&config->state_dir, arg_state_dir, "STATE_DIRECTORY",
		   is_root ? "/var/lib/tfqd" : state_dir);
	if (r >= 0) {
		r = settle(&config->runtime_dir, arg_runtime_dir, "RUNTIME_DIRECTORY",
			   is_root ? "/run/tfqd" : runtime_dir);
	}
	if (r < 0)
		return r;
	if (asprintf(&socket, "%s/tfqd.sock", config->runtime_dir) < 0) {
		socket = NULL;
		return log_oom();
	}
	return settle(&config->socket, arg_socket, NULL, socket);
}

static int check_config(const struct config *config)
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

static int run(void)
{
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(daemon_freep) struct daemon *daemon = NULL;
	int r;

	r = config_new(&config);
	if (r < 0) {
		(void)log_oom();
		return EX_OSERR;
	}
	if (read_config(config) < 0 || settle_paths(config) < 0 || check_config(config) < 0)
		return EX_CONFIG;
	if (arg_check_config) {
		(void)printf("The configuration is good.\n");
		return EXIT_SUCCESS;
	}
	log_set_level(config->log_level);
	r = daemon_new(&daemon, config, environ);
	if (r == -EUCLEAN || r == -EPROTONOSUPPORT)
		return EX_DATAERR; /* starting again would not help */
	if (r < 0)
		return EXIT_FAILURE;
	return daemon_run(daemon) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const int r = parse_arguments(argc, argv);

	if (r >= 0)
		return r;
#ifndef __SANITIZE_ADDRESS__             /* whose leak check wants to trace us */
	(void)prctl(PR_SET_DUMPABLE, 0); /* environments with secrets are in here */
#endif
	log_init(LOG_INFO);
	return run();
}
