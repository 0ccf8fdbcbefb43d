/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "client/lines.h"
#include "tests/unit/unit.h"

static const struct {
	bool is_stderr;
	uint64_t at;
	const char *text;
} pieces[] = {
	{ false, 10, "one\ntw" }, { true, 11, "E" },       { false, 12, "o\nthree\n" },
	{ true, 13, "RR\n" },     { false, 14, "\nfive" },
};

/* What is shown, with > before each start of a line. */
static void show(struct lines *lines, char *out)
{
	struct lines_piece piece;

	*out = '\0';
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		const char *data = pieces[i].text;
		size_t len = strlen(data);

		while (lines_next(lines, pieces[i].is_stderr, pieces[i].at, &data, &len, &piece)) {
			if (piece.is_shown)
				out += sprintf(out, "%s%.*s", piece.is_start ? ">" : "",
					       (int)piece.len, piece.data);
		}
	}
}

static const struct {
	uint64_t since, skip, count;
	const char *shown;
} rows[] = {
	{ 0, 0, 6, ">one\n>tw>Eo\n>three\nRR\n>\n>five" },
	{ 0, 1, 6, ">tw>Eo\n>three\nRR\n>\n>five" },
	{ 0, 2, 6, ">E>three\nRR\n>\n>five" }, /* the rest of "two" is left out, too */
	{ 0, 3, 6, ">three\n>\n>five" },
	{ 0, 5, 6, ">five" },
	{ 0, 6, 6, "" },
	{ 11, 0, 4, ">E>three\nRR\n>\n>five" },
	{ 12, 1, 3, ">\n>five" },
	{ 99, 0, 0, "" },
};

START_TEST(lines_are_whole)
{
	struct lines lines = { .since_usec = rows[_i].since, .skip = rows[_i].skip };
	char out[128];

	show(&lines, out);
	ck_assert_str_eq(out, rows[_i].shown);
	ck_assert_uint_eq(lines.count, rows[_i].count);
}
END_TEST

START_TEST(note_counts_as_a_line)
{
	struct lines lines = { .since_usec = 5, .skip = 1 };

	ck_assert(!lines_note(&lines, 4));
	ck_assert(!lines_note(&lines, 5));
	ck_assert(lines_note(&lines, 6));
	ck_assert_uint_eq(lines.count, 2);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, lines_are_whole, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, note_counts_as_a_line);
}

int main(void)
{
	return unit_main("lines", add_tests);
}
