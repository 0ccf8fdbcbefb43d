/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/doctor/findings.h"
#include "tests/unit/unit.h"

/* A backend of which nothing is to be said. */
static const char good[] =
	"{'backend': {'type': 's3', 'name': 's3://b/k', 'terraform_version': '1.11.4', 'bucket': 'b',"
	"  'key': 'k', 'region': 'eu-west-1', 'lockfile': true},"
	" 'credentials': {'source': 'environment'}, 'aws': true, 'clock': 1,"
	" 'asked': {'list': {'status': 200},"
	"  'versioning': {'status': 200, 'said': {'Status': 'Enabled'}},"
	"  'encryption': {'status': 200, 'said': {'SSEAlgorithm': 'AES256'}},"
	"  'public': {'status': 200, 'said': {'BlockPublicAcls': 'true', 'IgnorePublicAcls': 'true',"
	"   'BlockPublicPolicy': 'true', 'RestrictPublicBuckets': 'true'}},"
	"  'logging': {'status': 200, 'said': {'TargetBucket': 'logs'}},"
	"  'state': {'status': 200}, 'lock': {'status': 404}, 'write': {'status': 404, 'code': "
	"'NoSuchKey'}},"
	" 'daemon': {'socket': '/run/tfqd/tfqd.sock', 'group': 'tfqd', 'mode': 432, 'system': true},"
	" 'others': []}";

#define TABLE \
	"'backend': {'table': 't', 'lockfile': false, 'terraform_version': '1.9.8'}, 'asked': "
#define TABLE_OK(key, type, more)                                                           \
	"'table': {'status': 200, 'said': {'Table': {'KeySchema': [{'AttributeName': '" key \
	"', 'KeyType': 'HASH'}], 'AttributeDefinitions': [{'AttributeName': '" key          \
	"', 'AttributeType': '" type "'}]" more "}}}"
#define PER_REQUEST ", 'BillingModeSummary': {'BillingMode': 'PAY_PER_REQUEST'}"
#define DENIED      "{'status': 403, 'code': 'AccessDenied'}"
#define DENIED_400  "{'status': 400, 'code': 'AccessDeniedException'}"
#define REFUSED     "{'status': 412, 'code': 'PreconditionFailed'}"

