/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "daemon/usual.h"
#include "tests/unit/unit.h"

START_TEST(median_of_the_last_runs)
{
	CLEANUP(usual_freep) struct usual *usual = NULL;

	ck_assert_int_eq(usual_new(&usual), 0);
	ck_assert_uint_eq(usual_usec(usual, "s", "apply"), 0);
	usual_add(usual, "s", "apply", 30);
	usual_add(usual, "s", "apply", 10);
	ck_assert_uint_eq(usual_usec(usual, "s", "apply"), 0);
	usual_add(usual, "s", "apply", 20);
	ck_assert_uint_eq(usual_usec(usual, "s", "apply"), 20);
	for (unsigned i = 0; i < USUAL_MAX; i++) /* none of those before is left */
		usual_add(usual, "s", "apply", 100 + i);
	ck_assert_uint_eq(usual_usec(usual, "s", "apply"), 100 + USUAL_MAX / 2);
}
END_TEST

START_TEST(kinds_are_told_apart)
{
	CLEANUP(usual_freep) struct usual *usual = NULL;

	ck_assert_int_eq(usual_new(&usual), 0);
	for (unsigned i = 0; i < USUAL_MIN; i++) {
		usual_add(usual, "s", "apply", 1);
		usual_add(usual, "s", "plan", 2);
		usual_add(usual, "sa", "pply", 3);
	}
	ck_assert_uint_eq(usual_usec(usual, "s", "apply"), 1);
	ck_assert_uint_eq(usual_usec(usual, "s", "plan"), 2);
	ck_assert_uint_eq(usual_usec(usual, "sa", "pply"), 3);
	ck_assert_uint_eq(usual_usec(usual, "sa", "apply"), 0);
}
END_TEST

START_TEST(the_kind_that_ran_longest_ago_is_forgotten)
{
	CLEANUP(usual_freep) struct usual *usual = NULL;
	char name[32];

	ck_assert_int_eq(usual_new(&usual), 0);
	for (unsigned i = 0; i < USUAL_MIN * USUAL_KINDS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "%u", i % USUAL_KINDS_MAX);
		usual_add(usual, name, "apply", 5);
	}
	usual_add(usual, "0", "apply", 5);
	usual_add(usual, "one more", "apply", 5);
	ck_assert_uint_eq(usual_usec(usual, "0", "apply"), 5);
	ck_assert_uint_eq(usual_usec(usual, "1", "apply"), 0);
	ck_assert_uint_eq(usual_usec(usual, "2", "apply"), 5);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, median_of_the_last_runs);
	tcase_add_test(tcase, kinds_are_told_apart);
	tcase_add_test(tcase, the_kind_that_ran_longest_ago_is_forgotten);
}

int main(void)
{
	return unit_main("usual", add_tests);
}
