/* SPDX-License-Identifier: MIT */
/*
 * A lock has a side per store: the lock file in S3, the item in DynamoDB. Each has a lease
 * machine of its own; lock.c makes one lock of them. Shared by lock.c, lock_side.c and
 * lock_claim.c; for nobody else.
 */
#pragma once

#include "daemon/lock/lock.h"

struct lock_side {
	struct lock *lock;
	enum lock_kind kind;
	struct lease lease;
	sd_event_source *timer;  /* CLOCK_BOOTTIME */
	struct lock_store *busy; /* carries out the request under way */
	struct lockinfo_seen holder;
	bool has_holder;
	bool is_used;        /* by the claim that is wanted, or was wanted last */
	bool has_trouble;    /* a request failed since it was told what is wanted */
	bool is_ghost_watch; /* the timer is for that */
	uint64_t ghost_wait_usec;
	char error[LOCK_ERROR_MAX]; /* what went wrong last; "" if that is over */
};

struct lock {
	sd_event *event;
	const struct lock_host *host;
	struct lock_callbacks callbacks;
	void *userdata;

	struct lock_side sides[LOCK_KIND_COUNT];
	struct lock_claim *claims; /* the wanted one first; then whoever may still be in a store */
	uint64_t wanted;           /* job that is to hold it; 0: nobody */
	bool was_held;             /* by that job, and told so */
	uint64_t leave_free_usec;  /* to be kept away from once it is released */
};

/* lock.c: @side has had @events; may free the lock. */
void lock_on_side(struct lock_side *side, unsigned events);

/* lock_side.c */

int lock_side_init(struct lock_side *side, struct lock *lock, enum lock_kind kind,
		   const struct lease_config *config);
void lock_side_clear(struct lock_side *side);
/* Job @owner is to hold this side; 0: nobody. Acts later, from the loop. */
void lock_side_want(struct lock_side *side, uint64_t owner);
void lock_side_wake(struct lock_side *side);
void lock_side_set_error(struct lock_side *side, const char *error); /* NULL: none */
bool lock_side_is_idle(const struct lock_side *side); /* nothing wanted, held or under way */
/* Keep looking, at growing intervals, for a write whose answer was lost. */
void lock_side_watch_ghost(struct lock_side *side);

/* lock_claim.c */

/* Free the claims that nothing is in a store or under way for. */
void lock_prune_claims(struct lock *lock);
/* Whose rights @request is sent with: writes with those of whom they are for, looking and removing
 * with the present owner's, or, after a failure, in turn with those of who wants it. */
struct lock_claim *lock_claim_for(const struct lock_side *side,
				  const struct lease_request *request);
