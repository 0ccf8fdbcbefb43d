/* SPDX-License-Identifier: MIT */
/* What the user does while a command is queued or runs: Ctrl-C, its menu, and answers to terraform.
 */
#include <errno.h>
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
#include "common/wire.h"

#define TYPED_MAX 4096 /* bytes of one line on a terminal */

/* @len is at most what one read of a terminal gives; the socket has room, run_read_stdin() has seen
 * to that. */
static void send_frame(struct run *run, enum frame_type type, const char *body, size_t len)
{
	unsigned char frame[FRAME_HEADER_LEN + TYPED_MAX];

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
		     json_pack("{s:I, s:b}", "id", (json_int_t)print_number(run->job, "id"),
			       "waiting", is_waiting),
		     &answer) != 0)
		return; /* told; the next try may do better */
	status = json_string_value(json_object_get(json_object_get(answer, "job"), "status"));
	run->was_interrupted = !is_waiting || (status && strcmp(status, "cancelled") == 0);
	if (!run->was_interrupted)
		print_error("#%llu has just begun to run; it was left alone",
			    (unsigned long long)print_number(run->job, "id"));
	json_decref(answer);
}

static void detach(struct run *run)
{
	print_error("#%llu goes on without you; 'tfq info %llu' shows how it ends",
		    (unsigned long long)print_number(run->job, "id"),
		    (unsigned long long)print_number(run->job, "id"));
	run->has_detached = true;
}

static void interrupt_terraform(struct run *run)
{
	const unsigned long long id = print_number(run->job, "id");

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

static void on_signal(struct run *run, int number)
{
	waiting_clear(&run->waiting);
	if (!run->job) { /* not even accepted: there is nothing to leave */
		run->exit_at_once = EXIT_SIGNAL + number;
		return;
	}
	if (!run->is_running) {
		if (!run->was_interrupted)
			print_error("#%llu leaves the queue",
				    (unsigned long long)print_number(run->job, "id"));
		run_ask_for_end(run);
		return;
	}
	if (number != SIGINT || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) ||
	    run->menu == MENU_ASKED || run->was_interrupted) {
		run->menu = MENU_OFF;
		interrupt_terraform(run);
		return;
	}
	(void)fprintf(stderr, "\ntfq: terraform runs. [d] leave it running, [i] interrupt it, "
			      "[Enter] go on watching: ");
	run->menu = MENU_ASKED;
}

static void take_menu_answer(struct run *run, char answer)
{
	run->menu = MENU_OFF;
	if (answer == 'd' || answer == 'D')
		detach(run);
	else if (answer == 'i' || answer == 'I')
		interrupt_terraform(run);
}

/* A terminal's lines: for the menu if it is open, else for terraform. */
void run_read_stdin(struct run *run)
{
	char line[TYPED_MAX];
	const ssize_t n = read(STDIN_FILENO, line, sizeof(line));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		run->is_stdin_done = true;
		if (run->attach >= 0)
			send_frame(run, FRAME_INPUT_END, NULL, 0);
	} else if (run->menu == MENU_ASKED) {
		take_menu_answer(run, line[0]);
	} else if (run->attach >= 0) {
		send_frame(run, FRAME_INPUT, line, (size_t)n);
	}
}

bool run_wants_stdin(const struct run *run)
{
	return run->is_running && !run->is_stdin_done && isatty(STDIN_FILENO) &&
	       tcgetpgrp(STDIN_FILENO) == getpgrp();
}

void run_read_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		on_signal(run, (int)info.ssi_signo);
}

int run_open_signals(void)
{
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}
