/* SPDX-License-Identifier: MIT */
#include "client/since.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/parse.h"
#include "common/timestamp.h"

static bool is_clock(const char *text)
{
	return strlen(text) == 5 && isdigit((unsigned char)text[0]) &&
	       isdigit((unsigned char)text[1]) && text[2] == ':' &&
	       isdigit((unsigned char)text[3]) && isdigit((unsigned char)text[4]);
}

static int parse_clock(const char *text, uint64_t now_usec, uint64_t *ret_usec)
{
	const time_t now = (time_t)(now_usec / USEC_PER_SEC);
	const int hour = (text[0] - '0') * 10 + text[1] - '0';
	const int minute = (text[3] - '0') * 10 + text[4] - '0';
	struct tm tm;
	time_t then;

	if (hour > 23 || minute > 59 || !localtime_r(&now, &tm))
		return -EINVAL;
	for (int days = 0; days < 2; days++) {
		tm.tm_mday -= days;
		tm.tm_hour = hour;
		tm.tm_min = minute;
		tm.tm_sec = 0;
		tm.tm_isdst = -1;
		then = mktime(&tm);
		if (then >= 0 && then <= now) {
			*ret_usec = (uint64_t)then * USEC_PER_SEC;
			return 0;
		}
	}
	return -EINVAL;
}

int since_parse(const char *text, uint64_t now_usec, uint64_t *ret_usec)
{
	uint64_t age = 0;

	if (is_clock(text))
		return parse_clock(text, now_usec, ret_usec);
	if (parse_usec(text, &age) < 0)
		return timestamp_parse(text, ret_usec) < 0 ? -EINVAL : 0;
	*ret_usec = age < now_usec ? now_usec - age : 0;
	return 0;
}