/* What is different from good, and the findings that come of it. */
/* clang-format off */
static const struct {
	const char *facts, *findings;
} rows[] = {
	{ "{}", "" },

	/* which lock */
	{ "{'backend': {'lockfile': false}}", "error:lock-off" },
	{ "{'backend': {'lockfile': false, 'terraform_version': '1.9.0'}}", "error:lock-off" },
	{ "{'backend': {'terraform_version': '1.9.8'}}", "error:lock-too-new" },
	{ "{'backend': {'terraform_version': '0.15.5'}}", "error:lock-too-new" },
	{ "{'backend': {'terraform_version': '1.10.5'}}", "warning:lock-experimental" },
	{ "{'backend': {'terraform_version': '1.11.0-rc1'}}", "" },
	{ "{'backend': {'terraform_version': '2.0.0'}}", "" },
	{ "{'backend': {'terraform_version': ''}}", "" },
	{ "{'backend': {'table': 't'}}", "warning:lock-both" },
	{ "{'backend': {'table': 't', 'terraform_version': '1.10.0'}}", "warning:lock-experimental" },
	{ "{'backend': {'table': 't', 'terraform_version': '1.9.0'}}", "" },
	{ "{'backend': {'table': 't', 'lockfile': false}}", "warning:lock-table" },
	{ "{'backend': {'table': 't', 'lockfile': false, 'terraform_version': '1.9.0'}}", "" },
	{ "{'backend': {'type': 'local', 'name': 'local:/x', 'lockfile': false}}", "note:other-backend" },

	/* getting there */
	{ "{'credentials': {'error': 'none'}, 'clock': 999}", "error:no-credentials" },
	{ "{'clock': 30}", "" }, { "{'clock': -30}", "" },
	{ "{'clock': 31}", "warning:clock" }, { "{'clock': -31}", "warning:clock" },
	{ "{'clock': 300}", "warning:clock" }, { "{'clock': 301}", "error:clock" },
	{ "{'clock': -301}", "error:clock" }, { "{'clock': null}", "" },
	{ "{'asked': {'list': {'status': 0, 'message': 'no route'}}}", "error:store-silent" },
	{ "{'asked': {'list': {'status': 404, 'code': 'NoSuchBucket'}}}", "error:bucket-absent" },
	{ "{'asked': {'list': {'status': 301, 'code': 'PermanentRedirect', 'region': 'us-east-2'}}}", "error:bucket-region" },
	{ "{'asked': {'list': {'status': 301, 'code': 'PermanentRedirect'}}}", "error:store-refuses" },
	{ "{'asked': {'list': {'status': 403, 'code': 'InvalidAccessKeyId'}}}", "error:store-refuses" },
	{ "{'clock': 1200, 'asked': {'list': {'status': 403, 'code': 'RequestTimeTooSkewed'}}}", "error:clock error:store-refuses" },

	/* the bucket */
	{ "{'asked': {'versioning': {'said': {'Status': 'Suspended'}}}}", "error:not-versioned" },
	{ "{'asked': {'versioning': {'said': {'Status': null}}}}", "error:not-versioned" },
	{ "{'asked': {'versioning': " DENIED "}}", "note:right-missing" },
	{ "{'asked': {'versioning': {'status': 501}}}", "note:not-told" },
	{ "{'asked': {'encryption': {'status': 404, 'code': 'ServerSideEncryptionConfigurationNotFoundError'}}}", "warning:not-encrypted" },
	{ "{'asked': {'encryption': {'status': 405, 'code': 'MethodNotAllowed'}}}", "note:not-told" },
	{ "{'asked': {'public': {'status': 404, 'code': 'NoSuchPublicAccessBlockConfiguration'}}}", "error:not-private" },
	{ "{'asked': {'public': {'said': {'BlockPublicPolicy': 'false'}}}}", "error:not-private" },
	{ "{'asked': {'public': {'said': {'RestrictPublicBuckets': null}}}}", "error:not-private" },
	{ "{'asked': {'public': {'status': 0, 'message': 'time-out'}}}", "note:not-told" },
	{ "{'asked': {'logging': {'said': {'TargetBucket': null}}}}", "warning:not-logged" },
	{ "{'asked': {'logging': {'said': {'TargetBucket': null}}, 'public': {'status': 404}}}", "error:not-private warning:not-logged" },

	/* rights in it */
	{ "{'asked': {'list': " DENIED "}}", "error:right-missing" },
	{ "{'asked': {'list': " DENIED ", 'state': {'status': 403}, 'lock': {'status': 403}, 'write': " DENIED "}}", "error:right-missing" },
	{ "{'asked': {'state': {'status': 403}}}", "error:right-missing" },
	{ "{'asked': {'state': {'status': 403}, 'lock': {'status': 403}}}", "error:right-missing error:right-missing" },
	{ "{'asked': {'write': " DENIED "}}", "error:right-missing" },
	{ "{'asked': {'write': " REFUSED "}}", "" },

	/* conditions */
	{ "{'asked': {'write': {'status': 200, 'code': ''}}}", "error:no-conditions" },
	{ "{'aws': false}", "note:not-probed" },
	{ "{'aws': false, 'asked': {'create': {'status': 200}, 'create_again': " REFUSED ", 'swap_wrong': " REFUSED ", 'remove': {'status': 204}}}", "" },
	{ "{'asked': {'create': {'status': 200}, 'create_again': {'status': 409}, 'swap_wrong': {'status': 404}, 'remove': {'status': 204}}}", "" },
	{ "{'asked': {'create': {'status': 200}, 'create_again': {'status': 200}, 'remove': {'status': 204}}}", "error:no-conditions" },
	{ "{'asked': {'create': {'status': 200}, 'create_again': " REFUSED ", 'swap_wrong': {'status': 200}, 'remove': {'status': 204}}}", "error:no-conditions" },
	{ "{'asked': {'create': {'status': 200}, 'create_again': " REFUSED ", 'swap_wrong': {'status': 500}, 'remove': {'status': 204}}}", "warning:probe-unclear" },
	{ "{'asked': {'create': {'status': 200}, 'create_again': " REFUSED ", 'swap_wrong': " REFUSED ", 'remove': " DENIED "}}", "error:right-missing" },
	{ "{'asked': {'create': " DENIED "}}", "error:right-missing" },
	{ "{'asked': {'create': {'status': 501, 'code': 'NotImplemented'}}}", "error:no-conditions" },
	{ "{'asked': {'create': {'status': 503}}}", "warning:probe-unclear" },

	/* the table */
	{ "{" TABLE "{" TABLE_OK("LockID", "S", PER_REQUEST) "}}", "" },
	{ "{" TABLE "{" TABLE_OK("LockID", "N", PER_REQUEST) "}}", "error:table-key" },
	{ "{" TABLE "{" TABLE_OK("lockid", "S", PER_REQUEST) "}}", "error:table-key" },
	{ "{" TABLE "{'table': {'status': 200, 'said': {'Table': {'KeySchema': [{'AttributeName': 'LockID'}, {'AttributeName': 'x'}]}}}}}", "error:table-key" },
	{ "{" TABLE "{" TABLE_OK("LockID", "S", "") "}}", "warning:table-billing" },
	{ "{" TABLE "{" TABLE_OK("LockID", "S", PER_REQUEST ", 'Replicas': [{'RegionName': 'x'}]") "}}", "warning:table-replicas" },
	{ "{" TABLE "{" TABLE_OK("LockID", "S", PER_REQUEST ", 'MultiRegionConsistency': 'STRONG', 'Replicas': [{'RegionName': 'x'}]") "}}", "" },
	{ "{" TABLE "{'table': {'status': 400, 'code': 'ResourceNotFoundException'}}}", "error:table-absent" },
	{ "{" TABLE "{'table': " DENIED_400 "}}", "note:right-missing" },
	{ "{" TABLE "{'table': {'status': 500}}}", "warning:table-silent" },
	{ "{" TABLE "{'get': " DENIED_400 ", 'put': {'status': 400, 'code': 'ConditionalCheckFailedException'}}}", "error:right-missing" },
	{ "{" TABLE "{'get': " DENIED_400 ", 'put': " DENIED_400 ", 'delete': " DENIED_400 "}}", "error:right-missing error:right-missing error:right-missing" },

	/* this machine */
	{ "{'daemon': {'error': 'denied'}}", "error:daemon-denied" },
	{ "{'daemon': {'error': 'absent', 'mode': null}}", "error:daemon-absent" },
	{ "{'daemon': {'error': 'time-out'}}", "error:daemon-silent" },
	{ "{'daemon': {'mode': 438}}", "warning:socket-open" },
	{ "{'daemon': {'mode': 438, 'system': false}}", "" },
	{ "{'daemon': {'group': 'root'}}", "warning:socket-group" },
	{ "{'others': [{'directory': '/a', 'user': 'ann', 'same_user': true}, {'directory': '/b', 'user': 'bob', 'same_user': false}]}", "warning:same-state" },
};
/* clang-format on */

