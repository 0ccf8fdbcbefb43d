/* SPDX-License-Identifier: MIT */
/* What tfqd is asked of the job and tells; and what to do while tfqd is not there. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/run_parts.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/wire.h"

#define AWAY_MAX     (10 * USEC_PER_MIN)
#define RESUBMIT_MAX (30 * USEC_PER_SEC)

bool run_is_status(const struct run *run, const char *status)
{
	const char *now = json_string_value(json_object_get(run->job, "status"));

	return now && strcmp(now, status) == 0;
}

/* --- asking ---------------------------------------------------------------------------------- */

/* A runner that tfqd has to start again makes a new recording, if nothing was in the old one. */
static uint64_t next_offset(const struct run *run)
{
	return run->stream.has_output ? run->stream.offset : 0;
}

static json_t *attach_json(const struct run *run, bool has_attach, bool has_stdin)
{
	json_t *parameters = json_pack("{s:I}", "id", (json_int_t)run->id);

	if (has_attach) {
		json_t *more = json_pack("{s:b, s:I, s:b, s:b}", "attach", true, "offset",
					 (json_int_t)run->stream.offset, "input", run->has_input,
					 "stdin", has_stdin);

		(void)json_object_update(parameters, more);
		json_decref(more);
	}
	return parameters;
}

static int ask_attach(struct run *run)
{
	const bool has_attach = run->kind != RUN_WAIT && run->attach < 0 && !run->stream.has_ended;
	const bool has_stdin = has_attach && run_gives_stdin(run) && !run->stream.has_output;
	int pair[2] = { -1, -1 }, fds[2], r;
	size_t count = 0;
	json_t *call;

	if (has_attach) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
			print_error("cannot make a socket: %s", strerror(errno));
			return EXIT_OURS;
		}
		stream_seek(&run->stream, next_offset(run));
		run->attach = pair[0];
		fds[count++] = pair[1];
	}
	run->is_attach_new = has_attach;
	run->reattach_usec = 0;
	if (has_stdin)
		fds[count++] = STDIN_FILENO;
	call = varlink_call(WIRE_ATTACH, attach_json(run, has_attach, has_stdin));
	if (call)
		(void)json_object_set_new(call, "more", json_true());
	r = varlink_send(run->link.varlink, call, fds, count);
	json_decref(call);
	if (pair[1] >= 0)
		(void)close(pair[1]);
	return r == -ENOMEM ? EXIT_OURS : 0; /* all else is read from the connection */
}

int run_ask(struct run *run)
{
	int r;

	run->is_answered = false;
	run->is_resized = run->has_input && screen_is_there();
	r = run->id ? ask_attach(run) : run_submit(run);
	return r;
}

/* --- answers --------------------------------------------------------------------------------- */

/* Its number was given to another one: its tfqd has lost its memory. */
static bool is_another(const struct run *run, const json_t *job)
{
	const uint64_t before = print_number(run->job, "submitted"),
		       now = print_number(job, "submitted");

	return before > 0 && now > 0 && before != now;
}

static int say_unknown(const struct run *run)
{
	print_error("tfqd is back, but does not know #%" PRIu64 " any more: what became of it, its "
		    "log and the state may show",
		    run->id);
	return EXIT_OURS;
}

static void take_first_answer(struct run *run, const json_t *job)
{
	run->is_answered = true;
	if (run->said_away)
		print_error("tfqd is back");
	run->said_away = false;
	link_found(&run->link);
	if (run->kind != RUN_SUBMIT &&
	    (uint64_t)json_integer_value(json_object_get(job, "uid")) != getuid())
		stream_open(&run->stream, true);
	if (run->is_over && run->is_attach_new && run->attach >= 0)
		(void)close(TAKE_FD(run->attach)); /* it has a recording, and nothing more */
	run->is_attach_new = false;
}

/* To @out, as tfqd said it: one line. */
static void print_json(const json_t *job, FILE *out)
{
	(void)json_dumpf(job, out, JSON_COMPACT);
	(void)fputc('\n', out);
	(void)fflush(out);
}

static void say_accepted(const struct run *run)
{
	if (run->options->json)
		print_json(run->job, stdout);
	else
		(void)printf("%" PRIu64 "\n", run->id);
}

static void take_job(struct run *run, const json_t *message)
{
	json_t *job = json_object_get(json_object_get(message, "parameters"), "job");

	if (run->options->json && !run->options->detach && !json_equal(run->job, job))
		print_json(job, stderr);
	json_decref(run->job);
	run->job = json_incref(job);
	run->id = run->id ? run->id : print_number(job, "id");
	run->is_over = !json_is_true(json_object_get(message, "continues"));
	run->is_running = !run->is_over &&
			  (run->stream.has_output || run_is_status(run, "running") ||
			   run_is_status(run, "approving") || run_is_status(run, "stopping"));
	if (run->is_running || run->is_over || !run->is_answered || run->options->detach)
		waiting_clear(&run->waiting); /* else the line stays, or changes */
	if (!run->is_answered)
		take_first_answer(run, job);
	run->wants_screen = run->wants_screen || (json_is_true(json_object_get(job, "tty")));
	if (run->options->detach) {
		say_accepted(run);
		run->has_detached = true;
	} else if (!run->is_running && !run->is_over) {
		waiting_update(&run->waiting, job);
	}
}

