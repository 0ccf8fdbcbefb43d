/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "daemon/lock/lock_dynamodb.h"
#include "tests/unit/fake_http.h"
#include "tests/unit/unit.h"

#define NONCE   "00112233445566778899aabbccddeeff"
#define LOCK_ID "bkt/app/t.tfstate"
#define PLAIN                                                                \
	"{\"ID\":\"a-b\",\"Operation\":\"op\",\"Info\":\"i\",\"Who\":\"w\"," \
	"\"Version\":\"1.11.4\",\"Created\":\"now\",\"Path\":\"p\"}"

static struct lease_answer answered;
static struct lockinfo_seen holder;
static bool has_holder;
static char why[LOCK_ERROR_MAX];
static unsigned answers;

static void on_done(const struct lease_answer *answer, const struct lockinfo_seen *seen,
		    const char *error, void *userdata)
{
	ck_assert_ptr_eq(userdata, &answered);
	answered = *answer;
	has_holder = seen != NULL;
	if (seen)
		holder = *seen;
	(void)snprintf(why, sizeof(why), "%s", error ? error : "");
	answers++;
}

static char word_bucket[] = "bkt", word_key[] = "app/t.tfstate", word_region[] = "eu-west-1";
static char word_table[] = "tflocks", word_endpoint[] = "http://localhost:8000/base";
static struct lock_store_config config;
static struct lock_store *store;

static const struct lockinfo info = {
	.id = "a-b",
	.operation = "op",
	.info = "i",
	.who = "w",
	.version = "1.11.4",
	.created = "now",
	.path = "p",
	.host = "machine",
	.boot = "boot",
	.job = 42,
	.seq = 7,
	.epoch = 3,
	.nonce = NONCE,
	.lease_sec = 900,
};

static struct lock_store *make_store(bool is_custom)
{
	const struct backend backend = {
		.kind = BACKEND_S3,
		.bucket = word_bucket,
		.key = word_key,
		.region = word_region,
		.dynamodb_table = word_table,
		.endpoint_dynamodb = is_custom ? word_endpoint : NULL,
	};
	struct lock_store *made = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(lock_dynamodb_new(&made, NULL, &backend, &config, &error), 0);
	ck_assert_ptr_null(error);
	return made;
}

static void setup(void)
{
	config = (struct lock_store_config){ .connect_timeout_usec = 1, .request_timeout_usec = 2 };
	ck_assert_int_eq(identity_new(&config.identity, "AKID", "hush", "token", "environment", 0),
			 0);
	store = make_store(false);
}

static void teardown(void)
{
	ck_assert_ptr_null(lock_store_free(store));
	ck_assert_ptr_null(identity_unref(config.identity));
	ck_assert_uint_eq(open_count(), 0);
}

static void send_op(enum lease_op op, const char *etag)
{
	struct lease_request request = { .op = op };
	const bool writes = op == LEASE_CREATE || op == LEASE_SWAP;

	(void)snprintf(request.etag, sizeof(request.etag), "%s", etag);
	answers = 0;
	ck_assert_int_eq(store->ops->send(store, &request, writes ? &info : NULL, on_done,
					  &answered),
			 0);
}

static const struct {
	enum lease_op op;
	const char *target;
	const char *body; /* with ' for " */
} requests[] = {
	{ LEASE_READ, "DynamoDB_20120810.GetItem",
	  "{'TableName':'tflocks','Key':{'LockID':{'S':'" LOCK_ID "'}},'ConsistentRead':true}" },
	{ LEASE_CREATE, "DynamoDB_20120810.PutItem",
	  "'ConditionExpression':'attribute_not_exists(LockID)'}" },
	{ LEASE_SWAP, "DynamoDB_20120810.PutItem",
	  "'ConditionExpression':'#r = :old','ExpressionAttributeNames':{'#r':'LeaseRvn'},"
	  "'ExpressionAttributeValues':{':old':{'S':'old'}}}" },
	{ LEASE_REMOVE, "DynamoDB_20120810.DeleteItem",
	  "{'TableName':'tflocks','Key':{'LockID':{'S':'" LOCK_ID "'}},"
	  "'ConditionExpression':'#r = :old','ExpressionAttributeNames':{'#r':'LeaseRvn'},"
	  "'ExpressionAttributeValues':{':old':{'S':'old'}}}" },
};

