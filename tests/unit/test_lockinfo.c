/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "daemon/lock/lockinfo.h"
#include "tests/unit/unit.h"

#define NONCE "00112233445566778899aabbccddeeff"
#define OURS                                                                                           \
	",\"Tfqd\":{\"v\":1,\"host\":\"m\",\"boot\":\"b\",\"job\":\"42\",\"seq\":7,\"nonce\":\"" NONCE \
	"\",\"lease\":900,\"epoch\":1}}"

/* terraform 1.11.4's own lock body, as it went over the wire. */
static const char captured[] =
	"{\"ID\":\"4fd3b847-365f-d96c-4f7b-40a0ce0a0763\",\"Operation\":\"OperationTypeApply\","
	"\"Info\":\"\",\"Who\":\"root@vm\",\"Version\":\"1.11.4\","
	"\"Created\":\"2026-11-22T17:46:51.214148012Z\","
	"\"Path\":\"tfbucket/app/terraform.tfstate\"}";

static const struct lockinfo as_captured = {
	.id = "4fd3b847-365f-d96c-4f7b-40a0ce0a0763",
	.operation = "OperationTypeApply",
	.info = "",
	.who = "root@vm",
	.version = "1.11.4",
	.created = "2026-11-22T17:46:51.214148012Z",
	.path = "tfbucket/app/terraform.tfstate",
	.host = "m",
	.boot = "b",
	.job = 42,
	.seq = 7,
	.epoch = 1,
	.nonce = NONCE,
	.lease_sec = 900,
};

START_TEST(body_is_terraforms_and_our_member_behind_it)
{
	AUTO_FREE char *body = NULL, *wanted = NULL;

	ck_assert_int_eq(lockinfo_format(&body, &as_captured), 0);
	ck_assert_int_gt(asprintf(&wanted, "%.*s%s", (int)sizeof(captured) - 2, captured, OURS), 0);
	ck_assert_str_eq(body, wanted);
}
END_TEST

START_TEST(plain_body_is_terraforms_alone)
{
	AUTO_FREE char *body = NULL;

	ck_assert_int_eq(lockinfo_format_plain(&body, &as_captured), 0);
	ck_assert_str_eq(body, captured);
}
END_TEST

static const struct {
	struct lockinfo_lease lease;
	bool is_tfqd;
	uint64_t lease_sec;
} leases[] = {
	/* clang-format off */
	{ { "1", NONCE, "m", "42", "900000", "7" }, true, 900 },
	{ { "1", NONCE, "m", "42", "0", "7" }, true, 0 },
	{ { "1", NONCE, "m", "42", "86400000", "7" }, true, 86400 },
	{ { "1", NONCE, "m", "42", "86400001", "7" }, false, 0 },
	{ { "2", NONCE, "m", "42", "900000", "7" }, false, 0 },
	{ { NULL, NONCE, "m", "42", "900000", "7" }, false, 0 },
	{ { "1", "x", "m", "42", "900000", "7" }, false, 0 },
	{ { "1", NULL, "m", "42", "900000", "7" }, false, 0 },
	{ { "1", NONCE, "m", "42", NULL, "7" }, false, 0 },
	{ { "1", NONCE, "m", "42", "-1", "7" }, false, 0 },
	{ { "1", NONCE, "m", "42", "1.5", "7" }, false, 0 },
	/* clang-format on */
};
#define LEASE_COUNT ((int)(sizeof(leases) / sizeof(leases[0])))

START_TEST(lease_beside_the_info_is_believed_as_a_whole_or_not)
{
	struct lockinfo_seen seen = { .is_tfqd = true, .nonce = NONCE, .lease_sec = 5, .job = 9 };

	lockinfo_take_lease(&seen, &leases[_i].lease);
	ck_assert_int_eq(seen.is_tfqd, leases[_i].is_tfqd);
	ck_assert_uint_eq(seen.lease_sec, leases[_i].lease_sec);
	ck_assert_uint_eq(lockinfo_lease_usec(&seen), leases[_i].lease_sec * 1000000);
	ck_assert_str_eq(seen.nonce, leases[_i].is_tfqd ? NONCE : "");
	ck_assert_str_eq(seen.host, leases[_i].is_tfqd ? "m" : "");
	ck_assert_uint_eq(seen.job, leases[_i].is_tfqd ? 42 : 0);
	ck_assert_uint_eq(seen.epoch, leases[_i].is_tfqd ? 7 : 0);
}
END_TEST

