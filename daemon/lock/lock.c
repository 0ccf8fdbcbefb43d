/* SPDX-License-Identifier: MIT */
/*
 * One lock of one or two sides. Where both stores are configured a job holds the lock when it
 * holds both, the earlier deadline counts, and whatever goes wrong on one side is the lock's.
 *
 * The second side is only ever wanted while the first is held: two daemons that had one each
 * and wanted the other's would wait for ever.
 */
#include "daemon/lock/lock.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/lock/lock_parts.h"

/* --- what each side is to do -------------------------------------------------------------- */

static void spread(struct lock *lock)
{
	struct lock_side *first = &lock->sides[LOCK_S3], *second = &lock->sides[LOCK_DYNAMODB];

	if (!first->is_used || !second->is_used) {
		lock_side_want(first, first->is_used ? lock->wanted : 0);
		lock_side_want(second, second->is_used ? lock->wanted : 0);
	} else if (lock->wanted != 0) {
		lock_side_want(first, lock->wanted);
		/* Lost: who ran under both may still do so, and says when he has ended. */
		if (first->lease.state != LEASE_LOST)
			lock_side_want(second, first->lease.state == LEASE_HELD ? lock->wanted : 0);
	} else {
		lock_side_want(second, 0);
		if (lock_side_is_idle(second) || second->has_trouble)
			lock_side_want(first, 0);
	}
}

void lock_want(struct lock *lock, struct lock_claim *claim)
{
	lock->wanted = claim ? claim->job : 0;
	lock->was_held = false;
	if (claim) {
		claim->next = lock->claims;
		lock->claims = claim;
	}
	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		struct lock_side *side = &lock->sides[i];

		if (claim) {
			side->is_used = claim->stores[i] != NULL;
			lock_side_set_error(side, NULL);
		}
		if (claim &&
		    side->lease.state == LEASE_LOST) /* a new start, also for the same job */
			lease_want(&side->lease, 0);
		/* From the loop, at once: callers need not fear a callback from within. */
		if (side->is_used || i == 0 || !lock_side_is_idle(side))
			lock_side_wake(side);
	}
	spread(lock);
	lock_prune_claims(lock);
}

/* --- what has come of it ------------------------------------------------------------------ */

/* What of one side's @side_events is news of the lock. */
static unsigned sum_up(struct lock *lock, unsigned side_events)
{
	const unsigned mine = LEASE_EV_HELD | LEASE_EV_RENEWED | LEASE_EV_RELEASED;
	const bool is_held = lock->wanted != 0 && lock_is_held_by(lock, lock->wanted);
	unsigned events = side_events & ~mine;

	if (is_held && !lock->was_held)
		events |= LEASE_EV_HELD;
	lock->was_held = is_held;
	if (side_events & LEASE_EV_RENEWED && lock_deadline(lock) > 0)
		events |= LEASE_EV_RENEWED;
	if (side_events & LEASE_EV_RELEASED &&
	    (side_events & LEASE_EV_LOST || (lock->wanted == 0 && lock_is_idle(lock))))
		events |= LEASE_EV_RELEASED;
	return events;
}

void lock_on_side(struct lock_side *side, unsigned side_events)
{
	struct lock *lock = side->lock;
	const struct lock_callbacks callbacks = lock->callbacks;
	void *const theirs = lock->userdata;
	unsigned events;

	if (side_events & LEASE_EV_RELEASED && lock->leave_free_usec > 0) {
		lease_hold_off(&side->lease, clock_usec(CLOCK_BOOTTIME) + lock->leave_free_usec);
		if (side->kind == LOCK_S3 || !lock->sides[LOCK_S3].is_used)
			lock->leave_free_usec = 0;
	}
	spread(lock);
	lock_prune_claims(lock);
	events = sum_up(lock, side_events);
	if (events)
		callbacks.on_events(lock, events, theirs);
	if (lock->wanted == 0 && lock_is_idle(lock)) {
		lock->leave_free_usec = 0;
		for (int i = 0; i < LOCK_KIND_COUNT; i++)
			lock_side_watch_ghost(&lock->sides[i]);
		callbacks.on_idle(lock, theirs); /* it may be gone now */
	}
}

/* --- life --------------------------------------------------------------------------------- */

