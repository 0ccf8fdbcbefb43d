/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/lock/lease.h"
#include "tests/unit/unit.h"

#define SEC UINT64_C(1000000)

static const struct lease_config config = {
	.lease_usec = 900 * SEC,
	.renew_usec = 60 * SEC,
	.poll_min_usec = 1 * SEC,
	.poll_max_usec = 5 * SEC,
	.acquire_tries = 4,
};

/* --- stories: one machine, its requests and their answers as told ------------------------ */

struct story {
	struct lease lease;
	struct lease_request request;
	uint64_t now;
	unsigned writes; /* nonces given out */
	unsigned events; /* of the last answer */
};

static void nonce_of(char nonce[static LEASE_NONCE_LEN], unsigned number)
{
	(void)snprintf(nonce, LEASE_NONCE_LEN, "%032x", number);
}

static void begin(struct story *story)
{
	*story = (struct story){ .now = 1000 * SEC };
	lease_init(&story->lease, &config, 1);
}

/* It must want to send @op, now or after a wait; @again: under the nonce of the write before. */
static void expect_write(struct story *story, enum lease_op op, bool again)
{
	char nonce[LEASE_NONCE_LEN];

	nonce_of(nonce, story->writes + 1);
	lease_next(&story->lease, story->now, nonce, &story->request);
	if (story->request.op == LEASE_NONE && op != LEASE_NONE) {
		ck_assert_uint_lt(story->request.wake_usec, UINT64_MAX);
		ck_assert_uint_gt(story->request.wake_usec, story->now);
		story->now = story->request.wake_usec;
		lease_next(&story->lease, story->now, nonce, &story->request);
	}
	ck_assert_int_eq(story->request.op, op);
	if (op == LEASE_CREATE || op == LEASE_SWAP) {
		if (again)
			nonce_of(nonce, story->writes);
		else
			story->writes++;
		ck_assert_str_eq(story->request.nonce, nonce);
	}
}

static void expect(struct story *story, enum lease_op op)
{
	expect_write(story, op, false);
}

static void tell(struct story *story, const struct lease_answer *answer)
{
	story->now += SEC / 10;
	story->events = lease_answer(&story->lease, story->now, answer);
}

static void result(struct story *story, enum lease_result result)
{
	tell(story, &(struct lease_answer){ .result = result });
}

static void written(struct story *story, const char *etag)
{
	struct lease_answer answer = { .result = LEASE_R_DONE };

	(void)snprintf(answer.etag, sizeof(answer.etag), "%s", etag);
	tell(story, &answer);
}

/* A READ shows our write @number (0: raw terraform's), as version @etag. */
static void seen(struct story *story, unsigned number, const char *etag)
{
	struct lease_answer answer = { .result = LEASE_R_DONE, .id = "some-id" };

	if (number > 0)
		nonce_of(answer.nonce, number);
	(void)snprintf(answer.etag, sizeof(answer.etag), "%s", etag);
	tell(story, &answer);
}

static void hold(struct story *story, uint64_t owner)
{
	begin(story);
	lease_want(&story->lease, owner);
	expect(story, LEASE_CREATE);
	written(story, "e1");
	ck_assert_uint_eq(story->events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	ck_assert(lease_is_held_by(&story->lease, owner));
}

static void release(struct story *story, unsigned number, const char *etag)
{
	lease_want(&story->lease, 0);
	expect(story, LEASE_READ);
	seen(story, number, etag);
	expect(story, LEASE_REMOVE);
	ck_assert_str_eq(story->request.etag, etag);
	result(story, LEASE_R_DONE);
	ck_assert_uint_eq(story->events, LEASE_EV_RELEASED);
	ck_assert(lease_is_idle(&story->lease));
	expect(story, LEASE_NONE);
	ck_assert_uint_eq(story->request.wake_usec, UINT64_MAX);
}

/* Both bounds of the jitter. */
static void assert_about(uint64_t usec, uint64_t wanted, uint64_t percent)
{
	ck_assert_uint_ge(usec, wanted - wanted * percent / 100);
	ck_assert_uint_le(usec, wanted + wanted * percent / 100);
}

START_TEST(free_lock_is_taken_renewed_and_released)
{
	struct story story;
	uint64_t sent;

	begin(&story);
	expect(&story, LEASE_NONE);
	ck_assert_uint_eq(story.request.wake_usec, UINT64_MAX);
	ck_assert(lease_is_idle(&story.lease));

	lease_want(&story.lease, 7);
	sent = story.now;
	expect(&story, LEASE_CREATE);
	ck_assert_uint_eq(story.request.owner, 7);
	ck_assert_uint_eq(story.request.seq, 1);
	ck_assert(!story.request.is_handover);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	ck_assert(!lease_is_idle(&story.lease));
	expect(&story, LEASE_NONE); /* one at a time */

	story.now += 5 * SEC;
	written(&story, "e1");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	ck_assert(lease_is_held_by(&story.lease, 7));
	ck_assert(!lease_is_held_by(&story.lease, 8));
	ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);

	for (unsigned i = 2; i < 50; i++) {
		char etag[LEASE_ETAG_MAX];
		const uint64_t before = sent;

		expect(&story, LEASE_SWAP);
		sent = story.now;
		assert_about(sent - before, config.renew_usec, 10);
		(void)snprintf(etag, sizeof(etag), "e%u", i - 1);
		ck_assert_str_eq(story.request.etag, etag);
		ck_assert_uint_eq(story.request.seq, i);
		ck_assert(!story.request.is_handover);
		(void)snprintf(etag, sizeof(etag), "e%u", i);
		written(&story, etag);
		ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
		ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
	}
	release(&story, 49, "e49");
}
END_TEST

START_TEST(refused_create_that_was_ours_is_believed_after_a_look)
{
	struct story story;
	uint64_t sent;

	begin(&story);
	lease_want(&story.lease, 7);
	sent = story.now;
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED); /* sent twice by the transport */
	ck_assert_uint_eq(story.events, 0);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	ck_assert(!lease_is_idle(&story.lease));
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
	release(&story, 1, "e1");
}
END_TEST

START_TEST(refused_create_whose_holder_has_gone_is_tried_at_once)
{
	struct story story;
	uint64_t now;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	ck_assert_uint_eq(story.events, 0);
	now = story.now;
	expect(&story, LEASE_CREATE);
	ck_assert_uint_eq(story.now, now);
	ck_assert_uint_eq(story.request.seq, 1);
	written(&story, "e1");
	ck_assert(lease_is_held_by(&story.lease, 7));
}
END_TEST

START_TEST(store_that_refuses_and_has_nothing_is_not_asked_without_pause)
{
	struct story story;
	const uint64_t limit = 1000;
	uint64_t asked = 0;
	bool has_failed = false;

	begin(&story);
	lease_want(&story.lease, 7);
	story.now = 0;
	while (story.now < 60 * SEC && asked < limit) {
		expect(&story, LEASE_CREATE);
		story.events = lease_answer(&story.lease, ++story.now,
					    &(struct lease_answer){ .result = LEASE_R_REFUSED });
		expect(&story, LEASE_READ);
		story.events = lease_answer(&story.lease, ++story.now,
					    &(struct lease_answer){ .result = LEASE_R_ABSENT });
		has_failed |= (story.events & LEASE_EV_FAILED) != 0;
		asked++;
	}
	ck_assert_uint_lt(asked, 100);
	ck_assert(has_failed);
}
END_TEST

