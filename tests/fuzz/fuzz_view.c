/* SPDX-License-Identifier: MIT */
/* Jobs as tfqd tells of them, other people's words in them, as rows, bars and a picture. */
#include "client/view.h"

#include <expat.h>
#include <locale.h>

#include "client/cells.h"
#include "client/timeline.h"
#include "tests/fuzz/fuzz.h"

#define NOW UINT64_C(1767312000000000)

static void print_table(const json_t *jobs, size_t width)
{
	const struct view_filter filter = { 0 };
	struct view view = { 0 };
	size_t count = 0;
	char bad[32], line[4096];
	struct table *table;
	const json_t **sorted;

	FUZZ_CHECK(view_parse(&view, view_queue, bad, sizeof(bad)));
	for (int order = 0; order < VIEW_ORDERS; order++) {
		sorted = view_sorted(jobs, &filter, (enum view_order)order, &count);
		table = table_new(view.columns, view.count);
		FUZZ_CHECK(sorted && table && count <= json_array_size(jobs));
		for (size_t i = 0; i < count; i++)
			view_add(&view, table, sorted[i], NOW);
		table_fit(table, width);
		for (size_t i = 0; i < table_rows(table); i++)
			fuzz_check_printable(table_line(table, i, line, sizeof(line)));
		(void)table_free(table);
		free(sorted);
	}
}

static void check_xml(const char *text, size_t len)
{
	XML_Parser parser = XML_ParserCreate("UTF-8");

	FUZZ_CHECK(parser);
	FUZZ_CHECK(XML_Parse(parser, text, (int)len, XML_TRUE) == XML_STATUS_OK);
	XML_ParserFree(parser);
}

static void draw(const json_t *jobs, size_t width)
{
	struct timeline timeline;
	char *text = NULL, words[512];
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	FUZZ_CHECK(out);
	FUZZ_CHECK(timeline_init(&timeline, jobs, NULL, 0, NOW) == 0);
	timeline_svg(&timeline, out, false);
	FUZZ_CHECK(fclose(out) == 0);
	check_xml(text, len);
	free(text);
	out = open_memstream(&text, &len);
	FUZZ_CHECK(out);
	timeline_print(&timeline, out, width + 1, true, false);
	FUZZ_CHECK(fclose(out) == 0);
	for (char *line = text, *rest; line && *line; line = rest) {
		rest = strchr(line, '\n');
		if (rest)
			*rest++ = '\0';
		fuzz_check_printable(line);
	}
	free(text);
	for (size_t i = 0; i < timeline.bar_count; i++)
		fuzz_check_printable(
			timeline_describe(&timeline, &timeline.bars[i], words, sizeof(words)));
	timeline_clear(&timeline);
}

/* The width of the terminal; then a list of jobs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool has_locale;
	struct fuzz_input input = { data, size };
	const size_t width = fuzz_byte(&input);
	json_t *jobs = json_loadb((const char *)input.at, input.left, 0, NULL);

	if (!has_locale)
		has_locale = setlocale(LC_CTYPE, "C.UTF-8") && setenv("TZ", "UTC", 1) == 0;
	if (json_is_array(jobs)) {
		print_table(jobs, width);
		draw(jobs, width);
	}
	json_decref(jobs);
	return 0;
}
