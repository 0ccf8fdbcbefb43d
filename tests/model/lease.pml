/* SPDX-License-Identifier: MIT */
/*
 * The lease protocol of daemon/lock/lease.c on a store with conditions: an S3
 * object (If-None-Match, If-Match) or a DynamoDB item. README.md says which C
 * function is which step, what is checked, and what breaks in which mutant (-DM_...).
 *
 * Requests and answers are delayed or lost; a request that its sender gave up on
 * may be executed later (a ghost); daemons crash and start again at any moment.
 * Time has no bound: every time is an age that stops counting where more makes no
 * difference. Of versions only equality matters, so they are renamed after every
 * step, and what cannot matter any more is forgotten.
 *
 * Machine i drives one lock, for daemon DAEMON(i).
 */
#ifndef H
#define H 2 /* a lease: its child is dead by H after the SENDING of the last write known won */
#endif
#ifndef T
#define T 3 /* the wait before a take, from the RECEIPT of the first answer that showed it */
#endif
#define K 1 /* what it takes to kill a child */

#ifdef BOTH
/* Daemon 0 uses both stores. Daemon 1 uses one of them: harder than if it used both, too, for
 * then nothing would happen that either store alone does not prevent. */
#define MACHINES  3
#define STORES    2
#define DAEMON(i) ((i) & 1)
#define STORE(i)  (i == 1 -> other : i >> 1) /* 0: S3, 1: DynamoDB */
#else
#define MACHINES  2
#define STORES    1
#define DAEMON(i) (i)
#define STORE(i)  0
#endif

#define NONE   0
#define READ   1
#define CREATE 2 /* if absent */
#define SWAP   3 /* if it is still that version */
#define REMOVE 4 /* if it is still that version */

#define UNDER_WAY 0
#define DONE      1
#define REFUSED   2

/* Every place that names a version; 0: none. */
#define NAMES (STORES + 6 * MACHINES)
byte name[NAMES];
#define IN(i)    name[STORE(i)]           /* the version in the store of machine i */
#define VER(i)   name[STORES + 6 * i]     /* HELD: ours */
#define SEEN(i)  name[STORES + 6 * i + 1] /* FOREIGN: the one that is watched */
#define OPEN(i)  name[STORES + 6 * i + 2] /* an open write (LEASE_OPEN_MAX is 1) */
#define FOUND(i) name[STORES + 6 * i + 3] /* what a READ found */
#define GCON(i)  name[STORES + 6 * i + 4] /* the ghost's condition */
#define GNEW(i)  name[STORES + 6 * i + 5] /* the version that the ghost writes */
#define FRESH    (NAMES + 1)              /* a new version, until it is renamed */

byte child[2];           /* bit 0: of the lock's owner; bit 1: of the next job */
bool held[MACHINES];     /* HELD */
bool settle[MACHINES];   /* READ before anything else is sent */
bool gone[MACHINES];     /* HELD, but the store has nothing */
bool removing[MACHINES]; /* HELD, but a REMOVE was sent */
byte left[MACHINES];     /* until the deadline; HELD and 0: expired */
byte seenage[MACHINES];  /* of SEEN since its receipt */
byte openage[MACHINES];  /* of OPEN since its first sending */
byte op[MACHINES];       /* the request under way */
byte sentage[MACHINES];  /* ... if it writes: since it was sent */
byte result[MACHINES];   /* ... and what the store made of it */
byte ghost[MACHINES];    /* a request that was given up */
#ifdef BOTH
bool other; /* the store that daemon 1 uses */
#else
bool next[2];  /* HELD: another job is to own it */
bool hands[2]; /* the open write hands over to that job */
#endif
#ifdef RESTART
bool writer; /* which daemon's job wrote the version in the store: the lock's ID tells */
bool answriter[2], seenwriter[2];
#endif
#ifdef M_OBSSEND
byte readage[2];
#endif
#ifdef HEAL
byte steps;
#endif
hidden byte map[NAMES + 2], j, n, made, condition;

