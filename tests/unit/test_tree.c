/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runner/tree.h"
#include "tests/unit/unit.h"

#define PASSES_MAX 500
#define CHAIN      50

/* Everybody who lives holds the write end: the pipe's end is the end of all. */
static int ends[2];

static void setup(void)
{
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert(signal(SIGTERM, SIG_DFL) != SIG_ERR); /* Check's own ends the whole group */
}

static void wait_a_little(void)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	(void)nanosleep(&pause, NULL);
}

static _Noreturn void stay(void)
{
	(void)!write(ends[1], "x", 1);
	for (;;)
		(void)pause();
}

/* Wait until @count processes are there. */
static void wait_for_all(int count)
{
	char byte;

	while (count-- > 0)
		ck_assert_int_eq(read(ends[0], &byte, 1), 1);
}

/* Pass after pass, as the runner does. */
static void kill_until_none_is_left(void)
{
	char byte;
	int passes = 0;

	(void)close(ends[1]);
	for (;;) {
		(void)tree_kill();
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			break;
		ck_assert_int_lt(++passes, PASSES_MAX);
		wait_a_little();
	}
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	ck_assert_int_eq(tree_kill(), 0);
}

/* A chain of processes, each in a session of its own and deaf to what can be caught. */
static void fork_chain(int depth)
{
	for (int i = 0; i < depth; i++) {
		const pid_t pid = fork();

		if (pid > 0 && i == 0)
			return;
		if (pid > 0)
			stay();
		(void)setsid();
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
	}
	stay();
}

START_TEST(no_children)
{
	ck_assert_int_eq(tree_signal_children(SIGTERM), 0);
	ck_assert_int_eq(tree_kill(), 0);
}
END_TEST

START_TEST(one_pass_reaches_the_whole_chain)
{
	fork_chain(CHAIN);
	wait_for_all(CHAIN);
	ck_assert_int_eq(tree_kill(), CHAIN);
	kill_until_none_is_left();
}
END_TEST

START_TEST(orphans_and_the_stopped_die)
{
	pid_t pid = fork();

	if (pid == 0) { /* goes, and leaves a grandchild */
		if (fork() == 0) {
			(void)setsid();
			stay();
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0)
			stay();
		(void)!write(ends[1], "x", 1);
		(void)raise(SIGSTOP);
		_exit(0);
	}
	wait_for_all(3);
	kill_until_none_is_left();
}
END_TEST

/* Forks for ever, and leaves its parent each time. */
START_TEST(who_runs_away_is_caught)
{
	const pid_t pid = fork();

	if (pid == 0) {
		(void)!write(ends[1], "x", 1);
		for (;;) {
			wait_a_little();
			if (fork() > 0)
				_exit(0);
		}
	}
	wait_for_all(1);
	kill_until_none_is_left();
}
END_TEST

START_TEST(signal_to_children_spares_grandchildren)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (fork() == 0)
			stay();
		stay();
	}
	wait_for_all(2);
	ck_assert_int_eq(tree_signal_children(SIGTERM), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WTERMSIG(status), SIGTERM);
	pid = waitpid(-1, &status, WNOHANG); /* it is ours now, and lives */
	ck_assert_int_eq(pid, 0);
	kill_until_none_is_left();
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, no_children);
	tcase_add_test(tcase, one_pass_reaches_the_whole_chain);
	tcase_add_test(tcase, orphans_and_the_stopped_die);
	tcase_add_test(tcase, who_runs_away_is_caught);
	tcase_add_test(tcase, signal_to_children_spares_grandchildren);
}

int main(void)
{
	return unit_main("tree", add_tests);
}
