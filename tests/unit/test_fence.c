/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/parse.h"
#include "common/wire.h"
#include "runner/fence.h"
#include "tests/unit/unit.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)    /* of the job, CLOCK_BOOTTIME */
#define WALL  (2000000 * SEC) /* the same moment, CLOCK_REALTIME */
#define LEASE (300 * SEC)     /* D is START + LEASE */
#define GRACE (120 * SEC)     /* so SIGINT is due at START + STOP, */
#define STOP  (175 * SEC)
#define KILL  (295 * SEC) /* and the kill at START + KILL */
#define JUMP  (3600 * SEC)

static struct fence fence;
static uint64_t next;

/* @usec after the start, by both clocks. */
static struct fence_time after(uint64_t usec)
{
	return (struct fence_time){ .boot_usec = START + usec, .real_usec = WALL + usec };
}

static enum fence_action check_at(uint64_t usec)
{
	const struct fence_time now = after(usec);

	return fence_check(&fence, &now, &next);
}

static bool move_at(uint64_t usec, uint64_t deadline)
{
	const struct fence_time now = after(usec);

	return fence_move(&fence, deadline, &now);
}

static void begin(uint64_t deadline, uint64_t stop_grace)
{
	const struct fence_time now = after(0);

	fence_begin(&fence, deadline, stop_grace, &now);
}

static void setup(void)
{
	begin(START + LEASE, GRACE);
}

START_TEST(stops_then_kills)
{
	ck_assert_int_eq(check_at(0), FENCE_NOTHING);
	ck_assert_int_eq(check_at(STOP - 1), FENCE_NOTHING);
	ck_assert_uint_eq(next, START + STOP);
	ck_assert_int_eq(check_at(STOP), FENCE_STOP);
	ck_assert_int_eq(check_at(STOP), FENCE_NOTHING);
	ck_assert_int_eq(check_at(KILL - 1), FENCE_NOTHING);
	ck_assert_uint_eq(next, START + KILL);
	ck_assert_int_eq(check_at(KILL), FENCE_KILL);
	ck_assert_uint_eq(next, UINT64_MAX);
	ck_assert_int_eq(check_at(KILL + 1), FENCE_KILL);
	ck_assert_int_eq(check_at(LEASE + 1), FENCE_KILL);
	ck_assert_uint_eq(fence_kill_usec(&fence), START + LEASE - WIRE_KILL_MARGIN_USEC);
}
END_TEST

START_TEST(looks_often_enough_to_see_a_step_of_the_wall_clock)
{
	ck_assert_int_eq(check_at(0), FENCE_NOTHING);
	ck_assert_uint_eq(next, START + FENCE_LOOK_USEC);
	ck_assert_int_eq(check_at(STOP), FENCE_STOP);
	ck_assert_uint_eq(next, START + STOP + FENCE_LOOK_USEC);
}
END_TEST

START_TEST(nobody_is_killed_without_a_lease)
{
	begin(0, GRACE);
	ck_assert_int_eq(check_at(0), FENCE_NOTHING);
	ck_assert_uint_eq(next, UINT64_MAX);
	ck_assert_int_eq(check_at(UINT64_MAX / 2), FENCE_NOTHING);
	ck_assert_uint_eq(next, UINT64_MAX);
	ck_assert_uint_eq(fence_kill_usec(&fence), 0);
	ck_assert(!move_at(0, START + LEASE)); /* nor is one made up later */
	ck_assert_int_eq(check_at(LEASE), FENCE_NOTHING);
}
END_TEST

START_TEST(jump_past_everything_kills_at_once)
{
	ck_assert_int_eq(check_at(SEC), FENCE_NOTHING);
	ck_assert_int_eq(check_at(JUMP), FENCE_KILL); /* no SIGINT first: there is no time */
	ck_assert(!fence.is_stopping);
}
END_TEST

START_TEST(jump_between_stop_and_kill_stops)
{
	ck_assert_int_eq(check_at(KILL - SEC), FENCE_STOP);
	ck_assert_uint_eq(next, START + KILL);
}
END_TEST

START_TEST(later_deadline_moves_both)
{
	ck_assert(move_at(60 * SEC, START + LEASE + 60 * SEC));
	ck_assert_int_eq(check_at(STOP + 60 * SEC - 1), FENCE_NOTHING);
	ck_assert_uint_eq(next, START + STOP + 60 * SEC);
	ck_assert_int_eq(check_at(STOP + 60 * SEC), FENCE_STOP);
	ck_assert_int_eq(check_at(KILL + 60 * SEC - 1), FENCE_NOTHING);
	ck_assert_int_eq(check_at(KILL + 60 * SEC), FENCE_KILL);
}
END_TEST

