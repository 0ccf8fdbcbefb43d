/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "daemon/lock/lock_s3.h"
#include "tests/unit/fake_http.h"
#include "tests/unit/unit.h"

/* --- what a store says ---------------------------------------------------------------------- */

static struct lease_answer answered;
static struct lockinfo_seen holder;
static bool has_holder;
static char why[LOCK_ERROR_MAX];
static unsigned answers;
static int is_there;

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

static void on_exists(int there, const char *error, void *userdata)
{
	(void)userdata;
	is_there = there;
	(void)snprintf(why, sizeof(why), "%s", error ? error : "");
	answers++;
}

static char word_bucket[] = "bkt", word_key[] = "app/t.tfstate", word_region[] = "eu-west-1";
static char word_kms[] = "alias/k", word_acl[] = "bucket-owner-full-control";
static char word_endpoint[] = "http://localhost:9000";
/* 32 bytes, 0 to 31; the MD5 of these is known. */
static char word_customer_key[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

static struct lock_store_config config;

static void setup(void)
{
	config = (struct lock_store_config){
		.connect_timeout_usec = 3000000,
		.request_timeout_usec = 10000000,
	};
	ck_assert_int_eq(identity_new(&config.identity, "AKID", "hush", NULL, "environment", 0), 0);
}

static void teardown(void)
{
	ck_assert_ptr_null(identity_unref(config.identity));
}

static struct backend plain(void)
{
	return (struct backend){
		.kind = BACKEND_S3,
		.bucket = word_bucket,
		.key = word_key,
		.region = word_region,
	};
}

static struct lock_store *make_store(const struct backend *backend,
				     const struct lock_store_config *with)
{
	struct lock_store *store = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(lock_s3_new(&store, NULL, backend, with, &error), 0);
	ck_assert_ptr_null(error);
	return store;
}

static const struct lockinfo info = {
	.id = "x",
	.operation = "",
	.info = "",
	.who = "",
	.version = "",
	.created = "",
	.path = "",
	.host = "",
	.boot = "",
	.nonce = "",
};

static void send_op(struct lock_store *store, enum lease_op op, const char *etag, bool unquoted)
{
	struct lease_request request = { .op = op, .etag_unquoted = unquoted };
	const bool writes = op == LEASE_CREATE || op == LEASE_SWAP;

	(void)snprintf(request.etag, sizeof(request.etag), "%s", etag);
	ck_assert_int_eq(store->ops->send(store, &request, writes ? &info : NULL, on_done,
					  &answered),
			 0);
}

/* --- what is sent ---------------------------------------------------------------------------- */

/* All that is sent is signed but for the signature: a proxy cannot change it. */
static void check_signature(bool has_token)
{
	const char *authorization = header("authorization");
	const char *names, *end;

	ck_assert_ptr_nonnull(authorization);
	ck_assert_ptr_eq(strstr(authorization, "AWS4-HMAC-SHA256 Credential=AKID/"), authorization);
	ck_assert_ptr_nonnull(strstr(authorization, "/eu-west-1/s3/aws4_request"));
	ck_assert_ptr_nonnull(strstr(authorization, "Signature="));
	names = strstr(authorization, "SignedHeaders=");
	ck_assert_ptr_nonnull(names);
	names += strlen("SignedHeaders=");
	end = strchr(names, ',');
	ck_assert_ptr_nonnull(end);
	for (size_t i = 0; i < sent.header_count; i++) {
		char name[64], list[600];

		(void)snprintf(name, sizeof(name), ";%.*s;", (int)strcspn(sent.headers[i], ":"),
			       sent.headers[i]);
		(void)snprintf(list, sizeof(list), ";%.*s;", (int)(end - names), names);
		if (strcmp(name, ";authorization;") != 0)
			ck_assert_msg(strstr(list, name) != NULL, "%s is not signed", name);
		ck_assert_ptr_null(strstr(sent.headers[i], "hush"));
	}
	ck_assert_ptr_nonnull(header("x-amz-date"));
	ck_assert_ptr_nonnull(header("x-amz-content-sha256"));
	ck_assert_pstr_eq(header("x-amz-security-token"), has_token ? "token" : NULL);
	ck_assert_pstr_eq(header("host"), "bkt.s3.eu-west-1.amazonaws.com");
}

static const struct {
	enum lease_op op;
	bool unquoted;
	const char *method, *if_match, *if_none_match;
} requests[] = {
	{ LEASE_READ, false, "GET", NULL, NULL },
	{ LEASE_CREATE, false, "PUT", NULL, "*" },
	{ LEASE_SWAP, false, "PUT", "\"e1\"", NULL },
	{ LEASE_SWAP, true, "PUT", "e1", NULL },
	{ LEASE_REMOVE, false, "DELETE", "\"e1\"", NULL },
	{ LEASE_REMOVE, true, "DELETE", "e1", NULL },
};
#define REQUEST_COUNT ((int)(sizeof(requests) / sizeof(requests[0])))

START_TEST(request_carries_its_condition_and_is_signed)
{
	const struct backend backend = plain();
	struct lock_store *store;
	const bool writes = requests[_i].method[0] == 'P';

	for (int i = 0; i < 2; i++) {
		config.identity->token = i ? strdup("token") : NULL; /* read at each signing */
		store = make_store(&backend, &config);
		send_op(store, requests[_i].op, "\"e1\"", requests[_i].unquoted);
		ck_assert_str_eq(sent.method, requests[_i].method);
		ck_assert_str_eq(sent.url, "https://bkt.s3.eu-west-1.amazonaws.com/"
					   "app/t.tfstate.tflock");
		ck_assert_pstr_eq(header("if-match"), requests[_i].if_match);
		ck_assert_pstr_eq(header("if-none-match"), requests[_i].if_none_match);
		ck_assert_int_eq(sent.has_body, writes);
		ck_assert_pstr_eq(header("content-type"), writes ? "application/json" : NULL);
		/* sha256sum of the body, in base64 */
		ck_assert_pstr_eq(header("x-amz-checksum-sha256"),
				  writes ? "M0XFdWS7rCwUBBBWYU6Nw9P58q3mAt3CJgsDT5u8gpQ=" : NULL);
		ck_assert_ptr_null(header("x-amz-acl"));
		ck_assert_ptr_null(header("x-amz-server-side-encryption"));
		ck_assert_uint_eq(sent.connect_timeout_usec, 3000000);
		ck_assert_uint_eq(sent.timeout_usec, 10000000);
		ck_assert(!sent.insecure);
		check_signature(i == 1);
		ck_assert_ptr_null(store->ops->free(store)); /* gives it up */
		ck_assert_uint_eq(open_count(), 0);
	}
	ck_assert_uint_eq(cancelled, 2);
}
END_TEST

/* A DELETE that may be carried out unconditionally is not to be sent twice by libcurl. */
START_TEST(delete_goes_out_afresh_unless_its_condition_is_known_to_hold)
{
	struct backend backend = plain();
	struct lock_store *store;

	backend.endpoint_s3 = _i == 1 ? word_endpoint : NULL;
	store = make_store(&backend, &config);
	for (enum lease_op op = LEASE_READ; op <= LEASE_REMOVE; op++) {
		send_op(store, op, "\"e1\"", false);
		ck_assert_int_eq(sent.fresh, _i == 1 && op == LEASE_REMOVE);
		store->ops->cancel(store);
	}
	if (_i == 0) { /* AWS needs no probing */
		ck_assert_int_eq(store->ops->probe(store, NULL, NULL), 1);
		ck_assert_uint_eq(open_count(), 0);
	}
	store->ops->free(store);
}
END_TEST

START_TEST(encryption_is_as_the_states)
{
	static const char *const prefix = "x-amz-server-side-encryption";
	struct backend backend = plain();
	struct lock_store *store;
	AUTO_FREE char *kms = NULL, *customer = NULL, *md5 = NULL, *algorithm = NULL;

	ck_assert_int_gt(asprintf(&kms, "%s-aws-kms-key-id", prefix), 0);
	ck_assert_int_gt(asprintf(&customer, "%s-customer-key", prefix), 0);
	ck_assert_int_gt(asprintf(&md5, "%s-customer-key-md5", prefix), 0);
	ck_assert_int_gt(asprintf(&algorithm, "%s-customer-algorithm", prefix), 0);
	backend.encrypt = true;
	backend.kms_key_id = _i == 1 ? word_kms : NULL;
	backend.sse_customer_key = _i == 2 ? word_customer_key : NULL;
	backend.acl = _i == 1 ? word_acl : NULL;
	store = make_store(&backend, &config);
	for (enum lease_op op = LEASE_READ; op <= LEASE_REMOVE; op++) {
		const bool writes = op == LEASE_CREATE || op == LEASE_SWAP;
		const bool has_key = _i == 2 && op != LEASE_REMOVE;

		send_op(store, op, "\"e1\"", false);
		check_signature(false);
		ck_assert_pstr_eq(header(prefix), !writes || _i == 2 ? NULL
						  : _i == 1          ? "aws:kms"
								     : "AES256");
		ck_assert_pstr_eq(header(kms), writes && _i == 1 ? word_kms : NULL);
		ck_assert_pstr_eq(header("x-amz-acl"), writes && _i == 1 ? word_acl : NULL);
		ck_assert_pstr_eq(header(customer), has_key ? word_customer_key : NULL);
		ck_assert_pstr_eq(header(algorithm), has_key ? "AES256" : NULL);
		ck_assert_pstr_eq(header(md5), has_key ? "tP/LI3N87DFaSk0aoqYgzg==" : NULL);
		respond(&(struct http_response){ .is_answered = true, .status = 500, .body = "" });
	}
	store->ops->free(store);
}
END_TEST

START_TEST(backends_wishes_are_carried_out)
{
	static char bundle[] = "/etc/ca.pem";
	struct backend backend = plain();
	struct lock_store_config with = config;
	struct lock_store *store;

	backend.skip_s3_checksum = backend.insecure = backend.path_style = true;
	backend.endpoint_s3 = word_endpoint;
	with.endpoint_s3 = "https://elsewhere.example";
	with.ca_bundle = "/etc/default.pem";
	store = make_store(&backend, &with);
	send_op(store, LEASE_CREATE, "", false);
	ck_assert_ptr_null(header("x-amz-checksum-sha256"));
	ck_assert(sent.insecure);
	ck_assert_str_eq(sent.url, "http://localhost:9000/bkt/app/t.tfstate.tflock");
	ck_assert_pstr_eq(header("host"), "localhost:9000");
	ck_assert_ptr_nonnull(strstr(header("authorization"), "/eu-west-1/s3/"));
	ck_assert_str_eq(sent.ca_bundle, "/etc/default.pem");
	store->ops->free(store);

	backend.endpoint_s3 = NULL;
	with.ca_pem = bundle;
	store = make_store(&backend, &with);
	send_op(store, LEASE_READ, "", false);
	ck_assert_str_eq(sent.url, "https://elsewhere.example/bkt/app/t.tfstate.tflock");
	ck_assert_str_eq(sent.ca_pem, bundle);
	store->ops->free(store);
}
END_TEST

static const char *const bad_keys[] = {
	"",
	"x",
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",  /* no padding */
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8f", /* 33 bytes */
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", /* 31 bytes */
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH*8=",
	"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka=xwdHh8=",
	" AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
};

START_TEST(customer_key_that_is_none_is_refused)
{
	struct backend backend = plain();
	struct lock_store *store = NULL;
	AUTO_FREE char *error = NULL, *key = strdup(bad_keys[_i]);

	backend.encrypt = true;
	backend.sse_customer_key = key;
	ck_assert_int_eq(lock_s3_new(&store, NULL, &backend, &config, &error), -EINVAL);
	ck_assert_ptr_nonnull(error);
	ck_assert_ptr_null(store);
	ck_assert(!*key || strlen(key) == 1 || !strstr(error, key)); /* it is a secret */
}
END_TEST

/* --- what an answer means ------------------------------------------------------------------- */

#define ERROR_XML(code) "<Error><Code>" code "</Code><Message>words</Message></Error>"
#define ALL             (LEASE_OPS(READ) | LEASE_OPS(CREATE) | LEASE_OPS(SWAP) | LEASE_OPS(REMOVE))
#define LEASE_OPS(op)   (1u << LEASE_##op)
#define WRITES          (LEASE_OPS(CREATE) | LEASE_OPS(SWAP))

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order to be read in
static const struct {
	int status;
	const char *body;
	unsigned ops;
	enum lease_result result;
	bool has_words;
} meanings[] = {
	/* clang-format off */
	{ 200, "", ALL & ~LEASE_OPS(READ), LEASE_R_DONE, false },
	{ 200, "", LEASE_OPS(READ), LEASE_R_UNKNOWN, true }, /* there is no object without an ETag */
	{ 200, ERROR_XML("SlowDown"), ALL, LEASE_R_UNKNOWN, true },
	{ 200, "<html>", ALL, LEASE_R_UNKNOWN, true },
	{ 204, "", LEASE_OPS(REMOVE), LEASE_R_DONE, false },
	{ 204, "", ALL & ~LEASE_OPS(REMOVE), LEASE_R_UNKNOWN, true },
	{ 206, "", ALL, LEASE_R_UNKNOWN, true },
	{ 404, ERROR_XML("NoSuchKey"), ALL & ~LEASE_OPS(CREATE), LEASE_R_ABSENT, false },
	{ 404, "", ALL & ~LEASE_OPS(CREATE), LEASE_R_ABSENT, false },
	{ 404, ERROR_XML("NoSuchBucket"), ALL, LEASE_R_DENIED, true },
	{ 404, "", LEASE_OPS(CREATE), LEASE_R_DENIED, true },
	{ 412, ERROR_XML("PreconditionFailed"), ALL, LEASE_R_REFUSED, false },
	{ 409, ERROR_XML("ConditionalRequestConflict"), ALL, LEASE_R_CONFLICT, true },
	{ 409, ERROR_XML("OperationAborted"), ALL, LEASE_R_CONFLICT, true },
	{ 503, ERROR_XML("SlowDown"), ALL, LEASE_R_THROTTLED, true },
	{ 429, "", ALL, LEASE_R_THROTTLED, true },
	{ 400, ERROR_XML("RequestLimitExceeded"), ALL, LEASE_R_THROTTLED, true },
	{ 500, ERROR_XML("InternalError"), ALL, LEASE_R_UNKNOWN, true },
	{ 502, "<html>", ALL, LEASE_R_UNKNOWN, true },
	{ 503, "", ALL, LEASE_R_UNKNOWN, true },
	{ 504, "", ALL, LEASE_R_UNKNOWN, true },
	{ 599, "", ALL, LEASE_R_UNKNOWN, true },
	{ 408, "", ALL, LEASE_R_UNKNOWN, true },
	{ 400, ERROR_XML("RequestTimeout"), ALL, LEASE_R_UNKNOWN, true },
	{ 403, ERROR_XML("RequestTimeTooSkewed"), ALL, LEASE_R_DENIED, true }, /* and no Date */
	{ 403, ERROR_XML("AccessDenied"), ALL, LEASE_R_DENIED, true },
	{ 403, "", ALL, LEASE_R_DENIED, true },
	{ 400, ERROR_XML("ExpiredToken"), ALL, LEASE_R_DENIED, true },
	{ 301, ERROR_XML("PermanentRedirect"), ALL, LEASE_R_DENIED, true },
	{ 501, ERROR_XML("NotImplemented"), ALL, LEASE_R_DENIED, true },
	{ 501, "", ALL, LEASE_R_UNKNOWN, true },
	{ 100, "", ALL, LEASE_R_UNKNOWN, true },
	/* clang-format on */
};
#define MEANING_COUNT ((int)(sizeof(meanings) / sizeof(meanings[0])))

START_TEST(status_means_what_its_request_makes_of_it)
{
	const struct backend backend = plain();
	struct lock_store *store = make_store(&backend, &config);

	for (enum lease_op op = LEASE_READ; op <= LEASE_REMOVE; op++) {
		const struct http_response response =
			response_of(meanings[_i].status, meanings[_i].body);

		if (!(meanings[_i].ops & 1u << op))
			continue;
		send_op(store, op, "\"e1\"", false);
		answers = 0;
		respond(&response);
		ck_assert_uint_eq(answers, 1);
		ck_assert_msg(answered.result == meanings[_i].result, "%d %s to %u: %u",
			      meanings[_i].status, meanings[_i].body, op, answered.result);
		ck_assert_msg((why[0] != '\0') == meanings[_i].has_words, "%d: '%s'",
			      meanings[_i].status, why);
		ck_assert(!has_holder);
	}
	store->ops->free(store);
}
END_TEST

START_TEST(no_answer_tells_nothing_but_that_nothing_was_sent)
{
	const struct backend backend = plain();
	struct lock_store *store = make_store(&backend, &config);
	const struct http_response response = {
		.is_unsent = _i,
		.body = "",
		.status = _i ? 0 : 200, /* its body broke off: no answer */
		.error = "connection refused",
	};

	for (enum lease_op op = LEASE_READ; op <= LEASE_REMOVE; op++) {
		send_op(store, op, "\"e1\"", false);
		respond(&response);
		ck_assert_int_eq(answered.result, _i ? LEASE_R_UNSENT : LEASE_R_UNKNOWN);
		ck_assert_ptr_nonnull(strstr(why, "connection refused"));
		ck_assert_ptr_nonnull(strstr(why, "bkt.s3.eu-west-1.amazonaws.com"));
	}
	store->ops->free(store);
}
END_TEST

#define NONCE "00112233445566778899aabbccddeeff"
#define OURS                                                                                         \
	"{\"ID\":\"a-b\",\"Who\":\"al\\u001bice\",\"Tfqd\":{\"v\":1,\"host\":\"m1\",\"job\":\"42\"," \
	"\"epoch\":7,\"nonce\":\"" NONCE "\",\"lease\":900}}"
#define RAW "{\"ID\":\"c-d\",\"Who\":\"bob\"}"

static const struct {
	const char *body;
	bool is_cut, is_tfqd;
	const char *id;
	const char *words; /* of the sentence; NULL: none */
} found[] = {
	/* clang-format off */
	{ OURS, false, true, "a-b", NULL },
	{ RAW, false, false, "c-d", NULL },
	{ "<html>", false, false, "", "in between" },
	{ " \n<Error/>", false, false, "", "in between" },
	{ "", false, false, "?", "is no JSON object" },
	{ "no lock", false, false, "?", "aws s3 rm 's3://bkt/app/t.tfstate.tflock'" },
	{ RAW "x", false, false, "?", "nothing behind it" },
	{ "[]", false, false, "?", "is no JSON object" },
	{ "{}", false, false, "?", "has no ID" },
	{ "{\"ID\":\"\"}", false, false, "?", "has no ID" },
	{ "{\"ID\":7}", false, false, "?", "force-unlock" },
	{ "{", true, false, "?", "far too long" },
	{ "<html>", true, false, "?", "far too long" },
	/* clang-format on */
};
#define FOUND_COUNT ((int)(sizeof(found) / sizeof(found[0])))

START_TEST(lock_that_is_read_is_told)
{
	const struct backend backend = plain();
	struct lock_store *store = make_store(&backend, &config);
	struct http_response response = response_of(200, found[_i].body);

	(void)snprintf(response.etag, sizeof(response.etag), "\"e7\"");
	response.is_cut = found[_i].is_cut;
	response.is_answered = !found[_i].is_cut;
	send_op(store, LEASE_READ, "", false);
	respond(&response);
	ck_assert_int_eq(answered.result, LEASE_R_DONE);
	ck_assert_str_eq(answered.etag, "\"e7\"");
	ck_assert_str_eq(answered.nonce, found[_i].is_tfqd ? NONCE : "");
	ck_assert_str_eq(answered.id, found[_i].id);
	ck_assert_int_eq(has_holder, found[_i].id[0] != '\0');
	ck_assert_uint_eq(answered.lease_usec, found[_i].is_tfqd ? 900000000 : 0);
	if (found[_i].is_tfqd) {
		ck_assert_str_eq(holder.who, "al?ice");
		ck_assert_str_eq(holder.host, "m1");
		ck_assert_uint_eq(holder.job, 42);
		ck_assert_uint_eq(holder.epoch, 7);
	}
	if (found[_i].words)
		ck_assert_msg(strstr(why, found[_i].words) != NULL, "%s", why);
	else
		ck_assert_str_eq(why, "");
	store->ops->free(store);
}
END_TEST

START_TEST(etag_that_could_break_a_header_is_none)
{
	const struct backend backend = plain();
	struct lock_store *store = make_store(&backend, &config);
	struct http_response response = response_of(200, "");

	memset(response.etag, 'e', LEASE_ETAG_MAX);
	send_op(store, LEASE_CREATE, "", false);
	respond(&response);
	ck_assert_str_eq(answered.etag, ""); /* too long */
	response.etag[LEASE_ETAG_MAX - 1] = '\0';
	send_op(store, LEASE_CREATE, "", false);
	respond(&response);
	ck_assert_str_eq(answered.etag, response.etag);
	(void)snprintf(response.etag, sizeof(response.etag), "\"a\rX-Evil: 1\"");
	send_op(store, LEASE_CREATE, "", false);
	respond(&response);
	ck_assert_int_eq(answered.result, LEASE_R_DONE);
	ck_assert_str_eq(answered.etag, "");
	store->ops->free(store);
}
END_TEST

START_TEST(clock_that_is_off_is_learnt_for_signing)
{
	const struct backend backend = plain();
	struct lock_store *store = make_store(&backend, &config);
	struct http_response response = response_of(403, ERROR_XML("RequestTimeTooSkewed"));

	(void)snprintf(response.date, sizeof(response.date), "Wed, 01 Jan 2031 10:00:00 GMT");
	send_op(store, LEASE_CREATE, "", false);
	ck_assert_int_ne(strncmp(header("x-amz-date"), "20310101T1000", 13), 0);
	answers = 0;
	respond(&response); /* sent again at once */
	ck_assert_uint_eq(answers, 0);
	ck_assert_int_eq(strncmp(header("x-amz-date"), "20310101T1000", 13), 0);
	ck_assert_pstr_eq(header("if-none-match"), "*");
	ck_assert(sent.has_body);
	respond(&response); /* but not for ever */
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answered.result, LEASE_R_DENIED);
	store->ops->free(store);
}
END_TEST

