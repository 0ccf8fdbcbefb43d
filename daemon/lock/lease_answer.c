/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "daemon/lock/lease_parts.h"

#define RETRY_BASE_USEC    UINT64_C(50000)
#define RETRY_MAX_USEC     UINT64_C(5000000)
#define THROTTLE_BASE_USEC UINT64_C(1000000)
#define THROTTLE_MAX_USEC  UINT64_C(20000000)

/* --- what an answer means ------------------------------------------------------------- */

static unsigned failed(struct lease *lease, uint64_t now, bool is_throttle)
{
	lease->failures++;
	lease_hold_off(lease,
		       now + (is_throttle
				      ? lease_back_off(lease, THROTTLE_BASE_USEC, THROTTLE_MAX_USEC)
				      : lease_back_off(lease, RETRY_BASE_USEC, RETRY_MAX_USEC)));
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

static void forget_foreign(struct lease *lease)
{
	lease->foreign_etag[0] = '\0';
	lease->foreign_since_usec = 0;
	lease->foreign_lease_usec = 0;
	lease->foreign_is_raw = false;
	lease->foreign_is_own = false;
	lease->is_stale = false;
}

/*
 * Raw terraform's removal is without condition, and its SDK repeats it when the answer is lost:
 * what was acquired right after may be removed by that. So the first renewals come early.
 */
static uint64_t next_renewal(struct lease *lease, uint64_t sent)
{
	static const uint64_t early[] = { 20000000, 5000000, 2000000 };
	const uint64_t renew = lease_jitter(lease, lease->config.renew_usec, 10);

	if (lease->brisk == 0)
		return sent + renew;
	lease->brisk--;
	return sent + (early[lease->brisk] < renew ? early[lease->brisk] : renew);
}

/* The write that is remembered as @open, sent at @sent, is the version @etag in the store. */
static unsigned won(struct lease *lease, unsigned open, const char *etag, uint64_t sent,
		    uint64_t now)
{
	const bool was_held = lease->state == LEASE_HELD;
	const uint64_t owner = lease->open[open].owner;
	unsigned events = LEASE_EV_RENEWED;

	lease->deadline_usec = sent + lease->config.lease_usec;
	lease->brisk = was_held ? lease->brisk : lease->foreign_is_raw ? 3 : 0;
	if (!was_held || lease->owner != owner || lease->gone || lease->removing ||
	    lease->is_expired)
		events |= LEASE_EV_HELD;
	if (lease->state == LEASE_FOREIGN)
		events |= lease->foreign_is_own ? LEASE_EV_REGAINED : LEASE_EV_TAKEN;
	if (lease->read_denied && lease->open[open].creates && !lease->removing)
		events |= LEASE_EV_GONE; /* only now is it known */
	lease->seq = was_held ? lease->seq + 1 : 1;
	lease->state = LEASE_HELD;
	lease->owner = owner;
	memcpy(lease->nonce, lease->open[open].nonce, LEASE_NONCE_LEN);
	memcpy(lease->etag, etag, LEASE_ETAG_MAX);
	lease->renew_at_usec = next_renewal(lease, sent);
	lease_close_writes(lease, lease->nonce);
	lease->must_settle = false;
	lease->refused = false;
	lease->verified = false;
	lease->removing = false;
	lease->gone = false;
	lease->failures = 0;
	lease->not_before_usec = 0;
	lease->read_denied = false;
	forget_foreign(lease);
	lease->poll_usec = lease->config.poll_min_usec;
	/* Learnt too late, it gives nothing: others may have waited it out. */
	lease->is_expired = lease->config.takes_over && lease->deadline_usec <= now;
	return lease->is_expired ? events & ~(unsigned)LEASE_EV_HELD : events;
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
	lease->read_denied = false;
	lease->is_expired = false;
}

/* The write under way is known not to have been done; one before it under its nonce may be. */
static void drop_last(struct lease *lease, const struct lease_answer *answer)
{
	lease->open[lease->open_count - 1].is_unknown |= answer->is_repeated;
	if (!lease->open[lease->open_count - 1].is_unknown)
		lease->open_count--;
}

static unsigned answer_denied(struct lease *lease, uint64_t now)
{
	if (lease->state == LEASE_HELD) {
		if (lease->wanted == lease->owner)
			lease->must_settle = true; /* without s3:ListBucket it may mean: gone */
		return failed(lease, now, false) |
		       (lease->wanted != lease->owner ? LEASE_EV_DENIED : 0);
	}
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
		return won(lease, last, answer->etag, lease->sent_usec, now);
	case LEASE_R_DENIED:
		drop_last(lease, answer);
		if (lease->open[last].owner != lease->wanted && lease->state != LEASE_HELD) {
			/* Denied to one who does not want it any more, with his rights. */
			lease->must_settle |= lease->open_count > last;
			return 0;
		}
		return answer_denied(lease, now);
	case LEASE_R_UNSENT: drop_last(lease, answer); return failed(lease, now, false);
	case LEASE_R_CONFLICT:
		drop_last(lease, answer);
		lease->must_settle = true; /* look who it was */
		return failed(lease, now, false);
	case LEASE_R_REFUSED:
	case LEASE_R_ABSENT:
		lease->refused = true;
		lease->must_settle = true; /* it may be our own success, answered twice */
		lease->open[last].is_unknown = true;
		lease->open[last].is_refused = !answer->is_repeated;
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
	const unsigned last = lease->open_count - 1;

	if (lease->refused && lease->open_count > 0 && lease->open[last].is_refused)
		lease->open[last].is_unknown = false;
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
		lease->foreign_lease_usec = 0; /* whether it was raw is still of interest */
		lease->foreign_etag[0] = '\0';
		lease->break_etag[0] = '\0';
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
		lease_close_writes(lease, "");
		forget_held(lease, LEASE_LOOK);
		return 0;
	}
	if (lease->gone) /* our CREATE has not landed */
		return failed(lease, now, false);
	lease->gone = true;
	return LEASE_EV_GONE;
}

