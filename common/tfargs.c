/* SPDX-License-Identifier: MIT */
#include "common/tfargs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/env.h"
#include "common/explain.h"
#include "common/tfargs_parts.h"

/* What the flags before the first positional say. */
struct flags {
	size_t end;             /* index of the first positional or "--", or the count */
	const char *positional; /* the first one, NULL if there is none */
	bool swallows_ours; /* the last flag of TF_CLI_ARGS* takes its value from behind there */
	bool lock_timeout;
	bool lock;
	bool auto_approve;
	bool input;
	bool json;
	bool migrate;
	bool force_copy;
	bool names_state;
};

/* One flag, as Go's flag package reads it. */
struct flag {
	const char *name;
	size_t len;
	const char *value; /* NULL: none was given */
	bool takes_value;
	size_t words; /* 1, or 2 if the value is the next word */
};

static bool is_help(const char *word)
{
	return strcmp(word, "-h") == 0 || strcmp(word, "-help") == 0 || strcmp(word, "--help") == 0;
}

static bool is_version(const char *word)
{
	return strcmp(word, "-v") == 0 || strcmp(word, "-version") == 0 ||
	       strcmp(word, "--version") == 0;
}

/* What stands before the subcommand. *@i ends at the subcommand's word, or at argv's end. */
static int read_globals(struct tfargs *args, char *const *argv, size_t *i, char **ret_error)
{
	bool can_chdir = true;

	for (; argv[*i] && (argv[*i][0] == '-' || !argv[*i][0]); ++*i) {
		const char *word = argv[*i];

		if (strcmp(word, "--") == 0)
			return 0;
		if (!*word) {
			can_chdir = false; /* terraform skips it, but looks for -chdir no further */
		} else if (is_help(word) || is_version(word)) {
			continue;
		} else if (can_chdir &&
			   (strcmp(word, "-chdir") == 0 || strcmp(word, "-chdir=") == 0)) {
			return explain(
				ret_error, -EINVAL,
				"-chdir needs its directory behind an equals sign: -chdir=DIR");
		} else if (can_chdir && !args->chdir && strncmp(word, "-chdir=", 7) == 0) {
			args->chdir = word + 7;
		} else if (strncmp(word, "-chdir=", 7) == 0) {
			return explain(ret_error, -EINVAL, "-chdir is given twice: drop one");
		} else {
			return explain(
				ret_error, -EINVAL,
				"\"%.64s\" stands before the subcommand, where terraform takes "
				"-chdir=DIR, -help and -version only: put it behind",
				word);
		}
	}
	return 0;
}

static const struct tfargs_command *find_command(char *const *argv, size_t i, size_t *ret_end)
{
	const struct tfargs_command *command;
	char name[TFARGS_NAME_MAX];
	int len;

	if (argv[i + 1]) {
		len = snprintf(name, sizeof(name), "%s %s", argv[i], argv[i + 1]);
		command = len < (int)sizeof(name) ? tfargs_command_find(name) : NULL;
		if (command && !strchr(argv[i], ' ') && argv[i][0]) {
			*ret_end = i + 2;
			return command;
		}
	}

	command = strchr(argv[i], ' ') ? NULL : tfargs_command_find(argv[i]);
	*ret_end = command ? i + 1 : 0;
	return command;
}

/* -help counts anywhere before "--", -version even behind it: both win over everything else. */
static bool asks_help(char *const *argv)
{
	bool flags = true;

	for (; argv && *argv; argv++) {
		if (is_version(*argv))
			return true;
		if (strcmp(*argv, "--") == 0)
			flags = false;
		if (flags && is_help(*argv))
			return true;
	}
	return false;
}

