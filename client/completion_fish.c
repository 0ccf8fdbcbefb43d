/* SPDX-License-Identifier: MIT */
#include "client/completion.h"
#include "common/tfargs.h"

static const char head[] =
	"# fish completion for tfq, written by 'tfq completion fish'.\n"
	"\n"
	"function __tfq_command -d 'The command on the line, and how many words stand behind it'\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -e words[1]\n"
	"\twhile set -q words[1]\n"
	"\t\tswitch $words[1]\n"
	"\t\t\tcase ";

static const char tail[] =
	"\n"
	"\t\t\t\tset -e words[1]\n"
	"\t\t\tcase '-*'\n"
	"\t\t\tcase '*'\n"
	"\t\t\t\tprintf '%s\\n' $words[1] (math (count $words) - 1)\n"
	"\t\t\t\treturn 0\n"
	"\t\tend\n"
	"\t\tset -e words[1]\n"
	"\tend\n"
	"\treturn 1\n"
	"end\n"
	"\n"
	"function __tfq_is -d 'Is it one of these?'\n"
	"\tset -l command (__tfq_command)\n"
	"\tand contains -- $command[1] $argv\n"
	"end\n"
	"\n"
	"function __tfq_is_first -d 'Does its first argument come next?'\n"
	"\tset -l command (__tfq_command)\n"
	"\tand contains -- $command[1] $argv\n"
	"\tand test $command[2] -eq 0\n"
	"end\n"
	"\n"
	"complete -c tfq -f\n"
	"complete -c tfq -n 'not __tfq_command' -l version -d 'print the version'\n"
	"complete -c tfq -n 'not __tfq_command' -o chdir -r -a '(__fish_complete_directories)' "
	"-d 'where terraform runs'\n";

static void put_option(const char *when, const struct command_option *option)
{
	const char *kind = completion_kind_of_value(option);

	(void)printf("complete -c tfq -n '%s'", when);
	if (option->letter)
		(void)printf(" -s %c", option->letter);
	(void)printf(" -l %s%s", option->name,
		     completion_is_file(option) ? " -r -F"
		     : option->value            ? " -x"
						: "");
	if (option->choices)
		(void)printf(" -a '%s'", option->choices);
	else if (kind)
		(void)printf(" -a '(tfq " COMPLETION_COMMAND " %s 2>/dev/null)'", kind);
	(void)printf(" -d '");
	completion_put(option->help, "'\\", "\\");
	(void)printf("'\n");
}

static void put_command(const struct command *command)
{
	const char *kind = completion_kind(command);
	char when[128];

	(void)snprintf(when, sizeof(when), "__tfq_is %s%s%s", command->name,
		       command->aliases ? " " : "", command->aliases ? command->aliases : "");
	(void)printf("complete -c tfq -n 'not __tfq_command' -a %s -d '", command->name);
	completion_put(command->help, "'\\", "\\");
	(void)printf("'\n");
	for (const struct command_option *option = command->options; option->name; option++)
		put_option(when, option);
	(void)printf("complete -c tfq -n '%s' -s h -l help -d 'print what there is'\n", when);
	if (kind) {
		(void)printf("complete -c tfq -n '%s' -a '(tfq " COMPLETION_COMMAND
			     " %s 2>/dev/null)'\n",
			     when, kind);
	}
	if (command->takes == TAKES_SHELL)
		(void)printf("complete -c tfq -n '%s' -a 'bash zsh fish'\n", when);
	if (command->takes != TAKES_COMMAND)
		return;
	(void)printf("complete -c tfq -n '%s' -a '", when);
	for (size_t i = 0; command_at(i); i++)
		(void)printf("%s%s", i > 0 ? " " : "", command_at(i)->name);
	(void)printf("'\n");
}

static void put_terraform(void)
{
	(void)printf("complete -c tfq -n 'not __tfq_command' -a '");
	completion_put_subcommands(NULL, " ");
	(void)printf("' -d \"terraform's\"\ncomplete -c tfq -n '__tfq_is ");
	completion_put_subcommands(NULL, " ");
	(void)printf("; and not __tfq_is_first");
	for (size_t i = 0; tfargs_subcommand_at(i); i++)
		if (completion_has_second(tfargs_subcommand_at(i)))
			(void)printf(" %s", tfargs_subcommand_at(i));
	(void)printf("' -F\n");
	for (size_t i = 0; tfargs_subcommand_at(i); i++) {
		const char *name = tfargs_subcommand_at(i);

		if (!completion_has_second(name))
			continue;
		(void)printf("complete -c tfq -n '__tfq_is_first %s' -f -a '", name);
		completion_put_subcommands(name, " ");
		(void)printf("'\n");
	}
}

void completion_fish(void)
{
	(void)printf("%s", head);
	completion_put_value_options(" ");
	(void)printf("%s", tail);
	for (const struct command_option *option = command_run.options; option->name; option++)
		put_option("not __tfq_command", option);
	(void)printf(
		"complete -c tfq -n 'not __tfq_command' -s h -l help -d 'print what there is'\n");
	for (size_t i = 0; command_at(i); i++)
		put_command(command_at(i));
	put_terraform();
}
