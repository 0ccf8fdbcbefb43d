/* SPDX-License-Identifier: MIT */
/*
 * The rows of tests/SCENARIOS.md that the pure machine decides: hosts with clocks of their own
 * against one object, and each kind of write under each kind of failure.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/lock/lease.h"
#include "runner/fence.h"
#include "tests/unit/unit.h"

#define SEC         UINT64_C(1000000)
#define LEASE       (300 * SEC)
#define WRITES_MAX  64
#define ROUNDS_MAX  40         /* within which everything has come to rest */
#define LONG_WAIT   (30 * SEC) /* nothing is to be done before that: at rest */
#define DIED_MARGIN (5 * SEC)

static const struct lease_config config = {
	.lease_usec = LEASE,
	.renew_usec = 60 * SEC,
	.poll_min_usec = 1 * SEC,
	.poll_max_usec = 5 * SEC,
	.acquire_tries = 8,
	.takes_over = true,
	.drift_percent = 10,
	.quarantine_usec = 30 * SEC,
};

/* --- one object, and hosts that want it ---------------------------------------------------- */

struct object {
	bool is_there;
	unsigned version; /* unique for ever */
	char nonce[LEASE_NONCE_LEN];
	int writer;
	uint64_t lease_usec;
};

struct host {
	struct object *object;
	struct lease lease;
	struct lease_request request; /* the last one */
	uint64_t now;                 /* on its own clock */
	int number;
	int before; /* number of the dead process whose place it has taken; 0: none */
	unsigned events, all_events; /* of the last answer; since it was last cleared */
	unsigned write_count;
	struct {
		char nonce[LEASE_NONCE_LEN];
		uint64_t sent_usec;
		bool is_applied;
	} writes[WRITES_MAX];
};

static void begin(struct host *host, struct object *object, int number)
{
	*host = (struct host){ .object = object, .number = number, .now = 1000 * SEC };
	lease_init(&host->lease, &config, (uint64_t)number + 1);
}

static void name_version(char *buf, const struct object *object)
{
	(void)snprintf(buf, LEASE_ETAG_MAX, "\"v%u\"", object->version);
}

/* Whether the store carries @request out, as S3 does. */
static enum lease_result apply(struct host *host, const struct lease_request *request)
{
	struct object *object = host->object;
	char etag[LEASE_ETAG_MAX];

	name_version(etag, object);
	if (request->op == LEASE_CREATE && object->is_there)
		return LEASE_R_REFUSED;
	if (request->op != LEASE_CREATE && !object->is_there)
		return LEASE_R_ABSENT;
	if (request->op != LEASE_CREATE && strcmp(request->etag, etag) != 0)
		return LEASE_R_REFUSED;
	if (request->op == LEASE_REMOVE) {
		ck_assert_int_eq(object->writer, host->number); /* never another's */
		object->is_there = false;
		return LEASE_R_DONE;
	}
	*object = (struct object){ .is_there = true,
				   .version = object->version + 1,
				   .writer = host->number,
				   .lease_usec = LEASE };
	memcpy(object->nonce, request->nonce, LEASE_NONCE_LEN);
	for (unsigned i = 0; i < host->write_count; i++)
		host->writes[i].is_applied |= strcmp(host->writes[i].nonce, request->nonce) == 0;
	return LEASE_R_DONE;
}

static struct lease_answer execute(struct host *host, const struct lease_request *request)
{
	struct lease_answer answer = { .result = LEASE_R_ABSENT };

	if (request->op != LEASE_READ) {
		answer.result = apply(host, request);
	} else if (host->object->is_there) {
		answer.result = LEASE_R_DONE;
		answer.lease_usec = host->object->lease_usec;
		answer.is_own = host->before != 0 && host->object->writer == host->before;
		memcpy(answer.nonce, host->object->nonce, LEASE_NONCE_LEN);
		(void)snprintf(answer.id, sizeof(answer.id), "id");
	}
	if (answer.result == LEASE_R_DONE && request->op != LEASE_REMOVE)
		name_version(answer.etag, host->object);
	return answer;
}

/* What it sends at its time, or when it wakes if that is soon; else LEASE_NONE. */
static enum lease_op ask(struct host *host)
{
	char nonce[LEASE_NONCE_LEN];