START_TEST(other_deadlines_change_nothing)
{
	const uint64_t deadlines[] = { 0, 1, START, START + LEASE - 1, START + LEASE };

	for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
		ck_assert(!move_at(SEC, deadlines[i]));
		ck_assert_uint_eq(fence.deadline_usec, START + LEASE);
		ck_assert_uint_eq(fence.heard.boot_usec, START);
	}
	ck_assert_int_eq(check_at(STOP - 1), FENCE_NOTHING);
	ck_assert_int_eq(check_at(STOP), FENCE_STOP);
}
END_TEST

START_TEST(renewal_after_the_stop_moves_the_kill_alone)
{
	ck_assert_int_eq(check_at(STOP), FENCE_STOP);
	ck_assert(move_at(STOP + SEC, START + 2 * LEASE));
	for (uint64_t at = STOP + SEC; at < KILL + LEASE; at += SEC)
		ck_assert_int_eq(check_at(at), FENCE_NOTHING);
	ck_assert_int_eq(check_at(KILL + LEASE), FENCE_KILL);
}
END_TEST

START_TEST(renewal_that_comes_when_the_kill_is_due_is_too_late)
{
	ck_assert(move_at(KILL - 1, START + LEASE + 1)); /* in time, by a hair */
	ck_assert(!move_at(KILL + 1, START + JUMP));     /* nobody has looked yet: all the same */
	ck_assert_int_eq(check_at(KILL + 1), FENCE_KILL);
	ck_assert(!move_at(KILL + 1, START + JUMP));
	ck_assert_int_eq(check_at(KILL + 1), FENCE_KILL);
}
END_TEST

START_TEST(killing_is_for_good)
{
	ck_assert_int_eq(check_at(KILL), FENCE_KILL);
	ck_assert_int_eq(check_at(0), FENCE_KILL);
	ck_assert(!move_at(0, START + JUMP));
	ck_assert_int_eq(check_at(0), FENCE_KILL);
}
END_TEST

START_TEST(deadline_past_at_the_start)
{
	const uint64_t deadlines[] = { 1, WIRE_KILL_MARGIN_USEC, START - JUMP / 4, START,
				       START + WIRE_KILL_MARGIN_USEC };

	for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
		begin(deadlines[i], 0);
		ck_assert_uint_gt(fence_kill_usec(&fence), 0); /* 0 would mean no lease */
		ck_assert_int_eq(check_at(0), FENCE_KILL);
	}
	begin(START + WIRE_KILL_MARGIN_USEC + 1, 0);
	ck_assert_int_eq(check_at(0), FENCE_NOTHING);
	begin(START + WIRE_KILL_MARGIN_USEC + GRACE, GRACE);
	ck_assert_int_eq(check_at(0), FENCE_STOP);
}
END_TEST

START_TEST(grace_longer_than_the_clock_has_run)
{
	begin(START + LEASE, UINT64_MAX);
	ck_assert_int_eq(check_at(0), FENCE_STOP);
	ck_assert_int_eq(check_at(KILL - 1), FENCE_NOTHING);
	ck_assert_int_eq(check_at(KILL), FENCE_KILL);
}
END_TEST

START_TEST(no_grace_goes_straight_to_the_kill)
{
	begin(START + LEASE, 0);
	ck_assert_int_eq(check_at(KILL - 1), FENCE_NOTHING);
	ck_assert_uint_eq(next, START + KILL);
	ck_assert_int_eq(check_at(KILL), FENCE_KILL);
}
END_TEST

/* A virtual machine stood still, CLOCK_BOOTTIME with it; then its wall clock was put right. */
START_TEST(wall_clock_that_says_later_is_believed)
{
	struct fence_time now = after(SEC);

	now.real_usec += STOP - SEC - 1;
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_NOTHING);
	ck_assert_uint_eq(next, now.boot_usec + 1);
	now.real_usec++;
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_STOP);
	ck_assert_uint_eq(fence_silence(&fence, &now), STOP);
	ck_assert_uint_eq(fence_left(&fence, &now), KILL - STOP);
	now.real_usec = WALL + KILL;
	ck_assert(!fence_move(&fence, START + JUMP, &now));
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_KILL);
}
END_TEST

