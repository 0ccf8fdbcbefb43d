/* SPDX-License-Identifier: MIT */
/* The job is over: what is still to be shown, and what it comes to. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/logs.h"
#include "client/print.h"
#include "client/run_parts.h"
#include "common/cleanup.h"

/* Its runner went away before all had come to us, or it was over before we asked. */
static void show_rest(struct run *run)
{
	AUTO_CLOSE int fd = -1;
	json_t *job = NULL;

	if (run->stream.has_ended || run->kind == RUN_WAIT || !run->is_over)
		return;
	if (run->kind == RUN_SUBMIT && run->stream.offset == 0 && !run->was_away)
		return; /* it never began */
	stream_seek(&run->stream, run->stream.has_output ? run->stream.offset : 0);
	if (logs_open(run->id, &job, &fd) != 0)
		return;
	if (fd >= 0)
		(void)logs_read(&run->stream, fd, run->id);
	json_decref(job);
}

static void say_how_it_ended(const struct run *run)
{
	char status[32], message[1024];
	bool is_cancelled;

	(void)print_text(message, sizeof(message), run->job, "message");
	(void)print_text(status, sizeof(status), run->job, "status");
	is_cancelled = strcmp(status, "cancelled") == 0;
	if (!*message || strcmp(status, "done") == 0 || (is_cancelled && run->was_interrupted))
		return;
	print_error("#%llu %s%s %s", (unsigned long long)run->id, status, is_cancelled ? "" : ":",
		    message);
}

/* For one who has not seen its output. */
static void say_if_it_failed(const struct run *run, int code)
{
	char status[32], message[1024], why[64] = "";

	if (code == 0)
		return;
	(void)print_text(message, sizeof(message), run->job, "message");
	(void)print_text(status, sizeof(status), run->job, "status");
	if (json_object_get(run->job, "exit_signal"))
		(void)snprintf(why, sizeof(why), ": signal %d", code - EXIT_SIGNAL);
	else if (json_object_get(run->job, "exit_code"))
		(void)snprintf(why, sizeof(why), ": exit code %d", code);
	print_error("#%llu %s%s%s%s", (unsigned long long)run->id, status, why,
		    *message ? ": " : "", message);
}

/* tfqd is not there to say what became of it; its runner has. */
static int code_of_runner(const struct run *run)
{
	if (run->stream.last_words[0])
		print_error("%s", run->stream.last_words);
	return run->stream.exit_code;
}

static int code_of_job(const struct run *run)
{
	const json_t *code = json_object_get(run->job, "exit_code");

	if (json_is_true(json_object_get(run->job, "busy")))
		return EXIT_BUSY;
	if (json_is_integer(code))
		return (int)json_integer_value(code);
	if (json_object_get(run->job, "exit_signal"))
		return EXIT_SIGNAL + (int)print_number(run->job, "exit_signal");
	return run->was_interrupted ? EXIT_SIGNAL + SIGINT : EXIT_OURS;
}

int run_end(struct run *run)
{
	show_rest(run);
	if (run->stream.error < 0) {
		run_lose_terminal(run, run->stream.error);
		return run->exit_at_once;
	}
	if (run->has_timed_out && run_is_status(run, "cancelled") &&
	    print_number(run->job, "started") == 0) {
		print_error(
			"gave up after the wait that --wait-timeout allows; the job has left the queue");
		return EXIT_TIMED_OUT;
	}
	if (run->kind == RUN_FOLLOW)
		return 0;
	if (!run->is_over)
		return code_of_runner(run);
	if (run->kind == RUN_WAIT)
		say_if_it_failed(run, code_of_job(run));
	else
		say_how_it_ended(run);
	return code_of_job(run);
}