	(void)snprintf(nonce, sizeof(nonce), "%08x%024x", (unsigned)host->number,
		       host->write_count);
	host->all_events |= lease_tick(&host->lease, host->now);
	lease_next(&host->lease, host->now, nonce, &host->request);
	if (host->request.op == LEASE_NONE && host->request.wake_usec - host->now < LONG_WAIT) {
		host->now = host->request.wake_usec;
		host->all_events |= lease_tick(&host->lease, host->now);
		lease_next(&host->lease, host->now, nonce, &host->request);
	}
	if (host->request.op == LEASE_CREATE || host->request.op == LEASE_SWAP) {
		ck_assert_uint_lt(host->write_count, WRITES_MAX);
		memcpy(host->writes[host->write_count].nonce, host->request.nonce, LEASE_NONCE_LEN);
		host->writes[host->write_count++].sent_usec = host->now;
	}
	return host->request.op;
}

/* No deadline is later than what a write that was carried out has bought. */
static void check_deadline(const struct host *host)
{
	uint64_t bought = 0;

	for (unsigned i = 0; i < host->write_count; i++)
		if (host->writes[i].is_applied && host->writes[i].sent_usec + LEASE > bought)
			bought = host->writes[i].sent_usec + LEASE;
	if (host->lease.state == LEASE_HELD)
		ck_assert_uint_le(host->lease.deadline_usec, bought);
}

static void tell(struct host *host, const struct lease_answer *answer)
{
	host->now += SEC / 10;
	host->events = lease_answer(&host->lease, host->now, answer);
	host->all_events |= host->events;
	check_deadline(host);
}

/* One request that is answered, or none. */
static enum lease_op exchange(struct host *host)
{
	const enum lease_op op = ask(host);
	struct lease_answer answer;

	if (op == LEASE_NONE)
		return op;
	answer = execute(host, &host->request);
	tell(host, &answer);
	return op;
}

static void settle(struct host *host)
{
	unsigned rounds = 0;

	while (exchange(host) != LEASE_NONE)
		ck_assert_uint_lt(rounds++, ROUNDS_MAX);
}

static void take(struct host *host, uint64_t owner)
{
	lease_want(&host->lease, owner);
	settle(host);
	ck_assert(lease_is_held_by(&host->lease, owner));
}

/* --- rows 1 to 6: a write that fails ------------------------------------------------------- */

enum write { CREATE, RENEW, HAND_OVER, REMOVE, WRITE_COUNT };

enum fault {
	LOST_REQUEST, /* 1 */
	LOST_ANSWER,  /* 2 */
	GHOST_SOON,   /* 3, 4: given up, and lands before it is looked for, */
	GHOST_LOOKED, /* ... after that, before the next try, */
	GHOST_RETRY,  /* ... after the next try, */
	GHOST_LATE,   /* ... when all is over */
	CONFLICT,     /* 5 */
	OWN_412,      /* 6: done, and answered as the second of two */
	BUSY,         /* 503 */
	FAULT_COUNT,
};

/* Come to where @write is what is sent next. */
static void prepare(struct host *host, struct object *object, enum write write)
{
	unsigned rounds = 0;

	begin(host, object, 0);
	if (write == CREATE) {
		lease_want(&host->lease, 7);
		ck_assert_int_eq(ask(host), LEASE_CREATE);
		return;
	}
	take(host, 7);
	if (write == RENEW)
		host->now = host->lease.renew_at_usec;
	else
		lease_want(&host->lease, write == REMOVE ? 0 : 8);
	host->all_events = 0;
	while (ask(host) == LEASE_READ) {
		const struct lease_answer answer = execute(host, &host->request);

		ck_assert_uint_lt(rounds++, 3);
		tell(host, &answer);
	}
	ck_assert_int_eq(host->request.op, write == REMOVE ? LEASE_REMOVE : LEASE_SWAP);
	ck_assert_int_eq(host->request.is_handover, write == HAND_OVER);
}

