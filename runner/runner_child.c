/* SPDX-License-Identifier: MIT */
/* terraform: made ready ahead of its turn, let go, read from, interrupted. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/tfargs.h"
#include "runner/runner_parts.h"

#define READS_PER_TURN 16
#define LAST_MAX                                                                        \
	((size_t)64 << 20) /* bytes; far more than a pipe holds: a stranger has it, too \
			    */

/* @is_final: whatever is still to come would come from nobody. */
static void read_output(struct runner *runner, int *fd, sd_event_source **io, uint8_t stream,
			bool is_final)
{
	size_t total = 0;

	for (int i = 0; *fd >= 0 && (is_final || i < READS_PER_TURN); i++) {
		const ssize_t n = read(*fd, runner->output, sizeof(runner->output));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !is_final)
			return;
		if (n <= 0 || total > LAST_MAX) {
			sd_event_source_disable_unref(TAKE_PTR(*io));
			(void)close(TAKE_FD(*fd));
			return;
		}
		total += (size_t)n;
		recording_add(&runner->recording, FRAME_OUTPUT, stream, runner->output, (size_t)n);
		journal_output_add(&runner->journal, stream, runner->output, (size_t)n);
		if (stream == FRAME_STDOUT) /* a debug log on stderr goes on while it asks */
			runner_see_output(runner, runner->output, (size_t)n);
	}
}

void runner_drain_child(struct runner *runner)
{
	read_output(runner, &runner->child.out, &runner->out_io, FRAME_STDOUT, true);
	read_output(runner, &runner->child.err, &runner->err_io, FRAME_STDERR, true);
}

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct runner *runner = userdata;

	(void)source;
	(void)revents;

	if (fd == runner->child.out)
		read_output(runner, &runner->child.out, &runner->out_io, FRAME_STDOUT, false);
	else if (fd == runner->child.err)
		read_output(runner, &runner->child.err, &runner->err_io, FRAME_STDERR, false);
	runner_push_viewers(runner);
	return 0;
}

static int watch_child(struct runner *runner)
{
	struct child *child = &runner->child;
	int r;

	r = sd_event_add_io(runner->event, &runner->out_io, child->out, EPOLLIN, on_output, runner);
	if (r >= 0 && child->err >= 0) {
		r = sd_event_add_io(runner->event, &runner->err_io, child->err, EPOLLIN, on_output,
				    runner);
	}
	if (r >= 0 && child->in >= 0) {
		r = sd_event_add_io(runner->event, &runner->in_io, child->in, EPOLLOUT,
				    runner_on_input_room, runner);
		if (r >= 0 && runner->typed_len == 0)
			r = sd_event_source_set_enabled(runner->in_io, SD_EVENT_OFF);
	}
	return r;
}

void runner_unwatch_child(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->out_io));
	sd_event_source_disable_unref(TAKE_PTR(runner->err_io));
	sd_event_source_disable_unref(TAKE_PTR(runner->in_io));
	child_close(&runner->child);
}

bool runner_make_child(struct runner *runner, bool hold_lock)
{
	AUTO_FREE char *program = NULL;
	AUTO_FREE char *error = NULL;
	char **argv = NULL;
	int r;

	if (chdir(runner->spec->directory) < 0) {
		if (asprintf(&error, "cannot enter %s: %m", runner->spec->directory) < 0)
			error = NULL;
		runner_refuse(runner, SPEC_EXIT_FAILED, error);
		return false;
	}
	r = spec_command(runner->spec, hold_lock, &program, &argv, &error);
	if (r != 0) {
		runner_refuse(runner, r, error);
		return false;
	}
	r = child_prepare(&runner->child,
			  &(struct child_spec){
				  .program = program,
				  .argv = argv,
				  .env = runner->spec->env,
				  .directory = runner->spec->directory,
				  .umask = runner->spec->umask,
				  .stdin_fd = runner->stdin_fd,
				  .terminal = runner->spec->has_terminal ? &runner->size : NULL,
				  .nofile = &runner->nofile,
			  });
	tfargs_strv_free(argv);
	if (r >= 0)
		r = watch_child(runner);
	if (r < 0) {
		runner_refuse(runner, SPEC_EXIT_FAILED, strerror(-r));
		return false;
	}
	runner->prepared_lock = hold_lock;
	runner->is_child_gone = false;
	return true;
}

