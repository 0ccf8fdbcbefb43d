/* SPDX-License-Identifier: MIT */
/* Row 26 of tests/SCENARIOS.md: a lock in both stores, of which one fails. Stores of memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "daemon/lock/lock.h"
#include "daemon/lock/lock_parts.h"
#include "tests/unit/unit.h"

#define BOUND_USEC (10 * USEC_PER_SEC) /* what is not there by then does not come */

static const struct lease_config config = {
	.lease_usec = 60 * USEC_PER_SEC,
	.renew_usec = 20 * USEC_PER_MSEC,
	.poll_min_usec = 5 * USEC_PER_MSEC,
	.poll_max_usec = 5 * USEC_PER_MSEC,
	.acquire_tries = 8,
	.takes_over = true,
	.drift_percent = 10,
	.quarantine_usec = 30 * USEC_PER_SEC,
};

/* --- a store of memory --------------------------------------------------------------------- */

struct place {
	bool is_there, is_ours;
	unsigned version;
	char nonce[LEASE_NONCE_LEN];
	/* The next request of this kind, and those after it while the count lasts, gets that. */
	enum lease_op fails;
	enum lease_result with;
	int fail_count;
	unsigned writes; /* done */
};

struct fake {
	struct lock_store store; /* first */
	enum lock_kind kind;
	struct lease_answer answer;
	struct lockinfo_seen seen;
	lock_store_done_fn done;
	void *userdata;
	sd_event_source *source;
};

static sd_event *event;
static struct lock *lock;
static struct place places[LOCK_KIND_COUNT];
static char journal[4096]; /* writes that were tried: "+s ~s -d" */
static unsigned all_events;
static bool is_idle;

static void note(const struct fake *fake, enum lease_op op)
{
	const size_t used = strlen(journal);
	const char sign = op == LEASE_CREATE ? '+' : '-';

	if (op == LEASE_CREATE || op == LEASE_REMOVE)
		(void)snprintf(journal + used, sizeof(journal) - used, "%c%c ", sign,
			       fake->kind == LOCK_S3 ? 's' : 'd');
}

static enum lease_result apply(struct place *place, const struct lease_request *request)
{
	char etag[LEASE_ETAG_MAX];

	(void)snprintf(etag, sizeof(etag), "\"%u\"", place->version);
	if (request->op == LEASE_CREATE && place->is_there)
		return LEASE_R_REFUSED;
	if (request->op != LEASE_CREATE && !place->is_there)
		return LEASE_R_ABSENT;
	if ((request->op == LEASE_SWAP || request->op == LEASE_REMOVE) &&
	    strcmp(etag, request->etag) != 0)
		return LEASE_R_REFUSED;
	if (request->op == LEASE_READ)
		return LEASE_R_DONE;
	place->writes++;
	place->is_there = request->op != LEASE_REMOVE;
	place->is_ours = true;
	place->version++;
	memcpy(place->nonce, request->nonce, LEASE_NONCE_LEN);
	return LEASE_R_DONE;
}

static int on_defer(sd_event_source *source, void *userdata)
{
	struct fake *fake = userdata;

	(void)source;
	fake->source = sd_event_source_disable_unref(fake->source);
	fake->done(&fake->answer, fake->seen.id[0] ? &fake->seen : NULL,
		   fake->answer.result == LEASE_R_UNKNOWN ? "no answer" : NULL, fake->userdata);
	return 0;
}

