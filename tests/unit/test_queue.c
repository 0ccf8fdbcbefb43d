/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/queue.h"
#include "tests/unit/unit.h"

#define MANY 10000

static const struct queue_limits wide = {
	.max_running = 100,
	.max_running_per_user = 100,
	.max_queued = MANY,
	.max_queued_per_user = MANY,
};

static struct job *make_job(uint64_t id, const char *state, enum job_priority priority, uid_t uid)
{
	struct job *job = NULL;

	ck_assert_int_eq(job_new(&job), 0);
	job->id = id;
	job->priority = priority;
	job->owner.uid = uid;
	job->backend = calloc(1, sizeof(*job->backend));
	ck_assert_ptr_nonnull(job->backend);
	job->backend->identity = strdup(state);
	ck_assert_int_gt(asprintf(&job->backend->name, "name of %s", state), 0);
	return job;
}

static struct job *add(struct queue *queue, uint64_t id, const char *state,
		       enum job_priority priority, uid_t uid)
{
	struct job *job = make_job(id, state, priority, uid);

	ck_assert_int_eq(queue_add(queue, job, 0), 0);
	return job;
}

static struct queue *make_queue(const struct queue_limits *limits)
{
	struct queue *queue = NULL;

	ck_assert_int_eq(queue_new(&queue, limits), 0);
	return queue;
}

/* Whoever is left in the queue goes with it. */
static void free_all(struct queue *queue)
{
	struct line *line;

	while ((line = queue_first_line(queue))) {
		struct job *job;

		while ((job = line->active ? line->active : queue_head(line))) {
			queue_remove(queue, job);
			job_free(job);
		}
		queue_drop_line(queue, line);
	}
	ck_assert_uint_eq(queue_waiting_count(queue), 0);
	ck_assert_uint_eq(queue_active_count(queue), 0);
	ck_assert_uint_eq(queue_line_count(queue), 0);
	ck_assert_ptr_null(queue_free(queue));
}

static void finish(struct queue *queue, struct job *job)
{
	queue_remove(queue, job);
	ck_assert_ptr_null(job->line);
	job_free(job);
}

START_TEST(first_come_first_served)
{
	struct queue *queue = make_queue(&wide);

	for (uint64_t i = 1; i <= 50; i++)
		ck_assert_uint_eq(queue_position(add(queue, i, "s", JOB_NORMAL, 1)), i);
	for (uint64_t i = 1; i <= 50; i++) {
		struct job *job = queue_pick(queue);

		ck_assert_ptr_nonnull(job);
		ck_assert_uint_eq(job->id, i);
		queue_activate(queue, job);
		ck_assert_ptr_null(queue_pick(queue)); /* one at a time */
		ck_assert_uint_eq(queue_position(job), 1);
		if (i < 50)
			ck_assert_uint_eq(queue_position(queue_head(job->line)), 2);
		finish(queue, job);
	}
	ck_assert_ptr_null(queue_pick(queue));
	free_all(queue);
}
END_TEST

START_TEST(priority_goes_before_age_within_a_line)
{
	static const struct {
		uint64_t id;
		enum job_priority priority;
	} jobs[] = {
		{ 1, JOB_LOW }, { 2, JOB_NORMAL }, { 3, JOB_HIGH },
		{ 4, JOB_LOW }, { 5, JOB_NORMAL }, { 6, JOB_HIGH },
	};
	static const uint64_t order[] = { 3, 6, 2, 5, 1, 4 };
	struct queue *queue = make_queue(&wide);
	struct job *added[6];

	for (size_t i = 0; i < 6; i++)
		added[i] = add(queue, jobs[i].id, "s", jobs[i].priority, 1);
	for (uint64_t i = 0; i < 6; i++)
		ck_assert_uint_eq(queue_position(added[order[i] - 1]), i + 1);
	for (size_t i = 0; i < 6; i++) {
		struct job *job = queue_pick(queue);

		ck_assert_uint_eq(job->id, order[i]);
		queue_activate(queue, job);
		finish(queue, job);
	}
	free_all(queue);
}
END_TEST

START_TEST(active_one_is_not_put_off_by_a_higher_priority)
{
	struct queue *queue = make_queue(&wide);
	struct job *low = add(queue, 1, "s", JOB_LOW, 1), *high;

	queue_activate(queue, low);
	high = add(queue, 2, "s", JOB_HIGH, 1);
	ck_assert_uint_eq(queue_position(low), 1);
	ck_assert_uint_eq(queue_position(high), 2);
	ck_assert_ptr_null(queue_pick(queue));
	finish(queue, low);
	ck_assert_ptr_eq(queue_pick(queue), high);
	free_all(queue);
}
END_TEST

