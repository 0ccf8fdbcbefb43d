/* SPDX-License-Identifier: MIT */
/* A moment in the past, as people write it. */
#pragma once

#include <stdint.h>

/*
 * "2026-01-02T03:04:05Z" (RFC 3339), an age before @now_usec as "10 min" or "2h", or "14:30": when
 * it was that last, in local time. Return: 0 and microseconds since 1970, or -EINVAL.
 */
int since_parse(const char *text, uint64_t now_usec, uint64_t *ret_usec);