static const char *value_of(const json_t *item, const char *name, const char *type)
{
	return json_string_value(json_object_get(json_object_get(item, name), type));
}

START_TEST(request_carries_its_condition_and_is_signed)
{
	AUTO_FREE char *body = strdup(requests[_i].body);
	json_t *root;
	const json_t *item;

	for (char *c = body; (c = strchr(c, '\''));)
		*c = '"';
	send_op(requests[_i].op, "old");
	ck_assert_str_eq(sent.method, "POST");
	ck_assert_str_eq(sent.url, "https://dynamodb.eu-west-1.amazonaws.com/");
	ck_assert_str_eq(header("x-amz-target"), requests[_i].target);
	ck_assert_str_eq(header("content-type"), "application/x-amz-json-1.0");
	ck_assert_str_eq(header("x-amz-security-token"), "token");
	ck_assert_ptr_nonnull(strstr(header("authorization"), "/eu-west-1/dynamodb/aws4_request"));
	ck_assert_ptr_nonnull(strstr(header("authorization"), "x-amz-target"));
	ck_assert_msg(strstr(sent.body, body) != NULL, "%s not in %s", body, sent.body);
	ck_assert_ptr_null(strstr(sent.body, "-md5"));

	root = json_loads(sent.body, JSON_REJECT_DUPLICATES, NULL);
	item = json_object_get(root, "Item");
	if (requests[_i].op == LEASE_CREATE || requests[_i].op == LEASE_SWAP) {
		ck_assert_uint_eq(json_object_size(item), 9);
		ck_assert_str_eq(value_of(item, "LockID", "S"), LOCK_ID);
		ck_assert_str_eq(value_of(item, "Info", "S"), PLAIN); /* and no byte more */
		ck_assert_str_eq(value_of(item, "LeaseV", "N"), "1");
		ck_assert_str_eq(value_of(item, "LeaseRvn", "S"), NONCE);
		ck_assert_str_eq(value_of(item, "LeaseOwner", "S"), "machine");
		ck_assert_str_eq(value_of(item, "LeaseJob", "N"), "42");
		ck_assert_str_eq(value_of(item, "LeaseSeq", "N"), "7");
		ck_assert_str_eq(value_of(item, "LeaseMs", "N"), "900000");
		ck_assert_str_eq(value_of(item, "LeaseEpoch", "N"), "3");
	} else {
		ck_assert_ptr_null(item);
	}
	json_decref(root);
	store->ops->cancel(store);
	ck_assert_uint_eq(answers, 0);
}
END_TEST

START_TEST(endpoint_is_the_backends_or_the_configurations)
{
	lock_store_free(store);
	config.endpoint_dynamodb = "http://127.0.0.1:9";
	store = make_store(true);
	send_op(LEASE_READ, "");
	ck_assert_str_eq(sent.url, "http://localhost:8000/base/");
	lock_store_free(store);
	store = make_store(false);
	send_op(LEASE_READ, "");
	ck_assert_str_eq(sent.url, "http://127.0.0.1:9/");
}
END_TEST

/* --- what an answer means -------------------------------------------------------------------- */

#define ERROR(name) \
	"{\"__type\":\"com.amazonaws.dynamodb.v20120810#" name "\",\"message\":\"words\"}"
