/* SPDX-License-Identifier: MIT */
/* Commands about one job or one state: info, cancel, resume. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/wire.h"

uint64_t command_take_id(const char *text)
{
	uint64_t id = 0;

	if (parse_u64(text + (text[0] == '#'), INT64_MAX, &id) < 0 || id == 0)
		print_error("'%s' is no job's number; 'tfq queue' lists them", text);
	return id;
}

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
	static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	json_t *parameters = json_object(), *answer = NULL;
	bool as_json = false;
	unsigned long long id;
	int option, r;

	while ((option = getopt_long(argc, argv, "j", options, NULL)) >= 0) {
		if (option != 'j') {
			json_decref(parameters);
			return EXIT_USAGE;
		}
		as_json = true;
	}
	if (optind + 1 < argc) {
		print_error("info shows one job at a time; '%s' is one too many", argv[optind + 1]);
		json_decref(parameters);
		return EXIT_USAGE;
	}
	if (optind < argc) {
		id = command_take_id(argv[optind]);
		if (id == 0) {
			json_decref(parameters);
			return EXIT_USAGE;
		}
		(void)json_object_set_new(parameters, "id", json_integer((json_int_t)id));
	}
	r = rpc_call(WIRE_INFO, parameters, &answer);
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
	static const struct option options[] = { { "force", no_argument, NULL, 'f' }, { 0 } };
	bool force = false;
	int option, r = 0;

	while ((option = getopt_long(argc, argv, "f", options, NULL)) >= 0) {
		if (option != 'f')
			return EXIT_USAGE;
		force = true;
	}
	if (optind == argc) {
		print_error("cancel which job? 'tfq queue' lists them");
		return EXIT_USAGE;
	}
	for (int i = optind; i < argc; i++) {
		const unsigned long long id = command_take_id(argv[i]);
		const int one = id ? cancel(id, force) : EXIT_USAGE;

		r = r == 0 ? one : r;
	}
	return r;
}

int cmd_resume(int argc, char **argv)
{
	json_t *answer = NULL;
	int r;

	if (argc != 2) {
		print_error(
			"resume which state? 'tfq queue' shows their names, as s3://bucket/key");
		return EXIT_USAGE;
	}
	r = rpc_call(WIRE_RESUME, json_pack("{s:s}", "state", argv[1]), &answer);
	if (r == 0)
		(void)printf("The queue of %s goes on.\n", argv[1]);
	json_decref(answer);
	return r;
}