#define HAS_CHILD(i) (child[DAEMON(i)] != 0)
#ifdef RESTART /* the daemon was started again; its child is still there, or not */
#define IS_OVER(i)   (!held[i])
#else
#define IS_OVER(i)   (!held[i] && !HAS_CHILD(i)) /* or it is LOST, and waits for its child's end */
#endif
#define LOOK(i)      (IS_OVER(i) && SEEN(i) == 0) /* and FREE, which waits */
#define FOREIGN(i)   (IS_OVER(i) && SEEN(i) != 0)
#define HOLDS(i)     (held[i] && !gone[i] && !removing[i])
#define IDLE(i)      (op[i] == NONE && !settle[i])
#define WRITES(i)    (op[i] == CREATE || op[i] == SWAP)
#if defined(RESTART) && !defined(M_NOREGAIN)
#define IS_OWN(i)    (SEEN(i) != 0 && seenwriter[i] == i) /* foreign_is_own */
#else
#define IS_OWN(i)    false
#endif
#ifdef M_REGAINBLIND
#define FOUND_AS(i)  (IS_OWN(i) -> IN(i) : SEEN(i))
#else
#define FOUND_AS(i)  SEEN(i)
#endif
#define CONDITION(i) (op[i] == CREATE -> 0 : (held[i] -> VER(i) : FOUND_AS(i)))
#define OLDER(v, c)  v = (v < c -> v + 1 : c)

/* --- the store -------------------------------------------------------------------------- */

#ifdef M_BLINDPUT
#define SWAPS(i) true
#elif defined(M_GHOSTPUT) /* as old MinIO does */
#define SWAPS(i) (IN(i) == condition || IN(i) == 0)
#else
#define SWAPS(i) (condition != 0 && IN(i) == condition)
#endif
#ifdef M_BLINDDEL
#define REMOVES(i) true
#else
#define REMOVES(i) (condition != 0 && IN(i) == condition)
#endif
#ifdef RESTART
#define SIGN(i)         writer = i
#define UNSIGN_STORE    writer = 0
#define SIGN_READ(i)    answriter[i] = (IN(i) != 0 -> writer : 0)
#define SIGN_SEEN(i)    seenwriter[i] = answriter[i]
#define UNSIGN_FOUND(i) answriter[i] = 0
#define UNSIGN(i)       seenwriter[i] = 0
#else
#define SIGN(i)         skip
#define UNSIGN_STORE    skip
#define SIGN_READ(i)    skip
#define SIGN_SEEN(i)    skip
#define UNSIGN_FOUND(i) skip
#define UNSIGN(i)       skip
#endif

/* @what, under the condition in that variable, is to write @new. */
inline execute(i, what, new)
{
	made = REFUSED;
	if
	:: what == CREATE && IN(i) == 0 -> IN(i) = new; SIGN(i); made = DONE
	:: what == SWAP && SWAPS(i) -> IN(i) = new; SIGN(i); made = DONE
	:: what == REMOVE && REMOVES(i) -> IN(i) = 0; UNSIGN_STORE; made = DONE
	:: else
	fi;
	condition = 0
}

/* --- what is forgotten -------------------------------------------------------------------- */

inline end_request(i)
{
	op[i] = NONE; result[i] = UNDER_WAY; sentage[i] = 0; FOUND(i) = 0; UNSIGN_FOUND(i)
#ifdef M_OBSSEND
	; readage[i] = 0
#endif
}

inline forget_foreign(i)
{
	SEEN(i) = 0; seenage[i] = 0; UNSIGN(i)
}

inline forget_open(i)
{
	OPEN(i) = 0; openage[i] = 0
#ifndef BOTH
	; hands[i] = 0
#endif
}

/* A child that is alive is told to end; at the latest its deadline, which stands, ends it. */
inline forget_held(i)
{
	held[i] = 0; settle[i] = 0; gone[i] = 0; removing[i] = 0; VER(i) = 0;
	left[i] = (HAS_CHILD(i) -> left[i] : 0)
#ifndef BOTH
	; next[i] = 0; child[i] = (child[i] == 2 -> 1 : child[i])
#endif
}

inline lay(i)
{
	ghost[i] = NONE; GCON(i) = 0; GNEW(i) = 0
}

/* May version @v still come into the store? */
#if defined(M_BLINDPUT) || defined(M_BLINDDEL) || defined(M_GHOSTPUT)
#define LANDS(v) true
#elif defined(BOTH)
#define LANDS(v) (MAKES(0, v) || MAKES(1, v) || MAKES(2, v))
#else
#define LANDS(v) (MAKES(0, v) || MAKES(1, v))
#endif
#define MAKES(i, v) (v == GNEW(i) || v == OPEN(i) && WRITES(i) && result[i] == UNDER_WAY)

/* An open write that is neither in the store nor under way is of no consequence, nor is a
 * ghost whose condition will not be met again. */
