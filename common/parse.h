/* SPDX-License-Identifier: MIT */
/* Strict text to value. Pure; no locale. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC  UINT64_C(1000000)
#define USEC_PER_MIN  (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MIN)

/* Decimal digits only. Return: 0, -EINVAL (empty, sign, blanks, other characters), -ERANGE (over
 * @max). */
int parse_u64(const char *text, uint64_t max, uint64_t *ret);

/*
 * A time with its unit: "500ms", "10s", "15min", "2h", "90d", also "1h 30min" and "1h30min",
 * large units first; a bare number is refused except "0". Return: 0, -EINVAL, -ERANGE (over 10
 * years).
 */
int parse_usec(const char *text, uint64_t *ret_usec);

/* Bytes: "4096", "64K", "16M", "2G" (powers of 1024). Return: 0, -EINVAL, -ERANGE. */
int parse_bytes(const char *text, uint64_t *ret_bytes);

/* "10%" to 10. Return: 0, -EINVAL, -ERANGE (over 100). */
int parse_percent(const char *text, uint64_t *ret);

/* yes/no, true/false, on/off, 1/0, in any case. Return: 0, -EINVAL. */
int parse_bool(const char *text, bool *ret);

/* "15 min", "2 h 5 min", "40 s", "350 ms", "2 d 3 h": for people; at most two units. @buf holds at
 * least 32 bytes. */
const char *parse_format_usec(char *buf, uint64_t usec);
