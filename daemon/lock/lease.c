/* SPDX-License-Identifier: MIT */
#include "daemon/lock/lease.h"

#include <assert.h>
#include <string.h>

#define RETRY_BASE_USEC    UINT64_C(50000)
#define RETRY_MAX_USEC     UINT64_C(5000000)
#define THROTTLE_BASE_USEC UINT64_C(1000000)
#define THROTTLE_MAX_USEC  UINT64_C(20000000)

/* splitmix64: jitter must differ between daemons, and nothing more. */
static uint64_t next_random(struct lease *lease)
{
	uint64_t z = lease->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Somewhere in @usec +- 1/@part. */
static uint64_t jitter(struct lease *lease, uint64_t usec, uint64_t part)
{
	const uint64_t span = 2 * (usec / part);

	return usec - span / 2 + (span ? next_random(lease) % span : 0);
}

/* A wait that doubles with each failure in a row, between a half and the whole of it at random. */
static uint64_t back_off(struct lease *lease, uint64_t base, uint64_t max)
{
	uint64_t usec = base;

	for (unsigned i = 1; i < lease->failures && usec < max; i++)
		usec *= 2;
	if (usec > max)
		usec = max;
	return usec / 2 + next_random(lease) % (usec / 2 + 1);
}

void lease_init(struct lease *lease, const struct lease_config *config, uint64_t seed)
{
	*lease = (struct lease){ .config = *config, .random = seed };
	lease->poll_usec = config->poll_min_usec;
}

bool lease_may_appear(const struct lease *lease)
{
	for (unsigned i = 0; i < lease->open_count; i++)
		if (lease->open[i].creates && lease->open[i].is_unknown)
			return true;
	return false;
}

void lease_want(struct lease *lease, uint64_t owner)
{
	if (lease->wanted == owner)
		return;
	lease->wanted = owner;
	lease->verified = false;
	lease->failures = 0;
	if (owner != 0 && (lease->state == LEASE_FREE || lease->state == LEASE_LOST))
		lease->state = LEASE_LOOK;
	if (owner == 0 && lease->state == LEASE_LOST)
		lease->state = LEASE_FREE;
	if (owner == 0 && lease->state != LEASE_HELD && lease_may_appear(lease))
		lease->must_settle = true; /* it may have landed since it was looked for */
}

void lease_look_again(struct lease *lease)
{
	lease->must_settle = true;
}

void lease_forget_open(struct lease *lease)
{
	lease->open_count = 0;
}

void lease_hold_off(struct lease *lease, uint64_t usec)
{
	if (usec > lease->not_before_usec)
		lease->not_before_usec = usec;
}

bool lease_is_held_by(const struct lease *lease, uint64_t owner)
{
	return lease->state == LEASE_HELD && lease->owner == owner && !lease->gone &&
	       !lease->removing;
}

bool lease_is_idle(const struct lease *lease)
{
	return lease->state != LEASE_HELD && lease->in_flight == LEASE_NONE && !lease->must_settle;
}

/* --- what to send --------------------------------------------------------------------- */

static enum lease_op choose_held(const struct lease *lease, uint64_t now, uint64_t *wake)
{
	if (lease->gone) /* our CREATE may have landed: nothing is released unread */
		return lease->wanted == 0 ? LEASE_READ : LEASE_CREATE;
	if (lease->wanted == 0)
		return lease->verified ? LEASE_REMOVE : LEASE_READ;
	if (lease->wanted != lease->owner || lease->removing || now >= lease->renew_at_usec)
		return LEASE_SWAP;
	*wake = lease->renew_at_usec;
	return LEASE_NONE;
}

static enum lease_op choose(const struct lease *lease, uint64_t now, uint64_t *wake)
{
	*wake = UINT64_MAX;
	if (lease->in_flight != LEASE_NONE)
		return LEASE_NONE;
	if (now < lease->not_before_usec) {
		if (lease->state == LEASE_HELD || lease->must_settle || lease->wanted != 0)
			*wake = lease->not_before_usec;
		return LEASE_NONE;
	}
	if (lease->must_settle)
		return LEASE_READ;

	switch (lease->state) {
	case LEASE_FREE:
	case LEASE_LOST: return LEASE_NONE;
	case LEASE_LOOK: return lease->wanted != 0 ? LEASE_CREATE : LEASE_NONE;
	case LEASE_FOREIGN: return lease->wanted != 0 ? LEASE_READ : LEASE_NONE;
	case LEASE_HELD: return choose_held(lease, now, wake);
	case LEASE_STATE_COUNT: break;
	}
	assert(!"not a lease state");
	return LEASE_NONE;
}

/* Remember a write before it is sent. Full: the oldest goes; landing late it would count as
 * another's. */
static void open_write(struct lease *lease, const char *nonce, bool creates, uint64_t now)
{
	if (lease->open_count == LEASE_OPEN_MAX) {
		memmove(&lease->open[0], &lease->open[1],
			(LEASE_OPEN_MAX - 1) * sizeof(lease->open[0]));
		lease->open_count--;
	}
	memcpy(lease->open[lease->open_count].nonce, nonce, LEASE_NONCE_LEN);
	lease->open[lease->open_count].owner = lease->wanted;
	lease->open[lease->open_count].creates = creates;
	lease->open[lease->open_count].is_unknown = false;
	lease->open[lease->open_count++].sent_usec = now;
}

/*
 * The version that @nonce wrote is known to be, or to have been, in the store: what is
 * conditional on an earlier one cannot land any more. A CREATE can, once there is nothing.
 */
static void close_writes(struct lease *lease, const char *nonce)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < lease->open_count; i++)
		if (lease->open[i].creates && strcmp(lease->open[i].nonce, nonce) != 0)
			lease->open[kept++] = lease->open[i];
	lease->open_count = kept;
}

