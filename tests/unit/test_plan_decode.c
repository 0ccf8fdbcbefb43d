/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/backend.h"
#include "common/plan/plan_decode.h"
#include "common/plan/protobuf.h"
#include "tests/unit/unit.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* --- messages made by hand ------------------------------------------------------------------- */

/* A literal with NULs in it, and its length. */
#define BYTES(text) (text), sizeof(text) - 1

struct message {
	unsigned char data[2 * BACKEND_FILE_MAX];
	size_t len;
};

static void add(struct message *message, const void *data, size_t len)
{
	ck_assert_uint_le(message->len + len, sizeof(message->data));
	memcpy(message->data + message->len, data, len);
	message->len += len;
}

static void add_varint(struct message *message, uint64_t value)
{
	for (; value > 0x7f; value >>= 7)
		add(message, &(unsigned char){ (unsigned char)(value | 0x80) }, 1);
	add(message, &(unsigned char){ (unsigned char)value }, 1);
}

static void add_number(struct message *message, uint64_t number, uint64_t value)
{
	add_varint(message, number << 3 | PROTOBUF_VARINT);
	add_varint(message, value);
}

static void add_bytes(struct message *message, uint64_t number, const void *data, size_t len)
{
	add_varint(message, number << 3 | PROTOBUF_BYTES);
	add_varint(message, len);
	add(message, data, len);
}

static void add_backend(struct message *plan, const char *type, const void *config, size_t len)
{
	static struct message value, backend;

	value.len = backend.len = 0;
	add_bytes(&value, 1, config, len);
	add_bytes(&backend, 1, type, strlen(type));
	add_bytes(&backend, 2, value.data, value.len);
	add_bytes(&backend, 3, BYTES("w1"));
	add_bytes(plan, 13, backend.data, backend.len);
}

/* A plan as terraform writes it, but for the backend's config. */
static void make_plan(struct message *plan, const void *config, size_t len)
{
	plan->len = 0;
	add_number(plan, 1, 3);
	add_bytes(plan, 3, BYTES("\n\x14terraform_data.work"));
	add_bytes(plan, 4, BYTES("name"));
	add_backend(plan, "s3", config, len);
	add_bytes(plan, 14, BYTES("1.11.4"));
	add_bytes(plan, 21, BYTES("a change that is no change"));
	add_number(plan, 25, 1);
}

static char *decode(const struct message *plan, int expect, const char *says)
{
	const char *why = NULL;
	char *text = NULL;
	const int r = plan_decode(&text, plan->data, plan->len, &why);

	ck_assert_msg(r == expect, "%d, %s", r, why ? why : text);
	ck_assert((r == 0) == (text != NULL));
	if (says)
		ck_assert_msg(why && strstr(why, says), "%s", why ? why : "no reason");
	return text;
}

/* --- what is understood ---------------------------------------------------------------------- */

START_TEST(backend_is_written_as_init_writes_it)
{
	static struct message plan;
	AUTO_FREE char *text = NULL;

	make_plan(&plan, BYTES("\x82\xa6"
			       "bucket\xa1"
			       "b\xac"
			       "use_lockfile\xc3"));
	text = decode(&plan, 0, NULL);
	ck_assert_str_eq(text,
			 "{\"version\":3,\"terraform_version\":\"1.11.4\",\"backend\":"
			 "{\"type\":\"s3\",\"config\":{\"bucket\":\"b\",\"use_lockfile\":true},"
			 "\"hash\":0}}");
}
END_TEST