inline forget_dead(i)
{
	if
	:: OPEN(i) != 0 && OPEN(i) != IN(i) && OPEN(i) != GNEW(i) && OPEN(i) != FOUND(i) &&
	   !WRITES(i) -> forget_open(i)
	:: else
	fi;
	if
	:: ghost[i] != NONE && GCON(i) != 0 && GCON(i) != IN(i) && !LANDS(GCON(i)) -> lay(i)
	:: else
	fi
}

/* --- what is sent: lease_next() ----------------------------------------------------------- */

#ifdef BOTH
#define IS_AGAIN(i) true
#define HANDS(i)    skip
#else
#define IS_AGAIN(i) (hands[i] == next[i])
#define HANDS(i)    hands[i] = held[i] && next[i]
#endif
#ifdef M_ABA /* a renewal that writes the same bytes: the ETag stays */
#define NEW(i, what) (what == SWAP && held[i] -> VER(i) : FRESH)
#else
#define NEW(i, what) FRESH
#endif
#ifdef M_REGAINTOLD /* the runner hears of the deadline before the write is confirmed */
#define TELLS(i) left[i] = (op[i] == SWAP && !held[i] && HAS_CHILD(i) && IS_OWN(i) -> H : left[i])
#else
#define TELLS(i) skip
#endif

inline send(i, what)
{
	op[i] = what;
	if
	:: what == REMOVE -> removing[i] = 1
	:: what == SWAP && held[i] && OPEN(i) != 0 && IS_AGAIN(i) /* open_write(): full */
	:: (what == CREATE || what == SWAP) &&
	   !(what == SWAP && held[i] && OPEN(i) != 0 && IS_AGAIN(i)) ->
		OPEN(i) = NEW(i, what); openage[i] = 0; HANDS(i); TELLS(i)
	:: else
	fi
}

/* --- what an answer means: lease_answer() --------------------------------------------------- */

#ifdef M_RESPTIME
#define LEFT(since) H
#else
#define LEFT(since) (since < H -> H - since : 0)
#endif
#ifdef M_OBSSEND
#define AGE_AT_RECEIPT(i) readage[i]
#else
#define AGE_AT_RECEIPT(i) 0
#endif
#ifdef M_TAKEOTHER
#define WATCH_ANEW(i) seenage[i] = (SEEN(i) == 0 -> AGE_AT_RECEIPT(i) : seenage[i])
#else
#define WATCH_ANEW(i) seenage[i] = AGE_AT_RECEIPT(i)
#endif
#ifdef M_REGAINLIVE /* the regain was for another job, which is started now */
#define REGAINED(i) child[i] = (!held[i] && HAS_CHILD(i) -> 3 : child[i])
#else
#define REGAINED(i) skip
#endif
#ifdef M_REGAINFRESH /* as if what the dead daemon wrote had been written now */
#define FOUND_OWN(i) left[i] = (HAS_CHILD(i) && IS_OWN(i) -> H : left[i])
#else
#define FOUND_OWN(i) skip
#endif

inline won(i, since)
{
	REGAINED(i);
	held[i] = 1; settle[i] = 0; gone[i] = 0; removing[i] = 0;
	VER(i) = OPEN(i);
	left[i] = LEFT(since);
#ifndef BOTH
	if
	:: hands[i] -> next[i] = 0; child[i] = (child[i] == 2 -> 1 : child[i])
	:: else
	fi;
#endif
	forget_open(i);
	forget_foreign(i)
}

inline seen_absent(i)
{
	if
	:: held[i] && removing[i] -> forget_held(i)
	:: held[i] && !removing[i] -> gone[i] = 1
	:: else -> forget_foreign(i)
	fi;
	settle[i] = 0
}

inline seen_held(i)
{
	settle[i] = 0; gone[i] = 0 /* that write has not landed yet; it is not forgotten */
}

inline seen_other(i)
{
	if
	:: held[i] -> forget_held(i)
#ifdef M_FORGETSEEN
	:: !held[i] && settle[i] -> forget_foreign(i)
	:: !held[i] && !settle[i] && SEEN(i) != FOUND(i) ->
#else
	:: !held[i] && SEEN(i) != FOUND(i) ->
#endif
		WATCH_ANEW(i); SEEN(i) = FOUND(i); SIGN_SEEN(i)
	:: else
	fi;
	FOUND_OWN(i);
	settle[i] = 0
}

inline answer_read(i)
{
	if
	:: FOUND(i) == 0 -> seen_absent(i)
	:: FOUND(i) != 0 && FOUND(i) == OPEN(i) -> won(i, openage[i])
	:: FOUND(i) != 0 && FOUND(i) != OPEN(i) ->
		if
		:: held[i] && FOUND(i) == VER(i) -> seen_held(i)
		:: else -> seen_other(i)
		fi
	fi;
	end_request(i)
}

