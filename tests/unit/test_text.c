/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "tests/unit/unit.h"

static const struct {
	const char *text, *printable;
	bool is_utf8;
} texts[] = {
	/* clang-format off */
	{ "", "", true },
	{ "plain ASCII ~!", "plain ASCII ~!", true },
	{ "M\xc3\xbcller", "M\xc3\xbcller", true },
	{ "\xc2\xa0", "\xc2\xa0", true },               /* U+00A0, the first above C1 */
	{ "\xdf\xbf", "\xdf\xbf", true },               /* U+07FF */
	{ "\xe0\xa0\x80", "\xe0\xa0\x80", true },       /* U+0800 */
	{ "\xed\x9f\xbf", "\xed\x9f\xbf", true },       /* U+D7FF, before the surrogates */
	{ "\xee\x80\x80", "\xee\x80\x80", true },       /* U+E000, behind them */
	{ "\xef\xbf\xbd", "\xef\xbf\xbd", true },
	{ "\xf0\x90\x80\x80", "\xf0\x90\x80\x80", true },
	{ "\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd", true }, /* U+10FFFD, the last */

	/* what is no character by Unicode's word: XML takes no U+FFFE */
	{ "\xef\xbf\xbe\xef\xbf\xbf", "??", true },
	{ "\xef\xb7\x8f\xef\xb7\x90", "\xef\xb7\x8f?", true }, /* U+FDCF, U+FDD0 */
	{ "\xef\xb7\xaf\xef\xb7\xb0", "?\xef\xb7\xb0", true }, /* U+FDEF, U+FDF0 */
	{ "\xf0\x9f\xbf\xbe", "?", true },             /* U+1FFFE */
	{ "\xf4\x8f\xbf\xbf", "?", true },             /* U+10FFFF */

	/* controls */
	{ "a\nb\tc\rd", "a?b?c?d", true },
	{ "\x1b[31m", "?[31m", true },
	{ "\x01\x1f\x7f", "???", true },
	{ "\xc2\x80\xc2\x9b\xc2\x9f", "???", true },    /* C1: U+009B is a CSI */
	{ "\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9", "\xe2\x80\xa7??", true },

	/* bidi */
	{ "\xe2\x80\xaa\xe2\x80\xae\xe2\x80\xaf", "??\xe2\x80\xaf", true }, // NOLINT(misc-misleading-bidirectional)
	{ "\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa", "\xe2\x81\xa5??\xe2\x81\xaa", true },

	/* bytes that are no UTF-8, each of them */
	{ "\x80", "?", false },
	{ "a\xbf" "b", "a?b", false },
	{ "\xc0\x80", "??", false },                    /* overlong NUL */
	{ "\xc1\xbf", "??", false },
	{ "\xe0\x80\x80", "???", false },
	{ "\xe0\x9f\xbf", "???", false },
	{ "\xf0\x80\x80\x80", "????", false },
	{ "\xf0\x8f\xbf\xbf", "????", false },
	{ "\xed\xa0\x80", "???", false },               /* surrogates */
	{ "\xed\xbf\xbf", "???", false },
	{ "\xf4\x90\x80\x80", "????", false },          /* above U+10FFFF */
	{ "\xf5\x80\x80\x80", "????", false },
	{ "\xf8\x88\x80\x80\x80", "?????", false },
	{ "\xfe\xff", "??", false },
	{ "\xc3", "?", false },                         /* cut off */
	{ "\xe2\x82", "??", false },
	{ "\xf0\x9f\x98", "???", false },
	{ "\xc3(", "?(", false },
	{ "\xe2\x28\xa1", "?(?", false },
	{ "\xe2\x82\x28", "?" "?(", false },
	/* clang-format on */
};
#define TEXT_COUNT ((int)(sizeof(texts) / sizeof(texts[0])))

START_TEST(text_is_made_printable)
{
	char buf[64];

	ck_assert_ptr_eq(text_printable(buf, sizeof(buf), texts[_i].text), buf);
	ck_assert_str_eq(buf, texts[_i].printable);
	ck_assert(text_is_utf8(texts[_i].text) == texts[_i].is_utf8);
	ck_assert(text_is_utf8(buf));
}
END_TEST

START_TEST(text_is_cut_at_a_characters_end)
{
	static const char text[] = "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z";
	static const size_t ends[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11 };
	char buf[16];

	for (size_t size = 1; size <= 12; size++) {
		memset(buf, '#', sizeof(buf));
		(void)text_printable(buf, size, text);
		ck_assert_uint_eq(strlen(buf), ends[size - 1]);
		ck_assert(strncmp(buf, text, strlen(buf)) == 0);
		ck_assert_int_eq(buf[size], '#');
	}
}
END_TEST

