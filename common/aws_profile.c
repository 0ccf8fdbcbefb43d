/* SPDX-License-Identifier: MIT */
#include "common/aws_profile.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backend_parts.h"
#include "common/text.h"

#define KIND_COUNT (PROFILE_SERVICES + 1)
#define BLANKS     " \t"
#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-/.%@:+"

/* Each an object of sections by name, which are objects of texts by key. */
struct profiles {
	json_t *kinds[KIND_COUNT];
};

struct reader {
	enum profile_file file;
	struct profiles *profiles; /* of this file alone */
	json_t *bare_default;      /* [default] of a configuration file */
	bool has_default;          /* it is there, if only its name */
	json_t *section;           /* lent: the one we are in; NULL: none that counts */
	char *key;                 /* the last one, which an indented line continues; NULL: none */
	bool is_parent;            /* it had no value: what is indented below it is nested */
};

static const char *const group[] = { "aws_access_key_id", "aws_secret_access_key",
				     "aws_session_token" };

/* --- text ------------------------------------------------------------------------------------ */

/* @text without blanks at both ends, cut in place. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, BLANKS);
	for (len = strlen(text); len > 0 && strchr(BLANKS, text[len - 1]); len--)
		text[len - 1] = '\0';
	return text;
}

/* A comment within a line begins after a blank: "a#b" is a value. */
static void cut_comment(char *line)
{
	for (char *at = line; *at; at++) {
		if ((*at == ' ' || *at == '\t') && (at[1] == '#' || at[1] == ';')) {
			*at = '\0';
			return;
		}
	}
}

/* Is @text "@word NAME"? Return: the name, trimmed, or NULL. */
static char *name_after(char *text, const char *word)
{
	const size_t len = strlen(word);

	if (strncmp(text, word, len) != 0 || !text[len] || !strchr(BLANKS, text[len]))
		return NULL;
	return trim(text + len);
}

/* --- sections -------------------------------------------------------------------------------- */

static int enter(struct reader *reader, json_t *sections, const char *name)
{
	json_t *section = json_object_get(sections, name);

	if (!section) {
		section = json_object();
		if (json_object_set_new(sections, name, section) < 0)
			return -ENOMEM;
	}
	reader->section = section;
	return 0;
}

/* What stands within the brackets of @line, trimmed; NULL if it is no section. */
static char *section_name(char *line)
{
	char *end = strchr(line, ']');

	if (*line != '[' || !end)
		return NULL;
	*end = '\0';
	return trim(line + 1);
}

/* A name, without the quotes of older files; NULL if it is no good one. */
static char *unquote(char *name)
{
	const size_t len = strlen(name);

	if (len >= 2 && (*name == '"' || *name == '\'') && name[len - 1] == *name) {
		name[len - 1] = '\0';
		name = trim(name + 1);
	}
	return *name && !name[strspn(name, NAME_CHARS)] ? name : NULL;
}

static int read_section(struct reader *reader, char *name)
{
	static const char *const words[KIND_COUNT] = { "profile", "sso-session", "services" };

	reader->section = NULL;
	if (reader->file == PROFILE_CREDENTIALS) {
		name = name_after(name, "profile") ? NULL : unquote(name);
		return name ? enter(reader, reader->profiles->kinds[PROFILE_PROFILE], name) : 0;
	}
	if (strcmp(name, "default") == 0) {
		reader->section = reader->bare_default;
		reader->has_default = true;
		return 0;
	}
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		char *rest = name_after(name, words[kind]);

		rest = rest ? unquote(rest) : NULL;
		if (rest)
			return enter(reader, reader->profiles->kinds[kind], rest);
	}
	return 0;
}

/* --- lines ----------------------------------------------------------------------------------- */

/* Put @value under @key. What is no UTF-8 is passed over: no key of AWS's tools has such a value.
 */
static int set(json_t *section, const char *key, const char *value)
{
	if (!text_is_utf8(key) || !text_is_utf8(value))
		return 0;
	backend_json_wipe(json_object_get(section, key));
	return json_object_set_new(section, key, json_string(value)) < 0 ? -ENOMEM : 0;
}