START_TEST(backend_parse_takes_it)
{
	static struct message plan;
	char directory[] = "/dir", workspace[] = "w2";
	struct backend_source source = { .directory = directory, .workspace = workspace };
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;
	AUTO_FREE char *text = NULL;
	char *env[] = { NULL };

	make_plan(&plan, BYTES("\x84\xa6"
			       "bucket\xa3"
			       "bkt\xa3"
			       "key\xa1"
			       "k\xa6"
			       "region\xa2"
			       "r1\xac"
			       "use_lockfile\xc3"));
	text = decode(&plan, 0, NULL);
	source.file = text;
	ck_assert_int_eq(backend_parse(&backend, &source, env, true, &error), 0);
	ck_assert_str_eq(backend->name, "s3://bkt/env:/w2/k"); /* the workspace is not the plan's */
	ck_assert_str_eq(backend->terraform_version, "1.11.4");
}
END_TEST

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	const char *json; /* NULL: cannot be told */
} values[] = {
	/* clang-format off */
	{ "null", BYTES("\xc0"), "null" },
	{ "false", BYTES("\xc2"), "false" },
	{ "true", BYTES("\xc3"), "true" },
	{ "small", BYTES("\x07"), "7" },
	{ "negative", BYTES("\xff"), "-1" },
	{ "8 bits", BYTES("\xcc\xff"), "255" },
	{ "64 bits", BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), "9223372036854775807" },
	{ "64 bits, no sign", BYTES("\xcf\x80\0\0\0\0\0\0\0"), NULL },
	{ "64 bits, negative", BYTES("\xd3\x80\0\0\0\0\0\0\0"), "-9223372036854775808" },
	{ "float 32", BYTES("\xca\x3f\xc0\0\0"), "1.5" },
	{ "float 64", BYTES("\xcb\x3f\xf8\0\0\0\0\0\0"), "1.5" },
	{ "not a number", BYTES("\xcb\x7f\xf8\0\0\0\0\0\0"), NULL },
	{ "empty text", BYTES("\xa0"), "\"\"" },
	{ "text", BYTES("\xa3""a\"b"), "\"a\\\"b\"" },
	{ "text, 8 bits", BYTES("\xd9\x03""abc"), "\"abc\"" },
	{ "text, 16 bits", BYTES("\xda\0\x03""abc"), "\"abc\"" },
	{ "text, 32 bits", BYTES("\xdb\0\0\0\x03""abc"), "\"abc\"" },
	{ "text, UTF-8", BYTES("\xa2\xc3\xbc"), "\"\xc3\xbc\"" },
	{ "text, not UTF-8", BYTES("\xa1\xff"), NULL },
	{ "list", BYTES("\x92\xa1""a\xc0"), "[\"a\",null]" },
	{ "list, 16 bits", BYTES("\xdc\0\x01\xa1""a"), "[\"a\"]" },
	{ "empty list", BYTES("\x90"), "[]" },
	{ "map", BYTES("\x81\xa2s3\xa1u"), "{\"s3\":\"u\"}" },
	{ "map, 32 bits", BYTES("\xdf\0\0\0\x01\xa2s3\xa1u"), "{\"s3\":\"u\"}" },
	{ "empty map", BYTES("\x80"), "{}" },
	{ "map with a number for a name", BYTES("\x81\x01\xa1u"), NULL },
	{ "map with a NUL in a name", BYTES("\x81\xa2s\0\xa1u"), NULL },
	{ "map whose name is no UTF-8", BYTES("\x81\xa1\xff\xa1u"), NULL },
	{ "value that is not known yet", BYTES("\xd4\0\0"), NULL },
	{ "bytes", BYTES("\xc4\x01""a"), NULL },
	{ "nothing", BYTES(""), NULL },
	{ "no type", BYTES("\xc1"), NULL },
	{ "cut text", BYTES("\xa3""ab"), NULL },
	{ "cut list", BYTES("\x92\xc0"), NULL },
	{ "list of four thousand million", BYTES("\xdd\xff\xff\xff\xff\xc0"), NULL },
	{ "map of four thousand million", BYTES("\xdf\xff\xff\xff\xff\xa1""a\xc0"), NULL },
	{ "text of four thousand million", BYTES("\xdb\xff\xff\xff\xff""a"), NULL },
	{ "two values", BYTES("\xc0\xc0"), NULL },
	/* clang-format on */
};

START_TEST(values_become_json)
{
	static struct message plan;
	struct message *config = calloc(1, sizeof(*config));
	AUTO_FREE char *wanted = NULL;
	AUTO_FREE char *text = NULL;

	add(config, BYTES("\x81\xa1v"));
	add(config, values[_i].bytes, values[_i].len);
	make_plan(&plan, config->data, config->len);
	free(config);

	text = decode(&plan, values[_i].json ? 0 : -EOPNOTSUPP,
		      values[_i].json ? NULL : "does not know");
	if (!values[_i].json)
		return;
	ck_assert_int_gt(asprintf(&wanted, "\"config\":{\"v\":%s}", values[_i].json), 0);
	ck_assert_msg(strstr(text, wanted), "%s: %s", values[_i].name, text);
}
END_TEST

