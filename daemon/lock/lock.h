/* SPDX-License-Identifier: MIT */
/*
 * The lock of one terraform state: the lease machine, driven by an event loop, over
 * whichever store holds the lock. Everything above sees this interface; stores
 * (lock_s3, ...) implement struct lock_store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "daemon/lock/lease.h"
#include "daemon/lock/lockinfo.h"

#define LOCK_ERROR_MAX 768 /* bytes of a sentence about what went wrong, with the NUL */

/* --- a store: one lock, seen with one job's credentials ---------------------------------- */

struct lock_store;

/* What came of a request. @seen: what a READ found; NULL for nothing, or nothing readable. */
typedef void (*lock_store_done_fn)(const struct lease_answer *answer,
				   const struct lockinfo_seen *seen, const char *error,
				   void *userdata);

/* Does the state exist? @is_there < 0: it cannot be told. */
typedef void (*lock_store_exists_fn)(int is_there, const char *error, void *userdata);

/* Does the store honour conditions? @error: why it does not, or why that cannot be told. */
typedef void (*lock_store_probe_fn)(bool is_usable, const char *error, void *userdata);

struct lock_store_ops {
	/*
	 * Carry out @request. @info: what CREATE and SWAP write, NULL for the others. One at a
	 * time. Return: 0, and @done is called once, later, from the loop; or a negative errno.
	 */
	int (*send)(struct lock_store *store, const struct lease_request *request,
		    const struct lockinfo *info, lock_store_done_fn done, void *userdata);
	/* Is the state object there? NULL: this store does not hold states. */
	int (*exists)(struct lock_store *store, lock_store_exists_fn done, void *userdata);
	/*
	 * Try out, with a scratch key, what a lock is built on (aws.md 2.7). NULL: no need, ever.
	 * Return: 1, no need (AWS's own, or found good before); 0: @done is called once, later,
	 * from the loop; or a negative errno.
	 */
	int (*probe)(struct lock_store *store, lock_store_probe_fn done, void *userdata);
	/* Give up whatever is under way: no @done any more. */
	void (*cancel)(struct lock_store *store);
	struct lock_store *(*free)(struct lock_store *store); /* cancels, wipes, returns NULL */
};

struct lock_store {
	const struct lock_store_ops *ops;
};

struct lock_store *lock_store_free(struct lock_store *store);
DEFINE_FREEP(lock_store);

/* --- a claim: what is written into the lock for one job --------------------------------- */

struct lock_claim {
	struct lock_claim *next;  /* lock::claims */
	uint64_t job;             /* > 0 */
	char id[LOCKINFO_ID_LEN]; /* made by lock_claim_new() */
	char created[40];
	char *operation, *who, *version, *path;
	struct lock_store *store; /* the claim's own */
};

struct lock_claim_words {
	const char *operation, *who, *version, *path;
};

/*
 * @words are copied; @store is taken, also on failure.
 * Return: 0, -ENOMEM, or what getrandom(2) says.
 */
int lock_claim_new(struct lock_claim **ret, uint64_t job, const struct lock_claim_words *words,
		   struct lock_store *store);
struct lock_claim *lock_claim_free(struct lock_claim *claim);
DEFINE_FREEP(lock_claim);

/* --- a lock ------------------------------------------------------------------------------ */

struct lock;

struct lock_callbacks {
	/* Something happened: a set of enum lease_event. Must not free the lock. */
	void (*on_events)(struct lock *lock, unsigned events, void *userdata);
	/* Nothing is wanted, and nothing of ours is in the store or under way any more. May free
	 * it. */
	void (*on_idle)(struct lock *lock, void *userdata);
	/* The text for terraform's Info about @job, to be written now. */
	void (*on_info)(char *buf, size_t size, uint64_t job, void *userdata);
};

/* Who writes: the same for all locks of a daemon. Borrowed for the lock's life. */
struct lock_host {
	const char *machine, *boot;
	uint64_t lease_sec; /* what the lock says: 0, not to be taken over */
};

int lock_new(struct lock **ret, sd_event *event, const struct lease_config *config,
	     const struct lock_host *host, const struct lock_callbacks *callbacks, void *userdata);

/* Frees the claims too. What is in the store stays there. */
struct lock *lock_free(struct lock *lock);
DEFINE_FREEP(lock);

/*
 * The lock is to be @claim's, which is taken; NULL: it is to be released. A held
 * lock changes hands without being let go. Callbacks come later, from the loop.
 */
void lock_want(struct lock *lock, struct lock_claim *claim);

/* Once it is released, which is under way, keep away from the lock for @usec. */
void lock_leave_free(struct lock *lock, uint64_t usec);

bool lock_is_held_by(const struct lock *lock, uint64_t job);
bool lock_is_idle(const struct lock *lock);
/*
 * May something of ours still turn up in the store? A CREATE whose answer was lost may land
 * minutes later (aws.md 4.5); it is looked for now and then, and removed if it does.
 */
bool lock_may_appear(const struct lock *lock);
bool lock_is_wanted(const struct lock *lock); /* by some job */

/* Has a request for the held lock come back with anything but success, and not been settled yet? */
bool lock_is_in_doubt(const struct lock *lock);

/* CLOCK_BOOTTIME microseconds until which the confirmed lease lasts; 0 if nothing is held. */
uint64_t lock_deadline(const struct lock *lock);

/* Who holds it outside this daemon: what was read last, or NULL. */
const struct lockinfo_seen *lock_holder(const struct lock *lock);

/* What went wrong last, in words; "" if nothing did. */
const char *lock_error(const struct lock *lock);
