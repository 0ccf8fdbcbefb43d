/* SPDX-License-Identifier: MIT */
/* Who waited for whom: jobs as bars on a line per state. Pure: what time it is, is an argument. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TIMELINE_NOBODY ((size_t)-1)

struct timeline_bar {
	const json_t *job;
	uint64_t id, submitted;
	uint64_t begin; /* when terraform started; is_started false: when the waiting ended, or now
			 */
	uint64_t end;   /* of terraform, or now */
	bool is_started;
	bool is_over;
	size_t ahead; /* the bar for which it waited last, or TIMELINE_NOBODY */
};

struct timeline_lane {
	const char *state;
	size_t first, count; /* of the bars, in the order in which they came to run */
};

struct timeline {
	struct timeline_bar *bars;
	size_t bar_count;
	struct timeline_lane *lanes;
	size_t lane_count;
	uint64_t from, until; /* what is shown, microseconds since 1970 */
};

/*
 * Of the jobs of the array @jobs, which must outlive @ret, those on states whose names contain
 * @state (NULL: all) that were not over at @since_usec (0: all of them). A job that is there twice
 * counts once, as over. Return: 0 or -ENOMEM; @ret is to be cleared in any case.
 */
int timeline_init(struct timeline *ret, const json_t *jobs, const char *state, uint64_t since_usec,
		  uint64_t now_usec);
void timeline_clear(struct timeline *timeline);

/* Where @at is, between 0 and @width. */
size_t timeline_column(const struct timeline *timeline, uint64_t at, size_t width);

/* "#42 alice apply: waited 5 min for #39, ran 2 min, failed". Return: @buf. */
char *timeline_describe(const struct timeline *timeline, const struct timeline_bar *bar, char *buf,
			size_t size);

/* --- to look at --------------------------------------------------------------------------------
 */

/* With block characters (@is_unicode) or '.' and '#', @width columns; @is_coloured: by how the
 * jobs ended. */
void timeline_print(const struct timeline *timeline, FILE *out, size_t width, bool is_unicode,
		    bool is_coloured);

/* A picture that needs nothing else; @is_html: in a page. */
void timeline_svg(const struct timeline *timeline, FILE *out, bool is_html);
