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

unsigned access_roles(const struct access *access, const struct job_owner *peer)
{
	unsigned roles = ACCESS_NONE;

	if (peer->uid == 0 || peer->uid == access->daemon_uid)
		roles = ACCESS_VIEW | ACCESS_SUBMIT | ACCESS_OPERATE;
	else if (access->daemon_uid != 0)
		return ACCESS_NONE; /* one user's daemon cannot become another */

	if (is_in(peer, access->submitters, true))
		roles |= ACCESS_SUBMIT;
	if (is_in(peer, access->operators, false))
		roles |= ACCESS_OPERATE;
	if (is_in(peer, access->viewers, true) || roles != ACCESS_NONE)
		roles |= ACCESS_VIEW;
	return roles;
}

/* clang-format off */
static const struct {
	const char *method;
	unsigned any_of;
} rights[] = {
	{ WIRE_SUBMIT, ACCESS_SUBMIT },
	{ WIRE_LIST, ACCESS_VIEW },
	{ WIRE_INFO, ACCESS_VIEW },
	{ WIRE_CANCEL, ACCESS_SUBMIT | ACCESS_OPERATE }, /* and access_may_touch() */
	{ WIRE_RESUME, ACCESS_OPERATE },
	{ WIRE_PAUSE, ACCESS_OPERATE },
	{ WIRE_UP, ACCESS_SUBMIT | ACCESS_OPERATE },
	{ WIRE_HISTORY, ACCESS_VIEW },
	{ WIRE_EVENTS, ACCESS_VIEW },
	{ WIRE_METRICS, ACCESS_VIEW },
	{ WIRE_ATTACH, ACCESS_VIEW }, /* and to see output access_may_touch() */
	{ WIRE_LOGS, ACCESS_SUBMIT | ACCESS_OPERATE }, /* the same */
	{ WIRE_WHO, ACCESS_VIEW }, /* of a directory: with one's own credentials */
	{ WIRE_UNLOCK, ACCESS_OPERATE },
};
/* clang-format on */

bool access_may_call(unsigned roles, const char *method)
{
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		if (strcmp(rights[i].method, method) == 0)
			return roles & rights[i].any_of;
	return true;
}

bool access_may_touch(unsigned roles, const struct job_owner *peer, const struct job_owner *owner)
{
	return (roles & ACCESS_OPERATE) || peer->uid == owner->uid;
}