/* Split @words[@i] into a flag. Return: false if it ends the flags. */
static bool next_flag(char *const *words, size_t i, struct flag *ret)
{
	const char *word = words[i];
	const char *equals;

	if (!word || word[0] != '-' || !word[1] || strcmp(word, "--") == 0)
		return false;

	word += word[1] == '-' ? 2 : 1;
	equals = strchr(word, '=');
	*ret = (struct flag){
		.name = word,
		.len = equals ? (size_t)(equals - word) : strlen(word),
		.value = equals ? equals + 1 : NULL,
		.words = 1,
	};
	ret->takes_value = tfargs_flag_takes_value(ret->name, ret->len);
	if (!equals && ret->takes_value && words[i + 1]) {
		ret->value = words[i + 1];
		ret->words = 2;
	}
	return true;
}

static bool flag_is(const struct flag *flag, const char *name)
{
	return strlen(name) == flag->len && memcmp(flag->name, name, flag->len) == 0;
}

/* Where a boolean flag of ours is kept; NULL if @flag is none. */
static bool *find_bool(struct flags *flags, const struct flag *flag)
{
	const struct {
		const char *name;
		bool *field;
	} bools[] = {
		{ "lock", &flags->lock },
		{ "auto-approve", &flags->auto_approve },
		{ "input", &flags->input },
		{ "json", &flags->json },
		{ "migrate-state", &flags->migrate },
		{ "force-copy", &flags->force_copy },
	};

	for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++)
		if (flag_is(flag, bools[i].name))
			return bools[i].field;
	return NULL;
}

static int apply_value_flag(struct flags *flags, const struct flag *flag, char **ret_error)
{
	if (!flag->value)
		return explain(ret_error, -EINVAL, "-%.*s needs a value", (int)flag->len,
			       flag->name);

	if (flag_is(flag, "lock-timeout")) {
		flags->lock_timeout = true;
		if (!tfargs_is_duration(flag->value)) {
			return explain(
				ret_error, -EINVAL,
				"-lock-timeout=%.32s: not a time, write for example 30s or 10m",
				flag->value);
		}
	}
	if (flag_is(flag, "state") || flag_is(flag, "state-out"))
		flags->names_state |= flag->value[0] != '\0';
	return 0;
}

/* Note what one flag means to us; if it is unknown or out of place, that is terraform's business.
 */
static int apply_flag(struct flags *flags, const struct flag *flag, char **ret_error)
{
	bool *field = find_bool(flags, flag);

	if (field && tfargs_parse_bool(flag->value, field) < 0) {
		return explain(ret_error, -EINVAL,
			       "-%.*s=%.32s: not a boolean, write true or false", (int)flag->len,
			       flag->name, flag->value);
	}
	if (flag_is(flag, "chdir")) {
		return explain(
			ret_error, -EINVAL,
			"-chdir=DIR stands before the subcommand: terraform -chdir=DIR plan");
	}
	return flag->takes_value ? apply_value_flag(flags, flag, ret_error) : 0;
}

/* Read the flags in @words, of which the first @env_count are from TF_CLI_ARGS*. */
static int read_flags(struct flags *ret, char *const *words, size_t env_count, char **ret_error)
{
	struct flags flags = { .input = true };
	struct flag flag;
	size_t i;
	int r;

	for (i = 0; next_flag(words, i, &flag); i += flag.words) {
		r = apply_flag(&flags, &flag, ret_error);
		if (r < 0)
			return r;
		if (i < env_count && i + flag.words > env_count)
			flags.swallows_ours = true;
	}

	flags.end = i;
	if (words[i])
		flags.positional = strcmp(words[i], "--") == 0 ? words[i + 1] : words[i];
	*ret = flags;
	return 0;
}