static int fake_send(struct lock_store *store, const struct lease_request *request,
		     const struct lockinfo *info, lock_store_done_fn done, void *userdata)
{
	struct fake *fake = (struct fake *)store;
	struct place *place = &places[fake->kind];

	ck_assert_int_eq(info != NULL, request->op == LEASE_CREATE || request->op == LEASE_SWAP);
	note(fake, request->op);
	fake->done = done;
	fake->userdata = userdata;
	fake->answer = (struct lease_answer){ 0 };
	fake->seen = (struct lockinfo_seen){ 0 };
	if (place->fails == request->op && place->fail_count != 0) {
		place->fail_count -= place->fail_count > 0;
		fake->answer.result = place->with;
	} else {
		fake->answer.result = apply(place, request);
		(void)snprintf(fake->answer.etag, LEASE_ETAG_MAX, "\"%u\"", place->version);
	}
	if (request->op == LEASE_READ && fake->answer.result == LEASE_R_DONE) {
		memcpy(fake->answer.id, "an-id", sizeof("an-id"));
		memcpy(fake->seen.id, "an-id", sizeof("an-id"));
		if (place->is_ours) /* of another there is none */
			memcpy(fake->answer.nonce, place->nonce, LEASE_NONCE_LEN);
	}
	return sd_event_add_defer(event, &fake->source, on_defer, fake);
}

static void fake_cancel(struct lock_store *store)
{
	struct fake *fake = (struct fake *)store;

	fake->source = sd_event_source_disable_unref(fake->source);
}

static struct lock_store *fake_free(struct lock_store *store)
{
	fake_cancel(store);
	free(store);
	return NULL;
}

static const struct lock_store_ops fake_ops = {
	.send = fake_send,
	.cancel = fake_cancel,
	.free = fake_free,
};

/* --- a lock in both ------------------------------------------------------------------------ */

static void on_events(struct lock *of, unsigned events, void *userdata)
{
	(void)of;
	(void)userdata;
	all_events |= events;
}

static void on_idle(struct lock *of, void *userdata)
{
	(void)of;
	(void)userdata;
	is_idle = true;
}

static void on_info(char *buf, size_t size, uint64_t job, void *userdata)
{
	(void)userdata;
	(void)snprintf(buf, size, "job %d", (int)job);
}

static const char *own_id; /* NULL: nothing is ours of before */

static bool is_own(const char *id, void *userdata)
{
	(void)userdata;
	return own_id && strcmp(own_id, id) == 0;
}

static void setup(void)
{
	static const struct lock_host host = { "machine", "boot" };
	static const struct lock_callbacks callbacks = { on_events, on_idle, on_info, is_own };

	memset(places, 0, sizeof(places));
	journal[0] = '\0';
	all_events = 0;
	is_idle = false;
	own_id = NULL;
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(lock_new(&lock, event, &config, &host, &callbacks, NULL), 0);
}

static void teardown(void)
{
	lock_free(lock);
	sd_event_unref(event);
}

static void want(uint64_t job)
{
	struct lock_claim *claim = NULL;

	if (job == 0) {
		is_idle = false;
		lock_want(lock, NULL);
		return;
	}
	ck_assert_int_eq(lock_claim_new(&claim, job,
					&(struct lock_claim_words){ "id", "op", "who", "1",
								    "b/k" }),
			 0);
	for (int i = 0; i < LOCK_KIND_COUNT; i++) {
		struct fake *fake = calloc(1, sizeof(*fake));

		ck_assert_ptr_nonnull(fake);
		fake->store.ops = &fake_ops;
		fake->kind = (enum lock_kind)i;
		claim->stores[i] = &fake->store;
	}
	lock_want(lock, claim);
}

