/* SPDX-License-Identifier: MIT */
#include "client/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/print.h"
#include "common/parse.h"
#include "common/timestamp.h"

#define CELL_MAX 1024

const char view_queue[] = "id,state-name,status,pos,user,command,waited/ran,eta,label";
const char view_history[] = "id,state-name,status,exit,user,command,waited,ran,ended,label";

/* --- times ----------------------------------------------------------------------------------- */

char *view_estimate(char *buf, uint64_t at_usec, uint64_t now_usec)
{
	uint64_t left, unit;
	char time[32];

	buf[0] = '\0';
	if (at_usec <= now_usec)
		return buf;
	left = at_usec - now_usec;
	unit = left < USEC_PER_MIN ? 10 * USEC_PER_SEC : USEC_PER_MIN; /* no more is known */
	left = (left + unit - 1) / unit * unit;
	(void)snprintf(buf, 32, "~%s", parse_format_usec(time, left));
	return buf;
}

uint64_t view_eta(const json_t *job)
{
	const uint64_t started = print_number(job, "started"), usual = print_number(job, "usual");

	if (print_number(job, "ended") > 0)
		return 0;
	if (started > 0)
		return usual > 0 ? started + usual : 0;
	return print_number(job, "eta");
}

static void write_span(char *buf, size_t size, uint64_t from, uint64_t until)
{
	char time[32];

	if (from == 0)
		(void)snprintf(buf, size, "-");
	else
		(void)snprintf(buf, size, "%s",
			       print_duration(time, from, until > from ? until : from + 1));
}

static void write_time(char *buf, const json_t *job, const char *name)
{
	const uint64_t at = print_number(job, name);
	char text[TIMESTAMP_SIZE];

	(void)snprintf(buf, CELL_MAX, "%s", at > 0 ? timestamp_format(text, at) : "-");
}

/* --- cells ----------------------------------------------------------------------------------- */

enum kind { TEXT, NUMBER, TIME, PLACE, WAITED, RAN, ELAPSED, ETA, EXIT };

static const struct cell {
	struct table_column column;
	enum kind kind;
	const char *member;
} cells[] = {
	/* clang-format off */
	{ { "ID", 0, 0, 0, false, NULL }, NUMBER, "id" },
	{ { "STATE-NAME", 6, 2, 0, true, "/terraform.tfstate" }, TEXT, "state" },
	{ { "STATUS", 0, 0, 0, false, NULL }, TEXT, "status" },
	{ { "POS", 0, 0, 5, false, NULL }, PLACE, NULL },
	{ { "USER", 4, 4, 7, false, NULL }, TEXT, "user" },
	{ { "COMMAND", 7, 1, 8, false, NULL }, TEXT, "command" },
	{ { "WAITED/RAN", 0, 0, 6, false, NULL }, ELAPSED, NULL },
	{ { "ETA", 0, 0, 4, false, NULL }, ETA, NULL },
	{ { "LABEL", 5, 3, 3, false, NULL }, TEXT, "label" },
	{ { "EXIT", 0, 0, 5, false, NULL }, EXIT, NULL },
	{ { "WAITED", 0, 0, 4, false, NULL }, WAITED, NULL },
	{ { "RAN", 0, 0, 5, false, NULL }, RAN, NULL },
	{ { "SUBMITTED", 0, 0, 3, false, NULL }, TIME, "submitted" },
	{ { "STARTED", 0, 0, 3, false, NULL }, TIME, "started" },
	{ { "ENDED", 0, 0, 3, false, NULL }, TIME, "ended" },
	{ { "PID", 0, 0, 2, false, NULL }, NUMBER, "pid" },
	{ { "LOCK-ID", 8, 5, 1, false, NULL }, TEXT, "lock_id" },
	{ { "LOCK", 6, 5, 1, false, NULL }, TEXT, "lock" },
	{ { "PRIORITY", 0, 0, 2, false, NULL }, TEXT, "priority" },
	{ { "WORKSPACE", 6, 5, 2, false, NULL }, TEXT, "workspace" },
	{ { "DIRECTORY", 9, 5, 1, true, NULL }, TEXT, "directory" },
	{ { "REASON", 6, 3, 2, false, NULL }, TEXT, "reason" },
	{ { "MESSAGE", 7, 3, 1, false, NULL }, TEXT, "message" },
	/* clang-format on */
};

