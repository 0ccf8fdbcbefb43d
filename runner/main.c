/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/parse.h"
#include "runner/rights.h"
#include "runner/runner.h"

/* What asks for credentials is a program of its own, so that this one does without libcurl. */
static int run_credentials(void)
{
	char path[PATH_MAX + sizeof("tfq-credentials")];
	const ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash) {
		(void)snprintf(slash + 1, sizeof("tfq-credentials"), "tfq-credentials");
		(void)execl(path, "tfq-credentials", (char *)NULL);
	}
	(void)fprintf(stderr,
		      "tfq-runner: cannot run tfq-credentials, which must lie beside it: "
		      "%s\n",
		      strerror(errno));
	return EX_OSFILE;
}

static void print_help(void)
{
	(void)printf(
		"tfq-runner [--groups LIST] --job ID --socket PATH\n"
		"tfq-runner [--groups LIST] --credentials\n"
		"\n"
		"Runs terraform for one job, or finds its AWS credentials. tfqd starts it; it is of no use by hand.\n");
}

int main(int argc, char **argv)
{
	enum { OPT_JOB = 256, OPT_SOCKET, OPT_GROUPS, OPT_CREDENTIALS, OPT_VERSION, OPT_HELP };
	static const struct option options[] = {
		{ "job", required_argument, NULL, OPT_JOB },
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "groups", required_argument, NULL, OPT_GROUPS },
		{ "credentials", no_argument, NULL, OPT_CREDENTIALS },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ 0 },
	};
	const char *socket = NULL;
	uint64_t id = 0;
	int option, r;

#ifndef __SANITIZE_ADDRESS__             /* whose leak check wants to trace us */
	(void)prctl(PR_SET_DUMPABLE, 0); /* environments with secrets are in here */
#endif
	log_init(LOG_INFO);
	while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (option) {
		case OPT_JOB:
			if (parse_u64(optarg, INT64_MAX, &id) < 0)
				id = 0;
			break;
		case OPT_SOCKET: socket = optarg; break;
		case OPT_GROUPS: /* it comes first: what follows has the user's rights alone */
			r = rights_settle(optarg);
			if (r < 0) {
				log_error(r, "tfq-runner: cannot take the groups %s: %m", optarg);
				return EX_OSERR;
			}
			break;
		case OPT_CREDENTIALS: return run_credentials();
		case OPT_VERSION: (void)printf("tfq-runner %s\n", VERSION); return EXIT_SUCCESS;
		case 'h':
		case OPT_HELP: print_help(); return EXIT_SUCCESS;
		default: return EX_USAGE;
		}
	}
	if (id == 0 || !socket) {
		(void)fprintf(stderr, "tfq-runner is started by tfqd; people use tfq.\n");
		return EX_USAGE;
	}
	r = runner_run(id, socket);
	if (r < 0)
		log_warning(r, "tfq-runner: job %llu: %m", (unsigned long long)id);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
