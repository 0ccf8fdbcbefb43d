/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "daemon/aws/aws_client.h"
#include "tests/unit/fake_http.h"
#include "tests/unit/unit.h"

#define ERROR_XML(code) "<Error><Code>" code "</Code><Message>words</Message></Error>"
#define MINUTES(n)      (60L * (n))

/* --- identities, in the place of the real ones ----------------------------------------------- */

static char key_one[] = "AKID1", key_two[] = "AKID2", secret[] = "hush",
	    word_source[] = "profile p";
static char word_token[] = "token";
static struct identity keys;
static unsigned renewals;

struct identity *identity_ref(struct identity *identity)
{
	identity->refs++;
	return identity;
}

struct identity *identity_unref(struct identity *identity)
{
	if (identity)
		identity->refs--;
	return NULL;
}

void identity_renew(struct identity *identity)
{
	ck_assert_ptr_eq(identity, &keys);
	renewals++;
}

/* --- the client ------------------------------------------------------------------------------ */

static struct endpoint at = { 0 };
static char origin[64], host[64], path[] = "/bkt/k";
static struct aws_client *client;
static struct aws_transfer *transfer;
static struct aws_answer answered;
static unsigned answers;

static void on_done(const struct aws_answer *answer, void *userdata)
{
	ck_assert_ptr_eq(userdata, &answered);
	answered = *answer;
	answers++;
}

static void make_client(const char *service, const char *hostname)
{
	AUTO_FREE char *error = NULL;

	(void)snprintf(origin, sizeof(origin), "https://%s", hostname);
	(void)snprintf(host, sizeof(host), "%s", hostname);
	at = (struct endpoint){ origin, host, path };
	ck_assert_int_eq(aws_client_new(&client,
					&(struct aws_client_setup){
						.service = service,
						.region = "eu-west-1",
						.identity = &keys,
						.proxy = { .https = "http://p.example:3128",
							   .no_proxy = "direct.example" },
						.ca_pem = "PEM",
						.connect_timeout_usec = 1,
						.request_timeout_usec = 2,
					},
					origin, &error),
			 0);
}

static void setup(void)
{
	keys = (struct identity){
		.refs = 1, .access_key = key_one, .secret_key = secret, .source = word_source
	};
	make_client("s3", "bkt.s3.eu-west-1.amazonaws.com");
}

static void teardown(void)
{
	ck_assert_ptr_null(aws_client_free(client));
	ck_assert_uint_eq(keys.refs, 1);
	ck_assert_uint_eq(open_count(), 0);
}

static void ask(const char *method, const char *body)
{
	const struct sigv4_header headers[] = { { "if-match", "\"e\"" } };

	answers = 0;
	ck_assert_int_eq(aws_send(&transfer, client,
				  &(struct aws_request){
					  .method = method,
					  .at = &at,
					  .headers = headers,
					  .header_count = 1,
					  .body = body,
				  },
				  on_done, &answered),
			 0);
}

static struct http_response dated(int status, const char *body, long ahead_sec)
{
	struct http_response response = response_of(status, body);
	const time_t then = time(NULL) + ahead_sec;
	struct tm tm;

