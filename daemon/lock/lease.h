/* SPDX-License-Identifier: MIT */
/*
 * The lease machine: what to ask of a lock's store next, and what an answer means.
 * Pure: the clock (CLOCK_BOOTTIME, microseconds) and the nonces are arguments. One
 * machine drives one lock; both stores use it.
 *
 * It is told what is wanted (lease_want), asked what to send (lease_next), and told
 * what came back (lease_answer). At most one request is under way at a time.
 *
 *           absent                          won
 *   LOOK ──────────► CREATE ─────────────────────────► HELD ──SWAP (renew, hand over)──► HELD
 *    │  ▲               │ refused, conflict, unknown     │ refused, conflict, unknown
 *    │  │ absent        ▼                                ▼
 *    │  └─────────── SETTLE: READ, compare nonces ◄──────┘
 *    ▼                  a nonce of ours, unanswered → won, counted from that write's sending
 *   FOREIGN             the nonce held              → not landed: the same SWAP again
 *    polls              another's                   → not held: FOREIGN; held: LOST
 *                       absent                      → not held: LOOK; held: gone, CREATE again
 *
 *   nothing wanted: HELD ── READ, compare ── REMOVE on condition ──► FREE
 *
 * Rules that must not be broken:
 *  - a deadline counts from before the sending of the last write that is known to have won;
 *  - an unknown outcome never moves it;
 *  - what is not ours by nonce is never written over and never removed;
 *  - a refusal may be our own success come back twice: read before believing it;
 *  - a CREATE without an answer may land whenever there is no object: its nonce is kept;
 *  - once a REMOVE is sent nobody holds the lock until another write is confirmed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEASE_NONCE_LEN 33 /* 32 hex digits and a NUL */
#define LEASE_ETAG_MAX  128
#define LEASE_ID_MAX    256
#define LEASE_OPEN_MAX  8 /* own writes without an answer that are remembered */

enum lease_state {
	LEASE_FREE,    /* nothing held, nothing wanted */
	LEASE_LOOK,    /* wanted; try to create it */
	LEASE_FOREIGN, /* wanted; somebody else holds it: poll */
	LEASE_HELD,
	LEASE_LOST, /* was held, another's now: over until lease_want() */
	LEASE_STATE_COUNT,
};

enum lease_op {
	LEASE_NONE,
	LEASE_READ,
	LEASE_CREATE, /* if absent */
	LEASE_SWAP,   /* if it is still version lease_request.etag */
	LEASE_REMOVE, /* if it is still version lease_request.etag */
};

struct lease_request {
	enum lease_op op;
	char etag[LEASE_ETAG_MAX];   /* SWAP, REMOVE: the version that must be there */
	char nonce[LEASE_NONCE_LEN]; /* CREATE, SWAP: to be written */
	uint64_t owner;              /* CREATE, SWAP: the job to be written */
	uint64_t seq;       /* CREATE, SWAP: number of this write since the lock was acquired */
	bool is_handover;   /* SWAP: to another job */
	bool etag_unquoted; /* the store refused its own ETag in quotes: try without */
	uint64_t wake_usec; /* NONE: ask again then; UINT64_MAX: only after a call */
};

enum lease_result {
	LEASE_R_DONE,     /* READ: found; CREATE, SWAP: written; REMOVE: removed */
	LEASE_R_ABSENT,   /* there is no such object */
	LEASE_R_REFUSED,  /* the condition did not hold */
	LEASE_R_CONFLICT, /* somebody else was at it; this try has not written */
	LEASE_R_DENIED,   /* not allowed, or the request is wrong for good; this try has not written
			   */
	LEASE_R_UNSENT,   /* never left us: nobody to connect to */
	LEASE_R_UNKNOWN,  /* no answer, or none that tells whether it was done */
	LEASE_R_THROTTLED, /* as unknown, and the store wants to be left alone for a while */
};

struct lease_answer {
	enum lease_result result;
	char etag[LEASE_ETAG_MAX];   /* READ, CREATE, SWAP done: the version; "" if the store gave
					none */
	char nonce[LEASE_NONCE_LEN]; /* READ done: ours or another tfqd's; "" for any other lock */
	char id[LEASE_ID_MAX];       /* READ done: the lock's ID, "" if unreadable */
	uint64_t lease_usec;         /* READ done: another's lease; 0: not to be taken over */
};

