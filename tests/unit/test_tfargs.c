/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/tfargs.h"
#include "tests/unit/unit.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define WORDS_MAX    16
#define ENV_MAX      3

/* A vector of copies: "a|b c" has two words, "" has none, "a|" has "a" and an empty one. */
static char **split(const char *line)
{
	char **words = calloc(WORDS_MAX + 1, sizeof(*words));
	size_t count = 0;

	while (*line || (count > 0 && line[-1] == '|')) {
		const size_t len = strcspn(line, "|");

		ck_assert_uint_lt(count, WORDS_MAX);
		words[count++] = strndup(line, len);
		line += len;
		if (!*line)
			break;
		line++;
	}
	return words;
}

static char **copy_env(const char *const *env)
{
	char **words = calloc(ENV_MAX + 1, sizeof(*words));

	for (size_t i = 0; i < ENV_MAX && env[i]; i++)
		words[i] = strdup(env[i]);
	return words;
}

static void check_line(const char *name, char *const *line, const char *expect)
{
	char **want = split(expect);
	size_t i;

	for (i = 0; line[i] && want[i]; i++)
		ck_assert_msg(strcmp(line[i], want[i]) == 0, "%s: word %zu is %s, not %s", name, i,
			      line[i], want[i]);
	ck_assert_msg(!line[i] && !want[i], "%s: word %zu is %s, not %s", name, i,
		      line[i] ? line[i] : "the end", want[i] ? want[i] : "the end");
	tfargs_strv_free(want);
}

/* --- classes ------------------------------------------------------------------------------ */

