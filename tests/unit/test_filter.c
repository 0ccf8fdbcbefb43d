/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "client/filter.h"
#include "tests/unit/lease_random.h"
#include "tests/unit/unit.h"

#define ESC "\x1b"

static const struct {
	const char *in, *out;
} rows[] = {
	{ "plain\ttext\r\n", "plain\ttext\r\n" },
	{ ESC "[31mred" ESC "[0m", ESC "[31mred" ESC "[0m" },
	{ ESC "[1;38;5;196mx" ESC "[m", ESC "[1;38;5;196mx" ESC "[m" },
	{ ESC "[38:2::1:2:3mx", ESC "[38:2::1:2:3mx" },
	{ "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
	/* cursor, screen, modes, answers that the terminal would type */
	{ "a" ESC "[2Jb" ESC "[Hc" ESC "[1;1Hd", "abcd" },
	{ ESC "[?1049hx" ESC "[?25l" ESC "[>4;2mx" ESC "[6nx" ESC "[cx", "xxxx" },
	{ ESC "[ qx" ESC "[1$mx" ESC "[=1mx", "xxx" },
	{ ESC "cx" ESC "7x" ESC "(0x" ESC "#8x", "xxxx" },
	/* strings: titles, links, the clipboard; both ends, none at all */
	{ ESC "]0;title\ax" ESC "]52;c;aGk=" ESC "\\y", "xy" },
	{ ESC "P1$r0m" ESC "\\x" ESC "_a" ESC "\\y" ESC "^p" ESC "\\z" ESC "Xs" ESC "\\!", "xyz!" },
	{ ESC "]0;never ends\nnext", "\nnext" },
	{ ESC "]0;t" ESC "[31mx", ESC "[31mx" },
	{ ESC ESC "[31mx", ESC "[31mx" },
	{ ESC "[3" ESC "[31mx", ESC "[31mx" },
	{ ESC "[31\nx", "\nx" },
	/* other control characters */
	{ "a\bb\ac\x0e"
	  "d\x0f"
	  "e\x7f"
	  "f\vg\fh\x05"
	  "i",
	  "abcdefghi" },
	/* C1, as UTF-8 and alone; what is no UTF-8; line separators */
	{ "\xc2\x9b"
	  "31mx",
	  "?31mx" },
	{ "\x9b"
	  "31mx",
	  "?31mx" },
	{ "\x80\xff\xc0\xaf", "????" },
	{ "\xe2\x80\xa8x", "?x" },
	{ "\xe2\x82x", "?x" },
	{ "\xe2" ESC "[2Jx", "?x" },
	{ "\xed\xa0\x80", "???" }, /* a surrogate */
};

static void run(struct filter *filter, char *out, const char *in, size_t step)
{
	const size_t len = strlen(in);
	size_t used = 0;

	for (size_t i = 0; i < len; i += step)
		used += filter_run(filter, out + used, in + i, len - i < step ? len - i : step);
	out[used] = '\0';
}

/* The same whole, and cut anywhere. */
START_TEST(only_text_and_colours_pass)
{
	char out[256];

	for (size_t step = 1; step <= strlen(rows[_i].in); step++) {
		struct filter filter = { 0 };

		run(&filter, out, rows[_i].in, step);
		ck_assert_str_eq(out, rows[_i].out);
	}
}
END_TEST

START_TEST(long_colour_is_dropped)
{
	char in[3 * FILTER_HELD_MAX], out[4 * FILTER_HELD_MAX];

	for (size_t len = 1; len < sizeof(in) - 8; len++) {
		struct filter filter = { 0 };

		memset(in, '1', sizeof(in));
		in[0] = '\x1b';
		in[1] = '[';
		(void)snprintf(in + 2 + len, 3, "mx");
		run(&filter, out, in, strlen(in));
		ck_assert_str_eq(out, 2 + len + 1 <= FILTER_HELD_MAX ? in : "x");
	}
}
END_TEST

/* Whatever comes: no control character but these, and each ESC begins a colour. */
START_TEST(noise_comes_out_harmless)
{
	static const char alphabet[] = ESC ESC "[[]P\\m;0123?\a\n\r\t\b\x9b\xc2\xe2\x80\xa8\xf0z";
	uint64_t random = random_seed();
	struct filter filter = { 0 };
	char in[64], out[64 + FILTER_HELD_MAX + 1];

	(void)printf("TFQ_SEED=%" PRIu64 "\n", random);
	for (int i = 0; i < 200000; i++) {
		const size_t len = random_dice(&random, sizeof(in));
		size_t n;

		for (size_t j = 0; j < len; j++)
			in[j] = alphabet[random_dice(&random, sizeof(alphabet) - 1)];
		n = filter_run(&filter, out, in, len);
		ck_assert_uint_le(n, len + FILTER_HELD_MAX);
		out[n] = '\0';
		for (size_t j = 0; j < n; j++) {
			if (out[j] == '\x1b') {
				j += 2 + strspn(out + j + 2, "0123456789:;");
				ck_assert_int_eq(out[j], 'm');
			}
			ck_assert((unsigned char)out[j] >= 0x20 || strchr("\n\r\t", out[j]));
		}
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, only_text_and_colours_pass, 0,
			    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, long_colour_is_dropped);
	tcase_add_test(tcase, noise_comes_out_harmless);
}

int main(void)
{
	return unit_main("filter", add_tests);
}
