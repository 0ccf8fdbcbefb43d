/* SPDX-License-Identifier: MIT */
/* What the random tests of the lease machine share: dice, a check that names the seed, versions. */
#pragma once

#include <check.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* xorshift: repeatable, and fast. @random is not 0. */
static inline uint64_t random_dice(uint64_t *random, uint64_t sides)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random % sides;
}

/* $TFQ_SEED, or the time. */
static inline uint64_t random_seed(void)
{
	const char *text = getenv("TFQ_SEED");

	return text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 1000003 + 1;
}

/* @world has seed and steps. */
#define CHECK(world, condition, ...)                                                      \
	do {                                                                              \
		if (!(condition)) {                                                       \
			(void)fprintf(stderr, "TFQ_SEED=%" PRIu64 ", step %" PRIu64 ": ", \
				      (world)->seed, (world)->steps);                     \
			(void)fprintf(stderr, __VA_ARGS__);                               \
			(void)fputc('\n', stderr);                                        \
			ck_abort_msg("%s", #condition);                                   \
		}                                                                         \
	} while (0)

/* The number in the ETag "\"42\""; 0: none. */
static inline unsigned random_version(const char *etag)
{
	return etag[0] == '"' ? (unsigned)strtoul(etag + 1, NULL, 10) : 0;
}
