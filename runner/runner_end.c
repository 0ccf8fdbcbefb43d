/* SPDX-License-Identifier: MIT */
/* How a job ends: what is left of it, what is reported, what is recorded. */
#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "runner/runner_parts.h"
#include "runner/tree.h"

#define ERRORED_STATE "/errored.tfstate"
#define LEFTOVER_GRACE \
	(5 * USEC_PER_SEC) /* between SIGTERM and SIGKILL for what terraform left behind */
#define KILL_AGAIN (50 * USEC_PER_MSEC)

void runner_maybe_leave(struct runner *runner)
{
	if (!runner->is_over || runner->viewers)
		return;
	if (runner->link && varlink_flush(runner->link) == 0)
		return; /* on_link() comes back here */
	(void)sd_event_exit(runner->event, 0);
}

static void record_end(struct runner *runner, enum frame_exit kind, int value, const char *words)
{
	const size_t len = words ? strlen(words) : 0;
	const uint32_t number = htole32((uint32_t)value);
	char body[sizeof(number) + 1024];

	memcpy(body, &number, sizeof(number));
	memcpy(body + sizeof(number), words ? words : "", len < 1024 ? len : 1024);
	recording_add(&runner->recording, FRAME_EXIT, (uint8_t)kind, body,
		      sizeof(number) + (len < 1024 ? len : 1024));
	runner->is_over = true;
	runner_fence_end(runner);
	runner_push_viewers(runner);
	runner_linger(runner);
	runner_maybe_leave(runner);
}

void runner_end_unstarted(struct runner *runner, int code, const char *words)
{
	child_close(&runner->child); /* a child that waits ends by that */
	if (!runner->is_over)
		record_end(runner, FRAME_EXIT_NEVER_RAN, code, words);
}

void runner_refuse(struct runner *runner, int code, const char *message)
{
	(void)runner_report(runner, "refused",
			    json_pack("{s:i, s:s}", "exit_code", code, "message",
				      message ? message : "out of memory"));
	runner_end_unstarted(runner, code, message);
}

void runner_remember_errored_state(struct runner *runner)
{
	AUTO_FREE char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s" ERRORED_STATE, runner->spec->state_directory) < 0)
		path = NULL;
	else if (stat(path, &st) == 0)
		runner->errored_before = st.st_mtim;
}

static bool has_errored_state(const struct runner *runner)
{
	AUTO_FREE char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s" ERRORED_STATE, runner->spec->state_directory) < 0) {
		path = NULL;
		return false;
	}
	return stat(path, &st) == 0 && (st.st_mtim.tv_sec != runner->errored_before.tv_sec ||
					st.st_mtim.tv_nsec != runner->errored_before.tv_nsec);
}

static const char *why_interrupted(const struct runner *runner, int value)
{
	if (runner->is_unanswered)
		return "terraform asked, and nobody was attached who could answer: it was "
		       "interrupted after approval_timeout";
	if (runner->is_signalled && value != 0)
		return "its unit was stopped, or the machine went down: terraform was interrupted";
	return NULL;
}

static json_t *describe_end(const struct runner *runner, bool was_killed, int value)
{
	return json_pack("{s:I, s:i, s:b, s:b, s:s*}", "at", (json_int_t)runner->exited_usec,
			 was_killed ? "exit_signal" : "exit_code", value, "errored_state",
			 has_errored_state(runner), "fenced", runner->is_fenced, "message",
			 why_interrupted(runner, value));
}

/* The child has exited and nothing of it is left: only now may the lock go to somebody else. */
static void finish(struct runner *runner)
{
	const bool was_killed = WIFSIGNALED(runner->status);
	const int value = was_killed ? WTERMSIG(runner->status) : WEXITSTATUS(runner->status);

	sd_event_source_disable_unref(TAKE_PTR(runner->grace));
	(void)runner_report(runner, "exited", describe_end(runner, was_killed, value));
	(void)sched_yield(); /* tfqd may wait for this CPU, and somebody for tfqd's word */
	runner_drain_child(runner);
	runner_close_input(runner);
	child_close(&runner->child);
	record_end(runner, was_killed ? FRAME_EXIT_SIGNAL : FRAME_EXIT_CODE, value, NULL);
}

/* What cannot be killed now, or was just born, gets its SIGKILL by the next pass. */
void runner_kill_all(struct runner *runner)
{
	runner->is_killing = true;
	/* No descriptor is left to read /proc: then its group at least, which has most of it. */
	if (tree_kill() < 0 && !runner->is_exited)
		(void)kill(-runner->child.pid, SIGKILL);
	runner_set_timer(runner->grace, KILL_AGAIN);
}

int runner_on_grace_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;

	runner_kill_all(userdata);
	return 0;
}

void runner_note(struct runner *runner, const char *text)
{
	recording_add(&runner->recording, FRAME_NOTE, FRAME_STREAM_NONE, text, strlen(text));
	runner_push_viewers(runner);
}

/*
 * terraform is gone, something that it started is not: ended as systemd ends a service's
 * rest, because the lock cannot be let go while it might still be creating things.
 */
static void end_leftovers(struct runner *runner)
{
	(void)tree_signal_children(SIGTERM);
	if (runner->has_leftovers)
		return;
	runner->has_leftovers = true;
	runner_set_timer(runner->grace, LEFTOVER_GRACE);
	runner_note(runner,
		    "terraform left processes behind; they are ended before the lock is let go");
}

int runner_on_sigchld(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct runner *runner = userdata;
	pid_t pid;
	int status;

	(void)source;
	(void)info;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != runner->child.pid)
			continue;
		if (!runner->is_started) { /* somebody killed it while it waited: another is made */
			runner->is_child_gone = true;
			continue;
		}
		runner->status = status;
		runner->is_exited = true;
		runner->exited_usec = clock_usec(CLOCK_MONOTONIC);
	}
	if (!runner->is_started || runner->is_over)
		return 0;
	if (runner->is_exited && pid < 0 && errno == ECHILD)
		finish(runner);
	else if (runner->is_killing)
		runner_kill_all(runner);
	else if (runner->is_exited)
		end_leftovers(runner);
	return 0;
}
