/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runner/aws/sts_answer.h"
#include "tests/unit/unit.h"

#define NAMESPACE   " xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\""
#define ID          "<AccessKeyId>I</AccessKeyId>"
#define SECRET      "<SecretAccessKey>S/+=</SecretAccessKey>"
#define TOKEN       "<SessionToken>T&amp;</SessionToken>"
#define UNTIL       "<Expiration>2026-01-02T03:04:05Z</Expiration>"
#define CREDENTIALS "<Credentials>" ID SECRET TOKEN UNTIL "</Credentials>"
#define RESULT(what)                                               \
	"<AssumeRoleResponse" NAMESPACE "><AssumeRoleResult>" what \
	"</AssumeRoleResult></AssumeRoleResponse>"

static const struct {
	const char *name, *body;
	int result;
} cases[] = {
	/* clang-format off */
	{ "plain", RESULT(CREDENTIALS), 0 },
	{ "declared", "<?xml version=\"1.0\"?>\n" RESULT("\n  <AssumedRoleUser><Arn>a</Arn></AssumedRoleUser>\n" CREDENTIALS), 0 },
	{ "another order", RESULT("<Credentials>" UNTIL TOKEN SECRET ID "</Credentials><X/>"), 0 },
	{ "the first counts", RESULT("<Credentials>" ID SECRET TOKEN UNTIL "<AccessKeyId>J</AccessKeyId></Credentials>"), 0 },
	{ "what is nested does not", RESULT("<Credentials><X><AccessKeyId>J</AccessKeyId></X>" ID SECRET TOKEN UNTIL "</Credentials>"), 0 },
	{ "what lies elsewhere does not", RESULT("<X><AccessKeyId>J</AccessKeyId></X>" CREDENTIALS), 0 },
	{ "empty", "", -EBADMSG },
	{ "no XML", "<html><body>", -EBADMSG },
	{ "an error", "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", -EBADMSG },
	{ "no token", RESULT("<Credentials>" ID SECRET UNTIL "</Credentials>"), -EBADMSG },
	{ "an empty token", RESULT("<Credentials>" ID SECRET UNTIL "<SessionToken/></Credentials>"), -EBADMSG },
	{ "no expiry", RESULT("<Credentials>" ID SECRET TOKEN "</Credentials>"), -EBADMSG },
	{ "another action", "<XResponse><XResult>" CREDENTIALS "</XResult></XResponse>", -EBADMSG },
	{ "not at its place", "<AssumeRoleResponse>" CREDENTIALS "</AssumeRoleResponse>", -EBADMSG },
	{ "below another", RESULT("<X>" CREDENTIALS "</X>"), -EBADMSG },
	{ "entities", "<!DOCTYPE x [<!ENTITY e \"v\">]>" RESULT(CREDENTIALS), -EBADMSG },
	{ "too deep", RESULT(CREDENTIALS "<a><b><c><d><e><f><g/></f></e></d></c></b></a>"), -EBADMSG },
	{ "not ended", "<AssumeRoleResponse><AssumeRoleResult>" CREDENTIALS, -EBADMSG },
	/* clang-format on */
};

START_TEST(credentials_are_taken_from_their_place_alone)
{
	CLEANUP(sts_answer_freep) struct sts_answer *answer = NULL;
	int r;

	r = sts_answer_parse(&answer, "AssumeRole", cases[_i].body, strlen(cases[_i].body));
	ck_assert_msg(r == cases[_i].result, "%s: %d", cases[_i].name, r);
	if (r < 0)
		return;
	ck_assert_str_eq(answer->access_key, "I");
	ck_assert_str_eq(answer->secret_key, "S/+=");
	ck_assert_str_eq(answer->token, "T&");
	ck_assert_str_eq(answer->expiration, "2026-01-02T03:04:05Z");
}
END_TEST

START_TEST(sizes_are_limited)
{
	CLEANUP(sts_answer_freep) struct sts_answer *answer = NULL;
	static char body[STS_ANSWER_MAX + 100], token[20000];
	int len;

	memset(token, 'x', sizeof(token) - 1);
	len = snprintf(body, sizeof(body),
		       RESULT("<Credentials>" ID SECRET UNTIL "<SessionToken>%.4000s"
			      "</SessionToken></Credentials>"),
		       token);
	ck_assert_int_eq(sts_answer_parse(&answer, "AssumeRole", body, (size_t)len), 0);
	ck_assert_uint_eq(strlen(answer->token), 4000);
	len = snprintf(body, sizeof(body),
		       RESULT("<Credentials>" ID SECRET UNTIL "<SessionToken>%s"
			      "</SessionToken></Credentials>"),
		       token);
	ck_assert_int_eq(sts_answer_parse(&answer, "AssumeRole", body, (size_t)len), -EBADMSG);

	(void)snprintf(body, sizeof(body), "%s%*s", RESULT(CREDENTIALS), 60000, "");
	memset(body + strlen(body), ' ', sizeof(body) - strlen(body));
	answer = sts_answer_free(answer);
	ck_assert_int_eq(sts_answer_parse(&answer, "AssumeRole", body, STS_ANSWER_MAX), 0);
	answer = sts_answer_free(answer);
	ck_assert_int_eq(sts_answer_parse(&answer, "AssumeRole", body, STS_ANSWER_MAX + 1),
			 -EBADMSG);
}
END_TEST

START_TEST(every_prefix_is_refused)
{
	static const char body[] = RESULT(CREDENTIALS);

	for (size_t len = 0; len < sizeof(body) - 1; len++) {
		CLEANUP(sts_answer_freep) struct sts_answer *answer = NULL;

		ck_assert_int_eq(sts_answer_parse(&answer, "AssumeRole", body, len), -EBADMSG);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, credentials_are_taken_from_their_place_alone, 0,
			    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_test(tcase, sizes_are_limited);
	tcase_add_test(tcase, every_prefix_is_refused);
}

int main(void)
{
	return unit_main("sts_answer", add_tests);
}
