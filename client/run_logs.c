/* SPDX-License-Identifier: MIT */
/* What terraform printed, from its recording, and what it still prints. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/logs.h"
#include "client/print.h"
#include "client/run_parts.h"
#include "common/cleanup.h"

static bool is_over(const json_t *job)
{
	return print_number(job, "ended") > 0;
}

/* Read it once to count what is too much. Two passes cost no memory, however long it is. */
static int count_lines(const struct run_logs_options *options, int fd, uint64_t id,
		       uint64_t *ret_skip)
{
	AUTO_FREE struct stream *stream = calloc(1, sizeof(*stream));
	int r;

	if (!stream)
		return -ENOMEM;
	stream->is_silent = stream->wants_lines = true;
	stream->lines.since_usec = options->since_usec;
	r = logs_read(stream, fd, id);
	if (stream->lines.count > options->lines)
		*ret_skip = stream->lines.count - options->lines;
	return r;
}

static int exit_of(int error)
{
	if (error == -EPIPE)
		return EXIT_SIGNAL + SIGPIPE;
	if (error < 0)
		print_error("cannot write the output: %s", strerror(-error));
	return error < 0 ? EXIT_OURS : 0;
}

/* @job: as Logs answered. Return: the exit code. */
static int show(struct run *run, const struct run_logs_options *options, const json_t *job, int fd)
{
	struct stream *stream = &run->stream;
	int r = 0;

	stream_open(stream, (uint64_t)json_integer_value(json_object_get(job, "uid")) != getuid());
	stream->lines.since_usec = options->since_usec;
	stream->wants_timestamps = options->timestamps;
	stream->wants_lines =
		options->timestamps || options->since_usec > 0 || options->lines < UINT64_MAX;
	if (fd >= 0 && options->lines < UINT64_MAX)
		r = count_lines(options, fd, run->id, &stream->lines.skip);
	if (fd >= 0 && r == 0)
		r = logs_read(stream, fd, run->id);
	if (stream->error < 0)
		return exit_of(stream->error);
	if (stream->never_ran && stream->last_words[0])
		print_error("%s", stream->last_words);
	return r < 0 ? EXIT_OURS : 0;
}

static void say_nothing_there(uint64_t id, const json_t *job)
{
	char status[32], message[1024];

	(void)print_text(status, sizeof(status), job, "status");
	(void)print_text(message, sizeof(message), job, "message");
	print_error("#%llu has no output: %s%s%s", (unsigned long long)id,
		    is_over(job) ? status : "it has not begun", *message ? ": " : "", message);
}

int run_logs(uint64_t id, const struct run_logs_options *options)
{
	CLEANUP(run_clear) struct run run;
	AUTO_CLOSE int fd = -1;
	json_t *job = NULL;
	bool is_there, has_more;
	int r;

	run_init(&run, RUN_FOLLOW);
	run.id = id;
	r = logs_open(id, &job, &fd);
	if (r != 0)
		return r;
	has_more = options->follow && !is_over(job);
	is_there = fd >= 0;
	r = show(&run, options, job, fd);
	if (!is_there && !has_more)
		say_nothing_there(id, job);
	json_decref(job);
	if (r != 0 || !has_more || run.stream.has_ended)
		return r;
	r = link_open(&run.link);
	if (r == 0)
		r = run_ask(&run);
	return r != 0 ? r : run_watch(&run);
}