int lock_new(struct lock **ret, sd_event *event, const struct lease_config *config,
	     const struct lock_host *host, const struct lock_callbacks *callbacks, void *userdata)
{
	CLEANUP(lock_freep) struct lock *lock = NULL;

	lock = calloc(1, sizeof(*lock));
	if (!lock)
		return -ENOMEM;
	lock->event = sd_event_ref(event);
	lock->host = host;
	lock->callbacks = *callbacks;
	lock->userdata = userdata;
	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		const int r = lock_side_init(&lock->sides[i], lock, (enum lock_kind)i, config);

		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(lock);
	return 0;
}

struct lock *lock_free(struct lock *lock)
{
	if (!lock)
		return NULL;
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		lock_side_clear(&lock->sides[i]);
	while (lock->claims) {
		struct lock_claim *next = lock->claims->next;

		lock_claim_free(lock->claims);
		lock->claims = next;
	}
	sd_event_unref(lock->event);
	free(lock);
	return NULL;
}

void lock_set_takeover(struct lock *lock, bool is_allowed)
{
	for (int i = 0; lock && i < LOCK_KIND_COUNT; i++) {
		lease_set_takeover(&lock->sides[i].lease, is_allowed);
		if (!is_allowed)
			lock_side_wake(&lock->sides[i]);
	}
}

void lock_leave_free(struct lock *lock, uint64_t usec)
{
	lock->leave_free_usec = usec;
}

/* --- questions ---------------------------------------------------------------------------- */

bool lock_is_in_doubt(const struct lock *lock)
{
	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		const struct lease *lease = &lock->sides[i].lease;

		if (lock->sides[i].is_used &&
		    (!lease_is_held_by(lease, lease->owner) || lease->must_settle || lease->gone ||
		     lease->failures > 0))
			return true;
	}
	return false;
}

bool lock_is_held_by(const struct lock *lock, uint64_t job)
{
	bool is_held = false;

	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		if (!lock->sides[i].is_used)
			continue;
		if (!lease_is_held_by(&lock->sides[i].lease, job))
			return false;
		is_held = true;
	}
	return is_held;
}

bool lock_is_idle(const struct lock *lock)
{
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		if (!lease_is_idle(&lock->sides[i].lease))
			return false;
	return true;
}

uint64_t lock_deadline(const struct lock *lock)
{
	uint64_t usec = UINT64_MAX;

	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		const struct lease *lease = &lock->sides[i].lease;

		if (!lock->sides[i].is_used)
			continue;
		if (lease->state != LEASE_HELD)
			return 0;
		if (lease->deadline_usec < usec)
			usec = lease->deadline_usec;
	}
	return usec == UINT64_MAX ? 0 : usec;
}

bool lock_may_appear(const struct lock *lock)
{
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		if (lease_may_appear(&lock->sides[i].lease))
			return true;
	return false;
}

const struct lockinfo_seen *lock_holder(const struct lock *lock)
{
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		if (lock->sides[i].is_used && lock->sides[i].has_holder)
			return &lock->sides[i].holder;
	return NULL;
}

void lock_prospect(const struct lock *lock, struct lock_prospect *ret)
{
	const uint64_t now = clock_usec(CLOCK_BOOTTIME);

	*ret = (struct lock_prospect){ 0 };
	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		const struct lease *lease = &lock->sides[i].lease;
		const uint64_t takeover = lease_takeover(lease);

		if (!lock->sides[i].is_used || lease->state != LEASE_FOREIGN || takeover == 0)
			continue;
		*ret = (struct lock_prospect){
			.has_lease = true,
			.is_dead = now >= takeover,
			.is_taken = lease->config.takes_over,
			.is_asked = lease->config.asks,
			.left_usec = now < takeover ? takeover - now : 0,
		};
		return;
	}
}

int lock_break(struct lock *lock, const char *id)
{
	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		struct lock_side *side = &lock->sides[i];

		if (!side->is_used || !side->has_holder || side->lease.state != LEASE_FOREIGN)
			continue;
		if (strcmp(side->holder.id, id) != 0)
			return -ESTALE;
		if (!lease_break(&side->lease))
			return -ENOENT;
		lock_side_wake(side);
		return 0;
	}
	return -ENOENT;
}

const char *lock_error(const struct lock *lock)
{
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		if (lock->sides[i].error[0])
			return lock->sides[i].error;
	return "";
}
