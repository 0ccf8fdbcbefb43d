/* SPDX-License-Identifier: MIT */
/*
 * The lock of one terraform state: a lease machine for each store that holds it, driven by an
 * event loop. Everything above sees this interface; stores (lock_s3, lock_dynamodb) implement
 * struct lock_store.
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

/* Does the state exist? 1, 0; -EAGAIN: the store did not say, ask again; -EACCES: it will not. */
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

/* The kinds of a lock, in the order in which terraform takes them (terraform-locking.md 3). */
enum lock_kind { LOCK_S3, LOCK_DYNAMODB, LOCK_KIND_COUNT };

struct lock_claim {
	struct lock_claim *next;  /* lock::claims */
	uint64_t job;             /* > 0 */
	char id[LOCKINFO_ID_LEN]; /* the same in every store */
	char created[40];
	char *operation, *who, *version, *path;
	/* The claim's own, to be filled in by whoever makes it; NULL: no lock of that kind. */
	struct lock_store *stores[LOCK_KIND_COUNT];
};

struct lock_claim_words {
	const char *id; /* lockinfo_id()'s, of no other job */
	const char *operation, *who, *version, *path;
};

/* @words are copied. Return: 0 or -ENOMEM. */
int lock_claim_new(struct lock_claim **ret, uint64_t job, const struct lock_claim_words *words);
struct lock_claim *lock_claim_free(struct lock_claim *claim);
DEFINE_FREEP(lock_claim);

/* --- a lock ------------------------------------------------------------------------------ */

struct lock;

struct lock_callbacks {
	/* Something happened: a set of enum lease_event. Must not free the lock. */
	void (*on_events)(struct lock *lock, unsigned events, void *userdata);
	/* Nothing is wanted, and nothing of ours is in a store or under way any more. May free
	 * it. */
	void (*on_idle)(struct lock *lock, void *userdata);
	/* The text for terraform's Info about @job, to be written now. */
	void (*on_info)(char *buf, size_t size, uint64_t job, void *userdata);
	/* Was the lock with that @id written by us, or by a process before us that is dead, for a
	 * job that does not run, or for the one that wants it? NULL: none was. */
	bool (*is_own)(const char *id, void *userdata);
};

/* Who writes: the same for all locks of a daemon. Borrowed for the lock's life. */
struct lock_host {
	const char *machine, *boot;
};

int lock_new(struct lock **ret, sd_event *event, const struct lease_config *config,
	     const struct lock_host *host, const struct lock_callbacks *callbacks, void *userdata);

/* Frees the claims too. What is in the stores stays there. */
struct lock *lock_free(struct lock *lock);
DEFINE_FREEP(lock);

/*
 * The lock is to be @claim's, which is taken; NULL: it is to be released. A held
 * lock changes hands without being let go; all claims until it is idle again must be of the
 * same kinds. S3 is taken first, DynamoDB when S3 is held, and held by a job is what is held
 * in both; released is DynamoDB first, and S3 when that is done or has failed once.
 * Callbacks come later, from the loop.
 */
void lock_want(struct lock *lock, struct lock_claim *claim);

/*
 * May others take it over when its lease has run out, and may it run out? Told to the stores with
 * the next write, which is soon if not. NULL is fine.
 */
void lock_set_takeover(struct lock *lock, bool is_allowed);

/* Once it is released, which is under way, keep away from the lock for @usec. */
void lock_leave_free(struct lock *lock, uint64_t usec);

bool lock_is_held_by(const struct lock *lock, uint64_t job);
bool lock_is_idle(const struct lock *lock);
/*
 * May something of ours still turn up in a store? A CREATE whose answer was lost may land
 * minutes later (aws.md 4.5); it is looked for now and then, and removed if it does.
 */
bool lock_may_appear(const struct lock *lock);

/* Has a request for the held lock come back with anything but success, and not been settled yet? */
bool lock_is_in_doubt(const struct lock *lock);

/* CLOCK_BOOTTIME microseconds until which the confirmed lease lasts, in both stores; 0 if it is
 * not held. */
uint64_t lock_deadline(const struct lock *lock);

/* Who holds it outside this daemon: what was read last, or NULL. */
const struct lockinfo_seen *lock_holder(const struct lock *lock);

/* What is to be expected of that holder. */
struct lock_prospect {
	bool has_lease;
	bool is_dead;       /* watched for longer than its lease lasts on any clock */
	bool is_taken;      /* then it is taken over, without anybody's order */
	bool is_asked;      /* then somebody is to decide */
	uint64_t left_usec; /* until it certainly is dead, if it does not renew */
};
void lock_prospect(const struct lock *lock, struct lock_prospect *ret);

/*
 * Somebody orders that the holder's lock with that @id be removed. What comes of it is seen by
 * lock_holder(). Return: 0; -ENOENT if nobody's is known; -ESTALE if it has another ID.
 */
int lock_break(struct lock *lock, const char *id);

/* What went wrong last, in words; "" if nothing did. */
const char *lock_error(const struct lock *lock);
