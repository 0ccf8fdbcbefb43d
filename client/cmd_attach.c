/* SPDX-License-Identifier: MIT */
/* Commands that watch jobs: attach, logs, wait. */
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/run.h"
#include "client/since.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/wire.h"

int cmd_attach(int argc, char **argv)
{
	bool is_blind = false;
	const char *leave = NULL;
	const struct command_value values[] = { { "no-stdin", .flag = &is_blind },
						{ "detach-keys", .text = &leave },
						{ 0 } };
	struct keys keys;
	uint64_t id;
	int r;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (keys_parse(&keys, leave ? leave : KEYS_DEFAULT) < 0) {
		print_error("'%s' are no keys; write them as ctrl-p,ctrl-q or a single character",
			    leave);
		return EXIT_USAGE;
	}
	r = command_take_job(argc, argv, false, &id);
	return r == 0 ? run_attached(id, !is_blind, &keys) : r;
}

/* --- logs ------------------------------------------------------------------------------------ */

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
	struct run_logs_options what = { .lines = UINT64_MAX };
	const char *lines = NULL, *since = NULL;
	const struct command_value values[] = { { "follow", .flag = &what.follow },
						{ "lines", .text = &lines },
						{ "since", .text = &since },
						{ "timestamps", .flag = &what.timestamps },
						{ 0 } };
	uint64_t id;
	int r;

	argc = command_parse(argc, argv, values);
	if (argc < 0 || (lines && !take_lines(lines, &what)) ||
	    (since && !take_since(since, &what)))
		return EXIT_USAGE;
	r = command_take_job(argc, argv, true, &id);
	return r == 0 ? run_logs(id, &what) : r;
}

/* --- wait ------------------------------------------------------------------------------------ */

/* Is it there at all? That of the last one is not to be told after hours for the first. */
static int look_for(uint64_t id)
{
	json_t *answer = NULL;
	const int r = rpc_call(WIRE_INFO, json_pack("{s:I}", "id", (json_int_t)id), &answer);

	json_decref(answer);
	return r;
}

/* Which ones, before anything is waited for. Return: 0, or the exit code. */
static int take_all(int argc, char **argv, uint64_t *ids)
{
	for (int i = 1; i < argc; i++) {
		int r = command_find_job(argv[i], &ids[i]);

		r = r == 0 ? look_for(ids[i]) : r;
		if (r != 0)
			return r;
	}
	return argc > 1 ? 0 : command_take_job(argc, argv, false, &ids[1]);
}

int cmd_wait(int argc, char **argv)
{
	uint64_t timeout_usec = 0, deadline_usec = 0;
	const struct command_value values[] = { { "timeout", .usec = &timeout_usec }, { 0 } };
	AUTO_FREE uint64_t *ids = NULL;
	int r, code = 0;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (timeout_usec > 0)
		deadline_usec = clock_usec(CLOCK_MONOTONIC) + timeout_usec;
	ids = calloc((size_t)argc + 2, sizeof(*ids));
	if (!ids)
		return EXIT_OURS;
	r = take_all(argc, argv, ids);
	if (r != 0)
		return r;
	for (const uint64_t *id = ids + 1; *id; id++) {
		r = run_wait(*id, deadline_usec);
		code = r != 0 ? r : code;
		if (deadline_usec > 0 && r == EXIT_TIMED_OUT &&
		    clock_usec(CLOCK_MONOTONIC) >= deadline_usec) {
			print_error("gave up; #%" PRIu64 " is not over yet", *id);
			break;
		}
	}
	return code;
}
