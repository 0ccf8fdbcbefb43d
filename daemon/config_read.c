/* SPDX-License-Identifier: MIT */
/*
 * inih cuts the lines and finds "=", but it forgives too much: it truncates long
 * lines and section names, takes what is indented for a value's next line, drops
 * what follows "[section]", and goes on after errors. So its lines pass through
 * next_line(), which refuses all that, notes the section by itself, and counts, so
 * that a message can name the line. inih calls on_pair() before it asks for the next.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/explain.h"
#include "common/io.h"
#include "daemon/config.h"
#include "daemon/config_table.h"

#define FILE_KIB 256
#define FILE_MAX (FILE_KIB * (size_t)1024) /* bytes of one file */

/* One file on its way into @config. */
struct reader {
	struct config *config;
	const char *path;
	const char *next; /* what was not read yet */
	unsigned int line;
	char *section;                     /* NULL before the first */
	struct config_state *state;        /* of the section, if that is a [state "..."] */
	bool has_seen[CONFIG_KEYS_MAX];    /* keys in this file; [state] keys in this section */
	bool has_entered[CONFIG_KEYS_MAX]; /* sections, at the index of their first row */
	bool has_state[CONFIG_STATES_MAX]; /* [state] sections, by their index */
	int r;                             /* what went wrong first, and was explained */
	char *error;
};

/* Say what is wrong with the line at hand. The first error counts. */
__attribute__((format(printf, 3, 4))) static void refuse(struct reader *reader, int error,
							 const char *fmt, ...)
{
	char *text;
	va_list args;
	int len;

	if (reader->r < 0)
		return;
	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0) {
		reader->r = -ENOMEM;
		return;
	}
	reader->r = explain(&reader->error, error, "%s:%u: %s", reader->path, reader->line, text);
	free(text);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_end_or_comment(const char *text)
{
	text += strspn(text, " \t\r");
	return *text == '\0' || *text == ';' || *text == '#';
}

static bool has_control(const char *line)
{
	for (; *line; line++)
		if (((unsigned char)*line < ' ' && *line != '\t' && *line != '\r') || *line == 0x7f)
			return true;
	return false;
}

/* Its keys may be given again. */
static void forget_state_keys(struct reader *reader)
{
	const struct config_row *row;

	for (size_t i = 0; (row = config_row(i)); i++) {
		if (strcmp(row->section, CONFIG_STATE_SECTION) == 0)
			reader->has_seen[i] = false;
	}
}

/* The section called [state "@pattern"] begins: make it, or go on with an earlier file's. */
static void enter_state(struct reader *reader, const char *pattern)
{
	struct config *config = reader->config;
	size_t i;

	for (i = 0; i < config->state_count; i++) {
		if (strcmp(config->states[i].pattern, pattern) == 0)
			break;
	}
	if (i == CONFIG_STATES_MAX) {
		refuse(reader, -E2BIG, "more than %d [state] sections; use wider patterns",
		       CONFIG_STATES_MAX);
		return;
	}
	if (reader->has_state[i]) {
		refuse(reader, -EINVAL, "[state \"%s\"] is there twice; put its keys together",
		       pattern);
		return;
	}
	/* A line is as long as the buffer, and on its line the pattern stands between brackets. */
	if (i == config->state_count)
		(void)stpcpy(config->states[config->state_count++].pattern, pattern);
	reader->has_state[i] = true;
	reader->state = &config->states[i];
	forget_state_keys(reader);
}

/* Return: the index of @section's first row, or CONFIG_KEYS_MAX. */
static size_t find_section(const char *section)
{
	const struct config_row *row;

	for (size_t i = 0; (row = config_row(i)); i++)
		if (strcmp(row->section, section) == 0)
			return i;
	return CONFIG_KEYS_MAX;
}

