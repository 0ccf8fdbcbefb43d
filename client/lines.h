/* SPDX-License-Identifier: MIT */
/*
 * The lines of a recording, of two streams that may be in the middle of one each, and which of
 * them are shown. Those are counted; a note of the runner's counts as one. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed, it shows everything. */
struct lines {
	uint64_t since_usec; /* leave out what began before */
	uint64_t skip;       /* and then so many from the start */
	uint64_t count;      /* that began since @since_usec */
	struct {
		bool is_open, is_shown;
	} streams[2];
};

struct lines_piece {
	const char *data;
	size_t len;
	bool is_start, is_shown; /* it begins a line; the line is shown */
};

/*
 * Cut what belongs to one line from the start of the *@len bytes at *@data, which were printed at
 * @at_usec. Return: false if there are none.
 */
bool lines_next(struct lines *lines, bool is_stderr, uint64_t at_usec, const char **data,
		size_t *len, struct lines_piece *ret);

/* Is a note of @at_usec shown? */
bool lines_note(struct lines *lines, uint64_t at_usec);
