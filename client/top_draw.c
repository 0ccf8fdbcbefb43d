/* SPDX-License-Identifier: MIT */
#include <curses.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cells.h"
#include "client/print.h"
#include "client/top.h"
#include "common/clock.h"

#define LINE_BYTES 8192
#define AROUND     3 /* lines that are no rows: the sums, the titles, the keys */

static const char keys[] = "j/k select  l logs  a attach  c cancel  s sort  q quit";

/* One whole line, cut to the screen. */
static void put_line(int row, const char *text, attr_t attributes)
{
	const int width = COLS > 0 ? COLS : 1;
	char cut[LINE_BYTES];

	(void)attrset((int)attributes);
	(void)mvaddstr(row, 0, cells_cut(cut, sizeof(cut), text, (size_t)width, false));
	for (int x = (int)cells_width(cut); x < width; x++)
		(void)addch(' ');
	(void)attrset(A_NORMAL);
}

static void draw_sums(const struct top *top)
{
	static const char *const orders[VIEW_ORDERS] = { "state", "time", "user", "number" };
	size_t running = 0;
	char text[256];

	for (size_t i = 0; i < top->count; i++)
		running += print_number(top->sorted[i], "started") > 0;
	(void)snprintf(text, sizeof(text), "tfq: %zu running, %zu waiting; by %s%s", running,
		       top->count - running, orders[top->order],
		       top->varlink ? "" : "; tfqd is not there, trying again");
	put_line(0, text, A_NORMAL);
}

/* Why its line stands still, and the like; else the keys. */
static void draw_foot(const struct top *top)
{
	char text[1024];

	if (top->asks > 0)
		(void)snprintf(text, sizeof(text), "cancel #%" PRIu64 "? y/n", top->asks);
	else if (top->note[0])
		(void)snprintf(text, sizeof(text), "%s", top->note);
	else if (top->count > 0)
		(void)print_text(text, sizeof(text), top->sorted[top_selected(top)], "message");
	else
		text[0] = '\0';
	put_line(LINES - 1, text[0] ? text : keys, A_BOLD);
}

void top_draw(struct top *top)
{
	const size_t lines = LINES > AROUND ? (size_t)(LINES - AROUND) : 0;
	const size_t shown = top_scroll(top, lines), selected = top_selected(top);
	struct table *table = table_new(top->view.columns, top->view.count);
	const uint64_t now = clock_usec(CLOCK_REALTIME);
	char line[LINE_BYTES];

	for (size_t i = 0; i < shown; i++)
		view_add(&top->view, table, top->sorted[top->first + i], now);
	table_fit(table, COLS > 0 ? (size_t)COLS : 1);
	(void)erase();
	draw_sums(top);
	put_line(1, table_line(table, TABLE_TITLES, line, sizeof(line)), A_UNDERLINE);
	for (size_t i = 0; i < table_rows(table); i++)
		put_line((int)i + 2, table_line(table, i, line, sizeof(line)),
			 top->first + i == selected ? A_REVERSE : A_NORMAL);
	if (top->count == 0 && lines > 0)
		put_line(2, "Nothing is queued.", A_NORMAL);
	draw_foot(top);
	(void)table_free(table);
	(void)refresh();
}
