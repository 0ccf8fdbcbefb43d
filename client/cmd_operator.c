/* SPDX-License-Identifier: MIT */
/* Commands that change what comes next: pause, resume, up, retry. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/run.h"
#include "common/cleanup.h"
#include "common/wire.h"

/* --- pause, resume --------------------------------------------------------------------------- */

int cmd_pause(int argc, char **argv)
{
	const char *reason = NULL;
	const struct command_value values[] = { { "reason", .text = &reason }, { 0 } };
	json_t *answer = NULL;
	int r;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	r = rpc_call(WIRE_PAUSE, json_pack("{s:s*, s:s*}", "state", argv[1], "reason", reason),
		     &answer);
	json_decref(answer);
	if (r != 0)
		return r;
	if (argv[1]) {
		(void)printf("Nothing new starts on %s, until 'tfq resume %s'.\n", argv[1],
			     argv[1]);
	} else {
		(void)printf("Nothing new starts on any state, until 'tfq resume'.\n");
	}
	return 0;
}

int cmd_resume(int argc, char **argv)
{
	static const struct command_value values[] = { { 0 } };
	json_t *answer = NULL;
	int r;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	r = rpc_call(WIRE_RESUME, json_pack("{s:s*}", "state", argv[1]), &answer);
	json_decref(answer);
	if (r != 0)
		return r;
	if (argv[1])
		(void)printf("The queue of %s goes on.\n", argv[1]);
	else
		(void)printf("The queues go on that 'tfq pause' without a state has stopped.\n");
	return 0;
}

/* --- up -------------------------------------------------------------------------------------- */

static int need_job(int argc, char **argv, uint64_t *ret)
{
	if (argc > 1)
		return command_find_job(argv[1], ret);
	print_error("%s which job? 'tfq queue --all' lists them", argv[0] + strlen("tfq "));
	return EXIT_USAGE;
}

int cmd_up(int argc, char **argv)
{
	static const struct command_value values[] = { { 0 } };
	json_t *answer = NULL;
	const json_t *job;
	char state[256];
	uint64_t id;
	int r;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	r = need_job(argc, argv, &id);
	if (r == 0)
		r = rpc_call(WIRE_UP, json_pack("{s:I}", "id", (json_int_t)id), &answer);
	if (r != 0)
		return r;
	job = json_object_get(answer, "job");
	(void)printf("Job %" PRIu64 ": place %" PRIu64 " of %" PRIu64 " on %s.\n", id,
		     print_number(job, "position"), print_number(job, "of"),
		     print_text(state, sizeof(state), job, "state"));
	json_decref(answer);
	return 0;
}

/* --- retry ----------------------------------------------------------------------------------- */

/* Return: may it be queued again? If not, the user has been told why. */
static bool can_retry(uint64_t id, const json_t *job)
{
	char user[64], status[32], command[512], directory[WIRE_PATH_MAX];

	if (print_number(job, "ended") == 0) {
		print_error("#%" PRIu64 " is %s; 'tfq attach %" PRIu64 "' shows it", id,
			    print_text(status, sizeof(status), job, "status"), id);
		return false;
	}
	if ((uint64_t)json_integer_value(json_object_get(job, "uid")) != getuid()) {
		print_error("#%" PRIu64 " was %s's, and only %s can queue it again", id,
			    print_text(user, sizeof(user), job, "user"), user);
		return false;
	}
	if (json_array_size(json_object_get(job, "argv")) == 0) {
		print_error("of the command line of #%" PRIu64
			    " tfqd has kept only what is no secret: %s\n"
			    "Type it again, in %s",
			    id, print_text(command, sizeof(command), job, "command"),
			    print_text(directory, sizeof(directory), job, "directory"));
		return false;
	}
	return true;
}

/* Return: 0, or the exit code after telling why not. */
static int enter(const json_t *job)
{
	const char *directory = json_string_value(json_object_get(job, "directory"));

	if (!directory || chdir(directory) < 0) {
		print_error("cannot enter %s, where that job ran: %s", directory ? directory : "?",
			    directory ? strerror(errno) : "unknown");
		return EXIT_BAD_STATE;
	}
	(void)setenv("PWD", directory, 1); /* as cd would */
	return 0;
}

static int run_again(const json_t *job, struct run_options *options)
{
	const json_t *words = json_object_get(job, "argv"), *word;
	AUTO_FREE char **argv = calloc(json_array_size(words) + 1, sizeof(*argv));
	char shown[512];
	size_t i;
	int r;

	if (!argv)
		return EXIT_OURS;
	json_array_foreach(words, i, word)
	{
		const char *text = json_string_value(word);

		/* of @job, which outlives the run; nobody writes to it */
		memcpy(&argv[i], &text, sizeof(text));
		if (!text)
			return EXIT_OURS;
	}
	if (!options->label)
		options->label = json_string_value(json_object_get(job, "label"));
	if (!options->reason)
		options->reason = json_string_value(json_object_get(job, "reason"));
	r = enter(job);
	if (r != 0)
		return r;
	if (!options->quiet && !options->json) {
		print_error("again, in %s: %s",
			    json_string_value(json_object_get(job, "directory")),
			    print_text(shown, sizeof(shown), job, "command"));
	}
	return run_queued(argv, options);
}

int cmd_retry(int argc, char **argv)
{
	struct run_options options = { 0 };
	const struct command_value values[] = RUN_VALUES(options);
	json_t *answer = NULL;
	const json_t *job;
	uint64_t id;
	int r;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	r = need_job(argc, argv, &id);
	if (r == 0)
		r = rpc_call(WIRE_INFO, json_pack("{s:I}", "id", (json_int_t)id), &answer);
	if (r != 0)
		return r;
	job = json_object_get(answer, "job");
	r = can_retry(id, job) ? run_again(job, &options) : EXIT_USAGE;
	json_decref(answer);
	return r;
}
