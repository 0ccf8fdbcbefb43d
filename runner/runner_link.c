/* SPDX-License-Identifier: MIT */
/*
 * The link to tfqd: made, lost, made again; and what tfqd is told. A tfqd may die and be
 * started again at any time. What it must not miss is in the reports file before it is sent.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/wire.h"
#include "runner/runner_parts.h"

#define RETRY_FIRST   (100 * USEC_PER_MSEC)
#define RETRY_MAX     (2 * USEC_PER_SEC)
#define RETRY_REFUSED (30 * USEC_PER_SEC) /* it knows what it does: somebody has to mend that */

/* --- the reports file ------------------------------------------------------------------------- */

/* One line, whole or not at all. */
static bool write_line(int fd, const json_t *parameters)
{
	AUTO_FREE char *line = json_dumps(parameters, JSON_COMPACT);
	const off_t before = lseek(fd, 0, SEEK_END);
	const size_t len = line ? strlen(line) + 1 : 0;
	ssize_t n;

	if (!line)
		return false;
	line[len - 1] = '\n';
	do
		n = write(fd, line, len);
	while (n < 0 && errno == EINTR);
	if (n > 0 && n != (ssize_t)len && before >= 0)
		(void)!ftruncate(fd, before);
	return n == (ssize_t)len;
}

/* In their order: those that had no room before come first. */
static bool write_unwritten(struct runner *runner)
{
	while (json_array_size(runner->unwritten) > 0) {
		if (!write_line(runner->reports_fd, json_array_get(runner->unwritten, 0)))
			return false;
		(void)json_array_remove(runner->unwritten, 0);
	}
	return true;
}

static bool write_report(struct runner *runner, json_t *parameters)
{
	if (write_unwritten(runner) && write_line(runner->reports_fd, parameters))
		return true;
	log_warning(errno, "tfq-runner: job %llu: cannot write down what became of it: %m",
		    (unsigned long long)runner->id);
	(void)json_array_append(runner->unwritten, parameters);
	return false;
}

static json_t *add_event(const struct runner *runner, const char *event, json_t *parameters)
{
	if (!parameters)
		parameters = json_object();
	(void)json_object_set_new(parameters, "job", json_integer((json_int_t)runner->id));
	(void)json_object_set_new(parameters, "event", json_string(event));
	return parameters;
}

bool runner_report_going(struct runner *runner)
{
	json_t *parameters = add_event(runner, "going", NULL);
	const bool is_written =
		write_unwritten(runner) && write_line(runner->reports_fd, parameters);

	json_decref(parameters);
	return is_written;
}

/* --- the link --------------------------------------------------------------------------------- */

void runner_drop_link(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->link_io));
	runner->link = varlink_free(runner->link);
}

/* What it has sent before is read yet: an order counts, though nobody is there for the answer. */
static void hang_up(struct runner *runner)
{
	(void)shutdown(varlink_fd(runner->link), SHUT_RDWR);
	(void)sd_event_source_set_io_events(runner->link_io, EPOLLIN);
}

static void send_call(struct runner *runner, json_t *call)
{
	if (runner->link) {
		if (varlink_send(runner->link, call, NULL, 0) < 0)
			hang_up(runner);
		else
			(void)sd_event_source_set_io_events(runner->link_io,
							    varlink_events(runner->link));
	}
	json_decref(call);
}

static void send_report(struct runner *runner, json_t *parameters)
{
	json_t *call = varlink_call(WIRE_REPORT, parameters);

	if (call)
		(void)json_object_set_new(call, "oneway", json_true());
	send_call(runner, call);
}

void runner_tell(struct runner *runner, const char *event, json_t *parameters)
{
	send_report(runner, add_event(runner, event, parameters));
}

bool runner_report(struct runner *runner, const char *event, json_t *parameters)
{
	bool is_written;

	parameters = add_event(runner, event, parameters);
	is_written = write_report(runner, parameters);
	send_report(runner, parameters);
	return is_written;
}

/* Not all runners at once, when a tfqd begins. */
static uint64_t with_jitter(uint64_t usec)
{
	uint32_t number = 0;

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	return usec / 2 + number % (usec / 2);
}

