/* SPDX-License-Identifier: MIT */
#include "runner/doctor/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws_error.h"
#include "common/parse.h"
#include "common/secret.h"
#include "runner/aws/fetch.h"
#include "runner/doctor/xml.h"

#define LINES_MAX (STORE_HEADERS_MAX + 6) /* those that signing adds, and the NULL */

/* --- signing --------------------------------------------------------------------------------- */

struct headers {
	struct sigv4_header list[LINES_MAX];
	size_t count;
};

static void add(struct headers *headers, const char *name, const char *value)
{
	if (value && headers->count < LINES_MAX - 1)
		headers->list[headers->count++] = (struct sigv4_header){ name, value };
}

/* "Name: value" of each; they may hold a token. */
struct lines {
	char *line[LINES_MAX];
};

static void lines_clear(struct lines *lines)
{
	for (size_t i = 0; i < LINES_MAX; i++)
		secret_free(lines->line[i]);
}

static int lines_make(struct lines *lines, const struct headers *headers)
{
	for (size_t i = 0; i < headers->count; i++) {
		if (asprintf(&lines->line[i], "%s: %s", headers->list[i].name,
			     headers->list[i].value) < 0) {
			lines->line[i] = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

/* What is wrong with our clock is a finding; it need not spoil all the others. */
static time_t signing_time(const struct store *store)
{
	const json_int_t ahead = json_integer_value(json_object_get(store->facts, "clock"));

	return (time_t)(ask_now() / USEC_PER_SEC) + (time_t)ahead;
}

static int sign(struct lines *lines, const struct store *store, const struct store_request *request)
{
	AUTO_FREE char *authorization = NULL;
	char hash[SIGV4_HASH_LEN], date[SIGV4_DATE_LEN];
	struct headers headers = { 0 };
	int r;

	r = sigv4_hash(hash, request->body ? request->body : "",
		       request->body ? strlen(request->body) : 0);
	if (r < 0)
		return r;
	sigv4_date(date, signing_time(store));
	for (size_t i = 0; i < STORE_HEADERS_MAX && request->headers[i].name; i++)
		add(&headers, request->headers[i].name, request->headers[i].value);
	add(&headers, "host", store->at->host);
	add(&headers, "x-amz-content-sha256", hash);
	add(&headers, "x-amz-date", date);
	add(&headers, "x-amz-security-token", store->keys->token);
	r = sigv4_authorization(&authorization,
				&(struct sigv4_request){
					.method = request->method,
					.path = request->path ? request->path : store->at->path,
					.query = request->query,
					.headers = headers.list,
					.header_count = headers.count,
					.payload_hash = hash,
					.region = store->region,
					.service = store->service,
					.date = date,
				},
				&(struct sigv4_credentials){ store->keys->access_key,
							     store->keys->secret_key,
							     store->keys->token });
	if (r < 0)
		return r;
	add(&headers, "authorization", authorization);
	return lines_make(lines, &headers);
}

/* --- records --------------------------------------------------------------------------------- */

static bool is_s3(const struct store *store)
{
	return strcmp(store->service, "s3") == 0;
}

static void put(json_t *record, const char *name, const char *text)
{
	if (*text)
		(void)json_object_set_new(record, name, json_string(text));
}

/* Out of memory leaves out what it does not reach. */
static void record(struct store *store, const struct store_request *request,
		   const struct fetch_answer *answer)
{
	json_t *entry = json_pack("{s:i}", "status", answer->status);
	struct aws_error error = { 0 };

	if (answer->status == 0) {
		put(entry, "message", answer->error);
	} else if (answer->status >= 300) {
		if (is_s3(store))
			aws_error_parse(&error, answer->body, answer->len);
		else
			aws_error_parse_json(&error, answer->body, answer->len);
		put(entry, "code", error.code);
		put(entry, "message", error.message);
		put(entry, "region", error.region);
	} else if (request->keeps_body) {
		(void)json_object_set_new(entry, "said",
					  is_s3(store)
						  ? xml_texts(answer->body, answer->len)
						  : json_loadb(answer->body, answer->len, 0, NULL));
	}
	(void)json_object_set_new(json_object_get(store->facts, "asked"), request->name, entry);
}

static void record_clock(struct store *store, const struct fetch_answer *answer)
{
	if (answer->date > 0) {
		(void)json_object_set_new(store->facts, "clock",
					  json_integer((json_int_t)answer->date -
						       (json_int_t)(ask_now() / USEC_PER_SEC)));
	}
}

int store_status(const struct store *store, const char *name)
{
	const json_t *entry = json_object_get(json_object_get(store->facts, "asked"), name);

	return (int)json_integer_value(json_object_get(entry, "status"));
}

/* --- asking ---------------------------------------------------------------------------------- */

int store_ask(struct store *store, const struct store_request *request)
{
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	CLEANUP(lines_clear) struct lines lines = { 0 };
	AUTO_FREE char *url = NULL;
	const char *path = request->path ? request->path : store->at->path;
	int r;

	r = sign(&lines, store, request);
	if (r < 0)
		return r;
	if (asprintf(&url, "%s%s%s%s", store->at->origin, path, request->query ? "?" : "",
		     request->query ? request->query : "") < 0) {
		url = NULL;
		return -ENOMEM;
	}
	r = fetch(&answer, store->ask,
		  &(struct fetch){
			  .method = request->method,
			  .url = url,
			  .headers = (const char *const *)lines.line,
			  .body = request->body,
		  });
	if (r < 0 && r != -EIO)
		return r;
	record_clock(store, &answer);
	record(store, request, &answer);
	return answer.status;
}
