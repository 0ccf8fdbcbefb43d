/* SPDX-License-Identifier: MIT */
/* http.h in the place of the real one: requests are kept, and answered by the test. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/http.h"
#include "tests/unit/unit.h"

#define FAKE_HTTP_MAX 8 /* requests under way */

struct http_transfer {
	bool is_open, has_body, insecure, fresh;
	char method[8], url[512], ca_bundle[64], ca_pem[64], proxy[64];
	char headers[32][512];
	size_t header_count;
	char body[2048];
	uint64_t connect_timeout_usec, timeout_usec;
	http_done_fn done;
	void *userdata;
};

static struct http_transfer transfers[FAKE_HTTP_MAX];
static struct http_transfer sent; /* a copy of the last one */
static unsigned cancelled, started;
static char clock_host[HTTP_HOST_MAX];
static int64_t clock_ahead;

int64_t http_clock(const struct http *http, const char *host)
{
	(void)http;
	return strcmp(host, clock_host) == 0 ? clock_ahead : 0;
}

void http_set_clock(struct http *http, const char *host, int64_t ahead_sec)
{
	(void)http;
	(void)snprintf(clock_host, sizeof(clock_host), "%s", host);
	clock_ahead = ahead_sec;
}

int http_start(struct http_transfer **ret, struct http *http, const struct http_request *request,
	       http_done_fn done, void *userdata)
{
	struct http_transfer *transfer;
	size_t free_one = 0;

	(void)http;
	while (free_one < FAKE_HTTP_MAX && transfers[free_one].is_open)
		free_one++;
	ck_assert_uint_lt(free_one, FAKE_HTTP_MAX);
	transfer = &transfers[free_one];
	*transfer = (struct http_transfer){ .is_open = true, .done = done, .userdata = userdata };
	(void)snprintf(transfer->method, sizeof(transfer->method), "%s", request->method);
	(void)snprintf(transfer->url, sizeof(transfer->url), "%s", request->url);
	(void)snprintf(transfer->ca_bundle, sizeof(transfer->ca_bundle), "%s",
		       request->ca_bundle ? request->ca_bundle : "");
	(void)snprintf(transfer->ca_pem, sizeof(transfer->ca_pem), "%s",
		       request->ca_pem ? request->ca_pem : "");
	(void)snprintf(transfer->proxy, sizeof(transfer->proxy), "%s",
		       request->proxy ? request->proxy : "");
	for (; request->headers[transfer->header_count]; transfer->header_count++) {
		(void)snprintf(transfer->headers[transfer->header_count],
			       sizeof(transfer->headers[0]), "%s",
			       request->headers[transfer->header_count]);
	}
	transfer->has_body = request->body != NULL;
	if (request->body) {
		ck_assert_uint_lt(request->body_len, sizeof(transfer->body));
		memcpy(transfer->body, request->body, request->body_len);
	}
	transfer->insecure = request->insecure;
	transfer->fresh = request->fresh;
	transfer->connect_timeout_usec = request->connect_timeout_usec;
	transfer->timeout_usec = request->timeout_usec;
	*ret = transfer;
	sent = *transfer;
	started++;
	return 0;
}

struct http_transfer *http_cancel(struct http_transfer *transfer)
{
	if (transfer) {
		ck_assert(transfer->is_open);
		transfer->is_open = false;
		cancelled++;
	}
	return NULL;
}

static inline unsigned open_count(void)
{
	unsigned count = 0;

	for (size_t i = 0; i < FAKE_HTTP_MAX; i++)
		count += transfers[i].is_open;
	return count;
}

static inline struct http_response response_of(int status, const char *body)
{
	return (struct http_response){
		.is_answered = true,
		.status = status,
		.body = body,
		.body_len = strlen(body),
	};
}

static inline void respond_to(struct http_transfer *transfer, const struct http_response *response)
{
	ck_assert(transfer->is_open);
	transfer->is_open = false;
	transfer->done(response, transfer->userdata);
}

/* The one request under way is answered. */
static inline void respond(const struct http_response *response)
{
	struct http_transfer *transfer = transfers;

	ck_assert_uint_eq(open_count(), 1);
	while (!transfer->is_open)
		transfer++;
	respond_to(transfer, response);
}

/* The value of that header of @transfer, or NULL; and it may be there once at most. */
static inline const char *header_of(const struct http_transfer *transfer, const char *name)
{
	const size_t len = strlen(name);
	const char *value = NULL;

	for (size_t i = 0; i < transfer->header_count; i++) {
		if (strncasecmp(transfer->headers[i], name, len) != 0 ||
		    transfer->headers[i][len] != ':')
			continue;
		ck_assert_ptr_null(value);
		value = transfer->headers[i] + len + 2;
	}
	return value;
}

static inline const char *header(const char *name)
{
	return header_of(&sent, name);
}