static const struct { /* NOLINT(clang-analyzer-optin.performance.Padding): in reading order */
	const char *line;
	enum tfargs_class class;
	const char *subcommand;
	const char *operation;
	bool has_lock_timeout;
} classes[] = {
	/* clang-format off */
	{ "plan", TFARGS_LOCKS, "plan", "OperationTypePlan", true },
	{ "plan|-refresh-only", TFARGS_LOCKS, "plan", "OperationTypePlan", true },
	{ "plan|-destroy|-out|f", TFARGS_LOCKS, "plan", "OperationTypePlan", true },
	{ "apply", TFARGS_LOCKS, "apply", "OperationTypeApply", true },
	{ "apply|-refresh-only", TFARGS_LOCKS, "apply", "OperationTypeApply", true },
	{ "apply|plan.out", TFARGS_LOCKS, "apply", "OperationTypeApply", true },
	{ "destroy", TFARGS_LOCKS, "destroy", "OperationTypeApply", true },
	{ "refresh", TFARGS_LOCKS, "refresh", "OperationTypeRefresh", true },
	{ "import|a.b|id", TFARGS_LOCKS, "import", "OperationTypeInvalid", true },
	{ "taint|a.b", TFARGS_LOCKS, "taint", "taint", true },
	{ "untaint|a.b", TFARGS_LOCKS, "untaint", "untaint", true },
	{ "state|mv|a.b|a.c", TFARGS_LOCKS, "state mv", "state-mv", true },
	{ "state|rm|a.b", TFARGS_LOCKS, "state rm", "state-rm", true },
	{ "state|replace-provider|a|b", TFARGS_LOCKS, "state replace-provider", "state-replace-provider", true },
	{ "state|push|f", TFARGS_LOCKS, "state push", "state-push", true },
	{ "state|move|a|b", TFARGS_LOCKS, "state move", "state-mv", true },
	{ "state|remove|a", TFARGS_LOCKS, "state remove", "state-rm", true },
	{ "console", TFARGS_CHILD_LOCKS, "console", "OperationTypeInvalid", false },
	{ "workspace|new|w", TFARGS_CHILD_LOCKS, "workspace new", "init", false },
	{ "env|new|w", TFARGS_CHILD_LOCKS, "env new", "init", false },
	{ "workspace|delete|w", TFARGS_CHILD_LOCKS, "workspace delete", "state-replace-provider", false },
	{ "env|delete|w", TFARGS_CHILD_LOCKS, "env delete", "state-replace-provider", false },
	{ "state|migrate", TFARGS_CHILD_LOCKS, "state migrate", "migration source state", false },
	{ "init|-migrate-state", TFARGS_CHILD_LOCKS, "init", "migration source state", true },
	{ "init|-force-copy", TFARGS_CHILD_LOCKS, "init", "migration source state", true },
	{ "init|--migrate-state=1", TFARGS_CHILD_LOCKS, "init", "migration source state", true },
	{ "init|-migrate-state=false", TFARGS_READER, "init", "", false },
	{ "init|-force-copy=F|-migrate-state=0", TFARGS_READER, "init", "", false },
	{ "init|-migrate-state=false|-migrate-state", TFARGS_CHILD_LOCKS, "init", "migration source state", true },
	{ "init|-backend-config|-migrate-state", TFARGS_READER, "init", "", false },
	{ "init|x|-migrate-state", TFARGS_READER, "init", "", false },
	{ "init", TFARGS_READER, "init", "", false },
	{ "init|-reconfigure|-upgrade", TFARGS_READER, "init", "", false },
	{ "workspace|select|-or-create|w", TFARGS_READER, "workspace select", "", false },
	{ "force-unlock|id", TFARGS_READER, "force-unlock", "", false },
	{ "state|list", TFARGS_READER, "state list", "", false },
	{ "state|ls", TFARGS_READER, "state ls", "", false },
	{ "state|pull", TFARGS_READER, "state pull", "", false },
	{ "state|show|a", TFARGS_READER, "state show", "", false },
	{ "state|identities", TFARGS_READER, "state identities", "", false },
	{ "state", TFARGS_READER, "state", "", false },
	{ "state|nonsense", TFARGS_READER, "state", "", false },
	{ "state|-lock=false|rm|a", TFARGS_READER, "state", "", false },
	{ "show", TFARGS_READER, "show", "", false },
	{ "output|-json", TFARGS_READER, "output", "", false },
	{ "graph", TFARGS_READER, "graph", "", false },
	{ "providers", TFARGS_READER, "providers", "", false },
	{ "providers|schema", TFARGS_READER, "providers schema", "", false },
	{ "providers|lock", TFARGS_READER, "providers lock", "", false },
	{ "providers|mirror|d", TFARGS_READER, "providers mirror", "", false },
	{ "test", TFARGS_READER, "test", "", false },
	{ "query", TFARGS_READER, "query", "", false },
	{ "stacks", TFARGS_READER, "stacks", "", false },
	{ "rpcapi", TFARGS_READER, "rpcapi", "", false },
	{ "validate", TFARGS_READER, "validate", "", false },
	{ "fmt", TFARGS_READER, "fmt", "", false },
	{ "get", TFARGS_READER, "get", "", false },
	{ "version", TFARGS_READER, "version", "", false },
	{ "modules", TFARGS_READER, "modules", "", false },
	{ "metadata", TFARGS_READER, "metadata", "", false },
	{ "metadata|functions", TFARGS_READER, "metadata functions", "", false },
	{ "login", TFARGS_READER, "login", "", false },
	{ "logout", TFARGS_READER, "logout", "", false },
	{ "workspace", TFARGS_READER, "workspace", "", false },
	{ "workspace|list", TFARGS_READER, "workspace list", "", false },
	{ "workspace|show", TFARGS_READER, "workspace show", "", false },
	{ "env", TFARGS_READER, "env", "", false },
	{ "env|list", TFARGS_READER, "env list", "", false },
	{ "env|select|w", TFARGS_READER, "env select", "", false },

	{ "", TFARGS_READER, NULL, "", false },
	{ "--|apply", TFARGS_READER, NULL, "", false },
	{ "-chdir=x", TFARGS_READER, NULL, "", false },
	{ "nonsense", TFARGS_UNKNOWN, NULL, "", false },
	{ "aply|-auto-approve", TFARGS_UNKNOWN, NULL, "", false },
	{ "state rm|a", TFARGS_UNKNOWN, NULL, "", false },
	{ "state mv|x", TFARGS_UNKNOWN, NULL, "", false },
	{ "Apply", TFARGS_UNKNOWN, NULL, "", false },
	{ "|apply", TFARGS_LOCKS, "apply", "OperationTypeApply", true },

	{ "-help", TFARGS_READER, NULL, "", false },
	{ "-version", TFARGS_READER, NULL, "", false },
	{ "-v|apply", TFARGS_READER, "apply", "", false },
	{ "-help|apply", TFARGS_READER, "apply", "", false },
	{ "nonsense|-help", TFARGS_READER, NULL, "", false },
	{ "apply|-help", TFARGS_READER, "apply", "", false },
	{ "apply|--help|-lock=no", TFARGS_READER, "apply", "", false },
	{ "apply|-h", TFARGS_READER, "apply", "", false },
	{ "apply|-v", TFARGS_READER, "apply", "", false },
	{ "apply|plan|--version", TFARGS_READER, "apply", "", false },
	{ "state|rm|a|-help", TFARGS_READER, "state rm", "", false },
	{ "apply|-var|-help", TFARGS_READER, "apply", "", false },
	{ "apply|--|-help", TFARGS_LOCKS, "apply", "OperationTypeApply", true },
	{ "apply|--|-v", TFARGS_READER, "apply", "", false },
	{ "workspace|new|-help", TFARGS_READER, "workspace new", "", false },

	{ "state|mv|-state=f|a|b", TFARGS_CHILD_LOCKS, "state mv", "state-mv", true },
	{ "state|mv|-state-out|f|a|b", TFARGS_CHILD_LOCKS, "state mv", "state-mv", true },
	{ "state|mv|-state=|a|b", TFARGS_LOCKS, "state mv", "state-mv", true },
	{ "state|rm|a|-state=f", TFARGS_LOCKS, "state rm", "state-rm", true },
	/* clang-format on */
};

