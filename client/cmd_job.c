/* SPDX-License-Identifier: MIT */
/* Commands about one job: info, cancel. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/wire.h"

static void print_line(const char *name, const char *value)
{
	if (*value)
		(void)printf("%-10s %s\n", name, value);
}

static void print_time(const char *name, uint64_t usec)
{
	const time_t seconds = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;
	char text[64];

	if (usec == 0 || !localtime_r(&seconds, &tm) ||
	    !strftime(text, sizeof(text), "%F %T %z", &tm))
		return;
	print_line(name, text);
}

static void print_outcome(const json_t *job)
{
	char text[64];

	if (json_object_get(job, "exit_code")) {
		(void)snprintf(text, sizeof(text), "code %" PRIu64, print_number(job, "exit_code"));
		print_line("Exit:", text);
	}
	if (json_object_get(job, "exit_signal")) {
		(void)snprintf(text, sizeof(text), "signal %" PRIu64,
			       print_number(job, "exit_signal"));
		print_line("Exit:", text);
	}
	if (json_object_get(job, "handover")) {
		(void)snprintf(text, sizeof(text),
			       "%" PRIu64 ".%03" PRIu64 " ms after the job before",
			       print_number(job, "handover") / 1000,
			       print_number(job, "handover") % 1000);
		print_line("Hand-over:", text);
	}
}

static void print_holder(const json_t *holder)
{
	char text[512];

	if (!holder)
		return;
	print_line("Held by:", print_text(text, sizeof(text), holder, "who"));
	print_line("  ID:", print_text(text, sizeof(text), holder, "id"));
	print_line("  Since:", print_text(text, sizeof(text), holder, "since"));
	print_line("  For:", print_text(text, sizeof(text), holder, "operation"));
	print_line("  Info:", print_text(text, sizeof(text), holder, "info"));
}

static void print_job(const json_t *job)
{
	static const struct {
		const char *title, *name;
	} lines[] = {
		{ "Status:", "status" },       { "State:", "state" },
		{ "Workspace:", "workspace" }, { "Command:", "command" },
		{ "Directory:", "directory" }, { "User:", "user" },
		{ "Label:", "label" },         { "Reason:", "reason" },
		{ "Priority:", "priority" },   { "Lock by:", "lock" },
		{ "Lock ID:", "lock_id" },     { "Message:", "message" },
	};
	char text[1024];

	(void)snprintf(text, sizeof(text), "%" PRIu64, print_number(job, "id"));
	print_line("Job:", text);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		print_line(lines[i].title, print_text(text, sizeof(text), job, lines[i].name));
	if (print_number(job, "ended") == 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64,
			       print_number(job, "position"), print_number(job, "of"));
		print_line("Place:", text);
	}
	print_holder(json_object_get(job, "holder"));
	print_time("Submitted:", print_number(job, "submitted"));
	print_time("Started:", print_number(job, "started"));
	print_time("Ended:", print_number(job, "ended"));
	print_outcome(job);
}

static void print_daemon(const json_t *daemon)
{
	char version[64], host[256];

	(void)printf("tfqd %s on %s, PID %" PRIu64 ": %" PRIu64 " running, %" PRIu64
		     " waiting, on %" PRIu64 " states%s\n",
		     print_text(version, sizeof(version), daemon, "version"),
		     print_text(host, sizeof(host), daemon, "host"), print_number(daemon, "pid"),
		     print_number(daemon, "running"), print_number(daemon, "queued"),
		     print_number(daemon, "states"),
		     json_is_true(json_object_get(daemon, "stopping")) ? "; it is stopping" : "");
}

int cmd_info(int argc, char **argv)
{
	bool as_json = false;
	const struct command_value values[] = { { "json", .flag = &as_json }, { 0 } };
	json_auto_t *parameters = json_object();
	json_t *answer = NULL;
	uint64_t id;
	int r = 0;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1) {
		r = command_find_job(argv[1], &id);
		(void)json_object_set_new(parameters, "id", json_integer((json_int_t)id));
	}
	if (r == 0)
		r = rpc_call(WIRE_INFO, json_incref(parameters), &answer);
	if (r != 0)
		return r;
	if (as_json) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else if (json_object_get(answer, "job")) {
		print_job(json_object_get(answer, "job"));
	} else {
		print_daemon(json_object_get(answer, "daemon"));
	}
	json_decref(answer);
	return 0;
}

static int cancel(unsigned long long id, bool force)
{
	json_t *answer = NULL;
	const uint64_t asked_usec = clock_usec(CLOCK_REALTIME);
	const json_t *job;
	const char *status;
	bool had_ended;
	int r;

	r = rpc_call(WIRE_CANCEL, json_pack("{s:I, s:b}", "id", (json_int_t)id, "force", force),
		     &answer);
	if (r != 0)
		return r;
	job = json_object_get(answer, "job");
	status = json_string_value(json_object_get(job, "status"));
	had_ended = print_number(job, "ended") > 0 && print_number(job, "ended") < asked_usec;
	if (status && strcmp(status, "stopping") == 0) {
		(void)printf(
			"Job %llu: terraform was sent an interrupt; it finishes what it has begun, "
			"which may take a while.\n",
			id);
	} else if (had_ended) {
		(void)printf("Job %llu had ended already: %s.\n", id, status ? status : "?");
	} else {
		(void)printf("Job %llu: %s.\n", id, status ? status : "?");
	}
	json_decref(answer);
	return 0;
}

int cmd_cancel(int argc, char **argv)
{
	bool force = false;
	const struct command_value values[] = { { "force", .flag = &force }, { 0 } };
	uint64_t id;
	int one, r = 0;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 1 && !isatty(STDIN_FILENO)) { /* perhaps a script's $id, empty by mistake */
		print_error("cancel which job? 'tfq queue' lists them");
		return EXIT_USAGE;
	}
	if (argc == 1) {
		r = command_take_job(argc, argv, false, &id);
		return r == 0 ? cancel(id, force) : r;
	}
	for (int i = 1; i < argc; i++) {
		one = command_find_job(argv[i], &id);
		if (one == 0)
			one = cancel(id, force);
		r = r == 0 ? one : r;
	}
	return r;
}
