/* SPDX-License-Identifier: MIT */
/* Jobs as rows of a table: which columns there are, what stands in them, which jobs, in which
 * order. Pure: what time it is, is an argument. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/table.h"

enum view_order { VIEW_BY_STATE, VIEW_BY_TIME, VIEW_BY_USER, VIEW_BY_ID, VIEW_ORDERS };

/* Which jobs; NULL or false: all. */
struct view_filter {
	const char *user;  /* the name, or the number */
	const char *state; /* a part of its name */
	bool failed;       /* those that ended badly */
};

struct view {
	const struct table_column *columns[TABLE_COLUMNS_MAX];
	size_t count;
};

extern const char view_queue[];   /* the columns of tfq queue */
extern const char view_history[]; /* of tfq history */

/* "id,status,label" in any case. Return: true, or false and the name that is none in *@ret_bad, of
 * @bad_size bytes; "": none or too many. */
bool view_parse(struct view *view, const char *names, char *ret_bad, size_t bad_size);

/* One job's row. */
void view_add(const struct view *view, struct table *table, const json_t *job, uint64_t now_usec);

bool view_takes(const struct view_filter *filter, const json_t *job);

/*
 * The jobs of the array @jobs that @filter takes, sorted: VIEW_BY_STATE: by state, there the one
 * that runs first, then by place; what is over last. They stay @jobs's. Return: an array that is
 * the caller's to free, *@ret_count of them; NULL when out of memory.
 */
const json_t **view_sorted(const json_t *jobs, const struct view_filter *filter,
			   enum view_order order, size_t *ret_count);

/* "~14 min" until @at_usec; "" if that is unknown (0) or over. @buf: 32 bytes. Return: @buf. */
char *view_estimate(char *buf, uint64_t at_usec, uint64_t now_usec);

/* When the job begins, or, if it runs, when it may end; 0: unknown. */
uint64_t view_eta(const json_t *job);
