/* SPDX-License-Identifier: MIT */
#include "common/parse.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define USEC_PER_DAY (UINT64_C(24) * USEC_PER_HOUR)
#define USEC_MAX     (UINT64_C(3650) * USEC_PER_DAY)
#define FORMAT_MAX   32 /* bytes that parse_format_usec() may count on */

struct unit {
	const char *name;
	uint64_t factor;
};

/* From large to small: a time gives each at most once, and in this order. */
static const struct unit time_units[] = {
	{ "d", USEC_PER_DAY }, { "h", USEC_PER_HOUR },  { "min", USEC_PER_MIN },
	{ "s", USEC_PER_SEC }, { "ms", USEC_PER_MSEC },
};
#define TIME_UNITS (sizeof(time_units) / sizeof(time_units[0]))

static const struct unit size_units[] = { { "", 1 },
					  { "K", UINT64_C(1) << 10 },
					  { "M", UINT64_C(1) << 20 },
					  { "G", UINT64_C(1) << 30 } };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

/* The number at the start of *@text, which is moved behind it. Return: 0, -EINVAL, -ERANGE. */
static int take_number(const char **text, uint64_t *ret)
{
	const char *at = *text;
	uint64_t value = 0;

	if (!is_digit(*at))
		return -EINVAL;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return -ERANGE;
	}

	*text = at;
	*ret = value;
	return 0;
}

int parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	int r;

	assert(text);
	assert(ret);

	if (text[strspn(text, "0123456789")] != '\0')
		return -EINVAL;
	r = take_number(&text, &value);
	if (r < 0)
		return r;
	if (value > max)
		return -ERANGE;

	*ret = value;
	return 0;
}

/* The time unit at the start of @text, a whole word: its index, or TIME_UNITS. */
static size_t find_time_unit(const char *text, size_t *ret_len)
{
	const size_t len = strcspn(text, " \t0123456789");
	size_t i;

	for (i = 0; i < TIME_UNITS; i++) {
		if (strlen(time_units[i].name) == len &&
		    strncmp(text, time_units[i].name, len) == 0)
			break;
	}
	*ret_len = len;
	return i;
}

/*
 * "30min" or "30 min" at the start of *@text, which is moved behind it. *@unit: the
 * first unit that may come, moved on. Return: 0, -EINVAL, -ERANGE.
 */
static int take_time(const char **text, size_t *unit, uint64_t *ret_usec)
{
	const char *at = *text;
	uint64_t number = 0;
	size_t found, len;
	int r;

	r = take_number(&at, &number);
	if (r < 0)
		return r;
	at = skip_blanks(at);
	found = find_time_unit(at, &len);
	if (found == TIME_UNITS || found < *unit)
		return -EINVAL;
	if (__builtin_mul_overflow(number, time_units[found].factor, &number) || number > USEC_MAX)
		return -ERANGE;

	*text = at + len;
	*unit = found + 1;
	*ret_usec = number;
	return 0;
}

int parse_usec(const char *text, uint64_t *ret_usec)
{
	uint64_t total = 0, usec = 0;
	size_t unit = 0;
	int r;

	assert(text);
	assert(ret_usec);

	if (strcmp(text, "0") == 0) {
		*ret_usec = 0;
		return 0;
	}

	for (;;) {
		r = take_time(&text, &unit, &usec);
		if (r < 0)
			return r;
		total += usec; /* five units at most, each within USEC_MAX */
		if (*text == '\0')
			break;
		text = skip_blanks(text);
	}

	if (total > USEC_MAX)
		return -ERANGE;
	*ret_usec = total;
	return 0;
}

int parse_bytes(const char *text, uint64_t *ret_bytes)
{
	uint64_t value;
	int r;

	assert(text);
	assert(ret_bytes);

	r = take_number(&text, &value);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(size_units) / sizeof(size_units[0]); i++) {
		if (strcmp(text, size_units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, size_units[i].factor, &value))
			return -ERANGE;
		*ret_bytes = value;
		return 0;
	}
	return -EINVAL;
}

int parse_percent(const char *text, uint64_t *ret)
{
	uint64_t value;
	int r;

	assert(text);
	assert(ret);

	r = take_number(&text, &value);
	if (r < 0)
		return r;
	if (strcmp(text, "%") != 0)
		return -EINVAL;
	if (value > 100)
		return -ERANGE;

	*ret = value;
	return 0;
}

int parse_bool(const char *text, bool *ret)
{
	static const char *const words[][2] = {
		{ "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" }
	};

	assert(text);
	assert(ret);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int value = 0; value < 2; value++) {
			if (strcasecmp(text, words[i][value]) == 0) {
				*ret = value;
				return 0;
			}
		}
	}
	return -EINVAL;
}

const char *parse_format_usec(char *buf, uint64_t usec)
{
	const struct unit *small;
	size_t i = 0;
	uint64_t rest;

	assert(buf);

	while (i < TIME_UNITS - 1 && usec < time_units[i].factor)
		i++;
	if (usec < USEC_PER_MSEC)
		i = TIME_UNITS - 2; /* "0 s" */
	rest = usec % time_units[i].factor;
	small = i < TIME_UNITS - 1 ? &time_units[i + 1] : NULL;

	/* Milliseconds mean nothing to people who wait for 40 seconds. */
	if (!small || rest < small->factor || (i == TIME_UNITS - 2 && usec >= 10 * USEC_PER_SEC)) {
		(void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " %s", usec / time_units[i].factor,
			       time_units[i].name);
	} else {
		(void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " %s %" PRIu64 " %s",
			       usec / time_units[i].factor, time_units[i].name,
			       rest / small->factor, small->name);
	}
	return buf;
}