/* @depth maps in one another; the outermost is the config itself. */
static void make_nested(struct message *plan, unsigned int depth)
{
	struct message *config = calloc(1, sizeof(*config));

	while (--depth > 0)
		add(config, BYTES("\x81\xa1v"));
	add(config, BYTES("\x80"));
	make_plan(plan, config->data, config->len);
	free(config);
}

START_TEST(depth_has_a_limit)
{
	static struct message plan;
	AUTO_FREE char *text = NULL;

	make_nested(&plan, PLAN_DEPTH_MAX);
	text = decode(&plan, 0, NULL);
	ck_assert_uint_eq(strlen(strstr(text, "}}}")), PLAN_DEPTH_MAX + strlen(",\"hash\":0}}"));
	make_nested(&plan, PLAN_DEPTH_MAX + 1);
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
	make_nested(&plan, 80000); /* a stack for that would be too deep */
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
}
END_TEST

START_TEST(length_has_a_limit)
{
	static struct message plan;
	struct message *config = calloc(1, sizeof(*config));
	const size_t frame =
		strlen("{\"version\":3,\"terraform_version\":\"1.11.4\",\"backend\":{\"type\":"
		       "\"s3\",\"config\":{\"v\":\"\"},\"hash\":0}}");
	const uint32_t len = (uint32_t)(BACKEND_FILE_MAX - frame);

	for (uint32_t more = 0; more < 2; more++) {
		const uint32_t size = len + more;
		const unsigned char head[] = { 0x81,
					       0xa1,
					       'v',
					       0xdb,
					       (unsigned char)(size >> 24),
					       (unsigned char)(size >> 16),
					       (unsigned char)(size >> 8),
					       (unsigned char)size };
		AUTO_FREE char *text = NULL;

		config->len = 0;
		add(config, head, sizeof(head));
		memset(config->data + config->len, 'x', size);
		config->len += size;
		make_plan(&plan, config->data, config->len);
		text = decode(&plan, more ? -EOPNOTSUPP : 0, more ? "does not know" : NULL);
		if (text)
			ck_assert_uint_eq(strlen(text), BACKEND_FILE_MAX);
	}
	free(config);
}
END_TEST

/* --- what is not ----------------------------------------------------------------------------- */

static const char config[] = "\x81\xa1k\xc0";

START_TEST(unknown_versions_are_terraforms)
{
	static struct message plan;

	for (uint64_t version = 0; version < 6; version++) {
		plan.len = 0;
		if (version > 0) /* 0 is what a field has that is not there */
			add_number(&plan, 1, version);
		add_backend(&plan, "s3", BYTES(config));
		if (version == 3)
			free(decode(&plan, 0, NULL));
		else
			ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "format"));
	}
}
END_TEST

START_TEST(plan_without_a_backend_is_refused)
{
	static struct message plan;

	plan.len = 0;
	add_number(&plan, 1, 3);
	ck_assert_ptr_null(decode(&plan, -EBADMSG, "names no backend"));
	add_bytes(&plan, 13, BYTES(""));
	ck_assert_ptr_null(decode(&plan, -EBADMSG, "names no backend"));

	plan.len = 0;
	add_number(&plan, 1, 3);
	add_backend(&plan, "", BYTES(config));
	ck_assert_ptr_null(decode(&plan, -EBADMSG, "names no backend"));

	plan.len = 0;
	add_number(&plan, 1, 3);
	add_backend(&plan, "s3", BYTES(""));
	ck_assert_ptr_null(decode(&plan, -EBADMSG, "names no backend"));
}
END_TEST

START_TEST(config_that_is_no_map_is_terraforms)
{
	static struct message plan;

	make_plan(&plan, BYTES("\xc0"));
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
	make_plan(&plan, BYTES("\x90"));
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
}
END_TEST