#define LEASE_OPS(op) (1u << LEASE_##op)
#define ALL           (LEASE_OPS(READ) | LEASE_OPS(CREATE) | LEASE_OPS(SWAP) | LEASE_OPS(REMOVE))
#define WRITES        (ALL & ~LEASE_OPS(READ))

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order to be read in
static const struct {
	int status;
	const char *body;
	unsigned ops;
	enum lease_result result;
	const char *words; /* of the sentence; NULL: none */
} meanings[] = {
	/* clang-format off */
	{ 200, "{}", WRITES, LEASE_R_DONE, NULL },
	{ 200, "{}", LEASE_OPS(READ), LEASE_R_ABSENT, NULL },
	{ 200, "{\"ConsumedCapacity\":{}}", LEASE_OPS(READ), LEASE_R_ABSENT, NULL },
	{ 200, "{\"Attributes\":{}}", WRITES, LEASE_R_DONE, NULL },
	{ 200, "", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 200, "<html>", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 200, "[]", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 200, "{} x", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 200, "{\"message\":\"Hello\"}", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 200, "{\"Item\":{}}", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 200, "{\"Item\":{\"LockID\":{\"S\":\"" LOCK_ID "-md5\"}}}", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 204, "", ALL, LEASE_R_UNKNOWN, "in between" },
	{ 400, ERROR("ConditionalCheckFailedException"), WRITES, LEASE_R_REFUSED, NULL },
	{ 400, ERROR("ProvisionedThroughputExceededException"), ALL, LEASE_R_THROTTLED, "words" },
	{ 400, ERROR("ThrottlingException"), ALL, LEASE_R_THROTTLED, "words" },
	{ 400, ERROR("RequestLimitExceeded"), ALL, LEASE_R_THROTTLED, "words" },
	{ 400, ERROR("TransactionConflictException"), ALL, LEASE_R_CONFLICT, "words" },
	{ 400, ERROR("ReplicatedWriteConflictException"), ALL, LEASE_R_CONFLICT, "words" },
	{ 500, ERROR("InternalServerError"), ALL, LEASE_R_UNKNOWN, "words" },
	{ 503, ERROR("ServiceUnavailable"), ALL, LEASE_R_UNKNOWN, "words" },
	{ 502, "<html>", ALL, LEASE_R_UNKNOWN, "HTTP 502" },
	{ 413, "<html>", ALL, LEASE_R_DENIED, "HTTP 413" },
	{ 403, ERROR("AccessDeniedException"), ALL, LEASE_R_DENIED, "dynamodb:GetItem, PutItem and DeleteItem" },
	{ 400, ERROR("ValidationException"), ALL, LEASE_R_DENIED, "LockID of type S" },
	{ 400, ERROR("ResourceNotFoundException"), ALL, LEASE_R_DENIED,
	  "no table \"tflocks\" in region eu-west-1" },
	{ 400, ERROR("ExpiredTokenException"), ALL, LEASE_R_DENIED, "log in again" },
	{ 400, ERROR("InvalidSignatureException"), ALL, LEASE_R_DENIED, "words" },
	/* clang-format on */
};
#define MEANING_COUNT ((int)(sizeof(meanings) / sizeof(meanings[0])))

START_TEST(answer_means_what_its_name_says)
{
	const struct http_response response = response_of(meanings[_i].status, meanings[_i].body);

	for (enum lease_op op = LEASE_READ; op <= LEASE_REMOVE; op++) {
		if (!(meanings[_i].ops & 1u << op))
			continue;
		send_op(op, "old");
		respond(&response);
		ck_assert_uint_eq(answers, 1);
		ck_assert_msg(answered.result == meanings[_i].result, "%d %s to %u: %u",
			      meanings[_i].status, meanings[_i].body, op, answered.result);
		ck_assert_msg(meanings[_i].words ? strstr(why, meanings[_i].words) != NULL : !*why,
			      "%s", why);
		ck_assert(!*why || strstr(why, "\"tflocks\""));
		ck_assert(!has_holder);
		ck_assert_str_eq(answered.etag,
				 answered.result == LEASE_R_DONE && op != LEASE_REMOVE ? NONCE
										       : "");
	}
}
END_TEST

START_TEST(no_answer_and_a_damaged_one_tell_nothing)
{
	struct http_response response = response_of(200, "{}");

	for (enum lease_op op = LEASE_READ; op <= LEASE_REMOVE; op++) {
		(void)snprintf(response.crc32, sizeof(response.crc32), "1");
		response.is_answered = true;
		send_op(op, "old");
		respond(&response);
		ck_assert_int_eq(answered.result, LEASE_R_UNKNOWN);
		response.is_answered = false;
		send_op(op, "old");
		respond(&response);
		ck_assert_int_eq(answered.result, LEASE_R_UNKNOWN);
		response.is_unsent = true;
		send_op(op, "old");
		respond(&response);
		ck_assert_int_eq(answered.result, LEASE_R_UNSENT);
		response.is_unsent = false;
	}
}
END_TEST

/* --- what is read ---------------------------------------------------------------------------- */

