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
 *    │                  absent                      → not held: LOOK; held: gone, CREATE again
 *    ├─ by order: READ, compare, REMOVE on condition ──► LOOK
 *    ├─ our own of before a restart: SWAP on exactly that version (regain) ──► HELD
 *    └─ a tfqd's lease, seen unchanged for as long as takes its holder to be dead:
 *       SWAP on exactly that version (take over) ──► HELD
 *
 *   nothing wanted: HELD ── READ, compare ── REMOVE on condition ──► FREE
 *
 * A lease that runs out (HELD, now >= deadline) is expired: whoever ran under it has been killed
 * by his runner before, others may take it. What is in the store may still be our version, and
 * is renewed, handed over or removed on condition as before; it counts as held again when a
 * write is confirmed in time.
 *
 * Rules that must not be broken:
 *  - a deadline counts from before the sending of the last write that is known to have won;
 *  - an unknown outcome never moves it;
 *  - what is not ours by nonce is never written over and never removed;
 *  - a refusal may be our own success come back twice: read before believing it;
 *  - only what a tfqd wrote with a lease is taken over, only after it was watched from the
 *    receipt of the first answer that showed it, unchanged, for longer than the lease lasts on
 *    any clock (aws.md 7.3), and only by a condition on exactly that version;
 *  - our own of before a restart is regained at once, by a condition on exactly the version read:
 *    who wrote it is dead, and what he had sent may land before, but then the condition fails;
 *  - a CREATE without an answer may land whenever there is no object: its nonce is kept;
 *  - once a REMOVE is sent nobody holds the lock until another write is confirmed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEASE_NONCE_LEN 33 /* 32 hex digits and a NUL */
#define LEASE_ETAG_MAX  128
#define LEASE_ID_MAX    256
#define LEASE_OPEN_MAX  12 /* own writes without an answer that are remembered; ... */
#define LEASE_OPEN_KEPT 8  /* ... renewals leave the rest to hand-overs */

/* A lease that says anything else is never taken over (aws.md 7.2). */
#define LEASE_TAKEN_MIN_USEC UINT64_C(10000000)
#define LEASE_TAKEN_MAX_USEC UINT64_C(86400000000)

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
	bool is_takeover;   /* SWAP: of another's lease that has run out */
	bool etag_unquoted; /* the store refused its own ETag in quotes: try without */
	uint64_t wake_usec; /* NONE: ask again then; UINT64_MAX, as with all others: only after a
			       call */
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
	bool is_repeated; /* the request went out more than once: CONFLICT, DENIED and UNSENT tell
			     of the last time alone */
	char etag[LEASE_ETAG_MAX];   /* READ, CREATE, SWAP done: the version; "" if the store gave
					none */
	char nonce[LEASE_NONCE_LEN]; /* READ done: ours or another tfqd's; "" for any other lock */
	char id[LEASE_ID_MAX];       /* READ done: the lock's ID, "" if unreadable */
	uint64_t lease_usec; /* READ done: what another tfqd's lock says; 0: not to be taken over */
	bool is_own; /* READ done: by its ID it was written by us before we were restarted, and
			nobody runs under it but who wants it now */
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
	LEASE_EV_EXPIRED = 1 << 9, /* the deadline has passed without a renewal */
	LEASE_EV_STALE = 1 << 10,  /* the foreign lease has run out, and is not to be taken over */
	LEASE_EV_TAKEN = 1 << 11,  /* with HELD: it was taken over */
	LEASE_EV_REGAINED = 1 << 12, /* with HELD: it was ours before a restart */
};

struct lease_config {
	uint64_t lease_usec; /* what a confirmed write buys; also the deadline's distance */
	uint64_t renew_usec;
	uint64_t poll_min_usec, poll_max_usec;
	unsigned acquire_tries;   /* failures in a row before LEASE_EV_FAILED */
	bool takes_over;          /* others' leases that have run out; and ours may be taken */
	bool asks;                /* or tells that somebody could */
	uint64_t drift_percent;   /* how wrong a clock may run */
	uint64_t quarantine_usec; /* how long a dead holder's last request may still be under way */
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
	bool is_expired;
	unsigned brisk; /* renewals that come early, because a raw terraform may repeat its removal
			 */

	/* own writes whose outcome is open */
	struct {
		char nonce[LEASE_NONCE_LEN];
		uint64_t owner, sent_usec;
		bool creates;    /* may land although we hold nothing */
		bool is_unknown; /* no answer told what became of it */
		bool is_refused; /* sent once, and refused: a look tells that it has not landed */
	} open[LEASE_OPEN_MAX];
	unsigned open_count;
	bool must_settle; /* READ before anything else is sent */
	bool refused;     /* ... because the store refused the condition */
	bool verified;    /* to be removed: the last READ showed that very version */
	bool removing;    /* a REMOVE was sent: not held by anybody until a write is confirmed */
	bool gone;        /* held, but the store has nothing: CREATE */
	bool read_denied; /* ... or does not say: only a CREATE can tell */
	bool etag_unquoted;

	/* the request under way */
	enum lease_op in_flight;
	uint64_t sent_usec;

	/* waiting */
	char foreign_etag[LEASE_ETAG_MAX]; /* the version seen, */
	uint64_t foreign_since_usec;       /* first in the answer received then, */
	uint64_t foreign_lease_usec;       /* with this lease; 0: none */
	bool foreign_is_raw;               /* no tfqd wrote it */
	bool foreign_is_own;               /* lease_answer::is_own */
	bool is_stale;                     /* told so */
	char break_etag[LEASE_ETAG_MAX];   /* the version that somebody has ordered to be removed */
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

/*
 * Has time alone changed anything? To be called before lease_next(), and when
 * lease_request.wake_usec is over. Return: a set of enum lease_event.
 */
unsigned lease_tick(struct lease *lease, uint64_t now);

/* When a held lease expires, if that is still to be told; UINT64_MAX: never. */
uint64_t lease_expiry(const struct lease *lease);

/*
 * When the foreign lock that was seen may be taken over: after this it has been watched for long
 * enough. 0: never, because it is no tfqd's, or has no lease, or nothing foreign was seen.
 */
uint64_t lease_takeover(const struct lease *lease);

/* Change lease_config.takes_over. What is held is written again at once if it is not allowed. */
void lease_set_takeover(struct lease *lease, bool is_allowed);

/*
 * Remove the foreign lock that was seen last, if a look shows that it is still that version, and on
 * condition that it is: by the order of somebody who knows that its holder is dead. One try, given
 * up by lease_want(). Return: false if none was seen.
 */
bool lease_break(struct lease *lease);

/* What came back for the request under way. Return: a set of enum lease_event. */
unsigned lease_answer(struct lease *lease, uint64_t now, const struct lease_answer *answer);

/* Is there a CREATE, or a takeover, of which nobody knows what became? It may land as long as its
 * signature is good. */
bool lease_may_appear(const struct lease *lease);

/* Look once more what became of it. */
void lease_look_again(struct lease *lease);

/* It was looked for long enough. */
void lease_forget_open(struct lease *lease);

/* Does @owner hold the lock, as far as is known? True from the confirmed write until it is seen to
 * be gone, or is to be removed, or expires. */
bool lease_is_held_by(const struct lease *lease, uint64_t owner);

/* Is nothing of ours in the store and nothing under way? */
bool lease_is_idle(const struct lease *lease);

const char *lease_state_name(enum lease_state state);
