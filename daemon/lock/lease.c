/* SPDX-License-Identifier: MIT */
#include "daemon/lock/lease_parts.h"

#include <assert.h>
#include <string.h>

/* splitmix64: jitter must differ between daemons, and nothing more. */
static uint64_t next_random(struct lease *lease)
{
	uint64_t z = lease->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t lease_jitter(struct lease *lease, uint64_t usec, uint64_t part)
{
	const uint64_t span = 2 * (usec / part);

	return usec - span / 2 + (span ? next_random(lease) % span : 0);
}

uint64_t lease_back_off(struct lease *lease, uint64_t base, uint64_t max)
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
	lease->break_etag[0] = '\0';
	lease->failures = 0;
	if (owner != 0 && (lease->state == LEASE_FREE || lease->state == LEASE_LOST))
		lease->state = LEASE_LOOK;
	if (owner == 0 && lease->state == LEASE_LOST)
		lease->state = LEASE_FREE;
	if (owner == 0 && lease->state != LEASE_HELD && lease_may_appear(lease))
		lease->must_settle = true; /* it may have landed since it was looked for */
}

bool lease_break(struct lease *lease)
{
	if (lease->state != LEASE_FOREIGN || lease->foreign_etag[0] == '\0')
		return false;
	memcpy(lease->break_etag, lease->foreign_etag, sizeof(lease->break_etag));
	if (lease->failures == 0)
		lease->not_before_usec = 0; /* no poll is waited for */
	return true;
}

void lease_set_takeover(struct lease *lease, bool is_allowed)
{
	lease->config.takes_over = is_allowed;
	if (!is_allowed) {
		lease->is_expired = false;
		lease->renew_at_usec = 0;
	}
}

uint64_t lease_expiry(const struct lease *lease)
{
	return lease->config.takes_over && lease->state == LEASE_HELD && !lease->is_expired
		       ? lease->deadline_usec
		       : UINT64_MAX;
}

uint64_t lease_takeover(const struct lease *lease)
{
	const uint64_t usec = lease->foreign_lease_usec;
	const uint64_t drift = lease->config.drift_percent;

	if (lease->state != LEASE_FOREIGN || usec < LEASE_TAKEN_MIN_USEC ||
	    usec > LEASE_TAKEN_MAX_USEC)
		return 0;
	/* W = L (1 + rho) / (1 - rho) + delta, rounded up: the holder's clock may be as slow, and
	 * ours as fast, as any is. */
	return lease->foreign_since_usec + usec / (100 - drift) * (100 + drift) + 100 + drift +
	       lease->config.quarantine_usec;
}

unsigned lease_tick(struct lease *lease, uint64_t now)
{
	if (now < lease_expiry(lease))
		return 0;
	lease->is_expired = true;
	return LEASE_EV_EXPIRED;
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
	const bool is_seen_gone = lease->gone && !lease->read_denied;

	return lease->state == LEASE_HELD && lease->owner == owner && !is_seen_gone &&
	       !lease->removing && !lease->is_expired;
}

bool lease_is_idle(const struct lease *lease)
{
	return lease->state != LEASE_HELD && lease->in_flight == LEASE_NONE && !lease->must_settle;
}

/* --- what to send --------------------------------------------------------------------- */

static enum lease_op choose_held(const struct lease *lease, uint64_t now, uint64_t *wake)
{
	if (lease->gone) /* our CREATE may have landed: nothing is released unread */
		return lease->wanted == 0 && !lease->read_denied ? LEASE_READ : LEASE_CREATE;
	if (lease->wanted == 0)
		return lease->verified ? LEASE_REMOVE : LEASE_READ;
	if (lease->wanted != lease->owner || lease->removing || now >= lease->renew_at_usec)
		return LEASE_SWAP;
	*wake = lease->renew_at_usec;
	return LEASE_NONE;
}

static enum lease_op choose_foreign(const struct lease *lease, uint64_t now)
{
	const uint64_t takeover = lease_takeover(lease);

	if (lease->wanted == 0)
		return LEASE_NONE;
	if (lease->foreign_is_own)
		return LEASE_SWAP;
	if (lease->break_etag[0])
		return lease->verified ? LEASE_REMOVE : LEASE_READ;
	return lease->config.takes_over && takeover > 0 && now >= takeover ? LEASE_SWAP
									   : LEASE_READ;
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
	case LEASE_FOREIGN: return choose_foreign(lease, now);
	case LEASE_HELD: return choose_held(lease, now, wake);
	case LEASE_STATE_COUNT: break;
	}
	assert(!"not a lease state");
	return LEASE_NONE;
}

/*
 * Remember a write before it is sent. Full: a SWAP goes under the nonce of the one before, which
 * has the same condition, so that one of the two can land at most; of CREATEs the oldest goes,
 * and landing late it would count as another's.
 */
static void open_write(struct lease *lease, struct lease_request *request, uint64_t now)
{
	const bool creates = request->op == LEASE_CREATE || request->is_takeover;
	unsigned last = lease->open_count - 1;

	if (lease->open_count >= LEASE_OPEN_KEPT && !creates && !lease->open[last].creates &&
	    lease->open[last].owner == request->owner) {
		memcpy(request->nonce, lease->open[last].nonce, LEASE_NONCE_LEN);
		return;
	}
	if (lease->open_count == LEASE_OPEN_MAX) {
		memmove(&lease->open[0], &lease->open[1],
			(LEASE_OPEN_MAX - 1) * sizeof(lease->open[0]));
		lease->open_count--;
	}
	last = lease->open_count++;
	memcpy(lease->open[last].nonce, request->nonce, LEASE_NONCE_LEN);
	lease->open[last].owner = request->owner;
	lease->open[last].creates = creates;
	lease->open[last].is_unknown = false;
	lease->open[last].is_refused = false;
	lease->open[last].sent_usec = now;
}

void lease_close_writes(struct lease *lease, const char *nonce)
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

	ret->is_takeover = ret->op == LEASE_SWAP && lease->state == LEASE_FOREIGN;
	if (ret->op == LEASE_SWAP || ret->op == LEASE_REMOVE)
		memcpy(ret->etag, lease->state == LEASE_FOREIGN ? lease->foreign_etag : lease->etag,
		       sizeof(ret->etag));
	if (ret->op == LEASE_CREATE || ret->op == LEASE_SWAP) {
		memcpy(ret->nonce, nonce, LEASE_NONCE_LEN);
		ret->owner = lease->wanted ? lease->wanted : lease->owner;
		ret->seq = lease->state == LEASE_HELD ? lease->seq + 1 : 1;
		ret->is_handover =
			ret->op == LEASE_SWAP && !ret->is_takeover && lease->wanted != lease->owner;
		open_write(lease, ret, now);
	}
	if (ret->op == LEASE_REMOVE && lease->state == LEASE_HELD)
		lease->removing = true;
	if (ret->op == LEASE_REMOVE)
		lease->break_etag[0] = '\0';
	lease->in_flight = ret->op;
	lease->sent_usec = now;
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
