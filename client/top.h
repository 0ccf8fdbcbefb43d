/* SPDX-License-Identifier: MIT */
/* tfq top: the queue on a screen of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/view.h"
#include "common/varlink.h"

struct top {
	struct view view;
	enum view_order order;
	char *path;              /* tfqd's socket */
	struct varlink *varlink; /* NULL: tfqd is not there */
	json_t *jobs;
	const json_t **sorted; /* into jobs */
	size_t count;
	uint64_t selected;  /* a job's id; 0: none */
	uint64_t asks;      /* to cancel that one: y or n; 0: does not ask */
	uint64_t next_usec; /* when to look again, CLOCK_MONOTONIC */
	size_t first;       /* the row at the top of the screen */
	char note[512];     /* at the bottom, until the next key */
	bool is_over;
};

/* Where the selected job stands; 0 if it is not there. */
size_t top_selected(const struct top *top);

/* Select the job @step rows further down, or as far as there are any. */
void top_move(struct top *top, long step);

/* As many rows as are shown of @lines; the first is moved so that the selected one is there. */
size_t top_scroll(struct top *top, size_t lines);

/* Take over what is new: @jobs is stolen. */
void top_take(struct top *top, json_t *jobs);

/* The next way of sorting. */
void top_sort(struct top *top);

/* Everything, onto curses' screen. */
void top_draw(struct top *top);
