/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/parse.h"
#include "runner/child.h"
#include "tests/unit/unit.h"

#define WAIT_MSEC 20000

static struct child child;

/* A shell that runs @script once it is let go. */
static void prepare(char *script)
{
	char name[] = "sh", option[] = "-c";
	char *const argv[] = { name, option, script, NULL }, *const env[] = { NULL };

	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(child_prepare(&child, &(struct child_spec){ .program = "/bin/sh",
								     .argv = argv,
								     .env = env,
								     .directory = "/",
								     .umask = 022,
								     .stdin_fd = -1 }),
			 0);
}

static uint64_t boottime(void)
{
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_BOOTTIME, &now), 0);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* What it has printed up to its end, or up to the end of everybody who could. */
static size_t read_all(int fd, char *buffer, size_t size)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t used = 0;
	ssize_t n;

	do {
		ck_assert_int_eq(poll(&poll_fd, 1, WAIT_MSEC), 1);
		n = read(fd, buffer + used, size - used);
		ck_assert_int_ge(n, 0);
		used += (size_t)n;
	} while (n > 0);
	return used;
}

static int status_of_child(void)
{
	int status;

	ck_assert_int_eq(waitpid(child.pid, &status, 0), child.pid);
	return status;
}

START_TEST(goes_without_a_lease_or_before_its_end)
{
	char script[] = "echo ran", buffer[16];
	uint64_t before;

	prepare(script);
	before = clock_usec(CLOCK_MONOTONIC);
	ck_assert_int_eq(child_go(&child, _i == 0 ? 0 : boottime() + USEC_PER_HOUR), 0);
	ck_assert_uint_ge(child.exec_usec, before);
	ck_assert_uint_le(child.exec_usec, clock_usec(CLOCK_MONOTONIC));
	ck_assert_uint_eq(read_all(child.out, buffer, sizeof(buffer)), 4);
	ck_assert_int_eq(status_of_child(), 0);
	child_close(&child);
}
END_TEST

START_TEST(does_not_begin_past_the_end_of_its_lease)
{
	char script[] = "echo ran", buffer[16];

	prepare(script);
	ck_assert_int_eq(child_go(&child, _i == 0 ? 1 : boottime()), -ETIME);
	ck_assert_uint_eq(read_all(child.out, buffer, sizeof(buffer)), 0);
	(void)status_of_child();
	child_close(&child);
}
END_TEST

START_TEST(never_begins_if_it_is_not_let_go)
{
	char script[] = "echo ran", buffer[16];
	int out;

	prepare(script);
	out = dup(child.out);
	ck_assert_int_ge(out, 0);
	child_close(&child);
	ck_assert_uint_eq(read_all(out, buffer, sizeof(buffer)), 0);
	ck_assert_int_eq(status_of_child(), 0);
	(void)close(out);
}
END_TEST

/* A runner that dies: _i 1 under a lease, its child dies too; 0 without one, it lives on. */
START_TEST(parent_that_dies)
{
	char script[] = "echo ran; read line; echo $line";
	int in[2], pids[2], status;
	pid_t runner;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(pids, O_CLOEXEC), 0);
	runner = fork();
	ck_assert_int_ge(runner, 0);
	if (runner == 0) {
		char name[] = "sh", option[] = "-c";
		char *const argv[] = { name, option, script, NULL }, *const env[] = { NULL };

		if (child_prepare(&child, &(struct child_spec){ .program = "/bin/sh",
								.argv = argv,
								.env = env,
								.directory = "/",
								.umask = 022,
								.stdin_fd = in[0] }) < 0 ||
		    child_go(&child, _i == 0 ? 0 : boottime() + USEC_PER_HOUR) < 0 ||
		    poll(&(struct pollfd){ .fd = child.out, .events = POLLIN }, 1, WAIT_MSEC) != 1)
			_exit(1); /* its echo must not meet a pipe without a reader */
		(void)!write(pids[1], &child.pid, sizeof(child.pid));
		for (;;)
			(void)pause();
	}
	(void)close(pids[1]); /* or a runner that fails would not be heard of */
	ck_assert_int_eq(read(pids[0], &child.pid, sizeof(child.pid)), sizeof(child.pid));
	ck_assert_int_eq(kill(runner, SIGKILL), 0);
	ck_assert_int_eq(waitpid(runner, NULL, 0), runner);
	if (_i == 0) /* it waits for this line */
		ck_assert_int_eq(write(in[1], "go\n", 3), 3);
	status = status_of_child(); /* it is ours now */
	if (_i == 0)
		ck_assert(!WIFSIGNALED(status) || WTERMSIG(status) == SIGPIPE);
	else
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST

START_TEST(terminal_is_its_own_and_its_output_comes_whole)
{
	char name[] = "sh", option[] = "-c", buffer[128] = "";
	char script[] = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size </dev/tty && stty -a | "
			"grep -c -e '[-]isig' -e '[-]ixon '";
	char path[] = "PATH=/usr/bin:/bin";
	char *const argv[] = { name, option, script, NULL }, *const env[] = { path, NULL };
	struct pollfd poll_fd = { .events = POLLIN };
	size_t len = 0;

	ck_assert_int_eq(child_prepare(&child,
				       &(struct child_spec){
					       .program = "/bin/sh",
					       .argv = argv,
					       .env = env,
					       .directory = "/",
					       .umask = 022,
					       .stdin_fd = -1,
					       .terminal = &(struct terminal_size){ 12, 345 },
				       }),
			 0);
	ck_assert_int_lt(child.err, 0);
	ck_assert_int_ge(child.slave, 0);
	ck_assert_int_ge(child.in, 0);
	ck_assert_int_eq(child_go(&child, 0), 0);
	ck_assert_int_eq(status_of_child(), 0);
	poll_fd.fd = child.out;
	while (poll(&poll_fd, 1, 0) == 1) { /* it is dead: all is there */
		const ssize_t n = read(child.out, buffer + len, sizeof(buffer) - 1 - len);

		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	ck_assert_str_eq(buffer, "12 345\r\n2\r\n");
	ck_assert_int_eq(read(child.out, buffer, 1), -1);
	ck_assert_int_eq(errno, EAGAIN); /* and no hang-up */
	child_close(&child);
}
END_TEST

START_TEST(descriptor_limit_is_as_told)
{
	char script[] = "ulimit -n", name[] = "sh", option[] = "-c", buffer[16] = "";
	char *const argv[] = { name, option, script, NULL }, *const env[] = { NULL };

	ck_assert_int_eq(child_prepare(&child,
				       &(struct child_spec){
					       .program = "/bin/sh",
					       .argv = argv,
					       .env = env,
					       .directory = "/",
					       .umask = 022,
					       .stdin_fd = -1,
					       .nofile = &(struct rlimit){ 123, 123 } }),
			 0);
	ck_assert_int_eq(child_go(&child, 0), 0);
	(void)read_all(child.out, buffer, sizeof(buffer) - 1);
	ck_assert_str_eq(buffer, "123\n");
	ck_assert_int_eq(status_of_child(), 0);
	child_close(&child);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, goes_without_a_lease_or_before_its_end, 0, 2);
	tcase_add_loop_test(tcase, does_not_begin_past_the_end_of_its_lease, 0, 2);
	tcase_add_test(tcase, never_begins_if_it_is_not_let_go);
	tcase_add_loop_test(tcase, parent_that_dies, 0, 2);
	tcase_add_test(tcase, terminal_is_its_own_and_its_output_comes_whole);
	tcase_add_test(tcase, descriptor_limit_is_as_told);
}

int main(void)
{
	return unit_main("child", add_tests);
}
