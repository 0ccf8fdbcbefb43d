/* SPDX-License-Identifier: MIT */
#include "daemon/aws/aws_client.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/secret.h"
#include "common/text.h"
#include "daemon/aws/aws_answer.h"

#define SKEW_MAX_SEC 240 /* a refusal at less is not the clock's: aws.md 4.4 */

struct aws_client {
	struct http *http;
	const char *service;
	char *region, *ca_pem, *ca_bundle;
	char *proxy_http, *proxy_https, *no_proxy;
	struct identity *identity;
	bool insecure;
	uint64_t connect_timeout_usec, request_timeout_usec;
	uint64_t expired_since_usec; /* refused for its keys ever since; CLOCK_BOOTTIME; 0: not */
};

/* The request as it was asked for, so that it can be signed and sent again. */
struct aws_transfer {
	struct aws_client *client;
	struct http_transfer *http;
	aws_done_fn done;
	void *userdata;

	const char *method;
	char *origin, *host, *path, *body;
	struct sigv4_header headers[AWS_HEADERS_MAX]; /* into text */
	size_t header_count;
	char *text; /* holds secrets */
	size_t text_size;
	bool fresh;

	char *access_key;
	time_t signed_at; /* the server's time */
	bool has_learnt_clock;
	bool is_repeated; /* one of its tries was, by libcurl */
	unsigned redirects;
};

static bool copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

/* --- the client ---------------------------------------------------------------------------- */

static int choose_proxy(const struct aws_client *client, const char *origin, char **ret,
			char **ret_error)
{
	const struct proxy_settings settings = { client->proxy_http, client->proxy_https,
						 client->no_proxy };

	return proxy_choose(ret, &settings, origin, ret_error);
}

int aws_client_new(struct aws_client **ret, const struct aws_client_setup *setup,
		   const char *origin, char **ret_error)
{
	CLEANUP(aws_client_freep) struct aws_client *client = NULL;
	CLEANUP(secret_freep) char *proxy = NULL; /* may hold a password */
	int r;

	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->http = setup->http;
	client->service = setup->service;
	client->identity = identity_ref(setup->identity);
	client->insecure = setup->insecure;
	client->connect_timeout_usec = setup->connect_timeout_usec;
	client->request_timeout_usec = setup->request_timeout_usec;
	if (!copy(&client->region, setup->region) || !copy(&client->ca_pem, setup->ca_pem) ||
	    !copy(&client->ca_bundle, setup->ca_bundle) ||
	    !copy(&client->proxy_http, setup->proxy.http) ||
	    !copy(&client->proxy_https, setup->proxy.https) ||
	    !copy(&client->no_proxy, setup->proxy.no_proxy))
		return -ENOMEM;

	r = choose_proxy(client, origin, &proxy, ret_error);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(client);
	return 0;
}

struct aws_client *aws_client_free(struct aws_client *client)
{
	if (!client)
		return NULL;
	identity_unref(client->identity);
	free(client->region);
	free(client->ca_pem);
	free(client->ca_bundle);
	secret_free(client->proxy_http); /* may hold a password */
	secret_free(client->proxy_https);
	free(client->no_proxy);
	free(client);
	return NULL;
}

/* --- signing and sending ------------------------------------------------------------------- */

/* The headers of one try: some are the request's, the rest is added by signing it. */
struct headers {
	struct sigv4_header list[AWS_HEADERS_MAX];
	size_t count;
};

static void add(struct headers *headers, const char *name, const char *value)
{
	if (value && headers->count < AWS_HEADERS_MAX)
		headers->list[headers->count++] = (struct sigv4_header){ name, value };
}

/* One "Name: value" line each, in one buffer that holds the secrets and is wiped. */
struct lines {
	char *text;
	size_t size;
	const char *line[AWS_HEADERS_MAX + 1];
};

static void lines_clear(struct lines *lines)
{
	if (lines->text)
		OPENSSL_cleanse(lines->text, lines->size);
	free(lines->text);
}

