/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "common/cleanup.h"
#include "common/wire.h"

/* All of them, page by page. Return: 0 or the exit code. */
static int fetch(json_t *jobs, bool all)
{
	json_int_t after = 0;
	bool has_more = true;

	while (has_more) {
		json_t *answer = NULL, *page;
		const int r =
			rpc_call(WIRE_LIST, json_pack("{s:b, s:I}", "all", all, "after", after),
				 &answer);

		if (r != 0)
			return r;
		page = json_object_get(answer, "jobs");
		has_more =
			json_is_true(json_object_get(answer, "more")) && json_array_size(page) > 0;
		if (has_more) {
			after = json_integer_value(
				json_object_get(json_array_get(page, json_array_size(page) - 1),
						"id"));
		}
		(void)json_array_extend(jobs, page);
		json_decref(answer);
	}
	return 0;
}

/* By state; there the one that runs first, then by place; what is over last. */
static int compare(const void *a, const void *b)
{
	const json_t *left = *(const json_t *const *)a, *right = *(const json_t *const *)b;
	const bool left_over = print_number(left, "ended") > 0,
		   right_over = print_number(right, "ended") > 0;
	const char *left_state = json_string_value(json_object_get(left, "state"));
	const char *right_state = json_string_value(json_object_get(right, "state"));
	uint64_t x, y;
	int order;

	if (left_over != right_over)
		return left_over ? 1 : -1;
	order = left_over ? 0
			  : strcmp(left_state ? left_state : "", right_state ? right_state : "");
	if (order != 0)
		return order;
	x = print_number(left, left_over ? "id" : "position");
	y = print_number(right, left_over ? "id" : "position");
	return x < y ? -1 : x > y;
}

static void add_row(struct table *table, const json_t *job)
{
	char id[24], state[256], status[32], place[32], user[64], command[256], time[32],
		label[256];
	const uint64_t started = print_number(job, "started"), ended = print_number(job, "ended");
	const bool is_waiting = started == 0;

	(void)snprintf(id, sizeof(id), "%" PRIu64, print_number(job, "id"));
	(void)snprintf(place, sizeof(place), "%s", "-");
	if (ended == 0)
		(void)snprintf(place, sizeof(place), "%" PRIu64 "/%" PRIu64,
			       print_number(job, "position"), print_number(job, "of"));
	(void)print_duration(time, is_waiting ? print_number(job, "submitted") : started, ended);
	table_add(table,
		  (const char *const[]){ id, print_text(state, sizeof(state), job, "state"),
					 print_text(status, sizeof(status), job, "status"), place,
					 print_text(user, sizeof(user), job, "user"),
					 print_text(command, sizeof(command), job, "command"), time,
					 print_text(label, sizeof(label), job, "label") });
}

/* A line that stands still, or trouble with its lock: whoever heads it knows. */
static void print_holds(json_t *const *jobs, size_t count)
{
	char state[256], message[1024];

	for (size_t i = 0; i < count; i++) {
		(void)print_text(message, sizeof(message), jobs[i], "message");
		if (*message && print_number(jobs[i], "ended") == 0 &&
		    print_number(jobs[i], "position") == 1) {
			(void)printf("%s: %s\n", print_text(state, sizeof(state), jobs[i], "state"),
				     message);
		}
	}
}

static void print_table(json_t *jobs)
{
	static const char *const titles[] = { "ID",   "STATE-NAME", "STATUS",     "POS",
					      "USER", "COMMAND",    "WAITED/RAN", "LABEL" };
	const size_t count = json_array_size(jobs);
	AUTO_FREE json_t **sorted = calloc(count + 1, sizeof(void *));
	struct table *table;

	if (count == 0) {
		(void)printf("Nothing is queued.\n");
		return;
	}
	if (!sorted)
		return;
	for (size_t i = 0; i < count; i++)
		sorted[i] = json_array_get(jobs, i);
	qsort(sorted, count, sizeof(void *), compare);
	table = table_new(titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < count; i++)
		add_row(table, sorted[i]);
	table_print(table);
	print_holds(sorted, count);
}

int cmd_queue(int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	bool all = false, as_json = false;
	json_t *jobs;
	int option, r;

	while ((option = getopt_long(argc, argv, "aj", options, NULL)) >= 0) {
		switch (option) {
		case 'a': all = true; break;
		case 'j': as_json = true; break;
		default: return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		print_error("queue takes no '%s'; try 'tfq help'", argv[optind]);
		return EXIT_USAGE;
	}
	jobs = json_array();
	r = fetch(jobs, all);
	if (r == 0 && as_json) {
		(void)json_dumpf(jobs, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else if (r == 0) {
		print_table(jobs);
	}
	json_decref(jobs);
	return r;
}
