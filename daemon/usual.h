/* SPDX-License-Identifier: MIT */
/* How long jobs take: the median of the last runs of each kind, which is a state and a subcommand.
 */
#pragma once

#include <stdint.h>

#include "common/cleanup.h"

#define USUAL_MIN       3     /* fewer runs tell nothing */
#define USUAL_MAX       15    /* runs that are remembered of a kind */
#define USUAL_KINDS_MAX 10000 /* the kind that ran longest ago is forgotten */

struct usual;

int usual_new(struct usual **ret);
struct usual *usual_free(struct usual *usual);
DEFINE_FREEP(usual);

/* One of @subcommand on the state @identity took @usec. Nothing is remembered when out of memory.
 */
void usual_add(struct usual *usual, const char *identity, const char *subcommand, uint64_t usec);

/* Return: how long one takes, or 0 if nobody knows. */
uint64_t usual_usec(const struct usual *usual, const char *identity, const char *subcommand);