static void enter_plain(struct reader *reader, const char *name)
{
	const size_t index = find_section(name);
	const char *near;

	if (strcmp(name, CONFIG_STATE_SECTION) == 0) {
		refuse(reader, -EINVAL, "[state] needs a pattern: [state \"s3://BUCKET/*\"]");
	} else if (index == CONFIG_KEYS_MAX) {
		near = config_suggest_section(name);
		refuse(reader, -EINVAL, "no section is called [%s]; %s%s%s", name,
		       near ? "did you mean [" : "see tfqd.conf(5)", near ? near : "",
		       near ? "]?" : "");
	} else if (reader->has_entered[index]) {
		refuse(reader, -EINVAL, "[%s] is there twice; put its keys together", name);
	} else {
		reader->has_entered[index] = true;
	}
}

/* @line is "[NAME]" or "[state "PATTERN"]". It is cut into pieces. */
static void enter_section(struct reader *reader, char *line)
{
	char *name = line + 1, *end, *pattern = NULL;
	size_t len = strcspn(name, " \t\"]");

	reader->state = NULL;
	free(TAKE_PTR(reader->section));

	if (len == strlen(CONFIG_STATE_SECTION) && strncmp(name, CONFIG_STATE_SECTION, len) == 0 &&
	    name[len] != ']') {
		pattern = name + len + strspn(name + len, " \t");
		end = *pattern == '"' ? strchr(pattern + 1, '"') : NULL;
		if (!end || end == pattern + 1 || end[1] != ']') {
			refuse(reader, -EINVAL,
			       "a section for states is written as [state \"s3://BUCKET/*\"]");
			return;
		}
		*end++ = '\0';
		pattern++;
		name[len] = '\0';
	} else {
		end = strchr(name, ']');
	}
	if (!end || !is_end_or_comment(end + 1)) {
		refuse(reader, -EINVAL, "a section is written as [NAME], alone on its line");
		return;
	}
	*end = '\0';

	reader->section = strdup(name);
	if (!reader->section)
		reader->r = -ENOMEM;
	else if (pattern)
		enter_state(reader, pattern);
	else
		enter_plain(reader, name);
}

/* Check the line in @line as a whole, and enter a section if it begins one. */
static void check_line(struct reader *reader, const char *line)
{
	char heading[CONFIG_LINE_MAX + 1];

	if (has_control(line)) {
		refuse(reader, -EINVAL, "a control character; this is to be a text file");
	} else if (is_blank(*line) && !is_end_or_comment(line)) {
		refuse(reader, -EINVAL,
		       "the line is indented; start it at the very left, a value cannot go on "
		       "over several lines");
	} else if (*line == '[') {
		(void)stpcpy(heading, line);
		enter_section(reader, heading);
	}
}

/* fgets() for inih, from memory. Return: @buf, or NULL at the end and after an error. */
static char *next_line(char *buf, int size, void *userdata)
{
	struct reader *reader = userdata;
	const size_t len = strcspn(reader->next, "\n");

	if (reader->r < 0 || *reader->next == '\0')
		return NULL;
	reader->line++;
	if (len > CONFIG_LINE_MAX || (int)len + 2 > size) {
		refuse(reader, -EINVAL, "the line has %zu bytes; %d are the limit", len,
		       CONFIG_LINE_MAX);
		return NULL;
	}
	memcpy(buf, reader->next, len);
	buf[len] = '\0';
	reader->next += len + (reader->next[len] == '\n');

	check_line(reader, buf);
	if (reader->r < 0)
		return NULL;
	memcpy(buf + len, "\n", 2);
	return buf;
}

/* --- keys ------------------------------------------------------------------------------ */

static void refuse_key(struct reader *reader, const char *key)
{
	const char *near = config_suggest_key(reader->section, key);
	const char *home = config_suggest_home(reader->section, key);

	if (home) {
		refuse(reader, -EINVAL, "[%s] has no key \"%s\"; it belongs to [%s]",
		       reader->section, key, home);
	} else if (near) {
		refuse(reader, -EINVAL, "[%s] has no key \"%s\"; did you mean \"%s\"?",
		       reader->section, key, near);
	} else {
		refuse(reader, -EINVAL, "[%s] has no key \"%s\"; see tfqd.conf(5)", reader->section,
		       key);
	}
}

