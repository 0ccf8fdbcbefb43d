/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/parse.h"
#include "runner/runner.h"

static void print_help(void)
{
	(void)printf("tfq-runner --job ID --socket PATH\n"
		     "\n"
		     "Runs terraform for one job. tfqd starts it; it is of no use by hand.\n");
}

int main(int argc, char **argv)
{
	enum { OPT_JOB = 256, OPT_SOCKET, OPT_VERSION, OPT_HELP };
	static const struct option options[] = {
		{ "job", required_argument, NULL, OPT_JOB },
		{ "socket", required_argument, NULL, OPT_SOCKET },
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
