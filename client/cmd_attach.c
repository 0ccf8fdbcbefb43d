/* SPDX-License-Identifier: MIT */
/* Commands that watch jobs: attach, logs, wait. */
#include <getopt.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/run.h"
#include "client/since.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/wire.h"

/* The one number that is left on the command line. Return: 0 after telling the user that it is not
 * there. */
static uint64_t take_one_id(int argc, char **argv)
{
	if (optind == argc) {
		print_error("%s which job? 'tfq queue' lists them", argv[0] + sizeof("tfq"));
		return 0;
	}
	if (optind + 1 < argc) {
		print_error("%s shows one job at a time; '%s' is one too many",
			    argv[0] + sizeof("tfq"), argv[optind + 1]);
		return 0;
	}
	return command_take_id(argv[optind]);
}

int cmd_attach(int argc, char **argv)
{
	static const struct option options[] = { { "no-stdin", no_argument, NULL, 'n' },
						 { "detach-keys", required_argument, NULL, 'k' },
						 { 0 } };
	bool has_input = true;
	struct keys keys;
	uint64_t id;
	int option;

	(void)keys_parse(&keys, KEYS_DEFAULT);
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'n') {
			has_input = false;
		} else if (option != 'k') {
			return EXIT_USAGE;
		} else if (keys_parse(&keys, optarg) < 0) {
			print_error("'%s' are no keys; write them as ctrl-p,ctrl-q or a single "
				    "character",
				    optarg);
			return EXIT_USAGE;
		}
	}
	id = take_one_id(argc, argv);
	return id ? run_attached(id, has_input, &keys) : EXIT_USAGE;
}

/* --- logs --------------------------------------------------------------------------------------
 */

static bool take_since(const char *text, struct run_logs_options *ret)
{
	if (since_parse(text, clock_usec(CLOCK_REALTIME), &ret->since_usec) == 0)
		return true;
	print_error("'%s' is no time; write 2026-01-31T14:30:00Z, 14:30, or an age as 10min", text);
	return false;
}

static bool take_lines(const char *text, struct run_logs_options *ret)
{
	if (parse_u64(text, UINT64_MAX - 1, &ret->lines) == 0)
		return true;
	print_error("'%s' is no number of lines", text);
	return false;
}

int cmd_logs(int argc, char **argv)
{
	static const struct option options[] = { { "follow", no_argument, NULL, 'f' },
						 { "lines", required_argument, NULL, 'n' },
						 { "since", required_argument, NULL, 's' },
						 { "timestamps", no_argument, NULL, 't' },
						 { 0 } };
	struct run_logs_options what = { .lines = UINT64_MAX };
	bool is_good = true;
	uint64_t id;
	int option;

	while (is_good && (option = getopt_long(argc, argv, "fn:", options, NULL)) >= 0) {
		switch (option) {
		case 'f': what.follow = true; break;
		case 'n': is_good = take_lines(optarg, &what); break;
		case 's': is_good = take_since(optarg, &what); break;
		case 't': what.timestamps = true; break;
		default: is_good = false; break;
		}
	}
	if (!is_good)
		return EXIT_USAGE;
	id = take_one_id(argc, argv);
	return id ? run_logs(id, &what) : EXIT_USAGE;
}

/* --- wait --------------------------------------------------------------------------------------
 */

/* Is it there at all? That of the last one is not to be told after hours for the first. */
static int look_for(uint64_t id)
{
	json_t *answer = NULL;
	const int r = rpc_call(WIRE_INFO, json_pack("{s:I}", "id", (json_int_t)id), &answer);

	json_decref(answer);
	return r;
}

int cmd_wait(int argc, char **argv)
{
	static const struct option options[] = { { "timeout", required_argument, NULL, 't' },
						 { 0 } };
	uint64_t timeout_usec = 0, deadline_usec = 0;
	int option, code = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option != 't')
			return EXIT_USAGE;
		if (parse_usec(optarg, &timeout_usec) < 0 || timeout_usec == 0) {
			print_error("'%s' is no time; write 30s, 15min or 2h", optarg);
			return EXIT_USAGE;
		}
		deadline_usec = clock_usec(CLOCK_MONOTONIC) + timeout_usec;
	}
	if (optind == argc) {
		print_error("wait for which job? 'tfq queue' lists them");
		return EXIT_USAGE;
	}
	for (int i = optind; i < argc; i++) {
		const uint64_t id = command_take_id(argv[i]);
		const int r = id ? look_for(id) : EXIT_USAGE;

		if (r != 0)
			return r;
	}
	for (int i = optind; i < argc; i++) {
		const int r = run_wait(command_take_id(argv[i]), deadline_usec);

		if (r != 0)
			code = r;
		if (deadline_usec > 0 && r == EXIT_TIMED_OUT &&
		    clock_usec(CLOCK_MONOTONIC) >= deadline_usec) {
			print_error("gave up; #%s is not over yet", argv[i] + (argv[i][0] == '#'));
			break;
		}
	}
	return code;
}
