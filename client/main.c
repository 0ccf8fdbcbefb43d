/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/run.h"
#include "common/parse.h"
#include "common/suggest.h"
#include "common/tfargs.h"

/* clang-format off */
static const struct command commands[] = {
	{ "queue",  "ls ps", "[--all] [--json]", "who waits for what, and what runs (also without a command)", cmd_queue },
	{ "info",   NULL,    "[ID] [--json]",    "one job; without an ID, the daemon", cmd_info },
	{ "attach", NULL,    "[--no-stdin] [--detach-keys KEYS] ID", "watch a job and type for it; ctrl-p ctrl-q leaves", cmd_attach },
	{ "logs",   NULL,    "[-f] [-n N] [--since TIME] [--timestamps] ID", "what a job has printed; -f: and prints", cmd_logs },
	{ "wait",   NULL,    "[--timeout TIME] ID...", "until jobs are over; exits as the last that failed", cmd_wait },
	{ "cancel", NULL,    "[--force] ID...",  "leave the queue, or send terraform its one SIGINT", cmd_cancel },
	{ "resume", NULL,    "STATE",            "let a queue go on that a lost job has stopped", cmd_resume },
	{ "who",    NULL,    "[STATE] [--json]", "who holds the lock; without a name, of this directory's state", cmd_who },
	{ "unlock", NULL,    "STATE --id ID [--yes]", "remove a lock whose holder is dead (operators)", cmd_unlock },
	{ "doctor", NULL,    "[--probe] [--json]", "what is wrong with this directory's backend, and what mends it", cmd_doctor },
};
/* clang-format on */
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(void)
{
	(void)printf(
		"tfq [options] [-chdir=DIR] SUBCOMMAND [terraform's arguments]\n"
		"\n"
		"Runs terraform in turn: queues commands that lock the state (apply, plan, destroy,\n"
		"import, ...), shows them run, and passes their exit code on. All other subcommands\n"
		"are terraform's own, at once.\n"
		"\n"
		"  -d, --detach            queue it, print its number, and leave\n"
		"      --label TEXT        a name for it, shown in the queue\n"
		"  -m, --reason TEXT       why; everybody who waits for it reads this\n"
		"      --priority WHICH    high, normal or low\n"
		"      --no-wait           exit with 75 if it would have to wait\n"
		"      --wait-timeout TIME give up after waiting that long (15min, 2h): exit code 124\n"
		"  -q, --quiet             do not show what it waits for\n"
		"      --version, --help\n"
		"\n"
		"Commands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const char *usage = commands[i].usage;

		(void)printf("  tfq %-8s %-21s%s%s\n", commands[i].name, usage,
			     strlen(usage) < 26 ? " " : "\n                                     ",
			     commands[i].help);
	}
	(void)printf(
		"\n"
		"Exit codes: terraform's own; 128+n if signal n killed it; 64 usage, 69 no daemon,\n"
		"75 busy, 77 not allowed, 78 the state cannot be told, 124 waited too long,\n"
		"125 the job did not run, 126/127 no terraform.\n");
}

static bool is_word_of(const char *list, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = list; at && *at;
	     at += strcspn(at, " ") + (at[strcspn(at, " ")] == ' '))
		if (strncmp(at, word, len) == 0 && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0 || is_word_of(commands[i].aliases, name))
			return &commands[i];
	return NULL;
}

/* --- options
 * ---------------------------------------------------------------------------------------- */

enum option_result { OPTION_NONE, OPTION_TAKEN, OPTION_BAD };

/* Is argv[*at] the option @name, with its value in the same word or the next? */
static enum option_result take_value(char **argv, int *at, const char *name, char short_name,
				     const char **ret)
{
	const char *word = argv[*at];
	const size_t len = strlen(name);

	if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, len) == 0 &&
	    word[2 + len] == '=') {
		*ret = word + 3 + len;
		return OPTION_TAKEN;
	}
	if (!(strncmp(word, "--", 2) == 0 && strcmp(word + 2, name) == 0) &&
	    !(short_name && word[0] == '-' && word[1] == short_name))
		return OPTION_NONE;
	if (short_name && word[1] == short_name && word[2] != '\0') {
		*ret = word + 2;
		return OPTION_TAKEN;
	}
	if (!argv[*at + 1]) {
		print_error("%s needs a value", word);
		return OPTION_BAD;
	}
	*ret = argv[++*at];
	return OPTION_TAKEN;
}