START_TEST(foreign_holder_is_polled_until_the_lock_is_free)
{
	struct story story;
	uint64_t poll_usec = config.poll_min_usec;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	ck_assert_uint_eq(story.events, LEASE_EV_FOREIGN);

	for (unsigned i = 0; i < 40; i++) {
		const uint64_t before = story.now;

		expect(&story, LEASE_READ);
		assert_about(story.now - before, poll_usec, 20);
		poll_usec += poll_usec / 2;
		if (poll_usec > config.poll_max_usec)
			poll_usec = config.poll_max_usec;
		seen(&story, 0, i < 20 ? "f1" : "f2"); /* told of once per version */
		ck_assert_uint_eq(story.events, i == 20 ? LEASE_EV_FOREIGN : 0);
		ck_assert(!lease_is_held_by(&story.lease, 7));
	}

	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);
	written(&story, "e1");
	ck_assert(lease_is_held_by(&story.lease, 7));
}
END_TEST

START_TEST(waiter_that_no_longer_wants_goes_at_once)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_READ);
	lease_want(&story.lease, 0);
	ck_assert(!lease_is_idle(&story.lease));
	seen(&story, 0, "f1");
	for (unsigned i = 0; i < 3 && !lease_is_idle(&story.lease); i++) {
		expect(&story, LEASE_READ); /* its CREATE may have landed */
		seen(&story, 0, "f1");
	}
	ck_assert(lease_is_idle(&story.lease));
	expect(&story, LEASE_NONE);
	ck_assert_uint_eq(story.request.wake_usec, UINT64_MAX);
}
END_TEST

/* What comes back for a write, what a look then shows, and what follows from it. */
static const struct {
	const char *name;
	enum lease_result answer;
	bool landed;
	unsigned events, settled_events;
} lost_answers[] = {
	/* clang-format off */
	{ "unknown, landed", LEASE_R_UNKNOWN, true, LEASE_EV_TROUBLE, LEASE_EV_RENEWED },
	{ "unknown, not landed", LEASE_R_UNKNOWN, false, LEASE_EV_TROUBLE, LEASE_EV_TROUBLE },
	{ "throttled, landed", LEASE_R_THROTTLED, true, LEASE_EV_TROUBLE, LEASE_EV_RENEWED },
	{ "throttled, not landed", LEASE_R_THROTTLED, false, LEASE_EV_TROUBLE, LEASE_EV_TROUBLE },
	{ "refused, landed", LEASE_R_REFUSED, true, 0, LEASE_EV_RENEWED },
	{ "refused, not landed", LEASE_R_REFUSED, false, 0, LEASE_EV_TROUBLE },
	{ "conflict, not landed", LEASE_R_CONFLICT, false, LEASE_EV_TROUBLE, LEASE_EV_TROUBLE },
	{ "no ETag, landed", LEASE_R_DONE, true, LEASE_EV_TROUBLE, LEASE_EV_RENEWED },
	/* clang-format on */
};
#define LOST_COUNT ((int)(sizeof(lost_answers) / sizeof(lost_answers[0])))

START_TEST(renewal_without_an_answer_is_settled_by_a_look)
{
	struct story story;
	uint64_t sent, deadline;

	hold(&story, 7);
	deadline = story.lease.deadline_usec;
	expect(&story, LEASE_SWAP);
	sent = story.now;
	result(&story, lost_answers[_i].answer);
	ck_assert_msg(story.events == lost_answers[_i].events, "%s: %x", lost_answers[_i].name,
		      story.events);
	ck_assert_uint_eq(story.lease.deadline_usec, deadline);
	ck_assert(lease_is_held_by(&story.lease, 7)); /* until it is known to be otherwise */

	expect(&story, LEASE_READ);
	if (lost_answers[_i].landed)
		seen(&story, 2, "e2");
	else
		seen(&story, 1, "e1");
	ck_assert_msg(story.events == lost_answers[_i].settled_events, "%s: %x",
		      lost_answers[_i].name, story.events);
	ck_assert_uint_eq(story.lease.deadline_usec,
			  lost_answers[_i].landed ? sent + config.lease_usec : deadline);

	expect(&story, LEASE_SWAP);
	ck_assert_str_eq(story.request.etag, lost_answers[_i].landed ? "e2" : "e1");
	written(&story, "e3");
	ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
	release(&story, 3, "e3");
}
END_TEST

START_TEST(create_without_an_answer_is_settled_by_a_look)
{
	struct story story;
	const uint64_t sent = 1000 * SEC;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, lost_answers[_i].answer);
	ck_assert_uint_eq(story.events, lost_answers[_i].events);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	expect(&story, LEASE_READ);
	if (lost_answers[_i].landed) {
		seen(&story, 1, "e1");
		ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
		ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
		release(&story, 1, "e1");
		return;
	}
	result(&story, LEASE_R_ABSENT);
	ck_assert_msg(!lease_is_held_by(&story.lease, 7), "%s", lost_answers[_i].name);
	expect(&story, LEASE_CREATE);
	written(&story, "e2");
	ck_assert(lease_is_held_by(&story.lease, 7));
	ck_assert_uint_gt(story.lease.deadline_usec, sent + config.lease_usec);
	release(&story, 2, "e2");
}
END_TEST

START_TEST(create_that_lands_late_is_still_known)
{
	struct story story;
	uint64_t sent;

	/* The first is lost, absent, the second is refused: by the first. */
	begin(&story);
	lease_want(&story.lease, 7);
	sent = story.now;
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
	release(&story, 1, "e1");
}
END_TEST

START_TEST(create_that_lands_after_a_release_is_not_taken_for_anothers)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);
	written(&story, "e2");
	release(&story, 2, "e2");

	lease_want(&story.lease, 8);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e3");
	ck_assert(story.events & LEASE_EV_RENEWED);
	ck_assert(!lease_is_held_by(&story.lease, 8)); /* job 7 is written there */
	expect(&story, LEASE_SWAP);
	ck_assert_str_eq(story.request.etag, "e3");
	ck_assert_uint_eq(story.request.owner, 8);
	ck_assert(story.request.is_handover);
	written(&story, "e4");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	release(&story, 4, "e4");
}
END_TEST

START_TEST(create_whose_outcome_is_open_is_looked_for_before_it_rests)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	lease_want(&story.lease, 0);
	ck_assert(!lease_is_idle(&story.lease));
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1"); /* it has landed */
	ck_assert(!lease_is_idle(&story.lease));
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_REMOVE);
	result(&story, LEASE_R_DONE);
	ck_assert_uint_eq(story.events, LEASE_EV_RELEASED);
	ck_assert(lease_is_idle(&story.lease));
}
END_TEST

