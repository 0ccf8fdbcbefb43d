/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/fetch.h"
#include "client/print.h"
#include "client/show.h"
#include "client/since.h"
#include "client/timeline.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/wire.h"

#define SINCE_DEFAULT (24 * USEC_PER_HOUR)
#define WIDTH_DEFAULT 100 /* where stdout is no terminal */

/* What waits and runs, then what is over: one that ends in between is there twice, but is there.
 * Return: 0, or the exit code. */
static int fetch(json_t *jobs, uint64_t since_usec)
{
	json_t *list = json_object();
	json_t *history = json_pack("{s:I}", "since", (json_int_t)since_usec);
	int r;

	r = fetch_or_tell(&(const struct fetch){ WIRE_LIST, "after", list, 0 }, jobs);
	if (r == 0)
		r = fetch_or_tell(&(const struct fetch){ WIRE_HISTORY, "before", history, 0 },
				  jobs);
	json_decref(list);
	json_decref(history);
	return r;
}

static bool ends_with(const char *path, const char *end)
{
	const size_t len = strlen(path), end_len = strlen(end);

	return len > end_len && strcmp(path + len - end_len, end) == 0;
}

/* Return: 0, or the exit code. */
static int write_file(const struct timeline *timeline, const char *path)
{
	FILE *file = fopen(path, "we");
	int error = file ? 0 : errno;

	if (file) {
		timeline_svg(timeline, file, !ends_with(path, ".svg"));
		error = ferror(file) ? EIO : 0;
		if (fclose(file) != 0)
			error = errno;
	}
	if (error == 0)
		return 0;
	print_error("cannot write %s: %s", path, strerror(error));
	return EXIT_OURS;
}

static void print_terminal(const struct timeline *timeline)
{
	const size_t width = show_width();
	const char *no_colour = getenv("NO_COLOR");

	if (timeline->bar_count == 0) {
		(void)printf("Nothing has waited or run in that time.\n");
		return;
	}
	timeline_print(timeline, stdout, width > 0 ? width : WIDTH_DEFAULT,
		       strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
		       isatty(STDOUT_FILENO) && !(no_colour && *no_colour));
}

static int show(const char *state, uint64_t since_usec, const char *path)
{
	struct timeline timeline = { 0 };
	json_t *jobs = json_array();
	int r;

	r = fetch(jobs, since_usec);
	if (r == 0 &&
	    timeline_init(&timeline, jobs, state, since_usec, clock_usec(CLOCK_REALTIME)) < 0) {
		print_error("out of memory");
		r = EXIT_OURS;
	}
	if (r == 0 && path)
		r = write_file(&timeline, path);
	else if (r == 0)
		print_terminal(&timeline);
	timeline_clear(&timeline);
	json_decref(jobs);
	return r;
}

int cmd_timeline(int argc, char **argv)
{
	const uint64_t now = clock_usec(CLOCK_REALTIME);
	uint64_t since_usec = now - SINCE_DEFAULT;
	const char *path = NULL, *since = NULL;
	const struct command_value values[] = { { "since", .text = &since },
						{ "output", .text = &path },
						{ 0 } };

	if (command_parse(argc, argv, values) < 0)
		return EXIT_USAGE;
	if (since && since_parse(since, now, &since_usec) < 0) {
		print_error("'%s' is no time; write 2026-01-31T14:30:00Z, 14:30, or an age as 2h "
			    "or 7d",
			    since);
		return EXIT_USAGE;
	}
	if (path && !ends_with(path, ".svg") && !ends_with(path, ".html")) {
		print_error("'%s' should end in .svg or .html", path);
		return EXIT_USAGE;
	}
	return show(argv[1], since_usec, path);
}
