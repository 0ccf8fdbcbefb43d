/* SPDX-License-Identifier: MIT */
#include "client/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/text.h"

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
