/* SPDX-License-Identifier: MIT */
#include "common/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 character at @s, its code point in *@ret; 0 if the bytes are none. */
static size_t utf8_char(const char *s, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char lead = (unsigned char)s[0];
	size_t len;
	uint32_t c;

	if (lead < 0x80) {
		*ret = lead;
		return 1;
	}
	if (lead >= 0xc2 && lead <= 0xdf)
		len = 2;
	else if (lead >= 0xe0 && lead <= 0xef)
		len = 3;
	else if (lead >= 0xf0 && lead <= 0xf4)
		len = 4;
	else
		return 0;

	c = lead & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80) /* ends at a NUL, too */
			return 0;
		c = c << 6 | ((unsigned char)s[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return len;
}

bool text_is_utf8(const char *text)
{
	uint32_t c;
	size_t len;

	for (; *text; text += len) {
		len = utf8_char(text, &c);
		if (len == 0)
			return false;
	}
	return true;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
	       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069); /* bidi overrides */
}

/* Unicode 3.4, D14: never for interchange. XML refuses some of them, terminals guess. */
static bool is_noncharacter(uint32_t c)
{
	return (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
}

char *text_printable(char *buf, size_t size, const char *text)
{
	size_t used = 0;

	while (*text) {
		uint32_t c = 0;
		const size_t len = utf8_char(text, &c);
		const bool is_good = len > 0 && !is_control(c) && !is_noncharacter(c);
		const size_t out = is_good ? len : 1;

		if (used + out >= size)
			break;
		if (is_good)
			memmove(buf + used, text, len);
		else
			buf[used] = '?';
		used += out;
		text += len > 0 ? len : 1;
	}
	buf[used] = '\0';
	return buf;
}

static bool needs_quotes(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "@%+=:,./-_";

	if (!*word)
		return true;
	for (; *word; word++)
		if ((unsigned char)*word < 0x80 && !strchr(plain, *word))
			return true;
	return false;
}

struct line {
	char *buf;
	size_t used, size;
	bool is_cut;
};

static void put(struct line *line, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (line->used + 1 == line->size) {
			line->is_cut = true;
			return;
		}
		line->buf[line->used++] = text[i];
	}
}

static void put_word(struct line *line, const char *word)
{
	if (!needs_quotes(word)) {
		put(line, word, strlen(word));
		return;
	}
	put(line, "'", 1);
	for (; *word; word++) {
		if (*word == '\'')
			put(line, "'\\''", 4);
		else
			put(line, word, 1);
	}
	put(line, "'", 1);
}

char *text_command(char *buf, size_t size, char *const *argv)
{
	struct line line = { .buf = buf, .size = size };

	for (size_t i = 0; argv[i]; i++) {
		if (i > 0)
			put(&line, " ", 1);
		put_word(&line, argv[i]);
	}
	buf[line.used] = '\0';
	if (line.is_cut && size > 4) { /* at a character's end */
		line.used = size - 4;
		while (line.used > 0 && ((unsigned char)buf[line.used] & 0xc0) == 0x80)
			line.used--;
		memcpy(buf + line.used, "...", 4);
	}
	return buf;
}

int text_replace(char **field, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}