#define RUN_UNTIL(condition)                                                                \
	do {                                                                                \
		const uint64_t end_ = clock_usec(CLOCK_BOOTTIME) + BOUND_USEC;              \
		while (!(condition)) {                                                      \
			ck_assert_msg(clock_usec(CLOCK_BOOTTIME) < end_, "%s", #condition); \
			(void)sd_event_run(event, USEC_PER_MSEC);                           \
		}                                                                           \
	} while (0)

static void hold(uint64_t job)
{
	want(job);
	RUN_UNTIL(lock_is_held_by(lock, job));
	ck_assert(all_events & LEASE_EV_HELD);
	all_events = 0;
}

static void put_foreign(enum lock_kind kind)
{
	places[kind].is_there = true;
	places[kind].is_ours = false;
	places[kind].version++;
}

START_TEST(taken_in_one_order_and_released_in_the_other)
{
	hold(7);
	ck_assert_str_eq(journal, "+s +d ");
	RUN_UNTIL(places[LOCK_S3].writes >= 3 && places[LOCK_DYNAMODB].writes >= 3);
	ck_assert(all_events & LEASE_EV_RENEWED);
	want(0);
	RUN_UNTIL(is_idle);
	ck_assert_str_eq(journal, "+s +d -d -s ");
	ck_assert(!places[LOCK_S3].is_there && !places[LOCK_DYNAMODB].is_there);
	ck_assert(!(all_events & (LEASE_EV_LOST | LEASE_EV_GONE | LEASE_EV_EXPIRED)));
}
END_TEST

/* Two that had one each, and wanted the other's, would wait for ever. */
START_TEST(second_store_is_left_alone_while_the_first_is_anothers)
{
	put_foreign(LOCK_S3);
	want(7);
	RUN_UNTIL(all_events & LEASE_EV_FOREIGN);
	all_events = 0;
	put_foreign(LOCK_S3); /* seen: so it was looked at again */
	RUN_UNTIL(all_events & LEASE_EV_FOREIGN);
	ck_assert_str_eq(journal, "+s ");
	ck_assert(!places[LOCK_DYNAMODB].is_there);
	places[LOCK_S3].is_there = false;
	RUN_UNTIL(all_events & LEASE_EV_HELD);
	ck_assert_str_eq(journal, "+s +s +d ");
	want(0);
	RUN_UNTIL(is_idle);
}
END_TEST

/* The second is another's: not held until he lets go; given up, his stays and the first goes. */
START_TEST(second_store_refuses)
{
	put_foreign(LOCK_DYNAMODB);
	want(7);
	RUN_UNTIL(all_events & LEASE_EV_FOREIGN);
	RUN_UNTIL(places[LOCK_S3].writes >= 3); /* the first is kept meanwhile */
	ck_assert(!(all_events & LEASE_EV_HELD) && !lock_is_held_by(lock, 7));
	ck_assert_uint_eq(lock_deadline(lock), 0);
	ck_assert_ptr_nonnull(lock_holder(lock));
	if (_i == 0) {
		places[LOCK_DYNAMODB].is_there = false;
		RUN_UNTIL(all_events & LEASE_EV_HELD);
		ck_assert(lock_is_held_by(lock, 7));
		ck_assert_ptr_null(lock_holder(lock));
	}
	want(0);
	RUN_UNTIL(is_idle);
	ck_assert(!places[LOCK_S3].is_there);
	ck_assert_int_eq(places[LOCK_DYNAMODB].is_there, _i == 1);
}
END_TEST

/* The earlier deadline counts; what fails on one side does not stop the other. */
START_TEST(renewal_in_one_store_fails)
{
	const enum lock_kind kind = (enum lock_kind)_i, other = kind ? LOCK_S3 : LOCK_DYNAMODB;
	uint64_t deadline;

	hold(7);
	places[kind].fails = LEASE_SWAP;
	places[kind].with = LEASE_R_UNKNOWN;
	places[kind].fail_count = -1;
	RUN_UNTIL(all_events & LEASE_EV_TROUBLE);
	deadline = lock->sides[kind].lease.deadline_usec;
	places[other].writes = 0;
	RUN_UNTIL(places[other].writes >= 4);
	ck_assert_uint_eq(lock_deadline(lock), deadline);
	ck_assert(lock_is_in_doubt(lock) && lock_is_held_by(lock, 7));
	places[kind].fail_count = 0;
	RUN_UNTIL(lock_deadline(lock) > deadline);
	want(0);
	RUN_UNTIL(is_idle);
	ck_assert(!places[LOCK_S3].is_there && !places[LOCK_DYNAMODB].is_there);
	ck_assert(!(all_events & (LEASE_EV_LOST | LEASE_EV_GONE)));
}
END_TEST

/* Replaced in one store: lost, the other is kept until the job has ended, then let go. */
START_TEST(replaced_in_one_store)
{
	const enum lock_kind kind = (enum lock_kind)_i, other = kind ? LOCK_S3 : LOCK_DYNAMODB;

	hold(7);
	put_foreign(kind);
	RUN_UNTIL(all_events & LEASE_EV_LOST);
	ck_assert(!lock_is_held_by(lock, 7));
	places[other].writes = 0;
	RUN_UNTIL(places[other].writes >= 3);
	want(0);
	RUN_UNTIL(is_idle);
	ck_assert(!places[other].is_there);
	ck_assert(places[kind].is_there && !places[kind].is_ours);
}
END_TEST

/* Both removals are tried, whatever comes of the first, and until it is done. */
START_TEST(release_of_the_second_fails)
{
	static const enum lease_result failures[] = { LEASE_R_UNKNOWN, LEASE_R_DENIED,
						      LEASE_R_CONFLICT, LEASE_R_UNSENT };

	hold(7);
	places[LOCK_DYNAMODB].fails = LEASE_REMOVE;
	places[LOCK_DYNAMODB].with = failures[_i];
	places[LOCK_DYNAMODB].fail_count = -1;
	want(0);
	RUN_UNTIL(!places[LOCK_S3].is_there);
	ck_assert_int_eq(strncmp(journal, "+s +d -d ", 9), 0);
	ck_assert(places[LOCK_DYNAMODB].is_there && !is_idle);
	places[LOCK_DYNAMODB].fail_count = 0;
	RUN_UNTIL(is_idle);
	ck_assert(!places[LOCK_DYNAMODB].is_there);
}
END_TEST

/* A hand-over that gets through in one store alone is none. */
START_TEST(hand_over_in_one_store_fails)
{
	const enum lock_kind kind = (enum lock_kind)_i, other = kind ? LOCK_S3 : LOCK_DYNAMODB;

	hold(7);
	places[kind].fails = LEASE_SWAP;
	places[kind].with = LEASE_R_UNKNOWN;
	places[kind].fail_count = -1;
	want(8);
	RUN_UNTIL(lease_is_held_by(&lock->sides[other].lease, 8) || kind == LOCK_S3);
	RUN_UNTIL(all_events & LEASE_EV_TROUBLE);
	ck_assert(!(all_events & LEASE_EV_HELD) && !lock_is_held_by(lock, 8));
	places[kind].fail_count = 0;
	RUN_UNTIL(all_events & LEASE_EV_HELD);
	ck_assert(lock_is_held_by(lock, 8));
	want(0);
	RUN_UNTIL(is_idle);
}
END_TEST

/* However often it is used, or woken, before there was time to look for it. */
START_TEST(creation_without_an_answer_is_not_forgotten_for_other_use)
{
	places[LOCK_DYNAMODB].fails = LEASE_CREATE;
	places[LOCK_DYNAMODB].with = LEASE_R_UNKNOWN;
	places[LOCK_DYNAMODB].fail_count = 1;
	for (uint64_t job = 1; job <= 20; job++) {
		hold(job);
		want(0);
		RUN_UNTIL(is_idle);
		ck_assert(lock_may_appear(lock));
	}
	for (int i = 0; i < 20; i++) {
		want(0);
		RUN_UNTIL(is_idle);
		ck_assert(lock_may_appear(lock));
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, taken_in_one_order_and_released_in_the_other);
	tcase_add_test(tcase, second_store_is_left_alone_while_the_first_is_anothers);
	tcase_add_loop_test(tcase, second_store_refuses, 0, 2);
	tcase_add_loop_test(tcase, renewal_in_one_store_fails, 0, LOCK_KIND_COUNT);
	tcase_add_loop_test(tcase, replaced_in_one_store, 0, LOCK_KIND_COUNT);
	tcase_add_loop_test(tcase, release_of_the_second_fails, 0, 4);
	tcase_add_loop_test(tcase, hand_over_in_one_store_fails, 0, LOCK_KIND_COUNT);
	tcase_add_test(tcase, creation_without_an_answer_is_not_forgotten_for_other_use);
}

int main(void)
{
	return unit_main("lock_rows", add_tests);
}
