/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/completion.h"
#include "client/exits.h"
#include "client/help.h"
#include "client/print.h"
#include "client/run.h"
#include "common/tfargs.h"

/* --- terraform's subcommands
 * --------------------------------------------------------------------------- */

/* @is_terraform: we are called so, and what we do not know is terraform's to refuse. */
static int run(char **argv, const struct run_options *options, bool is_terraform)
{
	struct tfargs args;
	char *error = NULL;

	if (tfargs_parse(&args, argv, environ, &error) < 0) {
		if (is_terraform) {
			free(error);
			return run_terraform(argv);
		}
		print_error("%s", error ? error : "out of memory");
		free(error);
		return EXIT_USAGE;
	}
	switch (args.class) {
	case TFARGS_LOCKS:
	case TFARGS_CHILD_LOCKS: return run_queued(argv, options);
	case TFARGS_READER: return run_terraform(argv);
	case TFARGS_UNKNOWN: break;
	}
	if (is_terraform)
		return run_terraform(argv);
	for (; *argv; argv++)
		if ((*argv)[0] != '-')
			return help_say_unknown(*argv);
	print_error("which subcommand? 'tfq --help' lists them");
	return EXIT_USAGE;
}

/* A shell may start us without one of the three; opened later, a socket would take its number. */
static void open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

static bool is_called_terraform(const char *name)
{
	const char *slash = name ? strrchr(name, '/') : NULL;

	return name && strcmp(slash ? slash + 1 : name, "terraform") == 0;
}

/* What was asked for must have got out. Nobody reads it any more: quietly, as others do. */
static int finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	if (errno == EPIPE)
		return EXIT_SIGNAL + SIGPIPE;
	print_error("cannot write what was asked for: %s", strerror(errno));
	return code != 0 ? code : EXIT_OURS;
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-help") == 0;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	char name[32];

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (is_help(argv[i])) {
			help_print(command);
			return finish(0);
		}
	}
	(void)snprintf(name, sizeof(name), "tfq %s", command->name);
	argv[0] = name;
	return finish(command->run(argc, argv));
}

/* What stands before terraform's subcommand: the index behind it; or a negative one: main() is to
 * return *@ret_code. */
static int take_options(char **argv, struct run_options *options, int *ret_code)
{
	const struct command_value values[] = RUN_VALUES(*options);
	int at = 1, r = 1;

	*ret_code = 0;
	while (r > 0) {
		const char *word = argv[at] ? argv[at] : "";

		if (strncmp(word, "-chdir", 6) == 0)
			return at; /* terraform's, and what follows too */
		if (strcmp(word, "--version") == 0) {
			(void)printf("tfq %s\n", VERSION);
			return -1;
		}
		if (strcmp(word, "-version") == 0 || strcmp(word, "-v") == 0) {
			*ret_code = run_terraform(argv + at);
			return -1;
		}
		if (is_help(word)) {
			help_print(NULL);
			return -1;
		}
		r = command_take_option(&command_run, argv, &at, values);
	}
	*ret_code = EXIT_USAGE;
	return r < 0 ? -1 : at;
}

int main(int argc, char **argv)
{
	struct run_options options = { 0 };
	const struct command *command;
	int at, code;

	open_standard_fds();
	(void)setlocale(LC_CTYPE, "");
	if (is_called_terraform(argv[0]))
		return run(argv + 1, &options, true);

	at = take_options(argv, &options, &code);
	if (at < 0)
		return finish(code);
	if (at >= argc && at > 1) {
		print_error("these options need a subcommand behind them; 'tfq --help' lists them");
		return EXIT_USAGE;
	}
	if (at >= argc)
		return run_command(command_find("queue"), 1, argv);
	if (strcmp(argv[at], COMPLETION_COMMAND) == 0)
		return completion_answer(argv + at + 1);
	command = command_find(argv[at]);
	if (command && at > 1) {
		print_error("the options of tfq %s stand behind it; 'tfq %s --help' lists them",
			    command->name, command->name);
		return EXIT_USAGE;
	}
	if (command)
		return run_command(command, argc - at, argv + at);
	return run(argv + at, &options, false);
}
