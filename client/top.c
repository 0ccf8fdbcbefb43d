/* SPDX-License-Identifier: MIT */
/* What is shown and selected; knows no screen. */
#include "client/top.h"

#include <stdlib.h>

#include "client/print.h"

size_t top_selected(const struct top *top)
{
	for (size_t i = 0; i < top->count; i++)
		if (print_number(top->sorted[i], "id") == top->selected)
			return i;
	return 0;
}

void top_move(struct top *top, long step)
{
	const long at = (long)top_selected(top) + step, last = (long)top->count - 1;

	top->selected = 0;
	if (last >= 0)
		top->selected = print_number(top->sorted[at < 0 ? 0 : at > last ? last : at], "id");
}

size_t top_scroll(struct top *top, size_t lines)
{
	const size_t at = top_selected(top);

	if (lines == 0)
		return 0;
	if (top->first + lines > top->count) /* no empty rows while others are hidden above */
		top->first = top->count > lines ? top->count - lines : 0;
	if (at < top->first)
		top->first = at;
	if (at >= top->first + lines)
		top->first = at - lines + 1;
	return top->count - top->first < lines ? top->count - top->first : lines;
}

static void sort(struct top *top)
{
	const struct view_filter filter = { 0 };

	free(top->sorted);
	top->count = 0;
	top->sorted = view_sorted(top->jobs, &filter, top->order, &top->count);
	if (!top->sorted)
		top->count = 0;
}

void top_take(struct top *top, json_t *jobs)
{
	const size_t at = top_selected(top);

	json_decref(top->jobs);
	top->jobs = jobs;
	sort(top);
	for (size_t i = 0; i < top->count; i++)
		if (print_number(top->sorted[i], "id") == top->selected)
			return;
	top->selected = 0; /* it has ended: what stands in its place now */
	top_move(top, (long)at);
}

void top_sort(struct top *top)
{
	top->order = (top->order + 1) % VIEW_ORDERS;
	sort(top);
}
