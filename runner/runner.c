/* SPDX-License-Identifier: MIT */
/*
 * The life of a runner: hello → prepare (the child is forked and waits) → ready → go → started →
 * output to the recording, viewers behind it → the child and all that it left are gone → exited
 * → end. Whatever happens to the daemon in between, the child is let finish.
 */
#include "runner/runner.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/parse.h"
#include "common/tfargs.h"
#include "common/varlink.h"
#include "common/wire.h"
#include "runner/child.h"
#include "runner/recording.h"
#include "runner/spec.h"
#include "runner/viewer.h"

#define ERRORED_STATE "/errored.tfstate"
#define LEFTOVER_GRACE \
	(5 * USEC_PER_SEC) /* between SIGTERM and SIGKILL for what terraform left behind */
#define READS_PER_TURN 16

struct runner {
	uint64_t id;
	sd_event *event;
	struct varlink *link; /* NULL: the daemon is gone */
	sd_event_source *link_io, *out_io, *err_io, *in_io, *grace, *sigchld;
	struct spec *spec;
	struct recording recording;
	struct viewer *viewers;
	int stdin_fd;

	struct child child;
	bool prepared_lock; /* the child that waits has -lock=false */
	bool is_child_gone; /* it died while it waited */
	bool is_started, is_exited, is_over;
	int interrupts; /* SIGINTs sent */
	int status;     /* of the child, from waitpid(2) */
	uint64_t exited_usec;
	struct timespec errored_before; /* mtime of an errored.tfstate that was there before */

	size_t typed_len; /* typed, and not yet taken by the child */
	char typed[FRAME_BODY_MAX];
	bool typed_end;
};

static uint64_t now_usec(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* --- the daemon ------------------------------------------------------------------------------- */

static void drop_link(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->link_io));
	runner->link = varlink_free(runner->link);
}

static void send_call(struct runner *runner, json_t *call)
{
	const int r = runner->link && call ? varlink_send(runner->link, call, NULL, 0) : -ENOTCONN;

	json_decref(call);
	if (r < 0)
		drop_link(runner);
	else
		(void)sd_event_source_set_io_events(runner->link_io, varlink_events(runner->link));
}

/* @parameters is stolen. */
static void report(struct runner *runner, const char *event, json_t *parameters)
{
	json_t *call;

	if (!parameters)
		parameters = json_object();
	(void)json_object_set_new(parameters, "job", json_integer((json_int_t)runner->id));
	(void)json_object_set_new(parameters, "event", json_string(event));
	call = varlink_call(WIRE_REPORT, parameters);
	if (call)
		(void)json_object_set_new(call, "oneway", json_true());
	send_call(runner, call);
}

static void maybe_leave(struct runner *runner)
{
	if (!runner->is_over || runner->viewers)
		return;
	if (runner->link && varlink_flush(runner->link) == 0)
		return; /* on_link() comes back here */
	(void)sd_event_exit(runner->event, 0);
}

/* --- viewers ------------------------------------------------------------------------------------
 */

static void push_viewers(struct runner *runner)
{
	struct viewer *viewer = runner->viewers;

	while (viewer) {
		struct viewer *next = viewer_next(viewer);

		viewer_push(viewer, runner->is_over);
		viewer = next;
	}
}

static void close_input(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->in_io));
	if (runner->child.in >= 0)
		(void)close(TAKE_FD(runner->child.in));
}

static void on_viewer_gone(struct viewer *viewer, void *userdata)
{
	struct runner *runner = userdata;
	struct viewer *other = runner->viewers;

	if (other == viewer) {
		runner->viewers = viewer_next(viewer);
	} else {
		while (viewer_next(other) != viewer)
			other = viewer_next(other);
		viewer_set_next(other, viewer_next(viewer));
	}
	viewer_free(viewer);
	if (!runner->viewers)
		close_input(runner); /* nobody is left who could answer */
	maybe_leave(runner);
}

