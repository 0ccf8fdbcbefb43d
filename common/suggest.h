/* SPDX-License-Identifier: MIT */
/* "Did you mean ...?": the nearest of the words that would have been right. Pure. */
#pragma once

#include <stddef.h>

#define SUGGEST_MAX 64 /* bytes of a word; longer ones have no neighbours */

struct suggest {
	const char *word;    /* as it was typed */
	const char *nearest; /* lent from suggest_consider(); NULL while none is near */
	size_t distance;     /* a candidate must be nearer than this */
};

/* Start looking for a neighbour of @word, which stays the caller's. */
void suggest_start(struct suggest *suggest, const char *word);

/*
 * Is @candidate nearer than what was seen so far? A third of the letters may be
 * wrong, missing, too many or swapped, but one always.
 */
void suggest_consider(struct suggest *suggest, const char *candidate);