/* answer_write(), answer_remove(). A refusal may be our own success come back twice: look. */
inline answer_write(i)
{
	if
	:: result[i] == DONE && op[i] == REMOVE -> forget_held(i)
	:: result[i] == DONE && op[i] != REMOVE -> won(i, sentage[i])
	:: else -> settle[i] = 1
	fi;
	end_request(i)
}

/* No answer. The deadline stands. */
inline unknown(i)
{
#ifdef M_EXTEND
	left[i] = (WRITES(i) && held[i] -> LEFT(sentage[i]) : left[i]);
#endif
	settle[i] = settle[i] || op[i] != READ;
	end_request(i)
}

/* --- daemons, their runners, time ------------------------------------------------------------ */

/* The sender gives up, or is gone: what it sent is under way nevertheless. */
inline haunt(i)
{
	if
	:: op[i] > READ && result[i] == UNDER_WAY ->
		ghost[i] = op[i]; GCON(i) = CONDITION(i); GNEW(i) = (WRITES(i) -> OPEN(i) : 0)
	:: else
	fi
}
#define CAN_HAUNT(i) (op[i] == NONE || result[i] != UNDER_WAY || ghost[i] == NONE)

#ifdef RESTART /* the runner goes on, and knows the deadline */
#define RUNNER_CRASHES(d) skip
#elif defined(M_NOKILL) /* the child goes on without its runner */
#define RUNNER_CRASHES(d) left[d] = 0
#else
#define RUNNER_CRASHES(d) child[d] = 0
#endif

inline crash(i)
{
	haunt(i);
	end_request(i);
	forget_open(i);
	forget_foreign(i);
	forget_held(i)
}

inline grow_older(i)
{
	left[i] = (left[i] > 0 -> left[i] - 1 : 0);
	if
	:: SEEN(i) != 0 -> OLDER(seenage[i], T)
	:: else
	fi;
	if
	:: OPEN(i) != 0 -> OLDER(openage[i], H)
	:: else
	fi;
	if
	:: WRITES(i) -> OLDER(sentage[i], H)
	:: else
	fi
#ifdef M_OBSSEND
	;
	if
	:: op[i] == READ -> OLDER(readage[i], T)
	:: else
	fi
#endif
}

/* A child that was started too late lives on for as long as it takes to kill it. */
inline start(d, who)
{
	child[d] = child[d] | who;
	left[d] = (left[d] < K -> K : left[d])
}

inline end_child(d)
{
	child[d] = 0;
	left[d] = (held[d] -> left[d] : 0)
#ifdef BOTH
	; left[2] = (d == 1 || held[2] -> left[2] : 0)
#endif
}

#ifdef BOTH
#ifdef M_LATER
#define PAST_DEADLINE(d) (left[d] == 0 && (d == 1 || left[2] == 0))
#else
#define PAST_DEADLINE(d) (left[d] == 0 || d == 0 && left[2] == 0)
#endif
#define IN_TIME(i) (HOLDS(i) && left[i] >= K)
#ifdef M_ONEHELD
#define MAY_START(d) (IN_TIME(d) || d == 0 && IN_TIME(2))
#else
#define MAY_START(d) (IN_TIME(d) && (d == 1 || IN_TIME(2)))
#endif
#define MAY_ACQUIRE(i) (i != 2 || HOLDS(0)) /* S3 first */
#define HANDS_OVER(i)  false
#else
#define PAST_DEADLINE(d) (left[d] == 0)
#ifdef M_RESURRECT
#define MAY_START(d) (HOLDS(d) && !next[d])
#else
#define MAY_START(d) (HOLDS(d) && !next[d] && left[d] >= K)
#endif
#define MAY_ACQUIRE(i) true
#define HANDS_OVER(i)  next[i]
#endif

#if defined(M_NOKILL) || defined(M_PAUSE)
#define ALL_KILLED true
#else
#define ALL_KILLED (!(child[0] && PAST_DEADLINE(0)) && !(child[1] && PAST_DEADLINE(1)))
#endif
/* What our own jobs held before a restart is regained at once: none of them runs, or the one that
 * does is who wants it. */
#define MAY_TAKE(i) (seenage[i] >= T || IS_OWN(i))
#ifdef M_TWOCHILDREN
#define OLD_IS_DEAD(d) true
#else
#define OLD_IS_DEAD(d) (child[d] == 0)
#endif
#ifdef M_EARLY
#define HAS_ENOUGH(d) true
#else
#define HAS_ENOUGH(d) (left[d] >= K)
#endif

