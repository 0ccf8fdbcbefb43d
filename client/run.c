/* SPDX-License-Identifier: MIT */
/*
 * Two streams come in: the job's changes from tfqd, and what terraform prints from its runner,
 * on a socket of which tfqd only hands on the other end. The command is over when both are.
 */
#include "client/run.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/subject.h"
#include "client/waiting.h"
#include "common/cleanup.h"
#include "common/frame.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/tfargs.h"
#include "common/varlink.h"
#include "common/which.h"
#include "common/wire.h"

#define TYPED_MAX 4096 /* bytes of one line on a terminal */

enum menu { MENU_OFF, MENU_ASKED };

struct run {
	const struct run_options *options;
	struct varlink *link; /* NULL: tfqd has said all, or is gone */
	int attach;           /* -1: the runner has said all */
	int signals;
	struct waiting waiting;
	uint64_t deadline_usec; /* of --wait-timeout; 0: none */

	json_t *job;  /* as tfqd told last */
	bool is_over; /* tfqd says so */
	bool is_running;
	bool was_interrupted; /* by us: it is cancelled because we said so */
	bool has_timed_out;
	int exit_at_once; /* 0: no */
	bool has_detached;
	int exit_from_runner;  /* -1: none yet */
	char last_words[1024]; /* of a runner whose terraform never ran */
	enum menu menu;
	bool is_stdin_done;

	size_t in_len;
	char in[FRAME_HEADER_LEN + FRAME_BODY_MAX];
};

static uint64_t now_usec(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* --- terraform in place --------------------------------------------------------------------------
 */

static char *own_path(void)
{
	char path[PATH_MAX];
	const ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (len < 0)
		return strdup("");
	path[len] = '\0';
	return strdup(path);
}

int run_terraform(char *const *argv)
{
	AUTO_FREE char *self = own_path();
	AUTO_FREE char *program = NULL;
	const char *const skip[] = { self ? self : "", NULL };
	size_t count = 0;
	char **all;
	int r;

	r = which_program(&program, "terraform", getenv("PATH"), skip);
	if (r < 0) {
		print_error("there is no terraform in PATH; install it from "
			    "https://developer.hashicorp.com/terraform/install");
		return r == -EACCES ? EXIT_NOT_EXEC : EXIT_NOT_FOUND;
	}
	while (argv[count])
		count++;
	all = calloc(count + 2, sizeof(*all));
	if (!all)
		return EXIT_OURS;
	memcpy(all + 1, argv, count * sizeof(*all));
	all[0] = program;
	(void)execv(program, all);
	r = errno;
	free(all);
	print_error("cannot run %s: %s", program, strerror(r));
	return r == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXEC;
}

/* --- submitting
 * ------------------------------------------------------------------------------------ */

static int say_and_free(char *error, int code)
{
	print_error("%s", error ? error : "out of memory");
	free(error);
	return code;
}

static json_t *argv_json(char *const *argv)
{
	json_t *list = json_array();

	for (; *argv; argv++) {
		if (!text_is_utf8(*argv)) {
			print_error("an argument is no valid UTF-8; tfq cannot pass it on: %s",
				    *argv);
			json_decref(list);
			return NULL;
		}
		(void)json_array_append_new(list, json_string(*argv));
	}
	return list;
}

static json_t *environment_json(void)
{
	json_t *list = json_array();
	size_t dropped = 0;

	for (char **variable = environ; *variable; variable++) {
		if (text_is_utf8(*variable))
			(void)json_array_append_new(list, json_string(*variable));
		else
			dropped++;
	}
	if (dropped > 0)
		print_error("left out %zu environment variables that are no valid UTF-8", dropped);
	return list;
}

static json_t *submit_json(char *const *argv, const struct subject *subject,
			   const struct run_options *options, bool has_stdin)
{
	AUTO_FREE char *self = own_path();
	const struct backend_source *source = subject->source;
	const mode_t mask = umask(0);
	json_t *words = argv_json(argv);

	(void)umask(mask);
	if (!words)
		return NULL;
	return json_pack(
		"{s:i, s:o, s:s, s:s, s:s?, s:s?, s:s, s:b, s:o, s:i, s:b, s:b, s:s?, s:s?, s:s?, s:s?, s:b}",
		"protocol", WIRE_PROTOCOL, "argv", words, "directory", subject->cwd,
		"state_directory", source->directory, "backend", source->file, "profile_endpoints",
		source->profile_endpoints, "workspace", source->workspace, "plan", subject->is_plan,
		"environment", environment_json(), "umask", (int)mask, "attach", !options->detach,
		"stdin", has_stdin, "client", self, "label", options->label, "reason",
		options->reason, "priority", options->priority, "no_wait", options->no_wait);
}

/* terraform gets our own stdin, to read from when it likes; but not a terminal, which stays ours.
 */
static bool gives_stdin(const struct run_options *options)
{
	return !options->detach && !isatty(STDIN_FILENO);
}

static int send_submit(struct run *run, char *const *argv, const struct subject *subject)
{
	const bool has_stdin = gives_stdin(run->options);
	json_t *parameters, *call;
	int pair[2] = { -1, -1 }, fds[2];
	size_t count = 0;
	int r;

	parameters = submit_json(argv, subject, run->options, has_stdin);
	if (!parameters)
		return EXIT_USAGE;
	call = varlink_call(WIRE_SUBMIT, parameters);
	if (call && !run->options->detach)
		(void)json_object_set_new(call, "more", json_true());

	if (!run->options->detach) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
			json_decref(call);
			print_error("cannot make a socket: %s", strerror(errno));
			return EXIT_OURS;
		}
		run->attach = pair[0];
		fds[count++] = pair[1];
	}
	if (has_stdin)
		fds[count++] = STDIN_FILENO;
	r = varlink_send(run->link, call, fds, count);
	json_decref(call);
	if (pair[1] >= 0)
		(void)close(pair[1]);
	if (r == -EMSGSIZE) {
		print_error(
			"the environment and the arguments are too large together; %d KiB are the limit",
			WIRE_MESSAGE_MAX / 1024);
	} else if (r < 0) {
		print_error("cannot talk to tfqd: %s", strerror(-r));
	}
	return r < 0 ? EXIT_OURS : 0;
}

