/* SPDX-License-Identifier: MIT */
#include "client/help.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/screen.h"
#include "common/suggest.h"
#include "common/tfargs.h"

#define WIDTH        80
#define WIDTH_NARROW 50 /* below, what an option does stands in lines of its own */
#define COLUMN       28 /* where it stands elsewhere */

static size_t width(void)
{
	uint16_t rows, columns;

	if (!isatty(STDOUT_FILENO) || !screen_size(&rows, &columns) || columns == 0)
		return WIDTH;
	return columns < WIDTH ? columns : WIDTH;
}

/* --- lines ----------------------------------------------------------------------------------- */

/* Put the words of @text into lines, the first of which has @at columns already; those that follow
 * begin with @indent blanks. */
static void put_words(const char *text, size_t at, size_t indent)
{
	const size_t limit = width() - 1;
	bool is_first = at <= indent;

	for (size_t len; *text; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		if (!is_first && at + 1 + len > limit) {
			(void)printf("\n%*s", (int)indent, "");
			at = indent;
		} else if (!is_first) {
			(void)putchar(' ');
			at++;
		}
		(void)printf("%.*s", (int)len, text);
		at += len;
		is_first = false;
	}
	(void)putchar('\n');
}

static void put_text(const char *text)
{
	put_words(text, 0, 0);
}

/* "  TERM      TEXT", or one below the other. */
static void put_row(const char *term, const char *text)
{
	const size_t len = strlen(term);

	if (width() < WIDTH_NARROW || len + 4 > COLUMN) {
		const size_t blanks = strspn(term, " ");

		(void)printf("%s", width() < WIDTH_NARROW ? "" : "  ");
		put_words(width() < WIDTH_NARROW ? term + blanks : term, 2, 2);
		(void)printf("%*s", width() < WIDTH_NARROW ? 4 : COLUMN, "");
	} else {
		(void)printf("  %-*s", COLUMN - 2, term);
	}
	if (width() < WIDTH_NARROW)
		put_words(text, 4, 4);
	else
		put_words(text, COLUMN, COLUMN);
}

static void put_option(const struct command_option *option)
{
	char term[80], letter[5] = "    ";

	if (option->letter)
		(void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	(void)snprintf(term, sizeof(term), "%s--%s%s%s", letter, option->name,
		       option->value ? " " : "", option->value ? option->value : "");
	put_row(term, option->help);
}

static void put_options(const struct command *command)
{
	static const struct command_option help = { "help", 'h', NULL, "print this", NULL },
					   version = { "version", 0, NULL, "print tfq's version",
						       NULL };

	for (const struct command_option *option = command->options; option->name; option++)
		put_option(option);
	if (command == &command_run)
		put_option(&version);
	put_option(&help);
}

/* --- the two pages --------------------------------------------------------------------------- */

static void print_command(const struct command *command)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "tfq %s [options]%s%s", command->name,
		       *command->usage ? " " : "", command->usage);
	put_text(line);
	put_text(command->help);
	if (command->aliases) {
		(void)snprintf(line, sizeof(line), "Also called: %s", command->aliases);
		put_text(line);
	}
	(void)putchar('\n');
	put_options(command);
}

static void print_all(void)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "tfq [options] %s", command_run.usage);
	put_text(line);
	(void)putchar('\n');
	put_text(
		"Runs terraform in turn: queues commands that lock the state (apply, plan, destroy, "
		"import, ...), shows them run, and passes their exit code on. All other "
		"subcommands are terraform's own, at once.");
	(void)putchar('\n');
	put_options(&command_run);
	(void)printf("\n");
	put_text("Commands; 'tfq help COMMAND' lists the options of one:");
	for (size_t i = 0; command_at(i); i++) {
		const struct command *command = command_at(i);

		(void)snprintf(line, sizeof(line), "%s%s%s", command->name,
			       *command->usage ? " " : "", command->usage);
		put_row(line, command->help);
	}
	(void)putchar('\n');
	put_text(
		"Exit codes: terraform's own; 128+n if signal n killed it; 64 usage, 69 no daemon, "
		"75 busy, 77 not allowed, 78 the state cannot be told, 124 waited too long, 125 "
		"the job did not run, 126/127 no terraform.");
}

void help_print(const struct command *command)
{
	if (command)
		print_command(command);
	else
		print_all();
}

int help_say_unknown(const char *word)
{
	const char *near = tfargs_suggest(word);
	struct suggest suggest;

	suggest_start(&suggest, word);
	for (size_t i = 0; command_at(i); i++)
		suggest_consider(&suggest, command_at(i)->name);
	if (!near)
		near = suggest.nearest;
	if (near) {
		print_error("there is no subcommand '%s'; did you mean '%s'?", word, near);
	} else {
		print_error(
			"there is no subcommand '%s'; 'tfq --help' and 'terraform -help' list them",
			word);
	}
	return EXIT_USAGE;
}

static bool is_terraforms(const char *word)
{
	size_t i = 0;

	while (tfargs_subcommand_at(i) && strcmp(tfargs_subcommand_at(i), word) != 0)
		i++;
	return tfargs_subcommand_at(i);
}

int cmd_help(int argc, char **argv)
{
	static const struct command_value values[] = { { 0 } };
	const struct command *command = NULL;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1) {
		command = command_find(argv[1]);
		if (!command && is_terraforms(argv[1])) {
			print_error("%s is terraform's: 'tfq %s -help' shows what it takes",
				    argv[1], argv[1]);
			return EXIT_USAGE;
		}
		if (!command)
			return help_say_unknown(argv[1]);
	}
	help_print(command);
	return 0;
}