static int exit_code_of(int error)
{
	switch (error) {
	case -ETIME: return SPEC_EXIT_FAILED;
	case -ENOENT: return SPEC_EXIT_NOT_FOUND;
	default: return SPEC_EXIT_NOT_EXEC;
	}
}

/* Why terraform was not started, for the user; NULL: out of memory. */
static char *explain_go(int error)
{
	char *text = NULL;

	if (error == -ETIME) {
		return strdup("the lease of the state's lock ran out before terraform was started: "
			      "tfqd could not renew it in time; tfqd's log says why "
			      "(journalctl -u tfqd); then queue the job again");
	}
	if (error == -EOPNOTSUPP) {
		return strdup(
			"terraform cannot be run under a lease here: /proc is not mounted, or "
			"does not list children (CONFIG_PROC_CHILDREN of the kernel), so that "
			"what terraform starts could not be ended in time; mend that, or set "
			"takeover = ask in tfqd.conf");
	}
	if (error == -E2BIG) {
		return strdup(
			"cannot run terraform: an argument or a variable is longer than 128 KiB, or all "
			"of them together than the kernel allows (getconf ARG_MAX): put values into a "
			"file (-var-file), and unset what terraform does not need");
	}
	return asprintf(&text, "cannot run terraform: %s", strerror(-error)) < 0 ? NULL : text;
}

void runner_go(struct runner *runner, bool hold_lock, uint64_t deadline_usec,
	       uint64_t stop_grace_usec)
{
	AUTO_FREE char *error = NULL;
	int r;

	r = hold_lock ? spec_check_state(runner->spec, &error) : 0;
	if (r != 0) {
		runner_refuse(runner, r, error);
		return;
	}
	if (hold_lock != runner->prepared_lock || runner->is_child_gone) {
		runner_unwatch_child(runner);
		if (!runner_make_child(runner, hold_lock))
			return;
	}
	runner_remember_errored_state(runner);
	/* Nobody is there to type; or has typed ^D, perhaps for a child before this one. On a
	 * terminal somebody may come. */
	if (!runner->spec->has_terminal &&
	    (!runner->writer || (runner->typed_end && runner->typed_len == 0)))
		runner_close_input(runner);
	r = runner_fence_begin(runner, deadline_usec, stop_grace_usec);
	if (r < 0) {
		error = explain_go(r);
		runner_refuse(runner, SPEC_EXIT_FAILED, error);
		return;
	}
	/* A tfqd that is started now must know that terraform may run, or it runs it again. */
	if (!runner_report_going(runner)) {
		runner_refuse(runner, SPEC_EXIT_FAILED,
			      "terraform was not started, because tfqd's state directory has no "
			      "room to write that down: make room there, and queue it again");
		return;
	}
	r = child_go(&runner->child, fence_kill_usec(&runner->fence));
	if (r < 0) {
		error = explain_go(r);
		runner_refuse(runner, exit_code_of(r), error);
		return;
	}
	runner->is_started = true;
	(void)runner_report(runner, "started",
			    json_pack("{s:i, s:I}", "pid", (int)runner->child.pid, "at",
				      (json_int_t)runner->child.exec_usec));
}

bool runner_interrupt(struct runner *runner, int level)
{
	if (!runner->is_started || runner->is_exited || runner->interrupts >= level)
		return false;
	runner->interrupts++;
	(void)kill(runner->child.pid, SIGINT);
	return true;
}
