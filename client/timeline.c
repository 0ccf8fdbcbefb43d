/* SPDX-License-Identifier: MIT */
#include "client/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/print.h"
#include "common/parse.h"

#define OVERLAP USEC_PER_SEC /* the end of one is heard of after the start of the next */

static const char *state_of(const struct timeline_bar *bar)
{
	const char *state = json_string_value(json_object_get(bar->job, "state"));

	return state ? state : "";
}

static struct timeline_bar bar_of(const json_t *job, uint64_t now)
{
	const uint64_t started = print_number(job, "started"), ended = print_number(job, "ended");
	uint64_t end = ended > 0 ? ended : now;

	if (end < started) /* the clock was set back meanwhile */
		end = started;
	return (struct timeline_bar){
		.job = job,
		.id = print_number(job, "id"),
		.submitted = print_number(job, "submitted"),
		.begin = started > 0 ? started : end,
		.end = end,
		.is_started = started > 0,
		.is_over = ended > 0,
		.ahead = TIMELINE_NOBODY,
	};
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b)
{
	const struct timeline_bar *x = a, *y = b;
	const int order = compare(x->id, y->id);

	return order != 0 ? order : (int)y->is_over - (int)x->is_over;
}

static int by_lane(const void *a, const void *b)
{
	const struct timeline_bar *x = a, *y = b;
	int order = strcmp(state_of(x), state_of(y));

	if (order == 0)
		order = compare(x->begin, y->begin);
	return order != 0 ? order : compare(x->id, y->id);
}

/* One that is there twice was asked for twice, and ended in between. */
static void drop_twins(struct timeline *timeline)
{
	size_t kept = 0;

	qsort(timeline->bars, timeline->bar_count, sizeof(*timeline->bars), by_id);
	for (size_t i = 0; i < timeline->bar_count; i++)
		if (kept == 0 || timeline->bars[kept - 1].id != timeline->bars[i].id)
			timeline->bars[kept++] = timeline->bars[i];
	timeline->bar_count = kept;
}

static void find_ahead(struct timeline *timeline, const struct timeline_lane *lane)
{
	size_t last = TIMELINE_NOBODY; /* that has started */

	for (size_t i = lane->first; i < lane->first + lane->count; i++) {
		struct timeline_bar *bar = &timeline->bars[i];

		if (last != TIMELINE_NOBODY && timeline->bars[last].end > bar->submitted &&
		    (!bar->is_started || timeline->bars[last].end <= bar->begin + OVERLAP))
			bar->ahead = last;
		if (bar->is_started)
			last = i;
	}
}

static void make_lanes(struct timeline *timeline)
{
	struct timeline_lane *lane = NULL;

	for (size_t i = 0; i < timeline->bar_count; i++) {
		const char *state = state_of(&timeline->bars[i]);

		if (!lane || strcmp(lane->state, state) != 0) {
			lane = &timeline->lanes[timeline->lane_count++];
			*lane = (struct timeline_lane){ .state = state, .first = i };
		}
		lane->count++;
	}
	for (size_t i = 0; i < timeline->lane_count; i++)
		find_ahead(timeline, &timeline->lanes[i]);
}

static void find_span(struct timeline *timeline, uint64_t since, uint64_t now)
{
	timeline->from = now;
	timeline->until = since;
	for (size_t i = 0; i < timeline->bar_count; i++) {
		const struct timeline_bar *bar = &timeline->bars[i];

		if (bar->submitted < timeline->from)
			timeline->from = bar->submitted;
		if (bar->end > timeline->until)
			timeline->until = bar->end;
	}
	if (timeline->from < since)
		timeline->from = since;
	if (timeline->until <= timeline->from)
		timeline->until = timeline->from + USEC_PER_SEC;
}

int timeline_init(struct timeline *ret, const json_t *jobs, const char *state, uint64_t since_usec,
		  uint64_t now_usec)
{
	const size_t count = json_array_size(jobs);

	*ret = (struct timeline){
		.bars = calloc(count + 1, sizeof(*ret->bars)),
		.lanes = calloc(count + 1, sizeof(*ret->lanes)),
	};
	if (!ret->bars || !ret->lanes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct timeline_bar bar = bar_of(json_array_get(jobs, i), now_usec);

		if (bar.end >= since_usec && (!state || strstr(state_of(&bar), state)))
			ret->bars[ret->bar_count++] = bar;
	}
	drop_twins(ret);
	qsort(ret->bars, ret->bar_count, sizeof(*ret->bars), by_lane);
	make_lanes(ret);
	find_span(ret, since_usec, now_usec);
	return 0;
}

void timeline_clear(struct timeline *timeline)
{
	free(timeline->bars);
	free(timeline->lanes);
	*timeline = (struct timeline){ 0 };
}

size_t timeline_column(const struct timeline *timeline, uint64_t at, size_t width)
{
	const uint64_t span = timeline->until - timeline->from;

	if (at <= timeline->from)
		return 0;
	if (at >= timeline->until)
		return width;
	return (size_t)((double)(at - timeline->from) / (double)span * (double)width);
}

char *timeline_describe(const struct timeline *timeline, const struct timeline_bar *bar, char *buf,
			size_t size)
{
	char user[128], command[128], status[32], waited[32], ran[32] = "", ahead[32] = "";

	if (bar->ahead != TIMELINE_NOBODY)
		(void)snprintf(ahead, sizeof(ahead), " for #%" PRIu64,
			       timeline->bars[bar->ahead].id);
	if (bar->is_started)
		(void)print_duration(ran, bar->begin,
				     bar->end > bar->begin ? bar->end : bar->begin + 1);
	(void)snprintf(buf, size, "#%" PRIu64 " %s %s: waited %s%s%s%s, %s", bar->id,
		       print_text(user, sizeof(user), bar->job, "user"),
		       print_text(command, sizeof(command), bar->job, "command"),
		       print_duration(waited, bar->submitted,
				      bar->begin > bar->submitted ? bar->begin
								  : bar->submitted + 1),
		       ahead, *ran ? ", ran " : "", ran,
		       print_text(status, sizeof(status), bar->job, "status"));
	return buf;
}
