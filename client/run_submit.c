/* SPDX-License-Identifier: MIT */
/* What tfqd is told of a command, and terraform in place of it. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/run_parts.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "common/which.h"
#include "common/wire.h"

/* Where this program lies: never to be taken for terraform. */
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

static json_t *submit_json(char *const *argv, const struct subject *subject,
			   const struct run_options *options, bool has_stdin)
{
	AUTO_FREE char *self = own_path();
	const mode_t mask = umask(0);
	json_t *words = argv_json(argv), *parameters, *rest;

	(void)umask(mask);
	if (!words)
		return NULL;
	parameters = subject_json(subject->source);
	rest = json_pack("{s:i, s:o, s:s, s:b, s:i, s:b, s:b, s:s, s:s?, s:s?, s:s?, s:b}",
			 "protocol", WIRE_PROTOCOL, "argv", words, "directory", subject->cwd,
			 "plan", subject->is_plan, "umask", (int)mask, "attach", !options->detach,
			 "stdin", has_stdin, "client", self, "label", options->label, "reason",
			 options->reason, "priority", options->priority, "no_wait",
			 options->no_wait);
	if (rest && options->supersede)
		(void)json_object_set_new(rest, "supersede", json_true());
	if (!parameters || !rest || json_object_update(parameters, rest) < 0) {
		json_decref(parameters);
		parameters = NULL;
	}
	json_decref(rest);
	return parameters;
}

bool run_gives_stdin(const struct run *run)
{
	return run->kind == RUN_SUBMIT && !run->options->detach && !isatty(STDIN_FILENO);
}

static void add_screen(json_t *parameters)
{
	uint16_t rows = 0, columns = 0;

	if (!screen_is_there())
		return;
	(void)json_object_set_new(parameters, "tty", json_true());
	if (!screen_size(&rows, &columns))
		return;
	(void)json_object_set_new(parameters, "rows", json_integer(rows));
	(void)json_object_set_new(parameters, "columns", json_integer(columns));
}

static json_t *call_json(const struct run *run, bool has_stdin)
{
	json_t *parameters = submit_json(run->argv, run->subject, run->options, has_stdin), *call;

	if (!parameters)
		return NULL;
	add_screen(parameters);
	call = varlink_call(WIRE_SUBMIT, parameters);
	if (call && !run->options->detach)
		(void)json_object_set_new(call, "more", json_true());
	return call;
}

int run_submit(struct run *run)
{
	const bool has_stdin = run_gives_stdin(run);
	json_t *call = call_json(run, has_stdin);
	int pair[2] = { -1, -1 }, fds[2];
	size_t count = 0;
	int r;

	if (!call)
		return EXIT_USAGE;
	if (run->attach >= 0) /* a tfqd that was about to stop has refused it */
		(void)close(TAKE_FD(run->attach));
	run->reattach_usec = 0;
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
	r = varlink_send(run->link.varlink, call, fds, count);
	json_decref(call);
	if (pair[1] >= 0)
		(void)close(pair[1]);
	if (r == -EMSGSIZE) {
		print_error(
			"the environment and the arguments are too large together; %d KiB are the limit",
			WIRE_MESSAGE_MAX / 1024);
		return EXIT_OURS;
	}
	if (r < 0) { /* it died, and has not heard all of it */
		print_error("cannot talk to tfqd: %s", strerror(-r));
		return EXIT_NO_DAEMON;
	}
	return 0;
}