/* --- what tfqd tells
 * --------------------------------------------------------------------------------- */

static bool is_status(const struct run *run, const char *status)
{
	const char *now = json_string_value(json_object_get(run->job, "status"));

	return now && strcmp(now, status) == 0;
}

static void take_job(struct run *run, const json_t *message)
{
	json_t *job = json_object_get(json_object_get(message, "parameters"), "job");

	json_decref(run->job);
	run->job = json_incref(job);
	run->is_running = is_status(run, "running") || is_status(run, "approving") ||
			  is_status(run, "stopping");
	run->is_over = !json_is_true(json_object_get(message, "continues"));
	if (run->is_running || run->is_over)
		waiting_clear(&run->waiting);
	else
		waiting_update(&run->waiting, job);
}

/* Return: 0, or the exit code of an error. */
static int read_link(struct run *run, short revents)
{
	json_t *message = NULL;
	int r = 0, code;

	if (revents & POLLOUT)
		r = varlink_flush(run->link);
	if (r >= 0 && revents & (POLLIN | POLLHUP | POLLERR))
		r = varlink_read(run->link);
	while (r >= 0 && !run->is_over && varlink_next(run->link, &message) > 0) {
		code = rpc_check(message);
		if (code == 0)
			take_job(run, message);
		json_decref(message);
		if (code != 0)
			return code;
	}
	if (r < 0 || run->is_over)
		run->link = varlink_free(run->link);
	return 0;
}