static void write_typed(struct runner *runner)
{
	while (runner->typed_len > 0 && runner->child.in >= 0) {
		const ssize_t n = write(runner->child.in, runner->typed, runner->typed_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			(void)sd_event_source_set_enabled(runner->in_io, SD_EVENT_ON);
			return;
		}
		if (n < 0) {
			close_input(runner); /* the child does not read any more */
			break;
		}
		runner->typed_len -= (size_t)n;
		memmove(runner->typed, runner->typed + n, runner->typed_len);
	}
	if (runner->in_io)
		(void)sd_event_source_set_enabled(runner->in_io, SD_EVENT_OFF);
	if (runner->typed_len == 0 && runner->typed_end)
		close_input(runner);
}

static int on_input_room(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct runner *runner = userdata;

	(void)source;
	(void)fd;
	(void)revents;

	write_typed(runner);
	if (runner->typed_len == 0)
		for (struct viewer *viewer = runner->viewers; viewer; viewer = viewer_next(viewer))
			viewer_resume_input(viewer);
	return 0;
}

static bool on_viewer_input(const char *data, size_t len, void *userdata)
{
	struct runner *runner = userdata;

	if (len == 0) {
		runner->typed_end = true;
	} else if (runner->child.in >= 0) {
		if (runner->typed_len + len > sizeof(runner->typed))
			return false;
		memcpy(runner->typed + runner->typed_len, data, len);
		runner->typed_len += len;
	}
	write_typed(runner);
	return true;
}

static void add_viewer(struct runner *runner, int fd)
{
	static const struct viewer_callbacks callbacks = { on_viewer_input, on_viewer_gone };
	struct viewer *viewer = NULL;

	if (fd < 0 ||
	    viewer_new(&viewer, runner->event, fd, &runner->recording, &callbacks, runner) < 0)
		return;
	viewer_set_next(viewer, runner->viewers);
	runner->viewers = viewer;
	viewer_push(viewer, runner->is_over);
}

/* --- the end
 * -------------------------------------------------------------------------------------- */

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
	push_viewers(runner);
	maybe_leave(runner);
}

/* It never ran: by the daemon's word, or because it cannot. */
static void end_unstarted(struct runner *runner, int code, const char *words)
{
	child_close(&runner->child); /* a child that waits ends by that */
	if (!runner->is_over)
		record_end(runner, FRAME_EXIT_NEVER_RAN, code, words);
}

