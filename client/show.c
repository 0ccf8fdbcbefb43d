/* SPDX-License-Identifier: MIT */
#include "client/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/cells.h"
#include "client/print.h"
#include "client/screen.h"
#include "common/clock.h"
#include "common/parse.h"

#define LINE_MAX_BYTES 8192
#define WIDTH_DEFAULT  80
#define WIDTH_MAX      4096

size_t show_width(void)
{
	const char *text = getenv("COLUMNS");
	uint64_t width = 0;
	uint16_t rows, columns;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (text && parse_u64(text, WIDTH_MAX, &width) == 0 && width > 0)
		return width;
	return screen_size(&rows, &columns) ? columns : WIDTH_DEFAULT;
}

bool show_columns(struct show *show, const char *names, const char *standard)
{
	char bad[64];

	if (view_parse(&show->view, names ? names : standard, bad, sizeof(bad)))
		return true;
	if (*bad)
		print_error("there is no column '%s'; tfq(1) lists them", bad);
	else
		print_error("'%s' are no columns; write them as id,status,label", names);
	return false;
}

void show_table(FILE *out, const struct show *show, const json_t *const *jobs, size_t count,
		size_t rows)
{
	const uint64_t now = clock_usec(CLOCK_REALTIME);
	struct table *table = table_new(show->view.columns, show->view.count);
	const size_t shown = count < rows ? count : rows;
	char line[LINE_MAX_BYTES];

	for (size_t i = 0; i < shown; i++)
		view_add(&show->view, table, jobs[i], now);
	table_fit(table, show_width());
	if (!show->no_legend)
		(void)fprintf(out, "%s\n", table_line(table, TABLE_TITLES, line, sizeof(line)));
	for (size_t i = 0; i < table_rows(table); i++)
		(void)fprintf(out, "%s\n", table_line(table, i, line, sizeof(line)));
	if (shown < count)
		(void)fprintf(out, "... and %zu more\n", count - shown);
	(void)table_free(table);
}

void show_holds(FILE *out, const json_t *const *jobs, size_t count, size_t width)
{
	char state[256], message[1024], line[2048], cut[2048];

	for (size_t i = 0; i < count; i++) {
		(void)print_text(message, sizeof(message), jobs[i], "message");
		if (!*message || print_number(jobs[i], "ended") > 0 ||
		    print_number(jobs[i], "position") != 1)
			continue;
		(void)snprintf(line, sizeof(line), "%s: %s",
			       print_text(state, sizeof(state), jobs[i], "state"), message);
		(void)fprintf(out, "%s\n",
			      width > 0 ? cells_cut(cut, sizeof(cut), line, width, false) : line);
	}
}

void show_json(FILE *out, const json_t *const *jobs, size_t count)
{
	const char *between = "";

	(void)fputs("[", out);
	for (size_t i = 0; i < count; i++) {
		(void)fprintf(out, "%s\n", between);
		(void)json_dumpf(jobs[i], out, JSON_COMPACT);
		between = ",";
	}
	(void)fputs(count > 0 ? "\n]\n" : "]\n", out);
}