/* --- the steps --------------------------------------------------------------------------------- */

inline rename()
{
	n = 0; j = 0;
	do
	:: j < NAMES + 2 -> map[j] = 0; j++
	:: else -> break
	od;
	j = 0;
	do
	:: j < NAMES && name[j] == 0 -> j++
	:: j < NAMES && name[j] != 0 ->
		if
		:: map[name[j]] == 0 -> n++; map[name[j]] = n
		:: else
		fi;
		name[j] = map[name[j]]; j++
	:: else -> break
	od;
	j = 0; n = 0; made = 0
}

inline tidy()
{
	forget_dead(0); forget_dead(1);
#ifdef BOTH
	forget_dead(2);
#endif
	rename();
	assert(!(child[0] && child[1]));       /* never two daemons' children at once, */
	assert(child[0] != 3 && child[1] != 3) /* nor two of one */
}

#define STEP(guard, action) :: d_step { (guard) -> action; tidy() }

#define FIND(i)    FOUND(i) = IN(i); SIGN_READ(i); result[i] = DONE
#define EXECUTE(i) condition = CONDITION(i); execute(i, op[i], OPEN(i)); result[i] = made
#define LAND(i)    condition = GCON(i); execute(i, ghost[i], GNEW(i)); lay(i)

#ifdef PROMPT /* an answer comes at once or never: README.md says why that is the same */
#define LOOK_AT(i) send(i, READ); FIND(i); answer_read(i)
#define ANSWERS(i)                                                                      \
	STEP(op[i] != NONE, EXECUTE(i); answer_write(i))                                \
	STEP(op[i] != NONE, EXECUTE(i); unknown(i))
#else
#define LOOK_AT(i) send(i, READ)
#define ANSWERS(i)                                                                      \
	STEP(op[i] == READ && result[i] == UNDER_WAY, FIND(i))                          \
	STEP(op[i] > READ && result[i] == UNDER_WAY, EXECUTE(i))                        \
	STEP(op[i] == READ && result[i] != UNDER_WAY, answer_read(i))                   \
	STEP(op[i] > READ && result[i] != UNDER_WAY, answer_write(i))                   \
	STEP(op[i] != NONE && result[i] != UNDER_WAY, unknown(i))
#endif

#define MACHINE(i)                                                                      \
	STEP(op[i] == NONE && settle[i], LOOK_AT(i))                                    \
	STEP(IDLE(i) && (!HAS_CHILD(i) || IS_OVER(i)), LOOK_AT(i))                      \
	STEP(IDLE(i) && LOOK(i) && MAY_ACQUIRE(i), send(i, CREATE))                     \
	STEP(IDLE(i) && FOREIGN(i) && MAY_TAKE(i) && MAY_ACQUIRE(i), send(i, SWAP))     \
	STEP(IDLE(i) && held[i] && gone[i], send(i, CREATE))                            \
	STEP(IDLE(i) && held[i] && !gone[i] && (left[i] < H || removing[i] || HANDS_OVER(i)), \
	     send(i, SWAP))                                                             \
	STEP(IDLE(i) && held[i] && !gone[i] && !HAS_CHILD(i), send(i, REMOVE))          \
	STEP(IDLE(i) && held[i] && gone[i] && !HAS_CHILD(i) && IN(i) == 0, forget_held(i)) \
	ANSWERS(i)                                                                      \
	STEP(op[i] != NONE && result[i] == UNDER_WAY && CAN_HAUNT(i), haunt(i); unknown(i)) \
	STEP(ghost[i] != NONE, LAND(i))                                                 \
	STEP(ghost[i] != NONE, lay(i))

#ifdef BOTH
#define CHILDREN(d)                                                                     \
	STEP(!child[d] && MAY_START(d), child[d] = 1)                                   \
	STEP(child[d], end_child(d)) /* at its end, or killed by its runner */
#define CRASHES(d)                                                                      \
	STEP(CAN_HAUNT(d) && (d == 1 || CAN_HAUNT(2)), RUNNER_CRASHES(d); crash(d);     \
	     if :: d == 0 -> crash(2) :: else fi)
