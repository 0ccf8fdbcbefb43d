/* SPDX-License-Identifier: MIT */
/* tfqd.conf: every key with its default, checked as a whole or refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"

#define CONFIG_LINE_MAX   190 /* bytes: inih cuts lines at 199 and goes on; we refuse first */
#define CONFIG_STATES_MAX 256 /* [state "..."] sections, over all files */

enum config_takeover { CONFIG_TAKEOVER_AUTO, CONFIG_TAKEOVER_ASK, CONFIG_TAKEOVER_NEVER };
enum config_credentials {
	CONFIG_CREDENTIALS_AUTO,
	CONFIG_CREDENTIALS_DAEMON,
	CONFIG_CREDENTIALS_JOB
};
enum config_launcher { CONFIG_LAUNCHER_AUTO, CONFIG_LAUNCHER_SYSTEMD, CONFIG_LAUNCHER_DIRECT };
enum config_priority { CONFIG_PRIORITY_HIGH, CONFIG_PRIORITY_NORMAL, CONFIG_PRIORITY_LOW };

/* A section [state "PATTERN"]: what is different for the states that it matches. */
struct config_state {
	char pattern[CONFIG_LINE_MAX];
	bool has_takeover;
	enum config_takeover takeover;
	char *operators; /* in place of [access] operators; NULL: not given */
	bool has_max_queued;
	uint64_t max_queued; /* waiting jobs on one such state */
	bool has_require_lock;
	bool require_lock;
	bool has_priority;
	enum config_priority priority; /* of a job that asks for none */
};

/* Strings are the struct's own; NULL where the key has no default and was not given. */
struct config {
	/* [daemon] */
	char *socket;
	char *state_dir;
	char *runtime_dir;
	uint64_t max_running;              /* jobs at once, over all states */
	uint64_t max_connections_per_user; /* 0: twice max_queued_per_user */
	int log_level; /* syslog's LOG_ERR .. LOG_DEBUG; words "err warning notice info debug" */

	/* [terraform] */
	char *binary; /* a name looked up in the submitter's PATH, or an absolute path */

	/* [queue] */
	uint64_t max_queued; /* waiting jobs, over all states */
	uint64_t max_queued_per_user;
	uint64_t max_running_per_user;
	uint64_t handover_jobs; /* "handover_limit = 20": 0 = no limit by count */
	uint64_t handover_usec; /* "handover_limit = 15min": 0 = no limit by time */
	bool require_lock;
	uint64_t approval_timeout_usec;

	/* [lock] */
	uint64_t lease_usec;
	uint64_t renew_usec;
	uint64_t stop_grace_usec;
	uint64_t drift_percent;
	enum config_takeover takeover;
	uint64_t poll_min_usec;
	uint64_t poll_max_usec;

	/* [aws] */
	enum config_credentials credentials;
	char *profile;
	char *region;
	char *endpoint_s3;
	char *endpoint_dynamodb;
	char *endpoint_sts;
	char *ca_bundle;
	uint64_t connect_timeout_usec;
	uint64_t request_timeout_usec;

	/* [runner] */
	enum config_launcher launcher;
	char *slice;
	uint64_t memory_high_bytes; /* 0: none */
	uint64_t cpu_weight;        /* 0: none, else 1..10000 */
	uint64_t tasks_max;         /* 0: none */

	/* [access]: each the name of a group (or "*" for everybody), NULL: the default */
	char *submitters;
	char *operators;
	char *viewers;

	/* [history] */
	uint64_t keep_usec;
	uint64_t keep_bytes;

	/* [journal] */
	bool output;

	/* [state "PATTERN"], in the order in which they were read */
	struct config_state *states; /* CONFIG_STATES_MAX of them */
	size_t state_count;
};

/* A configuration of nothing but defaults. Return: 0 or -ENOMEM. */
int config_new(struct config **ret);

/*
 * Read @path into @config, over what it already holds: main file first, then the
 * tfqd.conf.d snippets in order. A section and a key may be given once per file.
 * Reads regular files only, at most 256 KiB.
 *
 * Return: 0; -ENOENT if @path is not there; -EINVAL for a broken line, a line over
 * CONFIG_LINE_MAX, an unknown section or key, one given twice, a value of the wrong
 * form or out of range, no regular file; -E2BIG for more than CONFIG_STATES_MAX
 * [state] sections; -EFBIG; -ENOMEM; another negative errno if it cannot be read.
 * On failure *@ret_error is one sentence "FILE:LINE: what is wrong; what would be
 * right", the caller's to free (untouched for -ENOMEM), and @config is not to be
 * used any more.
 */
int config_read(struct config *config, const char *path, char **ret_error);

/*
 * Check what no single key shows, once everything is read:
 * renew + 2 * request_timeout + stop_grace + 5 s < lease; poll_min <= poll_max;
 * max_queued_per_user <= max_queued, max_running >= 1; lease 10 s .. 24 h.
 * Return: 0, -EINVAL with *@ret_error that names the numbers and the fix, or -ENOMEM.
 */
int config_check(const struct config *config, char **ret_error);

/*
 * The keys that @config sets away from their defaults although this version
 * of tfqd does nothing with them, one after the other: start with *@index = 0.
 * Return: "section.key" (static), or NULL after the last.
 */
const char *config_next_unused(const struct config *config, size_t *index);

/*
 * The keys that @fresh sets to something else than @config has, and that count after a restart
 * only; as above.
 */
const char *config_next_fixed(const struct config *config, const struct config *fresh,
			      size_t *index);

/*
 * Make @config what @fresh is, but for the keys that need a restart: these stay, and so do their
 * strings. @fresh is left with what is not wanted any more. What was lent of [state] sections is
 * not to be used any more.
 * Return: 0; or as config_check(), if what would come of it does not fit: then nothing is changed.
 */
int config_adopt(struct config *config, struct config *fresh, char **ret_error);

/*
 * What is different for the state called @state_name ("s3://bucket/key"): the first
 * section whose pattern matches by fnmatch(3); a "*" matches "/", too.
 * Return: lent by @config; NULL if no section matches.
 */
const struct config_state *config_state_match(const struct config *config, const char *state_name);

struct config *config_free(struct config *config);
DEFINE_FREEP(config);

/*
 * The table of all keys, for the man page's and the example file's tests.
 * Return: the @index-th key as "section.key" (static; those of [state "..."] sections
 * as "state.key") with its default as written in *@ret_default ("15min"; "" for none),
 * or NULL behind the last.
 */
const char *config_key(size_t index, const char **ret_default);