static void refuse(struct runner *runner, int code, const char *message)
{
	report(runner, "refused",
	       json_pack("{s:i, s:s}", "exit_code", code, "message",
			 message ? message : "out of memory"));
	end_unstarted(runner, code, message);
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

/* @is_final: whatever is still to come would come from nobody. */
static void read_output(struct runner *runner, int *fd, sd_event_source **io, uint8_t stream,
			bool is_final)
{
	char buffer[FRAME_BODY_MAX];

	for (int i = 0; *fd >= 0 && (is_final || i < READS_PER_TURN); i++) {
		const ssize_t n = read(*fd, buffer, sizeof(buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !is_final)
			return;
		if (n <= 0) {
			sd_event_source_disable_unref(TAKE_PTR(*io));
			(void)close(TAKE_FD(*fd));
			return;
		}
		recording_add(&runner->recording, FRAME_OUTPUT, stream, buffer, (size_t)n);
	}
}

/* The child has exited and nothing of it is left: only now may the lock go to somebody else. */
static void finish(struct runner *runner)
{
	const bool was_killed = WIFSIGNALED(runner->status);
	const int value = was_killed ? WTERMSIG(runner->status) : WEXITSTATUS(runner->status);

	sd_event_source_disable_unref(TAKE_PTR(runner->grace));
	report(runner, "exited",
	       json_pack("{s:I, s:i, s:b}", "at", (json_int_t)runner->exited_usec,
			 was_killed ? "exit_signal" : "exit_code", value, "errored_state",
			 has_errored_state(runner)));
	read_output(runner, &runner->child.out, &runner->out_io, FRAME_STDOUT, true);
	read_output(runner, &runner->child.err, &runner->err_io, FRAME_STDERR, true);
	close_input(runner);
	child_close(&runner->child);
	record_end(runner, was_killed ? FRAME_EXIT_SIGNAL : FRAME_EXIT_CODE, value, NULL);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;

	(void)child_signal_all(SIGKILL); /* their children come to us next, by SIGCHLD */
	return 0;
}

/*
 * terraform is gone, something that it started is not: ended as systemd ends a service's
 * rest, because the lock cannot be let go while it might still be creating things.
 */
static void end_leftovers(struct runner *runner)
{
	static const char note[] =
		"terraform left processes behind; they are ended before the lock is let go";
	const bool is_late = runner->grace && sd_event_source_get_enabled(runner->grace, NULL) == 0;

	if (!runner->grace) {
		recording_add(&runner->recording, FRAME_NOTE, FRAME_STREAM_NONE, note,
			      sizeof(note) - 1);
		push_viewers(runner);
		if (sd_event_add_time_relative(runner->event, &runner->grace, CLOCK_MONOTONIC,
					       LEFTOVER_GRACE, USEC_PER_MSEC, on_grace_over,
					       runner) < 0)
			(void)child_signal_all(SIGKILL);
	}
	(void)child_signal_all(is_late ? SIGKILL : SIGTERM);
}

static int on_sigchld(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
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
		runner->exited_usec = now_usec();
	}
	if (!runner->is_exited || runner->is_over)
		return 0;
	if (pid < 0 && errno == ECHILD)
		finish(runner);
	else
		end_leftovers(runner);
	return 0;
}

/* --- the child
 * -------------------------------------------------------------------------------------- */

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct runner *runner = userdata;

	(void)source;
	(void)revents;

	if (fd == runner->child.out)
		read_output(runner, &runner->child.out, &runner->out_io, FRAME_STDOUT, false);
	else if (fd == runner->child.err)
		read_output(runner, &runner->child.err, &runner->err_io, FRAME_STDERR, false);
	push_viewers(runner);
	return 0;
}

static int watch_child(struct runner *runner)
{
	struct child *child = &runner->child;
	int r;

	r = sd_event_add_io(runner->event, &runner->out_io, child->out, EPOLLIN, on_output, runner);
	if (r >= 0)
		r = sd_event_add_io(runner->event, &runner->err_io, child->err, EPOLLIN, on_output,
				    runner);
	if (r >= 0 && child->in >= 0) {
		r = sd_event_add_io(runner->event, &runner->in_io, child->in, EPOLLOUT,
				    on_input_room, runner);
		if (r >= 0)
			r = sd_event_source_set_enabled(runner->in_io, SD_EVENT_OFF);
	}
	return r;
}

static void unwatch_child(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->out_io));
	sd_event_source_disable_unref(TAKE_PTR(runner->err_io));
	sd_event_source_disable_unref(TAKE_PTR(runner->in_io));
	child_close(&runner->child);
}

/* Fork the child for a run with or without the daemon's lock. Return: false if it was refused. */
static bool make_child(struct runner *runner, bool hold_lock)
{
	AUTO_FREE char *program = NULL;
	AUTO_FREE char *error = NULL;
	char **argv = NULL;
	int r;

	if (chdir(runner->spec->directory) < 0) {
		if (asprintf(&error, "cannot enter %s: %m", runner->spec->directory) < 0)
			error = NULL;
		refuse(runner, SPEC_EXIT_FAILED, error);
		return false;
	}
	r = spec_command(runner->spec, hold_lock, &program, &argv, &error);
	if (r != 0) {
		refuse(runner, r, error);
		return false;
	}
	r = child_prepare(&runner->child, &(struct child_spec){
						  .program = program,
						  .argv = argv,
						  .env = runner->spec->env,
						  .directory = runner->spec->directory,
						  .umask = runner->spec->umask,
						  .stdin_fd = runner->stdin_fd,
					  });
	tfargs_strv_free(argv);
	if (r >= 0)
		r = watch_child(runner);
	if (r < 0) {
		refuse(runner, SPEC_EXIT_FAILED, strerror(-r));
		return false;
	}
	runner->prepared_lock = hold_lock;
	runner->is_child_gone = false;
	return true;
}

