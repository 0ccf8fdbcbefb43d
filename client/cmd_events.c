/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/fetch.h"
#include "client/print.h"
#include "client/rpc.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "common/paths.h"
#include "common/timestamp.h"
#include "common/wire.h"

#define SHOWN_DEFAULT    50
#define FOLLOWED_DEFAULT 10
#define RETRY_MSEC       1000

struct events {
	bool as_json;
	bool follow;
	uint64_t newest;
	uint64_t after; /* the last one that was printed; 0: none yet */
};

static void print_event(const json_t *event)
{
	char at[TIMESTAMP_SIZE], kind[64], user[64], state[256], text[1024], job[32] = "";

	if (print_number(event, "job") > 0)
		(void)snprintf(job, sizeof(job), " #%" PRIu64, print_number(event, "job"));
	(void)print_text(user, sizeof(user), event, "user");
	if (!*user && json_is_integer(json_object_get(event, "uid")))
		(void)snprintf(user, sizeof(user), "%" PRIu64, print_number(event, "uid"));
	(void)print_text(state, sizeof(state), event, "state");
	(void)print_text(text, sizeof(text), event, "text");
	(void)printf("%s  %s%s%s%s%s%s%s%s\n", timestamp_format(at, print_number(event, "at")),
		     print_text(kind, sizeof(kind), event, "kind"), job, *user ? " by " : "", user,
		     *state ? " on " : "", state, *text ? ": " : "", text);
}

/* Return: how many there were. */
static size_t print_events(struct events *events, const json_t *message)
{
	const json_t *list = json_object_get(json_object_get(message, "parameters"), "events");
	const size_t count = json_array_size(list);

	for (size_t i = 0; i < count; i++) {
		const json_t *event = json_array_get(list, i);

		if (events->as_json) {
			(void)json_dumpf(event, stdout, JSON_COMPACT);
			(void)putchar('\n');
		} else {
			print_event(event);
		}
		events->after = print_number(event, "id");
	}
	return count;
}

static json_t *question(const struct events *events)
{
	if (events->after > 0)
		return json_pack("{s:I}", "after", (json_int_t)events->after);
	return json_pack("{s:I}", "newest", (json_int_t)events->newest);
}

static int print_once(struct events *events)
{
	uint64_t printed = 0;
	size_t count;

	do {
		json_t *answer = NULL;
		int r;

		r = rpc_ask(WIRE_EVENTS, question(events), &answer);
		if (r == 0)
			r = rpc_check(answer);
		count = r == 0 ? print_events(events, answer) : 0;
		json_decref(answer);
		if (r != 0)
			return r;
		printed += count;
	} while (count == WIRE_LIST_PAGE && printed < events->newest);
	return 0;
}

/* --- as they happen -------------------------------------------------------------------------- */

static bool is_stopping(const json_t *message)
{
	const char *error = json_string_value(json_object_get(message, "error"));

	return error && strcmp(error, WIRE_E_STOPPING) == 0;
}

/* Until the connection ends. Return: the exit code, or a negative errno: then try again. */
static int follow_link(struct events *events, struct varlink *varlink)
{
	json_t *call = varlink_call(WIRE_EVENTS, question(events));
	int r;

	if (call)
		(void)json_object_set_new(call, "more", json_true());
	r = call ? varlink_send(varlink, call, NULL, 0) : -ENOMEM;
	json_decref(call);
	while (r >= 0) {
		json_t *message = NULL;

		r = rpc_wait(varlink, &message, -1);
		if (r <= 0)
			break;
		r = is_stopping(message) ? -EPIPE : rpc_check(message);
		if (r == 0)
			(void)print_events(events, message);
		json_decref(message);
		if (r != 0)
			return r;
		if (fflush(stdout) != 0)
			return EXIT_OURS;
	}
	return r;
}

/* Nothing is missed while tfqd is away: it goes on behind the last one that was printed. */
static int follow(struct events *events)
{
	AUTO_FREE char *path = paths_client_socket();
	struct varlink *varlink = NULL;
	int r;

	r = rpc_connect(&varlink);
	if (r != 0)
		return r;
	for (;;) {
		r = follow_link(events, varlink);
		varlink = varlink_free(varlink);
		if (r >= 0 || !path)
			return r >= 0 ? r : EXIT_NO_DAEMON;
		print_error("tfqd went away; waiting for it to come back");
		while (varlink_connect(&varlink, path) < 0)
			(void)poll(NULL, 0, RETRY_MSEC);
	}
}

int cmd_events(int argc, char **argv)
{
	struct events events = { 0 };
	const char *newest = NULL;
	const struct command_value values[] = { { "follow", .flag = &events.follow },
						{ "json", .flag = &events.as_json },
						{ "lines", .text = &newest },
						{ 0 } };

	if (command_parse(argc, argv, values) < 0)
		return EXIT_USAGE;
	if (newest && parse_u64(newest, UINT32_MAX, &events.newest) < 0) {
		print_error("'%s' is no number of events", newest);
		return EXIT_USAGE;
	}
	if (!newest)
		events.newest = events.follow ? FOLLOWED_DEFAULT : SHOWN_DEFAULT;
	return events.follow ? follow(&events) : print_once(&events);
}