START_TEST(renewal_that_lands_late_is_won_from_its_own_sending)
{
	struct story story;
	uint64_t sent;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	sent = story.now;
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_SWAP); /* the same again, with another nonce */
	ck_assert_str_eq(story.request.etag, "e1");
	result(&story, LEASE_R_REFUSED); /* by the first one, which landed now */
	ck_assert_uint_eq(story.events, 0);
	expect(&story, LEASE_READ);
	seen(&story, 2, "e2");
	ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
	ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
	ck_assert(!story.lease.etag_unquoted);
	release(&story, 2, "e2");
}
END_TEST

START_TEST(many_lost_renewals_leave_the_deadline_where_it_was)
{
	struct story story;
	uint64_t deadline;

	hold(&story, 7);
	deadline = story.lease.deadline_usec;
	for (unsigned i = 0; i < 3 * LEASE_OPEN_KEPT; i++) {
		expect_write(&story, LEASE_SWAP, i >= LEASE_OPEN_KEPT);
		result(&story, i % 2 ? LEASE_R_UNKNOWN : LEASE_R_THROTTLED);
		ck_assert(!(story.events & (LEASE_EV_FAILED | LEASE_EV_LOST)));
		expect(&story, LEASE_READ);
		seen(&story, 1, "e1");
		ck_assert_uint_eq(story.lease.deadline_usec, deadline);
		ck_assert(lease_is_held_by(&story.lease, 7));
		ck_assert_uint_le(story.lease.open_count, LEASE_OPEN_KEPT);
	}
	/* All that is still under way may land, the last one too, which went out many times. */
	expect_write(&story, LEASE_SWAP, true);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, LEASE_OPEN_KEPT + 1, "e2");
	ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
	release(&story, LEASE_OPEN_KEPT + 1, "e2");
}
END_TEST

/* Answers to a REMOVE, and whether the object is still there when looked for. */
static const struct {
	const char *name;
	enum lease_result answer;
	bool looks, is_there;
} removals[] = {
	{ "done", LEASE_R_DONE, false, false },
	{ "absent", LEASE_R_ABSENT, false, false },
	{ "unknown, done", LEASE_R_UNKNOWN, true, false },
	{ "unknown, not done", LEASE_R_UNKNOWN, true, true },
	{ "throttled, done", LEASE_R_THROTTLED, true, false },
	{ "throttled, not done", LEASE_R_THROTTLED, true, true },
	{ "refused, done", LEASE_R_REFUSED, true, false },
	{ "refused, not done", LEASE_R_REFUSED, true, true },
	{ "conflict, not done", LEASE_R_CONFLICT, true, true },
	{ "denied, not done", LEASE_R_DENIED, true, true },
	{ "unsent", LEASE_R_UNSENT, true, true },
};
#define REMOVAL_COUNT ((int)(sizeof(removals) / sizeof(removals[0])))

START_TEST(release_ends_when_the_object_is_gone)
{
	struct story story;
	bool was_settled = false;

	hold(&story, 7);
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	ck_assert(!lease_is_idle(&story.lease));
	seen(&story, 1, "e1");
	expect(&story, LEASE_REMOVE);
	result(&story, removals[_i].answer);
	if (removals[_i].looks) {
		ck_assert(!lease_is_idle(&story.lease));
		expect(&story, LEASE_READ);
		if (removals[_i].is_there) {
			seen(&story, 1, "e1");
			for (int i = 0; i < 2 && !was_settled; i++) {
				char none[LEASE_NONCE_LEN] = "";

				story.now += 30 * SEC;
				lease_next(&story.lease, story.now, none, &story.request);
				was_settled = story.request.op == LEASE_REMOVE;
				if (!was_settled) {
					ck_assert_int_eq(story.request.op, LEASE_READ);
					seen(&story, 1, "e1");
				}
			}
			ck_assert_msg(was_settled, "%s", removals[_i].name);
			ck_assert_str_eq(story.request.etag, "e1");
			result(&story, LEASE_R_DONE);
		} else {
			result(&story, LEASE_R_ABSENT);
		}
	}
	ck_assert_msg(story.events == LEASE_EV_RELEASED, "%s: %x", removals[_i].name, story.events);
	ck_assert(lease_is_idle(&story.lease));
}
END_TEST

START_TEST(what_is_not_ours_is_not_released)
{
	struct story story;

	/* Another took the place while we were away: seen by the look before the REMOVE. */
	hold(&story, 7);
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	seen(&story, _i ? 999 : 0, "f1");
	ck_assert_uint_eq(story.events, LEASE_EV_LOST | LEASE_EV_RELEASED);
	ck_assert(lease_is_idle(&story.lease));
	expect(&story, LEASE_NONE);

	/* ... and after a REMOVE whose answer was lost. */
	hold(&story, 7);
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_REMOVE);
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	seen(&story, _i ? 999 : 0, "f1");
	ck_assert(lease_is_idle(&story.lease));
	expect(&story, LEASE_NONE);
}
END_TEST

START_TEST(page_under_a_200_is_no_reason_to_let_go)
{
	struct story story;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_UNKNOWN);
	for (unsigned i = 0; i < 20; i++) {
		expect(&story, LEASE_READ);
		tell(&story, &(struct lease_answer){ .result = LEASE_R_DONE, .etag = "html" });
		ck_assert_uint_eq(story.events, LEASE_EV_TROUBLE);
		ck_assert(lease_is_held_by(&story.lease, 7));
	}
	expect(&story, LEASE_READ);
	seen(&story, 2, "e2");
	ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
}
END_TEST

START_TEST(lock_changes_hands_without_being_let_go)
{
	struct story story;
	uint64_t now, sent;

	hold(&story, 7);
	lease_want(&story.lease, 8);
	now = story.now;
	expect(&story, LEASE_SWAP);
	sent = story.now;
	ck_assert_uint_eq(now, sent); /* at once */
	ck_assert(story.request.is_handover);
	ck_assert_uint_eq(story.request.owner, 8);
	ck_assert_uint_eq(story.request.seq, 2);
	ck_assert(lease_is_held_by(&story.lease, 7));
	ck_assert(!lease_is_held_by(&story.lease, 8));
	written(&story, "e2");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	ck_assert(lease_is_held_by(&story.lease, 8));
	ck_assert(!lease_is_held_by(&story.lease, 7));
	ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
	release(&story, 2, "e2");
}
END_TEST

START_TEST(hand_over_waits_for_the_renewal_under_way)
{
	struct story story;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	lease_want(&story.lease, 8);
	expect(&story, LEASE_NONE);
	if (_i == 0) {
		written(&story, "e2");
		ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
	} else {
		result(&story, LEASE_R_UNKNOWN);
		expect(&story, LEASE_READ);
		seen(&story, 2, "e2");
		ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
	}
	ck_assert(lease_is_held_by(&story.lease, 7));
	expect(&story, LEASE_SWAP);
	ck_assert(story.request.is_handover);
	ck_assert_uint_eq(story.request.owner, 8);
	ck_assert_str_eq(story.request.etag, "e2");
	written(&story, "e3");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	release(&story, 3, "e3");
}
END_TEST

