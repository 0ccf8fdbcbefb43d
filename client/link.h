/* SPDX-License-Identifier: MIT */
/* The connection to tfqd, which may be gone for a while: tried again 100 ms later, then ever more
 * seldom. Times are of CLOCK_MONOTONIC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/varlink.h"

struct link {
	char *path;              /* of the one that was found first: no other may be asked */
	struct varlink *varlink; /* NULL: tfqd has said all, or is gone */
	uint64_t away_usec;      /* since when nothing was heard of it; 0: it is there */
	uint64_t next_usec;      /* when to try again; 0: not at all */
	uint64_t delay_usec;
};

/* Connect for the first time. Return: 0, or the exit code; then the user has been told. */
int link_open(struct link *link);
void link_clear(struct link *link);

/* It has gone away, or has to be called anew; try again later. */
void link_lose(struct link *link, uint64_t now_usec);

/* Nothing more is to be heard. */
void link_close(struct link *link);

/* It has answered. */
void link_found(struct link *link);

/* If it is time, try. Return: 1 if it is connected now; 0 if not. */
int link_retry(struct link *link, uint64_t now_usec);
