/* SPDX-License-Identifier: MIT */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "client/timeline.h"
#include "tests/unit/unit.h"

#define SEC  UINT64_C(1000000)
#define NOW  (100 * SEC)
#define NAME "<al\303\255ce>"

/* Seconds. */
static void add(json_t *jobs, int id, const char *state, int submitted, int started, int ended,
		const char *status)
{
	(void)json_array_append_new(jobs, json_pack("{s:i, s:s, s:I, s:I, s:I, s:s, s:s, s:s}",
						    "id", id, "state", state, "submitted",
						    (json_int_t)submitted * 1000000, "started",
						    (json_int_t)started * 1000000, "ended",
						    (json_int_t)ended * 1000000, "status", status,
						    "user", NAME, "command", "apply"));
}

/* On "a" 1 runs, 2 waits for it and runs, 3 leaves, 4 waits for 2 and runs, 5 waits for 4; "b" has
 * one that comes when nobody is there any more. 2 is there twice. */
static json_t *jobs_of(void)
{
	json_t *jobs = json_array();

	add(jobs, 5, "b/a", 70, 0, 0, "queued");
	add(jobs, 2, "b/a", 10, 20, 0, "running");
	add(jobs, 1, "b/a", 0, 0, 20, "done");
	json_object_set_new(json_array_get(jobs, 2), "started", json_integer(1));
	add(jobs, 2, "b/a", 10, 20, 60, "failed");
	add(jobs, 3, "b/a", 30, 0, 50, "cancelled");
	add(jobs, 4, "b/a", 40, 60, 0, "running");
	add(jobs, 6, "b/b", 20, 20, 30, "done");
	add(jobs, 7, "b/b", 50, 50, 80, "done");
	return jobs;
}

static size_t index_of(const struct timeline *timeline, uint64_t id)
{
	for (size_t i = 0; i < timeline->bar_count; i++)
		if (timeline->bars[i].id == id)
			return i;
	return TIMELINE_NOBODY;
}

START_TEST(a_clock_that_is_set_back_ends_nothing_early)
{
	json_t *jobs = json_array();
	struct timeline timeline;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(out);
	add(jobs, 1, "a", 10, 20, 15, "done");
	add(jobs, 2, "a", 10, 200, 0, "running"); /* later than NOW */
	ck_assert_int_eq(timeline_init(&timeline, jobs, NULL, 0, NOW), 0);
	for (size_t i = 0; i < timeline.bar_count; i++)
		ck_assert_uint_ge(timeline.bars[i].end, timeline.bars[i].begin);
	timeline_print(&timeline, out, 60, false, false);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_uint_lt(len, 1000);
	timeline_clear(&timeline);
	json_decref(jobs);
	free(text);
}
END_TEST

START_TEST(bars_know_for_whom_they_waited)
{
	static const size_t ahead[][2] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 },
					   { 5, 0 }, { 6, 0 }, { 7, 0 } };
	json_t *jobs = jobs_of();
	struct timeline timeline;
	char buf[256];

	ck_assert_int_eq(timeline_init(&timeline, jobs, NULL, 0, NOW), 0);
	ck_assert_uint_eq(timeline.bar_count, 7);
	ck_assert_uint_eq(timeline.lane_count, 2);
	ck_assert_str_eq(timeline.lanes[0].state, "b/a");
	ck_assert_uint_eq(timeline.lanes[0].count, 5);
	ck_assert_uint_eq(timeline.lanes[1].first, 5);
	for (size_t i = 0; i < 7; i++) {
		const size_t at = index_of(&timeline, ahead[i][0]);
		const size_t want = ahead[i][0] == 5 ? index_of(&timeline, 4)
				    : ahead[i][1]    ? index_of(&timeline, ahead[i][1])
						     : TIMELINE_NOBODY;

		ck_assert_msg(timeline.bars[at].ahead == want, "#%zu", ahead[i][0]);
	}
	ck_assert_str_eq(timeline_describe(&timeline, &timeline.bars[index_of(&timeline, 2)], buf,
					   sizeof(buf)),
			 "#2 " NAME " apply: waited 10 s for #1, ran 40 s, failed");
	timeline_clear(&timeline);
	json_decref(jobs);
}
END_TEST

