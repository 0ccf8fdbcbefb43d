/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "client/since.h"
#include "common/parse.h"
#include "tests/unit/unit.h"

#define NOW (UINT64_C(1767323045) * USEC_PER_SEC) /* 2026-01-02T03:04:05Z */

static const struct {
	const char *text;
	int64_t ago; /* seconds before NOW; -1: refused */
} rows[] = {
	{ "0", 0 },
	{ "10min", 600 },
	{ "10 min", 600 },
	{ "1h 30min", 5400 },
	{ "2026-01-02T03:04:00Z", 5 },
	{ "2026-01-02T04:04:00+01:00", 5 },
	{ "03:04", 5 },
	{ "00:00", 3 * 3600 + 4 * 60 + 5 },
	{ "03:05", 24 * 3600 - 55 }, /* not yet today: yesterday */
	{ "", -1 },
	{ "10", -1 },
	{ "24:00", -1 },
	{ "12:60", -1 },
	{ "1:00", -1 },
	{ "yesterday", -1 },
	{ "-5min", -1 },
	{ "2026-01-02", -1 },
};

START_TEST(moments_are_understood)
{
	uint64_t usec = 1;

	(void)setenv("TZ", "UTC", 1);
	tzset();
	if (rows[_i].ago < 0) {
		ck_assert_int_eq(since_parse(rows[_i].text, NOW, &usec), -EINVAL);
		return;
	}
	ck_assert_int_eq(since_parse(rows[_i].text, NOW, &usec), 0);
	ck_assert_uint_eq(usec, NOW - (uint64_t)rows[_i].ago * USEC_PER_SEC);
}
END_TEST

START_TEST(clock_is_local)
{
	uint64_t usec = 0;

	(void)setenv("TZ", "XXX-02:00", 1);
	tzset();
	ck_assert_int_eq(since_parse("05:00", NOW, &usec), 0);
	ck_assert_uint_eq(usec, NOW - (4 * 60 + 5) * USEC_PER_SEC);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, moments_are_understood, 0,
			    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, clock_is_local);
}

int main(void)
{
	return unit_main("since", add_tests);
}