/* Written with ' in place of ", which C would have quoted. */
static json_t *facts_of(const char *text)
{
	char *copy = strdup(text);
	json_error_t error;
	json_t *value;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	value = json_loads(copy, 0, &error);
	ck_assert_msg(value, "%s: %s", copy, error.text);
	free(copy);
	return value;
}

/* A null takes a member away. */
static void drop_nulls(json_t *object)
{
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe(object, next, name, value)
	{
		if (json_is_null(value))
			(void)json_object_del(object, name);
		else
			drop_nulls(value);
	}
}

static json_t *judge(const char *difference)
{
	json_t *facts = facts_of(good), *more = facts_of(difference), *findings;

	ck_assert_int_eq(json_object_update_recursive(facts, more), 0);
	drop_nulls(facts);
	findings = findings_judge(facts);
	ck_assert(findings);
	json_decref(facts);
	json_decref(more);
	return findings;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	ck_assert_msg(text, "%s is no text", name);
	return text;
}

START_TEST(each_fact_is_judged)
{
	char got[1024] = "";
	json_t *findings = judge(rows[_i].facts);

	for (size_t i = 0; i < json_array_size(findings); i++) {
		const json_t *finding = json_array_get(findings, i);

		(void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s:%s",
			       i ? " " : "", text_of(finding, "level"), text_of(finding, "code"));
		ck_assert_str_ne(text_of(finding, "what"), "");
		ck_assert_str_ne(text_of(finding, "why"), "");
		if (strcmp(text_of(finding, "level"), "note") != 0)
			ck_assert_str_ne(text_of(finding, "fix"), "");
	}
	ck_assert_msg(strcmp(got, rows[_i].findings) == 0, "%s: '%s', not '%s'", rows[_i].facts,
		      got, rows[_i].findings);
	json_decref(findings);
}
END_TEST