static void retry_later(struct runner *runner)
{
	if (runner->is_refused) {
		runner_set_timer(runner->retry, RETRY_REFUSED);
		return;
	}
	runner_set_timer(runner->retry, with_jitter(runner->retry_usec));
	if (runner->retry_usec < RETRY_MAX / 2)
		runner->retry_usec *= 2;
	else
		runner->retry_usec = RETRY_MAX;
}

/* A terraform that runs is let finish. One that only waits must never start: another runner is
 * made for it, so nobody hears of this one. */
static void lose_link(struct runner *runner)
{
	runner_drop_link(runner);
	if (runner->is_started)
		retry_later(runner);
	else if (!runner->is_over)
		(void)sd_event_exit(runner->event, 0);
	runner_maybe_leave(runner);
}

void runner_be_accepted(struct runner *runner)
{
	runner->is_refused = false;
	runner->retry_usec = RETRY_FIRST;
}

void runner_be_refused(struct runner *runner, const json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	if (!runner->is_started) {
		runner_drop_link(runner);
		(void)sd_event_exit(runner->event, -EPROTO);
		return;
	}
	if (!runner->is_refused) {
		log_warning(0,
			    "tfq-runner: job %llu: tfqd does not take it back (%s); terraform goes "
			    "on without it",
			    (unsigned long long)runner->id, error ? error : "no reason given");
	}
	runner->is_refused = true;
	lose_link(runner);
}

static int on_link(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct runner *runner = userdata;
	json_t *message = NULL;
	int r = 0;

	(void)source;
	(void)fd;

	if (revents & EPOLLOUT && varlink_flush(runner->link) < 0)
		hang_up(runner);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = varlink_read(runner->link);
	if (r < 0) {
		lose_link(runner);
		return 0;
	}
	while (runner->link && (r = varlink_next(runner->link, &message)) > 0) {
		runner_take_order(runner, message);
		json_decref(message);
	}
	if (r < 0)
		lose_link(runner);
	else if (runner->link)
		(void)sd_event_source_set_io_events(runner->link_io, varlink_events(runner->link));
	runner_maybe_leave(runner);
	return 0;
}

/* connect(2) would wait for a tfqd that hangs, and the fence with it. */
static int connect_at_once(struct varlink **ret, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_CLOSE int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return varlink_new(ret, TAKE_FD(fd));
}

static json_t *hello(const struct runner *runner)
{
	json_t *parameters = json_pack("{s:i, s:I, s:s}", "protocol", WIRE_PROTOCOL, "job",
				       (json_int_t)runner->id, "phase", "new");

	if (!runner->is_started)
		return parameters;
	(void)json_object_set_new(parameters, "phase",
				  json_string(runner->is_over ? "exited" : "running"));
	(void)json_object_set_new(parameters, "pid", json_integer(runner->child.pid));
	(void)json_object_set_new(parameters, "deadline",
				  json_integer((json_int_t)runner->fence.deadline_usec));
	return parameters;
}

static int link_up(struct runner *runner)
{
	json_t *call;
	int r;

	r = sd_event_add_io(runner->event, &runner->link_io, varlink_fd(runner->link), EPOLLIN,
			    on_link, runner);
	if (r < 0) {
		runner_drop_link(runner);
		return r;
	}
	call = varlink_call(WIRE_HELLO, hello(runner));
	if (call)
		(void)json_object_set_new(call, "more", json_true());
	send_call(runner, call);
	return 0;
}

int runner_on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct runner *runner = userdata;
	json_t *parameters;
	size_t i;

	(void)source;
	(void)usec;

	(void)write_unwritten(runner); /* first: it is read when we say hello */
	if (connect_at_once(&runner->link, runner->socket) < 0 || link_up(runner) < 0) {
		retry_later(runner);
		return 0;
	}
	json_array_foreach(runner->unwritten, i, parameters)
		send_report(runner, json_incref(parameters));
	return 0;
}

int runner_say_hello(struct runner *runner)
{
	int r;

	runner->retry_usec = RETRY_FIRST;
	r = varlink_connect(&runner->link, runner->socket);
	return r < 0 ? r : link_up(runner);
}