START_TEST(hand_over_without_an_answer_belongs_to_whom_the_look_shows)
{
	struct story story;

	hold(&story, 7);
	lease_want(&story.lease, 8);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_UNKNOWN);
	lease_want(&story.lease, 9); /* 8 has gone meanwhile */
	expect(&story, LEASE_READ);
	if (_i == 0) {
		seen(&story, 2, "e2");
		ck_assert(lease_is_held_by(&story.lease, 8));
	} else {
		seen(&story, 1, "e1");
		ck_assert(lease_is_held_by(&story.lease, 7));
	}
	expect(&story, LEASE_SWAP);
	ck_assert_uint_eq(story.request.owner, 9);
	ck_assert_str_eq(story.request.etag, _i == 0 ? "e2" : "e1");
	written(&story, "e3");
	ck_assert(lease_is_held_by(&story.lease, 9));
	release(&story, 3, "e3");
}
END_TEST

START_TEST(hand_over_that_is_denied_leaves_the_former_owner)
{
	struct story story;

	hold(&story, 7);
	lease_want(&story.lease, 8);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_DENIED);
	ck_assert_uint_eq(story.events, LEASE_EV_DENIED | LEASE_EV_TROUBLE);
	ck_assert(lease_is_held_by(&story.lease, 7));
	ck_assert(!lease_is_held_by(&story.lease, 8));
	lease_want(&story.lease, 9);
	expect(&story, LEASE_SWAP);
	ck_assert_uint_eq(story.request.owner, 9);
	written(&story, "e2");
	ck_assert(lease_is_held_by(&story.lease, 9));
	release(&story, 3, "e2");
}
END_TEST

START_TEST(wish_that_changes_under_way_is_followed_afterwards)
{
	struct story story;

	/* CREATE under way, and nobody wants it any more. */
	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	lease_want(&story.lease, 0);
	ck_assert(!lease_is_idle(&story.lease));
	written(&story, "e1");
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_REMOVE);

	/* REMOVE under way, and the next wants it. */
	lease_want(&story.lease, 8);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	result(&story, LEASE_R_DONE);
	ck_assert(!(story.events & LEASE_EV_RELEASED)); /* it is not let alone */
	expect(&story, LEASE_CREATE);
	ck_assert_uint_eq(story.request.owner, 8);

	/* ... and another one, meanwhile. */
	lease_want(&story.lease, 9);
	written(&story, "e2");
	ck_assert(!lease_is_held_by(&story.lease, 9));
	expect(&story, LEASE_SWAP);
	ck_assert_uint_eq(story.request.owner, 9);
	written(&story, "e3");
	ck_assert(lease_is_held_by(&story.lease, 9));

	/* Looking before the release, and wanted again: nothing is removed. */
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	lease_want(&story.lease, 9);
	seen(&story, 3, "e3");
	expect(&story, LEASE_SWAP);
	ck_assert_str_eq(story.request.etag, "e3");
	written(&story, "e4");

	/* Looked, wanted again, and released again: looks again. */
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	seen(&story, 4, "e4");
	lease_want(&story.lease, 9);
	release(&story, 4, "e4");
}
END_TEST

START_TEST(lock_is_not_held_again_while_a_removal_is_open)
{
	struct story story;

	hold(&story, 7);
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_REMOVE);
	lease_want(&story.lease, 7);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1"); /* not removed yet: it may still be */
	ck_assert(!lease_is_held_by(&story.lease, 7));
	expect(&story, LEASE_SWAP);
	ck_assert_uint_lt(story.now, 1030 * SEC);
	written(&story, "e2"); /* from now on the REMOVE finds another version */
	ck_assert(story.events & LEASE_EV_HELD);
	ck_assert(lease_is_held_by(&story.lease, 7));
}
END_TEST

START_TEST(lock_deleted_under_us_is_taken_again)
{
	struct story story;
	uint64_t deadline;

	hold(&story, 7);
	deadline = story.lease.deadline_usec;
	expect(&story, LEASE_SWAP);
	result(&story, _i == 0 ? LEASE_R_ABSENT : LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	ck_assert_uint_eq(story.events, LEASE_EV_GONE);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	ck_assert(!lease_is_idle(&story.lease));
	ck_assert_uint_eq(story.lease.deadline_usec, deadline);
	expect(&story, LEASE_CREATE);
	ck_assert_uint_eq(story.request.owner, 7);
	written(&story, "e3");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED);
	ck_assert(lease_is_held_by(&story.lease, 7));
	release(&story, 3, "e3");
}
END_TEST

START_TEST(lock_that_was_only_said_to_be_gone_is_held_again)
{
	struct story story;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	ck_assert_uint_eq(story.events, LEASE_EV_GONE);
	if (_i == 0) { /* still wanted */
		expect(&story, LEASE_CREATE);
		result(&story, LEASE_R_REFUSED);
		expect(&story, LEASE_READ);
		seen(&story, 1, "e1");
		ck_assert(lease_is_held_by(&story.lease, 7));
		ck_assert(story.events & LEASE_EV_HELD);
		expect(&story, LEASE_SWAP);
		written(&story, "e2");
		release(&story, 4, "e2");
	} else {
		release(&story, 1, "e1");
	}
}
END_TEST

START_TEST(lock_replaced_under_us_is_lost)
{
	struct story story;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, _i ? 999 : 0, "f1");
	ck_assert_uint_eq(story.events, LEASE_EV_LOST);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	ck_assert_int_eq(story.lease.state, LEASE_LOST);
	expect(&story, LEASE_NONE); /* until somebody wants it anew */
	ck_assert_uint_eq(story.request.wake_usec, UINT64_MAX);
	ck_assert(lease_is_idle(&story.lease));

	lease_want(&story.lease, 8);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, _i ? 999 : 0, "f1");
	ck_assert_uint_eq(story.events, LEASE_EV_FOREIGN);
}
END_TEST

START_TEST(lock_gone_and_taken_by_another_is_lost)
{
	struct story story;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	ck_assert_uint_eq(story.events, LEASE_EV_LOST);
	ck_assert(!lease_is_held_by(&story.lease, 7));
}
END_TEST

/* libcurl sends a request again if a kept connection dies; the first may have been carried out. */
static const struct {
	bool creates;
	enum lease_result result;
	enum lease_op then;
} repetitions[] = {
	{ true, LEASE_R_DENIED, LEASE_READ },   { false, LEASE_R_DENIED, LEASE_READ },
	{ true, LEASE_R_CONFLICT, LEASE_READ }, { false, LEASE_R_CONFLICT, LEASE_READ },
	{ true, LEASE_R_UNSENT, LEASE_CREATE }, { false, LEASE_R_UNSENT, LEASE_SWAP },
	{ true, LEASE_R_REFUSED, LEASE_READ },  { false, LEASE_R_REFUSED, LEASE_READ },
};
#define REPETITION_COUNT ((int)(sizeof(repetitions) / sizeof(repetitions[0])))

static void repeat(struct story *story, enum lease_result result)
{
	tell(story, &(struct lease_answer){ .result = result, .is_repeated = true });
}