void lease_next(struct lease *lease, uint64_t now, const char nonce[static LEASE_NONCE_LEN],
		struct lease_request *ret)
{
	*ret = (struct lease_request){ .etag_unquoted = lease->etag_unquoted };
	ret->op = choose(lease, now, &ret->wake_usec);
	if (ret->op == LEASE_NONE)
		return;

	if (ret->op == LEASE_SWAP || ret->op == LEASE_REMOVE)
		memcpy(ret->etag, lease->etag, sizeof(ret->etag));
	if (ret->op == LEASE_CREATE || ret->op == LEASE_SWAP) {
		memcpy(ret->nonce, nonce, LEASE_NONCE_LEN);
		ret->owner = lease->wanted;
		ret->seq = lease->state == LEASE_HELD ? lease->seq + 1 : 1;
		ret->is_handover = ret->op == LEASE_SWAP && lease->wanted != lease->owner;
		open_write(lease, nonce, ret->op == LEASE_CREATE, now);
	}
	if (ret->op == LEASE_REMOVE)
		lease->removing = true;
	lease->in_flight = ret->op;
	lease->sent_usec = now;
}

/* --- what an answer means ------------------------------------------------------------- */

static unsigned failed(struct lease *lease, uint64_t now, bool is_throttle)
{
	lease->failures++;
	lease_hold_off(lease,
		       now + (is_throttle ? back_off(lease, THROTTLE_BASE_USEC, THROTTLE_MAX_USEC)
					  : back_off(lease, RETRY_BASE_USEC, RETRY_MAX_USEC)));
	if ((lease->state == LEASE_LOOK || lease->state == LEASE_FREE) && lease->wanted != 0 &&
	    lease->failures >= lease->config.acquire_tries)
		return LEASE_EV_TROUBLE | LEASE_EV_FAILED;
	return LEASE_EV_TROUBLE; /* who holds, releases or already waits is patient */
}

/* An ETag that a condition can be built on: there, and strong. */
static bool is_usable_etag(const char *etag)
{
	return etag[0] != '\0' && strncmp(etag, "W/", 2) != 0;
}

/* The write with @nonce, sent at @sent for @owner, is the version in the store. */
static unsigned won(struct lease *lease, const char *nonce, const char *etag, uint64_t owner,
		    uint64_t sent)
{
	const bool was_held = lease->state == LEASE_HELD;
	unsigned events = LEASE_EV_RENEWED;

	lease->seq = was_held ? lease->seq + 1 : 1;
	if (!was_held || lease->owner != owner || lease->gone || lease->removing)
		events |= LEASE_EV_HELD;
	lease->state = LEASE_HELD;
	lease->owner = owner;
	memcpy(lease->nonce, nonce, LEASE_NONCE_LEN);
	memcpy(lease->etag, etag, LEASE_ETAG_MAX);
	lease->deadline_usec = sent + lease->config.lease_usec;
	lease->renew_at_usec = sent + jitter(lease, lease->config.renew_usec, 10);
	close_writes(lease, lease->nonce);
	lease->must_settle = false;
	lease->refused = false;
	lease->verified = false;
	lease->removing = false;
	lease->gone = false;
	lease->failures = 0;
	lease->not_before_usec = 0;
	lease->foreign_etag[0] = '\0';
	lease->poll_usec = lease->config.poll_min_usec;
	return events;
}

static void forget_held(struct lease *lease, enum lease_state state)
{
	lease->state = state;
	lease->owner = 0;
	lease->seq = 0;
	lease->etag[0] = '\0';
	lease->nonce[0] = '\0';
	lease->must_settle = false;
	lease->refused = false;
	lease->verified = false;
	lease->removing = false;
	lease->gone = false;
}