/* "KEY = VALUE": *@ret_key is trimmed and in lower case. */
static bool split(char *line, char **ret_key, char **ret_value)
{
	char *at = line + strcspn(line, "=:");

	if (!*at)
		return false;
	*at = '\0';
	*ret_key = trim(line);
	*ret_value = trim(at + 1);
	for (char *c = *ret_key; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return **ret_key != '\0';
}

static int read_property(struct reader *reader, char *line)
{
	char *key, *value;

	free(reader->key);
	reader->key = NULL;
	if (!reader->section || !split(line, &key, &value))
		return 0;
	reader->key = strdup(key);
	if (!reader->key)
		return -ENOMEM;
	reader->is_parent = *value == '\0';
	return set(reader->section, key, value);
}

/* An indented line: more of the value above, or a property nested below it. */
static int read_indented(struct reader *reader, char *line)
{
	AUTO_FREE char *joined = NULL;
	char *key, *value;
	int r;

	if (!reader->section || !reader->key)
		return 0;
	if (reader->is_parent) {
		if (!split(line, &key, &value))
			return 0;
		if (asprintf(&joined, "%s.%s", reader->key, key) < 0) {
			joined = NULL;
			return -ENOMEM;
		}
		return set(reader->section, joined, value);
	}

	value = trim(line);
	if (asprintf(&joined, "%s\n%s",
		     json_string_value(json_object_get(reader->section, reader->key)) ?: "",
		     value) < 0) {
		joined = NULL;
		return -ENOMEM;
	}
	r = set(reader->section, reader->key, joined);
	explicit_bzero(joined, strlen(joined));
	return r;
}

static int read_line(struct reader *reader, char *line)
{
	const bool is_indented = *line && strchr(BLANKS, *line);
	const char first = line[strspn(line, BLANKS)];
	char *name;

	if (first == '\0' || first == '#' || first == ';')
		return 0;
	if (is_indented && first != '[') {
		cut_comment(line + strspn(line, BLANKS));
		return read_indented(reader, line);
	}
	name = section_name(line + strspn(line, BLANKS));
	if (name) {
		free(reader->key);
		reader->key = NULL;
		return read_section(reader, name);
	}
	cut_comment(line);
	return read_property(reader, line);
}

/* --- one file over another ------------------------------------------------------------------- */

static bool has_text(const json_t *section, const char *key)
{
	return json_string_length(json_object_get(section, key)) > 0;
}

/* Keys come from one file together, or not at all: half of them is nothing. */
static void merge_group(json_t *into, json_t *from)
{
	const bool is_whole = has_text(from, group[0]) && has_text(from, group[1]);
	json_t *side = is_whole ? into : from;

	for (size_t i = 0; i < sizeof(group) / sizeof(group[0]); i++) {
		backend_json_wipe(json_object_get(side, group[i]));
		(void)json_object_del(side, group[i]);
	}
}

/* The SDK takes these from the first file that has the profile; [services NAME] likewise. */
static void drop_endpoints(json_t *section)
{
	static const char *const keys[] = { "endpoint_url", "services",
					    "ignore_configured_endpoint_urls" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		(void)json_object_del(section, keys[i]);
}

static int merge(json_t *into, json_t *from, enum profile_kind kind)
{
	const char *name;
	json_t *section;

	json_object_foreach(from, name, section)
	{
		json_t *old = json_object_get(into, name);

		if (!old) {
			old = json_object();
			if (json_object_set_new(into, name, old) < 0)
				return -ENOMEM;
		} else if (kind == PROFILE_SERVICES) {
			continue;
		} else {
			drop_endpoints(section);
		}
		merge_group(old, section);
		if (json_object_update(old, section) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int merge_all(struct profiles *profiles, const struct reader *reader)
{
	json_t *const own = reader->profiles->kinds[PROFILE_PROFILE];
	int r = 0;

	if (reader->has_default && !json_object_get(own, "default") &&
	    json_object_set(own, "default", reader->bare_default) < 0)
		return -ENOMEM;
	for (int kind = 0; r == 0 && kind < KIND_COUNT; kind++)
		r = merge(profiles->kinds[kind], reader->profiles->kinds[kind],
			  (enum profile_kind)kind);
	return r;
}

/* --- all ------------------------------------------------------------------------------------- */

int profiles_new(struct profiles **ret)
{
	CLEANUP(profiles_freep) struct profiles *profiles = calloc(1, sizeof(*profiles));

	if (!profiles)
		return -ENOMEM;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		profiles->kinds[kind] = json_object();
		if (!profiles->kinds[kind])
			return -ENOMEM;
	}
	*ret = TAKE_PTR(profiles);
	return 0;
}

struct profiles *profiles_free(struct profiles *profiles)
{
	if (!profiles)
		return NULL;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		backend_json_free(profiles->kinds[kind]);
	free(profiles);
	return NULL;
}

/* Texts that went from one tree to another are shared, so only the last owner may wipe them. */
static void reader_clear(struct reader *reader)
{
	if (reader->profiles)
		for (int kind = 0; kind < KIND_COUNT; kind++)
			json_decref(reader->profiles->kinds[kind]);
	free(reader->profiles);
	json_decref(reader->bare_default);
	free(reader->key);
}

int profiles_add(struct profiles *profiles, enum profile_file file, const char *text)
{
	CLEANUP(reader_clear)
	struct reader reader = { .file = file, .bare_default = json_object() };
	AUTO_FREE char *copy = NULL;
	size_t len;
	char *next;
	int r;

	r = profiles_new(&reader.profiles);
	if (r < 0)
		return r;
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
		text += 3;
	len = strlen(text);
	copy = strdup(text);
	if (!copy || !reader.bare_default)
		return -ENOMEM;

	next = copy;
	while (r == 0 && next) {
		char *line = strsep(&next, "\n");

		line[strcspn(line, "\r")] = '\0';
		r = read_line(&reader, line);
	}
	explicit_bzero(copy, len);
	return r < 0 ? r : merge_all(profiles, &reader);
}

bool profiles_has(const struct profiles *profiles, enum profile_kind kind, const char *name)
{
	return json_object_get(profiles->kinds[kind], name);
}

const char *profiles_get(const struct profiles *profiles, enum profile_kind kind, const char *name,
			 const char *key)
{
	const char *value = json_string_value(
		json_object_get(json_object_get(profiles->kinds[kind], name), key));

	return value && *value ? value : NULL;
}
