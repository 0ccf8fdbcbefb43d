/* SPDX-License-Identifier: MIT */
/* The link to tfqd: its orders, and what it is told. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/log.h"
#include "common/wire.h"
#include "runner/runner_parts.h"

void runner_drop_link(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->link_io));
	runner->link = varlink_free(runner->link);
}

static void send_call(struct runner *runner, json_t *call)
{
	const int r = runner->link && call ? varlink_send(runner->link, call, NULL, 0) : -ENOTCONN;

	json_decref(call);
	if (r < 0)
		runner_drop_link(runner);
	else
		(void)sd_event_source_set_io_events(runner->link_io, varlink_events(runner->link));
}

void runner_report(struct runner *runner, const char *event, json_t *parameters)
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
	if (runner_make_child(runner, runner->spec->hold_lock))
		runner_report(runner, "ready", NULL);
}

/* The job is over for the daemon. If it never ran here, the viewers are told why. */
static void end(struct runner *runner, const json_t *parameters)
{
	const char *message = json_string_value(json_object_get(parameters, "message"));

	runner_drop_link(runner);
	if (!runner->is_started && !runner->spec)
		(void)sd_event_exit(runner->event, 0);
	else if (!runner->is_started)
		runner_end_unstarted(runner, SPEC_EXIT_FAILED, message);
	runner_maybe_leave(runner);
}

/* An absent member is 0. Return: 0, or -EBADMSG for what is no time. */
static int read_usec(const json_t *parameters, const char *name, uint64_t *ret)
{
	const json_t *value = json_object_get(parameters, name);

	if (value && (!json_is_integer(value) || json_integer_value(value) < 0))
		return -EBADMSG;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

/* A deadline that cannot be read must not be taken for none. */
static void go(struct runner *runner, const json_t *parameters)
{
	uint64_t deadline, stop_grace;

	if (runner->is_over || runner->is_started)
		return;
	if (read_usec(parameters, "deadline", &deadline) < 0 ||
	    read_usec(parameters, "stop_grace", &stop_grace) < 0) {
		runner_refuse(runner, SPEC_EXIT_FAILED,
			      "tfqd's order makes no sense: restart tfqd if it was just upgraded");
		return;
	}
	runner_go(runner, json_is_true(json_object_get(parameters, "hold_lock")), deadline,
		  stop_grace);
}

static void take_order(struct runner *runner, const json_t *message)
{
	const json_t *parameters = json_object_get(message, "parameters");
	const char *order = json_string_value(json_object_get(parameters, "order"));
	uint64_t deadline;

	if (!order) { /* an error, or a daemon that we do not understand */
		runner_drop_link(runner);
		if (!runner->is_started)
			(void)sd_event_exit(runner->event, -EPROTO);
	} else if (strcmp(order, "prepare") == 0) {
		prepare(runner, json_object_get(parameters, "spec"));
	} else if (strcmp(order, "attach") == 0) {
		runner_add_viewer(runner, varlink_take_fd(runner->link));
	} else if (strcmp(order, "go") == 0 && runner->spec) {
		go(runner, parameters);
	} else if (strcmp(order, "deadline") == 0) {
		if (read_usec(parameters, "deadline", &deadline) == 0)
			runner_fence_move(runner, deadline);
	} else if (strcmp(order, "stop") == 0) {
		(void)runner_interrupt(runner, (int)json_integer_value(
						       json_object_get(parameters, "level")));
	} else if (strcmp(order, "end") == 0) {
		end(runner, parameters);
	}
}

/* tfqd is gone. A child that runs is let finish; one that only waits must never start. */
static void lose_daemon(struct runner *runner)
{
	runner_drop_link(runner);
	if (!runner->is_started) {
		if (runner->spec) {
			runner_end_unstarted(runner, SPEC_EXIT_FAILED,
					     "tfqd went away before terraform was started");
		} else {
			(void)sd_event_exit(runner->event, -ENOTCONN);
		}
	}
	runner_maybe_leave(runner);
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
	runner_maybe_leave(runner);
	return 0;
}

int runner_say_hello(struct runner *runner, const char *socket)
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