START_TEST(fields_that_come_twice_are_terraforms)
{
	static struct message plan;

	make_plan(&plan, BYTES(config));
	add_backend(&plan, "gcs", BYTES(config));
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
	make_plan(&plan, BYTES(config));
	add_bytes(&plan, 14, BYTES("1.2.3"));
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
}
END_TEST

START_TEST(fields_of_another_type_are_terraforms)
{
	static struct message plan;

	plan.len = 0;
	add_number(&plan, 1, 3);
	add_number(&plan, 13, 1);
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
}
END_TEST

START_TEST(version_of_terraform_may_be_absent_but_not_garbage)
{
	static struct message plan;
	AUTO_FREE char *text = NULL;

	plan.len = 0;
	add_number(&plan, 1, 3);
	add_backend(&plan, "s3", BYTES(config));
	text = decode(&plan, 0, NULL);
	ck_assert_msg(strstr(text, "\"terraform_version\":\"\""), "%s", text);
	add_bytes(&plan, 14, BYTES("\xff"));
	ck_assert_ptr_null(decode(&plan, -EOPNOTSUPP, "does not know"));
}
END_TEST

/* Cut anywhere, it is damaged, or lacks what comes last; never more than there is. */
START_TEST(plan_cut_anywhere_is_no_crash)
{
	static struct message plan;
	size_t whole = 0;

	make_plan(&plan, BYTES("\x81\xa6"
			       "bucket\xa1"
			       "b"));
	for (size_t len = 0; len < plan.len; len++) {
		AUTO_FREE unsigned char *copy = malloc(len + 1); /* its own piece, for ASan */
		const char *why = NULL;
		AUTO_FREE char *text = NULL;
		int r;

		memcpy(copy, plan.data, len);
		r = plan_decode(&text, copy, len, &why);
		ck_assert(r == 0 || r == -EBADMSG || r == -EOPNOTSUPP);
		ck_assert((r == 0) == (text != NULL) && (r == 0) == (why == NULL));
		whole += r == 0;
	}
	/* Whole between two fields behind the backend alone: after 13, after 14 and after 21. */
	ck_assert_uint_eq(whole, 3);
}
END_TEST

START_TEST(random_changes_are_survived)
{
	const unsigned int seed = (unsigned int)time(NULL);
	static struct message plan;

	printf("random_changes_are_survived: seed %u\n", seed);
	srandom(seed);
	for (int i = 0; i < 20000; i++) {
		const char *why = NULL;
		AUTO_FREE char *text = NULL;
		int r;

		make_plan(&plan, BYTES("\x83\xa6"
				       "bucket\xa1"
				       "b\xa9"
				       "endpoints\x81\xa2s3\xa1u\xa1l\x92\xa1m\xc0"));
		for (long n = random() % 4; n >= 0; n--)
			plan.data[(size_t)random() % plan.len] = (unsigned char)random();
		r = plan_decode(&text, plan.data, plan.len, &why);
		ck_assert_msg(r == 0 || ((r == -EBADMSG || r == -EOPNOTSUPP) && why), "%d", r);
		if (text) {
			json_t *value = json_loads(text, JSON_ALLOW_NUL, NULL);

			ck_assert_msg(value, "%s", text);
			json_decref(value);
		}
	}
}
END_TEST