START_TEST(line_has_its_class)
{
	static char *env[] = { NULL };
	char **argv = split(classes[_i].line);
	struct tfargs args = { .class = TFARGS_UNKNOWN };
	char *error = NULL;
	int r;

	r = tfargs_parse(&args, argv, env, &error);
	ck_assert_msg(r == 0, "%s: %d %s", classes[_i].line, r, error);
	ck_assert_msg(args.class == classes[_i].class, "%s: class %d", classes[_i].line,
		      (int)args.class);
	ck_assert_msg(classes[_i].subcommand
			      ? args.subcommand &&
					strcmp(args.subcommand, classes[_i].subcommand) == 0
			      : !args.subcommand,
		      "%s: %s", classes[_i].line, args.subcommand ? args.subcommand : "NULL");
	ck_assert_msg(strcmp(args.operation, classes[_i].operation) == 0, "%s: %s",
		      classes[_i].line, args.operation);
	ck_assert_msg(args.has_lock_timeout == classes[_i].has_lock_timeout, "%s",
		      classes[_i].line);
	ck_assert_msg((args.why_child != NULL) == (args.class == TFARGS_CHILD_LOCKS), "%s",
		      classes[_i].line);
	tfargs_strv_free(argv);
}
END_TEST

/* --- the details -------------------------------------------------------------------------- */

static const struct {
	const char *line;
	const char *plan_file;
} plans[] = {
	/* clang-format off */
	{ "apply", NULL },
	{ "apply|p", "p" },
	{ "apply|-auto-approve|p", "p" },
	{ "apply|-var|a=b|p", "p" },
	{ "apply|--var|a=b|p", "p" },
	{ "apply|-var=a=b|p", "p" },
	{ "apply|-var|p", NULL },
	{ "apply|-lock-timeout|3s|-parallelism|2|-target|a.b|-var-file|f|-backup|g|p", "p" },
	{ "apply|-lock|p", "p" },
	{ "apply|-lock|false", "false" }, /* a boolean takes no next word */
	{ "apply|--|p", "p" },
	{ "apply|--", NULL },
	{ "apply|--|", NULL },
	{ "apply|-", "-" },
	{ "apply|", NULL }, /* terraform takes "" for no plan */
	{ "apply|-some-new-flag|p", "p" },
	{ "apply|p|q", "p" },
	{ "destroy|p", NULL },
	{ "plan|p", NULL },
	/* clang-format on */
};

START_TEST(plan_file_is_the_first_positional)
{
	static char *env[] = { NULL };
	char **argv = split(plans[_i].line);
	struct tfargs args;
	char *error = NULL;

	ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
	ck_assert_str_eq(args.plan_file, plans[_i].plan_file ? plans[_i].plan_file : "");
	ck_assert_int_eq(args.class, TFARGS_LOCKS);
	tfargs_strv_free(argv);
}
END_TEST

static const struct {
	const char *line;
	const char *env;
	const char *plan_file;
	const char *why_child; /* a part of it */
} child_plans[] = {
	{ "apply", "TF_CLI_ARGS_apply=plan.out", "plan.out", "TF_CLI_ARGS*" },
	{ "apply|-input=false", "TF_CLI_ARGS_apply=-no-color 'a plan'", "a plan", "TF_CLI_ARGS*" },
	{ "apply|q", "TF_CLI_ARGS=p", "p", "TF_CLI_ARGS*" },
	{ "apply|p", "TF_CLI_ARGS=--", "p", "TF_CLI_ARGS*" },
	{ "apply|-state=x|p", NULL, "p", "-state" },
	{ "apply", "TF_CLI_ARGS=-state=x p", "p", "-state" },
};

START_TEST(plan_may_be_one_that_terraform_must_lock)
{
	AUTO_FREE char *copy = child_plans[_i].env ? strdup(child_plans[_i].env) : NULL;
	char *env[] = { copy, NULL };
	char **argv = split(child_plans[_i].line);
	struct tfargs args;
	char **line = NULL;
	char *error = NULL;

	ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
	ck_assert_str_eq(args.plan_file, child_plans[_i].plan_file);
	ck_assert_int_eq(args.class, TFARGS_CHILD_LOCKS);
	ck_assert_msg(strstr(args.why_child, child_plans[_i].why_child), "%s", args.why_child);
	ck_assert(!args.is_interactive);

	/* Behind a plan of TF_CLI_ARGS* ours would be one word too many. */
	ck_assert_int_eq(args.has_lock_timeout, !copy);
	ck_assert_int_eq(tfargs_build(&line, &args, argv, false, "1h"), 0);
	ck_assert_int_eq(strcmp(line[1] ? line[1] : "", "-lock-timeout=1h") == 0, !copy);
	tfargs_strv_free(line);
	tfargs_strv_free(argv);
}
END_TEST