START_TEST(the_worst_counts)
{
	json_t *findings = judge("{}");

	ck_assert_int_eq(findings_worst(findings), FINDING_NOTE);
	json_decref(findings);
	findings = judge("{'clock': 60, 'aws': false}");
	ck_assert_int_eq(findings_worst(findings), FINDING_WARNING);
	json_decref(findings);
	findings = judge("{'clock': 60, 'asked': {'public': {'status': 404}}}");
	ck_assert_int_eq(findings_worst(findings), FINDING_ERROR);
	json_decref(findings);
}
END_TEST

START_TEST(a_fix_names_what_it_is_for)
{
	static const struct {
		const char *facts, *fix;
	} fixes[] = {
		{ "{'asked': {'versioning': {'said': null}}}",
		  "put-bucket-versioning --bucket b \\" },
		{ "{'asked': {'state': {'status': 403}}}",
		  "\"Action\": \"s3:GetObject\",\n  \"Resource\": \"arn:aws:s3:::b/k\"" },
		{ "{'backend': {'region': 'cn-north-1'}, 'asked': {'lock': {'status': 403}}}",
		  "arn:aws-cn:s3:::b/k.tflock" },
		{ "{'backend': {'region': 'us-gov-east-1'}, 'asked': {'put': " DENIED_400 "}}",
		  "arn:aws-us-gov:dynamodb:us-gov-east-1:*:table/" },
		{ "{'asked': {'list': {'status': 404}}}",
		  "--create-bucket-configuration LocationConstraint=eu-west-1" },
		{ "{'backend': {'lockfile': false}}", "use_lockfile = true" },
		{ "{'backend': {'lockfile': false, 'terraform_version': '1.9.0'}}",
		  "dynamodb_table" },
		{ "{'daemon': {'error': 'denied', 'group': 'infra'}}", "usermod -aG infra" },
	};

	for (size_t i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++) {
		json_t *findings = judge(fixes[i].facts);
		const char *fix = text_of(json_array_get(findings, 0), "fix");

		ck_assert_msg(strstr(fix, fixes[i].fix), "%s: %s", fixes[i].facts, fix);
		json_decref(findings);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, each_fact_is_judged, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, the_worst_counts);
	tcase_add_test(tcase, a_fix_names_what_it_is_for);
}

int main(void)
{
	return unit_main("doctor", add_tests);
}