static void remember_errored_state(struct runner *runner)
{
	AUTO_FREE char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s" ERRORED_STATE, runner->spec->state_directory) < 0)
		path = NULL;
	else if (stat(path, &st) == 0)
		runner->errored_before = st.st_mtim;
}

static void go(struct runner *runner, bool hold_lock)
{
	AUTO_FREE char *error = NULL;
	int r;

	if (runner->is_over || runner->is_started)
		return;
	r = hold_lock ? spec_check_state(runner->spec, &error) : 0;
	if (r != 0) {
		refuse(runner, r, error);
		return;
	}
	if (hold_lock != runner->prepared_lock || runner->is_child_gone) {
		unwatch_child(runner);
		if (!make_child(runner, hold_lock))
			return;
	}
	remember_errored_state(runner);
	if (!runner->viewers)
		close_input(runner);
	r = child_go(&runner->child);
	if (r < 0) {
		if (asprintf(&error, "cannot run terraform: %s", strerror(-r)) < 0)
			error = NULL;
		refuse(runner, r == -ENOENT ? SPEC_EXIT_NOT_FOUND : SPEC_EXIT_NOT_EXEC, error);
		return;
	}
	runner->is_started = true;
	report(runner, "started",
	       json_pack("{s:i, s:I}", "pid", (int)runner->child.pid, "at",
			 (json_int_t)now_usec()));
}

/* One SIGINT to terraform's pid alone: its group has providers, which must not hear it. */
static void interrupt(struct runner *runner, int level)
{
	if (!runner->is_started || runner->is_exited || runner->interrupts >= level)
		return;
	runner->interrupts++;
	(void)kill(runner->child.pid, SIGINT);
}

/* --- orders
 * ------------------------------------------------------------------------------------------- */

static void prepare(struct runner *runner, const json_t *spec)
{
	int r;

	if (runner->spec)
		return;
	runner->recording.fd = varlink_take_fd(runner->link);
	r = spec_parse(&runner->spec, spec, runner->id);
	if (r >= 0 && runner->recording.fd < 0)
		r = -EBADMSG;
	if (r < 0) {
		log_warning(r, "tfq-runner: the daemon's order makes no sense: %m");
		(void)sd_event_exit(runner->event, r);
		return;
	}
	if (runner->spec->has_stdin)
		runner->stdin_fd = varlink_take_fd(runner->link);
	recording_add(&runner->recording, FRAME_START, FRAME_STREAM_NONE, "1", 1);
	if (make_child(runner, runner->spec->hold_lock))
		report(runner, "ready", NULL);
}

/* The job is over for the daemon. If it never ran here, the viewers are told why. */
static void end(struct runner *runner, const json_t *parameters)
{
	const char *message = json_string_value(json_object_get(parameters, "message"));

	drop_link(runner);
	if (!runner->is_started && !runner->spec)
		(void)sd_event_exit(runner->event, 0);
	else if (!runner->is_started)
		end_unstarted(runner, SPEC_EXIT_FAILED, message);
	maybe_leave(runner);
}

