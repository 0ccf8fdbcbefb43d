/* SPDX-License-Identifier: MIT */
#include "client/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/exits.h"
#include "client/print.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/paths.h"
#include "common/wire.h"

#define ANSWER_TIMEOUT_MS 30000
#define RETURN_MAX        (10 * USEC_PER_SEC) /* what a restart may take */
#define RETURN_PAUSE_MS   100

static int say_unreachable(const char *path, int error)
{
	if (error == -EACCES || error == -EPERM) {
		print_error(
			"you may not connect to tfqd at %s; ask for membership in the group of that "
			"socket, and log in again",
			path);
		return EXIT_NOT_ALLOWED;
	}
	if (error == -ENOENT || error == -ECONNREFUSED) {
		print_error(
			"tfqd does not run (no answer at %s). Start it with 'systemctl start tfqd.socket', or "
			"'tfqd' for yourself alone; TFQ_SOCKET names another socket",
			path);
	} else {
		print_error("cannot connect to tfqd at %s: %s", path, strerror(-error));
	}
	return EXIT_NO_DAEMON;
}

static char *find_socket(void)
{
	char *path = paths_client_socket();

	if (!path)
		print_error("cannot tell where tfqd's socket is: set TFQ_SOCKET");
	return path;
}

int rpc_connect(struct varlink **ret)
{
	AUTO_FREE char *path = find_socket();
	int r;

	if (!path)
		return EXIT_NO_DAEMON;
	r = varlink_connect(ret, path);
	return r < 0 ? say_unreachable(path, r) : 0;
}

static bool is_reading(const char *method)
{
	static const char *const methods[] = { WIRE_LIST,    WIRE_INFO, WIRE_HISTORY, WIRE_EVENTS,
					       WIRE_METRICS, WIRE_WHO,  WIRE_LOGS };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i], method) == 0)
			return true;
	return false;
}

/* Was the connection lost, or is it refused since then, as while tfqd restarts? */
static bool is_away(int r)
{
	return r == -ECONNRESET || r == -EPIPE || r == -ECONNREFUSED || r == -ENOENT;
}

int rpc_talk(const char *method, int (*ask)(struct varlink *varlink, void *userdata),
	     void *userdata)
{
	AUTO_FREE char *path = find_socket();
	const uint64_t until_usec = clock_usec(CLOCK_MONOTONIC) + RETURN_MAX;
	bool was_there = false;
	int r;

	if (!path)
		return EXIT_NO_DAEMON;
	for (;;) {
		CLEANUP(varlink_freep) struct varlink *varlink = NULL;

		r = varlink_connect(&varlink, path);
		if (r < 0 && !was_there)
			return say_unreachable(path, r);
		was_there = true;
		if (r >= 0)
			r = ask(varlink, userdata);
		if (r >= 0)
			return 0;
		if (!is_away(r) || !is_reading(method) || clock_usec(CLOCK_MONOTONIC) >= until_usec)
			break;
		(void)poll(NULL, 0, RETURN_PAUSE_MS);
	}
	print_error("tfqd did not answer: %s%s", r == -ETIMEDOUT ? "time-out" : strerror(-r),
		    is_away(r) && !is_reading(method)
			    ? "; whether it has done it is not known, 'tfq queue --all' shows"
			    : "");
	return EXIT_NO_DAEMON;
}

/* clang-format off */
static const struct {
	const char *error;
	int code;
} codes[] = {
	{ WIRE_E_BAD_REQUEST, EXIT_USAGE },
	{ WIRE_E_BAD_STATE, EXIT_BAD_STATE },
	{ WIRE_E_NOT_ALLOWED, EXIT_NOT_ALLOWED },
	{ WIRE_E_NO_SUCH_JOB, EXIT_USAGE },
	{ WIRE_E_NO_SUCH_STATE, EXIT_USAGE },
	{ WIRE_E_FULL, EXIT_BUSY },
	{ WIRE_E_BUSY, EXIT_BUSY },
	{ WIRE_E_STOPPING, EXIT_NO_DAEMON },
};
/* clang-format on */

/* The errors that varlink itself has carry no words: only a tfqd of another version says them. */
static void say_error(const char *error, const json_t *parameters)
{
	const char *words = json_string_value(json_object_get(parameters, "message"));
	const char *method = json_string_value(json_object_get(parameters, "method"));
	const char *parameter = json_string_value(json_object_get(parameters, "parameter"));

	if (words) {
		print_error("%s", words);
	} else if (strcmp(error, WIRE_E_NO_METHOD) == 0) {
		print_error("the tfqd that runs does not know %s: it is older than this tfq, %s; "
			    "update and restart tfqd",
			    method ? method : "this", VERSION);
	} else if (strcmp(error, WIRE_E_BAD_PARAMETER) == 0) {
		print_error("the tfqd that runs does not understand \"%s\": it is of another "
			    "version than this tfq, %s; update the older one",
			    parameter ? parameter : "this", VERSION);
	} else if (strcmp(error, WIRE_E_VERSION) == 0) {
		print_error("tfqd is of another version than this tfq, %s; update the older one",
			    VERSION);
	} else {
		print_error("%s", error);
	}
}

int rpc_check(const json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	if (!error)
		return 0;
	say_error(error, json_object_get(message, "parameters"));
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i].error, error) == 0)
			return codes[i].code;
	return EXIT_OURS;
}

int rpc_wait(struct varlink *varlink, json_t **ret, int timeout_ms)
{
	for (;;) {
		struct pollfd pfd = { .fd = varlink_fd(varlink) };
		int r = varlink_next(varlink, ret);

		if (r != 0)
			return r;
		pfd.events = POLLIN | (varlink_events(varlink) & EPOLLOUT ? POLLOUT : 0);
		r = poll(&pfd, 1, timeout_ms);
		if (r == 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		r = varlink_flush(varlink);
		if (r >= 0 && pfd.revents & (POLLIN | POLLHUP | POLLERR))
			r = varlink_read(varlink);
		if (r < 0)
			return r;
	}
}

struct question {
	json_t *call, *answer;
	int fd;
};

static int ask_question(struct varlink *varlink, void *userdata)
{
	struct question *question = userdata;
	int r = varlink_send(varlink, question->call, NULL, 0);

	if (r >= 0)
		r = rpc_wait(varlink, &question->answer, ANSWER_TIMEOUT_MS);
	if (r <= 0)
		return r == 0 ? -ETIMEDOUT : r;
	question->fd = varlink_take_fd(varlink);
	return 0;
}

int rpc_ask_fd(const char *method, json_t *parameters, json_t **ret, int *ret_fd)
{
	struct question question = { .call = varlink_call(method, parameters), .fd = -1 };
	const int r = rpc_talk(method, ask_question, &question);

	json_decref(question.call);
	if (r != 0)
		return r;
	*ret = question.answer;
	*ret_fd = question.fd;
	return 0;
}

int rpc_ask(const char *method, json_t *parameters, json_t **ret)
{
	AUTO_CLOSE int fd = -1;

	return rpc_ask_fd(method, parameters, ret, &fd);
}

int rpc_call(const char *method, json_t *parameters, json_t **ret)
{
	json_t *answer = NULL;
	int r;

	r = rpc_ask(method, parameters, &answer);
	if (r != 0)
		return r;
	r = rpc_check(answer);
	if (r == 0)
		*ret = json_incref(json_object_get(answer, "parameters"));
	json_decref(answer);
	return r;
}
