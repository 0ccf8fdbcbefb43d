/* SPDX-License-Identifier: MIT */
/* A moment as AWS writes it. Pure. */
#pragma once

#include <stdint.h>

#define TIMESTAMP_SIZE 32 /* bytes that timestamp_format() needs */

/*
 * RFC 3339: "2026-01-02T03:04:05Z", with a fraction, an offset as "+02:00", or the "UTC" that
 * old versions of the AWS CLI wrote. Return: 0 and microseconds since 1970, cut; -EINVAL for
 * another form or a date that is none, or before 1970.
 */
int timestamp_parse(const char *text, uint64_t *ret_usec);

/* "2026-01-02T03:04:05Z"; the fraction is cut. Return: @buf; "" for what has no such form. */
char *timestamp_format(char buf[static TIMESTAMP_SIZE], uint64_t usec);
