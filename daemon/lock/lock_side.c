/* SPDX-License-Identifier: MIT */
/* One lease machine, driven by the loop over one store. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "daemon/lock/lock_parts.h"
#include "daemon/metrics.h"

#define GHOST_FIRST_USEC (5 * USEC_PER_SEC)
/* 5, 10, ... 640 s: in sum more than the 15 min for which S3 takes a signature. */
#define GHOST_LAST_USEC (11 * USEC_PER_MIN)

static void pump(struct lock_side *side);

static void set_timer(struct lock_side *side, uint64_t at_usec)
{
	if (at_usec == UINT64_MAX) {
		(void)sd_event_source_set_enabled(side->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(side->timer, at_usec);
	(void)sd_event_source_set_enabled(side->timer, SD_EVENT_ONESHOT);
}

void lock_side_wake(struct lock_side *side)
{
	side->is_ghost_watch = false;
	set_timer(side, 0);
}

bool lock_side_is_idle(const struct lock_side *side)
{
	return side->lease.wanted == 0 && lease_is_idle(&side->lease);
}

void lock_side_want(struct lock_side *side, uint64_t owner)
{
	if (side->lease.wanted == owner)
		return;
	lease_want(&side->lease, owner);
	side->ghost_wait_usec = 0;
	side->has_trouble = false;
	lock_side_wake(side);
}

/* At growing intervals, all after the lock's last use, until no server would take the request any
 * more. */
void lock_side_watch_ghost(struct lock_side *side)
{
	if (side->is_ghost_watch)
		return;
	if (!lease_may_appear(&side->lease)) {
		side->ghost_wait_usec = 0;
		return;
	}
	if (side->ghost_wait_usec == 0)
		side->ghost_wait_usec = GHOST_FIRST_USEC;
	if (side->ghost_wait_usec > GHOST_LAST_USEC) {
		lease_forget_open(&side->lease);
		side->ghost_wait_usec = 0;
		return;
	}
	set_timer(side, clock_usec(CLOCK_BOOTTIME) + side->ghost_wait_usec);
	side->is_ghost_watch = true;
}

void lock_side_set_error(struct lock_side *side, const char *error)
{
	(void)snprintf(side->error, sizeof(side->error), "%s", error ? error : "");
}

static void on_store_done(const struct lease_answer *answer, const struct lockinfo_seen *seen,
			  const char *error, void *userdata)
{
	struct lock_side *side = userdata;
	const struct lock_callbacks *callbacks = &side->lock->callbacks;
	struct lease_answer told = *answer;
	unsigned events;

	side->busy = NULL;
	metrics_observe(METRIC_ROUND_TRIP, clock_usec(CLOCK_BOOTTIME) - side->lease.sent_usec);
	if (answer->result == LEASE_R_UNSENT || answer->result == LEASE_R_UNKNOWN ||
	    answer->result == LEASE_R_THROTTLED || answer->result == LEASE_R_DENIED)
		metrics_count(METRIC_LOCK_FAULTS);
	if (error)
		lock_side_set_error(side, error);
	told.is_own = seen && seen->is_tfqd && callbacks->is_own &&
		      callbacks->is_own(seen->id, side->lock->userdata);
	if (answer->result != LEASE_R_UNSENT && answer->result != LEASE_R_UNKNOWN &&
	    answer->result != LEASE_R_THROTTLED && answer->result != LEASE_R_DENIED)
		side->lease.config.acquire_tries = UINT_MAX; /* it works: an outage is waited for */
	events = lease_answer(&side->lease, clock_usec(CLOCK_BOOTTIME), &told);
	side->has_trouble |= (events & LEASE_EV_TROUBLE) != 0;
	side->has_holder = side->lease.state == LEASE_FOREIGN ||
			   (events & LEASE_EV_LOST && answer->result == LEASE_R_DONE);
	if (seen && side->has_holder)
		side->holder = *seen;
	if ((seen && !error && side->lease.state == LEASE_FOREIGN) ||
	    events & (LEASE_EV_HELD | LEASE_EV_RENEWED | LEASE_EV_RELEASED))
		lock_side_set_error(side, NULL); /* that is over */
	pump(side);
	lock_on_side(side, events);
}

static int send_request(struct lock_side *side, const struct lease_request *request)
{
	struct lock *lock = side->lock;
	char text[LOCKINFO_TEXT_MAX];
	struct lock_claim *claim = lock_claim_for(side, request);
	struct lock_store *store = claim ? claim->stores[side->kind] : NULL;
	struct lockinfo info;

	if (!store)
		return -ENOENT;
	metrics_count(METRIC_LOCK_REQUESTS);
	side->busy = store;
	if (request->op != LEASE_CREATE && request->op != LEASE_SWAP)
		return store->ops->send(store, request, NULL, on_store_done, side);

	lock->callbacks.on_info(text, sizeof(text), claim->job, lock->userdata);
	info = (struct lockinfo){
		.id = claim->id,
		.operation = claim->operation,
		.info = text,
		.who = claim->who,
		.version = claim->version,
		.created = claim->created,
		.path = claim->path,
		.host = lock->host->machine,
		.boot = lock->host->boot,
		.job = claim->job,
		.seq = request->seq,
		.epoch = 1,
		.nonce = request->nonce,
		.lease_sec = side->lease.config.takes_over
				     ? side->lease.config.lease_usec / USEC_PER_SEC
				     : 0,
	};
	return store->ops->send(store, request, &info, on_store_done, side);
}

/* Send what is to be sent, or sleep until something is, or the lease runs out. */
static void pump(struct lock_side *side)
{
	char nonce[LOCKINFO_NONCE_LEN];
	unsigned char random[16];
	struct lease_request request;
	uint64_t expiry;
	int r;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return; /* cannot fail once the machine is up */
	lockinfo_nonce(nonce, random);

	for (;;) {
		lease_next(&side->lease, clock_usec(CLOCK_BOOTTIME), nonce, &request);
		if (request.op == LEASE_NONE)
			break;
		r = send_request(side, &request);
		if (r >= 0)
			break; /* the answer wakes us */
		/* Ours, not the store's: out of memory, say. It counts as a try, made again later.
		 */
		log_warning(r, "Failed to send a lock request: %m");
		lock_side_set_error(side, "tfqd could not send the request (out of memory?)");
		side->busy = NULL;
		(void)lease_answer(&side->lease, clock_usec(CLOCK_BOOTTIME),
				   &(struct lease_answer){ .result = LEASE_R_UNSENT });
	}
	expiry = lease_expiry(&side->lease);
	set_timer(side, request.wake_usec < expiry ? request.wake_usec : expiry);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct lock_side *side = userdata;
	unsigned events;

	(void)source;
	(void)usec;

	if (side->is_ghost_watch && lock_side_is_idle(side)) {
		lease_look_again(&side->lease);
		side->ghost_wait_usec *= 2;
	}
	side->is_ghost_watch = false;
	events = lease_tick(&side->lease, clock_usec(CLOCK_BOOTTIME));
	pump(side);
	lock_on_side(side, events);
	return 0;
}

int lock_side_init(struct lock_side *side, struct lock *lock, enum lock_kind kind,
		   const struct lease_config *config)
{
	uint64_t seed;
	int r;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -errno;
	side->lock = lock;
	side->kind = kind;
	lease_init(&side->lease, config, seed);
	r = sd_event_add_time(lock->event, &side->timer, CLOCK_BOOTTIME, 0, USEC_PER_MSEC, on_timer,
			      side);
	if (r < 0)
		return r;
	set_timer(side, UINT64_MAX);
	return 0;
}

void lock_side_clear(struct lock_side *side)
{
	if (side->busy)
		side->busy->ops->cancel(side->busy);
	sd_event_source_disable_unref(side->timer);
}
