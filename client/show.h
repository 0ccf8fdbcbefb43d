/* SPDX-License-Identifier: MIT */
/* A table of jobs on stdout. */
#pragma once

#include <stdio.h>

#include "client/view.h"

struct show {
	struct view view;
	struct view_filter filter;
	bool as_json;
	bool no_legend;
};

/* How wide it may be: $COLUMNS, or what the terminal says; 0, without a limit, where stdout is no
 * terminal. */
size_t show_width(void);

/* Which columns: @names of the user, or, if that is NULL, @standard. Return: false after telling
 * the user what is wrong with them. */
bool show_columns(struct show *show, const char *names, const char *standard);

/* The rows of @jobs, at most @rows of them, and how many are left out. */
void show_table(FILE *out, const struct show *show, const json_t *const *jobs, size_t count,
		size_t rows);

/* A line for each that has a message, of those that stand first: why a queue stands still. */
void show_holds(FILE *out, const json_t *const *jobs, size_t count, size_t width);

/* As one array, a job a line, with all that tfqd says of it. */
void show_json(FILE *out, const json_t *const *jobs, size_t count);