START_TEST(of_several_lines_the_head_that_came_first_is_picked)
{
	struct queue *queue = make_queue(&wide);
	struct job *picked;

	add(queue, 1, "a", JOB_NORMAL, 1);
	add(queue, 2, "a", JOB_NORMAL, 1);
	add(queue, 3, "b", JOB_NORMAL, 1);
	add(queue, 4, "c", JOB_HIGH, 1);
	add(queue, 5, "c", JOB_NORMAL, 1);
	ck_assert_uint_eq(queue_line_count(queue), 3);

	/* A priority counts in its own line only. */
	for (uint64_t i = 0; i < 3; i++) {
		static const uint64_t order[] = { 1, 3, 4 };

		picked = queue_pick(queue);
		ck_assert_uint_eq(picked->id, order[i]);
		queue_activate(queue, picked);
	}
	ck_assert_ptr_null(queue_pick(queue));
	ck_assert_uint_eq(queue_active_count(queue), 3);
	ck_assert_uint_eq(queue_waiting_count(queue), 2);
	finish(queue, queue_find_line(queue, "c")->active);
	ck_assert_uint_eq(queue_pick(queue)->id, 5);
	free_all(queue);
}
END_TEST

START_TEST(line_on_hold_lets_others_on)
{
	struct queue *queue = make_queue(&wide);
	struct job *first = add(queue, 1, "a", JOB_NORMAL, 1);
	struct job *second = add(queue, 2, "b", JOB_NORMAL, 1);

	first->line->hold_reason = strdup("nobody knows how it ended");
	ck_assert_ptr_eq(queue_pick(queue), second);
	queue_activate(queue, second);
	ck_assert_ptr_null(queue_pick(queue));
	ck_assert_ptr_eq(queue_head(first->line), first);
	free(first->line->hold_reason);
	first->line->hold_reason = NULL;
	ck_assert_ptr_eq(queue_pick(queue), first);
	free_all(queue);
}
END_TEST

START_TEST(no_more_run_than_may)
{
	const struct queue_limits limits = { 2, 100, 100, 100 };
	struct queue *queue = make_queue(&limits);
	struct job *a = add(queue, 1, "a", JOB_NORMAL, 1), *b = add(queue, 2, "b", JOB_NORMAL, 2);
	struct job *c = add(queue, 3, "c", JOB_NORMAL, 3);

	queue_activate(queue, a);
	ck_assert_ptr_eq(queue_pick(queue), b);
	queue_activate(queue, b);
	ck_assert_ptr_null(queue_pick(queue));
	finish(queue, a);
	ck_assert_ptr_eq(queue_pick(queue), c);
	free_all(queue);
}
END_TEST

START_TEST(user_at_the_cap_lets_others_on)
{
	const struct queue_limits limits = { 100, 1, 100, 100 };
	struct queue *queue = make_queue(&limits);
	struct job *a = add(queue, 1, "a", JOB_NORMAL, 1), *b = add(queue, 2, "b", JOB_NORMAL, 1);
	/* Users that share a bucket are not mixed up. */
	struct job *c = add(queue, 3, "c", JOB_NORMAL, 1 + 256);

	queue_activate(queue, a);
	ck_assert_ptr_eq(queue_pick(queue), c);
	queue_activate(queue, c);
	ck_assert_ptr_null(queue_pick(queue));
	finish(queue, a);
	ck_assert_ptr_eq(queue_pick(queue), b);
	free_all(queue);
}
END_TEST

START_TEST(full_queue_takes_no_more)
{
	const struct queue_limits limits = { 100, 100, 3, 2 };
	struct queue *queue = make_queue(&limits);
	struct job *first = add(queue, 1, "a", JOB_NORMAL, 1);
	struct job *extra = make_job(9, "z", JOB_HIGH, 1), *other = make_job(10, "z", JOB_HIGH, 3);

	add(queue, 2, "a", JOB_NORMAL, 1);
	ck_assert_int_eq(queue_add(queue, extra, 0), -EDQUOT);
	add(queue, 3, "b", JOB_NORMAL, 2);
	ck_assert_int_eq(queue_add(queue, extra, 0), -ENOSPC);
	ck_assert_int_eq(queue_add(queue, other, 0), -ENOSPC);
	ck_assert_ptr_null(extra->line);
	ck_assert_uint_eq(queue_line_count(queue), 2); /* no empty line is left behind */
	ck_assert_uint_eq(queue_waiting_count(queue), 3);

	/* The active one waits no more. */
	queue_activate(queue, first);
	ck_assert_int_eq(queue_add(queue, extra, 0), 0);
	ck_assert_int_eq(queue_add(queue, other, 0), -ENOSPC);
	job_free(other);
	free_all(queue);
}
END_TEST

