/* SPDX-License-Identifier: MIT */
#include "client/cells.h"

#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

static size_t char_len(unsigned char lead)
{
	return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Length of the character at @s, its columns in *@ret. What the locale does not know takes one. */
static size_t next_char(const char *s, size_t *ret)
{
	const unsigned char lead = (unsigned char)s[0];
	const size_t len = char_len(lead);
	wchar_t c;
	int width;

	*ret = 1;
	if (len == 1)
		return 1;
	c = lead & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80) /* ends at a NUL, too */
			return i;
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	}
	width = wcwidth(c);
	*ret = width < 0 ? 1 : (size_t)width;
	return len;
}

size_t cells_width(const char *text)
{
	size_t width = 0, one;

	while (*text) {
		text += next_char(text, &one);
		width += one;
	}
	return width;
}

static const char *ellipsis(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "\xe2\x80\xa6" : "~";
}

/* Bytes of @text that fill at most @width columns; combining characters go with theirs. */
static size_t head(const char *text, size_t width)
{
	size_t used = 0, one;

	for (size_t at = 0;;) {
		const size_t len = text[at] ? next_char(text + at, &one) : 0;

		if (len == 0 || used + one > width)
			return at;
		used += one;
		at += len;
	}
}

/* Where the last @width columns of @text begin. */
static const char *tail(const char *text, size_t width)
{
	size_t left = cells_width(text), one = 0;
	size_t len = *text ? next_char(text, &one) : 0;

	while (len > 0 && (left > width || one == 0)) { /* also what combines with what is gone */
		left -= one;
		text += len;
		len = *text ? next_char(text, &one) : 0;
	}
	return text;
}

/* A character at the end of @text that had no room for all of its bytes goes. */
static void drop_half(char *text)
{
	const size_t len = strlen(text);
	size_t at = len;

	while (at > 0 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
		at--;
	if (at > 0 && at - 1 + char_len((unsigned char)text[at - 1]) > len)
		text[at - 1] = '\0';
}

char *cells_cut(char *buf, size_t size, const char *text, size_t width, bool from_left)
{
	if (cells_width(text) <= width) {
		(void)snprintf(buf, size, "%s", text);
	} else if (width == 0) {
		buf[0] = '\0';
	} else if (from_left) {
		(void)snprintf(buf, size, "%s%s", ellipsis(), tail(text, width - 1));
	} else {
		(void)snprintf(buf, size, "%.*s%s", (int)head(text, width - 1), text, ellipsis());
	}
	drop_half(buf);
	return buf;
}
