/* SPDX-License-Identifier: MIT */
/* Which job is meant: by its number, by its label, or because there is no other. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/fetch.h"
#include "client/print.h"
#include "common/parse.h"
#include "common/wire.h"

#define SHOWN_MAX 10 /* of those that fit, the latest */

/* @label: or NULL for those of the present user. Return: how many of @jobs fit; the last ones of
 * them are in @fitting, of SHOWN_MAX places, the latest first. */
static size_t find_fitting(const json_t *jobs, const char *label, bool over, const json_t **fitting)
{
	size_t count = 0;

	for (size_t i = json_array_size(jobs); i-- > 0;) {
		const json_t *job = json_array_get(jobs, i);
		const char *of_job = json_string_value(json_object_get(job, "label"));

		if ((print_number(job, "ended") > 0) != over)
			continue;
		if (label ? !of_job || strcmp(of_job, label) != 0
			  : (uint64_t)json_integer_value(json_object_get(job, "uid")) != getuid())
			continue;
		if (count < SHOWN_MAX)
			fitting[count] = job;
		count++;
	}
	return count;
}

static void list(const char *question, const json_t *const *fitting, size_t count)
{
	char line[1024], status[32], command[256], state[256], label[128];
	const size_t shown = count < SHOWN_MAX ? count : SHOWN_MAX;

	print_error("%s", question);
	for (size_t i = 0; i < shown; i++) {
		const json_t *job = fitting[i];

		(void)print_text(label, sizeof(label), job, "label");
		(void)snprintf(line, sizeof(line), "  #%" PRIu64 " %s: %s on %s%s%s",
			       print_number(job, "id"),
			       print_text(status, sizeof(status), job, "status"),
			       print_text(command, sizeof(command), job, "command"),
			       print_text(state, sizeof(state), job, "state"), *label ? ", " : "",
			       label);
		(void)fprintf(stderr, "%s\n", line);
	}
	if (count > shown)
		(void)fprintf(stderr, "  and %zu more\n", count - shown);
}

/* Return: 0 and the job; or the exit code after telling the user, with @none if there is none. */
static int choose(const char *label, bool or_over, const char *question, const char *none,
		  uint64_t *ret)
{
	json_auto_t *jobs = json_array();
	json_auto_t *parameters = json_pack("{s:b}", "all", or_over);
	const struct fetch what = { WIRE_LIST, "after", parameters, 0 };
	const json_t *fitting[SHOWN_MAX];
	size_t count;
	int r;

	r = fetch_or_tell(&what, jobs);
	if (r != 0)
		return r;
	count = find_fitting(jobs, label, false, fitting);
	if (count == 0 && or_over)
		count = find_fitting(jobs, label, true, fitting);
	if (count == 1) {
		*ret = print_number(fitting[0], "id");
		return 0;
	}
	if (count == 0)
		print_error("%s", none);
	else
		list(question, fitting, count);
	return EXIT_USAGE;
}

int command_find_job(const char *text, uint64_t *ret)
{
	const char *number = text + (text[0] == '#');
	char question[256], none[256];

	if (parse_u64(number, INT64_MAX, ret) == 0 && *ret > 0)
		return 0;
	(void)snprintf(question, sizeof(question), "several jobs are labelled '%.64s'; which one?",
		       text);
	(void)snprintf(none, sizeof(none),
		       "'%.64s' is no job's number, and no job's label; 'tfq queue' lists them",
		       text);
	if (number[strspn(number, "0123456789")])
		return choose(text, true, question, none, ret);
	print_error("%s", none); /* digits alone are never taken for a label */
	return EXIT_USAGE;
}

int command_take_job(int argc, char **argv, bool or_over, uint64_t *ret)
{
	const char *name = argv[0] + strlen("tfq ");
	char question[128], none[256];

	if (argc > 1)
		return command_find_job(argv[1], ret);
	(void)snprintf(question, sizeof(question), "%s which job? Several are yours:", name);
	(void)snprintf(none, sizeof(none),
		       "%s which job? You have none that %s; 'tfq queue --all' lists them", name,
		       or_over ? "is known" : "waits or runs");
	return choose(NULL, or_over, question, none, ret);
}
