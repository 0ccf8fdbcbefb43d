/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

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

/* --- on a state with operators of its own ----------------------------------------------- */

static const struct {
	const char *name, *state;
	gid_t section; /* of [state "s3://prod"], ... */
	uid_t daemon_uid, uid;
	gid_t gid;
	unsigned roles; /* there */
} state_cases[] = {
	/* clang-format off */
	{ "its operator", "s3://prod", 40, 0, 5, 40, ACCESS_VIEW | ACCESS_OPERATE },
	{ "its operator elsewhere", "s3://dev", 40, 0, 5, 40, ACCESS_VIEW },
	{ "everybody's operator", "s3://prod", 40, 0, 5, 20, ACCESS_VIEW },
	{ "everybody's operator elsewhere", "s3://dev", 40, 0, 5, 20, ACCESS_VIEW | ACCESS_OPERATE },
	{ "a section without operators", "s3://prod", UNSET, 0, 5, 20, ACCESS_VIEW | ACCESS_OPERATE },
	{ "anybody", "s3://prod", ANY, 0, 5, 5, ACCESS_VIEW | ACCESS_OPERATE },
	{ "a submitter", "s3://prod", 40, 0, 5, 10, ACCESS_VIEW | ACCESS_SUBMIT },
	{ "root", "s3://prod", 40, 0, 0, 0, ALL },
	{ "the daemon's own user", "s3://prod", 40, 7, 7, 7, ALL },
	{ "another user at a user's daemon", "s3://prod", 40, 7, 5, 40, ACCESS_NONE },
	/* clang-format on */
};
#define STATE_CASE_COUNT ((int)(sizeof(state_cases) / sizeof(state_cases[0])))

START_TEST(a_state_may_have_operators_of_its_own)
{
	struct config_state section = { .pattern = "s3://prod*" };
	const struct config config = { .states = &section, .state_count = 1 };
	const struct access access = {
		.daemon_uid = state_cases[_i].daemon_uid,
		.submitters = 10,
		.operators = 20,
		.viewers = 99,
		.config = &config,
		.state_operators = { state_cases[_i].section },
	};
	const struct job_owner peer = { .uid = state_cases[_i].uid, .gid = state_cases[_i].gid };

	ck_assert_msg(access_roles_on(&access, &peer, state_cases[_i].state) ==
			      state_cases[_i].roles,
		      "%s: %x", state_cases[_i].name,
		      access_roles_on(&access, &peer, state_cases[_i].state));
}
END_TEST

static gid_t socket_group(gid_t submitters, gid_t operators, gid_t viewers)
{
	const struct access access = { .submitters = submitters,
				       .operators = operators,
				       .viewers = viewers };

	return access_socket_group(&access);
}

START_TEST(only_viewers_of_another_group_open_the_socket_to_all)
{
	ck_assert(socket_group(10, 20, UNSET) == 10);
	ck_assert(socket_group(10, 20, 10) == 10);
	ck_assert(socket_group(UNSET, 20, UNSET) == UNSET);
	ck_assert(socket_group(10, 20, 30) == ANY);
	ck_assert(socket_group(ANY, 20, 30) == ANY);
}
END_TEST

/* --- methods ------------------------------------------------------------------------------ */

static const struct {
	const char *method;
	unsigned any_of; /* 0: whoever has no role may call it, too */
	enum access_subject subject;
} methods[] = {
	{ WIRE_SUBMIT, ACCESS_SUBMIT, ACCESS_ABOUT_NOTHING },
	{ WIRE_LIST, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_INFO, ACCESS_VIEW, ACCESS_ABOUT_JOB },
	{ WIRE_CANCEL, ACCESS_SUBMIT | ACCESS_OPERATE, ACCESS_ABOUT_JOB },
	{ WIRE_RESUME, ACCESS_OPERATE, ACCESS_ABOUT_STATE },
	{ WIRE_PAUSE, ACCESS_OPERATE, ACCESS_ABOUT_STATE },
	{ WIRE_UP, ACCESS_SUBMIT | ACCESS_OPERATE, ACCESS_ABOUT_JOB },
	{ WIRE_HISTORY, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_EVENTS, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_METRICS, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_ATTACH, ACCESS_VIEW, ACCESS_ABOUT_JOB },
	{ WIRE_LOGS, ACCESS_SUBMIT | ACCESS_OPERATE, ACCESS_ABOUT_JOB },
	{ WIRE_WHO, ACCESS_VIEW, ACCESS_ABOUT_NOTHING },
	{ WIRE_UNLOCK, ACCESS_OPERATE, ACCESS_ABOUT_STATE },
	{ WIRE_GET_INFO, 0, ACCESS_ABOUT_NOTHING },
	{ WIRE_GET_DESCRIPTION, 0, ACCESS_ABOUT_NOTHING },
	{ WIRE_HELLO, 0, ACCESS_ABOUT_NOTHING }, /* by process, not by role */
	{ WIRE_REPORT, 0, ACCESS_ABOUT_NOTHING },
};
#define METHOD_COUNT ((int)(sizeof(methods) / sizeof(methods[0])))

START_TEST(method_needs_its_role)
{
	for (unsigned roles = 0; roles < 16; roles++) {
		const bool may = methods[_i].any_of == 0 || (roles & methods[_i].any_of) != 0;

		ck_assert_msg(access_may_call(roles, methods[_i].method) == may, "%s with %x",
			      methods[_i].method, roles);
	}
	ck_assert(access_subject_of(methods[_i].method) == methods[_i].subject);
}
END_TEST

START_TEST(method_without_a_row_is_nobodys)
{
	ck_assert(!access_may_call(ALL | ACCESS_RUN, "io.tfqd.Nonsense"));
	ck_assert(!access_may_call(ALL | ACCESS_RUN, ""));
}
END_TEST

START_TEST(every_method_of_the_interface_has_a_row)
{
	size_t count = 0;

	for (const char *at = wire_interface; (at = strstr(at, "\nmethod ")); count++) {
		char name[64];
		bool is_there = false;

		at += strlen("\nmethod ");
		(void)snprintf(name, sizeof(name), "%s.%.*s", WIRE_INTERFACE, (int)strcspn(at, "("),
			       at);
		for (int i = 0; i < METHOD_COUNT; i++)
			is_there = is_there || strcmp(methods[i].method, name) == 0;
		ck_assert_msg(is_there, "%s is not in this test's table", name);
		ck_assert_msg(access_may_call(ALL, name), "%s is not in access.c's", name);
	}
	ck_assert(count > 10);
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
	tcase_add_loop_test(tcase, a_state_may_have_operators_of_its_own, 0, STATE_CASE_COUNT);
	tcase_add_test(tcase, only_viewers_of_another_group_open_the_socket_to_all);
	tcase_add_loop_test(tcase, method_needs_its_role, 0, METHOD_COUNT);
	tcase_add_test(tcase, method_without_a_row_is_nobodys);
	tcase_add_test(tcase, every_method_of_the_interface_has_a_row);
	tcase_add_test(tcase, job_of_another_is_for_operators);
}

int main(void)
{
	return unit_main("access", add_tests);
}