	(void)gmtime_r(&then, &tm);
	(void)strftime(response.date, sizeof(response.date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	return response;
}

/* How far ahead of us the last request was signed, in minutes. */
static long signed_ahead(void)
{
	struct tm tm = { 0 };
	long ahead;

	ck_assert_ptr_nonnull(strptime(header("x-amz-date"), "%Y%m%dT%H%M%SZ", &tm));
	ahead = timegm(&tm) - time(NULL);
	return (ahead + (ahead < 0 ? -30 : 30)) / 60;
}

START_TEST(keys_are_read_at_each_signing)
{
	const struct http_response fine = response_of(200, "");

	ask("PUT", "body");
	ck_assert_ptr_nonnull(strstr(header("authorization"), "Credential=AKID1/"));
	ck_assert_ptr_null(header("x-amz-security-token"));
	ck_assert_str_eq(sent.proxy, "http://p.example:3128");
	ck_assert_str_eq(sent.ca_pem, "PEM");
	ck_assert_str_eq(sent.body, "body");
	respond(&fine);
	ck_assert_int_eq(answered.result, AWS_DONE);
	ck_assert_str_eq(answered.why, "");

	keys.access_key = key_two;
	keys.token = word_token;
	ask("GET", NULL);
	ck_assert_ptr_nonnull(strstr(header("authorization"), "Credential=AKID2/"));
	ck_assert_str_eq(header("x-amz-security-token"), "token");
	ck_assert_str_eq(header("if-match"), "\"e\"");
	ck_assert_ptr_null(aws_cancel(transfer));
	ck_assert_ptr_null(aws_cancel(NULL));
	ck_assert_uint_eq(answers, 0);
}
END_TEST

START_TEST(proxy_is_as_the_settings_say)
{
	AUTO_FREE char *error = NULL;
	struct aws_client *none = NULL;

	aws_client_free(client);
	make_client("s3", "bkt.direct.example");
	ask("GET", NULL);
	ck_assert_str_eq(sent.proxy, "");
	aws_cancel(transfer);
	ck_assert_int_eq(aws_client_new(&none,
					&(struct aws_client_setup){
						.service = "s3",
						.region = "r",
						.identity = &keys,
						.proxy = { .https = "ftp://al:hush@p.example" },
					},
					origin, &error),
			 -EINVAL);
	ck_assert_ptr_nonnull(error);
	ck_assert_ptr_null(strstr(error, "hush"));
}
END_TEST

START_TEST(dynamodb_is_signed_as_such)
{
	const struct http_response denied =
		response_of(400, "{\"__type\":\"com.amazon.coral.service#AccessDeniedException\","
				 "\"Message\":\"no\"}");

	aws_client_free(client);
	make_client("dynamodb", "dynamodb.eu-west-1.amazonaws.com");
	ask("POST", "{}");
	ck_assert_ptr_nonnull(strstr(header("authorization"), "/eu-west-1/dynamodb/aws4_request"));
	ck_assert_ptr_null(header("x-amz-content-sha256"));
	respond(&denied);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
	ck_assert_str_eq(answered.why, "HTTP 400, AccessDeniedException: no");
}
END_TEST

/* --- the clock ------------------------------------------------------------------------------- */

static const struct {
	const char *body;
	const char *method;
	long ahead_min;
	int status;
	bool is_clock;
} skews[] = {
	/* clang-format off */
	{ ERROR_XML("RequestTimeTooSkewed"), "PUT", 20, 403, true },
	{ ERROR_XML("RequestTimeTooSkewed"), "PUT", -20, 403, true },
	{ ERROR_XML("SignatureDoesNotMatch"), "PUT", 5, 403, true },
	{ ERROR_XML("SignatureDoesNotMatch"), "PUT", 3, 403, false }, /* a wrong secret */
	{ ERROR_XML("InvalidSignatureException"), "PUT", 5, 400, true },
	{ ERROR_XML("AuthFailure"), "PUT", 5, 403, true },
	{ ERROR_XML("AccessDenied"), "PUT", 5, 403, true },
	{ ERROR_XML("AccessDenied"), "PUT", 0, 403, false },
	{ ERROR_XML("NoSuchKey"), "GET", 20, 404, false },
	{ ERROR_XML("InternalError"), "GET", 20, 500, false },
	{ "", "HEAD", 20, 403, true }, /* which has no body to say it in */
	{ "", "HEAD", 1, 403, false },
	{ "", "HEAD", 20, 404, false },
	/* clang-format on */
};
#define SKEW_COUNT ((int)(sizeof(skews) / sizeof(skews[0])))

START_TEST(clock_is_learnt_from_a_refusal_of_the_time)
{
	const struct http_response refused =
		dated(skews[_i].status, skews[_i].body, MINUTES(skews[_i].ahead_min));
	const struct http_response fine = response_of(200, "");

	ask(skews[_i].method, NULL);
	ck_assert_int_eq(signed_ahead(), 0);
	respond(&refused);
	ck_assert_uint_eq(answers, !skews[_i].is_clock);
	if (!skews[_i].is_clock)
		return;
	ck_assert_int_eq(signed_ahead(), skews[_i].ahead_min);
	ck_assert_str_eq(clock_host, host);
	respond(&fine);
	ck_assert_int_eq(answered.result, AWS_DONE);
	ask("GET", NULL); /* and so from then on */
	ck_assert_int_eq(signed_ahead(), skews[_i].ahead_min);
	aws_cancel(transfer);
}
END_TEST

START_TEST(stale_clock_heals)
{
	const struct http_response right = dated(403, ERROR_XML("SignatureDoesNotMatch"), 0);

	http_set_clock(NULL, host, MINUTES(60)); /* ours has been set right since */
	ask("PUT", "body");
	ck_assert_int_eq(signed_ahead(), 60);
	respond(&right);
	ck_assert_int_eq(signed_ahead(), 0);
	ck_assert_uint_eq(answers, 0);
	respond(&right); /* it was not the clock alone */
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
}
END_TEST

START_TEST(clock_is_sent_again_for_once)
{
	const struct http_response off = dated(403, ERROR_XML("RequestTimeTooSkewed"), MINUTES(20));
	const struct http_response mad = dated(403, ERROR_XML("RequestTimeTooSkewed"), MINUTES(90));

	ask("PUT", "body");
	respond(&off);
	respond(&mad);
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
}
END_TEST

START_TEST(body_tells_the_time_where_no_date_does)
{
	const struct http_response refused =
		response_of(403, "<Error><Code>RequestTimeTooSkewed</Code>"
				 "<ServerTime>2031-01-01T10:00:00Z</ServerTime></Error>");

	ask("PUT", "body");
	respond(&refused);
	ck_assert_int_eq(strncmp(header("x-amz-date"), "20310101T1000", 13), 0);
	aws_cancel(transfer);
}
END_TEST

/* --- keys ------------------------------------------------------------------------------------ */

static const char *const expiries[] = {
	ERROR_XML("ExpiredToken"),         ERROR_XML("ExpiredTokenException"),
	ERROR_XML("InvalidToken"),         ERROR_XML("UnrecognizedClientException"),
	ERROR_XML("RequestExpired"),       ERROR_XML("InvalidAccessKeyId"),
	ERROR_XML("InvalidClientTokenId"),
};
#define EXPIRY_COUNT ((int)(sizeof(expiries) / sizeof(expiries[0])))

START_TEST(expired_keys_are_renewed_where_they_can_be)
{
	const struct http_response expired = response_of(400, expiries[_i]);
	char trouble[] = "log in to X";

	ask("PUT", "body");
	respond(&expired);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
	ck_assert_ptr_nonnull(strstr(answered.why, "profile p"));
	ck_assert_ptr_nonnull(strstr(answered.why, "log in again, then queue the job again"));
	ck_assert_uint_eq(renewals, 1); /* no harm where nothing can be asked */

	keys.can_refresh = true;
	ask("PUT", "body");
	respond(&expired);
	ck_assert_int_eq(answered.result, AWS_UNSENT);
	ck_assert_ptr_nonnull(strstr(answered.why, "being renewed"));
	ck_assert_uint_eq(renewals, 2);

	keys.trouble = trouble;
	ask("PUT", "body");
	respond(&expired);
	ck_assert_int_eq(answered.result, AWS_UNSENT);
	ck_assert_ptr_nonnull(strstr(answered.why, "cannot be renewed, trying again: log in to X"));
}
END_TEST

START_TEST(keys_that_were_replaced_meanwhile_are_not_renewed_again)
{
	const struct http_response expired = response_of(400, expiries[0]);

	keys.can_refresh = true;
	ask("PUT", "body");
	keys.access_key = key_two;
	respond(&expired);
	ck_assert_int_eq(answered.result, AWS_UNSENT);
	ck_assert_uint_eq(renewals, 0);
}
END_TEST

/* --- redirects ------------------------------------------------------------------------------- */

static struct http_response sent_on(const char *to, bool is_in_body)
{
	static char body[512];
	struct http_response response;

	(void)snprintf(body, sizeof(body),
		       "<Error><Code>TemporaryRedirect</Code><Endpoint>%s</Endpoint></Error>",
		       is_in_body ? to : "");
	response = response_of(307, is_in_body ? body : "");
	if (!is_in_body)
		(void)snprintf(response.location, sizeof(response.location), "https://%s/x?y", to);
	return response;
}

START_TEST(redirect_within_the_store_is_followed_signed_anew)
{
	const struct http_response response = sent_on("bkt.s3.us-west-2.amazonaws.com", _i == 1);

	ask("PUT", "body");
	for (int i = 0; i < AWS_REDIRECTS_MAX; i++) {
		char before[512];

		(void)snprintf(before, sizeof(before), "%s", header("authorization"));
		respond(&response);
		ck_assert_uint_eq(answers, 0);
		ck_assert_str_eq(sent.url, "https://bkt.s3.us-west-2.amazonaws.com/bkt/k");
		ck_assert_str_eq(header("host"), "bkt.s3.us-west-2.amazonaws.com");
		ck_assert(i > 0 || strcmp(before, header("authorization")) != 0);
		ck_assert_str_eq(sent.body, "body");
	}
	respond(&response); /* not for ever */
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
}
END_TEST

static const char *const foreign[] = {
	"evil.example",
	"bkt.s3.us-west-2.amazonaws.com.evil.example",
	"lb.elb.amazonaws.com",
	"bkt.s3.us-west-2.amazonaws.com:1@evil.example",
	"",
};

START_TEST(redirect_elsewhere_is_not_followed)
{
	const struct http_response response = sent_on(foreign[_i / 2], _i % 2);

	ask("GET", NULL);
	respond(&response);
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
}
END_TEST

/* --- what answers say ------------------------------------------------------------------------ */

static const struct {
	const char *body, *crc32;
	enum aws_result result;
} sums[] = {
	{ "{}", "2745614147", AWS_DONE },
	{ "{}", "2745614148", AWS_UNKNOWN },
	{ "{}", "", AWS_DONE },
	{ "{}", "x", AWS_UNKNOWN },
	{ "", "0", AWS_DONE },
	{ "{}", "99999999999999999999", AWS_UNKNOWN },
};

START_TEST(wrong_sum_makes_an_answer_none)
{
	struct http_response response = response_of(200, sums[_i].body);

	(void)snprintf(response.crc32, sizeof(response.crc32), "%s", sums[_i].crc32);
	ask("GET", NULL);
	respond(&response);
	ck_assert_int_eq(answered.result, sums[_i].result);
	ck_assert_int_eq(answered.why[0] != '\0', sums[_i].result != AWS_DONE);
}
END_TEST

static const struct {
	int status;
	const char *body, *words;
} whys[] = {
	/* clang-format off */
	{ 301, "<Error><Code>PermanentRedirect</Code><Region>us-west-2</Region></Error>",
	  "in another region, us-west-2; set it as region" },
	{ 400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>",
	  "in another region, us-west-2; set it as region" },
	{ 400, ERROR_XML("AuthorizationHeaderMalformed"), "HTTP 400" },
	{ 400, ERROR_XML("IllegalLocationConstraintException"), "in another region; set it" },
	{ 407, "", "the proxy wants a user and a password" },
	{ 403, ERROR_XML("AccessDenied"), "HTTP 403, AccessDenied: words" },
	{ 403, "<html>", "HTTP 403" },
	/* clang-format on */
};
#define WHY_COUNT ((int)(sizeof(whys) / sizeof(whys[0])))

START_TEST(refusal_says_what_to_do)
{
	const struct http_response response = response_of(whys[_i].status, whys[_i].body);

	ask("PUT", "body");
	respond(&response);
	ck_assert_int_eq(answered.result, AWS_REFUSED);
	ck_assert_msg(strstr(answered.why, whys[_i].words) != NULL, "%s", answered.why);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, keys_are_read_at_each_signing);
	tcase_add_test(tcase, proxy_is_as_the_settings_say);
	tcase_add_test(tcase, dynamodb_is_signed_as_such);
	tcase_add_loop_test(tcase, clock_is_learnt_from_a_refusal_of_the_time, 0, SKEW_COUNT);
	tcase_add_test(tcase, stale_clock_heals);
	tcase_add_test(tcase, clock_is_sent_again_for_once);
	tcase_add_test(tcase, body_tells_the_time_where_no_date_does);
	tcase_add_loop_test(tcase, expired_keys_are_renewed_where_they_can_be, 0, EXPIRY_COUNT);
	tcase_add_test(tcase, keys_that_were_replaced_meanwhile_are_not_renewed_again);
	tcase_add_loop_test(tcase, redirect_within_the_store_is_followed_signed_anew, 0, 2);
	tcase_add_loop_test(tcase, redirect_elsewhere_is_not_followed, 0, 10);
	tcase_add_loop_test(tcase, wrong_sum_makes_an_answer_none, 0, 6);
	tcase_add_loop_test(tcase, refusal_says_what_to_do, 0, WHY_COUNT);
}

int main(void)
{
	return unit_main("aws_client", add_tests);
}
