/* SPDX-License-Identifier: MIT */
#include "client/completion.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/paths.h"
#include "common/text.h"
#include "common/tfargs.h"
#include "common/varlink.h"
#include "common/wire.h"

#define ANSWER_USEC (500 * USEC_PER_MSEC) /* somebody waits for the cursor */
#define JOBS_MAX    200                   /* that are offered: the latest */

/* --- what tfqd knows ------------------------------------------------------------------------- */

/* One page of jobs behind number @after. Return: NULL if it does not come in time. */
static json_t *ask(struct varlink *varlink, bool over, json_int_t after, uint64_t until_usec)
{
	json_auto_t *call =
		varlink_call(WIRE_LIST, json_pack("{s:b, s:I}", "all", over, "after", after));
	json_auto_t *answer = NULL;
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);

	if (now >= until_usec || varlink_send(varlink, call, NULL, 0) < 0 ||
	    rpc_wait(varlink, &answer, (int)((until_usec - now) / USEC_PER_MSEC) + 1) <= 0)
		return NULL;
	return json_incref(json_object_get(answer, "parameters"));
}

/* As many as come in time. Return: a new array. */
static json_t *fetch(bool over)
{
	CLEANUP(varlink_freep) struct varlink *varlink = NULL;
	AUTO_FREE char *path = paths_client_socket();
	const uint64_t until_usec = clock_usec(CLOCK_MONOTONIC) + ANSWER_USEC;
	json_t *jobs = json_array();
	json_int_t after = 0;
	bool has_more = path && varlink_connect(&varlink, path) == 0;

	while (has_more) {
		json_auto_t *answer = ask(varlink, over, after, until_usec);
		const json_t *page = json_object_get(answer, "jobs");
		const size_t count = json_array_size(page);

		(void)json_array_extend(jobs, json_object_get(answer, "jobs"));
		has_more = count > 0 && json_is_true(json_object_get(answer, "more"));
		after = json_integer_value(
			json_object_get(json_array_get(page, count > 0 ? count - 1 : 0), "id"));
	}
	return jobs;
}

static void answer_jobs(bool over)
{
	json_auto_t *jobs = fetch(over);
	char status[32], command[64], state[128], label[64];
	const size_t count = json_array_size(jobs);

	for (size_t i = count; i-- > 0 && count - i <= JOBS_MAX;) {
		const json_t *job = json_array_get(jobs, i);

		(void)print_text(label, sizeof(label), job, "label");
		(void)printf("%" PRIu64 "\t%s %s on %s%s%s\n", print_number(job, "id"),
			     print_text(status, sizeof(status), job, "status"),
			     print_text(command, sizeof(command), job, "command"),
			     print_text(state, sizeof(state), job, "state"), *label ? ", " : "",
			     label);
	}
}

static void answer_states(void)
{
	json_auto_t *jobs = fetch(true);
	json_auto_t *seen = json_object();
	const char *state;
	json_t *value;

	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *job = json_array_get(jobs, i);
		char printable[1024];

		state = json_string_value(json_object_get(job, "state"));
		if (!state || !*state ||
		    strcmp(state, text_printable(printable, sizeof(printable), state)) != 0)
			continue; /* it cannot be typed */
		if (print_number(job, "ended") == 0 || !json_object_get(seen, state))
			(void)json_object_set(seen, state, json_object_get(job, "ended"));
	}
	json_object_foreach(seen, state, value)
	{
		(void)printf("%s\t%s\n", state,
			     json_integer_value(value) > 0 ? "nothing queued" : "in use");
	}
}

int completion_answer(char *const *argv)
{
	const char *kind = argv[0] ? argv[0] : "";

	if (strcmp(kind, "jobs") == 0)
		answer_jobs(false);
	else if (strcmp(kind, "all-jobs") == 0)
		answer_jobs(true);
	else if (strcmp(kind, "states") == 0)
		answer_states();
	return 0;
}

/* --- what the scripts share ------------------------------------------------------------------ */

const char *completion_kind(const struct command *command)
{
	switch (command->takes) {
	case TAKES_JOB:
	case TAKES_JOBS: return "jobs";
	case TAKES_OVER: return "all-jobs";
	case TAKES_STATE: return "states";
	case TAKES_NOTHING:
	case TAKES_SHELL:
	case TAKES_COMMAND: break;
	}
	return NULL;
}

const char *completion_kind_of_value(const struct command_option *option)
{
	if (option->value && strcmp(option->value, "STATE") == 0)
		return "states";
	return option->value && strcmp(option->value, "ID") == 0 ? "all-jobs" : NULL;
}

bool completion_is_file(const struct command_option *option)
{
	return option->value && strcmp(option->value, "FILE") == 0;
}

void completion_put(const char *text, const char *special, const char *before)
{
	for (; *text; text++)
		(void)printf("%s%c", strchr(special, *text) ? before : "", *text);
}

void completion_put_names(const struct command *command, const char *between)
{
	(void)fputs(command->name, stdout);
	if (!command->aliases)
		return;
	(void)fputs(between, stdout);
	for (const char *at = command->aliases; *at; at++) {
		if (*at == ' ')
			(void)fputs(between, stdout);
		else
			(void)putchar(*at);
	}
}

void completion_put_value_options(const char *between)
{
	const char *before = "";

	for (const struct command_option *option = command_run.options; option->name; option++) {
		if (!option->value)
			continue;
		if (option->letter)
			(void)printf("%s-%c%s", before, option->letter, between);
		(void)printf("%s--%s", option->letter ? "" : before, option->name);
		before = between;
	}
}

/* The words of terraform's subcommand number @index: is there a second one behind @first? */
static const char *second_of(size_t index, const char *first)
{
	const char *name = tfargs_subcommand_at(index);
	const size_t len = strlen(first);

	return strncmp(name, first, len) == 0 && name[len] == ' ' ? name + len + 1 : NULL;
}

bool completion_has_second(const char *first)
{
	for (size_t i = 0; tfargs_subcommand_at(i); i++)
		if (second_of(i, first))
			return true;
	return false;
}

void completion_put_subcommands(const char *first, const char *between)
{
	const char *before = "";

	for (size_t i = 0; tfargs_subcommand_at(i); i++) {
		const char *name = first ? second_of(i, first) : tfargs_subcommand_at(i);

		if (!name || strchr(name, ' '))
			continue;
		(void)printf("%s%s", before, name);
		before = between;
	}
}

int cmd_completion(int argc, char **argv)
{
	static const struct command_value values[] = { { 0 } };
	const char *shell;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	shell = argc > 1 ? argv[1] : "";
	if (strcmp(shell, "bash") == 0) {
		completion_bash();
	} else if (strcmp(shell, "zsh") == 0) {
		completion_zsh();
	} else if (strcmp(shell, "fish") == 0) {
		completion_fish();
	} else {
		print_error("completion for which shell? bash, zsh or fish");
		return EXIT_USAGE;
	}
	return 0;
}