#else
#define CHILDREN(d)                                                                     \
	STEP(!child[d] && MAY_START(d), start(d, 1))                                    \
	STEP(child[d], end_child(d)) /* at its end, or killed by its runner */          \
	STEP(held[d] && !next[d] && OLD_IS_DEAD(d), next[d] = 1)                        \
	STEP(HOLDS(d) && next[d] && !(child[d] & 2) && OLD_IS_DEAD(d) && HAS_ENOUGH(d), \
	     start(d, 2))
#define CRASHES(d)                                                                      \
	STEP(CAN_HAUNT(d), RUNNER_CRASHES(d); crash(d))
#endif

/*
 * -DHEAL: at some moment one daemon is dead for good, and the network well but for ghosts. The
 * other does what lease_next() says, in order, and must have a child running in WITHIN steps
 * (again after each ghost). What has expired it hands over to its next job.
 *
 * -DHEAL -DRESTART: nobody is alive, and of the daemon that wrote what is in the store only ghosts
 * are left. It is started again, does the same, and never has to wait.
 */
#define HEALS(guard, action)                                                            \
	STEP(guard, steps++; action; assert(steps <= WITHIN))
#define ACQUIRER(i)                                                                     \
	HEALS(op[i] == READ && result[i] == UNDER_WAY, FIND(i))                         \
	HEALS(op[i] > READ && result[i] == UNDER_WAY, EXECUTE(i))                       \
	HEALS(op[i] == READ && result[i] != UNDER_WAY, answer_read(i))                  \
	HEALS(op[i] > READ && result[i] != UNDER_WAY, answer_write(i))                  \
	HEALS(op[i] == NONE && settle[i], send(i, READ))                                \
	HEALS(IDLE(i) && LOOK(i), send(i, CREATE))                                      \
	HEALS(IDLE(i) && FOREIGN(i) && MAY_TAKE(i), send(i, SWAP))                      \
	HEALS(IDLE(i) && !HAS_CHILD(i) && MAY_START(i), start(i, 1))
#define GHOST(i)                                                                        \
	STEP(ghost[i] != NONE, LAND(i); steps = 0)                                      \
	STEP(ghost[i] != NONE, lay(i); steps = 0)
#ifdef RESTART
#define SURVIVOR(i)                                                                     \
	ACQUIRER(i)                                                                     \
	GHOST(i)
#define MAY_BREAK(i, other) ((IN(i) == 0 || writer == i) && CAN_HAUNT(0) && CAN_HAUNT(1))
#define BREAKS(i, other)    child[other] = 0; crash(0); crash(1); lay(other)
#else
#define SURVIVOR(i)                                                                     \
	ACQUIRER(i)                                                                     \
	HEALS(IDLE(i) && FOREIGN(i) && !MAY_TAKE(i), grow_older(i); send(i, READ))      \
	HEALS(IDLE(i) && held[i] && gone[i], send(i, CREATE))                           \
	HEALS(IDLE(i) && held[i] && !gone[i] && !next[i] && left[i] < K, next[i] = 1)   \
	HEALS(IDLE(i) && held[i] && !gone[i] && (next[i] || removing[i] && left[i] >= K), \
	      send(i, SWAP))                                                            \
	GHOST(0)                                                                        \
	GHOST(1)
#define MAY_BREAK(i, other) CAN_HAUNT(other)
#define BREAKS(i, other)    RUNNER_CRASHES(other); crash(other)
#endif

active proctype world()
{
#ifdef BOTH
	if
	:: other = 0
	:: other = 1
	fi;
#endif
	do
#ifdef BOTH
	STEP(ALL_KILLED, grow_older(0); grow_older(1); grow_older(2))
	MACHINE(2)
#else
	STEP(ALL_KILLED, grow_older(0); grow_older(1))
#endif
	MACHINE(0)
	MACHINE(1)
	CHILDREN(0)
	CHILDREN(1)
	CRASHES(0)
	CRASHES(1)
#ifdef M_FORCE /* force-unlock, or a raw terraform's removal that comes twice */
	STEP(IN(0) != 0, IN(0) = 0)
#endif
#ifdef HEAL
	:: d_step { !HAS_CHILD(1) && MAY_BREAK(1, 0) -> BREAKS(1, 0); tidy() }; goto one
	:: d_step { !HAS_CHILD(0) && MAY_BREAK(0, 1) -> BREAKS(0, 1); tidy() }; goto zero
#endif
	od;
#ifdef HEAL
zero:
	do
	:: HAS_CHILD(0) -> break
	SURVIVOR(0)
	od;
	goto end;
one:
	do
	:: HAS_CHILD(1) -> break
	SURVIVOR(1)
	od;
end:
	skip
#endif
}
