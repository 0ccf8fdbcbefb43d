/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "client/keys.h"
#include "tests/unit/unit.h"

static const struct {
	const char *text, *keys; /* NULL: they are none */
} words[] = {
	{ "", "" },
	{ "ctrl-p,ctrl-q", "\x10\x11" },
	{ "CTRL-P", "\x10" },
	{ "ctrl-],q", "\x1dq" },
	{ "ctrl-^,ctrl-_,ctrl-[,ctrl-\\", "\x1e\x1f\x1b\x1c" },
	{ "a,a,b", "aab" },
	{ ",", "," },
	{ ",,a", ",a" },
	{ "a,", NULL },
	{ "ab", NULL },
	{ "ctrl-", NULL },
	{ "ctrl-1", NULL },
	{ "ctrl-pp", NULL },
	{ "strg-p", NULL },
	{ "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", "abcdefghijklmnop" },
	{ "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", NULL },
};

START_TEST(words_become_keys)
{
	struct keys keys = { .len = 99 };
	const int r = keys_parse(&keys, words[_i].text);

	ck_assert_int_eq(r, words[_i].keys ? 0 : -EINVAL);
	if (!words[_i].keys) {
		ck_assert_uint_eq(keys.len, 99);
		return;
	}
	ck_assert_uint_eq(keys.len, strlen(words[_i].keys));
	ck_assert_mem_eq(keys.keys, words[_i].keys, keys.len);
}
END_TEST

static const struct {
	const char *keys, *typed, *passed;
	bool leaves;
} rows[] = {
	{ "ctrl-p,ctrl-q", "yes\r", "yes\r", false },
	{ "ctrl-p,ctrl-q", "y\x10\x11z", "y", true },
	{ "ctrl-p,ctrl-q", "\x10x", "\x10x", false },
	{ "ctrl-p,ctrl-q", "\x10\x10\x11", "\x10", true },
	{ "ctrl-p,ctrl-q", "\x11\x10", "\x11", false },
	{ "a,a,b", "aaab", "a", true },
	{ "a,b,a,c", "ababac", "ab", true },
	{ "", "\x10\x11", "\x10\x11", false },
};

START_TEST(keys_are_found_wherever_they_are_cut)
{
	for (size_t step = 1; step <= strlen(rows[_i].typed); step++) {
		const size_t len = strlen(rows[_i].typed);
		char out[64];
		size_t used = 0;
		struct keys keys;
		bool leaves = false;

		ck_assert_int_eq(keys_parse(&keys, rows[_i].keys), 0);
		for (size_t i = 0; i < len && !leaves; i += step)
			used += keys_run(&keys, out + used, rows[_i].typed + i,
					 len - i < step ? len - i : step, &leaves);
		ck_assert_int_eq(leaves, rows[_i].leaves);
		ck_assert_uint_eq(used, strlen(rows[_i].passed));
		ck_assert_mem_eq(out, rows[_i].passed, used);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, words_become_keys, 0, (int)(sizeof(words) / sizeof(words[0])));
	tcase_add_loop_test(tcase, keys_are_found_wherever_they_are_cut, 0,
			    (int)(sizeof(rows) / sizeof(rows[0])));
}

int main(void)
{
	return unit_main("keys", add_tests);
}
