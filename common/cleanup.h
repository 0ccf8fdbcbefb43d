/* SPDX-License-Identifier: MIT */
/* Scope-bound ownership: a resource is released where its variable ends. */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define AUTO_FREE   CLEANUP(freep)
#define AUTO_CLOSE  CLEANUP(closep)

/* Give ownership away: yields the value and leaves the variable empty. */
#define TAKE_PTR(var)                       \
	({                                  \
		__auto_type taken_ = (var); \
		(var) = NULL;               \
		taken_;                     \
	})
#define TAKE_FD(var)                \
	({                          \
		int taken_ = (var); \
		(var) = -1;         \
		taken_;             \
	})

/* From job_free(), which takes NULL, define job_freep() for CLEANUP(job_freep). */
#define DEFINE_FREEP(name)                               \
	static inline void name##_freep(struct name **p) \
	{                                                \
		name##_free(*p);                         \
	}                                                \
	_Static_assert(1, "")

static inline void freep(void *p)
{
	void *mem;

	memcpy(&mem, p, sizeof(mem)); /* a char * read as a void * would break aliasing */
	free(mem);
}

static inline void closep(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