static enum option_result take_timeout(char **argv, int *at, struct run_options *options)
{
	const char *text = NULL;
	const enum option_result result = take_value(argv, at, "wait-timeout", 0, &text);

	if (result == OPTION_TAKEN && (parse_usec(text, &options->wait_timeout_usec) < 0 ||
				       options->wait_timeout_usec == 0)) {
		print_error("'%s' is no time; write 30s, 15min or 2h", text);
		return OPTION_BAD;
	}
	return result;
}

static enum option_result take_option(char **argv, int *at, struct run_options *options)
{
	static const struct {
		const char *name;
		char short_name;
		size_t offset;
	} values[] = {
		{ "label", 0, offsetof(struct run_options, label) },
		{ "reason", 'm', offsetof(struct run_options, reason) },
		{ "priority", 0, offsetof(struct run_options, priority) },
	};
	const char *word = argv[*at];

	if (strcmp(word, "-d") == 0 || strcmp(word, "--detach") == 0)
		options->detach = true;
	else if (strcmp(word, "-q") == 0 || strcmp(word, "--quiet") == 0)
		options->quiet = true;
	else if (strcmp(word, "--no-wait") == 0)
		options->no_wait = true;
	else {
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			const char *value = NULL;
			const enum option_result result =
				take_value(argv, at, values[i].name, values[i].short_name, &value);

			if (result == OPTION_TAKEN)
				memcpy((char *)options + values[i].offset, &value, sizeof(value));
			if (result != OPTION_NONE)
				return result;
		}
		return take_timeout(argv, at, options);
	}
	return OPTION_TAKEN;
}

/* --- terraform's subcommands
 * --------------------------------------------------------------------------- */

static int say_unknown(const char *word)
{
	const char *near = tfargs_suggest(word);
	struct suggest suggest;

	suggest_start(&suggest, word);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		suggest_consider(&suggest, commands[i].name);
	if (!near)
		near = suggest.nearest;
	if (near)
		print_error("there is no subcommand '%s'; did you mean '%s'?", word, near);
	else {
		print_error(
			"there is no subcommand '%s'; 'tfq --help' and 'terraform -help' list them",
			word);
	}
	return EXIT_USAGE;
}

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
			return say_unknown(*argv);
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

static int run_command(const struct command *command, int argc, char **argv)
{
	char name[32];

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 ||
		    strcmp(argv[i], "-help") == 0) {
			(void)printf("tfq %s %s\n%s\n", command->name, command->usage,
				     command->help);
			return 0;
		}
	}
	(void)snprintf(name, sizeof(name), "tfq %s", command->name);
	argv[0] = name; /* what getopt(3) begins its complaints with */
	return command->run(argc, argv);
}

int main(int argc, char **argv)
{
	struct run_options options = { 0 };
	const struct command *command;
	int at = 1;

	open_standard_fds();
	(void)setlocale(LC_CTYPE, "");
	if (is_called_terraform(argv[0]))
		return run(argv + 1, &options, true);

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strncmp(argv[at], "-chdir", 6) == 0)
			break; /* terraform's, and what follows too */
		if (strcmp(argv[at], "--version") == 0) {
			(void)printf("tfq %s\n", VERSION);
			return 0;
		}
		if (strcmp(argv[at], "-version") == 0 || strcmp(argv[at], "-v") == 0)
			return run_terraform(argv + at);
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0 ||
		    strcmp(argv[at], "-help") == 0) {
			print_help();
			return 0;
		}
		switch (take_option(argv, &at, &options)) {
		case OPTION_TAKEN: break;
		case OPTION_BAD: return EXIT_USAGE;
		case OPTION_NONE:
			print_error(
				"'%s' is no option of tfq's; 'tfq --help' lists them, and terraform's come "
				"behind the subcommand",
				argv[at]);
			return EXIT_USAGE;
		}
	}
	if (at >= argc && at > 1) {
		print_error("these options need a subcommand behind them; 'tfq --help' lists them");
		return EXIT_USAGE;
	}
	if (at >= argc)
		return cmd_queue(1, argv);
	if (strcmp(argv[at], "help") == 0) {
		print_help();
		return 0;
	}
	command = find_command(argv[at]);
	if (command)
		return run_command(command, argc - at, argv + at);
	return run(argv + at, &options, false);
}