START_TEST(plan_with_too_long_a_path_is_refused)
{
	static char *env[] = { NULL };
	char path[PATH_MAX + 1];
	char word[] = "apply";
	char *argv[] = { word, path, NULL };
	AUTO_FREE char *error = NULL;
	struct tfargs args;

	memset(path, 'p', sizeof(path));
	path[PATH_MAX] = '\0';
	ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), -EINVAL);
	ck_assert_msg(strstr(error, "too long a path"), "%s", error);
	path[PATH_MAX - 1] = '\0';
	ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
	ck_assert_str_eq(args.plan_file, path);
}
END_TEST

static const struct {
	const char *line;
	const char *env;
	bool expect;
} interactive[] = {
	/* clang-format off */
	{ "apply", NULL, true },
	{ "apply|-auto-approve", NULL, true }, /* for variables */
	{ "apply|-auto-approve|-input=false", NULL, false },
	{ "apply|-auto-approve=false|-input=false", NULL, true },
	{ "apply|-auto-approve|-input=false|-input", NULL, true },
	{ "apply|-input=false", NULL, true }, /* for the approval */
	{ "apply|-auto-approve", "TF_INPUT=0", false },
	{ "apply|-auto-approve", "TF_INPUT=false", false },
	{ "apply|-auto-approve", "TF_INPUT=no", true }, /* not a boolean */
	{ "apply|-auto-approve", "TF_INPUT=", true },
	{ "apply|-auto-approve|-json", NULL, false },
	{ "apply|p", NULL, false },
	{ "apply", "TF_CLI_ARGS=-auto-approve -input=false", false },
	{ "apply", "TF_CLI_ARGS_apply=-auto-approve -input=false", false },
	{ "destroy|-auto-approve|-input=false", "TF_CLI_ARGS_apply=-input", false },
	{ "destroy|-input=false", NULL, true },
	{ "plan", NULL, true },
	{ "plan|-input=false", NULL, false },
	{ "refresh|-input=0", NULL, false },
	{ "import|a|b", NULL, true },
	{ "state|rm|a", NULL, false },
	{ "state|replace-provider|a|b", NULL, true },
	{ "state|replace-provider|-auto-approve|a|b", NULL, false },
	{ "state|replace-provider|a|-auto-approve", NULL, true },
	{ "console", NULL, true },
	{ "console", "TF_INPUT=0", true },
	{ "workspace|new|w", NULL, false },
	{ "init|-migrate-state", NULL, true },
	{ "init|-migrate-state|-input=false", NULL, false },
	{ "init", NULL, false }, /* not queued */
	{ "login", NULL, false },
	/* clang-format on */
};

START_TEST(questions_are_foreseen)
{
	const char *const variables[ENV_MAX] = { interactive[_i].env };
	char **argv = split(interactive[_i].line);
	char **env = copy_env(variables);
	struct tfargs args;
	char *error = NULL;
	int r;

	r = tfargs_parse(&args, argv, env, &error);
	ck_assert_msg(r == 0, "%s: %s", interactive[_i].line, error);
	ck_assert_msg(args.is_interactive == interactive[_i].expect, "%s, %s", interactive[_i].line,
		      interactive[_i].env ? interactive[_i].env : "");
	tfargs_strv_free(env);
	tfargs_strv_free(argv);
}
END_TEST

START_TEST(chdir_stands_before_the_subcommand)
{
	static char *env[] = { NULL };
	char **argv = split("-chdir=a b=c|apply|-auto-approve|p");
	struct tfargs args;
	char *error = NULL;

	ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
	ck_assert_str_eq(args.chdir, "a b=c");
	ck_assert_uint_eq(args.words_end, 2);
	ck_assert_uint_eq(args.flags_end, 3);
	tfargs_strv_free(argv);

	argv = split("-chdir=d|state|rm|-lock=false|a|-lock");
	ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
	ck_assert_uint_eq(args.words_end, 3);
	ck_assert_uint_eq(args.flags_end, 4);
	tfargs_strv_free(argv);
}
END_TEST