static int lines_make(struct lines *lines, const struct headers *headers)
{
	char *at;

	for (size_t i = 0; i < headers->count; i++)
		lines->size += strlen(headers->list[i].name) + strlen(headers->list[i].value) + 3;
	at = lines->text = malloc(lines->size + 1);
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < headers->count; i++) {
		lines->line[i] = at;
		at = stpcpy(stpcpy(stpcpy(at, headers->list[i].name), ": "),
			    headers->list[i].value) +
		     1;
	}
	return 0;
}

static void on_response(const struct http_response *response, void *userdata);

/* Give the signed request to libcurl. */
static int start(struct aws_transfer *transfer, const struct headers *headers)
{
	struct aws_client *client = transfer->client;
	CLEANUP(lines_clear) struct lines lines = { 0 };
	AUTO_FREE char *url = NULL;
	CLEANUP(secret_freep) char *proxy = NULL; /* may hold a password */
	AUTO_FREE char *error = NULL;
	int r;

	r = lines_make(&lines, headers);
	if (r < 0)
		return r;
	if (asprintf(&url, "%s%s", transfer->origin, transfer->path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	r = choose_proxy(client, transfer->origin, &proxy, &error);
	if (r < 0)
		return r;
	r = http_start(&transfer->http, client->http,
		       &(struct http_request){
			       .method = transfer->method,
			       .url = url,
			       .headers = lines.line,
			       .body = transfer->body,
			       .body_len = transfer->body ? strlen(transfer->body) : 0,
			       .ca_pem = client->ca_pem,
			       .ca_bundle = client->ca_bundle,
			       .proxy = proxy,
			       .insecure = client->insecure,
			       .fresh = transfer->fresh,
			       .connect_timeout_usec = client->connect_timeout_usec,
			       .timeout_usec = client->request_timeout_usec,
		       },
		       on_response, transfer);
	return r;
}

static int sign_and_start(struct aws_transfer *transfer)
{
	struct aws_client *client = transfer->client;
	const struct identity *identity = client->identity;
	AUTO_FREE char *authorization = NULL;
	char hash[SIGV4_HASH_LEN], date[SIGV4_DATE_LEN];
	struct headers headers = { .count = transfer->header_count };
	int r;

	memcpy(headers.list, transfer->headers, sizeof(headers.list));
	r = sigv4_hash(hash, transfer->body ? transfer->body : "",
		       transfer->body ? strlen(transfer->body) : 0);
	if (r < 0)
		return r;
	r = text_replace(&transfer->access_key, identity->access_key);
	if (r < 0)
		return r;
	transfer->signed_at = time(NULL) + http_clock(client->http, transfer->host);
	sigv4_date(date, transfer->signed_at);
	add(&headers, "host", transfer->host);
	if (strcmp(client->service, "s3") == 0)
		add(&headers, "x-amz-content-sha256", hash);
	add(&headers, "x-amz-date", date);
	add(&headers, "x-amz-security-token", identity->token);
	r = sigv4_authorization(&authorization,
				&(struct sigv4_request){
					.method = transfer->method,
					.path = transfer->path,
					.headers = headers.list,
					.header_count = headers.count,
					.payload_hash = hash,
					.region = client->region,
					.service = client->service,
					.date = date,
				},
				&(struct sigv4_credentials){ identity->access_key,
							     identity->secret_key,
							     identity->token });
	if (r < 0)
		return r;
	add(&headers, "authorization", authorization);
	return start(transfer, &headers);
}

static struct aws_transfer *transfer_free(struct aws_transfer *transfer)
{
	if (!transfer)
		return NULL;
	free(transfer->origin);
	free(transfer->host);
	free(transfer->path);
	free(transfer->body);
	if (transfer->text)
		OPENSSL_cleanse(transfer->text, transfer->text_size);
	free(transfer->text);
	secret_free(transfer->access_key);
	free(transfer);
	return NULL;
}

static inline void transfer_freep(struct aws_transfer **p)
{
	transfer_free(*p);
}

static int copy_headers(struct aws_transfer *transfer, const struct aws_request *request)
{
	char *at;

	if (request->header_count > AWS_HEADERS_MAX - 5) /* what signing adds */
		return -EINVAL;
	for (size_t i = 0; i < request->header_count; i++)
		transfer->text_size +=
			strlen(request->headers[i].name) + strlen(request->headers[i].value) + 2;
	at = transfer->text = malloc(transfer->text_size + 1);
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < request->header_count; i++) {
		transfer->headers[i].name = at;
		at = stpcpy(at, request->headers[i].name) + 1;
		transfer->headers[i].value = at;
		at = stpcpy(at, request->headers[i].value) + 1;
	}
	transfer->header_count = request->header_count;
	return 0;
}

int aws_send(struct aws_transfer **ret, struct aws_client *client,
	     const struct aws_request *request, aws_done_fn done, void *userdata)
{
	CLEANUP(transfer_freep) struct aws_transfer *transfer = NULL;
	int r;

	transfer = calloc(1, sizeof(*transfer));
	if (!transfer)
		return -ENOMEM;
	transfer->client = client;
	transfer->method = request->method;
	transfer->fresh = request->fresh;
	transfer->done = done;
	transfer->userdata = userdata;
	if (!copy(&transfer->origin, request->at->origin) ||
	    !copy(&transfer->host, request->at->host) ||
	    !copy(&transfer->path, request->path ? request->path : request->at->path) ||
	    !copy(&transfer->body, request->body))
		return -ENOMEM;
	r = copy_headers(transfer, request);
	if (r < 0)
		return r;
	r = sign_and_start(transfer);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(transfer);
	return 0;
}

struct aws_transfer *aws_cancel(struct aws_transfer *transfer)
{
	if (transfer)
		transfer->http = http_cancel(transfer->http);
	return transfer_free(transfer);
}

/* --- what came back ------------------------------------------------------------------------ */

/* When it was at the server, by its Date, or by what it says of our time. Return: -1 if unknown. */
static time_t server_time(const struct http_response *response, const struct aws_error *error)
{
	struct tm tm = { 0 };
	const char *end = strptime(response->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	if (end && *end == '\0')
		return timegm(&tm);
	tm = (struct tm){ 0 };
	end = strptime(error->server_time, "%Y-%m-%dT%H:%M:%S", &tm);
	return end ? timegm(&tm) : -1;
}

/*
 * Was it the clock? Then learn the server's. It is compared with the time signed with, not with
 * ours: what was learnt before our clock was stepped is to heal too. A HEAD has no code.
 */
static bool learn_clock(struct aws_transfer *transfer, const struct aws_answer *answer)
{
	const int status = answer->http->status;
	const bool is_head =
		strcmp(transfer->method, "HEAD") == 0 && (status == 400 || status == 403);
	const time_t server = server_time(answer->http, &answer->error);

	if (answer->result != AWS_REFUSED || server < 0 || transfer->has_learnt_clock ||
	    (!is_head && !aws_answer_is_clock(&answer->error)) ||
	    llabs((long long)server - (long long)transfer->signed_at) <= SKEW_MAX_SEC)
		return false;
	http_set_clock(transfer->client->http, transfer->host, server - time(NULL));
	transfer->has_learnt_clock = true;
	return true;
}

/* Is it to be sent to another host of the same store? Then turn to that. */
static bool follow(struct aws_transfer *transfer, const struct aws_answer *answer)
{
	AUTO_FREE char *origin = NULL;
	char host[HTTP_HOST_MAX];
	const char *at = answer->error.endpoint;

	if (answer->http->status != 307 || !answer->http->is_answered ||
	    strcmp(transfer->client->service, "s3") != 0 ||
	    transfer->redirects >= AWS_REDIRECTS_MAX)
		return false;
	if (!*at) {
		at = strstr(answer->http->location, "://");
		at = at ? at + 3 : "";
	}
	if (snprintf(host, sizeof(host), "%.*s", (int)strcspn(at, "/?#"), at) >=
		    (int)sizeof(host) ||
	    !endpoint_is_same_store(transfer->host, host))
		return false;
	if (asprintf(&origin, "%.*s://%s", (int)strcspn(transfer->origin, ":"), transfer->origin,
		     host) < 0) {
		origin = NULL;
		return false;
	}
	if (text_replace(&transfer->host, host) < 0 || text_replace(&transfer->origin, origin) < 0)
		return false;
	transfer->redirects++;
	return true;
}

/*
 * The keys are not, or no longer, known to the server. New ones are asked for; until they are
 * there nothing that is sent can do anything, so each try counts as not sent.
 */
static bool is_being_renewed(const struct aws_transfer *transfer)
{
	struct aws_client *client = transfer->client;
	const uint64_t now = clock_usec(CLOCK_BOOTTIME);

	if (client->expired_since_usec == 0)
		client->expired_since_usec = now;
	if (strcmp(transfer->access_key, client->identity->access_key) == 0)
		identity_renew(client->identity); /* unless it has been, meanwhile */
	return client->identity->can_refresh && now - client->expired_since_usec < AWS_RENEWAL_USEC;
}

static void sort_keys(const struct aws_transfer *transfer, struct aws_answer *answer)
{
	struct aws_client *client = transfer->client;
	const char *trouble = client->identity->trouble;
	char text[AWS_WHY_MAX];

	if (answer->result != AWS_REFUSED || !aws_answer_is_expiry(&answer->error)) {
		if (answer->http->is_answered)
			client->expired_since_usec = 0;
		return;
	}
	(void)snprintf(text, sizeof(text), "%s", trouble ? trouble : answer->why);
	if (is_being_renewed(transfer)) {
		answer->result = AWS_UNSENT;
		(void)snprintf(answer->why, AWS_WHY_MAX,
			       "the credentials (%.64s) have expired and %s: %.480s",
			       client->identity->source,
			       trouble ? "cannot be renewed, trying again" : "are being renewed",
			       text);
	} else if (client->identity->can_refresh) {
		(void)snprintf(answer->why, AWS_WHY_MAX,
			       "the credentials (%.64s) have expired, and there are no others yet; "
			       "why not is in tfqd's log (%.480s)",
			       client->identity->source, text);
	} else {
		(void)snprintf(answer->why, AWS_WHY_MAX,
			       "the credentials (%.64s) have expired or are not valid: log in "
			       "again, then queue the job again (%.480s)",
			       client->identity->source, text);
	}
}

static void on_response(const struct http_response *response, void *userdata)
{
	CLEANUP(transfer_freep) struct aws_transfer *transfer = userdata;
	struct aws_answer answer = { .http = response };
	int r;

	transfer->http = NULL;
	if (response->is_answered && (response->status < 200 || response->status >= 300)) {
		if (strcmp(transfer->client->service, "dynamodb") == 0)
			aws_error_parse_json(&answer.error, response->body, response->body_len);
		else
			aws_error_parse(&answer.error, response->body, response->body_len);
	}
	transfer->is_repeated |= response->is_repeated;
	answer.is_repeated = transfer->is_repeated;
	answer.result = aws_answer_sort(response, &answer.error);
	if (learn_clock(transfer, &answer) || follow(transfer, &answer)) {
		r = sign_and_start(transfer);
		if (r >= 0) {
			(void)TAKE_PTR(transfer);
			return;
		}
		answer.result = AWS_UNSENT;
	}
	if (answer.result != AWS_DONE)
		aws_answer_explain(&answer);
	sort_keys(transfer, &answer);
	transfer->done(&answer, transfer->userdata);
}
