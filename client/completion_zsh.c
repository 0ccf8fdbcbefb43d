/* SPDX-License-Identifier: MIT */
#include "client/completion.h"
#include "common/tfargs.h"

static const char head[] =
	"#compdef tfq\n"
	"# zsh completion for tfq, written by 'tfq completion zsh'.\n"
	"\n"
	"_tfq_ask()\n"
	"{\n"
	"\tlocal line\n"
	"\tlocal -a words shown\n"
	"\n"
	"\t[[ $PREFIX != -* ]] || return 1 # an option is being typed\n"
	"\tfor line in \"${(@f)$(tfq " COMPLETION_COMMAND " $1 2>/dev/null)}\"; do\n"
	"\t\t[[ -n $line ]] || continue\n"
	"\t\twords+=(\"${line%%$'\\t'*}\")\n"
	"\t\tshown+=(\"${line/$'\\t'/  -- }\")\n"
	"\tdone\n"
	"\tcompadd -l -d shown -a words\n"
	"}\n"
	"\n";

/* 'text', with what zsh's _arguments would take for its own. */
static void put_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'') {
			(void)printf("'\\''");
		} else {
			(void)printf("%s%c",
				     *text == ':' || *text == ']' || *text == '[' ? "\\" : "",
				     *text);
		}
	}
}

static void put_option(const struct command_option *option)
{
	const char *kind = completion_kind_of_value(option);

	if (option->letter) {
		(void)printf(" \\\n\t\t'(-%c --%s)'{-%c%s,--%s%s}'[", option->letter, option->name,
			     option->letter, option->value ? "+" : "", option->name,
			     option->value ? "=" : "");
	} else {
		(void)printf(" \\\n\t\t'--%s%s[", option->name, option->value ? "=" : "");
	}
	put_text(option->help);
	(void)printf("]");
	if (option->choices)
		(void)printf(":%s:(%s)", option->value, option->choices);
	else if (kind)
		(void)printf(":%s: _tfq_ask %s", option->value, kind);
	else if (completion_is_file(option))
		(void)printf(":%s:_files", option->value);
	else if (option->value)
		(void)printf(":%s: ", option->value);
	(void)printf("'");
}

static void put_options(const struct command *command)
{
	for (const struct command_option *option = command->options; option->name; option++)
		put_option(option);
	(void)printf(" \\\n\t\t'(- *)--help[print what there is]'");
}

static void put_argument(const struct command *command)
{
	const char *kind = completion_kind(command);

	if (kind) {
		(void)printf(" \\\n\t\t'%s:%s: _tfq_ask %s'",
			     command->takes == TAKES_JOBS ? "*" : "1",
			     command->takes == TAKES_STATE ? "state" : "job", kind);
	} else if (command->takes == TAKES_SHELL) {
		(void)printf(" \\\n\t\t'1:shell:(bash zsh fish)'");
	} else if (command->takes == TAKES_COMMAND) {
		(void)printf(" \\\n\t\t'1:command:_tfq_commands'");
	}
	(void)printf(" ;;\n");
}

static void put_commands(void)
{
	(void)printf("_tfq_commands()\n{\n\tlocal -a commands subcommands\n\n\tcommands=(\n");
	for (size_t i = 0; command_at(i); i++) {
		(void)printf("\t\t'%s:", command_at(i)->name);
		put_text(command_at(i)->help);
		(void)printf("'\n");
	}
	(void)printf("\t)\n\tsubcommands=(");
	completion_put_subcommands(NULL, " ");
	(void)printf(")\n\t_describe -t commands 'command' commands\n"
		     "\t_describe -t subcommands \"terraform's subcommand\" subcommands\n}\n\n");
}

static void put_terraform(void)
{
	for (size_t i = 0; tfargs_subcommand_at(i); i++) {
		const char *name = tfargs_subcommand_at(i);

		if (!completion_has_second(name))
			continue;
		(void)printf("\t(%s)\n\t\t_arguments '1:subcommand:(", name);
		completion_put_subcommands(name, " ");
		(void)printf(")' '*:file:_files' ;;\n");
	}
	(void)printf("\t(*)\n\t\t_files ;;\n");
}

void completion_zsh(void)
{
	(void)printf("%s", head);
	put_commands();
	(void)printf("_tfq()\n{\n\tlocal context state state_descr line curcontext=$curcontext\n"
		     "\ttypeset -A opt_args\n\n\t_arguments -s -S -C");
	put_options(&command_run);
	(void)printf(" \\\n\t\t'(- *)--version[print the version]'"
		     " \\\n\t\t'-chdir=-[where terraform runs]:directory:_files -/'"
		     " \\\n\t\t'(-): :->command' '(-)*:: :->rest' && return\n\n"
		     "\tcase $state in\n\t(command) _tfq_commands; return ;;\n\tesac\n"
		     "\tcase $words[1] in\n");
	for (size_t i = 0; command_at(i); i++) {
		(void)printf("\t(");
		completion_put_names(command_at(i), "|");
		(void)printf(")\n\t\t_arguments -s -S");
		put_options(command_at(i));
		put_argument(command_at(i));
	}
	put_terraform();
	(void)printf(
		"\tesac\n}\n\n"
		"# As a file in fpath it is the function; read by source, it has to say so.\n"
		"if [[ $funcstack[1] == _tfq ]]; then\n\t_tfq \"$@\"\nelse\n\tcompdef _tfq tfq\nfi\n");
}