/* --- what is refused ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *line;
	const char *env[ENV_MAX];
	const char *says; /* NULL: is fine */
} refused[] = {
	/* clang-format off */
	{ "two -chdir", "-chdir=a|-chdir=b|apply", { NULL }, "twice" },
	{ "-chdir without =", "-chdir|a|apply", { NULL }, "-chdir=DIR" },
	{ "-chdir without a value", "-chdir=|apply", { NULL }, "-chdir=DIR" },
	{ "-chdir behind an empty word", "|-chdir=a|apply", { NULL }, "-chdir" },
	{ "-chdir behind the subcommand", "apply|-chdir=a", { NULL }, "before the subcommand" },
	{ "--chdir behind the subcommand", "plan|-out|f|--chdir=a", { NULL }, "before the subcommand" },
	{ "-chdir as a value", "plan|-out|-chdir=a", { NULL }, NULL },
	{ "-chdir behind the subcommand of a reader", "output|-chdir=a", { NULL }, NULL },
	{ "--chdir", "--chdir=a|apply", { NULL }, "before the subcommand" },
	{ "flag before the subcommand", "-auto-approve|apply", { NULL }, "before the subcommand" },

	{ "-lock=no", "apply|-lock=no", { NULL }, "boolean" },
	{ "-lock=", "apply|-lock=", { NULL }, "boolean" },
	{ "-lock=T", "apply|-lock=T", { NULL }, NULL },
	{ "-input=nope", "apply|-input=nope", { NULL }, "boolean" },
	{ "-lock=no behind a positional", "state|rm|a|-lock=no", { NULL }, NULL },
	{ "-lock-timeout=3", "apply|-lock-timeout=3", { NULL }, "-lock-timeout" },
	{ "-lock-timeout=", "apply|-lock-timeout=", { NULL }, "-lock-timeout" },
	{ "-lock-timeout x", "apply|-lock-timeout|x", { NULL }, "-lock-timeout" },
	{ "-lock-timeout=.s", "apply|-lock-timeout=.s", { NULL }, "-lock-timeout" },
	{ "-lock-timeout=1h2", "apply|-lock-timeout=1h2", { NULL }, "-lock-timeout" },
	{ "-lock-timeout=1 s", "apply|-lock-timeout=1 s", { NULL }, "-lock-timeout" },
	{ "-lock-timeout at the end", "apply|-lock-timeout", { NULL }, "needs a value" },
	{ "-var at the end", "apply|-var", { NULL }, "needs a value" },
	{ "0", "apply|-lock-timeout=0", { NULL }, NULL },
	{ "negative", "apply|-lock-timeout=-1.5h", { NULL }, NULL },
	{ "two units", "apply|-lock-timeout=1h30m.5s", { NULL }, NULL },
	{ "small units", "apply|-lock-timeout=+1ms2us3ns4\xc2\xb5s", { NULL }, NULL },

	{ "positional in TF_CLI_ARGS", "plan", { "TF_CLI_ARGS=x" }, "TF_CLI_ARGS" },
	{ "positional in TF_CLI_ARGS_plan", "plan", { "TF_CLI_ARGS_plan=-input=false x" }, "\"x\"" },
	{ "empty plan file in TF_CLI_ARGS_apply", "apply", { "TF_CLI_ARGS_apply=''" }, "empty" },
	{ "-- without a plan file in TF_CLI_ARGS", "apply", { "TF_CLI_ARGS=--" }, "\"--\"" },
	{ "-- before an empty plan file", "apply|", { "TF_CLI_ARGS=--" }, "\"--\"" },
	{ "plan file in TF_CLI_ARGS_destroy", "destroy", { "TF_CLI_ARGS_destroy=p" }, "\"p\"" },
	{ "plan file behind a flag that takes it", "apply|p", { "TF_CLI_ARGS=-var" }, "lacks its value" },
	{ "-- in TF_CLI_ARGS", "plan", { "TF_CLI_ARGS=--" }, "\"--\"" },
	{ "empty word in TF_CLI_ARGS", "plan", { "TF_CLI_ARGS=-input=false ''" }, "empty" },
	{ "value missing in TF_CLI_ARGS", "apply", { "TF_CLI_ARGS=-var" }, "needs a value" },
	{ "value that TF_CLI_ARGS would take from us", "apply|-auto-approve", { "TF_CLI_ARGS=-var" }, "lacks its value" },
	{ "value from the other variable", "plan", { "TF_CLI_ARGS_plan=-var", "TF_CLI_ARGS=a=b" }, NULL },
	{ "-lock=no in TF_CLI_ARGS", "plan", { "TF_CLI_ARGS=-lock=no" }, "boolean" },
	{ "that of another subcommand", "plan", { "TF_CLI_ARGS_apply=x --" }, NULL },
	{ "that of apply is not that of destroy", "destroy", { "TF_CLI_ARGS_apply=x" }, NULL },
	{ "that of destroy", "destroy", { "TF_CLI_ARGS_destroy=x" }, "\"x\"" },
	{ "two words", "state|rm|a", { "TF_CLI_ARGS_state_rm=x" }, "\"x\"" },
	{ "a dash", "state|replace-provider|a|b", { "TF_CLI_ARGS_state_replace_provider=x" }, "\"x\"" },
	{ "readers may", "output", { "TF_CLI_ARGS=x" }, NULL },
	{ "init may", "init", { "TF_CLI_ARGS=x" }, NULL },
	{ "what locks itself may", "console", { "TF_CLI_ARGS=x" }, NULL },
	{ "new workspaces may", "workspace|new", { "TF_CLI_ARGS_workspace_new=x" }, NULL },

	{ "quote without end", "plan", { "TF_CLI_ARGS=\"a" }, "cannot be split" },
	{ "single quote without end", "plan", { "TF_CLI_ARGS=-var='a" }, "cannot be split" },
	{ "backslash at the end", "plan", { "TF_CLI_ARGS=a\\" }, "cannot be split" },
	{ "backtick", "plan", { "TF_CLI_ARGS=-var=a=`x`" }, "cannot be split" },
	{ "parenthesis", "plan", { "TF_CLI_ARGS=$(x)" }, "cannot be split" },
	{ "odd, but quoted", "plan", { "TF_CLI_ARGS=-var='a=`(;&|<>\"\\' -var=\"b=')\"" }, NULL },
	{ "odd for readers", "output", { "TF_CLI_ARGS=\"" }, NULL },
	{ "quoted blanks", "plan", { "TF_CLI_ARGS=-var 'a=b c' -var a\\ b=c\t-input=\"false\"\n" }, NULL },
	{ "all behind a semicolon is dropped", "plan", { "TF_CLI_ARGS=-input=false;x" }, NULL },
	{ "help in TF_CLI_ARGS", "plan|-lock=no", { "TF_CLI_ARGS=-help" }, NULL },
	{ "version in TF_CLI_ARGS", "plan|-lock=no", { "TF_CLI_ARGS_plan=x -v" }, NULL },
	/* clang-format on */
};

