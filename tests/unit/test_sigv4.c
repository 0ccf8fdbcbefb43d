/* SPDX-License-Identifier: MIT */
/*
 * Besides the vectors in here, those in the folder that TFQ_SIGV4_VECTORS names:
 * <suite>/<case>/{context.json,request.txt,header-*.txt}, the form of AWS's own
 * published suite.
 */
#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/sigv4.h"
#include "common/cleanup.h"
#include "tests/unit/unit.h"

#define EMPTY_HASH   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define TOKEN        "FwoGZXIvYXdzEXAMPLE//////////+sessiontoken=="
#define VECTORS_ENV  "TFQ_SIGV4_VECTORS"
#define VECTOR_COUNT 68

#define HEADERS(...)                                             \
	.headers = (const struct sigv4_header[]){ __VA_ARGS__ }, \
	.header_count =                                          \
		sizeof((const struct sigv4_header[]){ __VA_ARGS__ }) / sizeof(struct sigv4_header)

/* --- vectors ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct sigv4_credentials credentials;
	struct sigv4_request request;
	const char *hash; /* of the canonical request */
	const char *names;
	const char *signature;
} vectors[] = {
	/* clang-format off */
	{ "S3 API Reference, GET Object",
	  { "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL },
	  { .method = "GET", .path = "/test.txt", .payload_hash = EMPTY_HASH,
	    .region = "us-east-1", .service = "s3", .date = "20130524T000000Z",
	    HEADERS({ "Host", "examplebucket.s3.amazonaws.com" },
		    { "Range", "bytes=0-9" },
		    { "x-amz-content-sha256", EMPTY_HASH },
		    { "x-amz-date", "20130524T000000Z" }) },
	  "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
	  "host;range;x-amz-content-sha256;x-amz-date",
	  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
	{ "S3 API Reference, GET Bucket Lifecycle: a parameter without a value",
	  { "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL },
	  { .method = "GET", .path = "", .query = "lifecycle", .payload_hash = EMPTY_HASH,
	    .region = "us-east-1", .service = "s3", .date = "20130524T000000Z",
	    HEADERS({ "x-amz-date", "20130524T000000Z" },
		    { "x-amz-content-sha256", EMPTY_HASH },
		    { "Host", "examplebucket.s3.amazonaws.com" }) },
	  "9766c798316ff2757b517bc739a67f6213b4ab36dd5da2f94eaebf79c77395ca",
	  "host;x-amz-content-sha256;x-amz-date",
	  "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
	{ "the KMS key id: a header's name that begins with another's; a token; an encoded key",
	  { "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", TOKEN },
	  { .method = "PUT", .path = "/env%3A/prod/a%20b.tfstate.tflock",
	    .payload_hash = "9ae2686cdcaf188825471075223e465fdac41dab964a9249e33b42f23905abfb",
	    .region = "eu-west-1", .service = "s3", .date = "20260131T235958Z",
	    HEADERS({ "x-amz-server-side-encryption-aws-kms-key-id",
		      "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab" },
		    { "x-amz-server-side-encryption", "aws:kms" },
		    { "X-Amz-Security-Token", TOKEN },
		    { "Content-Type", "application/json" },
		    { "If-None-Match", "*" },
		    { "X-Amz-Date", "20260131T235958Z" },
		    { "X-Amz-Content-Sha256",
		      "9ae2686cdcaf188825471075223e465fdac41dab964a9249e33b42f23905abfb" },
		    { "Host", "my-bucket.s3.eu-west-1.amazonaws.com" }) },
	  "b749b4b11bf8640594a5bd9f08e69260da7a7398a82c5bf50859777c3ed6de2a",
	  "content-type;host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-security-token;"
	  "x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id",
	  "b5c2077fdb2b923bd74e3e6a3e63826166e513af38b10186791eb4acd2857706" },
	{ "DynamoDB with a token",
	  { "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", TOKEN },
	  { .method = "POST", .path = "/",
	    .payload_hash = "139a6a9958b49b26a79fb0f0768eb702cfad5a05a688cca10f6a633521838145",
	    .region = "eu-west-1", .service = "dynamodb", .date = "20260131T235958Z",
	    HEADERS({ "Host", "dynamodb.eu-west-1.amazonaws.com" },
		    { "Content-Type", "application/x-amz-json-1.0" },
		    { "X-Amz-Target", "DynamoDB_20120810.GetItem" },
		    { "X-Amz-Security-Token", TOKEN },
		    { "X-Amz-Date", "20260131T235958Z" }) },
	  "987b213ee599e3e277759fac62eba1cc1dcf8b83e1ef89d02b8c923b690e0921",
	  "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
	  "8f8ae6b12bc243a3548816fdc0543260ad069d8206c1107154e90884af91d6b3" },
	{ "terraform's own PUT of a lock",
	  { "test", "testsecret", NULL },
	  { .method = "PUT", .path = "/tfbucket/app/terraform.tfstate.tflock",
	    .query = "x-id=PutObject",
	    .payload_hash = "9a82b1c39147035dcc4cb505f75d5366757173788255b450c1080a292e0d652a",
	    .region = "us-east-1", .service = "s3", .date = "20261122T174651Z",
	    HEADERS({ "Host", "127.0.0.1:18080" },
		    { "Content-Length", "206" },
		    { "Accept-Encoding", "identity" },
		    { "Amz-Sdk-Invocation-Id", "925a8426-17af-4c21-96e5-280f4c9d7c2d" },
		    { "Amz-Sdk-Request", "attempt=1; max=5" },
		    { "Content-Type", "application/json" },
		    { "If-None-Match", "*" },
		    { "X-Amz-Checksum-Sha256", "moKxw5FHA13MTLUF911TZnVxc3iCVbRQwQgKKS4NZSo=" },
		    { "X-Amz-Content-Sha256",
		      "9a82b1c39147035dcc4cb505f75d5366757173788255b450c1080a292e0d652a" },
		    { "X-Amz-Date", "20261122T174651Z" },
		    { "X-Amz-Sdk-Checksum-Algorithm", "SHA256" }) },
	  "e53370dbae878865b360fd5699775a668d990ac7c2ab5462a7d3c0fa6530a23c",
	  "accept-encoding;amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;"
	  "if-none-match;x-amz-checksum-sha256;x-amz-content-sha256;x-amz-date;"
	  "x-amz-sdk-checksum-algorithm",
	  "c53ea13a10868957c891ad54d1a9905fa36fd34669356efcc2b8506ecfa374dc" },
	/* clang-format on */
};
#define WRITTEN_COUNT ((int)(sizeof(vectors) / sizeof(vectors[0])))

START_TEST(request_is_signed_as_published)
{
	const struct sigv4_request *request = &vectors[_i].request;
	AUTO_FREE char *canonical = NULL;
	AUTO_FREE char *to_sign = NULL;
	AUTO_FREE char *authorization = NULL;
	char hash[SIGV4_HASH_LEN];
	char expected[1024];

	ck_assert_int_eq(sigv4_canonical_request(&canonical, request), 0);
	ck_assert_int_eq(sigv4_hash(hash, canonical, strlen(canonical)), 0);
	ck_assert_msg(strcmp(hash, vectors[_i].hash) == 0, "%s: %s of\n%s", vectors[_i].name, hash,
		      canonical);

	(void)snprintf(expected, sizeof(expected),
		       "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", request->date,
		       request->date, request->region, request->service, vectors[_i].hash);
	ck_assert_int_eq(sigv4_string_to_sign(&to_sign, request), 0);
	ck_assert_str_eq(to_sign, expected);

	(void)snprintf(expected, sizeof(expected),
		       "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, "
		       "Signature=%s",
		       vectors[_i].credentials.access_key, request->date, request->region,
		       request->service, vectors[_i].names, vectors[_i].signature);
	ck_assert_int_eq(sigv4_authorization(&authorization, request, &vectors[_i].credentials), 0);
	ck_assert_str_eq(authorization, expected);
}
END_TEST

START_TEST(body_of_the_captured_lock_has_its_hash)
{
	static const char body[] =
		"{\"ID\":\"4fd3b847-365f-d96c-4f7b-40a0ce0a0763\",\"Operation\":\"OperationTypeApply\","
		"\"Info\":\"\",\"Who\":\"root@vm\",\"Version\":\"1.11.4\",\"Created\":"
		"\"2026-11-22T17:46:51.214148012Z\",\"Path\":\"tfbucket/app/terraform.tfstate\"}";
	char hash[SIGV4_HASH_LEN];

	ck_assert_int_eq(sigv4_hash(hash, body, strlen(body)), 0);
	ck_assert_str_eq(hash, "9a82b1c39147035dcc4cb505f75d5366757173788255b450c1080a292e0d652a");
	ck_assert_int_eq(sigv4_hash(hash, "", 0), 0);
	ck_assert_str_eq(hash, EMPTY_HASH);
}
END_TEST

/* --- the parts of the canonical request ---------------------------------------------- */

/* What there must be to sign at all; the tests put the rest in. */
static const struct sigv4_request plain = {
	.method = "GET",
	.path = "/",
	.payload_hash = EMPTY_HASH,
	.region = "r",
	.service = "s3",
	.date = "20260102T030405Z",
	HEADERS({ "host", "h" }),
};

/* The line of that number, from 0, of the canonical request. */
static void check_line(const struct sigv4_request *request, unsigned number, const char *expected)
{
	AUTO_FREE char *canonical = NULL;
	char *line;

	ck_assert_int_eq(sigv4_canonical_request(&canonical, request), 0);
	line = canonical;
	for (unsigned i = 0; i < number; i++)
		line = strchr(line, '\n') + 1;
	line[strcspn(line, "\n")] = '\0';
	ck_assert_str_eq(line, expected);
}

static const struct {
	const char *path;
	const char *of_s3;
	const char *of_others;
} paths[] = {
	/* clang-format off */
	{ "", "/", "/" },
	{ "/", "/", "/" },
	{ "/a/./b/../c//d/", "/a/./b/../c//d/", "/a/./b/../c//d/" },
	{ "/a%20b%2F%C3%BC", "/a%20b%2F%C3%BC", "/a%2520b%252F%25C3%25BC" },
	{ "/~a-b._c", "/~a-b._c", "/~a-b._c" },
	/* clang-format on */
};

START_TEST(path_of_s3_is_signed_as_sent)
{
	struct sigv4_request request = plain;

	request.path = paths[_i].path;
	check_line(&request, 1, paths[_i].of_s3);
	request.service = "execute-api";
	check_line(&request, 1, paths[_i].of_others);
}
END_TEST

static const struct {
	const char *query;
	const char *canonical;
} queries[] = {
	/* clang-format off */
	{ NULL, "" },
	{ "", "" },
	{ "&&", "" },
	{ "versioning", "versioning=" },
	{ "versioning=", "versioning=" },
	{ "=x", "=x" },
	{ "b=2&a=1", "a=1&b=2" },
	{ "a=2&a=1&a", "a=&a=1&a=2" },
	{ "&b=&&a&", "a=&b=" },
	{ "a-b=1&a=2&a.b=3&aa=4&a%3D=5", "a=2&a%3D=5&a-b=1&a.b=3&aa=4" },
	{ "b=1&B=2", "B=2&b=1" },
	{ "prefix=env:/&x=a b+c", "prefix=env%3A%2F&x=a%20b%2Bc" },
	{ "prefix=env%3a%2F&x=%7e%41", "prefix=env%3A%2F&x=~A" },
	{ "a=b=c", "a=b%3Dc" },
	{ "a=%&b=%2&c=%zz&d=%0g", "a=%25&b=%252&c=%25zz&d=%250g" },
	{ "a=%00%01&b=\xc3\xbc", "a=%00%01&b=%C3%BC" },
	/* clang-format on */
};

START_TEST(query_is_sorted_and_encoded_anew)
{
	struct sigv4_request request = plain;

	request.query = queries[_i].query;
	check_line(&request, 2, queries[_i].canonical);
}
END_TEST

START_TEST(headers_are_sorted_squeezed_and_joined)
{
	struct sigv4_request request = plain;
	AUTO_FREE char *canonical = NULL;
	const struct sigv4_header headers[] = {
		{ "Z", " \t b \t  c  " }, { "a-b", "" },   { "host", "h:80" }, { "A", "3" },
		{ "z", "\"a   b\"" },     { "a", "1" },    { "a_b", "x" },     { "a", "2" },
		{ "X", "\xc3\xbc" },      { "Aa", " \t" },
	};

	request.headers = headers;
	request.header_count = sizeof(headers) / sizeof(headers[0]);
	ck_assert_int_eq(sigv4_canonical_request(&canonical, &request), 0);
	ck_assert_str_eq(canonical, "GET\n/\n\n"
				    "a:3,1,2\na-b:\na_b:x\naa:\nhost:h:80\nx:\xc3\xbc\n"
				    "z:b c,\"a b\"\n\n"
				    "a;a-b;a_b;aa;host;x;z\n" EMPTY_HASH);
}
END_TEST

/* --- what is refused ----------------------------------------------------------------- */

static void check_refused(const struct sigv4_request *request, const char *token)
{
	const struct sigv4_credentials credentials = { "id", "secret", token };
	char *text = NULL;

	ck_assert_int_eq(sigv4_authorization(&text, request, &credentials), -EINVAL);
	ck_assert_ptr_null(text);
}

static const char *const bad_dates[] = {
	"",
	"20260102",
	"20260102T030405",
	"20260102T030405Z ",
	"20260102T0304055",
	"20260102 030405Z",
	"2026-01-02T03:04:05Z",
	"2O260102T030405Z",
};

START_TEST(date_of_another_form_is_refused)
{
	struct sigv4_request request = plain;
	char *text = NULL;

	request.date = bad_dates[_i];
	check_refused(&request, NULL);
	ck_assert_int_eq(sigv4_string_to_sign(&text, &request), -EINVAL);
}
END_TEST

static const struct sigv4_header bad_headers[] = {
	{ "", "x" },       { "a b", "x" },   { "a:b", "x" },  { "a\n", "x" },  { "\xc3\xbc", "x" },
	{ "a", "x\nb:y" }, { "a", "x\r\n" }, { "a", "\x01" }, { "a", "\x7f" }, { "a\x7f", "x" },
};

START_TEST(header_that_is_none_is_refused)
{
	struct sigv4_request request = plain;
	const struct sigv4_header headers[] = { { "host", "h" }, bad_headers[_i] };
	char *text = NULL;

	request.headers = headers;
	request.header_count = 2;
	check_refused(&request, NULL);
	ck_assert_int_eq(sigv4_canonical_request(&text, &request), -EINVAL);
}
END_TEST

START_TEST(request_without_a_host_is_refused)
{
	struct sigv4_request request = plain;
	const struct sigv4_header headers[] = { { "hos", "h" }, { "hosts", "h" } };

	request.headers = headers;
	request.header_count = 2;
	check_refused(&request, NULL);
	request.header_count = 0;
	check_refused(&request, NULL);
}
END_TEST

START_TEST(number_of_headers_is_limited)
{
	const struct sigv4_credentials credentials = { "id", "secret", NULL };
	struct sigv4_request request = plain;
	struct sigv4_header headers[SIGV4_HEADERS_MAX + 1];
	AUTO_FREE char *text = NULL;

	for (size_t i = 0; i < SIGV4_HEADERS_MAX + 1; i++)
		headers[i] = (struct sigv4_header){ "host", "h" };
	request.headers = headers;
	request.header_count = SIGV4_HEADERS_MAX + 1;
	check_refused(&request, NULL);
	request.header_count = SIGV4_HEADERS_MAX;
	ck_assert_int_eq(sigv4_authorization(&text, &request, &credentials), 0);
}
END_TEST

START_TEST(token_that_would_not_be_sent_is_refused)
{
	check_refused(&plain, TOKEN);
}
END_TEST

START_TEST(access_key_with_a_line_feed_is_refused)
{
	const struct sigv4_credentials credentials = { "id\r\nX: y", "secret", NULL };
	char *text = NULL;

	ck_assert_int_eq(sigv4_authorization(&text, &plain, &credentials), -EINVAL);
}
END_TEST

/* --- small things -------------------------------------------------------------------- */

static const struct {
	int64_t now;
	const char *date;
} dates[] = {
	{ 0, "19700101T000000Z" },
	{ 1440938160, "20150830T123600Z" },
	{ 1709164799, "20240228T235959Z" },
	{ 1709164800, "20240229T000000Z" },
	{ 253402300799, "99991231T235959Z" },
	{ 253402300800, "" },
	{ INT64_MAX, "" },
};

START_TEST(date_is_in_utc)
{
	char date[SIGV4_DATE_LEN];

	sigv4_date(date, (time_t)dates[_i].now);
	ck_assert_str_eq(date, dates[_i].date);
}
END_TEST

START_TEST(all_but_the_unreserved_is_encoded)
{
	char text[2] = "";

	for (int byte = 1; byte < 256; byte++) {
		AUTO_FREE char *of_path = NULL;
		AUTO_FREE char *of_query = NULL;
		char expected[4];

		text[0] = (char)byte;
		if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
		    (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '.' || byte == '_' ||
		    byte == '~')
			(void)snprintf(expected, sizeof(expected), "%c", byte);
		else
			(void)snprintf(expected, sizeof(expected), "%%%02X", (unsigned)byte & 0xff);

		ck_assert_int_eq(sigv4_encode(&of_query, text, false), 0);
		ck_assert_str_eq(of_query, expected);
		ck_assert_int_eq(sigv4_encode(&of_path, text, true), 0);
		ck_assert_str_eq(of_path, byte == '/' ? "/" : expected);
	}
}
END_TEST

START_TEST(dot_segments_stay)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *empty = NULL;

	ck_assert_int_eq(sigv4_encode(&text, "/../a/./b//c d", true), 0);
	ck_assert_str_eq(text, "/../a/./b//c%20d");
	ck_assert_int_eq(sigv4_encode(&empty, "", true), 0);
	ck_assert_str_eq(empty, "");
}
END_TEST

/* --- the vectors of the folder ------------------------------------------------------- */

static void fclosep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

static char *read_text(const char *folder, const char *name)
{
	AUTO_FREE char *path = NULL;
	CLEANUP(fclosep) FILE *file = NULL;
	char *text = calloc(1, 65536);

	ck_assert_int_gt(asprintf(&path, "%s/%s", folder, name), 0);
	file = fopen(path, "re");
	ck_assert_msg(text && file, "%s cannot be read", path);
	ck_assert_uint_lt(fread(text, 1, 65536, file), 65536);
	return text;
}

/* Only AWS's suite asks for this: what we send to services other than S3 has the path "/". */
static void normalize_path(char *path)
{
	const bool is_folder = path[strlen(path) - 1] == '/';
	const char *from = path;
	char *to = path;

	while (*from) {
		size_t len;

		from += strspn(from, "/");
		len = strcspn(from, "/");
		if (len == 2 && strncmp(from, "..", 2) == 0) {
			while (to > path && *--to != '/')
				;
		} else if (len > 0 && !(len == 1 && *from == '.')) {
			*to++ = '/';
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	if (is_folder || to == path)
		*to++ = '/';
	*to = '\0';
}

/* Take request.txt to pieces, in place. Return: its body. */
static const char *split_request(char *text, struct sigv4_request *request,
				 struct sigv4_header headers[static SIGV4_HEADERS_MAX])
{
	char *line = text;
	char *end = strchr(line, '\n');
	char *query;

	*end = '\0';
	request->method = strsep(&line, " ");
	*strrchr(line, ' ') = '\0'; /* before "HTTP/1.1": the path may have blanks of its own */
	query = strchr(line, '?');
	if (query)
		*query++ = '\0';
	request->path = line;
	request->query = query;

	for (line = end + 1; *line && *line != '\n'; line = end + 1) {
		struct sigv4_header *header = &headers[request->header_count++];

		end = strchr(line, '\n');
		while (end[1] == ' ' || end[1] == '\t') {
			*end = ' '; /* a value may go on in the next line */
			end = strchr(end, '\n');
		}
		*end = '\0';
		header->name = strsep(&line, ":");
		header->value = line;
	}
	return *line ? line + 1 : line;
}

static void check_text(const char *folder, const char *name, const char *text)
{
	AUTO_FREE char *expected = read_text(folder, name);

	ck_assert_msg(strcmp(text, expected) == 0, "%s/%s:\n%s\n--- but it is\n%s", folder, name,
		      expected, text);
}

static void check_vector(const char *folder)
{
	AUTO_FREE char *context_text = read_text(folder, "context.json");
	AUTO_FREE char *request_text = read_text(folder, "request.txt");
	AUTO_FREE char *signed_text = read_text(folder, "header-signed-request.txt");
	CLEANUP(json_decrefp) json_t *context = json_loads(context_text, 0, NULL);
	AUTO_FREE char *canonical = NULL;
	AUTO_FREE char *to_sign = NULL;
	AUTO_FREE char *authorization = NULL;
	AUTO_FREE char *line = NULL;
	struct sigv4_header headers[SIGV4_HEADERS_MAX];
	struct sigv4_request request = { .headers = headers };
	struct sigv4_credentials credentials = { 0 };
	char hash[SIGV4_HASH_LEN];
	char date[SIGV4_DATE_LEN];
	const char *body, *time;
	int normalize = 0, sign_body = 0, omit_token = 0, unsigned_payload = 0;

	ck_assert_int_eq(json_unpack(context,
				     "{s:{s:s, s:s, s?s}, s:s, s:s, s:s, s:b, s:b, s?b, s?b}",
				     "credentials", "access_key_id", &credentials.access_key,
				     "secret_access_key", &credentials.secret_key, "token",
				     &credentials.token, "timestamp", &time, "region",
				     &request.region, "service", &request.service, "normalize",
				     &normalize, "sign_body", &sign_body, "omit_session_token",
				     &omit_token, "unsigned_payload", &unsigned_payload),
			 0);
	(void)snprintf(date, sizeof(date), "%.4s%.2s%.2sT%.2s%.2s%.2sZ", time, time + 5, time + 8,
		       time + 11, time + 14, time + 17);
	request.date = date;
	if (omit_token)
		credentials.token = NULL;

	body = split_request(request_text, &request, headers);
	if (normalize)
		normalize_path(request_text + (request.path - request_text));
	ck_assert_int_eq(sigv4_hash(hash, body, strlen(body)), 0);
	request.payload_hash = unsigned_payload ? "UNSIGNED-PAYLOAD" : hash;

	headers[request.header_count++] = (struct sigv4_header){ "X-Amz-Date", date };
	if (credentials.token)
		headers[request.header_count++] =
			(struct sigv4_header){ "X-Amz-Security-Token", credentials.token };
	if (sign_body)
		headers[request.header_count++] =
			(struct sigv4_header){ "X-Amz-Content-Sha256", request.payload_hash };

	ck_assert_int_eq(sigv4_canonical_request(&canonical, &request), 0);
	check_text(folder, "header-canonical-request.txt", canonical);
	ck_assert_int_eq(sigv4_string_to_sign(&to_sign, &request), 0);
	check_text(folder, "header-string-to-sign.txt", to_sign);
	ck_assert_int_eq(sigv4_authorization(&authorization, &request, &credentials), 0);
	check_text(folder, "header-signature.txt", strstr(authorization, "Signature=") + 10);
	ck_assert_int_gt(asprintf(&line, "\nAuthorization:%s\n", authorization), 0);
	ck_assert_msg(strstr(signed_text, line), "%s: not in the signed request:%s", folder, line);
}

static void find_vectors(glob_t *ret)
{
	const char *folder = getenv(VECTORS_ENV);
	AUTO_FREE char *pattern = NULL;

	*ret = (glob_t){ 0 };
	if (!folder || !*folder)
		return;
	if (asprintf(&pattern, "%s/*/*/context.json", folder) < 0)
		abort();
	(void)glob(pattern, 0, NULL, ret);
}

START_TEST(request_is_signed_as_in_the_folder)
{
	glob_t found;

	find_vectors(&found);
	ck_assert_uint_ge(found.gl_pathc, VECTOR_COUNT);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		*strrchr(found.gl_pathv[i], '/') = '\0';
		check_vector(found.gl_pathv[i]);
	}
	globfree(&found);
}
END_TEST

static void add_folder(TCase *tcase)
{
	const char *folder = getenv(VECTORS_ENV);
	glob_t found;

	find_vectors(&found);
	if (found.gl_pathc > 0)
		tcase_add_test(tcase, request_is_signed_as_in_the_folder);
	else if (folder && *folder)
		(void)printf("SKIP: no vectors in %s (%s)\n", folder, VECTORS_ENV);
	else
		(void)printf("SKIP: no folder of vectors given (%s)\n", VECTORS_ENV);
	(void)fflush(stdout); /* or each forked test would print it again */
	globfree(&found);
}

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, request_is_signed_as_published, 0, WRITTEN_COUNT);
	tcase_add_test(tcase, body_of_the_captured_lock_has_its_hash);
	tcase_add_loop_test(tcase, path_of_s3_is_signed_as_sent, 0, COUNT(paths));
	tcase_add_loop_test(tcase, query_is_sorted_and_encoded_anew, 0, COUNT(queries));
	tcase_add_test(tcase, headers_are_sorted_squeezed_and_joined);
	tcase_add_loop_test(tcase, date_of_another_form_is_refused, 0, COUNT(bad_dates));
	tcase_add_loop_test(tcase, header_that_is_none_is_refused, 0, COUNT(bad_headers));
	tcase_add_test(tcase, request_without_a_host_is_refused);
	tcase_add_test(tcase, number_of_headers_is_limited);
	tcase_add_test(tcase, token_that_would_not_be_sent_is_refused);
	tcase_add_test(tcase, access_key_with_a_line_feed_is_refused);
	tcase_add_loop_test(tcase, date_is_in_utc, 0, COUNT(dates));
	tcase_add_test(tcase, all_but_the_unreserved_is_encoded);
	tcase_add_test(tcase, dot_segments_stay);
	add_folder(tcase);
}

int main(void)
{
	return unit_main("sigv4", add_tests);
}
