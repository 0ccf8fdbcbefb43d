/* SPDX-License-Identifier: MIT */
#include "client/completion.h"
#include "common/tfargs.h"

/*
 * Names that others chose go through read and printf %q, never through compgen -W, which would
 * expand them. bash splits words at = and :, so what stands before the last of them stays.
 */
static const char head[] =
	"# bash completion for tfq, written by 'tfq completion bash'.\n"
	"\n"
	"_tfq_offer()\n"
	"{\n"
	"\tlocal word\n"
	"\n"
	"\twhile IFS=$'\\t' read -r word _; do\n"
	"\t\t[[ -n $word && $prefix$word == \"$cur\"* ]] || continue\n"
	"\t\tprintf -v word %q \"$word\"\n"
	"\t\tword=$prefix$word\n"
	"\t\tCOMPREPLY+=(\"${word#\"$fixed\"}\")\n"
	"\tdone\n"
	"}\n"
	"\n"
	"_tfq_words()\n"
	"{\n"
	"\t_tfq_offer < <(printf '%s\\n' \"$@\")\n"
	"}\n"
	"\n"
	"_tfq_ask()\n"
	"{\n"
	"\t_tfq_offer < <(tfq " COMPLETION_COMMAND " \"$1\" 2>/dev/null)\n"
	"}\n"
	"\n"
	"_tfq_files()\n"
	"{\n"
	"\tcompopt -o bashdefault -o default 2>/dev/null\n"
	"}\n"
	"\n"
	"_tfq()\n"
	"{\n"
	"\tlocal cur option command='' prefix='' fixed='' i line=${COMP_LINE:0:COMP_POINT}\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\tcur=${line##*[[:space:]]}\n"
	"\toption=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tif [[ $cur == -*=* ]]; then\n"
	"\t\toption=${cur%%=*} prefix=${cur%%=*}=\n"
	"\tfi\n"
	"\tif [[ $COMP_WORDBREAKS == *[:=]* ]]; then\n"
	"\t\tfixed=${cur%\"${cur##*[:=]}\"}\n"
	"\tfi\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tcase ${COMP_WORDS[i]} in\n";

static bool has_values(const struct command *command)
{
	const struct command_option *option = command->options;

	while (option->name && !option->value)
		option++;
	return option->name;
}

static void put_values(const struct command *command)
{
	if (!has_values(command))
		return;
	(void)printf("\t\tcase $option in\n");
	for (const struct command_option *option = command->options; option->name; option++) {
		const char *kind = completion_kind_of_value(option);

		if (!option->value)
			continue;
		(void)printf("\t\t");
		if (option->letter)
			(void)printf("-%c | ", option->letter);
		(void)printf("--%s)", option->name);
		if (option->choices)
			(void)printf(" _tfq_words %s;", option->choices);
		if (kind)
			(void)printf(" _tfq_ask %s;", kind);
		(void)printf("%s return ;;\n", completion_is_file(option) ? " _tfq_files;" : "");
	}
	if (command == &command_run)
		(void)printf("\t\t-chdir) mapfile -t COMPREPLY < <(compgen -d -- \"${cur#*=}\")\n"
			     "\t\t\tcompopt -o filenames 2>/dev/null; return ;;\n");
	(void)printf("\t\tesac\n");
}

static void put_options(const struct command *command)
{
	(void)printf("\t\tif [[ $cur == -* ]]; then\n\t\t\t_tfq_words");
	for (const struct command_option *option = command->options; option->name; option++) {
		if (option->letter)
			(void)printf(" -%c", option->letter);
		(void)printf(" --%s", option->name);
	}
	if (command == &command_run)
		(void)printf(" --version -chdir=");
	(void)printf(" --help\n\t\t\treturn\n\t\tfi\n");
}

static void put_argument(const struct command *command)
{
	const char *kind = completion_kind(command);

	if (kind)
		(void)printf("\t\t_tfq_ask %s ;;\n", kind);
	else if (command->takes == TAKES_SHELL)
		(void)printf("\t\t_tfq_words bash zsh fish ;;\n");
	else if (command->takes == TAKES_COMMAND)
		(void)printf("\t\t_tfq_words \"${commands[@]}\" ;;\n");
	else
		(void)printf("\t\t;;\n");
}

static void put_commands(void)
{
	(void)printf("\tlocal -a commands=(");
	for (size_t i = 0; command_at(i); i++) {
		(void)printf("%s", i > 0 ? " " : "");
		completion_put_names(command_at(i), " ");
	}
	(void)printf(")\n\tlocal -a subcommands=(");
	completion_put_subcommands(NULL, " ");
	(void)printf(")\n\n");
}

/* terraform's subcommands of two words; behind all others come flags and files. */
static void put_terraform(void)
{
	for (size_t i = 0; tfargs_subcommand_at(i); i++) {
		const char *name = tfargs_subcommand_at(i);

		if (!completion_has_second(name))
			continue;
		(void)printf("\t%s)\n\t\tif ((i + 1 == COMP_CWORD)); then\n\t\t\t_tfq_words ",
			     name);
		completion_put_subcommands(name, " ");
		(void)printf("\n\t\telse\n\t\t\t_tfq_files\n\t\tfi ;;\n");
	}
	(void)printf("\t*)\n\t\t_tfq_files ;;\n");
}

void completion_bash(void)
{
	(void)printf("%s\t\t", head);
	completion_put_value_options(" | ");
	(void)printf(" | -chdir)\n"
		     "\t\t\t[[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n"
		     "\t\t\t((i++)) ;;\n"
		     "\t\t-*) ;;\n"
		     "\t\t*)\n"
		     "\t\t\tcommand=${COMP_WORDS[i]}\n"
		     "\t\t\tbreak ;;\n"
		     "\t\tesac\n"
		     "\tdone\n");
	put_commands();
	(void)printf("\tcase $command in\n\t'')\n");
	put_values(&command_run);
	put_options(&command_run);
	(void)printf("\t\t_tfq_words \"${commands[@]}\" \"${subcommands[@]}\" ;;\n");
	for (size_t i = 0; command_at(i); i++) {
		(void)printf("\t");
		completion_put_names(command_at(i), " | ");
		(void)printf(")\n");
		put_values(command_at(i));
		put_options(command_at(i));
		put_argument(command_at(i));
	}
	put_terraform();
	(void)printf("\tesac\n}\n\ncomplete -F _tfq tfq\n");
}
