/* SPDX-License-Identifier: MIT */
/*
 * Two streams come in: the job's changes from tfqd, and what terraform prints from its runner,
 * on a socket of which tfqd only hands on the other end. The command is over when both are.
 */
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
#include "client/run_parts.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/tfargs.h"

#define REATTACH_USEC USEC_PER_SEC /* for tfqd to say that the job is over, or to go away */

static uint64_t now_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

/* --- what terraform prints ------------------------------------------------------------------- */

static void end_attach(struct run *run)
{
	(void)close(TAKE_FD(run->attach));
	if (!run->stream.has_ended)
		run->reattach_usec = now_usec() + REATTACH_USEC;
}

static void read_attach(struct run *run)
{
	struct stream *stream = &run->stream;
	size_t space;
	char *to = stream_space(stream, &space);
	const ssize_t n = recv(run->attach, to, space, 0);

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		end_attach(run);
		return;
	}
	if (stream_take(stream, (size_t)n) < 0) {
		print_error("what came from the runner of #%llu makes no sense; 'tfq logs %llu' "
			    "may show more",
			    (unsigned long long)run->id, (unsigned long long)run->id);
		stream->has_ended = true; /* as far as we can tell */
		stream->exit_code = EXIT_OURS;
		end_attach(run);
	}
	run->is_running = !run->is_over && (run->is_running || stream->has_output);
	run->wants_screen = run->wants_screen || stream->has_screen;
	run->is_resized = run->is_resized || stream->was_told; /* it may be our window again */
	stream->was_told = false;
	if (stream->error < 0)
		run_lose_terminal(run, stream->error);
}

/* --- the turns ------------------------------------------------------------------------------- */

static bool is_waiting(const struct run *run)
{
	return run->deadline_usec > 0 && !run->is_over && !run->has_timed_out &&
	       (!run->is_running || run->kind == RUN_WAIT);
}

static void give_up_waiting(struct run *run)
{
	waiting_clear(&run->waiting);
	run->has_timed_out = true;
	if (run->kind == RUN_SUBMIT && run->id && !run->said_away) {
		run_ask_for_end(run);
		return;
	}
	if (run->kind == RUN_SUBMIT && run->id) {
		print_error(
			"gave up after the wait that --wait-timeout allows; but tfqd is not "
			"there to be told: #%llu stays queued, and 'tfq cancel %llu' removes it",
			(unsigned long long)run->id, (unsigned long long)run->id);
	}
	run->exit_at_once = EXIT_TIMED_OUT;
}

static void sooner(uint64_t *due, uint64_t usec)
{
	if (usec > 0 && (*due == 0 || usec < *due))
		*due = usec;
}

/* For poll(2): until something is due. */
static int time_left_ms(struct run *run)
{
	const uint64_t now = now_usec();
	uint64_t due = run_keep_screen(run, now);

	if (is_waiting(run))
		sooner(&due, run->deadline_usec);
	sooner(&due, run->link.next_usec);
	sooner(&due, run->reattach_usec);
	if (run->link.away_usec > 0) /* it may never answer */
		sooner(&due, now + 10 * USEC_PER_SEC);
	if (due == 0)
		return -1;
	return due <= now ? 0 : (int)((due - now) / USEC_PER_MSEC) + 1;
}

/* What a child does not read stays in the terminal; we must not get stuck with it. */
static bool has_room(int fd)
{
	return fd < 0 || poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 0) > 0;
}

