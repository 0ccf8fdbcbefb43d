/* SPDX-License-Identifier: MIT */
/* Does a configuration file name a backend? As much of HCL as that takes. */
#include "common/backend_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NESTING_MAX 64 /* of "${" in strings; deeper is not terraform any more */

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_STRING, /* without its quotes */
	TOKEN_OPEN,   /* { */
	TOKEN_CLOSE,  /* } */
	TOKEN_OTHER,
};

struct token {
	enum token_kind kind;
	const char *text;
	size_t len;
};

static const char *skip_line(const char *s)
{
	return s + strcspn(s, "\n");
}

static const char *skip_block_comment(const char *s)
{
	const char *end = strstr(s + 2, "*/");

	return end ? end + 2 : s + strlen(s);
}

/* At the start of an expression, "${" or "%{"? Return: its length, else 0. */
static size_t template_at(const char *s)
{
	return (s[0] == '$' || s[0] == '%') && s[1] == '{' ? 2 : 0;
}

/* What stands for itself in a string: "\\x", "$${", "%%{", any character. Return: its length. */
static size_t literal_at(const char *s)
{
	if (s[0] == '\\' && s[1])
		return 2;
	return (s[0] == '$' || s[0] == '%') && s[1] == s[0] && s[2] == '{' ? 3 : 1;
}

/*
 * @s is at a quote. Return: behind its partner. An expression, "${...}", may hold
 * braces and strings itself; we are in a string, or in an expression of the
 * string around it.
 */
static const char *skip_string(const char *s)
{
	unsigned int braces[NESTING_MAX] = { 0 }; /* open ones, for each expression we are in */
	size_t depth = 0;
	bool in_string = true;

	for (s++; *s;) {
		if (*s == '"') {
			if (in_string && depth == 0)
				return s + 1;
			in_string = !in_string;
			s++;
		} else if (in_string && template_at(s)) {
			if (depth == NESTING_MAX)
				return s + strlen(s);
			braces[depth++] = 1;
			in_string = false;
			s += template_at(s);
		} else if (in_string) {
			s += literal_at(s);
		} else {
			braces[depth - 1] += *s == '{';
			braces[depth - 1] -= *s == '}';
			if (braces[depth - 1] == 0) {
				depth--;
				in_string = true;
			}
			s++;
		}
	}
	return s;
}

/* @s is at "<<". Return: behind the heredoc's last line, or behind "<<" if it is none. */
static const char *skip_heredoc(const char *s)
{
	const char *marker = s + 2 + (s[2] == '-');
	const size_t len = strspn(marker, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					  "0123456789_-");
	const char *line = skip_line(marker + len);

	if (len == 0)
		return s + 2;
	while (*line) {
		line++;
		line += strspn(line, " \t");
		if (strncmp(line, marker, len) == 0 &&
		    strspn(line + len, " \t\r") == strcspn(line + len, "\n"))
			return line + len;
		line = skip_line(line);
	}
	return line;
}

static bool is_word_start(char c)
{
	return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static const char *skip_word(const char *s)
{
	while (is_word_start(*s) || isdigit((unsigned char)*s) || *s == '-')
		s++;
	return s;
}

/* Take the next token off *@text; comments and heredocs are none. */
static struct token next_token(const char **text)
{
	const char *s = *text;
	struct token token;

	for (;;) {
		s += strspn(s, " \t\r\n");
		if (*s == '#' || (s[0] == '/' && s[1] == '/'))
			s = skip_line(s);
		else if (s[0] == '/' && s[1] == '*')
			s = skip_block_comment(s);
		else if (s[0] == '<' && s[1] == '<')
			s = skip_heredoc(s);
		else
			break;
	}

	token = (struct token){ .kind = TOKEN_OTHER, .text = s };
	if (!*s) {
		token.kind = TOKEN_END;
	} else if (*s == '"') {
		token.kind = TOKEN_STRING;
		token.text++;
		s = skip_string(s);
		token.len = (size_t)(s - token.text);
		token.len -= token.len > 0 && s[-1] == '"';
	} else if (is_word_start(*s)) {
		token.kind = TOKEN_WORD;
		s = skip_word(s);
		token.len = (size_t)(s - token.text);
	} else {
		token.kind = *s == '{' ? TOKEN_OPEN : *s == '}' ? TOKEN_CLOSE : TOKEN_OTHER;
		s++;
	}
	*text = s;
	return token;
}

static bool token_is(const struct token *token, const char *word)
{
	return token->kind == TOKEN_WORD && token->len == strlen(word) &&
	       memcmp(token->text, word, token->len) == 0;
}

/* Copy a type out of the file, for a sentence that people read. */
static void set_type(char *ret_type, const char *text, size_t len)
{
	size_t i;

	if (len > BACKEND_TYPE_SIZE - 1)
		len = BACKEND_TYPE_SIZE - 1;
	for (i = 0; i < len && (isalnum((unsigned char)text[i]) || strchr("_-", text[i])); i++)
		ret_type[i] = text[i];
	ret_type[i] = '\0';
}

bool backend_scan_hcl(const char *text, char *ret_type)
{
	struct token before2 = { .kind = TOKEN_END };
	struct token before = { .kind = TOKEN_END };
	bool in_terraform = false;
	size_t depth = 0;

	for (;;) {
		const struct token token = next_token(&text);

		if (token.kind == TOKEN_END)
			return false;
		if (token.kind == TOKEN_OPEN) {
			if (depth == 1 && in_terraform && token_is(&before, "cloud")) {
				set_type(ret_type, "cloud", strlen("cloud"));
				return true;
			}
			if (depth == 1 && in_terraform && token_is(&before2, "backend") &&
			    (before.kind == TOKEN_STRING || before.kind == TOKEN_WORD)) {
				set_type(ret_type, before.text, before.len);
				return true;
			}
			if (depth == 0)
				in_terraform = token_is(&before, "terraform");
			depth++;
		} else if (token.kind == TOKEN_CLOSE && depth > 0) {
			depth--;
		}
		before2 = before;
		before = token;
	}
}

/* @value, or what an array at its place starts with: JSON may list what HCL repeats. */
static json_t *first_of(json_t *value)
{
	return json_is_array(value) ? json_array_get(value, 0) : value;
}

static bool scan_terraform(json_t *terraform, char *ret_type)
{
	json_t *cloud = json_object_get(terraform, "cloud");
	json_t *backend = first_of(json_object_get(terraform, "backend"));
	const char *type = json_object_iter_key(json_object_iter(backend));

	if (cloud && !json_is_null(cloud))
		type = "cloud";
	if (!type)
		return false;

	set_type(ret_type, type, strlen(type));
	return true;
}

static bool scan_body(const json_t *body, char *ret_type)
{
	json_t *terraform = json_object_get(body, "terraform");

	for (size_t i = 0; i < json_array_size(terraform); i++)
		if (scan_terraform(json_array_get(terraform, i), ret_type))
			return true;
	return scan_terraform(terraform, ret_type);
}

bool backend_scan_json(const char *text, char *ret_type)
{
	CLEANUP(backend_json_freep) json_t *root = json_loads(text, JSON_DECODE_INT_AS_REAL, NULL);

	for (size_t i = 0; i < json_array_size(root); i++)
		if (scan_body(json_array_get(root, i), ret_type))
			return true;
	return scan_body(root, ret_type);
}