/* What happened, as a set. */
enum lease_event {
	LEASE_EV_HELD = 1 << 0,     /* the wanted owner is now written in the lock */
	LEASE_EV_FOREIGN = 1 << 1,  /* another holder, or another version of it, was seen */
	LEASE_EV_RELEASED = 1 << 2, /* nothing of ours is in the store any more */
	LEASE_EV_LOST = 1 << 3,     /* replaced by somebody while it was held */
	LEASE_EV_GONE = 1 << 4,     /* removed by somebody while it was held; being taken again */
	LEASE_EV_FAILED = 1 << 5,   /* cannot be acquired: denied, or the store does not answer */
	LEASE_EV_TROUBLE =
		1 << 6, /* a request failed; it is tried again, unless FAILED comes with it */
	LEASE_EV_RENEWED = 1 << 7, /* the deadline has moved */
	LEASE_EV_DENIED = 1 << 8,  /* a hand-over was not allowed; the former owner's lock stands */
};

struct lease_config {
	uint64_t lease_usec; /* what a confirmed write buys; also the deadline's distance */
	uint64_t renew_usec;
	uint64_t poll_min_usec, poll_max_usec;
	unsigned acquire_tries; /* failures in a row before LEASE_EV_FAILED */
};

struct lease {
	struct lease_config config;
	enum lease_state state;
	uint64_t wanted; /* job that is to own the lock; 0: nobody */

	/* what we hold */
	uint64_t owner;
	uint64_t seq;
	char etag[LEASE_ETAG_MAX];
	char nonce[LEASE_NONCE_LEN];
	uint64_t deadline_usec;
	uint64_t renew_at_usec;

	/* own writes whose outcome is open */
	struct {
		char nonce[LEASE_NONCE_LEN];
		uint64_t owner, sent_usec;
		bool creates;    /* may land at any time at which there is no object */
		bool is_unknown; /* no answer told what became of it */
	} open[LEASE_OPEN_MAX];
	unsigned open_count;
	bool must_settle; /* READ before anything else is sent */
	bool refused;     /* ... because the store refused the condition */
	bool verified;    /* releasing: the last READ showed our own version */
	bool removing;    /* a REMOVE was sent: not held by anybody until a write is confirmed */
	bool gone;        /* held, but the store has nothing: CREATE */
	bool etag_unquoted;

	/* the request under way */
	enum lease_op in_flight;
	uint64_t sent_usec;

	/* waiting */
	char foreign_etag[LEASE_ETAG_MAX];
	uint64_t not_before_usec;
	uint64_t poll_usec;
	unsigned failures; /* in a row */
	uint64_t random;   /* state of the jitter */
};

/* @seed: any number, for the jitter. */
void lease_init(struct lease *lease, const struct lease_config *config, uint64_t seed);

/*
 * Job @owner is to hold the lock; 0: release it. May be called at any time. A
 * lock that is held changes hands without being let go.
 */
void lease_want(struct lease *lease, uint64_t owner);

/* Keep the lock free, or away from us, until @usec. */
void lease_hold_off(struct lease *lease, uint64_t usec);

/*
 * What to send now. The request counts as sent when this returns: @now must have
 * been read just before. @nonce: 32 fresh random hex digits, used if it writes.
 */
void lease_next(struct lease *lease, uint64_t now, const char nonce[static LEASE_NONCE_LEN],
		struct lease_request *ret);

/* What came back for the request under way. Return: a set of enum lease_event. */
unsigned lease_answer(struct lease *lease, uint64_t now, const struct lease_answer *answer);

/* Is there a CREATE of which nobody knows what became? It may land as long as its signature is
 * good. */
bool lease_may_appear(const struct lease *lease);

/* Look once more what became of it. */
void lease_look_again(struct lease *lease);

/* It was looked for long enough. */
void lease_forget_open(struct lease *lease);

/* Does @owner hold the lock, as far as is known? True from the confirmed write until it is seen to
 * be gone, or is to be removed. */
bool lease_is_held_by(const struct lease *lease, uint64_t owner);

/* Is nothing of ours in the store and nothing under way? */
bool lease_is_idle(const struct lease *lease);

const char *lease_state_name(enum lease_state state);