static unsigned answer_denied(struct lease *lease, uint64_t now)
{
	if (lease->state == LEASE_HELD)
		return failed(lease, now, false) |
		       (lease->wanted != lease->owner ? LEASE_EV_DENIED : 0);
	lease->must_settle = lease->open_count > 0;
	return failed(lease, now, false) | (lease->wanted != 0 ? LEASE_EV_FAILED : 0);
}

static unsigned answer_write(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	const unsigned last = lease->open_count - 1;

	lease->refused = false;
	assert(lease->open_count > 0);

	switch (answer->result) {
	case LEASE_R_DONE:
		if (!is_usable_etag(answer->etag))
			break; /* written, but as which version? */
		return won(lease, lease->open[last].nonce, answer->etag, lease->open[last].owner,
			   lease->sent_usec);
	case LEASE_R_DENIED:
		lease->open_count--; /* known not to have written */
		if (lease->open[last].owner != lease->wanted && lease->state != LEASE_HELD) {
			return 0; /* denied to one who does not want it any more, with his rights */
		}
		return answer_denied(lease, now);
	case LEASE_R_UNSENT: lease->open_count--; return failed(lease, now, false);
	case LEASE_R_CONFLICT:
		lease->open_count--;
		lease->must_settle = true; /* look who it was */
		return failed(lease, now, false);
	case LEASE_R_REFUSED:
	case LEASE_R_ABSENT:
		lease->refused = true;
		lease->must_settle = true; /* it may be our own success, answered twice */
		lease->open[last].is_unknown = true;
		return 0;
	case LEASE_R_UNKNOWN:
	case LEASE_R_THROTTLED: break;
	}
	lease->open[last].is_unknown = true;
	lease->must_settle = true;
	return failed(lease, now, answer->result == LEASE_R_THROTTLED);
}

/* What a look showed explains the refusal before it: that write has not landed, and will not. */
static void explain_refusal(struct lease *lease)
{
	if (lease->refused && lease->open_count > 0)
		lease->open[lease->open_count - 1].is_unknown = false;
}

static unsigned seen_absent(struct lease *lease, uint64_t now)
{
	explain_refusal(lease);
	lease->must_settle = false;
	if (lease->state != LEASE_HELD) {
		const bool was_refused = lease->refused;

		if (lease->state == LEASE_FOREIGN)
			lease->failures = 0; /* those were a waiter's */
		forget_held(lease, lease->wanted != 0 ? LEASE_LOOK : LEASE_FREE);
		lease->foreign_etag[0] = '\0';
		if (lease->wanted == 0)
			return LEASE_EV_RELEASED;
		if (!was_refused)
			return 0;
		/* The holder has just gone; but a store that keeps saying so is not in order. */
		if (lease->failures > 0)
			return failed(lease, now, false);
		lease->failures = 1;
		return 0;
	}
	if (lease->wanted == 0) {
		forget_held(lease, LEASE_FREE);
		return LEASE_EV_RELEASED;
	}
	if (lease->removing) { /* ... by ourselves, before somebody wanted it again */
		close_writes(lease, "");
		forget_held(lease, LEASE_LOOK);
		return 0;
	}
	if (lease->gone) /* our CREATE has not landed */
		return failed(lease, now, false);
	lease->gone = true;
	return LEASE_EV_GONE;
}

static unsigned seen_other(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	unsigned events = 0;

	explain_refusal(lease);
	if (lease->state == LEASE_HELD) {
		const bool was_wanted = lease->wanted != 0;
		const bool was_removed = lease->removing;

		close_writes(lease, "");
		forget_held(lease, !was_wanted   ? LEASE_FREE
				   : was_removed ? LEASE_LOOK
						 : LEASE_LOST);
		if (!was_removed)
			return was_wanted ? LEASE_EV_LOST : LEASE_EV_LOST | LEASE_EV_RELEASED;
	}

	lease->must_settle = false;
	lease->refused = false;
	lease->failures = 0;
	if (lease->wanted == 0) {
		forget_held(lease, LEASE_FREE);
		return LEASE_EV_RELEASED;
	}
	if (lease->state != LEASE_FOREIGN || strcmp(lease->foreign_etag, answer->etag) != 0) {
		memcpy(lease->foreign_etag, answer->etag, sizeof(lease->foreign_etag));
		events = LEASE_EV_FOREIGN;
	}
	lease->state = LEASE_FOREIGN;
	lease_hold_off(lease, now + jitter(lease, lease->poll_usec, 5));
	lease->poll_usec += lease->poll_usec / 2;
	if (lease->poll_usec > lease->config.poll_max_usec)
		lease->poll_usec = lease->config.poll_max_usec;
	return events;
}

