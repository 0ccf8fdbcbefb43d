/* SPDX-License-Identifier: MIT */
#include "client/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cells.h"
#include "common/cleanup.h"

#define GAP      2
#define CELL_MAX 2048

struct table {
	const struct table_column *const *columns;
	size_t count, rows, room, available;
	char *text; /* all cells, each with its NUL */
	size_t text_len, text_size;
	size_t *starts; /* where in text each cell begins, row after row */
	size_t width[TABLE_COLUMNS_MAX];
	bool is_empty[TABLE_COLUMNS_MAX];
};

/* --- widths ---------------------------------------------------------------------------------- */

static size_t least_of(const struct table_column *column, size_t width)
{
	return column->least > 0 && column->least < width ? column->least : width;
}

/* Of all columns that are there; @is_least: when cut as far as they may be. */
static size_t total_of(const struct table_column *const *columns, size_t count, const size_t *width,
		       bool is_least)
{
	size_t total = 0;

	for (size_t i = 0; i < count; i++) {
		if (width[i] > 0)
			total += GAP + (is_least ? least_of(columns[i], width[i]) : width[i]);
	}
	return total > GAP ? total - GAP : 0;
}

/* Return: false if nothing may be left out any more. */
static bool drop_one(const struct table_column *const *columns, size_t count, size_t *width,
		     const bool *is_empty)
{
	size_t best = count;

	for (size_t i = 0; i < count; i++) {
		if (width[i] == 0 || columns[i]->drop_rank == 0)
			continue;
		if (best == count || (is_empty[i] && !is_empty[best]) ||
		    (is_empty[i] == is_empty[best] &&
		     columns[i]->drop_rank < columns[best]->drop_rank))
			best = i;
	}
	if (best == count)
		return false;
	width[best] = 0;
	return true;
}

/* The column that is cut next, of those that are wider than they have to be. */
static size_t next_cut(const struct table_column *const *columns, size_t count, const size_t *width)
{
	size_t best = count;

	for (size_t i = 0; i < count; i++) {
		if (width[i] > 0 && least_of(columns[i], width[i]) < width[i] &&
		    (best == count || columns[i]->cut_rank < columns[best]->cut_rank))
			best = i;
	}
	return best;
}

void table_layout(const struct table_column *const *columns, size_t count, size_t *width,
		  const bool *is_empty, size_t available)
{
	if (available == 0)
		return;
	while (total_of(columns, count, width, true) > available)
		if (!drop_one(columns, count, width, is_empty))
			break;
	for (;;) {
		const size_t total = total_of(columns, count, width, false);
		const size_t at = next_cut(columns, count, width);
		size_t spare;

		if (total <= available || at == count)
			return;
		spare = width[at] - columns[at]->least;
		width[at] -= spare < total - available ? spare : total - available;
	}
}

/* --- the table ------------------------------------------------------------------------------- */

struct table *table_new(const struct table_column *const *columns, size_t count)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->columns = columns;
	table->count = count < TABLE_COLUMNS_MAX ? count : TABLE_COLUMNS_MAX;
	for (size_t i = 0; i < table->count; i++) {
		table->width[i] = cells_width(columns[i]->title);
		table->is_empty[i] = true;
	}
	return table;
}

struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	free(table->text);
	free(table->starts);
	free(table);
	return NULL;
}

static bool make_row(struct table *table)
{
	const size_t room = table->room > 0 ? table->room * 2 : 64;
	size_t *starts;

	if (table->rows < table->room)
		return true;
	starts = reallocarray(table->starts, room * table->count, sizeof(*starts));
	if (!starts)
		return false;
	table->starts = starts;
	table->room = room;
	return true;
}

static bool make_text(struct table *table, size_t more)
{
	size_t size = table->text_size > 0 ? table->text_size : 4096;
	char *text;

	while (size - table->text_len < more)
		size *= 2;
	if (size == table->text_size)
		return true;
	text = realloc(table->text, size);
	if (!text)
		return false;
	table->text = text;
	table->text_size = size;
	return true;
}

static bool has_room(struct table *table, const char *const *cells)
{
	size_t more = 0;

	for (size_t i = 0; i < table->count; i++)
		more += (cells[i] ? strlen(cells[i]) : 0) + 1;
	return make_row(table) && make_text(table, more);
}

void table_add(struct table *table, const char *const *cells)
{
	if (!table || !has_room(table, cells))
		return;
	for (size_t i = 0; i < table->count; i++) {
		const char *cell = cells[i] ? cells[i] : "";
		const size_t width = cells_width(cell), size = strlen(cell) + 1;

		table->starts[table->rows * table->count + i] = table->text_len;
		memcpy(table->text + table->text_len, cell, size);
		table->text_len += size;
		if (width > table->width[i])
			table->width[i] = width;
		if (*cell && strcmp(cell, "-") != 0)
			table->is_empty[i] = false;
	}
	table->rows++;
}

void table_fit(struct table *table, size_t available)
{
	if (!table)
		return;
	table->available = available;
	table_layout(table->columns, table->count, table->width, table->is_empty, available);
}

size_t table_rows(const struct table *table)
{
	return table ? table->rows : 0;
}

static const char *cell_of(const struct table *table, size_t row, size_t column)
{
	return row == TABLE_TITLES ? table->columns[column]->title
				   : table->text + table->starts[row * table->count + column];
}

static bool is_last(const struct table *table, size_t column)
{
	for (size_t i = column + 1; i < table->count; i++)
		if (table->width[i] > 0)
			return false;
	return true;
}

/* Append @text and blanks. Return: the new end. */
static size_t put(char *buf, size_t size, size_t used, const char *text, size_t blanks)
{
	const int n = snprintf(buf + used, size - used, "%s%*s", text, (int)blanks, "");

	return n > 0 && (size_t)n < size - used ? used + (size_t)n : size - 1;
}

/* @cell, which is too wide for @width, in @buf. */
static const char *cut_cell(const struct table_column *column, const char *cell, size_t width,
			    char *buf)
{
	const size_t len = strlen(cell);
	const size_t tail = column->ending ? strlen(column->ending) : 0;
	char rest[CELL_MAX];

	(void)snprintf(rest, sizeof(rest), "%s", cell);
	if (tail > 0 && len > tail && len < sizeof(rest) &&
	    strcmp(cell + len - tail, column->ending) == 0)
		rest[len - tail] = '\0';
	return cells_cut(buf, CELL_MAX, rest, width, column->cut_left);
}

static void trim(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == ' ')
		text[--len] = '\0';
}

char *table_line(const struct table *table, size_t row, char *buf, size_t size)
{
	char cut[CELL_MAX];
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; table && i < table->count; i++) {
		const size_t width = table->width[i];
		const char *cell = cell_of(table, row, i);
		size_t wide = cells_width(cell);

		if (width == 0)
			continue;
		if (wide > width) {
			cell = row == TABLE_TITLES ? cells_cut(cut, sizeof(cut), cell, width, false)
						   : cut_cell(table->columns[i], cell, width, cut);
			wide = cells_width(cell); /* it may be less */
		}
		used = put(buf, size, used, cell, is_last(table, i) ? 0 : width - wide + GAP);
	}
	trim(buf);
	if (table && table->available > 0 && cells_width(buf) > table->available) {
		AUTO_FREE char *whole = strdup(buf);

		if (whole)
			(void)cells_cut(buf, size, whole, table->available, false);
	}
	return buf;
}
