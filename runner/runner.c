/* SPDX-License-Identifier: MIT */
/*
 * The life of a runner: hello → prepare (the child is forked and waits) → ready → go → started →
 * output to the recording, viewers behind it → the child and all that it left are gone → exited
 * → end. Whatever happens to the daemon after go, the child is let finish, and a new daemon gets
 * another hello; before go, the runner ends with it.
 */
#include "runner/runner.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runner/runner_parts.h"

#define NOFILE_WANTED ((rlim_t)2 * RUNNER_VIEWERS_MAX)

/* The machine goes down, or somebody means us: terraform is asked politely, once. Where it does not
 * run (yet, or any more) there is nothing to wait for. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info,
			  void *userdata)
{
	struct runner *runner = userdata;

	(void)source;
	(void)info;

	if (!runner->is_started || runner->is_over)
		return sd_event_exit(runner->event, 0);
	runner->is_signalled = runner_interrupt(runner, 1) || runner->is_signalled;
	return 0;
}

static int watch_signals(struct runner *runner)
{
	sigset_t mask;
	int r;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGCHLD);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGINT);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);

	r = sd_event_add_signal(runner->event, &runner->sigchld, SIGCHLD, runner_on_sigchld,
				runner);
	if (r >= 0) /* before its last output: somebody may wait for the end */
		r = sd_event_source_set_priority(runner->sigchld, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_add_signal(runner->event, NULL, SIGTERM, on_stop_signal, runner);
	if (r >= 0)
		r = sd_event_add_signal(runner->event, NULL, SIGINT, on_stop_signal, runner);
	return r;
}

void runner_set_timer(sd_event_source *timer, uint64_t usec)
{
	(void)sd_event_source_set_time_relative(timer, usec);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* All are made while that can be refused. */
static int make_timers(struct runner *runner)
{
	const struct {
		sd_event_source **source;
		sd_event_time_handler_t on_time;
	} timers[] = {
		{ &runner->grace, runner_on_grace_over },
		{ &runner->retry, runner_on_retry },
		{ &runner->linger, runner_on_linger },
		{ &runner->resize, runner_on_resize },
		{ &runner->settle, runner_on_settled },
		{ &runner->approval, runner_on_unanswered },
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < sizeof(timers) / sizeof(timers[0]); i++) {
		r = sd_event_add_time(runner->event, timers[i].source, CLOCK_MONOTONIC, 0,
				      USEC_PER_MSEC, timers[i].on_time, runner);
		if (r >= 0)
			r = sd_event_source_set_enabled(*timers[i].source, SD_EVENT_OFF);
	}
	if (r >= 0)
		r = sd_event_source_set_priority(runner->grace, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_add_defer(runner->event, &runner->push, runner_on_push, runner);
	if (r >= 0)
		r = sd_event_source_set_enabled(runner->push, SD_EVENT_OFF);
	return r;
}

/* Each viewer is a descriptor; the child gets the limit that we were given. */
static void raise_nofile(struct runner *runner)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &runner->nofile) < 0)
		runner->nofile = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	limit = runner->nofile;
	if (limit.rlim_cur >= NOFILE_WANTED)
		return;
	limit.rlim_cur = limit.rlim_max < NOFILE_WANTED ? limit.rlim_max : NOFILE_WANTED;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static struct runner *runner_free(struct runner *runner)
{
	if (!runner)
		return NULL;
	runner_free_viewers(runner);
	sd_event_source_disable_unref(runner->grace);
	sd_event_source_disable_unref(runner->retry);
	sd_event_source_disable_unref(runner->linger);
	sd_event_source_disable_unref(runner->resize);
	sd_event_source_disable_unref(runner->settle);
	sd_event_source_disable_unref(runner->approval);
	sd_event_source_disable_unref(runner->push);
	runner_fence_end(runner);
	sd_event_source_disable_unref(runner->sigchld);
	runner_unwatch_child(runner);
	runner_drop_link(runner);
	json_decref(runner->unwritten);
	journal_output_close(&runner->journal);
	spec_free(runner->spec);
	if (runner->recording.fd >= 0)
		(void)close(runner->recording.fd);
	if (runner->reports_fd >= 0)
		(void)close(runner->reports_fd);
	if (runner->stdin_fd >= 0)
		(void)close(runner->stdin_fd);
	sd_event_unref(runner->event);
	free(runner);
	return NULL;
}
DEFINE_FREEP(runner);

int runner_run(uint64_t id, const char *socket)
{
	CLEANUP(runner_freep) struct runner *runner = calloc(1, sizeof(*runner));
	int r;

	if (!runner)
		return -ENOMEM;
	runner->id = id;
	runner->socket = socket;
	runner->recording.fd = runner->reports_fd = runner->stdin_fd = runner->journal.fd = -1;
	runner->child = (struct child){
		.out = -1, .err = -1, .in = -1, .slave = -1, .go = -1, .exec_error = -1
	};
	runner->unwritten = json_array();
	if (!runner->unwritten)
		return -ENOMEM;
	raise_nofile(runner);

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) /* what terraform leaves behind comes to us */
		return -errno;
	r = sd_event_default(&runner->event);
	if (r >= 0)
		r = watch_signals(runner);
	if (r >= 0)
		r = make_timers(runner);
	if (r >= 0)
		r = runner_say_hello(runner);
	return r < 0 ? r : sd_event_loop(runner->event);
}