/* What Go 1.23's encoding/json writes for a string. */
static const struct {
	const char *text, *json;
} strings[] = {
	{ "", "" },
	{ "tfbucket/a&b<c>\xe2\x80\xa8/t.tfstate",
	  "tfbucket/a\\u0026b\\u003cc\\u003e\\u2028/t.tfstate" },
	{ "\xe2\x80\xa9", "\\u2029" },
	{ "\xe2\x80\xa7\xe2\x80\xb0", "\xe2\x80\xa7\xe2\x80\xb0" }, /* their neighbours */
	{ "\xe2\x81\xa5", "\xe2\x81\xa5" },
	{ "a\"b\\c/d'e", "a\\\"b\\\\c/d'e" },
	{ "\n\r\t", "\\n\\r\\t" },
	{ "\b\f", "\\b\\f" },
	{ "\x01\x07\x0b\x0e\x1b\x1f", "\\u0001\\u0007\\u000b\\u000e\\u001b\\u001f" },
	{ "\x7f", "\x7f" },
	{ "M\xc3\xbcller \xe6\x97\xa5 \xf0\x9f\x98\x80",
	  "M\xc3\xbcller \xe6\x97\xa5 \xf0\x9f\x98\x80" },
	{ "=+%@`~", "=+%@`~" },
};
#define STRING_COUNT ((int)(sizeof(strings) / sizeof(strings[0])))

START_TEST(strings_are_escaped_as_go_does)
{
	AUTO_FREE char *body = NULL, *member = NULL;
	struct lockinfo info = as_captured;
	struct lockinfo_seen seen;
	json_t *object;

	info.path = info.info = strings[_i].text;
	ck_assert_int_eq(lockinfo_format(&body, &info), 0);
	ck_assert_int_gt(asprintf(&member, ",\"Path\":\"%s\",\"Tfqd\":{", strings[_i].json), 0);
	ck_assert_msg(strstr(body, member) != NULL, "%s not in %s", member, body);

	object = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(object);
	ck_assert_str_eq(json_string_value(json_object_get(object, "Path")), strings[_i].text);
	json_decref(object);
	ck_assert_int_eq(lockinfo_parse(&seen, body, strlen(body)), 0);
}
END_TEST

START_TEST(no_member_of_ours_hides_one_of_terraforms)
{
	AUTO_FREE char *body = NULL;
	const char *key;
	json_t *object, *value;
	unsigned count = 0;
	static const char *const theirs[] = { "ID",      "Operation", "Info", "Who",
					      "Version", "Created",   "Path" };

	ck_assert_int_eq(lockinfo_format(&body, &as_captured), 0);
	ck_assert_int_eq(body[strlen(body) - 1], '}');
	object = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	json_object_foreach(object, key, value)
	{
		for (size_t i = 0; i < 7; i++)
			count += strcasecmp(key, theirs[i]) == 0;
	}
	ck_assert_uint_eq(count, 7);
	ck_assert_uint_eq(json_object_size(object), 8);
	json_decref(object);
}
END_TEST

START_TEST(body_reads_back)
{
	AUTO_FREE char *body = NULL;
	struct lockinfo_seen seen;
	struct lockinfo info = as_captured;

	info.info = "tfqd job 42: 3 wait";
	info.lease_sec = _i ? 0 : 86400;
	ck_assert_int_eq(lockinfo_format(&body, &info), 0);
	ck_assert_int_eq(lockinfo_parse(&seen, body, strlen(body)), 0);
	ck_assert_str_eq(seen.id, info.id);
	ck_assert_str_eq(seen.operation, info.operation);
	ck_assert_str_eq(seen.info, info.info);
	ck_assert_str_eq(seen.who, info.who);
	ck_assert_str_eq(seen.created, info.created);
	ck_assert(seen.is_tfqd);
	ck_assert_str_eq(seen.nonce, NONCE);
	ck_assert_uint_eq(seen.lease_sec, info.lease_sec);
}
END_TEST

START_TEST(no_prefix_is_taken_for_the_whole)
{
	AUTO_FREE char *body = NULL;
	struct lockinfo_seen seen;
	size_t len;

	ck_assert_int_eq(lockinfo_format(&body, &as_captured), 0);
	len = strlen(body);
	for (size_t i = 0; i < len; i++) {
		char *part = malloc(i + 1); /* exactly as long: a reader beyond its end is seen */

		ck_assert_ptr_nonnull(part);
		memcpy(part, body, i);
		ck_assert_int_eq(lockinfo_parse(&seen, part, i), -EBADMSG);
		free(part);
	}
}
END_TEST

