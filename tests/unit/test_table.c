/* SPDX-License-Identifier: MIT */
/* Widths of texts, and tables that fit. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "client/cells.h"
#include "client/table.h"
#include "tests/unit/unit.h"

#define DOTS  "\xe2\x80\xa6"
#define WIDE  "\xe6\xbc\xa2\xe5\xad\x97" /* two characters, four columns */
#define ACUTE "e\xcc\x81"                /* e and a combining accent: one column */

static const struct {
	const char *text;
	size_t width;
} widths[] = {
	{ "", 0 },    { "alice", 5 },        { "M\xc3\xbcller", 6 }, { WIDE, 4 },
	{ ACUTE, 1 }, { "a" WIDE ACUTE, 6 }, { "\xc3", 1 },          { "\xe6\xbc", 1 },
};

START_TEST(width_is_in_columns)
{
	ck_assert_uint_eq(cells_width(widths[_i].text), widths[_i].width);
}
END_TEST

static const struct {
	const char *text;
	size_t width;
	bool from_left;
	const char *cut;
} cuts[] = {
	{ "alice", 5, false, "alice" },
	{ "alice", 4, false, "ali" DOTS },
	{ "alice", 4, true, DOTS "ice" },
	{ "alice", 1, false, DOTS },
	{ "alice", 1, true, DOTS },
	{ "alice", 0, false, "" },
	{ "alice", 0, true, "" },
	{ WIDE WIDE, 4, false, "\xe6\xbc\xa2" DOTS }, /* a column stays free */
	{ "x" ACUTE ACUTE "y", 3, false, "x" ACUTE DOTS },
	{ "x" ACUTE ACUTE "y", 3, true, DOTS ACUTE "y" },
	{ "x" ACUTE ACUTE "y", 2, true, DOTS "y" },
	{ "ab" WIDE, 3, true, DOTS "\xe5\xad\x97" },
	{ "ab" WIDE, 4, true, DOTS "\xe5\xad\x97" },
};

START_TEST(cut_is_never_wider)
{
	char buf[64];

	(void)cells_cut(buf, sizeof(buf), cuts[_i].text, cuts[_i].width, cuts[_i].from_left);
	ck_assert_str_eq(buf, cuts[_i].cut);
	ck_assert_uint_le(cells_width(buf), cuts[_i].width);
}
END_TEST

START_TEST(a_buffer_too_small_holds_whole_characters)
{
	char buf[8];

	ck_assert_str_eq(cells_cut(buf, sizeof(buf), WIDE WIDE, 8, false), WIDE);
	ck_assert_str_eq(cells_cut(buf, sizeof(buf), "alice" WIDE WIDE, 8, false), "alice");
	ck_assert_str_eq(cells_cut(buf, sizeof(buf), "abcd" WIDE, 6, false), "abcd" DOTS);
}
END_TEST

/* --- tables ---------------------------------------------------------------------------------- */

static const struct table_column id = { "ID", 0, 0, 0, false, NULL };
static const struct table_column name = { "NAME", 6, 2, 0, true, "/x.y" };
static const struct table_column command = { "COMMAND", 7, 1, 2, false, NULL };
static const struct table_column label = { "LABEL", 5, 3, 1, false, NULL };
static const struct table_column eta = { "ETA", 0, 0, 4, false, NULL };
static const struct table_column *const columns[] = { &id, &name, &command, &eta, &label };

static const struct {
	size_t available;
	size_t width[5];
} layouts[] = {
	{ 0, { 3, 20, 20, 3, 10 } },  { 64, { 3, 20, 20, 3, 10 } },
	{ 63, { 3, 20, 19, 3, 10 } },                              /* the command first, */
	{ 51, { 3, 20, 7, 3, 10 } },  { 50, { 3, 19, 7, 3, 10 } }, /* then the name, */
	{ 37, { 3, 6, 7, 3, 10 } },   { 36, { 3, 6, 7, 3, 9 } },   /* then the label; */
	{ 32, { 3, 6, 7, 3, 5 } },    { 31, { 3, 6, 7, 0, 9 } },   /* what is empty goes first, */
	{ 27, { 3, 6, 7, 0, 5 } },    { 26, { 3, 12, 7, 0, 0 } },  /* then by rank */
	{ 18, { 3, 13, 0, 0, 0 } },   { 11, { 3, 6, 0, 0, 0 } },
	{ 5, { 3, 6, 0, 0, 0 } }, /* no less: the line is cut */
};

