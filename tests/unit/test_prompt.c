/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "runner/prompt.h"
#include "tests/unit/unit.h"

static const char *const questions[] = {
	"Enter a value:",
	"Enter a value: ",
	"Do you want to?\n\n  Enter a value: ",
	"  \033[1mEnter a value:\033[0m \033[0m",
	"\033[1mEnter\033[22m a \033[38;5;12mvalue:\033[0m\t ",
	"Enter a value: \033(B\033[m",
	"Enter a value: \033[?25h\033]0;terraform asks\a",
	"Enter a value: \033]0;title\033\\ ",
	"Enter a value: \033]0;ti\033\033\\",
	"Enter a value: \033[1;",    /* a sequence that is not whole yet */
	"\033[12\030Enter a value:", /* CAN ends one */
	"Enter EEnter a value:",
	"Enter a value: no\nEnter a value: ",
	"Enter a value:Enter a value:",
	"\033[\033[1mEnter a value:",
};

static const char *const others[] = {
	"",
	"Enter a value",
	"enter a value:",
	"Enter a  value:",
	"Enter a value: y",
	"Enter a value: \n",
	"Enter a value: \r",
	"Enter a value: \033[0m\n",
	"Enter a value: \033[0m.",
	"\033]0;Enter a value:\a",
	"\033]0;Enter a value:",
	"Enter\n a value:",
	"Enter a value: \001",
	"Enter a value:\b",
};

/* In pieces of any size it is the same. */
static void check_all(const char *text, bool asks)
{
	const size_t len = strlen(text);

	for (size_t piece = 1; piece <= len + 1; piece++) {
		struct prompt prompt = { 0 };

		for (size_t at = 0; at < len; at += piece)
			prompt_feed(&prompt, text + at, len - at < piece ? len - at : piece);
		ck_assert_msg(prompt_asks(&prompt) == asks, "%s, in pieces of %zu", text, piece);
		prompt_answer(&prompt);
		ck_assert(!prompt_asks(&prompt));
	}
}

START_TEST(question_is_seen)
{
	check_all(questions[_i], true);
}
END_TEST

START_TEST(what_is_no_question_is_none)
{
	check_all(others[_i], false);
}
END_TEST

START_TEST(each_question_counts_once)
{
	struct prompt prompt = { 0 };
	static const char text[] = "Enter a value: ";

	for (unsigned i = 1; i <= 3; i++) {
		prompt_feed(&prompt, text, strlen(text));
		ck_assert_uint_eq(prompt.asked, i);
		prompt_feed(&prompt, " \033[0m", 5);
		ck_assert_uint_eq(prompt.asked, i);
		ck_assert(prompt_asks(&prompt));
	}
}
END_TEST

/* CAN ends whatever sequence the bytes before may have begun. */
START_TEST(any_bytes_leave_it_able_to_see)
{
	struct prompt prompt = { 0 };
	unsigned seed = (unsigned)_i + 1;

	for (int i = 0; i < 100000; i++) {
		const char c = (char)rand_r(&seed);

		prompt_feed(&prompt, &c, 1);
	}
	prompt_feed(&prompt, "\0\030Enter a value: ", 17);
	ck_assert(prompt_asks(&prompt));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, question_is_seen, 0,
			    (int)(sizeof(questions) / sizeof(questions[0])));
	tcase_add_loop_test(tcase, what_is_no_question_is_none, 0,
			    (int)(sizeof(others) / sizeof(others[0])));
	tcase_add_test(tcase, each_question_counts_once);
	tcase_add_loop_test(tcase, any_bytes_leave_it_able_to_see, 0, 20);
}

int main(void)
{
	return unit_main("prompt", add_tests);
}
