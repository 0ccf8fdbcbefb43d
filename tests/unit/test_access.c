/* SPDX-License-Identifier: MIT */
#include "common/wire.h"
#include "daemon/access.h"
#include "tests/unit/unit.h"

#define ALL (ACCESS_VIEW | ACCESS_SUBMIT | ACCESS_OPERATE)

static gid_t groups[] = { 20, 30 };

static const struct {
	const char *name;
	uid_t daemon_uid;
	gid_t submitters, operators, viewers;
	uid_t uid;
	gid_t gid;
	size_t group_count;
	unsigned roles;
} cases[] = {
/* clang-format off */
#define UNSET ACCESS_DEFAULT
#define ANY   ACCESS_ANYBODY
	{ "root", 0, UNSET, UNSET, UNSET, 0, 0, 0, ALL },
	{ "root, whatever is configured", 0, 99, 99, 99, 0, 0, 0, ALL },
	{ "nothing configured: everybody submits", 0, UNSET, UNSET, UNSET, 5, 5, 0, ACCESS_VIEW | ACCESS_SUBMIT },
	{ "not a submitter", 0, 10, UNSET, UNSET, 5, 5, 2, ACCESS_VIEW },
	{ "submitter by the first group", 0, 10, UNSET, UNSET, 5, 10, 0, ACCESS_VIEW | ACCESS_SUBMIT },
	{ "submitter by another group", 0, 30, UNSET, UNSET, 5, 5, 2, ACCESS_VIEW | ACCESS_SUBMIT },
	{ "group that is not counted", 0, 30, UNSET, 99, 5, 5, 1, ACCESS_NONE },
	{ "operator views, too", 0, 99, 20, 99, 5, 5, 2, ACCESS_VIEW | ACCESS_OPERATE },
	{ "viewer", 0, 99, 99, 20, 5, 5, 2, ACCESS_VIEW },
	{ "neither", 0, 99, 99, 99, 5, 5, 2, ACCESS_NONE },
	{ "anybody operates", 0, 99, ANY, 99, 5, 5, 0, ACCESS_VIEW | ACCESS_OPERATE },
	{ "anybody submits", 0, ANY, 99, 99, 5, 5, 0, ACCESS_VIEW | ACCESS_SUBMIT },
	{ "anybody views", 0, 99, 99, ANY, 5, 5, 0, ACCESS_VIEW },
	{ "group 0 is a group", 0, 0, 99, 99, 5, 0, 0, ACCESS_VIEW | ACCESS_SUBMIT },
	{ "the daemon's own user", 7, UNSET, UNSET, UNSET, 7, 7, 0, ALL },
	{ "root at a user's daemon", 7, UNSET, UNSET, UNSET, 0, 0, 0, ALL },
	{ "another user at a user's daemon", 7, ANY, ANY, ANY, 5, 20, 2, ACCESS_NONE },
	/* clang-format on */
};
#define CASE_COUNT ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(roles_come_from_user_and_groups)
{
	const struct access access = {
		.daemon_uid = cases[_i].daemon_uid,
		.submitters = cases[_i].submitters,
		.operators = cases[_i].operators,
		.viewers = cases[_i].viewers,
	};
	const struct job_owner peer = {
		.uid = cases[_i].uid,
		.gid = cases[_i].gid,
		.groups = groups,
		.group_count = cases[_i].group_count,
	};

	ck_assert_msg(access_roles(&access, &peer) == cases[_i].roles, "%s: %x", cases[_i].name,
		      access_roles(&access, &peer));
}
END_TEST

static const struct {
	const char *method;
	unsigned any_of; /* 0: whoever has no role may call it, too */
} methods[] = {
	{ WIRE_SUBMIT, ACCESS_SUBMIT },
	{ WIRE_LIST, ACCESS_VIEW },
	{ WIRE_INFO, ACCESS_VIEW },
	{ WIRE_CANCEL, ACCESS_SUBMIT | ACCESS_OPERATE },
	{ WIRE_RESUME, ACCESS_OPERATE },
	{ WIRE_GET_INFO, 0 },
	{ WIRE_GET_DESCRIPTION, 0 },
	{ WIRE_HELLO, 0 }, /* by process, not by role */
	{ WIRE_REPORT, 0 },
	{ "io.tfqd.Nonsense", 0 },
	{ "", 0 },
};
#define METHOD_COUNT ((int)(sizeof(methods) / sizeof(methods[0])))

START_TEST(method_needs_its_role)
{
	for (unsigned roles = 0; roles < 16; roles++) {
		const bool may = methods[_i].any_of == 0 || (roles & methods[_i].any_of) != 0;

		ck_assert_msg(access_may_call(roles, methods[_i].method) == may, "%s with %x",
			      methods[_i].method, roles);
	}
}
END_TEST

START_TEST(job_of_another_is_for_operators)
{
	const struct job_owner alice = { .uid = 5, .gid = 9 }, bob = { .uid = 6, .gid = 9 };

	for (unsigned roles = 0; roles < 16; roles++) {
		ck_assert(access_may_touch(roles, &alice, &alice));
		ck_assert(access_may_touch(roles, &alice, &bob) == !!(roles & ACCESS_OPERATE));
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, roles_come_from_user_and_groups, 0, CASE_COUNT);
	tcase_add_loop_test(tcase, method_needs_its_role, 0, METHOD_COUNT);
	tcase_add_test(tcase, job_of_another_is_for_operators);
}

int main(void)
{
	return unit_main("access", add_tests);
}
