/* SPDX-License-Identifier: MIT */
/*
 * Two streams come in: the job's changes from tfqd, and what terraform prints from its runner,
 * on a socket of which tfqd only hands on the other end. The command is over when both are.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/run_parts.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/tfargs.h"

/* --- what tfqd tells
 * --------------------------------------------------------------------------------- */

static bool is_status(const struct run *run, const char *status)
{
	const char *now = json_string_value(json_object_get(run->job, "status"));

	return now && strcmp(now, status) == 0;
}

static void take_job(struct run *run, const json_t *message)
{
	json_t *job = json_object_get(json_object_get(message, "parameters"), "job");

	json_decref(run->job);
	run->job = json_incref(job);
	run->is_over = !json_is_true(json_object_get(message, "continues"));
	run->is_running =
		!run->is_over && (run->has_output || is_status(run, "running") ||
				  is_status(run, "approving") || is_status(run, "stopping"));
	if (run->is_running || run->is_over)
		waiting_clear(&run->waiting);
	else
		waiting_update(&run->waiting, job);
}

/* Return: 0, or the exit code of an error. */
static int read_link(struct run *run, short revents)
{
	json_t *message = NULL;
	int r = 0, code;

	if (revents & POLLOUT)
		r = varlink_flush(run->link);
	if (r >= 0 && revents & (POLLIN | POLLHUP | POLLERR))
		r = varlink_read(run->link);
	while (r >= 0 && !run->is_over && varlink_next(run->link, &message) > 0) {
		code = rpc_check(message);
		if (code == 0)
			take_job(run, message);
		json_decref(message);
		if (code != 0)
			return code;
	}
	if (r < 0 || run->is_over)
		run->link = varlink_free(run->link);
	return 0;
}

/* --- what terraform prints
 * ------------------------------------------------------------------------------ */

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		const ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EAGAIN) { /* somebody made our stdout non-blocking */
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		if (n < 0 && errno != EINTR)
			return; /* SIGPIPE has ended us where it should; else there is nobody to
				   tell */
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void take_exit(struct run *run, const struct frame *frame)
{
	uint32_t value = 0;

	if (frame->len < sizeof(value))
		return;
	memcpy(&value, frame->body, sizeof(value));
	value = le32toh(value);
	(void)snprintf(run->last_words, sizeof(run->last_words), "%.*s",
		       (int)(frame->len - sizeof(value)), frame->body + sizeof(value));
	if (frame->stream == FRAME_EXIT_SIGNAL)
		run->exit_from_runner = EXIT_SIGNAL + (int)(value & 127);
	else
		run->exit_from_runner = (int)(value & 255);
}

static void take_frame(struct run *run, const struct frame *frame)
{
	char note[1024];

	switch (frame->type) {
	case FRAME_OUTPUT:
		waiting_clear(&run->waiting);
		run->has_output = true;
		run->is_running = !run->is_over;
		write_all(frame->stream == FRAME_STDERR ? STDERR_FILENO : STDOUT_FILENO,
			  frame->body, frame->len);
		break;
	case FRAME_NOTE:
		(void)snprintf(note, sizeof(note), "%.*s", (int)frame->len, frame->body);
		print_error("%s", note);
		break;
	case FRAME_EXIT: take_exit(run, frame); break;
	default: break; /* a newer runner's */
	}
}

static void read_attach(struct run *run)
{
	const ssize_t n =
		recv(run->attach, run->in + run->in_len, sizeof(run->in) - run->in_len, 0);
	struct frame frame;
	size_t at = 0;
	int used;

	if (n <= 0) {
		if (n < 0 && errno == EINTR)
			return;
		(void)close(TAKE_FD(run->attach));
		return;
	}
	run->in_len += (size_t)n;
	while ((used = frame_decode(&frame, run->in + at, run->in_len - at)) > 0) {
		take_frame(run, &frame);
		at += (size_t)used;
	}
	run->in_len -= at;
	memmove(run->in, run->in + at, run->in_len);
	if (used < 0)
		(void)close(TAKE_FD(run->attach));
}

/* --- the end
 * ---------------------------------------------------------------------------------------------- */

static void say_how_it_ended(const struct run *run)
{
	char status[32], message[1024];
	bool is_cancelled;

	(void)print_text(message, sizeof(message), run->job, "message");
	(void)print_text(status, sizeof(status), run->job, "status");
	is_cancelled = strcmp(status, "cancelled") == 0;
	if (!*message || strcmp(status, "done") == 0 || (is_cancelled && run->was_interrupted))
		return;
	print_error("#%llu %s%s %s", (unsigned long long)print_number(run->job, "id"), status,
		    is_cancelled ? "" : ":", message);
}

static int exit_code(const struct run *run)
{
	const json_t *code = json_object_get(run->job, "exit_code");

	if (run->has_detached)
		return 0;
	if (run->has_timed_out && is_status(run, "cancelled") &&
	    print_number(run->job, "started") == 0) {
		print_error(
			"gave up after the wait that --wait-timeout allows; the job has left the queue");
		return EXIT_TIMED_OUT;
	}
	if (!run->is_over) { /* tfqd went away before it could say so */
		if (run->last_words[0])
			print_error("%s", run->last_words);
		if (run->exit_from_runner >= 0)
			return run->exit_from_runner;
		print_error("tfqd went away; what became of the job, its log says");
		return EXIT_NO_DAEMON;
	}
	say_how_it_ended(run);
	if (json_is_true(json_object_get(run->job, "busy")))
		return EXIT_BUSY;
	if (json_is_integer(code))
		return (int)json_integer_value(code);
	if (json_object_get(run->job, "exit_signal"))
		return EXIT_SIGNAL + (int)print_number(run->job, "exit_signal");
	return run->was_interrupted ? EXIT_SIGNAL + SIGINT : EXIT_OURS;
}

static int time_left_ms(const struct run *run)
{
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);

	if (run->deadline_usec == 0 || run->is_running || run->is_over || run->has_timed_out)
		return -1;
	return run->deadline_usec <= now ? 0
					 : (int)((run->deadline_usec - now) / USEC_PER_MSEC) + 1;
}

