/* SPDX-License-Identifier: MIT */
/* Text that somebody else wrote, on its way to a terminal or a log. */
#include <locale.h>

#include "client/cells.h"
#include "client/keys.h"
#include "client/since.h"
#include "client/view.h"
#include "common/parse.h"
#include "common/timestamp.h"
#include "tests/fuzz/fuzz.h"

#define WORDS_MAX 16

static void print(const char *text, size_t width)
{
	char small[24], clean[4096], cut[4096];

	fuzz_check_printable(text_printable(small, sizeof(small), text));
	fuzz_check_printable(text_printable(clean, sizeof(clean), text));
	for (int left = 0; left < 2; left++) {
		(void)cells_cut(cut, sizeof(cut), clean, width, left);
		FUZZ_CHECK(cells_width(cut) <= width);
		fuzz_check_printable(cut);
		(void)cells_cut(small, sizeof(small), clean, width, left);
		FUZZ_CHECK(text_is_utf8(small));
	}
}

static void command(const char *text)
{
	AUTO_FREE char *copy = strdup(text);
	char *words[WORDS_MAX];
	char line[128];

	FUZZ_CHECK(copy);
	fuzz_lines(words, WORDS_MAX, copy);
	FUZZ_CHECK(strlen(text_command(line, sizeof(line), words)) < sizeof(line));
}

/* What is told can be told back. */
static void numbers(const char *text)
{
	const uint64_t now = UINT64_C(1767312000000000);
	char buf[TIMESTAMP_SIZE], words[32];
	uint64_t value, again;
	bool flag;

	(void)parse_u64(text, UINT64_MAX, &value);
	(void)parse_bytes(text, &value);
	(void)parse_percent(text, &value);
	(void)parse_bool(text, &flag);
	(void)since_parse(text, now, &value);
	if (parse_usec(text, &value) == 0)
		FUZZ_CHECK(strlen(parse_format_usec(words, value)) > 0);
	if (timestamp_parse(text, &value) == 0 && *timestamp_format(buf, value)) {
		FUZZ_CHECK(timestamp_parse(buf, &again) == 0);
		FUZZ_CHECK(again == value / USEC_PER_SEC * USEC_PER_SEC);
	}
}

static void keys(const char *names, const char *typed)
{
	const size_t len = strlen(typed);
	AUTO_FREE char *out = malloc(len + KEYS_MAX);
	struct keys found;
	bool leaves = false;

	FUZZ_CHECK(out);
	if (keys_parse(&found, names) == 0)
		FUZZ_CHECK(keys_run(&found, out, typed, len, &leaves) <= len + KEYS_MAX);
}

/* A width; then text, and a second one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool has_locale;
	struct fuzz_input input = { data, size };
	const size_t width = fuzz_byte(&input);
	AUTO_FREE char *text = fuzz_part(&input, NULL);
	AUTO_FREE char *other = fuzz_part(&input, NULL);
	struct view view = { 0 };
	char bad[32];

	if (!has_locale)
		has_locale = setlocale(LC_CTYPE, "C.UTF-8") && setenv("TZ", "UTC", 1) == 0;
	print(text, width);
	command(text);
	numbers(text);
	keys(text, other);
	(void)view_parse(&view, text, bad, sizeof(bad));
	return 0;
}
