/* SPDX-License-Identifier: MIT */
/* What the files of tfargs share: terraform's subcommands and flags, and lists of words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/tfargs.h"

#define TFARGS_NAME_MAX 64 /* bytes of a subcommand's name, with room */
#define TFARGS_STRV     CLEANUP(tfargs_strv_freep)

struct tfargs_command {
	const char *name; /* words joined by one space */
	const char *operation;
	const char *why_child;
	enum tfargs_class class;
	bool has_lock_timeout;
	bool asks_input;    /* for variables; -input=false stops it */
	bool asks_approval; /* -auto-approve stops it, -input=false does not */
	bool asks_always;
};

/* The subcommand called @name; NULL if there is none. */
const struct tfargs_command *tfargs_command_find(const char *name);

/* Whether the flag called by the @len bytes at @name takes its value from the next word. */
bool tfargs_flag_takes_value(const char *name, size_t len);

static inline void tfargs_strv_freep(char ***strv)
{
	tfargs_strv_free(*strv);
}

/* How many words; 0 for NULL. */
size_t tfargs_strv_count(char *const *strv);

/* Put a copy of @word at the end of @strv, which has room for it. Return: 0, -ENOMEM. */
int tfargs_strv_append(char **strv, const char *word);

/*
 * What terraform puts right behind @subcommand: the words of TF_CLI_ARGS_<sub>,
 * then those of TF_CLI_ARGS.
 *
 * Return: 0 and a NULL-ended vector in *@ret, the caller's to free with
 * tfargs_strv_free(); -EINVAL if one cannot be split, with *@ret_error;
 * -ENOMEM.
 */
int tfargs_read_env(char ***ret, const char *subcommand, char *const *env, char **ret_error);

/* Go's strconv.ParseBool(), and true for NULL, as a flag without a value. Return: 0, -EINVAL. */
int tfargs_parse_bool(const char *value, bool *ret);

/* Whether Go's time.ParseDuration() would take @text: "300ms", "-1.5h", "2h45m", "0". */
bool tfargs_is_duration(const char *text);