/* Answer @sent as @fault does. */
static void spoil(struct host *host, const struct lease_request *sent, enum fault fault)
{
	struct lease_answer answer = { .result = LEASE_R_UNKNOWN };

	if (fault == LOST_ANSWER || fault == OWN_412)
		(void)apply(host, sent);
	if (fault == CONFLICT)
		answer.result = LEASE_R_CONFLICT;
	if (fault == BUSY)
		answer.result = LEASE_R_THROTTLED;
	if (fault == OWN_412)
		answer.result = sent->op == LEASE_REMOVE ? LEASE_R_ABSENT : LEASE_R_REFUSED;
	tell(host, &answer);
}

/* Go on until all is quiet; the ghost lands when @fault says. */
static void recover(struct host *host, const struct lease_request *ghost, enum fault fault)
{
	bool has_landed = fault < GHOST_SOON || fault > GHOST_LATE;
	unsigned rounds = 0;
	enum lease_op op;

	if (fault == GHOST_SOON) {
		(void)apply(host, ghost);
		has_landed = true;
	}
	do {
		op = exchange(host);
		ck_assert_uint_lt(rounds++, ROUNDS_MAX);
		if (!has_landed && ((fault == GHOST_LOOKED && op == LEASE_READ) ||
				    (fault == GHOST_RETRY && op != LEASE_READ))) {
			(void)apply(host, ghost);
			has_landed = true;
		}
	} while (op != LEASE_NONE);
	if (!has_landed)
		(void)apply(host, ghost);
}

START_TEST(write_that_fails_is_settled)
{
	const enum write write = (enum write)(_i / FAULT_COUNT);
	const enum fault fault = (enum fault)(_i % FAULT_COUNT);
	const uint64_t owner = write == HAND_OVER ? 8 : 7;
	struct object object = { 0 };
	struct lease_request sent;
	struct host host;

	prepare(&host, &object, write);
	sent = host.request;
	spoil(&host, &sent, fault);
	recover(&host, &sent, fault);

	ck_assert(!(host.all_events & (LEASE_EV_LOST | LEASE_EV_GONE | LEASE_EV_FAILED)));
	if (write == REMOVE) {
		ck_assert(!object.is_there && lease_is_idle(&host.lease));
		ck_assert(host.all_events & LEASE_EV_RELEASED);
		return;
	}
	ck_assert(lease_is_held_by(&host.lease, owner));
	ck_assert(object.is_there && strcmp(object.nonce, host.lease.nonce) == 0);

	/* It can be renewed and let go as if nothing had been. */
	host.now = host.lease.renew_at_usec;
	ck_assert_int_eq(exchange(&host), LEASE_SWAP);
	ck_assert_uint_eq(host.events, LEASE_EV_RENEWED);
	lease_want(&host.lease, 0);
	settle(&host);
	ck_assert(!object.is_there && lease_is_idle(&host.lease));
}
END_TEST

/* A CREATE that was given up lands when nobody wants the lock any more. */
START_TEST(create_that_lands_after_all_is_over_is_found_and_removed)
{
	struct object object = { 0 };
	struct lease_request ghost;
	struct host host;

	prepare(&host, &object, CREATE);
	ghost = host.request;
	spoil(&host, &ghost, LOST_REQUEST);
	settle(&host);
	lease_want(&host.lease, 0);
	settle(&host);
	ck_assert(lease_is_idle(&host.lease) && lease_may_appear(&host.lease));
	ck_assert_int_eq(apply(&host, &ghost), LEASE_R_DONE);
	lease_look_again(&host.lease);
	settle(&host);
	ck_assert(!object.is_there && !lease_may_appear(&host.lease));
}
END_TEST

/* --- row 22: 403 for absent ---------------------------------------------------------------- */

/* One request; what is absent answers as without s3:ListBucket. */
static enum lease_op exchange_unlisted(struct host *host)
{
	const enum lease_op op = ask(host);
	struct lease_answer answer;

	if (op == LEASE_NONE)
		return op;
	answer = execute(host, &host->request);
	if (answer.result == LEASE_R_ABSENT && op != LEASE_REMOVE)
		answer.result = LEASE_R_DENIED;
	tell(host, &answer);
	return op;
}