#define ITEM(rest) "{\"Item\":{\"LockID\":{\"S\":\"" LOCK_ID "\"}" rest "}}"
#define INFO(text) ",\"Info\":{\"S\":\"" text "\"}"
#define GOOD_INFO  INFO("{\\\"ID\\\":\\\"a-b\\\",\\\"Who\\\":\\\"w\\\"}")
#define RVN        ",\"LeaseRvn\":{\"S\":\"" NONCE "\"}"
#define MS         ",\"LeaseMs\":{\"N\":\"900000\"}"
#define V          ",\"LeaseV\":{\"N\":\"1\"}"
#define OWNER \
	",\"LeaseOwner\":{\"S\":\"m\"},\"LeaseJob\":{\"N\":\"42\"},\"LeaseEpoch\":{\"N\":\"3\"}"
#define FAKED                                                                             \
	INFO("{\\\"ID\\\":\\\"a-b\\\",\\\"Tfqd\\\":{\\\"v\\\":1,\\\"nonce\\\":\\\"" NONCE \
	     "\\\",\\\"lease\\\":900}}")

static const struct {
	const char *body;
	bool is_tfqd;
	const char *id;
	const char *words; /* of the sentence; NULL: none */
} items[] = {
	/* clang-format off */
	{ ITEM(GOOD_INFO RVN MS V OWNER), true, "a-b", NULL },
	{ ITEM(GOOD_INFO), false, "a-b", NULL },
	{ ITEM(GOOD_INFO RVN MS), false, "a-b", NULL },
	{ ITEM(GOOD_INFO RVN MS ",\"LeaseV\":{\"N\":\"2\"}"), false, "a-b", NULL },
	{ ITEM(GOOD_INFO RVN MS ",\"LeaseV\":{\"S\":\"1\"}"), false, "a-b", NULL },
	{ ITEM(FAKED), false, "a-b", NULL },
	{ ITEM(""), false, "?", "has no Info" },
	{ ITEM(",\"Info\":{\"N\":\"1\"}"), false, "?", "has no Info" },
	{ ITEM(",\"Info\":\"x\""), false, "?", "has no Info" },
	{ ITEM(INFO("")), false, "?", "an Info that is no JSON" },
	{ ITEM(INFO("{}")), false, "?", "an Info that has no ID" },
	{ ITEM(INFO("<html>") RVN MS V OWNER), true, "?", "delete-item" },
	/* clang-format on */
};
#define ITEM_COUNT ((int)(sizeof(items) / sizeof(items[0])))

START_TEST(item_that_is_read_is_told)
{
	const struct http_response response = response_of(200, items[_i].body);

	send_op(LEASE_READ, "");
	respond(&response);
	ck_assert_int_eq(answered.result, LEASE_R_DONE);
	ck_assert_str_eq(answered.id, items[_i].id);
	ck_assert_str_eq(answered.nonce, items[_i].is_tfqd ? NONCE : "");
	ck_assert_uint_eq(answered.lease_usec, items[_i].is_tfqd ? 900000000 : 0);
	ck_assert(has_holder);
	ck_assert_str_eq(holder.id, items[_i].id);
	ck_assert_uint_eq(holder.job, items[_i].is_tfqd ? 42 : 0);
	ck_assert_msg(items[_i].words ? strstr(why, items[_i].words) != NULL : !*why, "%s", why);
	if (items[_i].words) {
		ck_assert_ptr_nonnull(strstr(why, "aws dynamodb delete-item --region eu-west-1 "
						  "--table-name 'tflocks' --key "
						  "'{\"LockID\":{\"S\":\"" LOCK_ID "\"}}'"));
	}
	if (items[_i].is_tfqd)
		ck_assert_str_eq(answered.etag, NONCE);
	else
		ck_assert_int_eq(strncmp(answered.etag, "raw-", 4), 0);
}
END_TEST

/* It is cut at the longest that is read; it is somebody's all the same. */
START_TEST(item_that_is_too_long_is_somebodys)
{
	struct http_response response = response_of(200, "{\"Item\":{");

	response.is_answered = false;
	response.is_cut = true;
	send_op(LEASE_READ, "");
	respond(&response);
	ck_assert_int_eq(answered.result, LEASE_R_DONE);
	ck_assert_str_eq(answered.id, "?");
	ck_assert_str_eq(answered.nonce, "");
	ck_assert_uint_eq(answered.lease_usec, 0);
	ck_assert(has_holder);
	ck_assert_msg(strstr(why, "far too long") && strstr(why, "delete-item"), "%s", why);

	send_op(LEASE_SWAP, "old"); /* what cannot be an answer to a write tells nothing */
	respond(&response);
	ck_assert_int_eq(answered.result, LEASE_R_UNKNOWN);
}
END_TEST

