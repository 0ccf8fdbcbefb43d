/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/job.h"
#include "tests/unit/unit.h"

static const void *wiped[8];
static size_t wiped_len[8], wiped_count;

/* In the place of the C library's two: what is wiped is noted. */
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
void explicit_bzero(void *mem, size_t len)
{
	ck_assert_uint_lt(wiped_count, 8);
	wiped[wiped_count] = mem;
	wiped_len[wiped_count++] = len;
	memset(mem, 0, len);
}

#ifdef _FORTIFY_SOURCE
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c): what it makes of the other
void __explicit_bzero_chk(void *mem, size_t len, size_t size)
{
	ck_assert_uint_le(len, size);
	explicit_bzero(mem, len);
}
#endif

static struct job *make_job(void)
{
	struct job *job = NULL;

	ck_assert_int_eq(job_new(&job), 0);
	job->env = calloc(3, sizeof(*job->env));
	ck_assert_ptr_nonnull(job->env);
	job->env[0] = strdup("AWS_SECRET_ACCESS_KEY=hush");
	job->env[1] = strdup("B=2");
	for (uint64_t i = 0; i < 2; i++) {
		ck_assert_int_eq(job_add_viewer(job, open("/dev/null", O_RDONLY | O_CLOEXEC), i,
						i == 0),
				 0);
	}
	job->stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert(job->viewers[1].fd >= 0 && job->stdin_fd >= 0);
	return job;
}

START_TEST(new_job_is_empty)
{
	struct job *job = NULL;

	ck_assert_int_eq(job_new(&job), 0);
	ck_assert_int_eq(job->status, JOB_QUEUED);
	ck_assert_int_eq(job->priority, JOB_NORMAL);
	ck_assert_uint_eq(job->viewer_count, 0);
	ck_assert_int_eq(job->stdin_fd, -1);
	ck_assert_int_eq(job->exit_code, -1);
	ck_assert(job->handover_usec == UINT64_MAX);
	ck_assert(TAILQ_EMPTY(&job->watches));
	ck_assert_ptr_null(job_free(job));
	ck_assert_ptr_null(job_free(NULL));
}
END_TEST

START_TEST(secrets_go_when_they_are_needed_no_more)
{
	struct job *job = make_job();
	const int viewer_fd = job->viewers[1].fd, stdin_fd = job->stdin_fd;
	const void *secret = job->env[0];

	wiped_count = 0;
	if (_i == 0) {
		job_forget_secrets(job);
		ck_assert_ptr_null(job->env);
		ck_assert_uint_eq(job->viewer_count, 0);
		ck_assert_int_eq(job->stdin_fd, -1);
		job_forget_secrets(job); /* once more does no harm */
	} else {
		job = job_free(job);
	}
	ck_assert_uint_ge(wiped_count, 2);
	ck_assert_ptr_eq(wiped[0], secret);
	ck_assert_uint_eq(wiped_len[0], strlen("AWS_SECRET_ACCESS_KEY=hush"));
	ck_assert_int_eq(fcntl(viewer_fd, F_GETFD), -1);
	ck_assert_int_eq(fcntl(stdin_fd, F_GETFD), -1);
	job_free(job);
}
END_TEST

START_TEST(what_only_waits_is_reduced)
{
	struct job *job = make_job();
	struct backend *outline = calloc(1, sizeof(*outline));
	const int stdin_fd = job->stdin_fd;

	wiped_count = 0;
	job_reduce(job, outline);
	ck_assert_ptr_eq(job->backend, outline);
	ck_assert_ptr_null(job->env);
	ck_assert_uint_ge(wiped_count, 1);
	ck_assert_uint_eq(wiped_len[0], strlen("AWS_SECRET_ACCESS_KEY=hush"));
	ck_assert_int_eq(job->stdin_fd, stdin_fd); /* these cannot be had again */
	ck_assert_uint_gt(job->viewer_count, 0);
	job_free(job);
}
END_TEST

START_TEST(message_is_replaced_also_by_one_made_of_it)
{
	struct job *job = NULL;

	ck_assert_int_eq(job_new(&job), 0);
	job_set_message(job, "exit code %d", 3);
	ck_assert_str_eq(job->message, "exit code 3");
	job_set_message(job, "%s, again", job->message);
	ck_assert_str_eq(job->message, "exit code 3, again");
	job_free(job);
}
END_TEST

START_TEST(priorities_have_names)
{
	enum job_priority priority = JOB_LOW;

	for (int i = 0; i < JOB_PRIORITY_COUNT; i++) {
		ck_assert_int_eq(job_priority_parse(&priority,
						    job_priority_name((enum job_priority)i)),
				 0);
		ck_assert_int_eq(priority, i);
	}
	ck_assert_int_eq(job_priority_parse(&priority, ""), -EINVAL);
	ck_assert_int_eq(job_priority_parse(&priority, "High"), -EINVAL);
	ck_assert_int_eq(job_priority_parse(&priority, "higher"), -EINVAL);
	ck_assert_int_eq(priority, JOB_LOW);
}
END_TEST

START_TEST(who_locks_is_told)
{
	struct job *job = NULL;

	ck_assert_int_eq(job_new(&job), 0);
	ck_assert(job_is_locked_by_us(job));
	job->why_child = "the backend is gcs";
	ck_assert(!job_is_locked_by_us(job));
	job_free(job);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, new_job_is_empty);
	tcase_add_loop_test(tcase, secrets_go_when_they_are_needed_no_more, 0, 2);
	tcase_add_test(tcase, what_only_waits_is_reduced);
	tcase_add_test(tcase, message_is_replaced_also_by_one_made_of_it);
	tcase_add_test(tcase, priorities_have_names);
	tcase_add_test(tcase, who_locks_is_told);
}

int main(void)
{
	return unit_main("job", add_tests);
}
