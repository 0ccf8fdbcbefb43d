/* SPDX-License-Identifier: MIT */
/*
 * The life of a runner: hello → prepare (the child is forked and waits) → ready → go → started →
 * output to the recording, viewers behind it → the child and all that it left are gone → exited
 * → end. Whatever happens to the daemon in between, the child is let finish.
 */
#include "runner/runner.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "runner/runner_parts.h"

/* The machine goes down, or somebody means us: terraform is asked politely, once. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info,
			  void *userdata)
{
	(void)source;
	(void)info;

	(void)runner_interrupt(userdata, 1);
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
	if (r >= 0)
		r = runner_make_grace(runner);
	return r;
}

static struct runner *runner_free(struct runner *runner)
{
	if (!runner)
		return NULL;
	runner_free_viewers(runner);
	sd_event_source_disable_unref(runner->grace);
	runner_fence_end(runner);
	sd_event_source_disable_unref(runner->sigchld);
	runner_unwatch_child(runner);
	runner_drop_link(runner);
	spec_free(runner->spec);
	if (runner->recording.fd >= 0)
		(void)close(runner->recording.fd);
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
	runner->recording.fd = runner->stdin_fd = -1;
	runner->child =
		(struct child){ .out = -1, .err = -1, .in = -1, .go = -1, .exec_error = -1 };

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) /* what terraform leaves behind comes to us */
		return -errno;
	r = sd_event_default(&runner->event);
	if (r >= 0)
		r = watch_signals(runner);
	if (r >= 0)
		r = runner_say_hello(runner, socket);
	return r < 0 ? r : sd_event_loop(runner->event);
}