START_TEST(raw_version_changes_with_the_item_alone)
{
	const struct http_response one = response_of(200, ITEM(GOOD_INFO));
	const struct http_response same =
		response_of(200, "{\"Item\":{\"Info\":{\"S\":\"{\\\"ID\\\":\\\"a-b\\\",\\\"Who\\\":"
				 "\\\"w\\\"}\"},\"LockID\":{\"S\":\"" LOCK_ID "\"}}}");
	const struct http_response other = response_of(200, ITEM(INFO("{\\\"ID\\\":\\\"c\\\"}")));
	char etag[LEASE_ETAG_MAX];

	send_op(LEASE_READ, "");
	respond(&one);
	memcpy(etag, answered.etag, sizeof(etag));
	ck_assert_uint_eq(strlen(etag), 4 + 64);
	send_op(LEASE_READ, "");
	respond(&same);
	ck_assert_str_eq(answered.etag, etag);
	send_op(LEASE_READ, "");
	respond(&other);
	ck_assert_str_ne(answered.etag, etag);
}
END_TEST

/* The body of the removal of version @etag has @wanted, with ' for ". */
static void expect_removal(const char *etag, const char *wanted)
{
	AUTO_FREE char *text = strdup(wanted);

	for (char *c = strchr(text, '\''); c; c = strchr(c, '\''))
		*c = '"';
	send_op(LEASE_REMOVE, etag);
	ck_assert_msg(strstr(sent.body, text) != NULL, "%s is not in %s", text, sent.body);
	respond(&(struct http_response){ .status = 200, .body = (char[]){ "{}" }, .body_len = 2 });
}

START_TEST(raw_item_is_removed_on_condition_of_what_was_read)
{
	static const struct {
		const char *item, *condition, *values;
	} rows[] = {
		{ ITEM(GOOD_INFO), "'#i = :info AND attribute_not_exists(#r)'",
		  "'ExpressionAttributeValues':{':info':{'S':'{" },
		{ ITEM(",\"Info\":{\"N\":\"1\"}"), "'#i = :info AND attribute_not_exists(#r)'",
		  "'ExpressionAttributeValues':{':info':{'N':'1'}}" },
		{ ITEM(GOOD_INFO RVN MS), "'#i = :info AND #r = :old'",
		  "':old':{'S':'" NONCE "'}" },
		{ ITEM(""), "'attribute_not_exists(#i) AND attribute_not_exists(#r)'",
		  "'ExpressionAttributeNames':{'#i':'Info','#r':'LeaseRvn'}" },
	};
	char etag[LEASE_ETAG_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct http_response response = response_of(200, rows[i].item);

		send_op(LEASE_READ, "");
		respond(&response);
		memcpy(etag, answered.etag, sizeof(etag));
		expect_removal(etag, rows[i].condition);
		expect_removal(etag, rows[i].values);
		ck_assert_int_eq(strstr(sent.body, "Values") != NULL, i < 3);
	}
	/* What this store has not read itself is no condition that holds. */
	etag[10] = etag[10] == '0' ? '1' : '0';
	expect_removal(etag, "'#r = :old'");
	ck_assert_ptr_nonnull(strstr(sent.body, etag));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, request_carries_its_condition_and_is_signed, 0, 4);
	tcase_add_test(tcase, endpoint_is_the_backends_or_the_configurations);
	tcase_add_loop_test(tcase, answer_means_what_its_name_says, 0, MEANING_COUNT);
	tcase_add_test(tcase, no_answer_and_a_damaged_one_tell_nothing);
	tcase_add_loop_test(tcase, item_that_is_read_is_told, 0, ITEM_COUNT);
	tcase_add_test(tcase, item_that_is_too_long_is_somebodys);
	tcase_add_test(tcase, raw_version_changes_with_the_item_alone);
	tcase_add_test(tcase, raw_item_is_removed_on_condition_of_what_was_read);
}

int main(void)
{
	return unit_main("lock_dynamodb", add_tests);
}