START_TEST(refusal_of_a_repetition_says_nothing_of_the_first)
{
	struct story story;
	unsigned written_first;
	uint64_t sent;

	if (repetitions[_i].creates) {
		begin(&story);
		lease_want(&story.lease, 7);
		expect(&story, LEASE_CREATE);
	} else {
		hold(&story, 7);
		expect(&story, LEASE_SWAP);
	}
	written_first = story.writes;
	sent = story.now;
	repeat(&story, repetitions[_i].result);
	expect(&story, repetitions[_i].then);
	if (repetitions[_i].then != LEASE_READ) {
		result(&story, LEASE_R_REFUSED);
		expect(&story, LEASE_READ);
	}
	seen(&story, written_first, "e2");
	ck_assert(lease_is_held_by(&story.lease, 7));
	ck_assert_uint_eq(story.lease.deadline_usec, sent + config.lease_usec);
	release(&story, written_first, "e2");
}
END_TEST

START_TEST(repeated_creation_may_land_after_its_refusal)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	if (_i)
		repeat(&story, LEASE_R_REFUSED);
	else
		result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	ck_assert_int_eq(lease_may_appear(&story.lease), _i);
}
END_TEST

START_TEST(one_who_does_not_want_it_any_more_looks_what_a_repetition_did)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	lease_want(&story.lease, 0);
	repeat(&story, LEASE_R_DENIED);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	release(&story, 1, "e1");
}
END_TEST

/* What the look explains is the refused removal, not the creation that was lost long before. */
START_TEST(lost_creation_is_not_explained_by_a_refused_removal)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_UNKNOWN);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);
	written(&story, "e2");
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	seen(&story, 2, "e2");
	expect(&story, LEASE_REMOVE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	ck_assert(lease_is_idle(&story.lease));
	ck_assert(lease_may_appear(&story.lease));
}
END_TEST

START_TEST(newcomer_that_is_denied_fails_and_rests)
{
	struct story story;
	uint64_t now;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_DENIED);
	ck_assert(story.events & LEASE_EV_FAILED);
	now = story.now;
	if (_i == 0) {
		lease_want(&story.lease, 0);
		ck_assert(lease_is_idle(&story.lease));
		expect(&story, LEASE_NONE);
		ck_assert_uint_eq(story.request.wake_usec, UINT64_MAX);
	} else { /* who does not care is not let hammer */
		expect(&story, LEASE_CREATE);
		ck_assert_uint_gt(story.now, now);
	}
}
END_TEST

START_TEST(look_that_is_denied_is_answered_by_a_create)
{
	struct story story;

	/* Without s3:ListBucket an absent key answers 403. */
	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_DENIED);
	ck_assert(!(story.events & LEASE_EV_FAILED));
	expect(&story, LEASE_CREATE);
	written(&story, "e1");
	ck_assert(lease_is_held_by(&story.lease, 7));
}
END_TEST

START_TEST(newcomer_fails_after_so_many_tries)
{
	struct story story;
	unsigned failures = 0, steps = 0;
	uint64_t before;

	begin(&story);
	lease_want(&story.lease, 7);
	before = story.now;
	do {
		char nonce[LEASE_NONCE_LEN];

		nonce_of(nonce, ++story.writes);
		lease_next(&story.lease, story.now, nonce, &story.request);
		if (story.request.op == LEASE_NONE) {
			story.now = story.request.wake_usec;
			continue;
		}
		result(&story, _i == 0   ? LEASE_R_UNKNOWN
			       : _i == 1 ? LEASE_R_UNSENT
					 : LEASE_R_THROTTLED);
		ck_assert(story.events & LEASE_EV_TROUBLE);
		failures++;
	} while (!(story.events & LEASE_EV_FAILED) && steps++ < 100);
	ck_assert_uint_eq(failures, config.acquire_tries);
	ck_assert_uint_gt(story.now, before + (_i == 2 ? 3 * SEC : SEC / 10));
	ck_assert_uint_lt(story.now, before + (_i == 2 ? 60 : 10) * SEC);
}
END_TEST

START_TEST(waiter_is_patient)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	for (unsigned i = 0; i < 100; i++) {
		expect(&story, LEASE_READ);
		result(&story, i % 2 ? LEASE_R_UNKNOWN : LEASE_R_THROTTLED);
		ck_assert_uint_eq(story.events, LEASE_EV_TROUBLE);
	}
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_UNKNOWN);
	ck_assert_uint_eq(story.events & LEASE_EV_FAILED, 0); /* the first that counts */
}
END_TEST

START_TEST(holder_is_patient)
{
	struct story story;
	const uint64_t begun = 1000 * SEC;

	hold(&story, 7);
	for (unsigned i = 0; i < 100; i++) {
		const uint64_t before = story.now;

		expect(&story, i == 0 ? LEASE_SWAP : LEASE_READ);
		if (i > 0)
			ck_assert_uint_le(story.now - before, 20 * SEC);
		result(&story, i % 2 ? LEASE_R_UNKNOWN : LEASE_R_THROTTLED);
		ck_assert_uint_eq(story.events, LEASE_EV_TROUBLE);
		ck_assert(lease_is_held_by(&story.lease, 7));
		ck_assert_uint_eq(story.lease.deadline_usec, begun + config.lease_usec);
	}
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_SWAP);
	written(&story, "e2");
	ck_assert_uint_gt(story.lease.deadline_usec, begun + config.lease_usec);
}
END_TEST

START_TEST(throttled_store_is_left_alone_longer)
{
	struct story story;
	uint64_t before;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_THROTTLED);
	before = story.now;
	expect(&story, LEASE_READ);
	ck_assert_uint_ge(story.now - before, SEC / 2);
	seen(&story, 2, "e2");
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_UNKNOWN);
	before = story.now;
	expect(&story, LEASE_READ);
	ck_assert_uint_lt(story.now - before, SEC / 5);
}
END_TEST

static const char *const bad_etags[] = { "", "W/\"e1\"" };

START_TEST(version_that_cannot_be_named_is_not_held)
{
	struct story story;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	written(&story, bad_etags[_i]);
	ck_assert_uint_eq(story.events, LEASE_EV_TROUBLE);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	expect(&story, LEASE_READ);
	seen(&story, 1, bad_etags[_i]);
	ck_assert_uint_eq(story.events, LEASE_EV_TROUBLE);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	ck_assert(lease_is_held_by(&story.lease, 7));

	expect(&story, LEASE_SWAP);
	written(&story, bad_etags[_i]);
	ck_assert_uint_eq(story.events, LEASE_EV_TROUBLE);
	ck_assert(lease_is_held_by(&story.lease, 7));
	expect(&story, LEASE_READ);
	seen(&story, 2, "e2");
	ck_assert_uint_eq(story.events, LEASE_EV_RENEWED);
}
END_TEST

START_TEST(etag_that_is_refused_in_quotes_is_tried_without)
{
	struct story story;

	hold(&story, 7);
	ck_assert(!story.request.etag_unquoted);
	expect(&story, LEASE_SWAP);
	ck_assert(!story.request.etag_unquoted);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 1, "e1");
	expect(&story, LEASE_SWAP);
	ck_assert(story.request.etag_unquoted);
	written(&story, "e3");

	/* It is remembered, also for the next lock and for the REMOVE. */
	release(&story, 3, "e3");
	lease_want(&story.lease, 8);
	expect(&story, LEASE_CREATE);
	written(&story, "e4");
	lease_want(&story.lease, 0);
	expect(&story, LEASE_READ);
	seen(&story, 4, "e4");
	expect(&story, LEASE_REMOVE);
	ck_assert(story.request.etag_unquoted);

	/* And back, where the REMOVE is refused that way. */
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 4, "e4");
	expect(&story, LEASE_READ);
	seen(&story, 4, "e4");
	expect(&story, LEASE_REMOVE);
	ck_assert(!story.request.etag_unquoted);
}
END_TEST

