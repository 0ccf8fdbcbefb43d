/* SPDX-License-Identifier: MIT */
#include "client/keys.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* One key of @len bytes. Return: 0 or -EINVAL. */
static int parse_key(const char *text, size_t len, char *ret)
{
	static const char prefix[] = "ctrl-";
	char c = text[len - 1];

	if (len == 1) {
		*ret = c;
		return 0;
	}
	if (len != sizeof(prefix) || strncasecmp(text, prefix, sizeof(prefix) - 1) != 0)
		return -EINVAL;
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c < '@' || c > '_')
		return -EINVAL;
	*ret = (char)(c & 0x1f);
	return 0;
}

int keys_parse(struct keys *ret, const char *text)
{
	struct keys keys = { 0 };

	while (*text) {
		const size_t len = strcspn(text + 1, ",") + 1; /* a comma may be the key itself */

		if (keys.len == KEYS_MAX || parse_key(text, len, &keys.keys[keys.len]) < 0)
			return -EINVAL;
		keys.len++;
		text += len;
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	*ret = keys;
	return 0;
}

/* What was held back is no start of the keys with @c behind it: let go as much as need be. */
static size_t let_go(struct keys *keys, char *out, char c)
{
	char held[KEYS_MAX + 1];
	size_t len = keys->matched, gone = 0;

	memcpy(held, keys->keys, len);
	held[len++] = c;
	while (gone < len && memcmp(held + gone, keys->keys, len - gone) != 0)
		gone++;
	memcpy(out, held, gone);
	keys->matched = len - gone;
	return gone;
}

size_t keys_run(struct keys *keys, char *out, const char *in, size_t len, bool *ret_leave)
{
	size_t used = 0;

	*ret_leave = false;
	for (size_t i = 0; i < len; i++) {
		if (keys->len == 0) {
			out[used++] = in[i];
		} else if (in[i] == keys->keys[keys->matched]) {
			keys->matched++;
		} else {
			used += let_go(keys, out + used, in[i]);
		}
		if (keys->len > 0 && keys->matched == keys->len) {
			keys->matched = 0;
			*ret_leave = true;
			break;
		}
	}
	return used;
}
