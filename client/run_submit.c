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
	if (!parameters || !rest || json_object_update(parameters, rest) < 0) {
		json_decref(parameters);
		parameters = NULL;
	}
	json_decref(rest);
	return parameters;
}

/* terraform gets our own stdin, to read from when it likes; but not a terminal, which stays ours.
 */
static bool gives_stdin(const struct run_options *options)
{
	return !options->detach && !isatty(STDIN_FILENO);
}

int run_submit(struct run *run, char *const *argv, const struct subject *subject)
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