START_TEST(lock_that_is_left_free_is_left_free)
{
	struct story story;
	uint64_t until;

	hold(&story, 7);
	release(&story, 1, "e1");
	until = story.now + 20 * SEC;
	lease_hold_off(&story.lease, until);
	lease_hold_off(&story.lease, until - 10 * SEC); /* the longer one counts */
	lease_want(&story.lease, 8);
	expect(&story, LEASE_CREATE);
	ck_assert_uint_eq(story.now, until);
}
END_TEST

START_TEST(renewals_of_many_do_not_fall_together)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct story story;

		begin(&story);
		lease_init(&story.lease, &config, seed);
		lease_want(&story.lease, 7);
		expect(&story, LEASE_CREATE);
		written(&story, "e1");
		expect(&story, LEASE_SWAP);
		if (story.now < least)
			least = story.now;
		if (story.now > most)
			most = story.now;
	}
	ck_assert_uint_gt(most - least, 8 * SEC);
}
END_TEST

/* --- leases that run out ------------------------------------------------------------------- */

static const struct lease_config takes_over = {
	.lease_usec = 900 * SEC,
	.renew_usec = 60 * SEC,
	.poll_min_usec = 1 * SEC,
	.poll_max_usec = 5 * SEC,
	.acquire_tries = 4,
	.takes_over = true,
	.drift_percent = 10,
	.quarantine_usec = 30 * SEC,
};

static void hold_until_expiry(struct story *story, uint64_t owner)
{
	begin(story);
	story->lease.config = takes_over;
	lease_want(&story->lease, owner);
	expect(story, LEASE_CREATE);
	written(story, "e1");
	ck_assert(lease_is_held_by(&story->lease, owner));
}

/* A READ shows version @etag of another tfqd, with a lease of @usec. */
static void seen_lease(struct story *story, const char *etag, uint64_t usec)
{
	struct lease_answer answer = { .result = LEASE_R_DONE, .id = "x", .lease_usec = usec };

	nonce_of(answer.nonce, 0x7fffffff);
	(void)snprintf(answer.etag, sizeof(answer.etag), "%s", etag);
	tell(story, &answer);
}

/* Wait behind a lease of @usec, first seen as version "f1". Return: when that was. */
static uint64_t wait_behind(struct story *story, const struct lease_config *with, uint64_t usec)
{
	begin(story);
	story->lease.config = *with;
	lease_want(&story->lease, 7);
	expect(story, LEASE_CREATE);
	result(story, LEASE_R_REFUSED);
	expect(story, LEASE_READ);
	seen_lease(story, "f1", usec);
	ck_assert_uint_eq(story->events, LEASE_EV_FOREIGN);
	return story->now;
}

static enum lease_op next_op(struct story *story)
{
	char nonce[LEASE_NONCE_LEN];

	nonce_of(nonce, story->writes + 1);
	lease_next(&story->lease, story->now, nonce, &story->request);
	if (story->request.op == LEASE_NONE) {
		story->now = story->request.wake_usec;
		lease_next(&story->lease, story->now, nonce, &story->request);
	}
	story->writes += story->request.op == LEASE_CREATE || story->request.op == LEASE_SWAP;
	return story->request.op;
}

START_TEST(dead_lease_is_taken_over_after_the_wait_and_not_before)
{
	struct story story;
	const uint64_t since = wait_behind(&story, &takes_over, 300 * SEC);
	/* 300 s * 1.1 / 0.9 + 30 s */
	const uint64_t least = since + 396 * SEC + 2 * SEC / 3;
	uint64_t sent;

	while (next_op(&story) == LEASE_READ) {
		ck_assert_uint_lt(story.now, least + 7 * SEC);
		seen_lease(&story, "f1", 300 * SEC);
	}
	ck_assert_int_eq(story.request.op, LEASE_SWAP);
	ck_assert_uint_ge(story.now, least);
	ck_assert(story.request.is_takeover && !story.request.is_handover);
	ck_assert_str_eq(story.request.etag, "f1");
	ck_assert_uint_eq(story.request.owner, 7);
	sent = story.now;
	written(&story, "e2");
	ck_assert_uint_eq(story.events, LEASE_EV_HELD | LEASE_EV_RENEWED | LEASE_EV_TAKEN);
	ck_assert_uint_eq(story.lease.deadline_usec, sent + takes_over.lease_usec);
	release(&story, story.writes, "e2");
}
END_TEST

START_TEST(every_change_of_what_is_watched_starts_the_wait_anew)
{
	struct story story;
	uint64_t since = wait_behind(&story, &takes_over, 300 * SEC);

	for (unsigned i = 2; i < 6; i++) {
		char etag[LEASE_ETAG_MAX];

		(void)snprintf(etag, sizeof(etag), "f%u", i);
		while (story.now < since + 380 * SEC) {
			ck_assert_int_eq(next_op(&story), LEASE_READ);
			(void)snprintf(etag, sizeof(etag), "f%u", i - 1);
			seen_lease(&story, etag, 300 * SEC);
		}
		ck_assert_int_eq(next_op(&story), LEASE_READ);
		(void)snprintf(etag, sizeof(etag), "f%u", i);
		seen_lease(&story, etag, 300 * SEC);
		ck_assert_uint_eq(story.events, LEASE_EV_FOREIGN);
		since = story.now;
	}
}
END_TEST

static const struct {
	const char *name;
	bool is_tfqd, takes_over;
	uint64_t lease_usec;
} never_taken[] = {
	{ "raw terraform's", false, true, 0 },
	{ "without a lease", true, true, 0 },
	{ "too short a lease", true, true, 9 * SEC },
	{ "too long a lease", true, true, (86400 + 1) * SEC },
	{ "by policy", true, false, 300 * SEC },
};
#define NEVER_TAKEN_COUNT ((int)(sizeof(never_taken) / sizeof(never_taken[0])))

START_TEST(what_has_no_lease_of_ours_is_never_taken_over)
{
	struct lease_config with = takes_over;
	struct story story;
	unsigned stale = 0;

	with.takes_over = never_taken[_i].takes_over;
	with.asks = !with.takes_over;
	(void)wait_behind(&story, &with, 300 * SEC);
	for (unsigned i = 0; i < 50000; i++) { /* three days */
		ck_assert_int_eq(next_op(&story), LEASE_READ);
		if (never_taken[_i].is_tfqd)
			seen_lease(&story, "f2", never_taken[_i].lease_usec);
		else
			seen(&story, 0, "f2");
		stale += (story.events & LEASE_EV_STALE) != 0;
	}
	/* Who may not take it by itself says once that somebody could. */
	ck_assert_uint_eq(stale, never_taken[_i].takes_over ? 0 : 1);
	ck_assert(!never_taken[_i].takes_over || lease_takeover(&story.lease) == 0);
}
END_TEST