static void write_number(char *buf, const json_t *job, const char *name)
{
	const json_t *value = json_object_get(job, name);

	if (json_is_integer(value))
		(void)snprintf(buf, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		(void)snprintf(buf, CELL_MAX, "-");
}

/* Its code, or the signal that has killed it. */
static void write_exit(char *buf, const json_t *job)
{
	const uint64_t number = print_number(job, "exit_signal");

	if (number > 0)
		(void)snprintf(buf, CELL_MAX, "sig %" PRIu64, number);
	else
		write_number(buf, job, "exit_code");
}

static void write_place(char *buf, const json_t *job)
{
	if (print_number(job, "ended") > 0)
		(void)snprintf(buf, CELL_MAX, "-");
	else
		(void)snprintf(buf, CELL_MAX, "%" PRIu64 "/%" PRIu64, print_number(job, "position"),
			       print_number(job, "of"));
}

static void write_cell(const struct cell *cell, char *buf, const json_t *job, uint64_t now)
{
	const uint64_t submitted = print_number(job, "submitted"),
		       started = print_number(job, "started"), ended = print_number(job, "ended");
	const uint64_t until = ended > 0 ? ended : now;

	switch (cell->kind) {
	case TEXT: (void)print_text(buf, CELL_MAX, job, cell->member); break;
	case NUMBER: write_number(buf, job, cell->member); break;
	case TIME: write_time(buf, job, cell->member); break;
	case PLACE: write_place(buf, job); break;
	case WAITED: write_span(buf, CELL_MAX, submitted, started > 0 ? started : until); break;
	case RAN: write_span(buf, CELL_MAX, started, until); break;
	case ELAPSED: write_span(buf, CELL_MAX, started > 0 ? started : submitted, until); break;
	case ETA: (void)view_estimate(buf, view_eta(job), now); break;
	case EXIT: write_exit(buf, job); break;
	}
	if (!*buf && cell->kind == ETA)
		(void)snprintf(buf, CELL_MAX, "-");
}

void view_add(const struct view *view, struct table *table, const json_t *job, uint64_t now_usec)
{
	static char text[TABLE_COLUMNS_MAX][CELL_MAX]; /* too much for every stack */
	const char *row[TABLE_COLUMNS_MAX];

	for (size_t i = 0; i < view->count; i++) {
		const char *at = (const char *)view->columns[i];
		const struct cell *cell =
			(const void *)(at -
				       offsetof(struct cell, column)); /* made in view_parse() */

		write_cell(cell, text[i], job, now_usec);
		row[i] = text[i];
	}
	table_add(table, row);
}

/* --- which columns --------------------------------------------------------------------------- */

static const struct table_column *find_column(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		if (strlen(cells[i].column.title) == len &&
		    strncasecmp(cells[i].column.title, name, len) == 0)
			return &cells[i].column;
	}
	return NULL;
}

bool view_parse(struct view *view, const char *names, char *ret_bad, size_t bad_size)
{
	view->count = 0;
	(void)snprintf(ret_bad, bad_size, "%s", "");
	for (;;) {
		const size_t len = strcspn(names, ",");
		const struct table_column *column = find_column(names, len);

		if (!column)
			(void)snprintf(ret_bad, bad_size, "%.*s", (int)len, names);
		if (!column || view->count == TABLE_COLUMNS_MAX)
			return false;
		view->columns[view->count++] = column;
		if (names[len] == '\0')
			return true;
		names += len + 1;
	}
}

/* --- which jobs, and in which order ---------------------------------------------------------- */

static const char *text_of(const json_t *job, const char *name)
{
	const char *text = json_string_value(json_object_get(job, name));

	return text ? text : "";
}

static bool is_user(const json_t *job, const char *user)
{
	char uid[24];

	(void)snprintf(uid, sizeof(uid), "%" PRIu64, print_number(job, "uid"));
	return strcmp(text_of(job, "user"), user) == 0 || strcmp(uid, user) == 0;
}

bool view_takes(const struct view_filter *filter, const json_t *job)
{
	const char *status = text_of(job, "status");

	if (filter->user && !is_user(job, filter->user))
		return false;
	if (filter->state && !strstr(text_of(job, "state"), filter->state))
		return false;
	return !filter->failed || strcmp(status, "failed") == 0 || strcmp(status, "lost") == 0;
}

/* What is compared, found once: a look into each object for each comparison takes longer than
 * everything else. */
struct row {
	const json_t *job;
	const char *state, *user;
	uint64_t id, position, since;
	bool is_over;
};

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return compare_numbers(x->id, y->id);
}

static int by_state(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = (int)x->is_over - (int)y->is_over;

	if (order == 0 && !x->is_over)
		order = strcmp(x->state, y->state);
	if (order == 0 && !x->is_over)
		order = compare_numbers(x->position, y->position);
	return order != 0 ? order : by_id(a, b);
}

static int by_time(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	const int order = compare_numbers(x->since, y->since);

	return order != 0 ? order : by_id(a, b);
}

static int by_user(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	const int order = strcmp(x->user, y->user);

	return order != 0 ? order : by_state(a, b);
}

static struct row row_of(const json_t *job)
{
	const uint64_t started = print_number(job, "started");

	return (struct row){
		.job = job,
		.state = text_of(job, "state"),
		.user = text_of(job, "user"),
		.id = print_number(job, "id"),
		.position = print_number(job, "position"),
		.since = started > 0 ? started : print_number(job, "submitted"),
		.is_over = print_number(job, "ended") > 0,
	};
}

const json_t **view_sorted(const json_t *jobs, const struct view_filter *filter,
			   enum view_order order, size_t *ret_count)
{
	int (*const compare[VIEW_ORDERS])(const void *, const void *) = {
		[VIEW_BY_STATE] = by_state,
		[VIEW_BY_TIME] = by_time,
		[VIEW_BY_USER] = by_user,
		[VIEW_BY_ID] = by_id,
	};
	const size_t size = json_array_size(jobs);
	struct row *rows = calloc(size + 1, sizeof(*rows));
	const json_t **sorted = calloc(size + 1, sizeof(void *));
	size_t count = 0;

	for (size_t i = 0; rows && sorted && i < size; i++) {
		const json_t *job = json_array_get(jobs, i);

		if (view_takes(filter, job))
			rows[count++] = row_of(job);
	}
	if (rows && sorted)
		qsort(rows, count, sizeof(*rows), compare[order]);
	for (size_t i = 0; rows && sorted && i < count; i++)
		sorted[i] = rows[i].job;
	if (!rows) {
		free(sorted);
		sorted = NULL;
	}
	free(rows);
	*ret_count = count;
	return sorted;
}
