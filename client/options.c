/* SPDX-License-Identifier: MIT */
/* The words of a command line against its row of the table. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "client/print.h"
#include "common/parse.h"
#include "common/suggest.h"

/* "tfq NAME", or "tfq". */
static const char *title_of(const struct command *command, char *buf, size_t size)
{
	(void)snprintf(buf, size, "tfq%s%s", *command->name ? " " : "", command->name);
	return buf;
}

static int say_unknown(const struct command *command, const char *word)
{
	char title[48], near[80] = "";
	struct suggest suggest;
	const size_t dashes = strspn(word, "-");
	char name[SUGGEST_MAX + 2];

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + dashes, "="), word + dashes);
	suggest_start(&suggest, name);
	for (const struct command_option *option = command->options; option->name; option++)
		suggest_consider(&suggest, option->name);
	if (suggest.nearest)
		(void)snprintf(near, sizeof(near), "did you mean --%s? ", suggest.nearest);
	print_error("'%s' is no option of %s%s; %s'%s --help' lists them%s", word,
		    title_of(command, title, sizeof(title)), *command->name ? "" : "'s", near,
		    title, *command->name ? "" : ", and terraform's come behind the subcommand");
	return -EINVAL;
}

static int set(const struct command_value *values, const struct command_option *option,
	       const char *value)
{
	while (values->name && strcmp(values->name, option->name) != 0)
		values++;
	assert(values->name); /* a row's option that its command does not know */
	if (values->flag)
		*values->flag = true;
	if (values->text)
		*values->text = value;
	if (values->usec && (parse_usec(value, values->usec) < 0 || *values->usec == 0)) {
		print_error("'%s' is no time; write 30s, 15min or 2h", value);
		return -EINVAL;
	}
	return 1;
}

/* The value is @rest of the word, if there is one, or the next word. */
static int take_value(const struct command_option *option, char **argv, int *at, const char *rest,
		      const struct command_value *values)
{
	if (!rest && !argv[*at + 1]) {
		print_error("%s needs a value: %s", argv[*at], option->value);
		return -EINVAL;
	}
	if (!rest)
		rest = argv[++*at];
	++*at;
	return set(values, option, rest);
}

static int take_name(const struct command *command, char **argv, int *at,
		     const struct command_value *values)
{
	const char *name = argv[*at] + 2;
	const size_t len = strcspn(name, "=");

	for (const struct command_option *option = command->options; option->name; option++) {
		if (strlen(option->name) != len || strncmp(option->name, name, len) != 0)
			continue;
		if (option->value)
			return take_value(option, argv, at, name[len] ? name + len + 1 : NULL,
					  values);
		if (name[len]) {
			print_error("--%s takes no value", option->name);
			return -EINVAL;
		}
		++*at;
		return set(values, option, NULL);
	}
	return say_unknown(command, argv[*at]);
}

static const struct command_option *find_letter(const struct command *command, char letter)
{
	const struct command_option *option = command->options;

	while (option->name && option->letter != letter)
		option++;
	return option->name ? option : NULL;
}

/* -d, -dq, -mTEXT, -m TEXT. */
static int take_letters(const struct command *command, char **argv, int *at,
			const struct command_value *values)
{
	const char *word = argv[*at];

	for (const char *letter = word + 1; *letter; letter++) {
		const struct command_option *option = find_letter(command, *letter);

		if (!option)
			return say_unknown(command, word);
		if (option->value)
			return take_value(option, argv, at, letter[1] ? letter + 1 : NULL, values);
		(void)set(values, option, NULL);
	}
	++*at;
	return 1;
}

int command_take_option(const struct command *command, char **argv, int *at,
			const struct command_value *values)
{
	const char *word = argv[*at];

	if (!word || word[0] != '-' || !word[1] || strcmp(word, "--") == 0)
		return 0;
	return word[1] == '-' ? take_name(command, argv, at, values)
			      : take_letters(command, argv, at, values);
}

static int check_count(const struct command *command, int argc, char **argv)
{
	const int most = command->takes == TAKES_NOTHING ? 0
			 : command->takes == TAKES_JOBS  ? argc
							 : 1;

	if (argc - 1 <= most)
		return argc;
	if (most == 0) {
		print_error("%s takes no '%s'; 'tfq %s --help' shows what it takes", command->name,
			    argv[1], command->name);
	} else {
		print_error("%s takes one %s at a time; '%s' is one too many", command->name,
			    command->takes == TAKES_STATE                                 ? "state"
			    : command->takes == TAKES_JOB || command->takes == TAKES_OVER ? "job"
											  : "word",
			    argv[2]);
	}
	return -EINVAL;
}

int command_parse(int argc, char **argv, const struct command_value *values)
{
	const struct command *command = command_find(argv[0] + strlen("tfq "));
	int at = 1, kept = 1;

	assert(command);
	while (at < argc && strcmp(argv[at], "--") != 0) {
		const int r = command_take_option(command, argv, &at, values);

		if (r < 0)
			return r;
		if (r == 0)
			argv[kept++] = argv[at++];
	}
	for (at++; at < argc; at++)
		argv[kept++] = argv[at];
	argv[kept] = NULL;
	return check_count(command, kept, argv);
}
