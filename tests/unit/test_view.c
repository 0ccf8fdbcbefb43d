/* SPDX-License-Identifier: MIT */
/* Jobs as rows, and the queue's screen. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "client/print.h"
#include "client/top.h"
#include "client/view.h"
#include "tests/unit/unit.h"

#define SEC UINT64_C(1000000)
#define NOW (1000000 * SEC)

static const struct {
	uint64_t at;
	const char *text;
} estimates[] = {
	{ 0, "" },
	{ NOW - 1, "" },
	{ NOW, "" },
	{ NOW + 1, "~10 s" },
	{ NOW + 41 * SEC, "~50 s" },
	{ NOW + 60 * SEC, "~1 min" },
	{ NOW + 61 * SEC, "~2 min" },
	{ NOW + 840 * SEC, "~14 min" },
	{ NOW + 7500 * SEC, "~2 h 5 min" },
};

START_TEST(estimate_is_rounded_up)
{
	char buf[32];

	ck_assert_str_eq(view_estimate(buf, estimates[_i].at, NOW), estimates[_i].text);
}
END_TEST

/* id, state, position, started, ended, user */
static json_t *job_of(int id, const char *state, int position, uint64_t started, uint64_t ended,
		      const char *user)
{
	return json_pack("{s:i, s:s, s:i, s:i, s:I, s:I, s:I, s:s, s:s, s:i}", "id", id, "state",
			 state, "position", position, "of", 3, "submitted",
			 (json_int_t)(NOW - 100 * SEC), "started", (json_int_t)started, "ended",
			 (json_int_t)ended, "user", user, "status",
			 ended > 0     ? "failed"
			 : started > 0 ? "running"
				       : "queued",
			 "uid", id);
}

static json_t *jobs_of(void)
{
	json_t *jobs = json_array();

	(void)json_array_append_new(jobs, job_of(1, "s3://b/x", 0, 5 * SEC, NOW - SEC, "eve"));
	(void)json_array_append_new(jobs, job_of(2, "s3://b/z", 1, NOW - 30 * SEC, 0, "bob"));
	(void)json_array_append_new(jobs, job_of(3, "s3://b/a", 2, 0, 0, "alice"));
	(void)json_array_append_new(jobs, job_of(4, "s3://b/a", 1, NOW - 10 * SEC, 0, "bob"));
	(void)json_array_append_new(jobs, job_of(5, "s3://b/z", 2, 0, 0, "carol"));
	return jobs;
}

static const struct {
	struct view_filter filter;
	enum view_order order;
	const char *ids;
} orders[] = {
	{ { 0 }, VIEW_BY_STATE, "43251" },
	{ { 0 }, VIEW_BY_ID, "12345" },
	{ { 0 }, VIEW_BY_TIME, "13524" },
	{ { 0 }, VIEW_BY_USER, "34251" },
	{ { .user = "bob" }, VIEW_BY_STATE, "42" },
	{ { .user = "5" }, VIEW_BY_STATE, "5" },
	{ { .user = "bo" }, VIEW_BY_STATE, "" },
	{ { .state = "/a" }, VIEW_BY_STATE, "43" },
	{ { .failed = true }, VIEW_BY_STATE, "1" },
	{ { .state = "/a", .user = "alice" }, VIEW_BY_STATE, "3" },
};

START_TEST(jobs_are_filtered_and_sorted)
{
	json_t *jobs = jobs_of();
	size_t count;
	const json_t **sorted = view_sorted(jobs, &orders[_i].filter, orders[_i].order, &count);
	char ids[16] = "";

	for (size_t i = 0; i < count; i++)
		(void)sprintf(ids + i, "%d", (int)print_number(sorted[i], "id"));
	ck_assert_str_eq(ids, orders[_i].ids);
	free(sorted);
	json_decref(jobs);
}
END_TEST

/* What one job's row of these columns is. */
static const struct {
	const char *columns, *members, *line;
} rows[] = {
	/* clang-format off */
	{ "id,status", "{\"id\": 42, \"status\": \"queued\"}", "42  queued" },
	{ "POS,ETA", "{\"position\": 2, \"of\": 5, \"eta\": 1000840000000}", "2/5  ~14 min" },
	{ "ETA,id", "{\"id\": 1, \"started\": 999900000000, \"usual\": 160000000}", "~1 min  1" },
	{ "ETA,id", "{\"id\": 1, \"started\": 999900000000, \"usual\": 60000000}", "-    1" },
	{ "ETA,id", "{\"id\": 1, \"eta\": 1000840000000, \"ended\": 1}", "-    1" },
	{ "pos,waited,ran", "{\"submitted\": 999000000000, \"started\": 999060000000, \"ended\": 999090000000}", "-    1 min   30 s" },
	{ "waited/ran,label", "{\"submitted\": 999940000000}", "1 min" },
	{ "waited/ran,pid", "{\"submitted\": 1, \"started\": 999940000000, \"pid\": 7}", "1 min       7" },
	{ "waited,ran", "{\"submitted\": 999000000000, \"ended\": 999060000000}", "1 min   -" },
	{ "exit,id", "{\"exit_code\": 2, \"id\": 1}", "2     1" },
	{ "exit,id", "{\"exit_signal\": 9, \"exit_code\": 0, \"id\": 1}", "sig 9  1" },
	{ "exit,ended", "{\"ended\": 1000000000000}", "-     1970-01-12T13:46:40Z" },
	{ "user,label", "{\"user\": \"a\\u001b[31mb\", \"label\": \"x\\ny\"}", "a?[31mb  x?y" },
	/* clang-format on */
};