static const char *const commands[][8] = {
	{ "apply", NULL },
	{ "apply", "-target=aws_instance.a[0]", "-var", "x=1", NULL },
	{ "apply", "-var=name=a b", "", "-var='quoted'", NULL },
	{ "it's", "'", "''", "'\\''", NULL },
	{ "$HOME", "`id`", "$(id)", "\\", "\"", "a\\b", NULL },
	{ "*", "?", "[a-z]*", "{a,b}", "~", "~root", NULL },
	{ "a;b", "a&b", "a|b", "a<b", "a>b", "(a)", "!x", NULL },
	{ "#not", "a\tb", "a\nb", " ", NULL },
	{ "M\xc3\xbcller", "\xe2\x82\xac x", "-", "--", NULL },
	{ "\x01", "\x7f", "^a", NULL },
};
#define COMMAND_COUNT ((int)(sizeof(commands) / sizeof(commands[0])))

/* text_command() takes an argv as main() does; it writes to none of it. */
static char *command(char *buf, size_t size, const char *const *words)
{
	char *argv[8];

	memcpy(argv, words, sizeof(argv));
	return text_command(buf, size, argv);
}

START_TEST(command_reads_back_in_a_shell)
{
	const char *const *argv = commands[_i];
	char line[256], script[512], read[512];
	size_t len, at = 0;
	FILE *shell;

	ck_assert_ptr_eq(command(line, sizeof(line), argv), line);

	/* In a directory in which the patterns would match. */
	(void)snprintf(script, sizeof(script),
		       "d=$(mktemp -d) && cd \"$d\" && : >-target=aws_instance.a0 && : >ax && "
		       "printf '%%s\\0' %s; rm -rf \"$d\"",
		       line);
	shell = popen(script, "r"); // NOLINT(cert-env33-c): a shell is what is asked
	ck_assert_ptr_nonnull(shell);
	len = fread(read, 1, sizeof(read), shell);
	ck_assert_int_eq(pclose(shell), 0);

	for (size_t i = 0; argv[i]; i++) {
		ck_assert_msg(at < len && strcmp(read + at, argv[i]) == 0, "%s", line);
		at += strlen(argv[i]) + 1;
	}
	ck_assert_uint_eq(at, len);
}
END_TEST

START_TEST(plain_words_are_not_quoted)
{
	const char *const argv[8] = { "plan", "-out=a/b.plan", "-var", "x=1,2:3@4%5+6_7", NULL };
	const char *const none[8] = { NULL };
	char line[128];

	ck_assert_str_eq(command(line, sizeof(line), argv),
			 "plan -out=a/b.plan -var x=1,2:3@4%5+6_7");
	ck_assert_str_eq(command(line, sizeof(line), none), "");
}
END_TEST

START_TEST(long_command_ends_in_dots)
{
	const char *const argv[8] = { "ab\xc3\xbc", "d\xe2\x82\xac", NULL };
	static const char whole[] = "ab\xc3\xbc d\xe2\x82\xac";
	char line[32];

	for (size_t size = 1; size <= sizeof(whole) + 2; size++) {
		size_t len;

		memset(line, '#', sizeof(line));
		(void)command(line, size, argv);
		len = strlen(line);
		ck_assert_uint_lt(len, size);
		ck_assert_int_eq(line[size], '#');
		if (size >= sizeof(whole)) {
			ck_assert_str_eq(line, whole);
		} else if (size > 4) {
			ck_assert_msg(len >= 3 && strcmp(line + len - 3, "...") == 0, "%s", line);
			ck_assert(text_is_utf8(line));
			ck_assert(strncmp(line, whole, len - 3) == 0);
		}
	}
}
END_TEST

START_TEST(field_is_replaced_by_a_copy)
{
	char text[] = "one";
	char *field = NULL;

	ck_assert_int_eq(text_replace(&field, text), 0);
	text[0] = 'x';
	ck_assert_str_eq(field, "one");
	ck_assert_int_eq(text_replace(&field, field), 0); /* also by itself */
	ck_assert_str_eq(field, "one");
	free(field);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, text_is_made_printable, 0, TEXT_COUNT);
	tcase_add_test(tcase, text_is_cut_at_a_characters_end);
	tcase_add_loop_test(tcase, command_reads_back_in_a_shell, 0, COMMAND_COUNT);
	tcase_add_test(tcase, plain_words_are_not_quoted);
	tcase_add_test(tcase, long_command_ends_in_dots);
	tcase_add_test(tcase, field_is_replaced_by_a_copy);
}

int main(void)
{
	return unit_main("text", add_tests);
}