/* Removed while it is held: a renewal, and a look, are forbidden; a CREATE tells. */
START_TEST(lock_that_may_not_be_seen_to_be_gone_is_taken_again)
{
	struct object object = { 0 };
	unsigned rounds = 0;
	struct host host;

	begin(&host, &object, 0);
	take(&host, 7);
	object.is_there = false;
	host.now = host.lease.renew_at_usec;
	host.all_events = 0;
	if (_i == 1) { /* and it ends before it is renewed */
		lease_want(&host.lease, 0);
		while (exchange_unlisted(&host) != LEASE_NONE)
			ck_assert_uint_lt(rounds++, ROUNDS_MAX);
		ck_assert(lease_is_idle(&host.lease) && !object.is_there);
		return;
	}
	while (!object.is_there) {
		(void)exchange_unlisted(&host);
		ck_assert_uint_lt(rounds++, 4);
	}
	ck_assert(host.all_events & LEASE_EV_GONE);
	ck_assert(lease_is_held_by(&host.lease, 7));
	while (exchange_unlisted(&host) != LEASE_NONE)
		ck_assert_uint_lt(rounds++, ROUNDS_MAX);
	ck_assert(lease_is_held_by(&host.lease, 7));
}
END_TEST

/* Rights that are taken away for a while: what comes of it is no loss. */
START_TEST(rights_that_come_back_are_used)
{
	struct object object = { 0 };
	unsigned rounds = 0;
	struct host host;

	begin(&host, &object, 0);
	take(&host, 7);
	host.now = host.lease.renew_at_usec;
	host.all_events = 0;
	for (int i = 0; i < 8 + _i; i++) {
		(void)ask(&host);
		tell(&host, &(struct lease_answer){ .result = LEASE_R_DENIED });
		ck_assert(lease_is_held_by(&host.lease, 7)); /* nobody has seen it gone */
	}
	while (!(host.events & LEASE_EV_RENEWED)) {
		(void)exchange(&host);
		ck_assert_uint_lt(rounds++, 5);
	}
	settle(&host);
	ck_assert(lease_is_held_by(&host.lease, 7));
	ck_assert(!(host.all_events & (LEASE_EV_LOST | LEASE_EV_GONE)));
}
END_TEST

/* --- row 15: suspend ----------------------------------------------------------------------- */

