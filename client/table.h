/* SPDX-License-Identifier: MIT */
/* Rows of columns, cut and thinned out until they fit. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX 24

struct table_column {
	const char *title;
	size_t least;       /* columns of the terminal that it keeps when it is cut; 0: it is not */
	unsigned cut_rank;  /* 1 is cut first */
	unsigned drop_rank; /* 1 is left out first, where cutting is not enough; 0: never */
	bool cut_left;      /* the end of its texts says most */
};

/*
 * From the natural widths in @width to those that fit into @available, gaps counted in; 0 is left
 * out. @is_empty: nobody has anything to say there; left out before all others.
 */
void table_layout(const struct table_column *const *columns, size_t count, size_t *width,
		  const bool *is_empty, size_t available);

struct table;

/* @columns are borrowed. Return: NULL when out of memory; then all others do nothing. */
struct table *table_new(const struct table_column *const *columns, size_t count);
struct table *table_free(struct table *table);

/* @cells: one printable text per column. Out of memory leaves the row out. */
void table_add(struct table *table, const char *const *cells);

/* Make it fit into so many columns; 0: it may be as wide as it is. After the last row. */
void table_fit(struct table *table, size_t available);

size_t table_rows(const struct table *table);

/* Row @row, from 0 on, as a line of its own in @buf; TABLE_TITLES: the titles. Return: @buf. */
#define TABLE_TITLES ((size_t)-1)
char *table_line(const struct table *table, size_t row, char *buf, size_t size);