/* What in TF_CLI_ARGS* would keep a -lock=false behind it from being seen as a flag? */
static int check_env(const struct flags *flags, char *const *words, size_t env_count,
		     bool takes_plan, char **ret_error)
{
	for (size_t i = 0; i < env_count; i++) {
		if (!words[i][0])
			return explain(ret_error, -EINVAL,
				       "TF_CLI_ARGS* holds an empty word: drop it");
	}

	if (flags->swallows_ours) {
		return explain(
			ret_error, -EINVAL,
			"TF_CLI_ARGS* ends with \"%.64s\", which lacks its value: put both on "
			"the command line",
			words[env_count - 1]);
	}
	if (flags->end < env_count && !takes_plan) {
		return explain(
			ret_error, -EINVAL,
			"TF_CLI_ARGS* holds \"%.64s\", behind which no flag counts: put it on "
			"the command line",
			words[flags->end]);
	}
	return 0;
}

/* Turn the subcommand's row and its flags into what is promised in the header. */
static void judge(struct tfargs *args, const struct tfargs_command *command,
		  const struct flags *flags, size_t env_count, char *const *env)
{
	bool is_input = flags->input && !flags->json;
	bool is_on;

	if (tfargs_parse_bool(env_get_filled(env, "TF_INPUT"), &is_on) == 0 && !is_on)
		is_input = false;

	args->class = command->class;
	args->given_lock_timeout = flags->lock_timeout;
	if (strcmp(command->name, "init") == 0 && (flags->migrate || flags->force_copy)) {
		args->class = TFARGS_CHILD_LOCKS;
		args->operation = "migration source state";
		args->why_child = "a migration locks two states";
		args->has_lock_timeout = true;
		args->is_interactive = is_input;
		return;
	}
	if (args->class == TFARGS_READER)
		return;

	args->operation = command->operation;
	args->why_child = command->why_child;
	args->has_lock_timeout = command->has_lock_timeout;

	if (args->class == TFARGS_LOCKS && flags->names_state) {
		args->class = TFARGS_CHILD_LOCKS;
		args->why_child = "-state names a state of its own";
	} else if (args->class == TFARGS_LOCKS && flags->end < env_count) {
		args->class = TFARGS_CHILD_LOCKS;
		args->why_child = "TF_CLI_ARGS* names the plan, behind which no flag counts";
	}
	args->is_interactive =
		command->asks_always ||
		(!args->plan_file[0] && ((command->asks_input && is_input) ||
					 (command->asks_approval && !flags->auto_approve)));
}

/* An empty word is no plan: `apply "$PLAN"`. */
static bool names_plan(const struct tfargs_command *command, const struct flags *flags)
{
	return strcmp(command->name, "apply") == 0 && flags->positional && flags->positional[0];
}

static int take_plan(struct tfargs *args, const char *path, char **ret_error)
{
	if (strlen(path) >= sizeof(args->plan_file))
		return explain(ret_error, -EINVAL, "the plan file has too long a path");
	memcpy(args->plan_file, path, strlen(path) + 1);
	return 0;
}

/* The words as terraform will see them: those of TF_CLI_ARGS* right behind the subcommand. */
static int merge_words(char *const **ret, char *const *argv, size_t words_end,
		       char *const *env_words)
{
	const size_t env_count = tfargs_strv_count(env_words);
	const size_t argc = tfargs_strv_count(argv);
	char **merged = calloc(argc + env_count + 1, sizeof(*merged));

	if (!merged)
		return -ENOMEM;

	memcpy(merged, argv, words_end * sizeof(*merged));
	memcpy(merged + words_end, env_words, env_count * sizeof(*merged));
	memcpy(merged + words_end + env_count, argv + words_end,
	       (argc - words_end) * sizeof(*merged));
	*ret = merged;
	return 0;
}