START_TEST(any_byte_may_be_wrong)
{
	AUTO_FREE char *body = NULL;
	struct lockinfo_seen seen;
	size_t len;

	ck_assert_int_eq(lockinfo_format(&body, &as_captured), 0);
	len = strlen(body);
	for (size_t i = 0; i < len; i++) {
		const char was = body[i];

		for (int c = 0; c < 256; c++) {
			body[i] = (char)c;
			(void)lockinfo_parse(&seen, body, len);
			ck_assert(seen.is_tfqd == (seen.nonce[0] != '\0'));
			ck_assert(!seen.is_tfqd || strlen(seen.nonce) == LOCKINFO_NONCE_LEN - 1);
		}
		body[i] = was;
	}
}
END_TEST

/* Locks of others: 0, or what they are refused with; never ours. */
static const struct {
	const char *body;
	int r;
	const char *id;
} foreign[] = {
	/* clang-format off */
	{ captured, 0, "4fd3b847-365f-d96c-4f7b-40a0ce0a0763" },
	{ "{\"ID\":\"x\"}", 0, "x" },
	{ " \n{ \"ID\" : \"x\" }\n ", 0, "x" },
	{ "{\"ID\":\"x\",\"Who\":null,\"Operation\":1,\"Info\":[],\"Created\":{}}", 0, "x" },
	{ "{\"ID\":\"x\",\"LeaseExpires\":\"\",\"Heartbeat\":{\"seq\":4},\"arr\":[1,2,null]}", 0, "x" },
	{ "{\"ID\":\"a\\nb\\u001b[31m\"}", 0, "a?b?[31m" },
	{ "{\"ID\":\"x\",\"Tfqd\":null}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":[]}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":\"1\"}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{}}", 0, "x" },
	{ "{\"ID\":\"x\",\"tfqd\":{\"v\":1,\"nonce\":\"" NONCE "\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":2,\"nonce\":\"" NONCE "\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":\"1\",\"nonce\":\"" NONCE "\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1.0,\"nonce\":\"" NONCE "\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"nonce\":\"" NONCE "\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"" NONCE "\"}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"" NONCE "\",\"lease\":-1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"" NONCE "\",\"lease\":1.5}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"" NONCE "\",\"lease\":\"1\"}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"" NONCE "0\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"0011\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"00112233445566778899AABBCCDDEEFF\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"0011223344556677 899aabbccddeeff\",\"lease\":1}}", 0, "x" },
	{ "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":12,\"lease\":1}}", 0, "x" },

	{ "", -EBADMSG, "" },
	{ " ", -EBADMSG, "" },
	{ "null", -EBADMSG, "" },
	{ "[]", -EBADMSG, "" },
	{ "\"ID\"", -EBADMSG, "" },
	{ "{}", -ENOMSG, "" },
	{ "{\"ID\":1}", -ENOMSG, "" },
	{ "{\"ID\":null}", -ENOMSG, "" },
	{ "{\"ID\":\"\"}", -ENOMSG, "" },
	{ "{\"ID\":\"x\"}x", -EBADMSG, "" },
	{ "{\"ID\":\"x\"}{}", -EBADMSG, "" },
	{ "{\"ID\":\"x\",}", -EBADMSG, "" },
	{ "{'ID':'x'}", -EBADMSG, "" },
	{ "<html><body>Log in</body></html>", -EBADMSG, "" },
	{ "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", -EBADMSG, "" },
	/* clang-format on */
};
#define FOREIGN_COUNT ((int)(sizeof(foreign) / sizeof(foreign[0])))

START_TEST(lock_of_another_is_never_ours)
{
	struct lockinfo_seen seen;

	memset(&seen, 0x55, sizeof(seen));
	ck_assert_msg(lockinfo_parse(&seen, foreign[_i].body, strlen(foreign[_i].body)) ==
			      foreign[_i].r,
		      "%s", foreign[_i].body);
	ck_assert_str_eq(seen.id, foreign[_i].id);
	ck_assert(!seen.is_tfqd);
	ck_assert_str_eq(seen.nonce, "");
	ck_assert_uint_eq(seen.lease_sec, 0);
}
END_TEST

START_TEST(member_that_is_there_twice_is_not_ours)
{
	static const char body[] = "{\"ID\":\"x\",\"Tfqd\":{\"v\":1,\"nonce\":\"" NONCE
				   "\",\"nonce\":\"" NONCE "\",\"lease\":1}}";
	struct lockinfo_seen seen;

	(void)lockinfo_parse(&seen, body, strlen(body));
	ck_assert(!seen.is_tfqd);
}
END_TEST

