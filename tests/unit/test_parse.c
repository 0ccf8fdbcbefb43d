/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/parse.h"
#include "tests/unit/unit.h"

#define COUNT(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define UNTOUCHED   UINT64_C(12345)
#define DAYS(n)     ((n) * (24 * USEC_PER_HOUR))
#define TEN_YEARS   DAYS(3650)

/* What each text is, or why it is refused. */
struct number_case {
	const char *text;
	int r;
	uint64_t value;
};

static void expect(const struct number_case *row, int r, uint64_t value)
{
	ck_assert_msg(r == row->r, "\"%s\": returns %d, not %d", row->text, r, row->r);
	ck_assert_msg(value == (r < 0 ? UNTOUCHED : row->value), "\"%s\": is %" PRIu64, row->text,
		      value);
}

/* clang-format off */
static const struct number_case numbers[] = {
	{ "0", 0, 0 }, { "7", 0, 7 }, { "007", 0, 7 }, { "1000", 0, 1000 },
	{ "1001", -ERANGE, 0 }, { "18446744073709551616", -ERANGE, 0 },
	{ "99999999999999999999999999", -ERANGE, 0 },
	{ "", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 },
	{ "1 ", -EINVAL, 0 }, { "0x10", -EINVAL, 0 }, { "1.5", -EINVAL, 0 }, { "1e3", -EINVAL, 0 },
	{ "99999999999999999999999999x", -EINVAL, 0 },
};

static const struct number_case times[] = {
	{ "0", 0, 0 }, { "0s", 0, 0 },
	{ "500ms", 0, 500 * USEC_PER_MSEC }, { "10s", 0, 10 * USEC_PER_SEC },
	{ "15min", 0, 15 * USEC_PER_MIN }, { "2h", 0, 2 * USEC_PER_HOUR }, { "90d", 0, DAYS(90) },
	{ "2160h", 0, DAYS(90) }, { "1h 30min", 0, 90 * USEC_PER_MIN },
	{ "1h30min", 0, 90 * USEC_PER_MIN }, { "15 min", 0, 15 * USEC_PER_MIN },
	{ "1d2h3min4s5ms", 0,
	  DAYS(1) + 2 * USEC_PER_HOUR + 3 * USEC_PER_MIN + 4 * USEC_PER_SEC + 5 * USEC_PER_MSEC },
	{ "90min", 0, 90 * USEC_PER_MIN },
	{ "3650d", 0, TEN_YEARS }, { "3650d 1ms", -ERANGE, 0 }, { "3651d", -ERANGE, 0 },
	{ "18446744073709551615h", -ERANGE, 0 }, { "99999999999999999999s", -ERANGE, 0 },
	{ "10", -EINVAL, 0 }, { "00", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "s", -EINVAL, 0 },
	{ "-1s", -EINVAL, 0 }, { "1.5h", -EINVAL, 0 }, { "10S", -EINVAL, 0 }, { "10m", -EINVAL, 0 },
	{ "10sec", -EINVAL, 0 }, { "10s ", -EINVAL, 0 }, { " 10s", -EINVAL, 0 },
	{ "1h 30", -EINVAL, 0 }, { "30min 1h", -EINVAL, 0 }, { "1h 1h", -EINVAL, 0 },
	{ "1h,30min", -EINVAL, 0 }, { "1h  30min", 0, 90 * USEC_PER_MIN },
};

static const struct number_case sizes[] = {
	{ "0", 0, 0 }, { "4096", 0, 4096 }, { "64K", 0, 65536 }, { "16M", 0, 16777216 },
	{ "2G", 0, UINT64_C(2147483648) }, { "18446744073709551615", 0, UINT64_MAX },
	{ "17179869184G", -ERANGE, 0 }, { "18446744073709551616", -ERANGE, 0 },
	{ "", -EINVAL, 0 }, { "K", -EINVAL, 0 }, { "1k", -EINVAL, 0 }, { "1T", -EINVAL, 0 },
	{ "1KB", -EINVAL, 0 }, { "1 K", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "1.5G", -EINVAL, 0 },
};

