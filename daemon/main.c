/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/paths.h"
#include "daemon/config_load.h"
#include "daemon/daemon.h"

static struct config_options arg;
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
		case OPT_CONFIG: arg.file = optarg; break;
		case OPT_SOCKET: arg.socket = optarg; break;
		case OPT_STATE: arg.state_dir = optarg; break;
		case OPT_RUNTIME: arg.runtime_dir = optarg; break;
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

static int run(void)
{
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(daemon_freep) struct daemon *daemon = NULL;
	int r;

	r = config_load(&config, &arg);
	if (r < 0)
		return r == -ENOMEM ? EX_OSERR : EX_CONFIG;
	if (arg_check_config) {
		(void)printf("The configuration is good.\n");
		return EXIT_SUCCESS;
	}
	log_set_level(config->log_level);
	r = daemon_new(&daemon, config, &arg, environ);
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