/* --- what terraform prints
 * ------------------------------------------------------------------------------ */

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		const ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EAGAIN) { /* somebody made our stdout non-blocking */
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		if (n < 0 && errno != EINTR)
			return; /* SIGPIPE has ended us where it should; else there is nobody to
				   tell */
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void take_exit(struct run *run, const struct frame *frame)
{
	uint32_t value = 0;

	if (frame->len < sizeof(value))
		return;
	memcpy(&value, frame->body, sizeof(value));
	value = le32toh(value);
	(void)snprintf(run->last_words, sizeof(run->last_words), "%.*s",
		       (int)(frame->len - sizeof(value)), frame->body + sizeof(value));
	if (frame->stream == FRAME_EXIT_SIGNAL)
		run->exit_from_runner = EXIT_SIGNAL + (int)(value & 127);
	else
		run->exit_from_runner = (int)(value & 255);
}

static void take_frame(struct run *run, const struct frame *frame)
{
	char note[1024];

	switch (frame->type) {
	case FRAME_OUTPUT:
		waiting_clear(&run->waiting);
		write_all(frame->stream == FRAME_STDERR ? STDERR_FILENO : STDOUT_FILENO,
			  frame->body, frame->len);
		break;
	case FRAME_NOTE:
		(void)snprintf(note, sizeof(note), "%.*s", (int)frame->len, frame->body);
		print_error("%s", note);
		break;
	case FRAME_EXIT: take_exit(run, frame); break;
	default: break; /* a newer runner's */
	}
}

static void read_attach(struct run *run)
{
	const ssize_t n =
		recv(run->attach, run->in + run->in_len, sizeof(run->in) - run->in_len, 0);
	struct frame frame;
	size_t at = 0;
	int used;

	if (n <= 0) {
		if (n < 0 && errno == EINTR)
			return;
		(void)close(TAKE_FD(run->attach));
		return;
	}
	run->in_len += (size_t)n;
	while ((used = frame_decode(&frame, run->in + at, run->in_len - at)) > 0) {
		take_frame(run, &frame);
		at += (size_t)used;
	}
	run->in_len -= at;
	memmove(run->in, run->in + at, run->in_len);
	if (used < 0)
		(void)close(TAKE_FD(run->attach));
}

/* --- what the user does
 * ------------------------------------------------------------------------------------ */

/* @len is at most what one read of a terminal gives; the socket has room, read_stdin() has seen to
 * that. */
static void send_frame(struct run *run, enum frame_type type, const char *body, size_t len)
{
	unsigned char frame[FRAME_HEADER_LEN + TYPED_MAX];

	frame_encode_header(frame, &(struct frame){ .type = (uint8_t)type, .len = (uint32_t)len });
	if (len > 0)
		memcpy(frame + FRAME_HEADER_LEN, body, len);
	(void)send(run->attach, frame, FRAME_HEADER_LEN + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A cancel goes on a connection of its own: this one is busy telling us of the job. */
static void ask_for_end(struct run *run)
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
	ask_for_end(run);
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
		ask_for_end(run);
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
static void read_stdin(struct run *run)
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

/* In the background a read would stop us. */
static bool wants_stdin(const struct run *run)
{
	return run->is_running && !run->is_stdin_done && isatty(STDIN_FILENO) &&
	       tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void read_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		on_signal(run, (int)info.ssi_signo);
}

static int open_signals(void)
{
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- the end
 * ---------------------------------------------------------------------------------------------- */

static void say_how_it_ended(const struct run *run)
{
	char status[32], message[1024];
	bool is_cancelled;

	(void)print_text(message, sizeof(message), run->job, "message");
	(void)print_text(status, sizeof(status), run->job, "status");
	is_cancelled = strcmp(status, "cancelled") == 0;
	if (!*message || strcmp(status, "done") == 0 || (is_cancelled && run->was_interrupted))
		return;
	print_error("#%llu %s%s %s", (unsigned long long)print_number(run->job, "id"), status,
		    is_cancelled ? "" : ":", message);
}

static int exit_code(const struct run *run)
{
	const json_t *code = json_object_get(run->job, "exit_code");

	if (run->has_detached)
		return 0;
	if (run->has_timed_out && is_status(run, "cancelled") &&
	    print_number(run->job, "started") == 0) {
		print_error(
			"gave up after the wait that --wait-timeout allows; the job has left the queue");
		return EXIT_TIMED_OUT;
	}
	if (!run->is_over) { /* tfqd went away before it could say so */
		if (run->last_words[0])
			print_error("%s", run->last_words);
		if (run->exit_from_runner >= 0)
			return run->exit_from_runner;
		print_error("tfqd went away; what became of the job, its log says");
		return EXIT_NO_DAEMON;
	}
	say_how_it_ended(run);
	if (json_is_true(json_object_get(run->job, "busy")))
		return EXIT_BUSY;
	if (json_is_integer(code))
		return (int)json_integer_value(code);
	if (json_object_get(run->job, "exit_signal"))
		return EXIT_SIGNAL + (int)print_number(run->job, "exit_signal");
	return run->was_interrupted ? EXIT_SIGNAL + SIGINT : EXIT_OURS;
}

static int time_left_ms(const struct run *run)
{
	const uint64_t now = now_usec();

	if (run->deadline_usec == 0 || run->is_running || run->is_over || run->has_timed_out)
		return -1;
	return run->deadline_usec <= now ? 0
					 : (int)((run->deadline_usec - now) / USEC_PER_MSEC) + 1;
}

static void give_up_waiting(struct run *run)
{
	if (run->deadline_usec == 0 || run->is_running || run->is_over || run->has_timed_out ||
	    now_usec() < run->deadline_usec)
		return;
	waiting_clear(&run->waiting);
	run->has_timed_out = true;
	if (run->job)
		ask_for_end(run);
	else
		run->exit_at_once = EXIT_TIMED_OUT;
}

/* What a child does not read stays in the terminal; we must not get stuck with it. */
static bool has_room(int fd)
{
	return fd < 0 || poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 0) > 0;
}

/* Wait until something happens, and take it in. Return: 0, or the exit code of an error. */
static int turn(struct run *run)
{
	const bool reads_stdin =
		wants_stdin(run) && (run->menu == MENU_ASKED || has_room(run->attach));
	struct pollfd pfds[] = {
		{ .fd = run->link ? varlink_fd(run->link) : -1, .events = POLLIN },
		{ .fd = run->attach, .events = POLLIN },
		{ .fd = run->signals, .events = POLLIN },
		{ .fd = reads_stdin ? STDIN_FILENO : -1, .events = POLLIN },
	};
	int code = 0;

	if (run->link && varlink_events(run->link) & EPOLLOUT)
		pfds[0].events |= POLLOUT;
	if (wants_stdin(run) && !reads_stdin)
		pfds[1].events |= POLLOUT;
	if (poll(pfds, sizeof(pfds) / sizeof(pfds[0]), time_left_ms(run)) < 0)
		return errno == EINTR ? 0 : EXIT_OURS;
	if (pfds[2].revents)
		read_signal(run);
	if (pfds[1].revents & (POLLIN | POLLHUP | POLLERR))
		read_attach(run);
	if (pfds[3].revents)
		read_stdin(run);
	if (pfds[0].revents)
		code = read_link(run, pfds[0].revents);
	give_up_waiting(run);
	return code;
}

/* Return: the exit code. */
static int watch(struct run *run)
{
	while ((run->link || run->attach >= 0) && !run->has_detached) {
		const int code = turn(run);

		if (code != 0 || run->exit_at_once != 0)
			return code != 0 ? code : run->exit_at_once;
	}
	waiting_clear(&run->waiting);
	return exit_code(run);
}

static int wait_for_number(struct run *run)
{
	json_t *message = NULL;
	int r = rpc_wait(run->link, &message, -1);

	if (r <= 0) {
		print_error("tfqd went away before it accepted the job");
		return EXIT_NO_DAEMON;
	}
	r = rpc_check(message);
	if (r == 0) {
		(void)printf("%llu\n",
			     (unsigned long long)
				     print_number(json_object_get(json_object_get(message,
										  "parameters"),
								  "job"),
						  "id"));
	}
	json_decref(message);
	return r;
}

static void run_clear(struct run *run)
{
	varlink_free(run->link);
	json_decref(run->job);
	if (run->attach >= 0)
		(void)close(run->attach);
	if (run->signals >= 0)
		(void)close(run->signals);
}

int run_queued(char *const *argv, const struct run_options *options)
{
	CLEANUP(run_clear)
	struct run run = {
		.options = options,
		.attach = -1,
		.signals = -1,
		.exit_from_runner = -1,
		.waiting.is_quiet = options->quiet,
	};
	CLEANUP(subject_clear) struct subject subject = { 0 };
	struct tfargs args;
	char *error = NULL;
	int r;

	if (tfargs_parse(&args, argv, environ, &error) < 0)
		return say_and_free(error, EXIT_USAGE);
	r = subject_find(&subject, &args, &error);
	if (r == -ENOENT && strcmp(args.subcommand, "init") == 0) {
		free(error);
		return run_terraform(
			argv); /* at most a local state is migrated: terraform locks it */
	}
	if (r < 0)
		return say_and_free(error, EXIT_BAD_STATE);

	r = rpc_connect(&run.link);
	if (r != 0)
		return r;
	if (!options->detach)
		run.signals = open_signals();
	if (options->wait_timeout_usec > 0)
		run.deadline_usec = now_usec() + options->wait_timeout_usec;
	r = send_submit(&run, argv, &subject);
	if (r != 0)
		return r;
	return options->detach ? wait_for_number(&run) : watch(&run);
}