static void take_order(struct runner *runner, const json_t *message)
{
	const json_t *parameters = json_object_get(message, "parameters");
	const char *order = json_string_value(json_object_get(parameters, "order"));

	if (!order) { /* an error, or a daemon that we do not understand */
		drop_link(runner);
		if (!runner->is_started)
			(void)sd_event_exit(runner->event, -EPROTO);
	} else if (strcmp(order, "prepare") == 0) {
		prepare(runner, json_object_get(parameters, "spec"));
	} else if (strcmp(order, "attach") == 0) {
		add_viewer(runner, varlink_take_fd(runner->link));
	} else if (strcmp(order, "go") == 0 && runner->spec) {
		go(runner, json_is_true(json_object_get(parameters, "hold_lock")));
	} else if (strcmp(order, "stop") == 0) {
		interrupt(runner, (int)json_integer_value(json_object_get(parameters, "level")));
	} else if (strcmp(order, "end") == 0) {
		end(runner, parameters);
	}
}

/* tfqd is gone. A child that runs is let finish; one that only waits must never start. */
static void lose_daemon(struct runner *runner)
{
	drop_link(runner);
	if (!runner->is_started) {
		if (runner->spec) {
			end_unstarted(runner, SPEC_EXIT_FAILED,
				      "tfqd went away before terraform was started");
		} else {
			(void)sd_event_exit(runner->event, -ENOTCONN);
		}
	}
	maybe_leave(runner);
}

static int on_link(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct runner *runner = userdata;
	json_t *message = NULL;
	int r = 0;

	(void)source;
	(void)fd;

	if (revents & EPOLLOUT)
		r = varlink_flush(runner->link);
	if (r >= 0 && revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = varlink_read(runner->link);
	if (r < 0) {
		lose_daemon(runner);
		return 0;
	}
	while (runner->link && (r = varlink_next(runner->link, &message)) > 0) {
		take_order(runner, message);
		json_decref(message);
	}
	if (r < 0)
		lose_daemon(runner);
	if (runner->link)
		(void)sd_event_source_set_io_events(runner->link_io, varlink_events(runner->link));
	maybe_leave(runner);
	return 0;
}

/* --- start
 * --------------------------------------------------------------------------------------------- */

/* The machine goes down, or somebody means us: terraform is asked politely, once. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info,
			  void *userdata)
{
	(void)source;
	(void)info;

	interrupt(userdata, 1);
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

	r = sd_event_add_signal(runner->event, &runner->sigchld, SIGCHLD, on_sigchld, runner);
	if (r >= 0) /* before its last output: somebody may wait for the end */
		r = sd_event_source_set_priority(runner->sigchld, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_add_signal(runner->event, NULL, SIGTERM, on_stop_signal, runner);
	if (r >= 0)
		r = sd_event_add_signal(runner->event, NULL, SIGINT, on_stop_signal, runner);
	return r;
}

static int say_hello(struct runner *runner, const char *socket)
{
	json_t *call;
	int r;

	r = varlink_connect(&runner->link, socket);
	if (r < 0)
		return r;
	r = sd_event_add_io(runner->event, &runner->link_io, varlink_fd(runner->link), EPOLLIN,
			    on_link, runner);
	if (r < 0)
		return r;
	call = varlink_call(WIRE_HELLO, json_pack("{s:i, s:I, s:s}", "protocol", WIRE_PROTOCOL,
						  "job", (json_int_t)runner->id, "phase", "new"));
	if (call)
		(void)json_object_set_new(call, "more", json_true());
	send_call(runner, call);
	return runner->link ? 0 : -ENOTCONN;
}

static struct runner *runner_free(struct runner *runner)
{
	if (!runner)
		return NULL;
	while (runner->viewers) {
		struct viewer *next = viewer_next(runner->viewers);

		viewer_free(runner->viewers);
		runner->viewers = next;
	}
	sd_event_source_disable_unref(runner->grace);
	sd_event_source_disable_unref(runner->sigchld);
	unwatch_child(runner);
	drop_link(runner);
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
		r = say_hello(runner, socket);
	return r < 0 ? r : sd_event_loop(runner->event);
}