START_TEST(line_has_a_limit_of_its_own)
{
	struct queue *queue = make_queue(&wide);
	struct job *extra = make_job(3, "a", JOB_NORMAL, 1);
	struct job *first = add(queue, 1, "a", JOB_NORMAL, 1);

	add(queue, 2, "a", JOB_NORMAL, 1);
	ck_assert_int_eq(queue_add(queue, extra, 2), -ENOSPC);
	ck_assert_ptr_null(extra->line);
	queue_activate(queue, first);
	ck_assert_int_eq(queue_add(queue, extra, 2), 0);
	free_all(queue);
}
END_TEST

START_TEST(who_leaves_lets_the_others_move_up)
{
	struct queue *queue = make_queue(&wide);
	struct job *jobs[5];

	for (size_t i = 0; i < 5; i++)
		jobs[i] = add(queue, i + 1, "s", JOB_NORMAL, 1);
	queue_activate(queue, jobs[0]);
	ck_assert_uint_eq(queue_position(jobs[4]), 5);
	jobs[0]->line->is_dirty = false;
	finish(queue, jobs[2]);
	ck_assert(jobs[0]->line->is_dirty);
	ck_assert_uint_eq(queue_position(jobs[0]), 1);
	ck_assert_uint_eq(queue_position(jobs[1]), 2);
	ck_assert_uint_eq(queue_position(jobs[3]), 3);
	ck_assert_uint_eq(queue_position(jobs[4]), 4);
	finish(queue, jobs[0]);
	ck_assert_uint_eq(queue_position(jobs[1]), 1); /* head of a line without an active one */
	ck_assert_uint_eq(queue_position(jobs[4]), 3);
	ck_assert_ptr_eq(queue_pick(queue), jobs[1]);
	free_all(queue);
}
END_TEST

START_TEST(line_is_found_by_name_and_by_identity)
{
	struct queue *queue = make_queue(&wide);
	struct line *line = add(queue, 1, "s3://b/k", JOB_NORMAL, 1)->line;

	add(queue, 2, "other", JOB_NORMAL, 1);
	ck_assert_ptr_eq(queue_find_line(queue, "s3://b/k"), line);
	ck_assert_ptr_eq(queue_find_line(queue, "name of s3://b/k"), line);
	ck_assert_ptr_null(queue_find_line(queue, "s3://b"));
	ck_assert_ptr_null(queue_find_line(queue, ""));
	ck_assert_ptr_eq(queue_first_line(queue), line);
	free_all(queue);
}
END_TEST

START_TEST(line_stays_until_it_is_dropped)
{
	struct queue *queue = make_queue(&wide);
	struct job *job = add(queue, 1, "a", JOB_NORMAL, 1);
	struct line *line = job->line;

	finish(queue, job);
	ck_assert_uint_eq(queue_line_count(queue), 1);
	ck_assert_ptr_null(queue_head(line));
	ck_assert_ptr_eq(add(queue, 2, "a", JOB_NORMAL, 1)->line, line);
	free_all(queue);
}
END_TEST

START_TEST(job_without_a_line_is_first)
{
	struct job *job = make_job(1, "a", JOB_NORMAL, 1);

	ck_assert_uint_eq(queue_position(job), 1);
	job_free(job);
	ck_assert_ptr_null(queue_free(NULL));
}
END_TEST

START_TEST(jobs_of_before_take_their_places_again)
{
	const struct queue_limits none = { .max_running = 1, .max_running_per_user = 1 };
	struct queue *queue = make_queue(&none);
	struct job *active = make_job(3, "a", JOB_NORMAL, 1);
	struct job *late = make_job(9, "a", JOB_NORMAL, 1);
	struct job *early = make_job(5, "a", JOB_NORMAL, 1);
	struct job *first = make_job(1, "b", JOB_NORMAL, 2);

	ck_assert_int_eq(queue_restore(queue, active, true), 0);
	ck_assert_int_eq(queue_restore(queue, late, false), 0);
	ck_assert_int_eq(queue_restore(queue, early, false), 0);
	ck_assert_int_eq(queue_restore(queue, first, false), 0);
	ck_assert_uint_eq(queue_position(active), 1);
	ck_assert_uint_eq(queue_position(early), 2);
	ck_assert_uint_eq(queue_position(late), 3);
	ck_assert_ptr_null(queue_pick(queue)); /* as many run as may */
	finish(queue, active);
	ck_assert_ptr_eq(queue_pick(queue), first);

	/* One of a line may yet turn out to run: nobody's turn comes there. */
	early->line->undecided = 1;
	finish(queue, first);
	ck_assert_ptr_null(queue_pick(queue));
	early->line->undecided = 0;
	ck_assert_ptr_eq(queue_pick(queue), early);

	/* Nor before it is on disk. */
	early->submitted = 7;
	ck_assert_ptr_null(queue_pick(queue));
	early->submitted = 0;
	ck_assert_ptr_eq(queue_pick(queue), early);
	free_all(queue);
}
END_TEST

