/* SPDX-License-Identifier: MIT */
/* Another user's output: the same however it is cut, and harmless to a terminal. */
#include "client/filter.h"

#include "tests/fuzz/fuzz.h"

static size_t filter_by(char *out, const uint8_t *data, size_t size, size_t step)
{
	struct filter filter = { 0 };
	size_t len = 0;

	for (size_t at = 0; at < size; at += step) {
		const size_t left = size - at < step ? size - at : step;
		const size_t n = filter_run(&filter, out + len, (const char *)data + at, left);

		FUZZ_CHECK(n <= left + FILTER_HELD_MAX);
		len += n;
	}
	return len;
}

static void check_harmless(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c == 0x1b) {
			FUZZ_CHECK(i + 1 < len && text[i + 1] == '[');
			for (i += 2; i < len && text[i] && strchr("0123456789;:", text[i]); i++)
				;
			FUZZ_CHECK(i < len && text[i] == 'm');
		} else {
			FUZZ_CHECK(c == '\n' || c == '\t' || c == '\r' || (c >= 0x20 && c != 0x7f));
		}
	}
}

/* The first byte: how many come at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const size_t step = fuzz_byte(&input) % 16 + 1;
	/* Each call may bring as much more as was held back before. */
	char *whole = malloc(input.left + FILTER_HELD_MAX + 1);
	char *cut = malloc(input.left * (FILTER_HELD_MAX + 1) + FILTER_HELD_MAX + 1);
	size_t len;

	FUZZ_CHECK(whole && cut);
	len = filter_by(whole, input.at, input.left, input.left ? input.left : 1);
	FUZZ_CHECK(filter_by(cut, input.at, input.left, step) == len);
	FUZZ_CHECK(memcmp(whole, cut, len) == 0);
	check_harmless(whole, len);
	whole[len] = '\0';
	FUZZ_CHECK(strlen(whole) == len && text_is_utf8(whole));
	free(whole);
	free(cut);
	return 0;
}
