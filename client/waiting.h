/* SPDX-License-Identifier: MIT */
/* The one line that says what a job waits for: redrawn on a terminal, printed on change elsewhere.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct waiting {
	bool is_quiet;
	bool is_drawn; /* the line stands on the terminal */
	char last[2048];
};

/* @job has changed. */
void waiting_update(struct waiting *waiting, const json_t *job);

/* Something else is going to be printed: the line goes away. */
void waiting_clear(struct waiting *waiting);