START_TEST(ten_thousand_jobs_run_in_order)
{
	struct queue *queue = make_queue(&wide);
	uint64_t last[100] = { 0 }, picked = 0;
	struct job *job, **jobs = calloc(MANY, sizeof(struct job *)), *extra;

	ck_assert_ptr_nonnull(jobs);
	for (uint64_t i = 0; i < MANY; i++) {
		char state[16];

		(void)snprintf(state, sizeof(state), "s%u", (unsigned)(i % 100));
		jobs[i] = add(queue, i + 1, state, JOB_NORMAL, (uid_t)(i % 7));
	}
	extra = make_job(MANY + 1, "s0", JOB_NORMAL, 1);
	ck_assert_int_eq(queue_add(queue, extra, 0), -ENOSPC);
	job_free(extra);
	for (uint64_t i = 0; i < MANY; i++)
		ck_assert_uint_eq(queue_position(jobs[i]), i / 100 + 1);

	while ((job = queue_pick(queue))) {
		const uint64_t state = (job->id - 1) % 100;

		ck_assert_uint_gt(job->id, last[state]);
		last[state] = job->id;
		queue_activate(queue, job);
		finish(queue, job);
		picked++;
	}
	ck_assert_uint_eq(picked, MANY);
	free(jobs);
	free_all(queue);
}
END_TEST

START_TEST(bytes_are_counted_while_a_job_is_there)
{
	struct queue *queue = make_queue(&wide);
	struct job *jobs[4];

	ck_assert_uint_eq(queue_secret_bytes(queue, 1), 0);
	for (uint64_t i = 0; i < 4; i++) {
		jobs[i] = make_job(i + 1, i < 2 ? "a" : "b", JOB_NORMAL, i < 3 ? 1 : 2);
		jobs[i]->secret_bytes = (size_t)10 << i;
	}
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(queue_add(queue, jobs[i], 0), 0);
	ck_assert_int_eq(queue_restore(queue, jobs[3], true), 0);
	ck_assert_uint_eq(queue_secret_bytes(queue, 1), 70);
	ck_assert_uint_eq(queue_secret_bytes(queue, 2), 80);
	queue_activate(queue, jobs[0]);
	ck_assert_uint_eq(queue_secret_bytes(queue, 1), 70);
	queue_remove(queue, jobs[0]);
	queue_remove(queue, jobs[1]);
	queue_remove(queue, jobs[3]);
	ck_assert_uint_eq(queue_secret_bytes(queue, 1), 40);
	ck_assert_uint_eq(queue_secret_bytes(queue, 2), 0);
	for (size_t i = 0; i < 4; i++) {
		if (i != 2)
			job_free(jobs[i]);
	}
	free_all(queue);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, first_come_first_served);
	tcase_add_test(tcase, priority_goes_before_age_within_a_line);
	tcase_add_test(tcase, active_one_is_not_put_off_by_a_higher_priority);
	tcase_add_test(tcase, of_several_lines_the_head_that_came_first_is_picked);
	tcase_add_test(tcase, line_on_hold_lets_others_on);
	tcase_add_test(tcase, no_more_run_than_may);
	tcase_add_test(tcase, user_at_the_cap_lets_others_on);
	tcase_add_test(tcase, full_queue_takes_no_more);
	tcase_add_test(tcase, line_has_a_limit_of_its_own);
	tcase_add_test(tcase, who_leaves_lets_the_others_move_up);
	tcase_add_test(tcase, line_is_found_by_name_and_by_identity);
	tcase_add_test(tcase, line_stays_until_it_is_dropped);
	tcase_add_test(tcase, job_without_a_line_is_first);
	tcase_add_test(tcase, jobs_of_before_take_their_places_again);
	tcase_add_test(tcase, bytes_are_counted_while_a_job_is_there);
	tcase_add_test(tcase, ten_thousand_jobs_run_in_order);
}

int main(void)
{
	return unit_main("queue", add_tests);
}
