/* SPDX-License-Identifier: MIT */
#include "daemon/lock/lock.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/log.h"
#include "common/parse.h"

#define GHOST_FIRST_USEC (5 * USEC_PER_SEC)
/* 5, 10, ... 640 s: in sum more than the 15 min for which S3 takes a signature. */
#define GHOST_LAST_USEC (11 * USEC_PER_MIN)

struct lock {
	sd_event *event;
	sd_event_source *timer; /* CLOCK_BOOTTIME */
	const struct lock_host *host;
	struct lock_callbacks callbacks;
	void *userdata;

	struct lease lease;
	struct lock_claim
		*claims;         /* the wanted one first; then whoever may still be in the store */
	struct lock_store *busy; /* carries out the request under way */
	struct lockinfo_seen holder;
	bool has_holder;
	uint64_t leave_free_usec; /* to be kept away from once it is released */
	bool is_ghost_watch;      /* the timer is for that */
	uint64_t ghost_wait_usec;
	char error[LOCK_ERROR_MAX];
};

static uint64_t now_usec(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* --- claims ------------------------------------------------------------------------------ */

struct lock_store *lock_store_free(struct lock_store *store)
{
	return store ? store->ops->free(store) : NULL;
}

int lock_claim_new(struct lock_claim **ret, uint64_t job, const struct lock_claim_words *words,
		   struct lock_store *store)
{
	CLEANUP(lock_store_freep) struct lock_store *owned = store;
	CLEANUP(lock_claim_freep) struct lock_claim *claim = NULL;
	unsigned char random[16];
	struct timespec now;

	assert(job > 0);

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	claim = calloc(1, sizeof(*claim));
	if (!claim)
		return -ENOMEM;

	claim->job = job;
	claim->operation = strdup(words->operation);
	claim->who = strdup(words->who);
	claim->version = strdup(words->version);
	claim->path = strdup(words->path);
	if (!claim->operation || !claim->who || !claim->version || !claim->path)
		return -ENOMEM;
	lockinfo_id(claim->id, random);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)lockinfo_time(claim->created, &now);
	claim->store = TAKE_PTR(owned);
	*ret = TAKE_PTR(claim);
	return 0;
}

struct lock_claim *lock_claim_free(struct lock_claim *claim)
{
	if (!claim)
		return NULL;
	lock_store_free(claim->store);
	free(claim->operation);
	free(claim->who);
	free(claim->version);
	free(claim->path);
	free(claim);
	return NULL;
}

static struct lock_claim *find_claim(const struct lock *lock, uint64_t job)
{
	for (struct lock_claim *claim = lock->claims; claim; claim = claim->next)
		if (claim->job == job)
			return claim;
	return NULL;
}

static bool is_needed(const struct lock *lock, const struct lock_claim *claim)
{
	const struct lease *lease = &lock->lease;

	/* Whatever is still to be asked, somebody's rights must be there to ask with. */
	if (!claim->next && claim == lock->claims &&
	    (lease->must_settle || lease->in_flight != LEASE_NONE))
		return true;
	if (claim->job == lease->wanted || claim->store == lock->busy ||
	    (lease->state == LEASE_HELD && claim->job == lease->owner))
		return true;
	for (unsigned i = 0; i < lease->open_count; i++)
		if (lease->open[i].owner == claim->job)
			return true;
	return false;
}

static void prune_claims(struct lock *lock)
{
	for (struct lock_claim **at = &lock->claims; *at;) {
		struct lock_claim *claim = *at;

		if (is_needed(lock, claim)) {
			at = &claim->next;
			continue;
		}
		*at = claim->next;
		lock_claim_free(claim);
	}
}

/* Writes go with the rights of whom they are for; looking and removing with the present owner's. */
static struct lock_claim *claim_for(const struct lock *lock, const struct lease_request *request)
{
	struct lock_claim *claim = NULL;

	if (request->op == LEASE_CREATE || request->op == LEASE_SWAP)
		return find_claim(lock, request->owner);
	if (lock->lease.state == LEASE_HELD)
		claim = find_claim(lock, lock->lease.owner);
	return claim ? claim : lock->claims;
}

