/* SPDX-License-Identifier: MIT */
#include "client/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/text.h"

#define COLUMNS_MAX 16
#define GAP         2

/* A message may have lines of its own; nothing else in it may move the cursor. */
void print_error(const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	char *rest, *line, clean[2048];
	const char *before = "tfq: ";
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		(void)fprintf(stderr, "tfq: out of memory\n");
		return;
	}
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		(void)fprintf(stderr, "%s%s\n", before, text_printable(clean, sizeof(clean), line));
		before = "";
	}
}

const char *print_text(char *buf, size_t size, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text_printable(buf, size, text ? text : "");
}

uint64_t print_number(const json_t *object, const char *name)
{
	const json_int_t value = json_integer_value(json_object_get(object, name));

	return value > 0 ? (uint64_t)value : 0;
}

const char *print_duration(char *buf, uint64_t since_usec, uint64_t until_usec)
{
	const uint64_t until = until_usec ? until_usec : clock_usec(CLOCK_REALTIME);
	const uint64_t usec = since_usec && until > since_usec ? until - since_usec : 0;
	const uint64_t unit = usec < USEC_PER_SEC ? USEC_PER_MSEC : USEC_PER_SEC;

	return parse_format_usec(buf, usec / unit * unit); /* nobody wants the rest of a wait */
}

/* --- tables ------------------------------------------------------------------------------------
 */

struct table {
	size_t columns;
	json_t *cells; /* row after row */
	size_t width[COLUMNS_MAX];
};

/* Columns on a terminal; bytes where the locale cannot tell. */
static size_t width_of(const char *text)
{
	wchar_t wide[1024];
	const size_t count = mbstowcs(wide, text, 1024);
	int width;

	if (count == (size_t)-1 || count == 1024)
		return strlen(text);
	width = wcswidth(wide, count);
	return width < 0 ? strlen(text) : (size_t)width;
}

struct table *table_new(const char *const *titles, size_t columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
	table->cells = json_array();
	table_add(table, titles);
	return table;
}

void table_add(struct table *table, const char *const *cells)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->columns; i++) {
		const char *cell = cells[i] ? cells[i] : "";
		const size_t width = width_of(cell);

		(void)json_array_append_new(table->cells, json_string(cell));
		if (width > table->width[i])
			table->width[i] = width;
	}
}

void table_print(struct table *table)
{
	const json_t *value;
	size_t i;

	if (!table)
		return;
	json_array_foreach(table->cells, i, value)
	{
		const char *cell = json_string_value(value);
		const size_t column = i % table->columns;
		size_t pad = table->width[column] - width_of(cell) + GAP;

		if (column + 1 == table->columns)
			pad = 0;
		(void)printf("%s%*s%s", cell, (int)pad, "", pad == 0 ? "\n" : "");
	}
	json_decref(table->cells);
	free(table);
}