START_TEST(bad_line_is_refused)
{
	char **argv = split(refused[_i].line);
	char **env = copy_env(refused[_i].env);
	struct tfargs args = { .class = TFARGS_UNKNOWN };
	char *error = NULL;
	int r;

	r = tfargs_parse(&args, argv, env, &error);
	ck_assert_msg(r == (refused[_i].says ? -EINVAL : 0), "%s: %d %s", refused[_i].name, r,
		      error);
	if (refused[_i].says) {
		ck_assert_msg(error && strstr(error, refused[_i].says), "%s: %s", refused[_i].name,
			      error);
		ck_assert_int_eq(args.class, TFARGS_UNKNOWN);
	} else {
		ck_assert_ptr_null(error);
	}
	free(error);
	tfargs_strv_free(env);
	tfargs_strv_free(argv);
}
END_TEST

START_TEST(environment_counts_for_the_class)
{
	static const struct {
		const char *line;
		const char *env;
		enum tfargs_class class;
	} cases[] = {
		{ "init", "TF_CLI_ARGS=-migrate-state", TFARGS_CHILD_LOCKS },
		{ "init", "TF_CLI_ARGS_init=-force-copy", TFARGS_CHILD_LOCKS },
		{ "init|-migrate-state=false", "TF_CLI_ARGS_init=-migrate-state", TFARGS_READER },
		{ "apply", "TF_CLI_ARGS=-help", TFARGS_READER },
		{ "apply", "TF_CLI_ARGS=-v", TFARGS_READER },
		{ "apply|p", "TF_CLI_ARGS=-input=false", TFARGS_LOCKS },
		{ "state|mv|a|b", "TF_CLI_ARGS_state_mv=-state=f", TFARGS_CHILD_LOCKS },
	};

	for (int i = 0; i < COUNT(cases); i++) {
		const char *const variables[ENV_MAX] = { cases[i].env };
		char **argv = split(cases[i].line);
		char **env = copy_env(variables);
		struct tfargs args;
		char *error = NULL;

		ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
		ck_assert_msg(args.class == cases[i].class, "%s %s", cases[i].line, cases[i].env);
		tfargs_strv_free(env);
		tfargs_strv_free(argv);
	}
}
END_TEST

