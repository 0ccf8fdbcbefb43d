/* SPDX-License-Identifier: MIT */
/* The timeline on a terminal. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cells.h"
#include "client/print.h"
#include "client/timeline.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "common/text.h"

#define LABEL_MAX 36
#define LABEL_MIN 6
#define BAR_MIN   8

struct look {
	FILE *out;
	size_t label, bar; /* columns */
	const char *waits, *runs;
	bool is_coloured;
};

static const char *colour_of(const struct timeline_bar *bar)
{
	const char *status = json_string_value(json_object_get(bar->job, "status"));

	if (!bar->is_over || !status)
		return "\033[36m"; /* cyan */
	if (strcmp(status, "done") == 0)
		return "\033[32m"; /* green */
	return strcmp(status, "cancelled") == 0 ? "\033[33m" : "\033[31m";
}

static void put(const struct look *look, const char *colour, const char *text, size_t times)
{
	if (times == 0)
		return;
	if (look->is_coloured && *colour)
		(void)fputs(colour, look->out);
	for (size_t i = 0; i < times; i++)
		(void)fputs(text, look->out);
	if (look->is_coloured && *colour)
		(void)fputs("\033[0m", look->out);
}

static void print_label(const struct look *look, const struct timeline *timeline,
			const struct timeline_bar *bar)
{
	char user[128], command[128], ahead[32] = "", label[512], cut[512];

	if (bar->ahead != TIMELINE_NOBODY)
		(void)snprintf(ahead, sizeof(ahead), " after #%" PRIu64,
			       timeline->bars[bar->ahead].id);
	(void)snprintf(label, sizeof(label), "#%" PRIu64 " %s %s%s", bar->id,
		       print_text(user, sizeof(user), bar->job, "user"),
		       print_text(command, sizeof(command), bar->job, "command"), ahead);
	(void)cells_cut(cut, sizeof(cut), label, look->label, false);
	(void)fprintf(look->out, "%s", cut);
	put(look, "", " ", look->label + 1 - cells_width(cut));
}

static void print_bar(const struct look *look, const struct timeline *timeline,
		      const struct timeline_bar *bar)
{
	size_t from = timeline_column(timeline, bar->submitted, look->bar);
	size_t begin = timeline_column(timeline, bar->begin, look->bar);
	size_t end = timeline_column(timeline, bar->end, look->bar);

	if (bar->is_started && end == begin) { /* short, but it was there */
		begin -= begin == look->bar;
		end = begin + 1;
	} else if (!bar->is_started && begin == from) {
		from -= from == look->bar;
		begin = end = from + 1;
	}
	if (from > begin)
		from = begin;
	print_label(look, timeline, bar);
	put(look, "", " ", from);
	put(look, "\033[2m", look->waits, begin - from);
	put(look, colour_of(bar), look->runs, bar->is_started ? end - begin : 0);
	(void)fputc('\n', look->out);
}

/* "14:30" in local time, with the day if the picture is of more than one. */
static void format_time(char *buf, size_t size, uint64_t usec, bool has_day)
{
	const time_t at = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;

	buf[0] = '\0';
	if (localtime_r(&at, &tm))
		(void)strftime(buf, size, has_day ? "%m-%d %H:%M" : "%H:%M:%S", &tm);
}

static void print_axis(const struct look *look, const struct timeline *timeline)
{
	const bool has_day = timeline->until - timeline->from > 12 * USEC_PER_HOUR;
	char from[32], until[32];
	size_t used;

	format_time(from, sizeof(from), timeline->from, has_day);
	format_time(until, sizeof(until), timeline->until, has_day);
	used = strlen(from) + strlen(until);
	put(look, "", " ", look->label + 1);
	if (used < look->bar) {
		(void)fputs(from, look->out);
		put(look, "", " ", look->bar - used);
	}
	(void)fprintf(look->out, "%.*s\n", (int)look->bar, until);
}

void timeline_print(const struct timeline *timeline, FILE *out, size_t width, bool is_unicode,
		    bool is_coloured)
{
	struct look look = {
		.out = out,
		.label = width / 3,
		.waits = is_unicode ? "\xe2\x96\x91" : ".",
		.runs = is_unicode ? "\xe2\x96\x88" : "#",
		.is_coloured = is_coloured,
	};
	char state[512], cut[512];

	if (look.label > LABEL_MAX)
		look.label = LABEL_MAX;
	if (look.label < LABEL_MIN)
		look.label = LABEL_MIN;
	look.bar = width > look.label + 1 + BAR_MIN ? width - look.label - 1 : BAR_MIN;
	for (size_t i = 0; i < timeline->lane_count; i++) {
		const struct timeline_lane *lane = &timeline->lanes[i];

		(void)text_printable(state, sizeof(state), lane->state);
		(void)cells_cut(cut, sizeof(cut), state, width, true);
		put(&look, "\033[1m", cut, 1);
		(void)fputc('\n', out);
		for (size_t k = lane->first; k < lane->first + lane->count; k++)
			print_bar(&look, timeline, &timeline->bars[k]);
	}
	print_axis(&look, timeline);
}