static void say_away(struct run *run)
{
	if (run->said_away || run->kind == RUN_WAIT)
		return;
	waiting_clear(&run->waiting);
	if (run->job) {
		print_error("tfqd went away; #%" PRIu64 " %s; waiting for tfqd to come back",
			    run->id, run->is_running ? "goes on" : "stays queued");
	} else {
		print_error("tfqd went away before it answered; waiting for it to come back");
	}
	run->said_away = true;
}

static void wait_for_return(struct run *run)
{
	if (run->is_attach_new && run->attach >= 0) /* nobody has the other end */
		(void)close(TAKE_FD(run->attach));
	run->is_attach_new = false;
	run->was_away = true;
	if (!run->stream.has_ended)
		say_away(run);
}

/* Return: 0 if it is tried again, or the exit code. */
static int take_error(struct run *run, const json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);

	if (strcmp(error, WIRE_E_STOPPING) == 0 && run->id) {
		link_lose(&run->link, now);
		wait_for_return(run);
		return 0;
	}
	if (strcmp(error, WIRE_E_STOPPING) == 0 &&
	    (run->resubmit_until == 0 || now < run->resubmit_until)) {
		if (run->resubmit_until == 0) {
			print_error("tfqd is stopping; trying for 30 s whether it starts again");
			run->resubmit_until = now + RESUBMIT_MAX;
		}
		link_lose(&run->link, now);
		return 0;
	}
	waiting_clear(&run->waiting);
	if (strcmp(error, WIRE_E_NO_SUCH_JOB) == 0 && (run->job || run->kind == RUN_SUBMIT))
		return say_unknown(run);
	return rpc_check(message);
}

/* --- while it is not there ------------------------------------------------------------------- */

/* Return: 0, or the exit code. */
static int lose_link(struct run *run)
{
	link_lose(&run->link, clock_usec(CLOCK_MONOTONIC));
	if (!run->id) {
		print_error(
			"tfqd went away before it said whether it accepted the job; 'tfq queue' "
			"shows");
		return EXIT_NO_DAEMON;
	}
	wait_for_return(run);
	return 0;
}

/* Return: 0, or the exit code. */
static int take_message(struct run *run, const json_t *message)
{
	const json_t *job = json_object_get(json_object_get(message, "parameters"), "job");

	if (json_is_string(json_object_get(message, "error")))
		return take_error(run, message);
	if (is_another(run, job))
		return say_unknown(run);
	if (job)
		take_job(run, message);
	return 0;
}

int run_read_link(struct run *run, short revents)
{
	struct varlink *varlink = run->link.varlink;
	json_t *message = NULL;
	int r = 0, code = 0;

	if (revents & POLLOUT)
		r = varlink_flush(varlink);
	if (r >= 0 && revents & (POLLIN | POLLHUP | POLLERR))
		r = varlink_read(varlink);
	while (code == 0 && run->link.varlink && !run->is_over && !run->has_detached &&
	       varlink_next(varlink, &message) > 0) {
		code = take_message(run, message);
		json_decref(message);
	}
	if (code != 0)
		return code;
	if (run->is_over || run->has_detached)
		link_close(&run->link);
	else if (r < 0 && run->link.varlink)
		return lose_link(run);
	return 0;
}

static int give_up(struct run *run)
{
	if (!run->id) {
		print_error("tfqd is stopping and did not come back; the job was not accepted");
		return EXIT_NO_DAEMON;
	}
	print_error("tfqd has not come back; #%" PRIu64 " is not lost: 'tfq attach %" PRIu64
		    "' shows it once tfqd runs again",
		    run->id, run->id);
	return EXIT_NO_DAEMON;
}

int run_keep_link(struct run *run, uint64_t now_usec)
{
	struct link *link = &run->link;

	if (run->reattach_usec > 0 && now_usec >= run->reattach_usec) {
		run->reattach_usec = 0;
		if (link->varlink && run->is_answered && run->attach < 0 && !run->is_over &&
		    !run->stream.has_ended) /* its runner is gone, and the job is not */
			link_lose(link, now_usec);
	}
	if (link->away_usec > 0 && (now_usec - link->away_usec > AWAY_MAX ||
				    (!run->id && now_usec > run->resubmit_until && !link->varlink)))
		return give_up(run);
	return link_retry(link, now_usec) > 0 ? run_ask(run) : 0;
}