START_TEST(holder_that_slept_past_its_lease_knows_before_it_sends)
{
	struct object object = { 0 };
	struct host host;

	begin(&host, &object, 0);
	take(&host, 7);
	host.now += 3600 * SEC;
	ck_assert_uint_eq(lease_tick(&host.lease, host.now), LEASE_EV_EXPIRED);
	ck_assert(!lease_is_held_by(&host.lease, 7));
	if (_i == 0) { /* nobody took it: it is ours again, and that is told as a new beginning */
		ck_assert_int_eq(exchange(&host), LEASE_SWAP);
		ck_assert_uint_eq(host.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
		return;
	}
	object = (struct object){ .is_there = true,
				  .version = object.version + 1,
				  .writer = 1,
				  .nonce = "00000000000000000000000000000abc",
				  .lease_usec = LEASE };
	host.all_events = 0;
	settle(&host);
	ck_assert(host.all_events & LEASE_EV_LOST);
	ck_assert_int_eq(object.writer, 1);
}
END_TEST

START_TEST(watcher_that_slept_takes_nothing_but_what_it_watched)
{
	struct object object = { 0 };
	struct host holder, watcher;
	uint64_t woken;

	begin(&holder, &object, 0);
	begin(&watcher, &object, 1);
	take(&holder, 7);
	lease_want(&watcher.lease, 9);
	while (watcher.lease.state != LEASE_FOREIGN)
		(void)exchange(&watcher);
	if (_i == 1) { /* it is renewed while the watcher sleeps */
		holder.now = holder.lease.renew_at_usec;
		ck_assert_int_eq(exchange(&holder), LEASE_SWAP);
	}
	watcher.now += 3600 * SEC;
	woken = watcher.now;
	ck_assert_int_eq(exchange(&watcher), LEASE_SWAP);
	ck_assert(watcher.request.is_takeover);
	if (_i == 0) {
		ck_assert(lease_is_held_by(&watcher.lease, 9));
		return;
	}
	ck_assert(!lease_is_held_by(&watcher.lease, 9));
	ck_assert_int_eq(exchange(&watcher), LEASE_READ);
	ck_assert_uint_ge(lease_takeover(&watcher.lease), woken + LEASE + 96 * SEC);
	ck_assert_int_eq(object.writer, 0);
}
END_TEST

/* --- a tfqd that was restarted ---------------------------------------------------------------- */

/* One that has died with a renewal under way, and the one that was started after it. */
static void restart(struct host *died, struct host *back, struct object *object)
{
	begin(died, object, 1);
	take(died, 7);
	died->now = died->lease.renew_at_usec;
	ck_assert_int_eq(ask(died), LEASE_SWAP);
	begin(back, object, 2);
	back->before = 1;
}

START_TEST(own_lock_of_before_a_restart_is_regained_at_once)
{
	struct object object = { 0 };
	struct host died, back;

	restart(&died, &back, &object);
	if (_i == 1) /* with a lease that nobody else may ever take, by one who takes none */
		object.lease_usec = 0;
	lease_set_takeover(&back.lease, _i == 0);
	lease_want(&back.lease, 7);
	ck_assert_int_eq(exchange(&back), LEASE_CREATE);
	ck_assert_int_eq(exchange(&back), LEASE_READ);
	ck_assert_int_eq(exchange(&back), LEASE_SWAP);
	ck_assert_uint_eq(back.events, LEASE_EV_HELD | LEASE_EV_RENEWED | LEASE_EV_REGAINED);
	ck_assert(!(back.all_events & (LEASE_EV_FOREIGN | LEASE_EV_TAKEN)));
	ck_assert_uint_lt(back.now, 1000 * SEC + SEC);
	ck_assert(lease_is_held_by(&back.lease, 7));
	/* What the dead one had sent comes too late. */
	ck_assert_int_eq(apply(&died, &died.request), LEASE_R_REFUSED);
}
END_TEST

START_TEST(what_the_dead_process_had_sent_may_land_before_the_regain)
{
	struct object object = { 0 };
	struct host died, back;
	struct lease_answer answer;

	restart(&died, &back, &object);
	lease_want(&back.lease, 7);
	ck_assert_int_eq(exchange(&back), LEASE_CREATE);
	ck_assert_int_eq(exchange(&back), LEASE_READ);
	ck_assert_int_eq(ask(&back), LEASE_SWAP);
	ck_assert_int_eq(apply(&died, &died.request), LEASE_R_DONE);
	answer = execute(&back, &back.request);
	ck_assert_int_eq(answer.result, LEASE_R_REFUSED);
	tell(&back, &answer);
	ck_assert(!lease_is_held_by(&back.lease, 7));
	ck_assert_int_eq(exchange(&back), LEASE_READ);
	settle(&back);
	ck_assert(lease_is_held_by(&back.lease, 7));
	ck_assert(back.all_events & LEASE_EV_REGAINED);
	ck_assert_int_eq(object.writer, 2);
}
END_TEST

START_TEST(own_lock_that_refuses_to_be_regained_is_not_pressed)
{
	struct object object = { 0 };
	struct host died, back;
	unsigned swaps = 0;

	restart(&died, &back, &object);
	lease_want(&back.lease, 7);
	for (const uint64_t end = back.now + 60 * SEC; back.now < end;) {
		const enum lease_op op = ask(&back);
		struct lease_answer answer;

		if (op == LEASE_NONE) {
			back.now = back.request.wake_usec;
			continue;
		}
		swaps += op == LEASE_SWAP;
		if (op == LEASE_SWAP) /* of a store that does not know its own ETags */
			answer = (struct lease_answer){ .result = LEASE_R_REFUSED };
		else
			answer = execute(&back, &back.request);
		tell(&back, &answer);
	}
	ck_assert_uint_ge(swaps, 3);
	ck_assert_uint_lt(swaps, 40);
	ck_assert(!lease_is_held_by(&back.lease, 7));
}
END_TEST

START_TEST(lock_that_is_anothers_after_a_restart_is_waited_for)
{
	struct object object = { 0 };
	struct host died, back;

	restart(&died, &back, &object);
	object.writer = 3;
	lease_want(&back.lease, 7);
	ck_assert_int_eq(exchange(&back), LEASE_CREATE);
	ck_assert_int_eq(exchange(&back), LEASE_READ);
	ck_assert_uint_eq(back.events, LEASE_EV_FOREIGN);
	ck_assert_int_eq(exchange(&back), LEASE_READ);
	ck_assert_int_eq(object.writer, 3);
}
END_TEST

/* --- rows 16 and 17: several at the same moment -------------------------------------------- */

/* Wait, looking, until it would take over: that request is in host.request, and not answered. */
static void wait_it_out(struct host *host)
{
	lease_want(&host->lease, 9 + (uint64_t)host->number);
	for (;;) {
		const enum lease_op op = ask(host);
		struct lease_answer answer;

		if (op == LEASE_SWAP)
			return;
		ck_assert_int_ne(op, LEASE_NONE);
		answer = execute(host, &host->request);
		tell(host, &answer);
	}
}

START_TEST(of_a_hand_over_and_two_takeovers_one_wins)
{
	static const int orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					 { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	struct object object = { 0 };
	struct lease_answer answers[3];
	struct host hosts[3];

	for (int i = 0; i < 3; i++)
		begin(&hosts[i], &object, i);
	take(&hosts[0], 7);
	wait_it_out(&hosts[1]);
	wait_it_out(&hosts[2]);
	/* The holder, silent for so long, wakes: its job is dead, the next one is to have it. */
	hosts[0].now += 1000 * SEC;
	ck_assert_uint_eq(lease_tick(&hosts[0].lease, hosts[0].now), LEASE_EV_EXPIRED);
	lease_want(&hosts[0].lease, 8);
	ck_assert_int_eq(ask(&hosts[0]), LEASE_SWAP);
	ck_assert(hosts[0].request.is_handover);

	for (int i = 0; i < 3; i++) {
		struct host *host = &hosts[orders[_i][i]];

		answers[host->number] = execute(host, &host->request);
		ck_assert_int_eq(answers[host->number].result,
				 i == 0 ? LEASE_R_DONE : LEASE_R_REFUSED);
	}
	for (int i = 0; i < 3; i++) {
		struct host *host = &hosts[i];

		host->all_events = 0;
		tell(host, &answers[i]);
		if (i != orders[_i][0])
			ck_assert_int_eq(exchange(host), LEASE_READ);
		ck_assert_int_eq(lease_is_held_by(&host->lease, host->lease.wanted),
				 i == orders[_i][0]);
		if (i == orders[_i][0])
			ck_assert(host->all_events & LEASE_EV_HELD);
		else if (i == 0)
			ck_assert(host->all_events & LEASE_EV_LOST);
		else
			ck_assert_uint_gt(lease_takeover(&host->lease), host->now + LEASE);
	}
}
END_TEST

/* --- row 28: a child that will not die ----------------------------------------------------- */

START_TEST(lease_of_a_child_that_will_not_die_is_kept)
{
	const struct fence_time start = { 1000 * SEC, 5000 * SEC };
	struct object object = { 0 };
	struct fence fence;
	struct host host;
	uint64_t next;

	begin(&host, &object, 0);
	host.now = start.boot_usec;
	take(&host, 7);
	fence_begin(&fence, host.lease.deadline_usec, 0, &start);
	while (host.now < host.lease.deadline_usec) { /* nothing gets through */
		if (ask(&host) == LEASE_NONE)
			host.now += LONG_WAIT;
		else
			tell(&host, &(struct lease_answer){ .result = LEASE_R_UNSENT });
		host.write_count = 1;
	}
	/* The fence never says that it is done; only the runner, who sees the processes, can. */
	for (unsigned i = 0; i < 100; i++) {
		const struct fence_time now = { host.now + i * SEC, 5000 * SEC };

		ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_KILL);
		ck_assert(!fence_move(&fence, now.boot_usec + LEASE, &now));
	}
	/* As long as it is wanted it is renewed when the store is there again, and not let go. */
	(void)lease_tick(&host.lease, host.now);
	for (unsigned i = 0; i < 20; i++) {
		if (exchange(&host) == LEASE_NONE)
			host.now = host.lease.renew_at_usec;
		ck_assert_int_ne(host.request.op, LEASE_REMOVE);
		ck_assert(object.is_there && object.writer == 0);
	}
	ck_assert_uint_gt(host.lease.deadline_usec, host.now);
	lease_want(&host.lease, 0);
	settle(&host);
	ck_assert(!object.is_there);
}
END_TEST

/* --- row 30: clocks that run wrong --------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/*
 * When @usec has passed by a clock that shows @percent of real time, in real time. Rounded so that
 * the result is not too favourable.
 */
static uint64_t real_of(uint64_t usec, uint64_t percent, bool up)
{
	return (usec * 100 + (up ? percent - 1 : 0)) / percent;
}

/* When its runner's killing begins, at the latest, by the holder's clock after the write. */
static uint64_t kill_after(uint64_t lease_usec, uint64_t grace_usec)
{
	const struct fence_time start = { 1000 * SEC, 5000 * SEC };
	struct fence_time now = start;
	struct fence fence;
	uint64_t next = 0;

	fence_begin(&fence, start.boot_usec + lease_usec, grace_usec, &start);
	while (fence_check(&fence, &now, &next) != FENCE_KILL) {
		now.real_usec += next - now.boot_usec;
		now.boot_usec = next;
	}
	return now.boot_usec - start.boot_usec;
}

START_TEST(wrong_clocks_within_the_bound_never_make_two)
{
	const char *text = getenv("TFQ_SEED");
	const uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;

	(void)printf("TFQ_SEED=%" PRIu64 "\n", seed);
	for (unsigned i = 0; i < 200; i++) {
		/* The ends of the range first. */
		const uint64_t holder = i == 0 ? 90 : 90 + next_random(&random) % 21;
		const uint64_t watcher = i == 0 ? 110 : 90 + next_random(&random) % 21;
		const uint64_t lease = (10 + next_random(&random) % 900) * SEC;
		struct object object = { .is_there = true,
					 .version = 1,
					 .writer = 1,
					 .nonce = "00000000000000000000000000000abc",
					 .lease_usec = lease };
		struct host host;
		uint64_t seen, dead, taken;

		begin(&host, &object, 0);
		lease_want(&host.lease, 7);
		while (host.lease.state != LEASE_FOREIGN)
			(void)exchange(&host);
		seen = host.now; /* as soon as it was written: no later can it be worse */
		while (ask(&host) != LEASE_SWAP) {
			const struct lease_answer answer = execute(&host, &host.request);

			tell(&host, &answer);
		}
		dead = real_of(kill_after(lease, 0) + DIED_MARGIN, holder, true);
		taken = real_of(host.now - seen, watcher, false);
		ck_assert_msg(dead < taken, "TFQ_SEED=%" PRIu64 ": %u", seed, i);
		/* ... with most of the quarantine left. */
		ck_assert_msg(dead + config.quarantine_usec * 9 / 10 < taken,
			      "TFQ_SEED=%" PRIu64 ": %u", seed, i);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, write_that_fails_is_settled, 0, WRITE_COUNT * FAULT_COUNT);
	tcase_add_test(tcase, create_that_lands_after_all_is_over_is_found_and_removed);
	tcase_add_loop_test(tcase, lock_that_may_not_be_seen_to_be_gone_is_taken_again, 0, 2);
	tcase_add_loop_test(tcase, rights_that_come_back_are_used, 0, 4);
	tcase_add_loop_test(tcase, holder_that_slept_past_its_lease_knows_before_it_sends, 0, 2);
	tcase_add_loop_test(tcase, watcher_that_slept_takes_nothing_but_what_it_watched, 0, 2);
	tcase_add_loop_test(tcase, own_lock_of_before_a_restart_is_regained_at_once, 0, 2);
	tcase_add_test(tcase, what_the_dead_process_had_sent_may_land_before_the_regain);
	tcase_add_test(tcase, own_lock_that_refuses_to_be_regained_is_not_pressed);
	tcase_add_test(tcase, lock_that_is_anothers_after_a_restart_is_waited_for);
	tcase_add_loop_test(tcase, of_a_hand_over_and_two_takeovers_one_wins, 0, 6);
	tcase_add_test(tcase, lease_of_a_child_that_will_not_die_is_kept);
	tcase_add_test(tcase, wrong_clocks_within_the_bound_never_make_two);
}

int main(void)
{
	return unit_main("lease_rows", add_tests);
}