/* --- the wire format ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	int expect;
	struct protobuf_field field;
	size_t used;
} fields[] = {
	/* clang-format off */
	{ "end", BYTES(""), 0, { 0 }, 0 },
	{ "varint", BYTES("\x08\x96\x01"), 1, { .number = 1, .wire = PROTOBUF_VARINT, .value = 150 }, 3 },
	{ "varint of 64 bits", BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 1,
	  { .number = 1, .wire = PROTOBUF_VARINT, .value = UINT64_MAX }, 11 },
	{ "varint of 65 bits", BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), -EBADMSG, { 0 }, 0 },
	{ "varint without end", BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), -EBADMSG, { 0 }, 0 },
	{ "varint cut", BYTES("\x08\x96"), -EBADMSG, { 0 }, 0 },
	{ "no varint", BYTES("\x08"), -EBADMSG, { 0 }, 0 },
	{ "tag cut", BYTES("\x88"), -EBADMSG, { 0 }, 0 },
	{ "bytes", BYTES("\x6a\x02hi"), 1, { .number = 13, .wire = PROTOBUF_BYTES, .bytes.len = 2 }, 4 },
	{ "no bytes", BYTES("\x6a\x00x"), 1, { .number = 13, .wire = PROTOBUF_BYTES }, 2 },
	{ "bytes cut", BYTES("\x6a\x03hi"), -EBADMSG, { 0 }, 0 },
	{ "bytes without length", BYTES("\x6a"), -EBADMSG, { 0 }, 0 },
	{ "too many bytes", BYTES("\x6a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi"), -EBADMSG, { 0 }, 0 },
	{ "32 bits", BYTES("\x0d""abcd"), 1, { .number = 1, .wire = PROTOBUF_FIXED32, .bytes.len = 4 }, 5 },
	{ "32 bits cut", BYTES("\x0d""abc"), -EBADMSG, { 0 }, 0 },
	{ "64 bits", BYTES("\x09""abcdefgh"), 1, { .number = 1, .wire = PROTOBUF_FIXED64, .bytes.len = 8 }, 9 },
	{ "64 bits cut", BYTES("\x09""abcdefg"), -EBADMSG, { 0 }, 0 },
	{ "number 0", BYTES("\x00\x01"), -EBADMSG, { 0 }, 0 },
	{ "high number", BYTES("\xa8\x01\x14"), 1, { .number = 21, .wire = PROTOBUF_VARINT, .value = 20 }, 3 },
	{ "group", BYTES("\x0b\x0c"), -EBADMSG, { 0 }, 0 },
	{ "wire type 6", BYTES("\x0e\x01"), -EBADMSG, { 0 }, 0 },
	{ "wire type 7", BYTES("\x0f\x01"), -EBADMSG, { 0 }, 0 },
	/* clang-format on */
};

START_TEST(field_is_taken)
{
	AUTO_FREE unsigned char *copy = malloc(fields[_i].len + 1);
	struct protobuf message = { .at = copy, .len = fields[_i].len };
	struct protobuf_field field = { 0 };

	memcpy(copy, fields[_i].bytes, fields[_i].len);
	ck_assert_msg(protobuf_next(&message, &field) == fields[_i].expect, "%s", fields[_i].name);
	ck_assert_uint_eq(field.number, fields[_i].field.number);
	ck_assert_uint_eq(field.value, fields[_i].field.value);
	ck_assert_uint_eq(field.bytes.len, fields[_i].field.bytes.len);
	ck_assert_int_eq(field.wire, fields[_i].field.wire);
	if (fields[_i].expect <= 0)
		return;
	ck_assert_uint_eq(message.len, fields[_i].len - fields[_i].used);
	ck_assert_ptr_eq(message.at, copy + fields[_i].used);
	if (field.bytes.len > 0)
		ck_assert_ptr_eq(field.bytes.at, message.at - field.bytes.len);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, backend_is_written_as_init_writes_it);
	tcase_add_test(tcase, backend_parse_takes_it);
	tcase_add_loop_test(tcase, values_become_json, 0, COUNT(values));
	tcase_add_test(tcase, depth_has_a_limit);
	tcase_add_test(tcase, length_has_a_limit);
	tcase_add_test(tcase, unknown_versions_are_terraforms);
	tcase_add_test(tcase, plan_without_a_backend_is_refused);
	tcase_add_test(tcase, config_that_is_no_map_is_terraforms);
	tcase_add_test(tcase, fields_that_come_twice_are_terraforms);
	tcase_add_test(tcase, fields_of_another_type_are_terraforms);
	tcase_add_test(tcase, version_of_terraform_may_be_absent_but_not_garbage);
	tcase_add_test(tcase, plan_cut_anywhere_is_no_crash);
	tcase_add_test(tcase, random_changes_are_survived);
	tcase_add_loop_test(tcase, field_is_taken, 0, COUNT(fields));
}

int main(void)
{
	return unit_main("plan_decode", add_tests);
}
