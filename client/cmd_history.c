/* SPDX-License-Identifier: MIT */
/* Commands about the past: history, metrics. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/fetch.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/show.h"
#include "client/since.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/wire.h"

#define SHOWN_DEFAULT 50

struct history {
	struct show show;
	const char *columns;
	uint64_t since_usec, until_usec;
	uint64_t max;
	bool has_max;
};

/* What tfqd can leave out itself. A state is a part of a name here, and the name itself there. */
static json_t *question(const struct history *history)
{
	const struct view_filter *filter = &history->show.filter;
	json_t *parameters = json_object();

	if (history->since_usec > 0)
		(void)json_object_set_new(parameters, "since",
					  json_integer((json_int_t)history->since_usec));
	if (history->until_usec > 0)
		(void)json_object_set_new(parameters, "until",
					  json_integer((json_int_t)history->until_usec));
	if (filter->state && strstr(filter->state, "://"))
		(void)json_object_set_new(parameters, "state", json_string(filter->state));
	return parameters;
}

static bool is_filtered(const struct view_filter *filter)
{
	return filter->user || filter->state || filter->failed;
}

/* Return: 0, or the exit code. */
static int fetch(const struct history *history, json_t *jobs)
{
	json_t *parameters = question(history);
	const struct fetch what = {
		.method = WIRE_HISTORY,
		.cursor = "before",
		.parameters = parameters,
		.enough = is_filtered(&history->show.filter) ? 0 : history->max,
	};
	const int r = fetch_or_tell(&what, jobs);

	json_decref(parameters);
	return r;
}

static bool take_time(const char *text, uint64_t *ret)
{
	if (since_parse(text, clock_usec(CLOCK_REALTIME), ret) == 0)
		return true;
	print_error("'%s' is no time; write 2026-01-31T14:30:00Z, 14:30, or an age as 2h or 7d",
		    text);
	return false;
}

static bool take_count(const char *text, struct history *history)
{
	history->has_max = true;
	if (parse_u64(text, UINT32_MAX, &history->max) == 0)
		return true;
	print_error("'%s' is no number of jobs", text);
	return false;
}

static int take_options(int argc, char **argv, struct history *history)
{
	const char *since = NULL, *until = NULL, *count = NULL;
	const struct command_value values[] = { { "columns", .text = &history->columns },
						{ "failed", .flag = &history->show.filter.failed },
						{ "json", .flag = &history->show.as_json },
						{ "no-legend", .flag = &history->show.no_legend },
						{ "lines", .text = &count },
						{ "state", .text = &history->show.filter.state },
						{ "since", .text = &since },
						{ "user", .text = &history->show.filter.user },
						{ "until", .text = &until },
						{ 0 } };

	if (command_parse(argc, argv, values) < 0 ||
	    (since && !take_time(since, &history->since_usec)) ||
	    (until && !take_time(until, &history->until_usec)) ||
	    (count && !take_count(count, history)))
		return EXIT_USAGE;
	if (!history->has_max)
		history->max = history->since_usec > 0 ? UINT32_MAX : SHOWN_DEFAULT;
	return show_columns(&history->show, history->columns, view_history) ? 0 : EXIT_USAGE;
}

/* The latest first, as tfqd tells them. */
static void print_jobs(const struct history *history, const json_t *jobs)
{
	AUTO_FREE const json_t **shown = calloc(json_array_size(jobs) + 1, sizeof(void *));
	size_t count = 0;

	if (!shown)
		return;
	for (size_t i = 0; i < json_array_size(jobs) && count < history->max; i++) {
		const json_t *job = json_array_get(jobs, i);

		if (view_takes(&history->show.filter, job))
			shown[count++] = job;
	}
	if (history->show.as_json)
		show_json(stdout, shown, count);
	else if (count == 0)
		(void)printf("No such job has ended.\n");
	else
		show_table(stdout, &history->show, shown, count, count);
}

int cmd_history(int argc, char **argv)
{
	struct history history = { 0 };
	json_t *jobs;
	int r;

	r = take_options(argc, argv, &history);
	if (r != 0)
		return r;
	jobs = json_array();
	r = fetch(&history, jobs);
	if (r == 0)
		print_jobs(&history, jobs);
	json_decref(jobs);
	return r;
}

/* --- metrics --------------------------------------------------------------------------------- */

/* As it is for programs; on a terminal nothing in it may move the cursor. */
static void print_metrics(const char *text)
{
	char line[4096];

	if (!isatty(STDOUT_FILENO)) {
		(void)fputs(text, stdout);
		return;
	}
	while (*text) {
		const size_t len = strcspn(text, "\n");

		(void)snprintf(line, sizeof(line), "%.*s", (int)len, text);
		(void)printf("%s\n", text_printable(line, sizeof(line), line));
		text += len + (text[len] == '\n');
	}
}

int cmd_metrics(int argc, char **argv)
{
	static const struct command_value values[] = { { 0 } };
	json_t *answer = NULL;
	const char *text;
	int r;

	if (command_parse(argc, argv, values) < 0)
		return EXIT_USAGE;
	r = rpc_call(WIRE_METRICS, json_object(), &answer);
	if (r != 0)
		return r;
	text = json_string_value(json_object_get(answer, "text"));
	print_metrics(text ? text : "");
	json_decref(answer);
	return 0;
}
