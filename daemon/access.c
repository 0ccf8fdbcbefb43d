/* SPDX-License-Identifier: MIT */
#include "daemon/access.h"

#include <string.h>

#include "common/wire.h"

static bool is_member(const struct job_owner *peer, gid_t gid)
{
	if (peer->gid == gid)
		return true;
	for (size_t i = 0; i < peer->group_count; i++)
		if (peer->groups[i] == gid)
			return true;
	return false;
}

static bool is_in(const struct job_owner *peer, gid_t group, bool by_default)
{
	if (group == ACCESS_DEFAULT)
		return by_default;
	return group == ACCESS_ANYBODY || is_member(peer, group);
}

static bool has_all(const struct access *access, const struct job_owner *peer)
{
	return peer->uid == 0 || peer->uid == access->daemon_uid;
}

static bool operates_some_state(const struct access *access, const struct job_owner *peer)
{
	for (size_t i = 0; access->config && i < access->config->state_count; i++)
		if (is_in(peer, access->state_operators[i], false))
			return true;
	return false;
}

unsigned access_roles(const struct access *access, const struct job_owner *peer)
{
	unsigned roles = ACCESS_NONE;

	if (has_all(access, peer))
		roles = ACCESS_VIEW | ACCESS_SUBMIT | ACCESS_OPERATE;
	else if (access->daemon_uid != 0)
		return ACCESS_NONE; /* one user's daemon cannot become another */

	if (is_in(peer, access->submitters, true))
		roles |= ACCESS_SUBMIT;
	if (is_in(peer, access->operators, false))
		roles |= ACCESS_OPERATE;
	if (is_in(peer, access->viewers, true) || roles != ACCESS_NONE ||
	    operates_some_state(access, peer))
		roles |= ACCESS_VIEW;
	return roles;
}

unsigned access_roles_on(const struct access *access, const struct job_owner *peer,
			 const char *state)
{
	const struct config_state *section =
		access->config ? config_state_match(access->config, state) : NULL;
	const unsigned roles = access_roles(access, peer);
	gid_t group;

	if (!section || has_all(access, peer) || access->daemon_uid != 0)
		return roles;
	group = access->state_operators[section - access->config->states];
	if (group == ACCESS_DEFAULT)
		return roles;
	return is_in(peer, group, false) ? roles | ACCESS_OPERATE
					 : roles & ~(unsigned)ACCESS_OPERATE;
}

gid_t access_socket_group(const struct access *access)
{
	return access->viewers != ACCESS_DEFAULT && access->viewers != access->submitters
		       ? ACCESS_ANYBODY
		       : access->submitters;
}

#define ANYBODY ((unsigned)-1) /* also who has no role */

/* clang-format off */
static const struct {
	const char *method;
	unsigned any_of;
	enum access_subject subject;
} rights[] = {
	{ WIRE_SUBMIT, ACCESS_SUBMIT, ACCESS_ABOUT_NOTHING }, /* high: operators of its state */
	{ WIRE_LIST, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_INFO, ACCESS_VIEW, ACCESS_ABOUT_JOB }, /* what was typed: access_may_touch() */
	{ WIRE_CANCEL, ACCESS_SUBMIT | ACCESS_OPERATE, ACCESS_ABOUT_JOB }, /* the same */
	{ WIRE_RESUME, ACCESS_OPERATE, ACCESS_ABOUT_STATE },
	{ WIRE_PAUSE, ACCESS_OPERATE, ACCESS_ABOUT_STATE },
	{ WIRE_UP, ACCESS_SUBMIT | ACCESS_OPERATE, ACCESS_ABOUT_JOB }, /* the same */
	{ WIRE_HISTORY, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_EVENTS, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_METRICS, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_ATTACH, ACCESS_VIEW, ACCESS_ABOUT_JOB }, /* to see output: the same */
	{ WIRE_LOGS, ACCESS_SUBMIT | ACCESS_OPERATE, ACCESS_ABOUT_JOB }, /* the same */
	{ WIRE_WHO, ACCESS_VIEW, ACCESS_ABOUT_NOTHING }, /* of a directory: as who submits */
	{ WIRE_UNLOCK, ACCESS_OPERATE, ACCESS_ABOUT_STATE },
	{ WIRE_HELLO, ANYBODY, ACCESS_ABOUT_NOTHING }, /* by process: scheduler_hello() */
	{ WIRE_REPORT, ANYBODY, ACCESS_ABOUT_NOTHING }, /* ... that said hello */
	{ WIRE_GET_INFO, ANYBODY, ACCESS_ABOUT_NOTHING },
	{ WIRE_GET_DESCRIPTION, ANYBODY, ACCESS_ABOUT_NOTHING },
};
/* clang-format on */
#define RIGHTS (sizeof(rights) / sizeof(rights[0]))

static size_t find_right(const char *method)
{
	size_t i = 0;

	while (i < RIGHTS && strcmp(rights[i].method, method) != 0)
		i++;
	return i;
}

bool access_may_call(unsigned roles, const char *method)
{
	const size_t i = find_right(method);

	return i < RIGHTS && (rights[i].any_of == ANYBODY || (roles & rights[i].any_of) != 0);
}

enum access_subject access_subject_of(const char *method)
{
	const size_t i = find_right(method);

	return i < RIGHTS ? rights[i].subject : ACCESS_ABOUT_NOTHING;
}

bool access_may_touch(unsigned roles, const struct job_owner *peer, const struct job_owner *owner)
{
	return (roles & ACCESS_OPERATE) || peer->uid == owner->uid;
}