START_TEST(wrong_region_is_named)
{
	const struct backend backend = plain();
	struct lock_store *store = make_store(&backend, &config);
	struct http_response response = response_of(301, "");

	(void)snprintf(response.region, sizeof(response.region), "us-west-2");
	send_op(store, LEASE_CREATE, "", false);
	respond(&response);
	ck_assert_ptr_nonnull(strstr(why, "us-west-2; set it as region"));
	store->ops->free(store);
}
END_TEST

static const struct {
	bool is_answered;
	int status, there;
} states[] = {
	{ true, 200, 1 },       { true, 404, 0 },        { true, 403, -EACCES },
	{ true, 500, -EAGAIN }, { false, 200, -EAGAIN }, { true, 301, -EACCES },
};

START_TEST(state_is_looked_for_beside_its_lock)
{
	struct backend backend = plain();
	struct lock_store *store;
	struct http_response response = response_of(states[_i].status, "");

	backend.encrypt = true;
	backend.sse_customer_key = word_customer_key;
	store = make_store(&backend, &config);
	ck_assert_int_eq(store->ops->exists(store, on_exists, NULL), 0);
	ck_assert_str_eq(sent.method, "HEAD");
	ck_assert_str_eq(sent.url, "https://bkt.s3.eu-west-1.amazonaws.com/app/t.tfstate");
	ck_assert_pstr_eq(header("x-amz-server-side-encryption-customer-key"), word_customer_key);
	check_signature(false);
	response.is_answered = states[_i].is_answered;
	answers = 0;
	respond(&response);
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(is_there, states[_i].there);
	ck_assert_int_eq(why[0] != '\0', states[_i].there < 0);
	store->ops->free(store);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, request_carries_its_condition_and_is_signed, 0, REQUEST_COUNT);
	tcase_add_loop_test(tcase, delete_goes_out_afresh_unless_its_condition_is_known_to_hold, 0,
			    2);
	tcase_add_loop_test(tcase, encryption_is_as_the_states, 0, 3);
	tcase_add_test(tcase, backends_wishes_are_carried_out);
	tcase_add_loop_test(tcase, customer_key_that_is_none_is_refused, 0,
			    (int)(sizeof(bad_keys) / sizeof(bad_keys[0])));
	tcase_add_loop_test(tcase, status_means_what_its_request_makes_of_it, 0, MEANING_COUNT);
	tcase_add_loop_test(tcase, no_answer_tells_nothing_but_that_nothing_was_sent, 0, 2);
	tcase_add_loop_test(tcase, lock_that_is_read_is_told, 0, FOUND_COUNT);
	tcase_add_test(tcase, etag_that_could_break_a_header_is_none);
	tcase_add_test(tcase, clock_that_is_off_is_learnt_for_signing);
	tcase_add_test(tcase, wrong_region_is_named);
	tcase_add_loop_test(tcase, state_is_looked_for_beside_its_lock, 0, 6);
}

int main(void)
{
	return unit_main("lock_s3", add_tests);
}