START_TEST(span_and_filter)
{
	json_t *jobs = jobs_of();
	struct timeline timeline;

	(void)timeline_init(&timeline, jobs, "/b", 0, NOW);
	ck_assert_uint_eq(timeline.bar_count, 2);
	ck_assert_uint_eq(timeline.from, 20 * SEC);
	ck_assert_uint_eq(timeline.until, 80 * SEC);
	ck_assert_uint_eq(timeline_column(&timeline, 0, 60), 0);
	ck_assert_uint_eq(timeline_column(&timeline, 50 * SEC, 60), 30);
	ck_assert_uint_eq(timeline_column(&timeline, 90 * SEC, 60), 60);
	timeline_clear(&timeline);

	(void)timeline_init(&timeline, jobs, NULL, 55 * SEC, NOW); /* 1, 3 and 6 were over */
	ck_assert_uint_eq(timeline.bar_count, 4);
	ck_assert_uint_eq(timeline.from, 55 * SEC);
	timeline_clear(&timeline);

	(void)timeline_init(&timeline, jobs, "nothing", 0, NOW);
	ck_assert_uint_eq(timeline.bar_count, 0);
	ck_assert_uint_gt(timeline.until, timeline.from);
	timeline_clear(&timeline);
	json_decref(jobs);
}
END_TEST

static char *printed(const char *state, size_t width, bool is_unicode, bool is_coloured)
{
	json_t *jobs = jobs_of();
	struct timeline timeline;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)timeline_init(&timeline, jobs, state, 0, NOW);
	timeline_print(&timeline, out, width, is_unicode, is_coloured);
	(void)fclose(out);
	timeline_clear(&timeline);
	json_decref(jobs);
	return text;
}

START_TEST(chart_of_characters)
{
	char *text = printed("/a", 61, false, false);

	ck_assert_str_eq(text, "b/a\n"
			       "#1 " NAME " apply     ########\n"
			       "#2 " NAME " apply af\xe2\x80\xa6     ....################\n"
			       "#3 " NAME " apply af\xe2\x80\xa6             ........\n"
			       "#4 " NAME
			       " apply af\xe2\x80\xa6                 ........################\n"
			       "#5 " NAME
			       " apply af\xe2\x80\xa6                             ............\n"
			       "                     00:00:00                        00:01:40\n");
	free(text);
}
END_TEST

START_TEST(chart_has_colours_only_if_asked)
{
	char *text = printed(NULL, 80, true, false);

	ck_assert_ptr_null(strchr(text, '\033'));
	ck_assert_ptr_nonnull(strstr(text, "\xe2\x96\x88"));
	free(text);
	text = printed(NULL, 80, true, true);
	ck_assert_ptr_nonnull(strstr(text, "\033[31m"));
	free(text);
	text = printed(NULL, 5, true, false); /* it ends */
	free(text);
}
END_TEST

START_TEST(picture_is_escaped)
{
	json_t *jobs = json_array();
	struct timeline timeline;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	add(jobs, 1, "b/<script>&\"'", 0, 10, 20, "done");
	(void)timeline_init(&timeline, jobs, NULL, 0, NOW);
	timeline_svg(&timeline, out, true);
	(void)fclose(out);
	ck_assert_ptr_null(strstr(text, "<script"));
	ck_assert_ptr_null(strstr(text, "<al"));
	ck_assert_ptr_nonnull(strstr(text, "b/&lt;script&gt;&amp;&quot;&#39;"));
	ck_assert_ptr_nonnull(strstr(text, "<title>#1 &lt;al"));
	ck_assert_ptr_nonnull(strstr(text, "class=\"done\""));
	free(text);
	timeline_clear(&timeline);
	json_decref(jobs);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_clock_that_is_set_back_ends_nothing_early);
	tcase_add_test(tcase, bars_know_for_whom_they_waited);
	tcase_add_test(tcase, span_and_filter);
	tcase_add_test(tcase, chart_of_characters);
	tcase_add_test(tcase, chart_has_colours_only_if_asked);
	tcase_add_test(tcase, picture_is_escaped);
}

int main(void)
{
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	(void)setenv("TZ", "UTC", 1);
	return unit_main("timeline", add_tests);
}