START_TEST(wall_clock_that_goes_back_is_not)
{
	struct fence_time now = after(STOP - 1);

	now.real_usec -= JUMP;
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_NOTHING);
	now.boot_usec++;
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_STOP);
	now.boot_usec = START + KILL;
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_KILL);
}
END_TEST

/* What it said before is settled by a deadline that was made after it. */
START_TEST(renewal_forgets_an_old_step)
{
	struct fence_time now = after(60 * SEC);

	now.real_usec += 100 * SEC;
	ck_assert(fence_move(&fence, START + LEASE + 60 * SEC, &now));
	now.boot_usec = START + STOP + 60 * SEC - 1;
	now.real_usec = WALL + 100 * SEC + STOP + 60 * SEC - 1;
	ck_assert_int_eq(fence_check(&fence, &now, &next), FENCE_NOTHING);
	ck_assert_uint_eq(next, now.boot_usec + 1);
}
END_TEST

START_TEST(silence_and_what_is_left)
{
	const struct fence_time now = after(100 * SEC), late = after(JUMP);

	ck_assert_uint_eq(fence_silence(&fence, &now), 100 * SEC);
	ck_assert_uint_eq(fence_left(&fence, &now), KILL - 100 * SEC);
	ck_assert_uint_eq(fence_left(&fence, &late), 0);
}
END_TEST

static uint64_t random_below(uint64_t limit)
{
	return (uint64_t)random() % limit;
}

/* Whoever looks when he is told to: never a signal too early, never a kill too late. */
START_TEST(any_life)
{
	struct fence_time now = after(0);
	uint64_t deadline, grace;
	int stops = 0;

	srandom((unsigned)_i);
	deadline = START + WIRE_KILL_MARGIN_USEC + 1 + random_below(60 * SEC);
	grace = random_below(20 * SEC);
	begin(deadline, grace);
	for (int i = 0; i < 10000; i++) {
		const uint64_t kill_at = deadline - WIRE_KILL_MARGIN_USEC;
		const enum fence_action action = fence_check(&fence, &now, &next);

		ck_assert_int_eq(action == FENCE_KILL, now.boot_usec >= kill_at);
		if (action == FENCE_KILL)
			return;
		stops += action == FENCE_STOP;
		ck_assert_int_le(stops, 1);
		if (action == FENCE_STOP)
			ck_assert_uint_ge(now.boot_usec + grace, kill_at);
		ck_assert_uint_gt(next, now.boot_usec);
		ck_assert_uint_le(next, kill_at);
		if (stops == 0)
			ck_assert_uint_lt(now.boot_usec + grace, kill_at);
		if (i < 500 && random_below(3) == 0) {
			const uint64_t other = deadline + random_below(20 * SEC) - 10 * SEC;

			ck_assert_int_eq(fence_move(&fence, other, &now), other > deadline);
			if (other > deadline)
				deadline = other;
		} else {
			now.real_usec += next - now.boot_usec;
			now.boot_usec = next;
		}
	}
	ck_abort_msg("it lives for ever with seed %d", _i);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, stops_then_kills);
	tcase_add_test(tcase, looks_often_enough_to_see_a_step_of_the_wall_clock);
	tcase_add_test(tcase, nobody_is_killed_without_a_lease);
	tcase_add_test(tcase, jump_past_everything_kills_at_once);
	tcase_add_test(tcase, jump_between_stop_and_kill_stops);
	tcase_add_test(tcase, later_deadline_moves_both);
	tcase_add_test(tcase, other_deadlines_change_nothing);
	tcase_add_test(tcase, renewal_after_the_stop_moves_the_kill_alone);
	tcase_add_test(tcase, renewal_that_comes_when_the_kill_is_due_is_too_late);
	tcase_add_test(tcase, killing_is_for_good);
	tcase_add_test(tcase, deadline_past_at_the_start);
	tcase_add_test(tcase, grace_longer_than_the_clock_has_run);
	tcase_add_test(tcase, no_grace_goes_straight_to_the_kill);
	tcase_add_test(tcase, wall_clock_that_says_later_is_believed);
	tcase_add_test(tcase, wall_clock_that_goes_back_is_not);
	tcase_add_test(tcase, renewal_forgets_an_old_step);
	tcase_add_test(tcase, silence_and_what_is_left);
	tcase_add_loop_test(tcase, any_life, 0, 100);
}

int main(void)
{
	return unit_main("fence", add_tests);
}
