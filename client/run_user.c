/* SPDX-License-Identifier: MIT */
/* What the user does while a command is queued or runs: Ctrl-C, its menu, and what is typed. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/run_parts.h"
#include "common/parse.h"
#include "common/wire.h"

#define TYPED_MAX   4096 /* bytes of one line on a terminal */
#define RESIZE_USEC (50 * USEC_PER_MSEC)

/* @len is at most what one read of a terminal gives; the socket has room, run_read_stdin() has seen
 * to that. */
static void send_frame(struct run *run, enum frame_type type, const char *body, size_t len)
{
	unsigned char frame[FRAME_HEADER_LEN + TYPED_MAX + KEYS_MAX];

	frame_encode_header(frame, &(struct frame){ .type = (uint8_t)type, .len = (uint32_t)len });
	if (len > 0)
		memcpy(frame + FRAME_HEADER_LEN, body, len);
	(void)send(run->attach, frame, FRAME_HEADER_LEN + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A cancel goes on a connection of its own: this one is busy telling us of the job. */
void run_ask_for_end(struct run *run)
{
	const bool is_waiting = !run->is_running;
	json_t *answer = NULL;
	const char *status;

	if (run->was_interrupted)
		return;
	if (rpc_call(WIRE_CANCEL,
		     json_pack("{s:I, s:b}", "id", (json_int_t)run->id, "waiting", is_waiting),
		     &answer) != 0)
		return; /* told; the next try may do better */
	status = json_string_value(json_object_get(json_object_get(answer, "job"), "status"));
	run->was_interrupted = !is_waiting || (status && strcmp(status, "cancelled") == 0);
	if (!run->was_interrupted)
		print_error("#%llu has just begun to run; it was left alone",
			    (unsigned long long)run->id);
	json_decref(answer);
}

static void detach(struct run *run)
{
	if (run->screen.is_on)
		(void)fputc('\n', stderr); /* the cursor stands behind a prompt, perhaps */
	print_error("#%llu goes on without you; tfq attach %llu", (unsigned long long)run->id,
		    (unsigned long long)run->id);
	run->has_detached = true;
}

void run_lose_terminal(struct run *run, int error)
{
	run->exit_at_once = EXIT_SIGNAL + (error == -EPIPE ? SIGPIPE : SIGHUP);
	if (error != -EPIPE && error != -EIO && error != 0) {
		print_error(
			"cannot write the output: %s; #%llu goes on without you; tfq attach %llu",
			strerror(-error), (unsigned long long)run->id, (unsigned long long)run->id);
		run->exit_at_once = EXIT_OURS;
	}
}

/* --- signals --------------------------------------------------------------------------------- */

static void interrupt_terraform(struct run *run)
{
	const unsigned long long id = run->id;

	if (run->was_interrupted) {
		print_error(
			"#%llu was asked to stop already; 'tfq cancel --force %llu' sends the second "
			"interrupt, which may lose terraform's state",
			id, id);
		return;
	}
	print_error("asking terraform to stop; it finishes what it has begun");
	run_ask_for_end(run);
}

/* It goes on, whatever becomes of us. */
static void leave(struct run *run, int number)
{
	print_error("#%llu %s; tfq attach %llu", (unsigned long long)run->id,
		    run->is_running ? "goes on" : "stays queued", (unsigned long long)run->id);
	run->exit_at_once = EXIT_SIGNAL + number;
}

static bool has_menu(const struct run *run)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO) &&
	       (run->kind == RUN_SUBMIT || run->has_input);
}

static void on_end_signal(struct run *run, int number)
{
	waiting_clear(&run->waiting);
	if (!run->job) { /* not even accepted: there is nothing to leave */
		run->exit_at_once = EXIT_SIGNAL + number;
		return;
	}
	if (run->said_away ||
	    (run->kind == RUN_ATTACH && (!run->is_running || number != SIGINT || !has_menu(run)))) {
		leave(run, number);
		return;
	}
	if (!run->is_running) {
		if (!run->was_interrupted)
			print_error("#%llu leaves the queue", (unsigned long long)run->id);
		run_ask_for_end(run);
		return;
	}
	if (number != SIGINT || !has_menu(run) || run->menu == MENU_ASKED || run->was_interrupted) {
		run->menu = MENU_OFF;
		interrupt_terraform(run);
		return;
	}
	(void)fprintf(stderr, "\ntfq: terraform runs. [d] leave it running, [i] interrupt it, "
			      "[Enter] go on watching: ");
	run->menu = MENU_ASKED;
}

