/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws_error.h"
#include "common/cleanup.h"
#include "tests/unit/unit.h"

/* A copy of exactly its size, so that a read past the end is caught. */
static void parse_exactly(struct aws_error *ret, const char *body, size_t len)
{
	AUTO_FREE char *copy = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, body, len);
	memset(ret, 'x', sizeof(*ret)); /* nothing of before may stay */
	aws_error_parse(ret, copy, len);
}

static bool is_empty(const struct aws_error *error)
{
	return !*error->code && !*error->message && !*error->region && !*error->server_time;
}

#define XML          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define PRECONDITION "At least one of the pre-conditions you specified did not hold"
#define NOTHING                    \
	{                          \
		"", "", "", "", "" \
	}

static const struct {
	const char *name;
	const char *body;
	struct aws_error error;
} cases[] = {
	/* clang-format off */
	{ "a lost race",
	  XML "<Error><Code>PreconditionFailed</Code><Message>" PRECONDITION "</Message>"
	  "<Condition>If-None-Match</Condition><RequestId>REQ</RequestId><HostId>ID</HostId></Error>",
	  { "PreconditionFailed", PRECONDITION, "", "", "" } },
	{ "the wrong region",
	  XML "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is "
	  "malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>"
	  "<Region>eu-west-1</Region><RequestId>R</RequestId><HostId>H</HostId></Error>",
	  { "AuthorizationHeaderMalformed", "The authorization header is malformed; the region "
	    "'us-east-1' is wrong; expecting 'eu-west-1'", "eu-west-1", "", "" } },
	{ "the wrong time",
	  XML "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message>"
	  "<RequestTime>20260131T235958Z</RequestTime><ServerTime>2026-02-01T00:20:00Z</ServerTime>"
	  "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds></Error>",
	  { "RequestTimeTooSkewed", "The difference is too large.", "", "2026-02-01T00:20:00Z", "" } },
	{ "STS wraps its error",
	  "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n"
	  "    <Type>Sender</Type>\n    <Code>AccessDenied</Code>\n    <Message>No.</Message>\n"
	  "  </Error>\n  <RequestId>R</RequestId>\n</ErrorResponse>\n",
	  { "AccessDenied", "No.", "", "", "" } },
	{ "a default namespace",
	  "<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Code>SlowDown</Code></Error>",
	  { "SlowDown", "", "", "", "" } },
	{ "a namespace with a prefix",
	  "<s3:Error xmlns:s3=\"urn:x\"><s3:Code>SlowDown</s3:Code></s3:Error>",
	  { "SlowDown", "", "", "", "" } },
	{ "an empty message",
	  "<Error><Code>NoSuchKey</Code><Message></Message></Error>",
	  { "NoSuchKey", "", "", "", "" } },
	{ "an empty message in short",
	  "<Error><Code>NoSuchKey</Code><Message/><Region/></Error>",
	  { "NoSuchKey", "", "", "", "" } },
	{ "no declaration, members in another order, blanks around",
	  "  \n<Error ><Region>r</Region><Message>m</Message><Code>c</Code></Error>\r\n ",
	  { "c", "m", "r", "", "" } },
	{ "the entities that XML has of its own",
	  "<Error><Code>C</Code><Message>&lt;a&gt; &amp; &quot;b&quot; &#252; &#x20AC;</Message></Error>",
	  { "C", "<a> & \"b\" \xc3\xbc \xe2\x82\xac", "", "", "" } },
	{ "CDATA and comments",
	  "<Error><Code>A<!-- x -->B</Code><Message><![CDATA[<b>&]]></Message></Error>",
	  { "AB", "<b>&", "", "", "" } },
	{ "the first member that is not empty counts",
	  "<Error><Code/><Code>One</Code><Code>Two</Code></Error>",
	  { "One", "", "", "", "" } },
	{ "what is nested in a member is not of it",
	  "<Error><Code>A<x>no<Code>no</Code></x>B</Code></Error>",
	  { "AB", "", "", "", "" } },
	{ "members of something else are not ours",
	  "<Error><Details><Code>no</Code></Details><Message>m</Message></Error>",
	  { "", "m", "", "", "" } },
	{ "members after the error are not ours",
	  "<ErrorResponse><Code>no</Code><Error><Message>m</Message></Error><Code>no</Code></ErrorResponse>",
	  { "", "m", "", "", "" } },
	{ "members of what comes after the error are not ours",
	  "<ErrorResponse><Error><Message>m</Message></Error><x><Code>no</Code></x></ErrorResponse>",
	  { "", "m", "", "", "" } },
	{ "a result with an error in it",
	  "<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>", NOTHING },
	{ "a result", "<ListBucketResult><Name>b</Name></ListBucketResult>", NOTHING },
	{ "an error too deep in a response",
	  "<ErrorResponse><x><Error><Code>no</Code></Error></x></ErrorResponse>", NOTHING },
	{ "names have their case", "<error><Code>no</Code></error>", NOTHING },
	{ "HTML",
	  "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>"
	  "<center><h1>502 Bad Gateway</h1></center><hr></body></html>", NOTHING },
	{ "XHTML", "<html><body><Error><Code>no</Code></Error></body></html>", NOTHING },
	{ "JSON", "{\"__type\":\"x#ConditionalCheckFailedException\",\"message\":\"m\"}", NOTHING },
	{ "no XML", "upstream connect error", NOTHING },
	{ "only a declaration", XML, NOTHING },
	{ "two roots", "<Error><Code>C</Code></Error><Error/>", NOTHING },
	{ "text after the root", "<Error><Code>C</Code></Error>x", NOTHING },
	{ "an entity nobody declared", "<Error><Code>C</Code><Message>&x;</Message></Error>", NOTHING },
	{ "a character that XML has not", "<Error><Code>C</Code><Message>&#1;</Message></Error>", NOTHING },
	{ "an entity of its own",
	  "<!DOCTYPE Error [<!ENTITY x \"y\">]><Error><Code>&x;</Code></Error>", NOTHING },
	{ "an entity from a file",
	  "<!DOCTYPE Error [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Error><Code>&x;</Code></Error>",
	  NOTHING },
	{ "an external subset",
	  "<!DOCTYPE Error SYSTEM \"http://127.0.0.1/x.dtd\"><Error><Code>C</Code></Error>", NOTHING },
	{ "a parameter entity",
	  "<!DOCTYPE Error [<!ENTITY % x \"<!ENTITY y 'z'>\"> %x;]><Error><Code>C</Code></Error>", NOTHING },
	{ "an encoding that is not there",
	  "<?xml version=\"1.0\" encoding=\"EBCDIC-X\"?><Error><Code>C</Code></Error>",
	  { "C", "", "", "", "" } },
	/* clang-format on */
};
#define CASE_COUNT ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(body_gives_its_members)
{
	const struct aws_error *expected = &cases[_i].error;
	struct aws_error error;

	parse_exactly(&error, cases[_i].body, strlen(cases[_i].body));
	ck_assert_msg(strcmp(error.code, expected->code) == 0 &&
			      strcmp(error.message, expected->message) == 0 &&
			      strcmp(error.region, expected->region) == 0 &&
			      strcmp(error.server_time, expected->server_time) == 0,
		      "%s: code '%s', message '%s', region '%s', server time '%s'", cases[_i].name,
		      error.code, error.message, error.region, error.server_time);
}
END_TEST