/* --- the loop ----------------------------------------------------------------------------- */

static void pump(struct lock *lock);

static void set_error(struct lock *lock, const char *error)
{
	(void)snprintf(lock->error, sizeof(lock->error), "%s", error ? error : "");
}

static void set_timer(struct lock *lock, uint64_t at_usec)
{
	if (at_usec == UINT64_MAX) {
		(void)sd_event_source_set_enabled(lock->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(lock->timer, at_usec);
	(void)sd_event_source_set_enabled(lock->timer, SD_EVENT_ONESHOT);
}

/* At growing intervals, until no server would take the request any more. */
static void watch_ghost(struct lock *lock)
{
	if (!lease_may_appear(&lock->lease)) {
		lock->ghost_wait_usec = 0;
		return;
	}
	lock->ghost_wait_usec =
		lock->ghost_wait_usec ? lock->ghost_wait_usec * 2 : GHOST_FIRST_USEC;
	if (lock->ghost_wait_usec > GHOST_LAST_USEC) {
		lease_forget_open(&lock->lease);
		lock->ghost_wait_usec = 0;
		return;
	}
	set_timer(lock, now_usec() + lock->ghost_wait_usec);
	lock->is_ghost_watch = true;
}

static void on_store_done(const struct lease_answer *answer, const struct lockinfo_seen *seen,
			  const char *error, void *userdata)
{
	struct lock *lock = userdata;
	const struct lock_callbacks callbacks = lock->callbacks;
	void *const theirs = lock->userdata;
	unsigned events;

	lock->busy = NULL;
	if (error)
		set_error(lock, error);
	if (answer->result != LEASE_R_UNSENT && answer->result != LEASE_R_UNKNOWN &&
	    answer->result != LEASE_R_THROTTLED && answer->result != LEASE_R_DENIED)
		lock->lease.config.acquire_tries = UINT_MAX; /* it works: an outage is waited for */
	events = lease_answer(&lock->lease, now_usec(), answer);

	lock->has_holder = lock->lease.state == LEASE_FOREIGN ||
			   (events & LEASE_EV_LOST && answer->result == LEASE_R_DONE);
	if (seen && lock->has_holder)
		lock->holder = *seen;
	if (events & (LEASE_EV_HELD | LEASE_EV_RENEWED | LEASE_EV_RELEASED))
		set_error(lock, NULL);

	if (events & LEASE_EV_RELEASED && lock->leave_free_usec > 0) {
		lease_hold_off(&lock->lease, now_usec() + lock->leave_free_usec);
		lock->leave_free_usec = 0;
	}

	prune_claims(lock);
	pump(lock);
	if (events)
		callbacks.on_events(lock, events, theirs);
	if (lock->lease.wanted == 0 && lease_is_idle(&lock->lease)) {
		lock->leave_free_usec = 0;
		watch_ghost(lock);
		callbacks.on_idle(lock, theirs); /* it may be gone now */
	}
}

static int send_request(struct lock *lock, const struct lease_request *request)
{
	char text[LOCKINFO_TEXT_MAX];
	struct lock_claim *claim = claim_for(lock, request);
	struct lockinfo info;

	if (!claim)
		return -ENOENT;
	lock->busy = claim->store;
	if (request->op != LEASE_CREATE && request->op != LEASE_SWAP)
		return claim->store->ops->send(claim->store, request, NULL, on_store_done, lock);

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
		.lease_sec = lock->host->lease_sec,
	};
	return claim->store->ops->send(claim->store, request, &info, on_store_done, lock);
}

/* Send what is to be sent, or sleep until something is. */
static void pump(struct lock *lock)
{
	char nonce[LOCKINFO_NONCE_LEN];
	unsigned char random[16];
	struct lease_request request;
	int r;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return; /* cannot fail once the machine is up */
	lockinfo_nonce(nonce, random);

	for (;;) {
		lease_next(&lock->lease, now_usec(), nonce, &request);
		if (request.op == LEASE_NONE)
			break;
		r = send_request(lock, &request);
		if (r >= 0)
			return;
		/* Ours, not the store's: out of memory, say. It counts as a try and is made again.
		 */
		log_warning(r, "Failed to send a lock request: %m");
		set_error(lock, "tfqd could not send the request (out of memory?)");
		lock->busy = NULL;
		(void)lease_answer(&lock->lease, now_usec(),
				   &(struct lease_answer){ .result = LEASE_R_UNSENT });
	}
	set_timer(lock, request.wake_usec);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct lock *lock = userdata;

	(void)source;
	(void)usec;

	if (lock->is_ghost_watch && lock->lease.wanted == 0 && lease_is_idle(&lock->lease))
		lease_look_again(&lock->lease);
	lock->is_ghost_watch = false;
	if (lock->lease.wanted == 0 && lease_is_idle(&lock->lease))
		lock->callbacks.on_idle(lock, lock->userdata);
	else
		pump(lock);
	return 0;
}

int lock_new(struct lock **ret, sd_event *event, const struct lease_config *config,
	     const struct lock_host *host, const struct lock_callbacks *callbacks, void *userdata)
{
	CLEANUP(lock_freep) struct lock *lock = NULL;
	uint64_t seed;
	int r;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -errno;
	lock = calloc(1, sizeof(*lock));
	if (!lock)
		return -ENOMEM;

	lock->event = sd_event_ref(event);
	lock->host = host;
	lock->callbacks = *callbacks;
	lock->userdata = userdata;
	lease_init(&lock->lease, config, seed);

	r = sd_event_add_time(event, &lock->timer, CLOCK_BOOTTIME, 0, USEC_PER_MSEC, on_timer,
			      lock);
	if (r < 0)
		return r;
	set_timer(lock, UINT64_MAX);
	*ret = TAKE_PTR(lock);
	return 0;
}

struct lock *lock_free(struct lock *lock)
{
	if (!lock)
		return NULL;
	if (lock->busy)
		lock->busy->ops->cancel(lock->busy);
	while (lock->claims) {
		struct lock_claim *next = lock->claims->next;

		lock_claim_free(lock->claims);
		lock->claims = next;
	}
	sd_event_source_disable_unref(lock->timer);
	sd_event_unref(lock->event);
	free(lock);
	return NULL;
}

void lock_want(struct lock *lock, struct lock_claim *claim)
{
	if (claim) {
		claim->next = lock->claims;
		lock->claims = claim;
		set_error(lock, NULL);
		if (lock->lease.state == LEASE_LOST) /* a new start, also for the same job */
			lease_want(&lock->lease, 0);
	}
	lease_want(&lock->lease, claim ? claim->job : 0);
	prune_claims(lock);
	/* From the loop, at once: callers need not fear a callback from within. */
	set_timer(lock, 0);
}

void lock_leave_free(struct lock *lock, uint64_t usec)
{
	lock->leave_free_usec = usec;
}

bool lock_is_in_doubt(const struct lock *lock)
{
	return lock->lease.state != LEASE_HELD || lock->lease.must_settle || lock->lease.gone ||
	       lock->lease.removing || lock->lease.failures > 0;
}

bool lock_is_held_by(const struct lock *lock, uint64_t job)
{
	return lease_is_held_by(&lock->lease, job);
}

bool lock_is_idle(const struct lock *lock)
{
	return lease_is_idle(&lock->lease);
}

uint64_t lock_deadline(const struct lock *lock)
{
	return lock->lease.state == LEASE_HELD ? lock->lease.deadline_usec : 0;
}

bool lock_may_appear(const struct lock *lock)
{
	return lease_may_appear(&lock->lease);
}

bool lock_is_wanted(const struct lock *lock)
{
	return lock->lease.wanted != 0;
}

const struct lockinfo_seen *lock_holder(const struct lock *lock)
{
	return lock->has_holder ? &lock->holder : NULL;
}

const char *lock_error(const struct lock *lock)
{
	return lock->error;
}
