/* SPDX-License-Identifier: MIT */
#include "common/tfargs_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/env.h"
#include "common/explain.h"

char **tfargs_strv_free(char **strv)
{
	for (char **s = strv; s && *s; s++)
		free(*s);
	free(strv);
	return NULL;
}

size_t tfargs_strv_count(char *const *strv)
{
	size_t count = 0;

	while (strv && strv[count])
		count++;
	return count;
}

int tfargs_strv_append(char **strv, const char *word)
{
	char **end = strv + tfargs_strv_count(strv);

	*end = strdup(word);
	return *end ? 0 : -ENOMEM;
}

/*
 * Take one word off *@text, as go-shellwords does: quotes, backslashes, no "$".
 * Return: 1 with the word in @word (at least as large as *@text), 0 at the end,
 * or -EINVAL for what go-shellwords refuses.
 */
static int next_word(const char **text, char *word)
{
	const char *s = *text + strspn(*text, " \t\r\n");
	bool is_word = false;
	char quote = '\0';

	for (; *s && (quote || !strchr(" \t\r\n;&|<>", *s)); s++) {
		is_word = true;
		if (*s == '\\' && quote != '\'') {
			if (!*++s)
				return -EINVAL;
			*word++ = *s;
		} else if (quote ? *s == quote : *s == '"' || *s == '\'') {
			quote = (char)(quote ? '\0' : *s);
		} else if (!quote && strchr("`()", *s)) {
			return -EINVAL;
		} else {
			*word++ = *s;
		}
	}
	if (quote)
		return -EINVAL;

	*word = '\0';
	/* One of ;&|<> ends the line, and go-shellwords says nothing about it. */
	*text = *s && strchr(";&|<>", *s) ? "" : s;
	return is_word;
}

static int append_env_words(char **words, const char *name, const char *text, char **ret_error)
{
	AUTO_FREE char *word = malloc(strlen(text) + 1);
	int r;

	if (!word)
		return -ENOMEM;

	while ((r = next_word(&text, word)) > 0) {
		r = tfargs_strv_append(words, word);
		if (r < 0)
			return r;
	}
	if (r < 0) {
		return explain(ret_error, r,
			       "%s cannot be split into words: look for a quote or a backslash "
			       "without its partner, or one of `()",
			       name);
	}
	return 0;
}

int tfargs_read_env(char ***ret, const char *subcommand, char *const *env, char **ret_error)
{
	char name[sizeof("TF_CLI_ARGS_") + TFARGS_NAME_MAX];
	TFARGS_STRV char **words = NULL;
	const char *special;
	const char *general;
	int r;

	(void)snprintf(name, sizeof(name), "TF_CLI_ARGS_%s", subcommand);
	for (char *c = name; *c; c++)
		if (*c == ' ' || *c == '-')
			*c = '_';
	special = env_get(env, name);
	special = special ? special : "";
	general = env_get(env, "TF_CLI_ARGS");
	general = general ? general : "";

	/* A word has a character at least, and a blank behind it. */
	words = calloc((strlen(special) + 1) / 2 + (strlen(general) + 1) / 2 + 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	r = append_env_words(words, name, special, ret_error);
	if (r < 0)
		return r;
	r = append_env_words(words, "TF_CLI_ARGS", general, ret_error);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(words);
	return 0;
}

int tfargs_parse_bool(const char *value, bool *ret)
{
	static const char *const words[] = { "0", "f", "F", "false", "FALSE", "False",
					     "1", "t", "T", "true",  "TRUE",  "True" };

	if (!value) {
		*ret = true;
		return 0;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i]) == 0) {
			*ret = i >= 6;
			return 0;
		}
	}
	return -EINVAL;
}

bool tfargs_is_duration(const char *text)
{
	static const char *const units[] = { "ns", "us", "µs", "μs", "ms", "s", "m", "h" };

	if (*text == '+' || *text == '-')
		text++;
	if (strcmp(text, "0") == 0)
		return true;

	do {
		const size_t whole = strspn(text, "0123456789");
		size_t fraction = 0;
		size_t unit = 0;

		text += whole;
		if (*text == '.') {
			fraction = strspn(++text, "0123456789");
			text += fraction;
		}
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			if (strncmp(text, units[i], strlen(units[i])) == 0 &&
			    strlen(units[i]) > unit)
				unit = strlen(units[i]);
		}
		if (whole + fraction == 0 || unit == 0)
			return false;
		text += unit;
	} while (*text);
	return true;
}