static const struct number_case percentages[] = {
	{ "0%", 0, 0 }, { "10%", 0, 10 }, { "100%", 0, 100 }, { "101%", -ERANGE, 0 },
	{ "10", -EINVAL, 0 }, { "%", -EINVAL, 0 }, { "10 %", -EINVAL, 0 }, { "10%%", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
};

static const struct {
	const char *text;
	int r;
	bool value;
} switches[] = {
	{ "yes", 0, true }, { "true", 0, true }, { "on", 0, true }, { "1", 0, true },
	{ "YES", 0, true }, { "True", 0, true }, { "no", 0, false }, { "false", 0, false },
	{ "off", 0, false }, { "0", 0, false }, { "No", 0, false },
	{ "", -EINVAL, false }, { "y", -EINVAL, false }, { "yess", -EINVAL, false },
	{ " yes", -EINVAL, false }, { "2", -EINVAL, false },
};

static const struct {
	uint64_t usec;
	const char *text;
} formatted[] = {
	{ 0, "0 s" }, { 999, "0 s" }, { USEC_PER_MSEC, "1 ms" }, { 350 * USEC_PER_MSEC, "350 ms" },
	{ 1500 * USEC_PER_MSEC, "1 s 500 ms" }, { 40 * USEC_PER_SEC, "40 s" },
	{ 40 * USEC_PER_SEC + 999 * USEC_PER_MSEC, "40 s" }, { 90 * USEC_PER_SEC, "1 min 30 s" },
	{ 15 * USEC_PER_MIN, "15 min" }, { 125 * USEC_PER_MIN, "2 h 5 min" },
	{ 2 * USEC_PER_HOUR + 5 * USEC_PER_SEC, "2 h" }, { DAYS(2) + 3 * USEC_PER_HOUR, "2 d 3 h" },
	{ UINT64_MAX, "213503982 d 8 h" },
};
/* clang-format on */

START_TEST(number_is_digits_within_its_limit)
{
	uint64_t value = UNTOUCHED;
	const int r = parse_u64(numbers[_i].text, 1000, &value);

	expect(&numbers[_i], r, value);
}
END_TEST

START_TEST(largest_number_is_taken)
{
	uint64_t value = 0;

	ck_assert_int_eq(parse_u64("18446744073709551615", UINT64_MAX, &value), 0);
	ck_assert_uint_eq(value, UINT64_MAX);
}
END_TEST

START_TEST(time_has_a_unit)
{
	uint64_t value = UNTOUCHED;
	const int r = parse_usec(times[_i].text, &value);

	expect(&times[_i], r, value);
}
END_TEST

START_TEST(size_may_have_a_unit)
{
	uint64_t value = UNTOUCHED;
	const int r = parse_bytes(sizes[_i].text, &value);

	expect(&sizes[_i], r, value);
}
END_TEST

START_TEST(percentage_has_its_sign)
{
	uint64_t value = UNTOUCHED;
	const int r = parse_percent(percentages[_i].text, &value);

	expect(&percentages[_i], r, value);
}
END_TEST

START_TEST(switch_has_four_spellings)
{
	bool value = !switches[_i].value;

	ck_assert_msg(parse_bool(switches[_i].text, &value) == switches[_i].r, "\"%s\"",
		      switches[_i].text);
	ck_assert_int_eq(value, switches[_i].r < 0 ? !switches[_i].value : switches[_i].value);
}
END_TEST

START_TEST(time_is_written_for_people)
{
	char buf[32];

	memset(buf, 'x', sizeof(buf));
	ck_assert_ptr_eq(parse_format_usec(buf, formatted[_i].usec), buf);
	ck_assert_str_eq(buf, formatted[_i].text);
}
END_TEST

/* What people read can be written into the configuration, unless it was rounded. */
START_TEST(written_time_reads_back)
{
	char buf[32];
	uint64_t usec = UNTOUCHED;

	ck_assert_int_eq(parse_usec(parse_format_usec(buf, 125 * USEC_PER_MIN), &usec), 0);
	ck_assert_uint_eq(usec, 125 * USEC_PER_MIN);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, number_is_digits_within_its_limit, 0, COUNT(numbers));
	tcase_add_test(tcase, largest_number_is_taken);
	tcase_add_loop_test(tcase, time_has_a_unit, 0, COUNT(times));
	tcase_add_loop_test(tcase, size_may_have_a_unit, 0, COUNT(sizes));
	tcase_add_loop_test(tcase, percentage_has_its_sign, 0, COUNT(percentages));
	tcase_add_loop_test(tcase, switch_has_four_spellings, 0, COUNT(switches));
	tcase_add_loop_test(tcase, time_is_written_for_people, 0, COUNT(formatted));
	tcase_add_test(tcase, written_time_reads_back);
}

int main(void)
{
	return unit_main("parse", add_tests);
}