static int read_command_line(struct tfargs *args, const struct tfargs_command *command,
			     char *const *argv, char *const *env, char **ret_error)
{
	AUTO_FREE char *const *merged = NULL;
	TFARGS_STRV char **env_words = NULL;
	char *const *words;
	struct flags flags;
	size_t env_count;
	int r;

	r = tfargs_read_env(&env_words, command->name, env, ret_error);
	if (r < 0)
		return r;
	r = merge_words(&merged, argv, args->words_end, env_words);
	if (r < 0)
		return r;

	if (asks_help(merged))
		return 0;

	words = merged + args->words_end;
	env_count = tfargs_strv_count(env_words);
	r = read_flags(&flags, words, env_count, ret_error);
	if (r < 0)
		return r;

	if (command->class == TFARGS_LOCKS) {
		r = check_env(&flags, words, env_count, names_plan(command, &flags), ret_error);
		if (r >= 0 && names_plan(command, &flags))
			r = take_plan(args, flags.positional, ret_error);
		if (r < 0)
			return r;
	}

	judge(args, command, &flags, env_count, env);
	if (flags.end > env_count)
		args->flags_end += flags.end - env_count;
	if (flags.end < env_count || flags.swallows_ours)
		args->has_lock_timeout = false; /* ours would not be seen as a flag */
	return 0;
}

int tfargs_parse(struct tfargs *ret, char *const *argv, char *const *env, char **ret_error)
{
	struct tfargs args = { .class = TFARGS_READER, .operation = "" };
	const struct tfargs_command *command = NULL;
	size_t i = 0;
	bool has_word;
	int r;

	assert(ret && argv && ret_error);

	r = read_globals(&args, argv, &i, ret_error);
	if (r < 0)
		return r;

	has_word = argv[i] && strcmp(argv[i], "--") != 0;
	if (has_word)
		command = find_command(argv, i, &args.words_end);
	args.flags_end = args.words_end;

	if (command)
		args.subcommand = command->name;
	else if (has_word && !asks_help(argv))
		args.class = TFARGS_UNKNOWN;

	if (command && (command->class != TFARGS_READER || strcmp(command->name, "init") == 0)) {
		r = read_command_line(&args, command, argv, env, ret_error);
		if (r < 0)
			return r;
	}

	*ret = args;
	return 0;
}

/* Copy @argv[@from] up to @argv[@to]. */
static int append_words(char **line, char *const *argv, size_t from, size_t to)
{
	int r = 0;

	for (size_t i = from; i < to && r == 0; i++)
		r = tfargs_strv_append(line, argv[i]);
	return r;
}

/* Our -lock=false, and argv's flags but for those about locking. */
static int append_unlocked(char **line, const struct tfargs *args, char *const *argv)
{
	struct flag flag;
	int r;

	r = tfargs_strv_append(line, "-lock=false");
	for (size_t i = args->words_end; r == 0 && i < args->flags_end && next_flag(argv, i, &flag);
	     i += flag.words) {
		if (!flag_is(&flag, "lock") && !flag_is(&flag, "lock-timeout"))
			r = append_words(line, argv, i, i + flag.words);
	}
	return r;
}

static int append_timeout(char **line, const char *timeout)
{
	AUTO_FREE char *word = NULL;

	if (asprintf(&word, "-lock-timeout=%s", timeout) < 0) {
		word = NULL;
		return -ENOMEM;
	}
	return tfargs_strv_append(line, word);
}

int tfargs_build(char ***ret, const struct tfargs *args, char *const *argv, bool hold_lock,
		 const char *timeout)
{
	TFARGS_STRV char **line = NULL;
	int r;

	assert(ret && args && argv && (hold_lock || timeout));

	if (hold_lock && args->class != TFARGS_LOCKS)
		return -EINVAL;

	line = calloc(tfargs_strv_count(argv) + 2, sizeof(*line)); /* one of ours, and the end */
	if (!line)
		return -ENOMEM;

	r = append_words(line, argv, 0, args->words_end);
	if (r == 0 && hold_lock)
		r = append_unlocked(line, args, argv);
	else if (r == 0 && args->has_lock_timeout && !args->given_lock_timeout)
		r = append_timeout(line, timeout);
	if (r == 0)
		r = append_words(line, argv, hold_lock ? args->flags_end : args->words_end,
				 tfargs_strv_count(argv));
	if (r < 0)
		return r;

	*ret = TAKE_PTR(line);
	return 0;
}