START_TEST(layout_fits)
{
	static const bool is_empty[] = { false, false, false, true, false };
	size_t width[] = { 3, 20, 20, 3, 10 };

	table_layout(columns, 5, width, is_empty, layouts[_i].available);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_msg(width[i] == layouts[_i].width[i],
			      "%zu columns: column %zu is %zu, not %zu", layouts[_i].available, i,
			      width[i], layouts[_i].width[i]);
	}
}
END_TEST

static const char state_name[] = "s3://bucket/prod/" WIDE, label_text[] = ACUTE ACUTE "nightly";
static const char wide_command[] = WIDE WIDE WIDE WIDE;

START_TEST(lines_are_as_wide_as_they_may_be)
{
	const char *const first[] = { "1", state_name, "apply", "-", label_text };
	const char *const second[] = { "22", "x", wide_command, "~1 min", NULL };
	char line[256];

	for (size_t available = 1; available < 90; available++) {
		struct table *table = table_new(columns, 5);

		table_add(table, first);
		table_add(table, second);
		table_fit(table, available);
		ck_assert_uint_eq(table_rows(table), 2);
		for (size_t row = 0; row < 3; row++) {
			(void)table_line(table, row == 2 ? TABLE_TITLES : row, line, sizeof(line));
			ck_assert_msg(cells_width(line) <= available, "%zu: '%s'", available, line);
		}
		(void)table_free(table);
	}
}
END_TEST

START_TEST(columns_stand_below_each_other)
{
	static const char accented[] = ACUTE "x";
	struct table *table = table_new(columns, 5);
	char line[256];

	table_add(table, (const char *const[]){ "1", WIDE, accented, "-", "end" });
	table_add(table, (const char *const[]){ "2", "abcd", "command", "-", "end" });
	ck_assert_str_eq(table_line(table, TABLE_TITLES, line, sizeof(line)),
			 "ID  NAME  COMMAND  ETA  LABEL");
	ck_assert_str_eq(table_line(table, 0, line, sizeof(line)),
			 "1   " WIDE "  " ACUTE "x       -    end");
	ck_assert_str_eq(table_line(table, 1, line, sizeof(line)), "2   abcd  command  -    end");
	ck_assert_uint_lt(strlen(table_line(table, 1, line, 10)), 10);
	(void)table_free(table);
}
END_TEST

static const struct {
	const char *name;
	size_t available;
	const char *line;
} endings[] = {
	{ "s3://b/net/x.y", 40, "1   s3://b/net/x.y" },
	{ "s3://b/net/x.y", 18, "1   s3://b/net/x.y" },
	{ "s3://b/net/x.y", 17, "1   s3://b/net" },
	{ "s3://b/net/x.y", 14, "1   s3://b/net" },
	{ "s3://b/net/x.y", 13, "1   " DOTS "://b/net" },
	{ "s3://b/net/z.y", 13, "1   " DOTS "/net/z.y" },
	{ "0123456/x.y", 12, "1   0123456" },
};

START_TEST(ending_goes_first)
{
	struct table *table = table_new(columns, 2);
	char line[64];

	table_add(table, (const char *const[]){ "1", endings[_i].name });
	table_fit(table, endings[_i].available);
	ck_assert_str_eq(table_line(table, 0, line, sizeof(line)), endings[_i].line);
	(void)table_free(table);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, width_is_in_columns, 0,
			    (int)(sizeof(widths) / sizeof(widths[0])));
	tcase_add_test(tcase, a_buffer_too_small_holds_whole_characters);
	tcase_add_loop_test(tcase, cut_is_never_wider, 0, (int)(sizeof(cuts) / sizeof(cuts[0])));
	tcase_add_loop_test(tcase, layout_fits, 0, (int)(sizeof(layouts) / sizeof(layouts[0])));
	tcase_add_test(tcase, lines_are_as_wide_as_they_may_be);
	tcase_add_loop_test(tcase, ending_goes_first, 0,
			    (int)(sizeof(endings) / sizeof(endings[0])));
	tcase_add_test(tcase, columns_stand_below_each_other);
}

int main(void)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return unit_main("table", add_tests);
}
