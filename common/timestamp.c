/* SPDX-License-Identifier: MIT */
#include "common/timestamp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/parse.h"

/* Two digits at @text, at most @max. Return: their value, or -1. */
static int two_digits(const char *text, int max)
{
	int value;

	if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
		return -1;
	value = (text[0] - '0') * 10 + (text[1] - '0');
	return value <= max ? value : -1;
}

/* "Z", "UTC", "+02:00" or "-02:00", and nothing behind it. */
static int parse_offset(const char *text, int64_t *ret_seconds)
{
	int hours, minutes;

	*ret_seconds = 0;
	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0 || strcmp(text, "UTC") == 0)
		return 0;
	if ((*text != '+' && *text != '-') || strlen(text) != strlen("+02:00") || text[3] != ':')
		return -EINVAL;
	hours = two_digits(text + 1, 23);
	minutes = two_digits(text + 4, 59);
	if (hours < 0 || minutes < 0)
		return -EINVAL;
	*ret_seconds = (int64_t)(hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
	return 0;
}

/* A fraction at *@text, which is moved behind it; digits over six are cut. */
static int take_fraction(const char **text, uint64_t *ret_usec)
{
	uint64_t factor = USEC_PER_SEC;
	const char *at = *text;

	*ret_usec = 0;
	if (*at != '.')
		return 0;
	for (at++; *at >= '0' && *at <= '9'; at++) {
		factor /= 10;
		*ret_usec += factor * (uint64_t)(*at - '0');
	}
	if (at == *text + 1)
		return -EINVAL;
	*text = at;
	return 0;
}

int timestamp_parse(const char *text, uint64_t *ret_usec)
{
	struct tm tm = { 0 }, given;
	uint64_t fraction = 0;
	int64_t offset = 0, seconds;
	int hundreds, years;

	if (strnlen(text, 19) < 19 || text[4] != '-' || text[7] != '-' ||
	    !strchr("Tt ", text[10]) || text[13] != ':' || text[16] != ':')
		return -EINVAL;
	hundreds = two_digits(text, 99);
	years = two_digits(text + 2, 99);
	tm.tm_mon = two_digits(text + 5, 12) - 1;
	tm.tm_mday = two_digits(text + 8, 31);
	tm.tm_hour = two_digits(text + 11, 23);
	tm.tm_min = two_digits(text + 14, 59);
	tm.tm_sec = two_digits(text + 17, 60);
	if (hundreds < 0 || years < 0 || tm.tm_mon < 0 || tm.tm_mday < 1 || tm.tm_hour < 0 ||
	    tm.tm_min < 0 || tm.tm_sec < 0)
		return -EINVAL;
	tm.tm_year = hundreds * 100 + years - 1900;

	text += 19;
	if (take_fraction(&text, &fraction) < 0 || parse_offset(text, &offset) < 0)
		return -EINVAL;
	given = tm;
	seconds = (int64_t)timegm(&tm) - offset;
	if (tm.tm_mon != given.tm_mon && given.tm_mday > 28) /* 30 February became 2 March */
		return -EINVAL;
	if (seconds < 0)
		return -EINVAL;
	*ret_usec = (uint64_t)seconds * USEC_PER_SEC + fraction;
	return 0;
}

char *timestamp_format(char buf[static TIMESTAMP_SIZE], uint64_t usec)
{
	const time_t seconds = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) ||
	    strftime(buf, TIMESTAMP_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		buf[0] = '\0';
	return buf;
}