static void refuse_value(struct reader *reader, const struct config_row *row, const char *value,
			 int error)
{
	AUTO_FREE char *wanted = NULL;

	if (error != -ENOMEM)
		wanted = config_row_wanted(row, error);
	if (!wanted) {
		reader->r = -ENOMEM;
	} else if (*value == '\0') {
		refuse(reader, -EINVAL, "%s has no value; leave the line out, or give %s", row->key,
		       wanted);
	} else {
		refuse(reader, -EINVAL, "%s = %s is not %s%s", row->key, value, wanted,
		       strstr(value, " #") ? "; a comment behind a value starts with \" ;\"" : "");
	}
}

/* Return: non-zero for inih to go on; next_line() ends it after an error. */
static int on_pair(void *userdata, const char *section, const char *key, const char *value)
{
	struct reader *reader = userdata;
	const struct config_row *row;
	size_t index;
	int r;

	(void)section; /* cut at 49 bytes: we have our own */

	if (!reader->section) {
		refuse(reader, -EINVAL, "\"%s\" stands before the first [section]", key);
		return 1;
	}
	row = config_row_find(reader->section, key);
	if (!row) {
		refuse_key(reader, key);
		return 1;
	}
	index = config_row_index(row);
	if (reader->has_seen[index]) {
		refuse(reader, -EINVAL, "%s is there twice; one of them is enough", key);
		return 1;
	}
	reader->has_seen[index] = true;

	r = config_row_set(row, reader->state ? (void *)reader->state : (void *)reader->config,
			   value);
	if (r < 0)
		refuse_value(reader, row, value, r);
	return 1;
}

/* --- files ----------------------------------------------------------------------------- */

static int open_regular(const char *path, char **ret_error)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int error;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hang us */
	if (fd < 0 || fstat(fd, &st) < 0) {
		error = errno;
		return explain(ret_error, -error, "%s: cannot be read: %s", path, strerror(error));
	}
	if (!S_ISREG(st.st_mode))
		return explain(ret_error, -EINVAL, "%s: is not a regular file", path);
	return TAKE_FD(fd);
}

/* Return: 0 and what is in @path in @buf, NUL-ended; else as config_read(). */
static int load(char *buf, const char *path, char **ret_error)
{
	AUTO_CLOSE int fd = -1;
	size_t len = 0;
	int r;

	fd = open_regular(path, ret_error);
	if (fd < 0)
		return fd;
	r = io_read_all(fd, buf, FILE_MAX + 1, &len);
	if (r < 0)
		return explain(ret_error, r, "%s: cannot be read: %s", path, strerror(-r));
	if (len > FILE_MAX)
		return explain(ret_error, -EFBIG, "%s: has more than %d KiB", path, FILE_KIB);
	buf[len] = '\0';
	if (strlen(buf) != len)
		return explain(ret_error, -EINVAL,
			       "%s: holds a NUL byte; this is to be a text file", path);
	return 0;
}

/* Let inih cut up @text, and settle who of us refused first: it goes on after errors. */
static void parse(struct reader *reader, const char *text)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	const bool has_mark = strncmp(text, byte_order_mark, strlen(byte_order_mark)) == 0;
	int r;

	reader->next = text + (has_mark ? strlen(byte_order_mark) : 0);
	r = ini_parse_stream(next_line, reader, on_pair, reader);
	if (r > 0 && (reader->r == 0 || (unsigned int)r < reader->line)) {
		free(TAKE_PTR(reader->error));
		reader->r = 0;
		reader->line = (unsigned int)r;
		refuse(reader, -EINVAL, "neither a [section] nor KEY = VALUE");
	} else if (r < 0 && reader->r == 0) {
		reader->r = -ENOMEM;
	}
}

int config_read(struct config *config, const char *path, char **ret_error)
{
	struct reader reader = { .config = config, .path = path };
	AUTO_FREE char *text = NULL;
	int r;

	assert(config);
	assert(path);
	assert(ret_error);

	text = malloc(FILE_MAX + 1);
	if (!text)
		return -ENOMEM;
	r = load(text, path, ret_error);
	if (r < 0)
		return r;

	parse(&reader, text);
	free(reader.section);
	if (reader.error)
		*ret_error = reader.error;
	return reader.r;
}
