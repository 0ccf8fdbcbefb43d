/* SPDX-License-Identifier: MIT */
/* The jobs that tfqd knows of. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* Put them all behind @jobs, page by page, in the order of their numbers; @over: also those that
 * have ended. Return: 0, or the exit code after telling why not. */
int jobs_fetch(json_t *jobs, bool over);