START_TEST(every_prefix_gives_nothing)
{
	struct aws_error error;
	const char *body = cases[_i].body;
	const char *end = strrchr(body, '>');
	size_t whole;

	if (!*cases[_i].error.code)
		return;

	whole = (size_t)(end - body) + 1;
	for (size_t len = 0; len < whole; len++) {
		parse_exactly(&error, body, len);
		ck_assert_msg(is_empty(&error), "%s: %zu bytes give '%s'", cases[_i].name, len,
			      error.code);
	}
	parse_exactly(&error, body, whole);
	ck_assert_str_eq(error.code, cases[_i].error.code);
}
END_TEST

START_TEST(any_byte_anywhere_does_no_harm)
{
	char body[] =
		XML "<Error><Code>C</Code><Message>\xc3\xbc\xf0\x9f\x98\x80</Message></Error>";
	struct aws_error error;

	for (size_t i = 0; i < sizeof(body) - 1; i++) {
		const char saved = body[i];

		for (int byte = 0; byte < 256; byte += 5) {
			body[i] = (char)byte;
			parse_exactly(&error, body, sizeof(body) - 1);
			ck_assert_ptr_null(strpbrk(error.message, "\t\r\n\x7f"));
		}
		body[i] = saved;
	}
}
END_TEST

/* @text as the message of a body, given byte by byte, and what is made of it. */
static const struct {
	const char *name;
	const char *text;
	size_t len;
	const char *message;
} texts[] = {
/* clang-format off */
#define TEXT(bytes) bytes, sizeof(bytes) - 1
	{ "C0", TEXT("a\x01z\x1bz\x08z"), "a?z?z?z" },
	{ "NUL", TEXT("a\0z"), "a?z" },
	{ "line feeds and tabs", TEXT("a\nz\tz"), "a?z?z" },
	{ "control characters by number", TEXT("a&#10;z&#x9;z&#xD;z&#127;z&#x9B;z"), "a?z?z?z?z?z" },
	{ "DEL", TEXT("a\x7fz"), "a?z" },
	{ "C1 is one character", TEXT("a\xc2\x80z\xc2\x9bz\xc2\x9fz"), "a?z?z?z" },
	{ "what is no character", TEXT("a\xef\xbf\xbez\xef\xbf\xbfz"), "a?z?z" },
	{ "a word that turns the text around", TEXT("a\xe2\x80\xaez"), "a?z" }, // NOLINT(misc-misleading-bidirectional)
	{ "the first after C1 stays", TEXT("a\xc2\xa0z"), "a\xc2\xa0z" },
	{ "UTF-8 stays", TEXT("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ "the last of each length stays", TEXT("\xdf\xbf\xed\x9f\xbf\xf4\x8f\xbf\xbd"), "\xdf\xbf\xed\x9f\xbf\xf4\x8f\xbf\xbd" },
	{ "Latin-1", TEXT("f\xfcr"), "f?r" },
	{ "a lone continuation", TEXT("a\x80z"), "a?z" },
	{ "cut short", TEXT("a\xe2\x82z\xf0\x9f\x98z"), "a??z???z" },
	{ "overlong", TEXT("a\xc0\xafz\xe0\x80\xafz\xf0\x80\x80\xafz"), "a??z???z????z" },
	{ "a surrogate", TEXT("a\xed\xa0\x80z"), "a???z" },
	{ "beyond Unicode", TEXT("a\xf4\x90\x80\x80z\xfez\xffz"), "a????z?z?z" },
#undef TEXT
	/* clang-format on */
};
#define TEXT_COUNT ((int)(sizeof(texts) / sizeof(texts[0])))

#define BEFORE     "<Error><Code>C</Code><Message>"
#define AFTER      "</Message></Error>"
#define BEFORE_LEN (sizeof(BEFORE) - 1)
#define AFTER_LEN  (sizeof(AFTER) - 1)
#define TOO_LONG   71680U /* bytes, well over the limit */

static void parse_message(struct aws_error *ret, const char *text, size_t len)
{
	AUTO_FREE char *body = malloc(BEFORE_LEN + len + AFTER_LEN);

	ck_assert_ptr_nonnull(body);
	memcpy(body, BEFORE, BEFORE_LEN);
	memcpy(body + BEFORE_LEN, text, len);
	memcpy(body + BEFORE_LEN + len, AFTER, AFTER_LEN);
	parse_exactly(ret, body, BEFORE_LEN + len + AFTER_LEN);
}

START_TEST(text_becomes_printable)
{
	struct aws_error error;

	parse_message(&error, texts[_i].text, texts[_i].len);
	ck_assert_msg(strcmp(error.code, "C") == 0 && strcmp(error.message, texts[_i].message) == 0,
		      "%s: code '%s', message '%s'", texts[_i].name, error.code, error.message);
}
END_TEST

START_TEST(long_text_is_cut_at_a_character)
{
	struct aws_error error;
	char text[400];

	/* The euro sign lies across the limit in all ways it can. */
	for (size_t before = AWS_ERROR_TEXT_MAX - 6; before < AWS_ERROR_TEXT_MAX + 2; before++) {
		const size_t fits = before + 3 < AWS_ERROR_TEXT_MAX   ? before + 3
				    : before < AWS_ERROR_TEXT_MAX - 1 ? before
								      : AWS_ERROR_TEXT_MAX - 1;

		memset(text, 'a', sizeof(text));
		memcpy(text + before, "\xe2\x82\xac", 3);
		parse_message(&error, text, before + 3);
		ck_assert_uint_eq(strlen(error.message), fits);
		ck_assert(memcmp(error.message, text, fits) == 0);
	}

	/* Nothing may follow the cut, though a short piece would have room. */
	memset(text, 'a', sizeof(text));
	memcpy(text + AWS_ERROR_TEXT_MAX - 2, "\xe2\x82\xac&lt;b", 8);
	parse_message(&error, text, AWS_ERROR_TEXT_MAX + 6);
	ck_assert_uint_eq(strlen(error.message), AWS_ERROR_TEXT_MAX - 2);
}
END_TEST

START_TEST(body_over_the_limit_gives_nothing)
{
	AUTO_FREE char *text = malloc(TOO_LONG);
	const size_t room = AWS_ERROR_BODY_MAX - BEFORE_LEN - AFTER_LEN;
	struct aws_error error;

	ck_assert_ptr_nonnull(text);
	memset(text, 'a', TOO_LONG);

	parse_message(&error, text, room);
	ck_assert_str_eq(error.code, "C");
	ck_assert_uint_eq(strlen(error.message), AWS_ERROR_TEXT_MAX - 1);

	parse_message(&error, text, room + 1);
	ck_assert(is_empty(&error));
	parse_message(&error, text, TOO_LONG);
	ck_assert(is_empty(&error));
}
END_TEST

START_TEST(depth_is_limited)
{
	struct aws_error error;
	char body[4096];

	for (size_t depth = 1; depth < 40; depth++) {
		size_t len = (size_t)snprintf(body, sizeof(body), "<Error><Code>C</Code>");

		for (size_t i = 1; i < depth; i++)
			len += (size_t)snprintf(body + len, sizeof(body) - len, "<a>");
		for (size_t i = 1; i < depth; i++)
			len += (size_t)snprintf(body + len, sizeof(body) - len, "</a>");
		len += (size_t)snprintf(body + len, sizeof(body) - len, "</Error>");

		parse_exactly(&error, body, len);
		ck_assert_msg((depth <= 8) == (strcmp(error.code, "C") == 0), "depth %zu: '%s'",
			      depth, error.code);
	}
}
END_TEST

START_TEST(only_opening_tags_give_nothing)
{
	AUTO_FREE char *body = malloc(AWS_ERROR_BODY_MAX);
	struct aws_error error;

	ck_assert_ptr_nonnull(body);
	for (size_t i = 0; i < AWS_ERROR_BODY_MAX; i++)
		body[i] = "<a>x"[i % 4];
	parse_exactly(&error, body, AWS_ERROR_BODY_MAX);
	ck_assert(is_empty(&error));
}
END_TEST

START_TEST(billion_laughs_give_nothing)
{
	struct aws_error error;
	char body[4096];
	size_t len = (size_t)snprintf(body, sizeof(body), "<!DOCTYPE Error [<!ENTITY l0 \"lol\">");

	for (int i = 1; i < 10; i++) {
		len += (size_t)snprintf(body + len, sizeof(body) - len, "<!ENTITY l%d \"", i);
		for (int k = 0; k < 10; k++)
			len += (size_t)snprintf(body + len, sizeof(body) - len, "&l%d;", i - 1);
		len += (size_t)snprintf(body + len, sizeof(body) - len, "\">");
	}
	len += (size_t)snprintf(body + len, sizeof(body) - len,
				"]><Error><Code>C</Code><Message>&l9;</Message></Error>");
	parse_exactly(&error, body, len);
	ck_assert(is_empty(&error));
}
END_TEST

START_TEST(redirect_names_its_host)
{
	static const char body[] =
		"<Error><Code>TemporaryRedirect</Code><Endpoint>b.s3-x.amazonaws.com</Endpoint>"
		"</Error>";
	struct aws_error error;

	parse_exactly(&error, body, strlen(body));
	ck_assert_str_eq(error.code, "TemporaryRedirect");
	ck_assert_str_eq(error.endpoint, "b.s3-x.amazonaws.com");
}
END_TEST

static const struct {
	const char *body, *code, *message;
} jsons[] = {
	/* clang-format off */
	{ "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException\","
	  "\"message\":\"The conditional request failed\",\"Item\":{}}",
	  "ConditionalCheckFailedException", "The conditional request failed" },
	{ "{\"__type\":\"com.amazon.coral.service#AccessDeniedException\",\"Message\":\"no\"}",
	  "AccessDeniedException", "no" },
	{ "{\"__type\":\"ValidationException\"}", "ValidationException", "" },
	{ "{\"__type\":\"a#b#C\",\"message\":\"x\\u001by\"}", "C", "x?y" },
	{ "{\"__type\":7,\"message\":[]}", "", "" },
	{ "{\"__type\":\"A\"} x", "", "" },
	{ "[\"__type\"]", "", "" },
	{ "\"__type\"", "", "" },
	{ "<html>", "", "" },
	{ "", "", "" },
	/* clang-format on */
};
#define JSON_COUNT ((int)(sizeof(jsons) / sizeof(jsons[0])))

START_TEST(json_gives_its_members)
{
	const size_t len = strlen(jsons[_i].body);
	AUTO_FREE char *copy = malloc(len ? len : 1); /* without the NUL */
	struct aws_error error;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, jsons[_i].body, len);
	memset(&error, 'x', sizeof(error));
	aws_error_parse_json(&error, copy, len);
	ck_assert_str_eq(error.code, jsons[_i].code);
	ck_assert_str_eq(error.message, jsons[_i].message);
	ck_assert_str_eq(error.region, "");
}
END_TEST

START_TEST(json_over_the_limit_gives_nothing)
{
	const size_t len = AWS_ERROR_BODY_MAX + 1;
	AUTO_FREE char *body = malloc(len);
	struct aws_error error;

	ck_assert_ptr_nonnull(body);
	memset(body, ' ', len);
	(void)mempcpy(body, "{\"__type\":\"A\"}", 14);
	aws_error_parse_json(&error, body, len);
	ck_assert_str_eq(error.code, "");
	aws_error_parse_json(&error, body, len - 1);
	ck_assert_str_eq(error.code, "A");
	memset(body, '[', len); /* deep */
	aws_error_parse_json(&error, body, len - 1);
	ck_assert_str_eq(error.code, "");
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, redirect_names_its_host);
	tcase_add_loop_test(tcase, json_gives_its_members, 0, JSON_COUNT);
	tcase_add_test(tcase, json_over_the_limit_gives_nothing);
	tcase_add_loop_test(tcase, body_gives_its_members, 0, CASE_COUNT);
	tcase_add_loop_test(tcase, every_prefix_gives_nothing, 0, CASE_COUNT);
	tcase_add_test(tcase, any_byte_anywhere_does_no_harm);
	tcase_add_loop_test(tcase, text_becomes_printable, 0, TEXT_COUNT);
	tcase_add_test(tcase, long_text_is_cut_at_a_character);
	tcase_add_test(tcase, body_over_the_limit_gives_nothing);
	tcase_add_test(tcase, depth_is_limited);
	tcase_add_test(tcase, only_opening_tags_give_nothing);
	tcase_add_test(tcase, billion_laughs_give_nothing);
}

int main(void)
{
	return unit_main("aws_error", add_tests);
}
