/* SPDX-License-Identifier: MIT */
#include <curses.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/fetch.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/screen.h"
#include "client/top.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/paths.h"
#include "common/text.h"
#include "common/wire.h"

#define REFRESH_USEC (500 * USEC_PER_MSEC) /* twice a second, or */
#define REFRESH_PART 10                    /* so many times what one look has taken */

/* --- tfqd ------------------------------------------------------------------------------------ */

static void say_error(struct top *top, const json_t *answer)
{
	char words[sizeof(top->note)];

	(void)print_text(words, sizeof(words), json_object_get(answer, "parameters"), "message");
	if (!*words)
		(void)print_text(words, sizeof(words), answer, "error");
	(void)snprintf(top->note, sizeof(top->note), "%s", words);
}

static void look(struct top *top)
{
	const uint64_t before = clock_usec(CLOCK_MONOTONIC);
	json_t *parameters = json_object(), *jobs = json_array(), *error = NULL;
	const struct fetch list = { WIRE_LIST, "after", parameters, 0 };
	uint64_t took;
	int r = -ENOTCONN;

	if (!top->varlink && top->path)
		(void)varlink_connect(&top->varlink, top->path);
	if (top->varlink)
		r = fetch_jobs(top->varlink, &list, jobs, &error);
	if (r == 0)
		top_take(top, TAKE_PTR(jobs));
	else if (r > 0)
		say_error(top, error);
	else
		top->varlink = varlink_free(top->varlink);
	json_decref(error);
	json_decref(jobs);
	json_decref(parameters);
	took = (clock_usec(CLOCK_MONOTONIC) - before) * REFRESH_PART;
	top->next_usec = before + (took > REFRESH_USEC ? took : REFRESH_USEC);
}

static void cancel(struct top *top, uint64_t id)
{
	json_t *answer = NULL;
	int r = -ENOTCONN;

	if (top->varlink)
		r = fetch_answer(top->varlink, WIRE_CANCEL,
				 json_pack("{s:I}", "id", (json_int_t)id), &answer);
	if (r < 0) {
		(void)snprintf(top->note, sizeof(top->note), "#%" PRIu64 " is not cancelled: %s",
			       id, strerror(-r));
		top->varlink = varlink_free(top->varlink);
	} else if (json_object_get(answer, "error")) {
		say_error(top, answer);
	} else {
		(void)snprintf(top->note, sizeof(top->note), "#%" PRIu64 " is cancelled", id);
	}
	json_decref(answer);
	top->next_usec = 0;
}

/* --- another command on the same terminal ---------------------------------------------------- */

/* tfq @command @id, until it ends; Ctrl-C is for that one. Return: its exit code, or -1. */
static int run_self(const char *command, const char *option, const char *id)
{
	const char *const words[] = { "tfq", command, option ? option : id, option ? id : NULL,
				      NULL };
	char *argv[sizeof(words) / sizeof(words[0])];
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int status = 0;
	pid_t pid;
	int r;

	memcpy(argv, words, sizeof(argv)); /* posix_spawn(3) changes none of them */
	if (posix_spawnattr_init(&attributes) != 0)
		return -1;
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGINT);
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	(void)sigaction(SIGINT, &ignore, &before);
	r = posix_spawn(&pid, "/proc/self/exe", NULL, &attributes, argv, environ);
	while (r == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	(void)sigaction(SIGINT, &before, NULL);
	(void)posix_spawnattr_destroy(&attributes);
	if (r != 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
}

/* Leave the screen for a command, and come back with Enter. */
static void leave_for(struct top *top, const char *command, const char *option)
{
	char id[24];
	int key;

	if (top->selected == 0)
		return;
	(void)snprintf(id, sizeof(id), "%" PRIu64, top->selected);
	(void)endwin();
	if (run_self(command, option, id) < 0)
		print_error("cannot run tfq %s %s", command, id);
	(void)fprintf(stderr, "tfq: Enter goes back to the queue\n");
	do
		key = getchar();
	while (key != '\n' && key != '\r' && key != EOF);
	clearerr(stdin);
	(void)clearok(stdscr, TRUE);
	top->next_usec = 0;
}

/* --- keys ------------------------------------------------------------------------------------ */

static void take_key(struct top *top, int key)
{
	const uint64_t asks = top->asks;

	top->note[0] = '\0';
	top->asks = 0;
	if (asks > 0 && key != KEY_RESIZE) {
		if (key == 'y' || key == 'Y')
			cancel(top, asks);
		return;
	}
	switch (key) {
	case 'q': top->is_over = true; break;
	case 'j':
	case KEY_DOWN: top_move(top, 1); break;
	case 'k':
	case KEY_UP: top_move(top, -1); break;
	case KEY_NPAGE: top_move(top, LINES / 2); break;
	case KEY_PPAGE: top_move(top, -(LINES / 2)); break;
	case 's': top_sort(top); break;
	case 'l': leave_for(top, "logs", "-f"); break;
	case 'a': leave_for(top, "attach", NULL); break;
	case 'c': top->asks = top->selected; break;
	case KEY_RESIZE: top->asks = asks; break;
	default: break;
	}
}

static void loop(struct top *top)
{
	while (!top->is_over) {
		uint64_t now = clock_usec(CLOCK_MONOTONIC);
		int key;

		if (now >= top->next_usec) {
			look(top);
			now = clock_usec(CLOCK_MONOTONIC);
		}
		top_draw(top);
		timeout(top->next_usec > now ? (int)((top->next_usec - now) / USEC_PER_MSEC) + 1
					     : 0);
		key = getch();
		if (key != ERR)
			take_key(top, key);
	}
}

int cmd_top(int argc, char **argv)
{
	static const struct command_value values[] = { { 0 } };
	struct top top = { 0 };
	SCREEN *screen;
	char bad[8];
	int r;

	if (command_parse(argc, argv, values) < 0)
		return EXIT_USAGE;
	if (!screen_is_there()) {
		print_error("top needs a terminal; 'tfq queue --watch' does without one");
		return EXIT_USAGE;
	}
	r = rpc_connect(&top.varlink);
	if (r != 0)
		return r;
	top.path = paths_client_socket();
	(void)view_parse(&top.view, view_queue, bad, sizeof(bad));
	screen = newterm(NULL, stdout, stdin);
	if (!screen) {
		print_error("this terminal ($TERM) is not known; try 'tfq queue --watch'");
		r = EXIT_USAGE;
	} else {
		(void)cbreak();
		(void)noecho();
		(void)curs_set(0);
		(void)keypad(stdscr, TRUE);
		loop(&top);
		(void)endwin();
		delscreen(screen);
	}
	top.varlink = varlink_free(top.varlink);
	json_decref(top.jobs);
	free(top.sorted);
	free(top.path);
	return r;
}