/* What the signal does without us, with the terminal as it was. */
static void let_it_act(struct run *run, int number)
{
	sigset_t mask;

	waiting_clear(&run->waiting);
	screen_leave(&run->screen);
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, number);
	(void)raise(number);
	(void)sigprocmask(SIG_UNBLOCK, &mask, NULL); /* it acts here */
	(void)sigprocmask(SIG_BLOCK, &mask, NULL);
}

void run_read_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGWINCH: run->is_resized = true; break;
	case SIGCONT: screen_enter_again(&run->screen); break;
	case SIGTSTP:
	case SIGQUIT: let_it_act(run, (int)info.ssi_signo); break;
	case SIGHUP: run->exit_at_once = EXIT_SIGNAL + SIGHUP; break;
	default: on_end_signal(run, (int)info.ssi_signo); break;
	}
}

int run_open_signals(void)
{
	static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH };
	struct sigaction before;
	sigset_t mask;

	(void)sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (i >= 2 && sigaction(all[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
			continue; /* nohup(1): it is to do nothing */
		(void)sigaddset(&mask, all[i]);
	}
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN); /* run_lose_terminal() */
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- what is typed --------------------------------------------------------------------------- */

static void take_menu_answer(struct run *run, char answer)
{
	run->menu = MENU_OFF;
	if (run->screen.is_on) /* nobody has echoed it */
		(void)fprintf(stderr, "%c\n", answer > ' ' && answer < 0x7f ? answer : ' ');
	if (answer == 'd' || answer == 'D')
		detach(run);
	else if (answer == 'i' || answer == 'I')
		interrupt_terraform(run);
}

static void send_typed(struct run *run, const char *typed, size_t len)
{
	char passed[TYPED_MAX + KEYS_MAX];
	bool leaves;
	size_t n;

	n = keys_run(&run->keys, passed, typed, len, &leaves);
	if (n > 0 && run->attach >= 0)
		send_frame(run, FRAME_INPUT, passed, n);
	if (leaves)
		detach(run);
}

static void end_input(struct run *run)
{
	run->is_stdin_done = true;
	if (run->screen.is_on) /* that comes as a byte; an end is the terminal's own */
		run->exit_at_once = EXIT_SIGNAL + SIGHUP;
	else if (run->attach >= 0 && run->kind == RUN_SUBMIT)
		send_frame(run, FRAME_INPUT_END, NULL, 0);
}

/* Keys or lines of a terminal: for the menu if it is open, else for terraform. */
void run_read_stdin(struct run *run, short revents)
{
	char typed[TYPED_MAX];
	ssize_t n;

	if (revents & (POLLHUP | POLLERR) && isatty(STDIN_FILENO)) {
		run->exit_at_once = EXIT_SIGNAL + SIGHUP;
		return;
	}
	n = read(STDIN_FILENO, typed, sizeof(typed));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		end_input(run);
	else if (run->menu == MENU_ASKED)
		take_menu_answer(run, typed[0]);
	else
		send_typed(run, typed, (size_t)n);
}

bool run_wants_stdin(const struct run *run)
{
	if (!run->is_running || run->is_stdin_done || !run->has_input)
		return false;
	if (run->attach < 0 && run->menu == MENU_OFF)
		return false;
	return isatty(STDIN_FILENO) ? screen_is_ours() : run->kind == RUN_ATTACH;
}

static void send_size(struct run *run)
{
	uint16_t rows = 0, columns = 0;
	unsigned char body[4];

	if (!screen_size(&rows, &columns))
		return;
	rows = htole16(rows);
	columns = htole16(columns);
	memcpy(body, &rows, 2);
	memcpy(body + 2, &columns, 2);
	send_frame(run, FRAME_RESIZE, (const char *)body, sizeof(body));
}

uint64_t run_keep_screen(struct run *run, uint64_t now_usec)
{
	if (run->wants_screen && run_wants_stdin(run) && !run->stream.has_ended &&
	    screen_is_there())
		screen_enter(&run->screen);
	else
		screen_leave(&run->screen);
	if (!run->is_resized || !run->has_input || run->attach < 0 || !screen_is_there())
		return 0;
	if (run->resize_usec > 0 && now_usec < run->resize_usec + RESIZE_USEC)
		return run->resize_usec + RESIZE_USEC;
	run->is_resized = false;
	run->resize_usec = now_usec;
	send_size(run);
	return 0;
}
