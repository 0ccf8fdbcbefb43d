/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "daemon/job_fsm.h"
#include "tests/unit/unit.h"

/* Each row drives a queued job through @events and must end in @status. */
static const struct {
	const char *name;
	enum job_event events[8];
	size_t count;
	enum job_status status;
	enum job_action last;
} stories[] = {
	/* clang-format off */
	{ "runs and ends well",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_EXIT_OK }, 3, JOB_DONE, JOB_DO_CLOSE },
	{ "its turn wants the lock",
	  { JOB_EV_HEAD }, 1, JOB_LOCKING, JOB_DO_ACQUIRE },
	{ "the lock starts it",
	  { JOB_EV_HEAD, JOB_EV_GO }, 2, JOB_RUNNING, JOB_DO_START },
	{ "asks, is answered, ends badly",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_PROMPT, JOB_EV_ANSWERED, JOB_EV_EXIT_BAD }, 5, JOB_FAILED, JOB_DO_CLOSE },
	{ "asks, and nobody answers in time",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_PROMPT, JOB_EV_EXPIRE, JOB_EV_EXIT_STOPPED }, 5, JOB_CANCELLED, JOB_DO_CLOSE },
	{ "asks, and ends while asking",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_PROMPT, JOB_EV_EXIT_OK }, 4, JOB_DONE, JOB_DO_CLOSE },
	{ "a cancel before its turn",
	  { JOB_EV_CANCEL }, 1, JOB_CANCELLED, JOB_DO_CLOSE },
	{ "a cancel while it waits for the lock",
	  { JOB_EV_HEAD, JOB_EV_CANCEL }, 2, JOB_CANCELLED, JOB_DO_CLOSE },
	{ "a cancel of a running one is one interrupt",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL }, 3, JOB_STOPPING, JOB_DO_INTERRUPT },
	{ "a second cancel is none",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL, JOB_EV_CANCEL }, 4, JOB_STOPPING, JOB_DO_NOTHING },
	{ "only force sends the second",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL, JOB_EV_FORCE }, 4, JOB_STOPPING, JOB_DO_INTERRUPT_AGAIN },
	{ "force of a running one begins with the first",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_FORCE }, 3, JOB_STOPPING, JOB_DO_INTERRUPT },
	{ "cancelled, but it was done already",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL, JOB_EV_EXIT_OK }, 4, JOB_DONE, JOB_DO_CLOSE },
	{ "cancelled, and stopped by that",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL, JOB_EV_EXIT_STOPPED }, 4, JOB_CANCELLED, JOB_DO_CLOSE },
	{ "asks while it is stopped",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL, JOB_EV_PROMPT, JOB_EV_ANSWERED, JOB_EV_EXIT_BAD }, 6, JOB_FAILED, JOB_DO_CLOSE },
	{ "waited too long",
	  { JOB_EV_EXPIRE }, 1, JOB_CANCELLED, JOB_DO_CLOSE },
	{ "a newer one takes its place",
	  { JOB_EV_HEAD, JOB_EV_SUPERSEDE }, 2, JOB_CANCELLED, JOB_DO_CLOSE },
	{ "no lock to be had",
	  { JOB_EV_HEAD, JOB_EV_REFUSED }, 2, JOB_FAILED, JOB_DO_CLOSE },
	{ "terraform did not start",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_REFUSED }, 3, JOB_FAILED, JOB_DO_CLOSE },
	{ "the lock is replaced while it runs",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_LOCK_LOST, JOB_EV_EXIT_BAD }, 4, JOB_FAILED, JOB_DO_CLOSE },
	{ "the lock is replaced before it runs: it is taken anew",
	  { JOB_EV_HEAD, JOB_EV_LOCK_LOST }, 2, JOB_LOCKING, JOB_DO_ACQUIRE },
	{ "its early runner dies: another is started in time",
	  { JOB_EV_VANISHED }, 1, JOB_QUEUED, JOB_DO_NOTHING },
	{ "its runner dies before the child ran",
	  { JOB_EV_HEAD, JOB_EV_VANISHED }, 2, JOB_FAILED, JOB_DO_CLOSE },
	{ "its runner dies while the child runs: nobody knows",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_VANISHED }, 3, JOB_LOST, JOB_DO_HOLD },
	{ "... while it asks",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_PROMPT, JOB_EV_VANISHED }, 4, JOB_LOST, JOB_DO_HOLD },
	{ "... while it is stopped",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_CANCEL, JOB_EV_VANISHED }, 4, JOB_LOST, JOB_DO_HOLD },
	{ "its runner goes away afterwards",
	  { JOB_EV_HEAD, JOB_EV_GO, JOB_EV_EXIT_OK, JOB_EV_VANISHED }, 4, JOB_DONE, JOB_DO_NOTHING },
	/* clang-format on */
};
#define STORY_COUNT ((int)(sizeof(stories) / sizeof(stories[0])))

START_TEST(story_ends_as_told)
{
	enum job_status status = JOB_QUEUED;
	int r = 0;

	for (size_t i = 0; i < stories[_i].count; i++) {
		r = job_fsm_step(&status, stories[_i].events[i]);
		ck_assert_msg(r > 0, "%s: event %zu refused", stories[_i].name, i);
	}
	ck_assert_msg(status == stories[_i].status, "%s: ends %s", stories[_i].name,
		      job_status_name(status));
	ck_assert_msg(r == (int)stories[_i].last, "%s: last action %d", stories[_i].name, r);
}
END_TEST