static const struct {
	const char *name;
	enum lease_result answer;
	bool lands; /* before the look */
} takeovers[] = {
	{ "unknown, done", LEASE_R_UNKNOWN, true },
	{ "unknown, not done", LEASE_R_UNKNOWN, false },
	{ "refused, done", LEASE_R_REFUSED, true },
	{ "conflict, not done", LEASE_R_CONFLICT, false },
	{ "unsent", LEASE_R_UNSENT, false },
};
#define TAKEOVER_COUNT ((int)(sizeof(takeovers) / sizeof(takeovers[0])))

START_TEST(takeover_without_an_answer_is_looked_after)
{
	struct story story;

	(void)wait_behind(&story, &takes_over, 10 * SEC);
	while (next_op(&story) == LEASE_READ)
		seen_lease(&story, "f1", 10 * SEC);
	result(&story, takeovers[_i].answer);
	if (next_op(&story) == LEASE_READ) {
		if (takeovers[_i].lands)
			seen(&story, story.writes, "e2");
		else
			seen_lease(&story, "f1", 10 * SEC);
		if (!takeovers[_i].lands)
			ck_assert_int_eq(next_op(&story), LEASE_SWAP);
	}
	if (!takeovers[_i].lands) {
		ck_assert(story.request.is_takeover);
		ck_assert_str_eq(story.request.etag, "f1");
		written(&story, "e2");
	}
	ck_assert(lease_is_held_by(&story.lease, 7));
	ck_assert(story.events & LEASE_EV_TAKEN);
}
END_TEST

START_TEST(takeover_that_another_made_first_starts_a_new_wait)
{
	struct story story;

	(void)wait_behind(&story, &takes_over, 10 * SEC);
	while (next_op(&story) == LEASE_READ)
		seen_lease(&story, "f1", 10 * SEC);
	result(&story, LEASE_R_REFUSED);
	ck_assert_int_eq(next_op(&story), LEASE_READ);
	seen_lease(&story, "g1", 900 * SEC);
	ck_assert_uint_eq(story.events, LEASE_EV_FOREIGN);
	ck_assert_uint_gt(lease_takeover(&story.lease), story.now + 900 * SEC);
	ck_assert_int_eq(next_op(&story), LEASE_READ);
}
END_TEST

/* A takeover that was given up may land when nobody wants it any more. */
START_TEST(takeover_that_was_given_up_is_not_forgotten)
{
	struct story story;

	(void)wait_behind(&story, &takes_over, 10 * SEC);
	while (next_op(&story) == LEASE_READ)
		seen_lease(&story, "f1", 10 * SEC);
	lease_want(&story.lease, 0);
	result(&story, LEASE_R_UNKNOWN);
	ck_assert_int_eq(next_op(&story), LEASE_READ);
	seen_lease(&story, "f1", 10 * SEC);
	ck_assert(lease_is_idle(&story.lease));
	ck_assert(lease_may_appear(&story.lease));
	lease_look_again(&story.lease);
	ck_assert_int_eq(next_op(&story), LEASE_READ);
	seen(&story, story.writes, "e2"); /* it has landed */
	release(&story, story.writes, "e2");
}
END_TEST

START_TEST(lease_that_is_not_renewed_expires_once)
{
	struct story story;
	uint64_t deadline;

	hold_until_expiry(&story, 7);
	deadline = story.lease.deadline_usec;
	ck_assert_uint_eq(lease_expiry(&story.lease), deadline);
	while (story.now < deadline) {
		ck_assert_uint_eq(lease_tick(&story.lease, story.now), 0);
		if (next_op(&story) != LEASE_NONE && story.now < deadline)
			result(&story, LEASE_R_UNSENT);
		ck_assert_uint_eq(story.lease.deadline_usec, deadline);
	}
	story.events |= lease_tick(&story.lease, deadline);
	ck_assert(story.events & LEASE_EV_EXPIRED);
	ck_assert(!lease_is_held_by(&story.lease, 7));
	ck_assert_uint_eq(lease_tick(&story.lease, deadline + SEC), 0);
	ck_assert_uint_eq(lease_expiry(&story.lease), UINT64_MAX);
}
END_TEST

/* An answer that comes after the deadline: the write won, but the job that ran has been killed. */
START_TEST(answer_after_the_deadline_tells_of_the_expiry_first)
{
	struct story story;

	hold_until_expiry(&story, 7);
	expect(&story, LEASE_SWAP);
	story.now = story.lease.deadline_usec + 1;
	story.events = lease_answer(&story.lease, story.now,
				    &(struct lease_answer){ .result = LEASE_R_DONE, .etag = "e2" });
	ck_assert(story.events & LEASE_EV_EXPIRED);
	ck_assert(story.events & LEASE_EV_HELD); /* for who comes next */

	/* One that was sent so long ago that what it bought is over, too, gives nothing. */
	expect(&story, LEASE_SWAP);
	story.now += takes_over.lease_usec + 1;
	story.events = lease_answer(&story.lease, story.now,
				    &(struct lease_answer){ .result = LEASE_R_DONE, .etag = "e3" });
	ck_assert(story.events & LEASE_EV_EXPIRED);
	ck_assert(!(story.events & LEASE_EV_HELD));
	ck_assert(!lease_is_held_by(&story.lease, 7));
	release(&story, story.writes, "e3"); /* it is ours all the same */
}
END_TEST

START_TEST(what_a_raw_terraform_held_is_renewed_early)
{
	static const uint64_t early[] = { 2, 5, 20 };
	struct story story;
	uint64_t sent;

	begin(&story);
	lease_want(&story.lease, 7);
	expect(&story, LEASE_CREATE);
	result(&story, LEASE_R_REFUSED);
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	sent = story.now;
	expect(&story, LEASE_CREATE);
	written(&story, "e1");
	for (unsigned i = 0; i < 3; i++) {
		char etag[LEASE_ETAG_MAX];

		expect(&story, LEASE_SWAP);
		ck_assert_uint_eq(story.now - sent, early[i] * SEC);
		sent = story.now;
		(void)snprintf(etag, sizeof(etag), "e%u", i + 2);
		written(&story, etag);
	}
	expect(&story, LEASE_SWAP);
	assert_about(story.now - sent, config.renew_usec, 10);
}
END_TEST

static void wait_for_raw(struct story *story, const char *etag)
{
	begin(story);
	lease_want(&story->lease, 7);
	expect(story, LEASE_CREATE);
	result(story, LEASE_R_REFUSED);
	expect(story, LEASE_READ);
	seen(story, 0, etag);
}

START_TEST(foreign_lock_is_removed_by_order_after_a_look)
{
	struct story story;

	begin(&story);
	ck_assert(!lease_break(&story.lease)); /* nothing was seen */
	wait_for_raw(&story, "f1");
	ck_assert(lease_break(&story.lease));
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_REMOVE);
	ck_assert_str_eq(story.request.etag, "f1");
	result(&story, LEASE_R_DONE);
	expect(&story, LEASE_CREATE);
	written(&story, "e1");
	ck_assert(lease_is_held_by(&story.lease, 7));
	release(&story, story.writes, "e1");
}
END_TEST

