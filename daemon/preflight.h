/* SPDX-License-Identifier: MIT */
/*
 * What must be known before the lock of a job is asked for: whose credentials, which stores,
 * whether they honour conditions, whether the workspace has a state. All of it may take
 * requests; it is begun ahead of the job's turn, so that a hand-over waits for none of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "daemon/aws/identity.h"
#include "daemon/lock/lock.h"
#include "daemon/scheduler.h"

enum preflight_state {
	PREFLIGHT_UNDER_WAY,
	PREFLIGHT_READY,   /* stores and identity are there */
	PREFLIGHT_CHILD,   /* tfqd cannot lock it, terraform can: why */
	PREFLIGHT_REFUSED, /* it cannot be run: why */
};

struct preflight;

/* It has come to an end. From the loop; may free @preflight. */
typedef void (*preflight_done_fn)(struct preflight *preflight, void *userdata);

/*
 * Look into everything for @job, which must outlive it and is locked by tfqd. @usual_usec: how long
 * jobs like it take, 0 if that is not known. @done is called at most once, and never from within.
 * Return: 0, or -ENOMEM.
 */
int preflight_new(struct preflight **ret, const struct scheduler_setup *setup,
		  const struct job *job, uint64_t usual_usec, preflight_done_fn done,
		  void *userdata);
struct preflight *preflight_free(struct preflight *preflight); /* gives up what is under way */
DEFINE_FREEP(preflight);

enum preflight_state preflight_state(const struct preflight *preflight);

/* Was it begun before the job's turn? What it has found out may not be so any more. */
bool preflight_is_early(const struct preflight *preflight);

/* CHILD and REFUSED: a sentence; valid as long as @preflight. */
const char *preflight_why(const struct preflight *preflight);

/* READY. Valid as long as @preflight. */
struct identity *preflight_identity(const struct preflight *preflight);

/* READY: move the stores into @claim; afterwards there are none here. */
void preflight_give(struct preflight *preflight, struct lock_claim *claim);
bool preflight_has_stores(const struct preflight *preflight);