static const struct {
	enum job_status status;
	enum job_event event;
} illegal[] = {
	{ JOB_QUEUED, JOB_EV_GO },
	{ JOB_QUEUED, JOB_EV_EXIT_OK },
	{ JOB_QUEUED, JOB_EV_PROMPT },
	{ JOB_LOCKING, JOB_EV_HEAD },
	{ JOB_LOCKING, JOB_EV_EXIT_OK },
	{ JOB_LOCKING, JOB_EV_PROMPT },
	{ JOB_RUNNING, JOB_EV_HEAD },
	{ JOB_RUNNING, JOB_EV_GO },
	{ JOB_RUNNING, JOB_EV_ANSWERED },
	{ JOB_RUNNING, JOB_EV_SUPERSEDE },
	{ JOB_RUNNING, JOB_EV_EXIT_STOPPED },
	{ JOB_APPROVING, JOB_EV_PROMPT },
	{ JOB_STOPPING, JOB_EV_GO },
	{ JOB_DONE, JOB_EV_HEAD },
	{ JOB_DONE, JOB_EV_EXIT_BAD },
	{ JOB_FAILED, JOB_EV_GO },
	{ JOB_CANCELLED, JOB_EV_EXIT_OK },
	{ JOB_LOST, JOB_EV_EXIT_OK },
};
#define ILLEGAL_COUNT ((int)(sizeof(illegal) / sizeof(illegal[0])))

START_TEST(illegal_step_is_refused)
{
	enum job_status status = illegal[_i].status;

	ck_assert_int_eq(job_fsm_step(&status, illegal[_i].event), -EPROTO);
	ck_assert_int_eq(status, illegal[_i].status);
}
END_TEST

START_TEST(refused_step_changes_nothing)
{
	for (int event = 0; event < JOB_EVENT_COUNT; event++) {
		enum job_status status = (enum job_status)_i;
		const int r = job_fsm_step(&status, (enum job_event)event);

		ck_assert(r == -EPROTO || (r >= JOB_DO_NOTHING && r <= JOB_DO_HOLD));
		if (r == -EPROTO)
			ck_assert_int_eq(status, _i);
		/* What is over is over. */
		if (job_status_is_final((enum job_status)_i)) {
			ck_assert_int_eq(status, _i);
			ck_assert(r == -EPROTO || r == JOB_DO_NOTHING);
		} else if (r > 0 && job_status_is_final(status)) {
			ck_assert(r == JOB_DO_CLOSE || r == JOB_DO_HOLD);
			ck_assert_int_eq(r == JOB_DO_HOLD, status == JOB_LOST);
		} else {
			ck_assert(r != JOB_DO_CLOSE && r != JOB_DO_HOLD);
		}
		if (r == JOB_DO_INTERRUPT || r == JOB_DO_INTERRUPT_AGAIN)
			ck_assert_int_eq(status, JOB_STOPPING);
	}
}
END_TEST

START_TEST(every_status_takes_what_can_come_at_any_time)
{
	static const enum job_event any_time[] = { JOB_EV_CANCEL, JOB_EV_FORCE, JOB_EV_VANISHED };

	for (size_t i = 0; i < sizeof(any_time) / sizeof(any_time[0]); i++) {
		enum job_status status = (enum job_status)_i;

		ck_assert_int_gt(job_fsm_step(&status, any_time[i]), 0);
		if (any_time[i] != JOB_EV_VANISHED)
			ck_assert(status == JOB_STOPPING || job_status_is_final(status));
	}
}
END_TEST

START_TEST(runner_that_vanishes_is_lost_only_if_terraform_may_have_run)
{
	enum job_status status = (enum job_status)_i;
	const bool was_running = job_status_is_running(status);
	const bool was_lost = status == JOB_LOST;

	ck_assert_int_gt(job_fsm_step(&status, JOB_EV_VANISHED), 0);
	ck_assert_int_eq(status == JOB_LOST, was_running || was_lost);
}
END_TEST

START_TEST(every_status_has_a_name_of_its_own)
{
	const char *name = job_status_name((enum job_status)_i);

	ck_assert_uint_gt(strlen(name), 0);
	for (int i = 0; i < _i; i++)
		ck_assert_str_ne(name, job_status_name((enum job_status)i));
	ck_assert(!job_status_is_final((enum job_status)_i) ||
		  !job_status_is_running((enum job_status)_i));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, story_ends_as_told, 0, STORY_COUNT);
	tcase_add_loop_test(tcase, illegal_step_is_refused, 0, ILLEGAL_COUNT);
	tcase_add_loop_test(tcase, refused_step_changes_nothing, 0, JOB_STATUS_COUNT);
	tcase_add_loop_test(tcase, every_status_takes_what_can_come_at_any_time, 0,
			    JOB_STATUS_COUNT);
	tcase_add_loop_test(tcase, runner_that_vanishes_is_lost_only_if_terraform_may_have_run, 0,
			    JOB_STATUS_COUNT);
	tcase_add_loop_test(tcase, every_status_has_a_name_of_its_own, 0, JOB_STATUS_COUNT);
}

int main(void)
{
	return unit_main("job_fsm", add_tests);
}
