/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/arena.h"
#include "client/command.h"
#include "client/exits.h"
#include "client/fetch.h"
#include "client/print.h"
#include "client/screen.h"
#include "client/show.h"
#include "common/cleanup.h"
#include "common/wire.h"

#define WATCH_MSEC 1000
#define ROWS_ALL   ((size_t)-1)

struct queue {
	struct show show;
	const char *columns;
	bool all;
	bool watch;
};

/* Is what is shown by itself enough? A job has three times as much to tell. */
static bool is_brief(const struct queue *queue)
{
	return !queue->show.as_json && !queue->columns && !queue->show.filter.user;
}

static int fetch(const struct queue *queue, json_t *jobs)
{
	json_t *parameters = json_pack("{s:b, s:b}", "all", queue->all, "brief", is_brief(queue));
	const struct fetch what = { .method = WIRE_LIST,
				    .cursor = "after",
				    .parameters = parameters };
	const int r = fetch_or_tell(&what, jobs);

	json_decref(parameters);
	return r;
}

/* @rows: as many lines as a screen has; ROWS_ALL: it is none. */
static void print_jobs(FILE *out, const struct queue *queue, const json_t *const *jobs,
		       size_t count, size_t rows)
{
	const size_t around =
		queue->show.no_legend ? 2 : 3; /* titles, what is left out, the cursor */

	if (queue->show.as_json) {
		show_json(out, jobs, count);
		return;
	}
	if (count == 0) {
		(void)fprintf(out, "Nothing is queued.\n");
		return;
	}
	if (rows == ROWS_ALL) {
		show_table(out, &queue->show, jobs, count, ROWS_ALL);
		show_holds(out, jobs, count, 0);
		return;
	}
	show_table(out, &queue->show, jobs, count, rows > around ? rows - around : 1);
	if (count + around < rows)
		show_holds(out, jobs, count, show_width());
}

/* Return: what is to be seen, the caller's, or NULL when out of memory. */
static char *text_of(const struct queue *queue, const json_t *jobs, size_t rows)
{
	size_t count = 0, size;
	AUTO_FREE const json_t **sorted =
		view_sorted(jobs, &queue->show.filter, VIEW_BY_STATE, &count);
	char *text = NULL;
	FILE *out;

	if (!sorted)
		return NULL;
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	print_jobs(out, queue, sorted, count, rows);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* What is to be seen now, the caller's. Return: 0, or the exit code. */
static int render(const struct queue *queue, size_t rows, char **ret)
{
	json_t *jobs = json_array();
	int r;

	r = fetch(queue, jobs);
	if (r == 0) {
		*ret = text_of(queue, jobs, rows);
		if (!*ret) {
			print_error("out of memory");
			r = EXIT_OURS;
		}
	}
	json_decref(jobs);
	return r;
}

/* In place of what is there, without a moment in which nothing is. */
static void draw(const char *text)
{
	(void)fputs("\033[H", stdout);
	while (*text) {
		const size_t len = strcspn(text, "\n");

		(void)printf("%.*s\033[K\r\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
	(void)fputs("\033[J", stdout);
}

/* One look; printed if it is not as *@last, which is replaced. Return: 0, or the exit code. */
static int watch_once(const struct queue *queue, bool is_screen, char **last)
{
	AUTO_FREE char *text = NULL;
	uint16_t rows = 24, columns;
	int r;

	if (is_screen)
		(void)screen_size(&rows, &columns);
	r = render(queue, is_screen ? rows : ROWS_ALL, &text);
	if (r != 0 || (*last && strcmp(*last, text) == 0))
		return r;
	if (is_screen)
		draw(text);
	else
		(void)printf("%s%s", *last && !queue->show.as_json ? "\n" : "", text);
	free(*last);
	*last = TAKE_PTR(text);
	return fflush(stdout) == 0 ? 0 : EXIT_OURS;
}

static int watch(const struct queue *queue)
{
	const bool is_screen = isatty(STDOUT_FILENO) && !queue->show.as_json;
	AUTO_FREE char *last = NULL;
	int r = 0;

	if (is_screen)
		(void)fputs("\033[2J", stdout);
	while (r == 0) {
		r = watch_once(queue, is_screen, &last);
		if (r == 0)
			(void)poll(NULL, 0, WATCH_MSEC);
	}
	return r;
}

/* Return: 0, or the exit code. */
static int take_options(int argc, char **argv, struct queue *queue)
{
	const struct command_value values[] = { { "all", .flag = &queue->all },
						{ "columns", .text = &queue->columns },
						{ "json", .flag = &queue->show.as_json },
						{ "no-legend", .flag = &queue->show.no_legend },
						{ "state", .text = &queue->show.filter.state },
						{ "user", .text = &queue->show.filter.user },
						{ "watch", .flag = &queue->watch },
						{ 0 } };

	if (command_parse(argc, argv, values) < 0)
		return EXIT_USAGE;
	return show_columns(&queue->show, queue->columns, view_queue) ? 0 : EXIT_USAGE;
}

int cmd_queue(int argc, char **argv)
{
	struct queue queue = { 0 };
	AUTO_FREE char *text = NULL;
	int r;

	r = take_options(argc, argv, &queue);
	if (r != 0)
		return r;
	if (queue.watch)
		return watch(&queue);
	arena_use();
	r = render(&queue, ROWS_ALL, &text);
	if (r == 0)
		(void)fputs(text, stdout);
	return r;
}