START_TEST(row_says_it)
{
	json_t *job = json_loads(rows[_i].members, 0, NULL);
	struct view view;
	struct table *table;
	char buf[256];

	ck_assert(view_parse(&view, rows[_i].columns, buf, sizeof(buf)));
	table = table_new(view.columns, view.count);
	view_add(&view, table, job, NOW);
	ck_assert_str_eq(table_line(table, 0, buf, sizeof(buf)), rows[_i].line);
	(void)table_free(table);
	json_decref(job);
}
END_TEST

START_TEST(columns_are_known)
{
	struct view view;
	char bad[16], many[512];

	ck_assert(view_parse(&view, view_queue, bad, sizeof(bad)));
	ck_assert_uint_eq(view.count, 9);
	ck_assert(view_parse(&view, view_history, bad, sizeof(bad)));
	ck_assert(!view_parse(&view, "id,nothing", bad, sizeof(bad)));
	ck_assert_str_eq(bad, "nothing");
	ck_assert(!view_parse(&view, "id,", bad, sizeof(bad)));
	ck_assert(!view_parse(&view, "", bad, sizeof(bad)));
	for (size_t i = 0; i <= TABLE_COLUMNS_MAX; i++)
		memcpy(many + i * 3, "id,", 3);
	many[(TABLE_COLUMNS_MAX + 1) * 3 - 1] = '\0';
	ck_assert(!view_parse(&view, many, bad, sizeof(bad)));
}
END_TEST

/* --- the screen ------------------------------------------------------------------------------ */

START_TEST(selection_stays_with_its_job)
{
	struct top top = { 0 };
	json_t *jobs = jobs_of();

	top_move(&top, 1);
	ck_assert_uint_eq(top.selected, 0);
	top_take(&top, jobs_of()); /* 4 3 2 5 1 */
	ck_assert_uint_eq(top.selected, 4);
	top_move(&top, 2);
	ck_assert_uint_eq(top.selected, 2);
	top_move(&top, 99);
	ck_assert_uint_eq(top.selected, 1);
	top_move(&top, -99);
	ck_assert_uint_eq(top.selected, 4);
	top_move(&top, 1);
	top_sort(&top);
	ck_assert_uint_eq(top.selected, 3);
	ck_assert_uint_eq(top_selected(&top), 1); /* 1 3 5 2 4 */

	(void)json_array_remove(jobs, 2); /* job 3 has ended: the one in its place */
	top_take(&top, jobs);
	ck_assert_uint_eq(top.selected, 5);
	top_take(&top, json_array());
	ck_assert_uint_eq(top.selected, 0);
	ck_assert_uint_eq(top_scroll(&top, 10), 0);
	json_decref(top.jobs);
	free(top.sorted);
}
END_TEST

START_TEST(selection_is_on_the_screen)
{
	struct top top = { 0 };

	top_take(&top, jobs_of());
	ck_assert_uint_eq(top_scroll(&top, 2), 2);
	ck_assert_uint_eq(top.first, 0);
	top_move(&top, 3);
	ck_assert_uint_eq(top_scroll(&top, 2), 2);
	ck_assert_uint_eq(top.first, 2);
	top_move(&top, -1);
	ck_assert_uint_eq(top_scroll(&top, 2), 2);
	ck_assert_uint_eq(top.first, 2);
	top_move(&top, -2);
	ck_assert_uint_eq(top_scroll(&top, 2), 2);
	ck_assert_uint_eq(top.first, 0);
	top_move(&top, 4);
	(void)top_scroll(&top, 2);
	ck_assert_uint_eq(top_scroll(&top, 4), 4); /* the terminal grows */
	ck_assert_uint_eq(top.first, 1);
	ck_assert_uint_eq(top_scroll(&top, 0), 0);
	json_decref(top.jobs);
	free(top.sorted);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, estimate_is_rounded_up, 0,
			    (int)(sizeof(estimates) / sizeof(estimates[0])));
	tcase_add_loop_test(tcase, jobs_are_filtered_and_sorted, 0,
			    (int)(sizeof(orders) / sizeof(orders[0])));
	tcase_add_loop_test(tcase, row_says_it, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, columns_are_known);
	tcase_add_test(tcase, selection_stays_with_its_job);
	tcase_add_test(tcase, selection_is_on_the_screen);
}

int main(void)
{
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	return unit_main("view", add_tests);
}
