/* SPDX-License-Identifier: MIT */
/* The timeline as a picture. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "client/cells.h"
#include "client/print.h"
#include "client/timeline.h"
#include "common/parse.h"
#include "common/text.h"

#define LEFT   240 /* for the labels */
#define CHART  1000
#define RIGHT  20
#define TOP    56
#define ROW    20
#define HEAD   30 /* a state's name */
#define BAR    12
#define BOTTOM 16
#define TICKS  6

static const char style[] =
	"text{font:12px sans-serif;fill:#222}.t{font:bold 16px sans-serif}"
	".s{font:bold 13px sans-serif}.a{fill:#666}.g{stroke:#ddd}"
	".w{fill:#d9c58a}.done{fill:#3c8d5a}.failed,.lost{fill:#c0392b}.cancelled{fill:#8e8e8e}"
	".now{fill:#2d7dbb}.p{stroke:#555;fill:none;marker-end:url(#e)}"
	"@media(prefers-color-scheme:dark){.b{fill:#1d1f21}text{fill:#ddd}.a{fill:#999}"
	".g{stroke:#333}.p{stroke:#aaa}}";

/* For between tags and for attributes. */
static void put_escaped(FILE *out, const char *text)
{
	char clean[1024];

	for (const char *at = text_printable(clean, sizeof(clean), text); *at; at++) {
		switch (*at) {
		case '&': (void)fputs("&amp;", out); break;
		case '<': (void)fputs("&lt;", out); break;
		case '>': (void)fputs("&gt;", out); break;
		case '"': (void)fputs("&quot;", out); break;
		case '\'': (void)fputs("&#39;", out); break;
		default: (void)fputc(*at, out); break;
		}
	}
}

static void put_text(FILE *out, size_t x, size_t y, const char *class, const char *text)
{
	(void)fprintf(out, "<text x=\"%zu\" y=\"%zu\" class=\"%s\">", x, y, class);
	put_escaped(out, text);
	(void)fputs("</text>\n", out);
}

static size_t height_of(const struct timeline *timeline)
{
	return TOP + timeline->lane_count * HEAD + timeline->bar_count * ROW + BOTTOM;
}

static size_t x_of(const struct timeline *timeline, uint64_t at)
{
	return LEFT + timeline_column(timeline, at, CHART);
}

static const char *class_of(const struct timeline_bar *bar)
{
	static const char *const classes[] = { "done", "failed", "lost", "cancelled" };
	const char *status = json_string_value(json_object_get(bar->job, "status"));

	for (size_t i = 0; status && i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strcmp(status, classes[i]) == 0)
			return classes[i];
	return "now";
}

static void put_axis(FILE *out, const struct timeline *timeline)
{
	const uint64_t span = timeline->until - timeline->from;

	for (size_t i = 0; i <= TICKS; i++) {
		const uint64_t usec = timeline->from + span / TICKS * i;
		const time_t at = (time_t)(usec / USEC_PER_SEC);
		const size_t x = LEFT + CHART * i / TICKS;
		char text[32] = "";
		struct tm tm;

		if (localtime_r(&at, &tm))
			(void)strftime(text, sizeof(text),
				       span > 12 * USEC_PER_HOUR ? "%m-%d %H:%M" : "%H:%M:%S", &tm);
		(void)fprintf(out,
			      "<line x1=\"%zu\" y1=\"%d\" x2=\"%zu\" y2=\"%zu\" class=\"g\"/>\n", x,
			      TOP - 6, x, height_of(timeline) - BOTTOM);
		put_text(out, i == TICKS ? x - 50 : x, TOP - 10, "a", text);
	}
}

static void put_rect(FILE *out, const char *class, size_t from, size_t to, size_t y)
{
	(void)fprintf(out, "<rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%d\" class=\"%s\"/>",
		      from, y, to > from ? to - from : 1, BAR, class);
}

/* @y: of the rows before; those of one lane follow each other. */
static void put_bar(FILE *out, const struct timeline *timeline, size_t index, size_t y)
{
	const struct timeline_bar *bar = &timeline->bars[index];
	const size_t begin = x_of(timeline, bar->begin);
	char text[512], label[128], user[64], command[64], cut[128];

	(void)snprintf(label, sizeof(label), "#%" PRIu64 " %s %s", bar->id,
		       print_text(user, sizeof(user), bar->job, "user"),
		       print_text(command, sizeof(command), bar->job, "command"));
	(void)fputs("<g><title>", out);
	put_escaped(out, timeline_describe(timeline, bar, text, sizeof(text)));
	(void)fputs("</title>\n", out);
	put_text(out, 12, y + BAR - 1, "l", cells_cut(cut, sizeof(cut), label, 34, false));
	put_rect(out, "w", x_of(timeline, bar->submitted), begin, y);
	if (bar->is_started)
		put_rect(out, class_of(bar), begin, x_of(timeline, bar->end), y);
	(void)fputs("</g>\n", out);
	if (bar->ahead != TIMELINE_NOBODY) {
		const size_t above = y - (index - bar->ahead) * ROW + BAR;
		const size_t end = x_of(timeline, timeline->bars[bar->ahead].end);

		(void)fprintf(out, "<path class=\"p\" d=\"M%zu %zuV%zu\"/>\n", end, above, y - 1);
	}
}

/* What the colours mean. */
static void put_legend(FILE *out, size_t x)
{
	static const struct {
		const char *name, *word;
	} colours[] = { { "w", "waits" },
			{ "now", "runs" },
			{ "done", "done" },
			{ "failed", "failed, lost" },
			{ "cancelled", "cancelled" } };

	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++, x += 100) {
		(void)fprintf(out, "<path d=\"M%zu 14h12v12h-12z\" class=\"%s\"/>\n", x,
			      colours[i].name);
		put_text(out, x + 18, 24, "a", colours[i].word);
	}
}

void timeline_svg(const struct timeline *timeline, FILE *out, bool is_html)
{
	const size_t width = LEFT + CHART + RIGHT, height = height_of(timeline);
	size_t y = TOP;

	if (is_html) {
		(void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
			    "<title>terraform queue</title></head><body>\n",
			    out);
	} else {
		(void)fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", out);
	}
	(void)fprintf(out,
		      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" "
		      "viewBox=\"0 0 %zu %zu\">\n<style>%s</style>\n"
		      "<defs><marker id=\"e\" viewBox=\"0 0 6 6\" refX=\"5\" refY=\"3\" "
		      "markerWidth=\"5\" markerHeight=\"5\" orient=\"auto\">"
		      "<path d=\"M0 0L6 3L0 6z\" fill=\"#555\"/></marker></defs>\n"
		      "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\" class=\"b\"/>\n",
		      width, height, width, height, style);
	put_text(out, 12, 24, "t", "Who waited for whom");
	put_legend(out, LEFT);
	put_axis(out, timeline);
	for (size_t i = 0; i < timeline->lane_count; i++) {
		const struct timeline_lane *lane = &timeline->lanes[i];

		put_text(out, 12, y + HEAD - 10, "s", lane->state);
		y += HEAD;
		for (size_t k = lane->first; k < lane->first + lane->count; k++, y += ROW)
			put_bar(out, timeline, k, y);
	}
	(void)fputs(is_html ? "</svg>\n</body></html>\n" : "</svg>\n", out);
}
