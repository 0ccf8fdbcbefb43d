/* SPDX-License-Identifier: MIT */
/* What time it is. Not for pure modules: there the clock is an argument. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Microseconds of @clock, which always exists: CLOCK_REALTIME, _MONOTONIC or _BOOTTIME. */
static inline uint64_t clock_usec(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}
