/* SPDX-License-Identifier: MIT */
#include "client/filter.h"

#include <string.h>

#include "common/text.h"

#define ESC '\x1b'

static size_t put(char *out, const char *data, size_t len)
{
	memcpy(out, data, len);
	return len;
}

/* A character of several bytes begins; @c is no ASCII. */
static size_t begin_char(struct filter *filter, unsigned char c, char *out)
{
	if (c < 0xc2 || c > 0xf4)
		return put(out, "?", 1);
	filter->at = FILTER_CHAR;
	filter->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	filter->held[0] = (char)c;
	filter->held_len = 1;
	return 0;
}

static size_t take_text(struct filter *filter, char c, char *out)
{
	filter->at = FILTER_TEXT;
	if (c == ESC) {
		filter->at = FILTER_ESCAPE;
		return 0;
	}
	if ((unsigned char)c >= 0x80)
		return begin_char(filter, (unsigned char)c, out);
	if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
		return 0;
	return put(out, &c, 1);
}

static size_t take_char(struct filter *filter, char c, char *out)
{
	char clean[8];

	if (((unsigned char)c & 0xc0) != 0x80) {
		out[0] = '?';
		return 1 + take_text(filter, c, out + 1);
	}
	filter->held[filter->held_len++] = c;
	if (--filter->left > 0)
		return 0;
	filter->at = FILTER_TEXT;
	filter->held[filter->held_len] = '\0';
	(void)text_printable(clean, sizeof(clean), filter->held);
	return put(out, clean, strlen(clean));
}

/* ESC, perhaps intermediate bytes, and a final one; or the start of something longer. */
static size_t take_escape(struct filter *filter, char c, char *out)
{
	if (c == '[') {
		filter->at = FILTER_CSI;
		filter->is_bad = false;
		filter->held_len = put(filter->held, "\x1b[", 2);
	} else if (c && strchr("]PX^_", c)) {
		filter->at = FILTER_STRING;
		filter->was_escape = false;
	} else if (c >= 0x30 && c < 0x7f) {
		filter->at = FILTER_TEXT;
	} else if (c < 0x20 || c >= 0x7f) {
		return take_text(filter, c, out);
	}
	return 0;
}

static size_t take_csi(struct filter *filter, char c, char *out)
{
	if (c < 0x20 || c >= 0x7f)
		return take_text(filter, c, out);
	if (c >= 0x40) {
		filter->at = FILTER_TEXT;
		if (c != 'm' || filter->is_bad)
			return 0;
		filter->held[filter->held_len++] = c;
		return put(out, filter->held, filter->held_len);
	}
	if ((c >= '0' && c <= '9') || c == ';' || c == ':')
		filter->is_bad = filter->is_bad || filter->held_len + 1 == sizeof(filter->held);
	else
		filter->is_bad = true;
	if (!filter->is_bad)
		filter->held[filter->held_len++] = c;
	return 0;
}

/* A title, a link, a picture: up to BEL or ESC \. Lines are never part of it. */
static size_t take_string(struct filter *filter, char c, char *out)
{
	if (filter->was_escape && c != '\\')
		return take_escape(filter, c, out);
	if (c == '\n')
		return take_text(filter, c, out);
	if (filter->was_escape || c == '\a' || c == '\x18' || c == '\x1a')
		filter->at = FILTER_TEXT;
	filter->was_escape = c == ESC;
	return 0;
}

size_t filter_run(struct filter *filter, char *out, const char *in, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		switch (filter->at) {
		case FILTER_TEXT: used += take_text(filter, in[i], out + used); break;
		case FILTER_CHAR: used += take_char(filter, in[i], out + used); break;
		case FILTER_ESCAPE: used += take_escape(filter, in[i], out + used); break;
		case FILTER_CSI: used += take_csi(filter, in[i], out + used); break;
		case FILTER_STRING: used += take_string(filter, in[i], out + used); break;
		}
	}
	return used;
}