/* --- the line to run ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *line;
	const char *env;
	bool hold_lock;
	const char *expect;
} lines[] = {
	/* clang-format off */
	{ "apply", "apply", NULL, true, "apply|-lock=false" },
	{ "two words", "-chdir=d|state|rm|a", NULL, true, "-chdir=d|state|rm|-lock=false|a" },
	{ "-lock goes", "apply|-lock", NULL, true, "apply|-lock=false" },
	{ "--lock goes", "apply|--lock|-input=false", NULL, true, "apply|-lock=false|-input=false" },
	{ "-lock=true goes", "apply|-auto-approve|-lock=true", NULL, true, "apply|-lock=false|-auto-approve" },
	{ "-lock=false goes", "apply|-lock=false|--lock=0", NULL, true, "apply|-lock=false" },
	{ "-lock-timeout=3s goes", "apply|-lock-timeout=3s|-json", NULL, true, "apply|-lock=false|-json" },
	{ "-lock-timeout 3s goes", "apply|--lock-timeout|3s|-json", NULL, true, "apply|-lock=false|-json" },
	{ "a value that looks like it stays", "apply|-var|-lock=true|-target|--lock", NULL, true,
	  "apply|-lock=false|-var|-lock=true|-target|--lock" },
	{ "what is called alike stays", "apply|-lockfile=x|-locks", NULL, true, "apply|-lock=false|-lockfile=x|-locks" },
	{ "behind a positional it stays", "state|rm|-lock|a|-lock=false|-lock-timeout|3s", NULL, true,
	  "state|rm|-lock=false|a|-lock=false|-lock-timeout|3s" },
	{ "behind -- it stays", "state|rm|-lock|--|-lock", NULL, true, "state|rm|-lock=false|--|-lock" },
	{ "before a plan", "apply|-lock=true|-json|p", NULL, true, "apply|-lock=false|-json|p" },
	{ "behind a plan it stays", "apply|p|-lock", NULL, true, "apply|-lock=false|p|-lock" },
	{ "empty words stay", "import||-lock", NULL, true, "import|-lock=false||-lock" },
	{ "the environment's stay there", "apply", "TF_CLI_ARGS=-lock=true", true, "apply|-lock=false" },

	{ "not held: a timeout", "apply|-json|p", NULL, false, "apply|-lock-timeout=1h|-json|p" },
	{ "not held: the user's", "apply|-lock-timeout=3s|p", NULL, false, "apply|-lock-timeout=3s|p" },
	{ "not held: the user's, in two words", "apply|--lock-timeout|3s|p", NULL, false, "apply|--lock-timeout|3s|p" },
	{ "not held: the environment's", "apply|p", "TF_CLI_ARGS=-lock-timeout=3s", false, "apply|p" },
	{ "not held: the environment's own", "apply|p", "TF_CLI_ARGS_apply=-lock-timeout 3s", false, "apply|p" },
	{ "not held: that of another", "apply|p", "TF_CLI_ARGS_plan=-lock-timeout=3s", false, "apply|-lock-timeout=1h|p" },
	{ "not held: behind a positional", "state|rm|a|-lock-timeout=3s", NULL, false,
	  "state|rm|-lock-timeout=1h|a|-lock-timeout=3s" },
	{ "not held: -lock stays", "plan|-lock=false|-lock", NULL, false, "plan|-lock-timeout=1h|-lock=false|-lock" },
	{ "not held: console knows none", "console", NULL, false, "console" },
	{ "not held: new ignores it", "workspace|new|w", NULL, false, "workspace|new|w" },
	{ "not held: delete ignores it", "workspace|delete|-force|w", NULL, false, "workspace|delete|-force|w" },
	{ "not held: a migration", "init|-migrate-state", NULL, false, "init|-lock-timeout=1h|-migrate-state" },
	{ "not held: a migration, and a positional in the environment", "init|-migrate-state", "TF_CLI_ARGS=-migrate-state x",
	  false, "init|-migrate-state" },
	{ "not held: a migration, and a flag that would swallow ours", "init|x", "TF_CLI_ARGS=-force-copy -plugin-dir",
	  false, "init|x" },
	{ "not held: plain init", "init|-upgrade", NULL, false, "init|-upgrade" },
	{ "readers stay", "-chdir=d|output|-json|a", NULL, false, "-chdir=d|output|-json|a" },
	{ "help stays", "apply|-lock|-help", NULL, false, "apply|-lock|-help" },
	{ "the unknown stays", "aply|-lock", NULL, false, "aply|-lock" },
	{ "nothing stays", "", NULL, false, "" },
	/* clang-format on */
};

START_TEST(line_is_built)
{
	const char *const variables[ENV_MAX] = { lines[_i].env };
	char **argv = split(lines[_i].line);
	char **env = copy_env(variables);
	struct tfargs args;
	char *error = NULL;
	char **line = NULL;
	int r;

	r = tfargs_parse(&args, argv, env, &error);
	ck_assert_msg(r == 0, "%s: %s", lines[_i].name, error);
	ck_assert_int_eq(tfargs_build(&line, &args, argv, lines[_i].hold_lock, "1h"), 0);
	check_line(lines[_i].name, line, lines[_i].expect);
	ck_assert_ptr_null(tfargs_strv_free(line));
	tfargs_strv_free(env);
	tfargs_strv_free(argv);
}
END_TEST