/* Still the version we hold. */
static unsigned seen_held(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	const bool was_gone = lease->gone;
	const unsigned events = was_gone && lease->wanted == lease->owner ? LEASE_EV_HELD : 0;

	lease->gone = false; /* the store only said so */
	if (!lease->must_settle) {
		lease->verified = true; /* this was the look before the release */
		memcpy(lease->etag, answer->etag, sizeof(lease->etag));
		return events;
	}
	if (lease->refused && !was_gone && strcmp(lease->etag, answer->etag) == 0)
		lease->etag_unquoted =
			!lease->etag_unquoted; /* refused with its own ETag: the other form */
	memcpy(lease->etag, answer->etag, sizeof(lease->etag));
	lease->must_settle = false;
	lease->refused = false;
	return events | failed(lease, now, false);
}

static unsigned seen_object(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	/* A page of HTML under a 200 is no reason to give up what we hold. */
	if (answer->id[0] == '\0' &&
	    (lease->state == LEASE_HELD || (lease->must_settle && lease->open_count > 0)))
		return failed(lease, now, false);
	if (answer->nonce[0] == '\0')
		return seen_other(lease, now, answer);
	if (!is_usable_etag(answer->etag))
		return failed(lease, now, false);

	for (unsigned i = 0; i < lease->open_count; i++) {
		if (strcmp(lease->open[i].nonce, answer->nonce) == 0)
			return won(lease, answer->nonce, answer->etag, lease->open[i].owner,
				   lease->open[i].sent_usec);
	}

	if (lease->state != LEASE_HELD || strcmp(lease->nonce, answer->nonce) != 0)
		return seen_other(lease, now, answer);

	return seen_held(lease, now, answer);
}

static unsigned answer_read(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	switch (answer->result) {
	case LEASE_R_DONE: return seen_object(lease, now, answer);
	case LEASE_R_ABSENT: return seen_absent(lease, now);
	case LEASE_R_DENIED:
		/* Without s3:ListBucket an absent key answers 403: only a CREATE can tell. */
		if (lease->state == LEASE_HELD)
			return failed(lease, now, false);
		if (lease->open_count > 0 && lease->must_settle) {
			lease->must_settle = false;
			lease->state = lease->wanted != 0 ? LEASE_LOOK : LEASE_FREE;
			return failed(lease, now, false) |
			       (lease->wanted != 0 ? 0 : LEASE_EV_RELEASED);
		}
		lease->state = lease->wanted != 0 ? LEASE_LOOK : LEASE_FREE;
		return 0;
	case LEASE_R_REFUSED:
	case LEASE_R_CONFLICT:
	case LEASE_R_UNSENT:
	case LEASE_R_UNKNOWN:
	case LEASE_R_THROTTLED: break;
	}
	return failed(lease, now, answer->result == LEASE_R_THROTTLED);
}

static unsigned answer_remove(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	lease->verified = false; /* whatever came back, a next try looks first */
	switch (answer->result) {
	case LEASE_R_DONE:
	case LEASE_R_ABSENT:
		close_writes(lease, "");
		forget_held(lease, lease->wanted != 0 ? LEASE_LOOK : LEASE_FREE);
		return lease->wanted != 0 ? 0 : LEASE_EV_RELEASED;
	case LEASE_R_REFUSED:
		lease->refused = true;
		lease->must_settle = true;
		return 0;
	case LEASE_R_UNSENT: return failed(lease, now, false);
	case LEASE_R_CONFLICT:
	case LEASE_R_DENIED:
	case LEASE_R_UNKNOWN:
	case LEASE_R_THROTTLED: break;
	}
	lease->must_settle = true; /* it may be gone: nothing else before that is known */
	return failed(lease, now, answer->result == LEASE_R_THROTTLED);
}

unsigned lease_answer(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	const enum lease_op op = lease->in_flight;

	lease->in_flight = LEASE_NONE;
	switch (op) {
	case LEASE_READ: return answer_read(lease, now, answer);
	case LEASE_CREATE:
	case LEASE_SWAP: return answer_write(lease, now, answer);
	case LEASE_REMOVE: return answer_remove(lease, now, answer);
	case LEASE_NONE: break;
	}
	assert(!"an answer without a request");
	return 0;
}

const char *lease_state_name(enum lease_state state)
{
	switch (state) {
	case LEASE_FREE: return "free";
	case LEASE_LOOK: return "look";
	case LEASE_FOREIGN: return "foreign";
	case LEASE_HELD: return "held";
	case LEASE_LOST: return "lost";
	case LEASE_STATE_COUNT: break;
	}
	assert(!"not a lease state");
	return "";
}