/* Another holds it, whom we wait for: is it still the version that was seen? */
static unsigned watch(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	unsigned events = 0;

	if (lease->state != LEASE_FOREIGN || answer->etag[0] == '\0' ||
	    strcmp(lease->foreign_etag, answer->etag) != 0) {
		forget_foreign(lease);
		memcpy(lease->foreign_etag, answer->etag, sizeof(lease->foreign_etag));
		lease->foreign_since_usec = now;
		lease->foreign_is_raw = answer->nonce[0] == '\0';
		lease->foreign_lease_usec = is_usable_etag(answer->etag) && !lease->foreign_is_raw
						    ? answer->lease_usec
						    : 0;
		events = LEASE_EV_FOREIGN;
	}
	lease->state = LEASE_FOREIGN;
	lease->foreign_is_own = answer->is_own && is_usable_etag(answer->etag);
	if (lease->foreign_is_own)
		return 0; /* nobody is waited for */
	if (lease->config.asks && !lease->is_stale && lease_takeover(lease) > 0 &&
	    now >= lease_takeover(lease)) {
		lease->is_stale = true;
		events |= LEASE_EV_STALE;
	}
	return events;
}

/* What was held is another's. Return: the events of it; 0: we had removed it ourselves. */
static unsigned lose(struct lease *lease)
{
	const bool was_wanted = lease->wanted != 0;
	const bool was_removed = lease->removing;

	lease_close_writes(lease, "");
	forget_held(lease, !was_wanted ? LEASE_FREE : was_removed ? LEASE_LOOK : LEASE_LOST);
	if (was_removed)
		return 0;
	return was_wanted ? LEASE_EV_LOST : LEASE_EV_LOST | LEASE_EV_RELEASED;
}

static unsigned seen_other(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	const bool was_refused = lease->refused, was_own = lease->foreign_is_own;
	unsigned events;

	explain_refusal(lease);
	if (was_refused && lease->state == LEASE_FOREIGN &&
	    strcmp(lease->foreign_etag, answer->etag) == 0)
		lease->etag_unquoted = !lease->etag_unquoted; /* as in seen_held() */
	events = lease->state == LEASE_HELD ? lose(lease) : 0;
	if (events)
		return events;
	lease->must_settle = false;
	lease->refused = false;
	lease->failures = answer->is_own && was_own ? lease->failures : 0;
	if (lease->wanted == 0) {
		forget_held(lease, LEASE_FREE);
		return LEASE_EV_RELEASED;
	}
	events = watch(lease, now, answer);
	if (lease->foreign_is_own) /* a store that keeps refusing it is not to be pressed */
		return was_refused && was_own ? failed(lease, now, false) : 0;
	lease->verified = lease->break_etag[0] && strcmp(lease->break_etag, answer->etag) == 0;
	if (lease->verified)
		return events; /* to be removed at once */
	lease->break_etag[0] = '\0';
	lease_hold_off(lease, now + lease_jitter(lease, lease->poll_usec, 5));
	lease->poll_usec += lease->poll_usec / 2;
	if (lease->poll_usec > lease->config.poll_max_usec)
		lease->poll_usec = lease->config.poll_max_usec;
	return events;
}

/* Still the version we hold. */
static unsigned seen_held(struct lease *lease, uint64_t now, const struct lease_answer *answer)
{
	const bool was_gone = lease->gone;
	const unsigned events =
		was_gone && lease->wanted == lease->owner && !lease->removing && !lease->is_expired
			? LEASE_EV_HELD
			: 0;

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
			return won(lease, i, answer->etag, lease->open[i].sent_usec, now);
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
		if (lease->state == LEASE_HELD) {
			lease->gone = lease->read_denied = !lease->gone && lease->failures > 0;
			lease->must_settle &= !lease->gone;
			return failed(lease, now, false);
		}
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
		lease_close_writes(lease, "");
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
	const unsigned expired = lease_tick(lease, now);

	lease->in_flight = LEASE_NONE;
	switch (op) {
	case LEASE_READ: return expired | answer_read(lease, now, answer);
	case LEASE_CREATE:
	case LEASE_SWAP: return expired | answer_write(lease, now, answer);
	case LEASE_REMOVE: return expired | answer_remove(lease, now, answer);
	case LEASE_NONE: break;
	}
	assert(!"an answer without a request");
	return 0;
}
