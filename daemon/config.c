/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/explain.h"
#include "common/parse.h"
#include "daemon/config_table.h"

#define GRACE_USEC (5 * USEC_PER_SEC)

int config_new(struct config **ret)
{
	CLEANUP(config_freep) struct config *config = NULL;
	const struct config_row *row;

	assert(ret);

	config = calloc(1, sizeof(*config));
	if (!config)
		return -ENOMEM;
	config->states = calloc(CONFIG_STATES_MAX, sizeof(*config->states));
	if (!config->states)
		return -ENOMEM;
	for (size_t i = 0; (row = config_row(i)); i++) {
		int r;

		if (*row->fallback == '\0')
			continue;
		r = config_row_set(row, config, row->fallback);
		assert(r == 0 || r == -ENOMEM); /* or the table is wrong */
		if (r < 0)
			return r;
	}

	*ret = TAKE_PTR(config);
	return 0;
}

struct config *config_free(struct config *config)
{
	const struct config_row *row;

	if (!config)
		return NULL;

	for (size_t i = 0; (row = config_row(i)); i++) {
		if (strcmp(row->section, CONFIG_STATE_SECTION) != 0) {
			config_row_clear(row, config);
			continue;
		}
		for (size_t j = 0; j < config->state_count; j++)
			config_row_clear(row, &config->states[j]);
	}
	free(config->states);
	free(config);
	return NULL;
}

static int check_ranges(const struct config *config, char **ret_error)
{
	const struct config_row *row;

	for (size_t i = 0; (row = config_row(i)); i++) {
		AUTO_FREE char *wanted = NULL;

		if (strcmp(row->section, CONFIG_STATE_SECTION) == 0 ||
		    config_row_is_in_range(row, config))
			continue;
		wanted = config_row_wanted(row, -ERANGE);
		if (!wanted)
			return -ENOMEM;
		return explain(ret_error, -EINVAL, "[%s] %s is not %s", row->section, row->key,
			       wanted);
	}
	return 0;
}

/*
 * A holder that was told late that its lease is not renewed must still have the time
 * to stop terraform before somebody else may take the lock.
 */
static int check_lease(const struct config *config, char **ret_error)
{
	const uint64_t needed_usec = config->renew_usec + 2 * config->request_timeout_usec +
				     config->stop_grace_usec + GRACE_USEC;
	char renew[32], request[32], stop[32], needed[32], lease[32];

	if (needed_usec < config->lease_usec)
		return 0;
	return explain(
		ret_error, -EINVAL,
		"[lock] renew (%s) + 2 * [aws] request_timeout (%s) + [lock] stop_grace (%s) "
		"+ 5 s = %s is not less than [lock] lease (%s): make lease longer, or "
		"stop_grace shorter",
		parse_format_usec(renew, config->renew_usec),
		parse_format_usec(request, config->request_timeout_usec),
		parse_format_usec(stop, config->stop_grace_usec),
		parse_format_usec(needed, needed_usec),
		parse_format_usec(lease, config->lease_usec));
}

int config_check(const struct config *config, char **ret_error)
{
	char min[32], max[32];
	int r;

	assert(config);
	assert(ret_error);

	r = check_ranges(config, ret_error);
	if (r < 0)
		return r;
	r = check_lease(config, ret_error);
	if (r < 0)
		return r;
	if (config->poll_min_usec > config->poll_max_usec) {
		return explain(ret_error, -EINVAL,
			       "[lock] poll_min (%s) is over poll_max (%s): swap them",
			       parse_format_usec(min, config->poll_min_usec),
			       parse_format_usec(max, config->poll_max_usec));
	}
	if (config->max_queued_per_user > config->max_queued) {
		return explain(ret_error, -EINVAL,
			       "[queue] max_queued_per_user (%" PRIu64
			       ") is over max_queued (%" PRIu64
			       "): lower the first, or raise the second",
			       config->max_queued_per_user, config->max_queued);
	}
	return 0;
}

static bool is_set(const struct config *config, const struct config_row *row)
{
	if (strcmp(row->section, CONFIG_STATE_SECTION) != 0)
		return !config_row_is_default(row, config);
	for (size_t i = 0; i < config->state_count; i++)
		if (!config_row_is_default(row, &config->states[i]))
			return true;
	return false;
}

const char *config_next_unused(const struct config *config, size_t *index)
{
	const struct config_row *row;

	assert(config);
	assert(index);

	while ((row = config_row((*index)++)))
		if (!row->is_used && is_set(config, row))
			return row->name;
	(*index)--; /* stay behind the last */
	return NULL;
}

const char *config_next_fixed(const struct config *config, const struct config *fresh,
			      size_t *index)
{
	const struct config_row *row;

	assert(config);
	assert(fresh);
	assert(index);

	while ((row = config_row((*index)++)))
		if (row->needs_restart && !config_row_is_same(row, config, fresh))
			return row->name;
	(*index)--; /* stay behind the last */
	return NULL;
}

static void swap_fixed(struct config *one, struct config *other)
{
	const struct config_row *row;

	for (size_t i = 0; (row = config_row(i)); i++)
		if (row->needs_restart)
			config_row_swap(row, one, other);
}

int config_adopt(struct config *config, struct config *fresh, char **ret_error)
{
	struct config before;
	int r;

	assert(config);
	assert(fresh);

	swap_fixed(config, fresh); /* now @fresh is what would count */
	r = config_check(fresh, ret_error);
	if (r < 0) {
		swap_fixed(config, fresh);
		return r;
	}
	before = *config;
	*config = *fresh;
	*fresh = before;
	return 0;
}

const struct config_state *config_state_match(const struct config *config, const char *state_name)
{
	assert(config);
	assert(state_name);

	for (size_t i = 0; i < config->state_count; i++)
		if (fnmatch(config->states[i].pattern, state_name, 0) == 0)
			return &config->states[i];
	return NULL;
}

const char *config_key(size_t index, const char **ret_default)
{
	const struct config_row *row = config_row(index);

	assert(ret_default);

	if (!row)
		return NULL;
	*ret_default = row->fallback;
	return row->name;
}