START_TEST(order_to_remove_is_for_that_version_and_that_wish_alone)
{
	struct story story;

	wait_for_raw(&story, "f1");
	ck_assert(lease_break(&story.lease));
	expect(&story, LEASE_READ);
	seen(&story, 0, "f2"); /* replaced */
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_READ);

	wait_for_raw(&story, "f1");
	ck_assert(lease_break(&story.lease));
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_REMOVE);
	result(&story, LEASE_R_REFUSED); /* replaced just now */
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_ABSENT);
	expect(&story, LEASE_CREATE);

	wait_for_raw(&story, "f1");
	ck_assert(lease_break(&story.lease));
	lease_want(&story.lease, 8); /* that job was given up */
	expect(&story, LEASE_READ);
	seen(&story, 0, "f1");
	expect(&story, LEASE_READ);
}
END_TEST

/* Without s3:ListBucket what is absent answers 403 to everything but a CREATE. */
START_TEST(held_lock_that_cannot_be_read_is_asked_for_by_a_create)
{
	struct story story;

	hold(&story, 7);
	expect(&story, LEASE_SWAP);
	result(&story, LEASE_R_DENIED);
	lease_look_again(&story.lease);
	expect(&story, LEASE_READ);
	result(&story, LEASE_R_DENIED);
	if (_i == 1)
		lease_want(&story.lease, 0);
	expect(&story, LEASE_CREATE);
	ck_assert_uint_eq(story.request.owner, 7);
	written(&story, "e9"); /* so it was gone */
	ck_assert_uint_eq(story.lease.deadline_usec, story.lease.sent_usec + config.lease_usec);
	release(&story, story.writes, "e9");
}
END_TEST

START_TEST(every_state_has_a_name)
{
	for (int i = 0; i < LEASE_STATE_COUNT; i++) {
		const char *name = lease_state_name((enum lease_state)i);

		ck_assert_uint_gt(strlen(name), 0);
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(name, lease_state_name((enum lease_state)j));
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, free_lock_is_taken_renewed_and_released);
	tcase_add_test(tcase, refused_create_that_was_ours_is_believed_after_a_look);
	tcase_add_test(tcase, refused_create_whose_holder_has_gone_is_tried_at_once);
	tcase_add_test(tcase, store_that_refuses_and_has_nothing_is_not_asked_without_pause);
	tcase_add_test(tcase, foreign_holder_is_polled_until_the_lock_is_free);
	tcase_add_test(tcase, waiter_that_no_longer_wants_goes_at_once);
	tcase_add_loop_test(tcase, renewal_without_an_answer_is_settled_by_a_look, 0, LOST_COUNT);
	tcase_add_loop_test(tcase, create_without_an_answer_is_settled_by_a_look, 0, LOST_COUNT);
	tcase_add_test(tcase, create_that_lands_late_is_still_known);
	tcase_add_test(tcase, create_that_lands_after_a_release_is_not_taken_for_anothers);
	tcase_add_test(tcase, create_whose_outcome_is_open_is_looked_for_before_it_rests);
	tcase_add_test(tcase, renewal_that_lands_late_is_won_from_its_own_sending);
	tcase_add_test(tcase, many_lost_renewals_leave_the_deadline_where_it_was);
	tcase_add_loop_test(tcase, release_ends_when_the_object_is_gone, 0, REMOVAL_COUNT);
	tcase_add_loop_test(tcase, what_is_not_ours_is_not_released, 0, 2);
	tcase_add_test(tcase, page_under_a_200_is_no_reason_to_let_go);
	tcase_add_test(tcase, lock_changes_hands_without_being_let_go);
	tcase_add_loop_test(tcase, hand_over_waits_for_the_renewal_under_way, 0, 2);
	tcase_add_loop_test(tcase, hand_over_without_an_answer_belongs_to_whom_the_look_shows, 0,
			    2);
	tcase_add_test(tcase, hand_over_that_is_denied_leaves_the_former_owner);
	tcase_add_test(tcase, wish_that_changes_under_way_is_followed_afterwards);
	tcase_add_test(tcase, lock_is_not_held_again_while_a_removal_is_open);
	tcase_add_loop_test(tcase, lock_deleted_under_us_is_taken_again, 0, 2);
	tcase_add_loop_test(tcase, lock_that_was_only_said_to_be_gone_is_held_again, 0, 2);
	tcase_add_loop_test(tcase, lock_replaced_under_us_is_lost, 0, 2);
	tcase_add_test(tcase, lock_gone_and_taken_by_another_is_lost);
	tcase_add_loop_test(tcase, refusal_of_a_repetition_says_nothing_of_the_first, 0,
			    REPETITION_COUNT);
	tcase_add_loop_test(tcase, repeated_creation_may_land_after_its_refusal, 0, 2);
	tcase_add_test(tcase, one_who_does_not_want_it_any_more_looks_what_a_repetition_did);
	tcase_add_test(tcase, lost_creation_is_not_explained_by_a_refused_removal);
	tcase_add_loop_test(tcase, newcomer_that_is_denied_fails_and_rests, 0, 2);
	tcase_add_test(tcase, look_that_is_denied_is_answered_by_a_create);
	tcase_add_loop_test(tcase, newcomer_fails_after_so_many_tries, 0, 3);
	tcase_add_test(tcase, waiter_is_patient);
	tcase_add_test(tcase, holder_is_patient);
	tcase_add_test(tcase, throttled_store_is_left_alone_longer);
	tcase_add_loop_test(tcase, version_that_cannot_be_named_is_not_held, 0, 2);
	tcase_add_test(tcase, etag_that_is_refused_in_quotes_is_tried_without);
	tcase_add_test(tcase, lock_that_is_left_free_is_left_free);
	tcase_add_test(tcase, renewals_of_many_do_not_fall_together);
	tcase_add_test(tcase, dead_lease_is_taken_over_after_the_wait_and_not_before);
	tcase_add_test(tcase, every_change_of_what_is_watched_starts_the_wait_anew);
	tcase_add_loop_test(tcase, what_has_no_lease_of_ours_is_never_taken_over, 0,
			    NEVER_TAKEN_COUNT);
	tcase_add_loop_test(tcase, takeover_without_an_answer_is_looked_after, 0, TAKEOVER_COUNT);
	tcase_add_test(tcase, takeover_that_another_made_first_starts_a_new_wait);
	tcase_add_test(tcase, takeover_that_was_given_up_is_not_forgotten);
	tcase_add_test(tcase, lease_that_is_not_renewed_expires_once);
	tcase_add_test(tcase, answer_after_the_deadline_tells_of_the_expiry_first);
	tcase_add_test(tcase, what_a_raw_terraform_held_is_renewed_early);
	tcase_add_test(tcase, foreign_lock_is_removed_by_order_after_a_look);
	tcase_add_test(tcase, order_to_remove_is_for_that_version_and_that_wish_alone);
	tcase_add_loop_test(tcase, held_lock_that_cannot_be_read_is_asked_for_by_a_create, 0, 2);
	tcase_add_test(tcase, every_state_has_a_name);
}

int main(void)
{
	return unit_main("lease", add_tests);
}