START_TEST(long_texts_are_cut_and_long_bodies_refused)
{
	const size_t size = LOCKINFO_BODY_MAX + 1;
	struct lockinfo_seen seen;
	char *body = malloc(size);

	ck_assert_ptr_nonnull(body);
	memset(body, 'x', size);
	(void)mempcpy(body, "{\"ID\":\"", 7);
	body[LOCKINFO_BODY_MAX - 2] = '"';
	body[LOCKINFO_BODY_MAX - 1] = '}';
	body[LOCKINFO_BODY_MAX] = ' ';
	ck_assert_int_eq(lockinfo_parse(&seen, body, LOCKINFO_BODY_MAX), 0);
	ck_assert_uint_eq(strlen(seen.id), LOCKINFO_TEXT_MAX - 1);
	ck_assert_int_eq(lockinfo_parse(&seen, body, LOCKINFO_BODY_MAX + 1), -EFBIG);

	memset(body, '[', size);
	ck_assert_int_eq(lockinfo_parse(&seen, body, LOCKINFO_BODY_MAX), -EBADMSG);
	free(body);
}
END_TEST

static const struct {
	time_t sec;
	long nsec;
	const char *text;
} times[] = {
	{ 1795369611, 214148012, "2026-11-22T17:46:51.214148012Z" },
	{ 1795369611, 452794300, "2026-11-22T17:46:51.4527943Z" },
	{ 1795369611, 0, "2026-11-22T17:46:51Z" },
	{ 1795369611, 1, "2026-11-22T17:46:51.000000001Z" },
	{ 1795369611, 500000000, "2026-11-22T17:46:51.5Z" },
	{ 1795369611, 10, "2026-11-22T17:46:51.00000001Z" },
	{ 1795369611, 999999999, "2026-11-22T17:46:51.999999999Z" },
	{ 0, 0, "1970-01-01T00:00:00Z" },
	{ 1709164800, 0, "2024-02-29T00:00:00Z" },
	{ 253402300799, 999999999, "9999-12-31T23:59:59.999999999Z" },
};
#define TIME_COUNT ((int)(sizeof(times) / sizeof(times[0])))

START_TEST(time_is_written_as_go_does)
{
	const struct timespec at = { .tv_sec = times[_i].sec, .tv_nsec = times[_i].nsec };
	char buf[40];

	ck_assert_ptr_eq(lockinfo_time(buf, &at), buf);
	ck_assert_str_eq(buf, times[_i].text);
}
END_TEST

START_TEST(id_and_nonce_have_their_form)
{
	static const unsigned char zeros[16], ones[16] = { [0 ... 15] = 0xff };
	static const unsigned char count[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
						 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	char id[LOCKINFO_ID_LEN], nonce[LOCKINFO_NONCE_LEN];

	lockinfo_id(id, zeros);
	ck_assert_str_eq(id, "00000000-0000-4000-8000-000000000000");
	lockinfo_id(id, ones);
	ck_assert_str_eq(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
	lockinfo_id(id, count);
	ck_assert_str_eq(id, "00112233-4455-4677-8899-aabbccddeeff");
	lockinfo_nonce(nonce, count);
	ck_assert_str_eq(nonce, NONCE);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, plain_body_is_terraforms_alone);
	tcase_add_loop_test(tcase, lease_beside_the_info_is_believed_as_a_whole_or_not, 0,
			    LEASE_COUNT);
	tcase_add_test(tcase, body_is_terraforms_and_our_member_behind_it);
	tcase_add_loop_test(tcase, strings_are_escaped_as_go_does, 0, STRING_COUNT);
	tcase_add_test(tcase, no_member_of_ours_hides_one_of_terraforms);
	tcase_add_loop_test(tcase, body_reads_back, 0, 2);
	tcase_add_test(tcase, no_prefix_is_taken_for_the_whole);
	tcase_add_test(tcase, any_byte_may_be_wrong);
	tcase_add_loop_test(tcase, lock_of_another_is_never_ours, 0, FOREIGN_COUNT);
	tcase_add_test(tcase, member_that_is_there_twice_is_not_ours);
	tcase_add_test(tcase, long_texts_are_cut_and_long_bodies_refused);
	tcase_add_loop_test(tcase, time_is_written_as_go_does, 0, TIME_COUNT);
	tcase_add_test(tcase, id_and_nonce_have_their_form);
}

int main(void)
{
	return unit_main("lockinfo", add_tests);
}
