/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "daemon/aws/credentials.h"
#include "tests/unit/unit.h"

#define AUTO   CONFIG_CREDENTIALS_AUTO
#define DAEMON CONFIG_CREDENTIALS_DAEMON
#define JOB    CONFIG_CREDENTIALS_JOB

#define ID     "AWS_ACCESS_KEY_ID="
#define SECRET "AWS_SECRET_ACCESS_KEY="
#define TOKEN  "AWS_SESSION_TOKEN="

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order to be read in
static const struct {
	const char *name;
	enum config_credentials mode;
	const char *access_key, *secret_key, *token, *profile;
	bool has_assume_role;
	const char *job[5], *daemon[4];
	const char *found; /* the access key; NULL: none */
	const char *found_token, *source;
} cases[] = {
	/* clang-format off */
	{ "block", AUTO, "B", "s", NULL, NULL, false, { ID "J", SECRET "s" }, { ID "D", SECRET "s" },
	  "B", NULL, "backend block" },
	{ "block with a token", JOB, "B", "s", "t", NULL, false, { TOKEN "j" }, { NULL }, "B", "t", "backend block" },
	{ "half a block", AUTO, "B", NULL, NULL, NULL, false, { ID "J", SECRET "s" }, { NULL }, NULL, NULL, NULL },
	{ "the other half", AUTO, NULL, "s", NULL, NULL, false, { ID "J", SECRET "s" }, { NULL }, NULL, NULL, NULL },
	{ "a token alone", AUTO, NULL, NULL, "t", NULL, false, { ID "J", SECRET "s" }, { NULL }, NULL, NULL, NULL },
	{ "block before its profile", AUTO, "B", "s", NULL, "p", false, { NULL }, { NULL }, "B", NULL, "backend block" },
	{ "block's profile", AUTO, NULL, NULL, NULL, "p", false, { ID "J", SECRET "s" }, { ID "D", SECRET "s" },
	  NULL, NULL, NULL },
	{ "a role", AUTO, "B", "s", NULL, NULL, true, { ID "J", SECRET "s" }, { ID "D", SECRET "s" }, NULL, NULL, NULL },
	{ "the daemon's own, whatever role the job's has", DAEMON, NULL, NULL, NULL, NULL, true, { NULL },
	  { ID "D", SECRET "s" }, "D", NULL, "tfqd's environment" },
	{ "environment", AUTO, NULL, NULL, NULL, NULL, false, { ID "J", SECRET "s" }, { ID "D", SECRET "s" },
	  "J", NULL, "environment" },
	{ "environment with a token", JOB, NULL, NULL, NULL, NULL, false, { "X=y", ID "J", SECRET "s", TOKEN "t" },
	  { NULL }, "J", "t", "environment" },
	{ "environment's second names", AUTO, NULL, NULL, NULL, NULL, false,
	  { "AWS_ACCESS_KEY=J", "AWS_SECRET_KEY=s" }, { NULL }, "J", NULL, "environment" },
	{ "an ID without a secret", JOB, NULL, NULL, NULL, NULL, false, { ID "J" }, { ID "D", SECRET "s" }, NULL, NULL, NULL },
	{ "an empty secret", JOB, NULL, NULL, NULL, NULL, false, { ID "J", SECRET }, { NULL }, NULL, NULL, NULL },
	{ "an empty token is none", JOB, NULL, NULL, NULL, NULL, false, { ID "J", SECRET "s", TOKEN }, { NULL },
	  "J", NULL, "environment" },
	{ "environment before its profile", AUTO, NULL, NULL, NULL, NULL, false,
	  { ID "J", SECRET "s", "AWS_PROFILE=p" }, { NULL }, "J", NULL, "environment" },
	{ "environment's profile is not the daemon's", AUTO, NULL, NULL, NULL, NULL, false,
	  { "AWS_PROFILE=p" }, { ID "D", SECRET "s" }, NULL, NULL, NULL },
	{ "nor is its web identity", AUTO, NULL, NULL, NULL, NULL, false,
	  { "AWS_WEB_IDENTITY_TOKEN_FILE=/t" }, { ID "D", SECRET "s" }, NULL, NULL, NULL },
	{ "the daemon's are never a job's by themselves", AUTO, NULL, NULL, NULL, NULL, false, { NULL },
	  { ID "D", SECRET "s", TOKEN "t" }, NULL, NULL, NULL },
	{ "nor where the job's are asked for", JOB, NULL, NULL, NULL, NULL, false, { NULL },
	  { ID "D", SECRET "s" }, NULL, NULL, NULL },
	{ "the daemon's alone", DAEMON, "B", "s", NULL, "p", false, { ID "J", SECRET "s" }, { ID "D", SECRET "s" },
	  "D", NULL, "tfqd's environment" },
	{ "the daemon has none", DAEMON, "B", "s", NULL, NULL, false, { ID "J", SECRET "s" }, { NULL }, NULL, NULL, NULL },
	{ "nobody has any", AUTO, NULL, NULL, NULL, NULL, false, { NULL }, { NULL }, NULL, NULL, NULL },
	/* clang-format on */
};
#define CASE_COUNT ((int)(sizeof(cases) / sizeof(cases[0])))

static void set(char **to, const char *from)
{
	memcpy(to, &from, sizeof(*to)); /* nothing is written there */
}

START_TEST(credentials_are_terraforms)
{
	struct credentials found = { .source = "untouched" };
	const char *why = NULL;
	struct backend backend = { .has_assume_role = cases[_i].has_assume_role };
	char *job[5], *daemon[4];
	int r;

	memcpy(job, cases[_i].job, sizeof(job));
	memcpy(daemon, cases[_i].daemon, sizeof(daemon));
	set(&backend.access_key, cases[_i].access_key);
	set(&backend.secret_key, cases[_i].secret_key);
	set(&backend.token, cases[_i].token);
	set(&backend.profile, cases[_i].profile);
	r = credentials_find(&found, &backend, job, daemon, cases[_i].mode, &why);
	if (!cases[_i].found) {
		ck_assert_msg(r == -ENOKEY, "%s: %s", cases[_i].name, found.access_key);
		ck_assert_ptr_nonnull(why);
		ck_assert_str_eq(found.source, "untouched");
		return;
	}
	ck_assert_msg(r == 0, "%s: %s", cases[_i].name, why);
	ck_assert_str_eq(found.access_key, cases[_i].found);
	ck_assert_str_eq(found.secret_key, "s");
	ck_assert_pstr_eq(found.token, cases[_i].found_token);
	ck_assert_str_eq(found.source, cases[_i].source);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, credentials_are_terraforms, 0, CASE_COUNT);
}

int main(void)
{
	return unit_main("credentials", add_tests);
}