START_TEST(no_lock_is_held_for_what_locks_itself)
{
	static char *env[] = { NULL };
	static const char *const cases[] = { "apply|-state=s|p", "console", "output",
					     "init|-force-copy", "aply" };

	for (int i = 0; i < COUNT(cases); i++) {
		char **argv = split(cases[i]);
		struct tfargs args;
		char *error = NULL;
		char **line = NULL;

		ck_assert_int_eq(tfargs_parse(&args, argv, env, &error), 0);
		ck_assert_int_eq(tfargs_build(&line, &args, argv, true, "1h"), -EINVAL);
		ck_assert_ptr_null(line);
		tfargs_strv_free(argv);
	}
}
END_TEST

/* Whatever is thrown at it: no crash, and a held line has exactly one -lock flag before its
 * positionals. */
START_TEST(random_lines_are_survived)
{
	static const char *const parts[] = { "apply",   "state", "rm",          "mv",
					     "init",    "-lock", "--lock=true", "-lock-timeout",
					     "3s",      "-var",  "a=b",         "--",
					     "-",       "",      "p",           "-chdir=x",
					     "plan",    "-help", "-state",      "workspace",
					     "new",     "---x",  "-=x",         "-x=",
					     "-input=f" };
	unsigned int seed = 1;

	for (int round = 0; round < 20000; round++) {
		char *argv[8] = { NULL };
		char *env[] = { NULL, NULL };
		const char *const variables[] = { "TF_CLI_ARGS=-var", "TF_CLI_ARGS=-lock p",
						  "TF_CLI_ARGS_apply=--",
						  "TF_CLI_ARGS=-lock-timeout=1s", "X=y" };
		struct tfargs args;
		char *error = NULL;
		char **line = NULL;
		int r;

		for (int i = 0; i < rand_r(&seed) % 8; i++)
			argv[i] = strdup(parts[rand_r(&seed) % COUNT(parts)]);
		env[0] = strdup(variables[rand_r(&seed) % COUNT(variables)]);
		r = tfargs_parse(&args, argv, env, &error);
		ck_assert((r == 0) == (error == NULL));
		if (r == 0 && args.class == TFARGS_LOCKS) {
			ck_assert_int_eq(tfargs_build(&line, &args, argv, true, NULL), 0);
			ck_assert_str_eq(line[args.words_end], "-lock=false");
			tfargs_strv_free(line);
		} else if (r == 0) {
			ck_assert_int_eq(tfargs_build(&line, &args, argv, false, "1h"), 0);
			tfargs_strv_free(line);
		}
		free(error);
		free(env[0]);
		for (int i = 0; i < COUNT(argv); i++)
			free(argv[i]);
	}
}
END_TEST

static const struct {
	const char *word;
	const char *expect;
} typos[] = {
	/* clang-format off */
	{ "aply", "apply" }, { "appyl", "apply" }, { "applyy", "apply" }, { "paln", "plan" }, { "pln", "plan" },
	{ "destory", "destroy" }, { "improt", "import" }, { "refesh", "refresh" }, { "outptu", "output" },
	{ "vaildate", "validate" }, { "worksapce", "workspace" }, { "force-unlok", "force-unlock" },
	{ "state mvv", "state mv" }, { "kubectl", NULL }, { "x", NULL }, { "", NULL },
	{ "a-word-that-is-longer-than-any-subcommand-that-there-could-possibly-be", NULL },
	/* clang-format on */
};

START_TEST(typo_gets_a_suggestion)
{
	const char *found = tfargs_suggest(typos[_i].word);

	if (typos[_i].expect) {
		ck_assert_msg(found && strcmp(found, typos[_i].expect) == 0, "%s: %s",
			      typos[_i].word, found ? found : "NULL");
	} else {
		ck_assert_msg(!found, "%s: %s", typos[_i].word, found);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, line_has_its_class, 0, COUNT(classes));
	tcase_add_loop_test(tcase, plan_file_is_the_first_positional, 0, COUNT(plans));
	tcase_add_loop_test(tcase, plan_may_be_one_that_terraform_must_lock, 0, COUNT(child_plans));
	tcase_add_test(tcase, plan_with_too_long_a_path_is_refused);
	tcase_add_loop_test(tcase, questions_are_foreseen, 0, COUNT(interactive));
	tcase_add_test(tcase, chdir_stands_before_the_subcommand);
	tcase_add_loop_test(tcase, bad_line_is_refused, 0, COUNT(refused));
	tcase_add_test(tcase, environment_counts_for_the_class);
	tcase_add_loop_test(tcase, line_is_built, 0, COUNT(lines));
	tcase_add_test(tcase, no_lock_is_held_for_what_locks_itself);
	tcase_add_test(tcase, random_lines_are_survived);
	tcase_add_loop_test(tcase, typo_gets_a_suggestion, 0, COUNT(typos));
}

int main(void)
{
	return unit_main("tfargs", add_tests);
}
