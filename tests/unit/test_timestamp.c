/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "common/timestamp.h"
#include "runner/aws/chain.h"
#include "tests/unit/unit.h"

#define AT UINT64_C(1767323045) /* 2026-01-02T03:04:05Z, by date(1) */

static const struct {
	const char *text;
	uint64_t usec; /* 0: refused */
} cases[] = {
	/* clang-format off */
	{ "2026-01-02T03:04:05Z", AT * USEC_PER_SEC },
	{ "2026-01-02t03:04:05z", AT * USEC_PER_SEC },
	{ "2026-01-02T03:04:05UTC", AT * USEC_PER_SEC },
	{ "2026-01-02T03:04:05+00:00", AT * USEC_PER_SEC },
	{ "2026-01-02T05:04:05+02:00", AT * USEC_PER_SEC },
	{ "2026-01-01T21:34:05-05:30", AT * USEC_PER_SEC },
	{ "2026-01-02T03:04:05.5Z", AT * USEC_PER_SEC + 500000 },
	{ "2026-01-02T03:04:05.123456789Z", AT * USEC_PER_SEC + 123456 },
	{ "2028-02-29T00:00:00Z", UINT64_C(1835395200) * USEC_PER_SEC },
	{ "2027-02-29T00:00:00Z", 0 },
	{ "2026-02-30T00:00:00Z", 0 },
	{ "2026-04-31T00:00:00Z", 0 },
	{ "2026-13-01T00:00:00Z", 0 },
	{ "2026-00-01T00:00:00Z", 0 },
	{ "2026-01-00T00:00:00Z", 0 },
	{ "2026-01-02T24:00:00Z", 0 },
	{ "2026-01-02T03:60:05Z", 0 },
	{ "1969-12-31T23:59:59Z", 0 },
	{ "2026-01-02T03:04:05", 0 },
	{ "2026-01-02T03:04:05.Z", 0 },
	{ "2026-01-02T03:04:05Zx", 0 },
	{ "2026-01-02T03:04:05+0200", 0 },
	{ "2026-01-02T03:04:05+24:00", 0 },
	{ "2026-01-02T03:04", 0 },
	{ "2026/01/02T03:04:05Z", 0 },
	{ "+026-01-02T03:04:05Z", 0 },
	{ "soon", 0 },
	{ "", 0 },
	/* clang-format on */
};

START_TEST(time_is_read_whatever_the_zone)
{
	uint64_t usec = 7;
	int r;

	ck_assert_int_eq(setenv("TZ", "Asia/Tokyo", 1), 0);
	r = timestamp_parse(cases[_i].text, &usec);
	ck_assert_msg(r == (cases[_i].usec ? 0 : -EINVAL), "%s: %d", cases[_i].text, r);
	ck_assert_uint_eq(usec, cases[_i].usec ? cases[_i].usec : 7);
}
END_TEST

START_TEST(time_is_written)
{
	char buf[TIMESTAMP_SIZE];

	ck_assert_str_eq(timestamp_format(buf, AT * USEC_PER_SEC + 999999), "2026-01-02T03:04:05Z");
	ck_assert_str_eq(timestamp_format(buf, 0), "1970-01-01T00:00:00Z");
}
END_TEST

static const struct {
	const char *text;
	int seconds; /* -1: refused */
} durations[] = {
	/* clang-format off */
	{ "1h", 3600 }, { "90m", 5400 }, { "900s", 900 }, { "1h30m", 5400 }, { "3600", 3600 }, { "12h", 43200 },
	{ "12h1s", -1 }, { "99999999999999999999s", -1 }, { "", -1 }, { "h", -1 }, { "1d", -1 }, { "-1h", -1 },
	{ "1h ", -1 }, { " 1h", -1 }, { "1ms", -1 },
	/* clang-format on */
};

START_TEST(durations_are_gos)
{
	uint64_t seconds = 7;
	const int r = chain_parse_duration(durations[_i].text, &seconds);

	ck_assert_msg(r == (durations[_i].seconds < 0 ? -EINVAL : 0), "%s", durations[_i].text);
	if (r == 0)
		ck_assert_uint_eq(seconds, (uint64_t)durations[_i].seconds);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, time_is_read_whatever_the_zone, 0,
			    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_test(tcase, time_is_written);
	tcase_add_loop_test(tcase, durations_are_gos, 0,
			    (int)(sizeof(durations) / sizeof(durations[0])));
}

int main(void)
{
	return unit_main("timestamp", add_tests);
}
