/* SPDX-License-Identifier: MIT */
#include "daemon/config_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "daemon/config.h"

#define HOURS(n)  (UINT64_C(n) * USEC_PER_HOUR)
#define LONG_AGO  HOURS(87600) /* what parse_usec() takes at most */
#define COUNT_MAX UINT64_C(1000000)
#define TASKS_MAX UINT64_C(4194304) /* the kernel's own limit on pids */

static const struct config_word level_words[] = {
	{ "err", LOG_ERR },   { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
	{ "info", LOG_INFO }, { "debug", LOG_DEBUG },     { NULL, 0 },
};
static const struct config_word takeover_words[] = {
	{ "auto", CONFIG_TAKEOVER_AUTO },
	{ "ask", CONFIG_TAKEOVER_ASK },
	{ "never", CONFIG_TAKEOVER_NEVER },
	{ NULL, 0 },
};
static const struct config_word credentials_words[] = {
	{ "auto", CONFIG_CREDENTIALS_AUTO },
	{ "daemon", CONFIG_CREDENTIALS_DAEMON },
	{ "job", CONFIG_CREDENTIALS_JOB },
	{ NULL, 0 },
};
static const struct config_word launcher_words[] = {
	{ "auto", CONFIG_LAUNCHER_AUTO },
	{ "systemd", CONFIG_LAUNCHER_SYSTEMD },
	{ "direct", CONFIG_LAUNCHER_DIRECT },
	{ NULL, 0 },
};
static const struct config_word priority_words[] = {
	{ "high", CONFIG_PRIORITY_HIGH },
	{ "normal", CONFIG_PRIORITY_NORMAL },
	{ "low", CONFIG_PRIORITY_LOW },
	{ NULL, 0 },
};

/* config_row_set() writes a word's value as an int. */
_Static_assert(sizeof(enum config_takeover) == sizeof(int) &&
		       sizeof(enum config_credentials) == sizeof(int) &&
		       sizeof(enum config_launcher) == sizeof(int) &&
		       sizeof(enum config_priority) == sizeof(int),
	       "an enum is as large as an int");

#define ROW(section_, key_, type_, field, fallback_, used, ...)                                   \
	{                                                                                         \
		.name = section_ "." key_, .section = (section_), .key = (key_), .type = (type_), \
		.offset = offsetof(struct config, field), .fallback = (fallback_),                \
		.is_used = (used), __VA_ARGS__                                                    \
	}
#define STATE_ROW(key_, type_, field, has_offset_, used, ...)                                   \
	{                                                                                       \
		.name = CONFIG_STATE_SECTION "." key_, .section = CONFIG_STATE_SECTION,         \
		.key = (key_), .type = (type_), .offset = offsetof(struct config_state, field), \
		.has_offset = (has_offset_), .fallback = "", .is_used = (used), __VA_ARGS__     \
	}
#define LIMITS(min_, max_) .min = (min_), .max = (max_)
#define WORDS(words_)      .words = (words_)
#define HAS(field)         offsetof(struct config_state, has_##field)
#define USED               true
#define UNUSED             false
#define AT_START           .needs_restart = true

/* clang-format off */
static const struct config_row rows[] = {
	ROW("daemon", "socket", CONFIG_SOCKET, socket, "", USED, LIMITS(0, 0), AT_START),
	ROW("daemon", "state_dir", CONFIG_PATH, state_dir, "", USED, LIMITS(0, 0), AT_START),
	ROW("daemon", "runtime_dir", CONFIG_PATH, runtime_dir, "", USED, LIMITS(0, 0), AT_START),
	ROW("daemon", "max_running", CONFIG_U64, max_running, "16", USED, LIMITS(1, 10000)),
	ROW("daemon", "max_connections_per_user", CONFIG_U64, max_connections_per_user, "", USED,
	    LIMITS(0, COUNT_MAX)),
	ROW("daemon", "log_level", CONFIG_WORD, log_level, "info", USED, WORDS(level_words)),

	ROW("terraform", "binary", CONFIG_BINARY, binary, "terraform", USED, LIMITS(0, 0)),

	ROW("queue", "max_queued", CONFIG_U64, max_queued, "10000", USED, LIMITS(1, COUNT_MAX)),
	ROW("queue", "max_queued_per_user", CONFIG_U64, max_queued_per_user, "1000", USED,
	    LIMITS(1, COUNT_MAX)),
	ROW("queue", "max_running_per_user", CONFIG_U64, max_running_per_user, "16", USED,
	    LIMITS(1, 10000)),
	ROW("queue", "handover_limit", CONFIG_HANDOVER, handover_jobs, "15min", USED,
	    LIMITS(0, COUNT_MAX)),
	ROW("queue", "require_lock", CONFIG_BOOL, require_lock, "yes", USED, LIMITS(0, 0)),
	ROW("queue", "approval_timeout", CONFIG_USEC, approval_timeout_usec, "1h", USED,
	    LIMITS(0, LONG_AGO)),

	ROW("lock", "lease", CONFIG_USEC, lease_usec, "15min", USED,
	    LIMITS(10 * USEC_PER_SEC, HOURS(24))),
	ROW("lock", "renew", CONFIG_USEC, renew_usec, "60s", USED, LIMITS(USEC_PER_SEC, HOURS(24))),
	ROW("lock", "stop_grace", CONFIG_USEC, stop_grace_usec, "5min", USED,
	    LIMITS(0, HOURS(24))),
	ROW("lock", "drift", CONFIG_PERCENT, drift_percent, "10%", USED, LIMITS(0, 50)),
	ROW("lock", "takeover", CONFIG_WORD, takeover, "auto", USED, WORDS(takeover_words)),
	ROW("lock", "poll_min", CONFIG_USEC, poll_min_usec, "1s", USED,
	    LIMITS(100 * USEC_PER_MSEC, HOURS(1))),
	ROW("lock", "poll_max", CONFIG_USEC, poll_max_usec, "5s", USED,
	    LIMITS(100 * USEC_PER_MSEC, HOURS(1))),

	ROW("aws", "credentials", CONFIG_WORD, credentials, "auto", USED, WORDS(credentials_words), AT_START),
	ROW("aws", "profile", CONFIG_NAME, profile, "", USED, LIMITS(0, 0), AT_START),
	ROW("aws", "region", CONFIG_NAME, region, "", UNUSED, LIMITS(0, 0)),
	ROW("aws", "endpoint_s3", CONFIG_URL, endpoint_s3, "", USED, LIMITS(0, 0), AT_START),
	ROW("aws", "endpoint_dynamodb", CONFIG_URL, endpoint_dynamodb, "", USED, LIMITS(0, 0), AT_START),
	ROW("aws", "endpoint_sts", CONFIG_URL, endpoint_sts, "", USED, LIMITS(0, 0), AT_START),
	ROW("aws", "ca_bundle", CONFIG_PATH, ca_bundle, "", USED, LIMITS(0, 0), AT_START),
	ROW("aws", "connect_timeout", CONFIG_USEC, connect_timeout_usec, "5s", USED,
	    LIMITS(100 * USEC_PER_MSEC, 10 * USEC_PER_MIN), AT_START),
	ROW("aws", "request_timeout", CONFIG_USEC, request_timeout_usec, "10s", USED,
	    LIMITS(100 * USEC_PER_MSEC, 10 * USEC_PER_MIN), AT_START),

	ROW("runner", "launcher", CONFIG_WORD, launcher, "auto", USED, WORDS(launcher_words), AT_START),
	ROW("runner", "slice", CONFIG_SLICE, slice, "tfq.slice", USED, LIMITS(0, 0)),
	ROW("runner", "memory_high", CONFIG_BYTES, memory_high_bytes, "", USED,
	    LIMITS(0, UINT64_MAX)),
	ROW("runner", "cpu_weight", CONFIG_U64, cpu_weight, "", USED, LIMITS(0, 10000)),
	ROW("runner", "tasks_max", CONFIG_U64, tasks_max, "", USED, LIMITS(0, TASKS_MAX)),

	ROW("access", "submitters", CONFIG_GROUP, submitters, "", USED, LIMITS(0, 0)),
	ROW("access", "operators", CONFIG_GROUP, operators, "", USED, LIMITS(0, 0)),
	ROW("access", "viewers", CONFIG_GROUP, viewers, "", USED, LIMITS(0, 0)),

	ROW("history", "keep", CONFIG_USEC, keep_usec, "2160h", USED, LIMITS(0, LONG_AGO)),
	ROW("history", "keep_bytes", CONFIG_BYTES, keep_bytes, "1G", USED, LIMITS(0, UINT64_MAX)),

	ROW("journal", "output", CONFIG_BOOL, output, "no", USED, LIMITS(0, 0)),

	STATE_ROW("takeover", CONFIG_WORD, takeover, HAS(takeover), USED, WORDS(takeover_words)),
	STATE_ROW("operators", CONFIG_GROUP, operators, 0, USED, LIMITS(0, 0)),
	STATE_ROW("max_queued", CONFIG_U64, max_queued, HAS(max_queued), USED,
		  LIMITS(1, COUNT_MAX)),
	STATE_ROW("require_lock", CONFIG_BOOL, require_lock, HAS(require_lock), USED, LIMITS(0, 0)),
	STATE_ROW("priority", CONFIG_WORD, priority, HAS(priority), USED, WORDS(priority_words)),
};
/* clang-format on */
#define ROWS (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROWS <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX is too small");

const struct config_row *config_row(size_t index)
{
	return index < ROWS ? &rows[index] : NULL;
}

size_t config_row_index(const struct config_row *row)
{
	return (size_t)(row - rows);
}

const struct config_row *config_row_find(const char *section, const char *key)
{
	for (size_t i = 0; i < ROWS; i++)
		if (strcmp(rows[i].section, section) == 0 && strcmp(rows[i].key, key) == 0)
			return &rows[i];
	return NULL;
}

static void *field_of(const struct config_row *row, void *base)
{
	return (char *)base + row->offset;
}

static bool is_string(const struct config_row *row)
{
	return row->type >= CONFIG_TEXT;
}

/* --- from text to value ---------------------------------------------------------------- */

static bool has_only(const char *text, const char *others)
{
	for (; *text; text++) {
		const bool is_letter =
			(*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');

		if (!is_letter && !(*text >= '0' && *text <= '9') && !strchr(others, *text))
			return false;
	}
	return true;
}

static bool is_url(const char *text)
{
	const char *rest = NULL;

	if (strncmp(text, "http://", 7) == 0)
		rest = text + 7;
	else if (strncmp(text, "https://", 8) == 0)
		rest = text + 8;
	return rest && *rest && *rest != '/' && !strpbrk(rest, " \t?#");
}

static bool is_slice(const char *text)
{
	const size_t len = strlen(text);

	return len > strlen(".slice") && strcmp(text + len - strlen(".slice"), ".slice") == 0 &&
	       has_only(text, "-_.@:\\");
}

static bool string_fits(enum config_type type, const char *text)
{
	if (*text == '\0')
		return false;
	switch (type) {
	case CONFIG_U64:
	case CONFIG_USEC:
	case CONFIG_BYTES:
	case CONFIG_PERCENT:
	case CONFIG_BOOL:
	case CONFIG_WORD:
	case CONFIG_HANDOVER: return false;
	case CONFIG_TEXT: return true;
	case CONFIG_NAME: return !strpbrk(text, " \t");
	case CONFIG_PATH: return *text == '/';
	case CONFIG_SOCKET:
		return *text == '/' && strlen(text) < sizeof(((struct sockaddr_un *)0)->sun_path);
	case CONFIG_BINARY: return *text == '/' || !strpbrk(text, "/ \t");
	case CONFIG_URL: return is_url(text);
	case CONFIG_SLICE: return is_slice(text);
	case CONFIG_GROUP: return strcmp(text, "*") == 0 || has_only(text, "-_.@$");
	}
	return false;
}

static int set_string(const struct config_row *row, char **field, const char *text)
{
	char *copy;

	if (!string_fits(row->type, text))
		return -EINVAL;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_word(const struct config_row *row, void *field, const char *text)
{
	for (const struct config_word *word = row->words; word->text; word++) {
		if (strcmp(word->text, text) == 0) {
			memcpy(field, &word->value, sizeof(word->value));
			return 0;
		}
	}
	return -EINVAL;
}

/* A number of jobs is no limit by time, and the other way round. */
static int set_handover(const struct config_row *row, struct config *config, const char *text)
{
	uint64_t jobs = 0, usec = 0;
	int r;

	r = parse_u64(text, row->max, &jobs);
	if (r == -EINVAL)
		r = parse_usec(text, &usec);
	if (r < 0)
		return r;

	config->handover_jobs = jobs;
	config->handover_usec = usec;
	return 0;
}

static int set_number(const struct config_row *row, uint64_t *field, const char *text)
{
	uint64_t value = 0;
	int r;

	if (row->type == CONFIG_USEC)
		r = parse_usec(text, &value);
	else if (row->type == CONFIG_BYTES)
		r = parse_bytes(text, &value);
	else if (row->type == CONFIG_PERCENT)
		r = parse_percent(text, &value);
	else
		r = parse_u64(text, row->max, &value);
	if (r < 0)
		return r;
	if (value < row->min || value > row->max)
		return -ERANGE;

	*field = value;
	return 0;
}

static int set_field(const struct config_row *row, void *base, const char *text)
{
	void *field = field_of(row, base);

	if (is_string(row))
		return set_string(row, field, text);
	if (row->type == CONFIG_WORD)
		return set_word(row, field, text);
	if (row->type == CONFIG_BOOL)
		return parse_bool(text, field);
	if (row->type == CONFIG_HANDOVER)
		return set_handover(row, base, text);
	return set_number(row, field, text);
}

int config_row_set(const struct config_row *row, void *base, const char *text)
{
	int r;

	r = set_field(row, base, text);
	if (r == 0 && row->has_offset)
		*(bool *)((char *)base + row->has_offset) = true;
	return r;
}

void config_row_clear(const struct config_row *row, void *base)
{
	char **field;

	if (!is_string(row))
		return;
	field = field_of(row, base);
	free(*field);
	*field = NULL;
}

/* --- about values ---------------------------------------------------------------------- */

static bool is_number(const struct config_row *row)
{
	return row->type == CONFIG_U64 || row->type == CONFIG_USEC || row->type == CONFIG_BYTES ||
	       row->type == CONFIG_PERCENT;
}

bool config_row_is_in_range(const struct config_row *row, const void *base)
{
	uint64_t value;

	if (!is_number(row))
		return true;
	memcpy(&value, (const char *)base + row->offset, sizeof(value));
	return value >= row->min && value <= row->max;
}

static size_t size_of(const struct config_row *row)
{
	if (is_string(row))
		return sizeof(char *);
	if (row->type == CONFIG_HANDOVER)
		return 2 * sizeof(uint64_t); /* jobs and usec, side by side */
	if (row->type == CONFIG_WORD)
		return sizeof(int);
	return row->type == CONFIG_BOOL ? sizeof(bool) : sizeof(uint64_t);
}

static const char *string_at(const void *field)
{
	const char *text;

	memcpy(&text, field, sizeof(text));
	return text ? text : "";
}

bool config_row_is_default(const struct config_row *row, const void *base)
{
	union {
		struct config config;
		struct config_state state;
	} plain = { 0 };
	const char *have = (const char *)base + row->offset;

	if (row->has_offset)
		return !*(const bool *)((const char *)base + row->has_offset);
	if (is_string(row))
		return strcmp(string_at(have), row->fallback) == 0;
	if (*row->fallback != '\0')
		(void)config_row_set(row, &plain, row->fallback);
	return memcmp(have, (const char *)&plain + row->offset, size_of(row)) == 0;
}

bool config_row_is_same(const struct config_row *row, const void *one, const void *other)
{
	const char *here = (const char *)one + row->offset;
	const char *there = (const char *)other + row->offset;

	if (is_string(row))
		return strcmp(string_at(here), string_at(there)) == 0;
	return memcmp(here, there, size_of(row)) == 0;
}

void config_row_swap(const struct config_row *row, void *one, void *other)
{
	char kept[2 * sizeof(uint64_t)];
	const size_t size = size_of(row);

	memcpy(kept, field_of(row, one), size);
	memcpy(field_of(row, one), field_of(row, other), size);
	memcpy(field_of(row, other), kept, size);
}

/* --- for messages ---------------------------------------------------------------------- */

static const char *form_of(enum config_type type)
{
	switch (type) {
	case CONFIG_U64: return "a number";
	case CONFIG_USEC: return "a time with its unit, as 500ms, 10s, 15min, 2h or 90d";
	case CONFIG_BYTES: return "a size in bytes or with its unit, as 64K, 16M or 2G";
	case CONFIG_PERCENT: return "a percentage, as 10%";
	case CONFIG_BOOL: return "yes or no";
	case CONFIG_WORD: return "a word"; /* config_row_wanted() lists them */
	case CONFIG_HANDOVER: return "a number of jobs, as 20, or a time with its unit, as 15min";
	case CONFIG_TEXT: return "some text";
	case CONFIG_NAME: return "a name without blanks";
	case CONFIG_PATH: return "an absolute path";
	case CONFIG_SOCKET: return "an absolute path of at most 107 bytes";
	case CONFIG_BINARY: return "a program's name, as terraform, or an absolute path";
	case CONFIG_URL: return "http://HOST or https://HOST";
	case CONFIG_SLICE: return "a unit's name that ends in .slice";
	case CONFIG_GROUP: return "the name of a group, or * for everybody";
	}
	return "something else";
}

static void format_number(char *buf, size_t size, enum config_type type, uint64_t value)
{
	if (type == CONFIG_USEC)
		(void)parse_format_usec(buf, value);
	else
		(void)snprintf(buf, size, "%" PRIu64 "%s", value,
			       type == CONFIG_PERCENT ? "%" : "");
}

char *config_row_wanted(const struct config_row *row, int error)
{
	AUTO_FREE char *text = NULL;
	char min[32], max[32];
	size_t size;
	FILE *out;

	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	if (error == -ERANGE && row->type == CONFIG_HANDOVER) {
		(void)fprintf(out, "at most %" PRIu64 " jobs or 10 years", row->max);
	} else if (error == -ERANGE) {
		format_number(min, sizeof(min), row->type, row->min);
		format_number(max, sizeof(max), row->type, row->max);
		(void)fprintf(out, "between %s and %s", min, max);
	} else if (row->words) {
		for (const struct config_word *word = row->words; word->text; word++)
			(void)fprintf(out, "%s%s", word == row->words ? "one of " : ", ",
				      word->text);
	} else {
		(void)fputs(form_of(row->type), out);
	}
	return fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}