static void give_up_waiting(struct run *run)
{
	if (run->deadline_usec == 0 || run->is_running || run->is_over || run->has_timed_out ||
	    clock_usec(CLOCK_MONOTONIC) < run->deadline_usec)
		return;
	waiting_clear(&run->waiting);
	run->has_timed_out = true;
	if (run->job)
		run_ask_for_end(run);
	else
		run->exit_at_once = EXIT_TIMED_OUT;
}

/* What a child does not read stays in the terminal; we must not get stuck with it. */
static bool has_room(int fd)
{
	return fd < 0 || poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 0) > 0;
}

/* Wait until something happens, and take it in. Return: 0, or the exit code of an error. */
static int turn(struct run *run)
{
	const bool reads_stdin =
		run_wants_stdin(run) && (run->menu == MENU_ASKED || has_room(run->attach));
	struct pollfd pfds[] = {
		{ .fd = run->link ? varlink_fd(run->link) : -1, .events = POLLIN },
		{ .fd = run->attach, .events = POLLIN },
		{ .fd = run->signals, .events = POLLIN },
		{ .fd = reads_stdin ? STDIN_FILENO : -1, .events = POLLIN },
	};
	int code = 0;

	if (run->link && varlink_events(run->link) & EPOLLOUT)
		pfds[0].events |= POLLOUT;
	if (run_wants_stdin(run) && !reads_stdin)
		pfds[1].events |= POLLOUT;
	if (poll(pfds, sizeof(pfds) / sizeof(pfds[0]), time_left_ms(run)) < 0)
		return errno == EINTR ? 0 : EXIT_OURS;
	if (pfds[2].revents)
		run_read_signal(run);
	if (pfds[1].revents & (POLLIN | POLLHUP | POLLERR))
		read_attach(run);
	if (pfds[3].revents)
		run_read_stdin(run);
	if (pfds[0].revents)
		code = read_link(run, pfds[0].revents);
	give_up_waiting(run);
	return code;
}

/* Return: the exit code. */
static int watch(struct run *run)
{
	while ((run->link || run->attach >= 0) && !run->has_detached) {
		const int code = turn(run);

		if (code != 0 || run->exit_at_once != 0)
			return code != 0 ? code : run->exit_at_once;
	}
	waiting_clear(&run->waiting);
	return exit_code(run);
}

static int wait_for_number(struct run *run)
{
	json_t *message = NULL;
	int r = rpc_wait(run->link, &message, -1);

	if (r <= 0) {
		print_error("tfqd went away before it accepted the job");
		return EXIT_NO_DAEMON;
	}
	r = rpc_check(message);
	if (r == 0) {
		(void)printf("%llu\n",
			     (unsigned long long)
				     print_number(json_object_get(json_object_get(message,
										  "parameters"),
								  "job"),
						  "id"));
	}
	json_decref(message);
	return r;
}

static void run_clear(struct run *run)
{
	varlink_free(run->link);
	json_decref(run->job);
	if (run->attach >= 0)
		(void)close(run->attach);
	if (run->signals >= 0)
		(void)close(run->signals);
}

static int say_and_free(char *error, int code)
{
	print_error("%s", error ? error : "out of memory");
	free(error);
	return code;
}

int run_queued(char *const *argv, const struct run_options *options)
{
	CLEANUP(run_clear)
	struct run run = {
		.options = options,
		.attach = -1,
		.signals = -1,
		.exit_from_runner = -1,
		.waiting.is_quiet = options->quiet,
	};
	CLEANUP(subject_clear) struct subject subject = { 0 };
	struct tfargs args;
	char *error = NULL;
	int r;

	if (tfargs_parse(&args, argv, environ, &error) < 0)
		return say_and_free(error, EXIT_USAGE);
	r = subject_find(&subject, &args, &error);
	if (r == -ENOENT && strcmp(args.subcommand, "init") == 0) {
		free(error);
		return run_terraform(
			argv); /* at most a local state is migrated: terraform locks it */
	}
	if (r < 0)
		return say_and_free(error, EXIT_BAD_STATE);

	r = rpc_connect(&run.link);
	if (r != 0)
		return r;
	if (!options->detach)
		run.signals = run_open_signals();
	if (options->wait_timeout_usec > 0)
		run.deadline_usec = clock_usec(CLOCK_MONOTONIC) + options->wait_timeout_usec;
	r = run_submit(&run, argv, &subject);
	if (r != 0)
		return r;
	return options->detach ? wait_for_number(&run) : watch(&run);
}