/* Wait until something happens, and take it in. Return: 0, or the exit code of an error. */
static int turn(struct run *run)
{
	const int timeout = time_left_ms(run);
	const bool wants_stdin = run_wants_stdin(run);
	const bool reads_stdin = wants_stdin && (run->menu == MENU_ASKED || has_room(run->attach));
	struct varlink *varlink = run->link.varlink;
	struct pollfd pfds[] = {
		{ .fd = varlink ? varlink_fd(varlink) : -1, .events = POLLIN },
		/* whose output it is tells how it may be shown */
		{ .fd = run->id && run->job ? run->attach : -1, .events = POLLIN },
		{ .fd = run->signals, .events = POLLIN },
		{ .fd = reads_stdin ? STDIN_FILENO : -1, .events = POLLIN },
	};
	int code = 0;

	if (varlink && varlink_events(varlink) & EPOLLOUT)
		pfds[0].events |= POLLOUT;
	if (wants_stdin && !reads_stdin)
		pfds[1].events |= POLLOUT;
	if (poll(pfds, sizeof(pfds) / sizeof(pfds[0]), timeout) < 0)
		return errno == EINTR ? 0 : EXIT_OURS;
	if (pfds[2].revents)
		run_read_signal(run);
	if (pfds[1].revents & (POLLIN | POLLHUP | POLLERR))
		read_attach(run);
	if (pfds[3].revents)
		run_read_stdin(run, pfds[3].revents);
	if (pfds[0].revents)
		code = run_read_link(run, pfds[0].revents);
	if (code == 0)
		code = run_keep_link(run, now_usec());
	if (is_waiting(run) && now_usec() >= run->deadline_usec)
		give_up_waiting(run);
	return code;
}

static bool is_done(const struct run *run)
{
	if (run->has_detached || run->exit_at_once != 0)
		return true;
	if (run->attach >= 0)
		return false;
	return run->is_over || (run->stream.has_ended && !run->link.varlink);
}

int run_watch(struct run *run)
{
	int code = 0;

	while (code == 0 && !is_done(run))
		code = turn(run);
	screen_leave(&run->screen);
	waiting_clear(&run->waiting);
	if (code != 0 || run->exit_at_once != 0)
		return code != 0 ? code : run->exit_at_once;
	return run->has_detached ? 0 : run_end(run);
}

/* --- begin and end --------------------------------------------------------------------------- */

void run_init(struct run *ret, enum run_kind kind)
{
	static const struct run_options none = { 0 };

	memset(ret, 0, sizeof(*ret));
	ret->kind = kind;
	ret->options = &none;
	ret->attach = ret->signals = -1;
	ret->stream.waiting = &ret->waiting;
	stream_open(&ret->stream, false);
}

void run_clear(struct run *run)
{
	screen_leave(&run->screen);
	link_clear(&run->link);
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
	CLEANUP(run_clear) struct run run;
	CLEANUP(subject_clear) struct subject subject = { 0 };
	struct tfargs args;
	char *error = NULL;
	int r;

	run_init(&run, RUN_SUBMIT);
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

	run.options = options;
	run.waiting.is_quiet = options->quiet || options->json;
	run.argv = argv;
	run.subject = &subject;
	run.has_input = !options->detach && isatty(STDIN_FILENO);
	run.wants_screen = !options->detach && screen_is_there();
	r = link_open(&run.link);
	if (r != 0)
		return r;
	if (!options->detach)
		run.signals = run_open_signals();
	if (options->wait_timeout_usec > 0 && !options->detach)
		run.deadline_usec = now_usec() + options->wait_timeout_usec;
	r = run_ask(&run);
	return r != 0 ? r : run_watch(&run);
}

int run_attached(uint64_t id, bool has_input, const struct keys *keys)
{
	CLEANUP(run_clear) struct run run;
	int r;

	run_init(&run, RUN_ATTACH);
	run.id = id;
	run.has_input = has_input;
	run.keys = *keys;
	r = link_open(&run.link);
	if (r != 0)
		return r;
	run.signals = run_open_signals();
	r = run_ask(&run);
	return r != 0 ? r : run_watch(&run);
}

int run_wait(uint64_t id, uint64_t deadline_usec)
{
	CLEANUP(run_clear) struct run run;
	int r;

	run_init(&run, RUN_WAIT);
	run.id = id;
	run.waiting.is_quiet = true;
	run.deadline_usec = deadline_usec;
	r = link_open(&run.link);
	if (r == 0)
		r = run_ask(&run);
	return r != 0 ? r : run_watch(&run);
}
