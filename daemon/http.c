/* SPDX-License-Identifier: MIT */
#include "daemon/http.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>

#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"

#define CONNECTIONS_MAX     256L /* kept alive; renewals of many locks share them */
#define RESPONSE_HEADER_MAX 65536

struct http {
	sd_event *event;
	sd_event_source *timer;
	CURLM *multi;
	struct {
		char host[HTTP_HOST_MAX];
		int64_t ahead_sec;
	} clocks[HTTP_CLOCKS_MAX];
	unsigned clock_count, clock_next;
};

struct http_transfer {
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	http_done_fn done;
	void *userdata;
	struct http_response response;
	char *body;
	size_t header_bytes;
	unsigned tries;
	bool is_cut;
	char curl_error[CURL_ERROR_SIZE];
};

static struct http_transfer *transfer_free(struct http_transfer *transfer)
{
	if (!transfer)
		return NULL;
	if (transfer->easy)
		curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	free(transfer->body);
	free(transfer);
	return NULL;
}

static inline void transfer_freep(struct http_transfer **p)
{
	transfer_free(*p);
}

/* --- a transfer's end ----------------------------------------------------------------- */

static void finish(struct http_transfer *transfer, CURLcode code)
{
	struct http_response *response = &transfer->response;
	long status = 0, sent = 0, tunnel = 0;
	char text[HTTP_ERROR_MAX];

	(void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	response->is_answered = code == CURLE_OK && status > 0;
	(void)curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
	/* What a proxy was told before it refused is no part of the request. */
	response->is_unsent =
		!response->is_answered && (sent == 0 || (tunnel != 0 && tunnel != 200));
	response->is_repeated = transfer->tries > 1;
	response->is_cut = transfer->is_cut;
	response->status = (int)status;
	response->body = transfer->body ? transfer->body : "";
	if (transfer->is_cut) {
		(void)snprintf(response->error, sizeof(response->error),
			       "the answer is longer than %d bytes", HTTP_BODY_MAX);
	} else if (code != CURLE_OK) {
		(void)snprintf(text, sizeof(text), "%s",
			       transfer->curl_error[0] ? transfer->curl_error
						       : curl_easy_strerror(code));
		(void)text_printable(response->error, sizeof(response->error), text);
	}
}

static void advance(struct http *http, curl_socket_t fd, int events)
{
	CURLMsg *msg;
	CURLMcode code;
	int left;

	code = curl_multi_socket_action(http->multi, fd, events, &left);
	if (code != CURLM_OK)
		log_warning(0, "curl failed to make progress: %s", curl_multi_strerror(code));

	/* One wake-up can finish several transfers: drain them all. */
	while ((msg = curl_multi_info_read(http->multi, &left))) {
		CLEANUP(transfer_freep) struct http_transfer *transfer = NULL;
		const CURLcode result = msg->data.result; /* *msg dies with the next call */
		CURL *easy = msg->easy_handle;
		char *private = NULL;

		(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
		(void)curl_multi_remove_handle(http->multi, easy);
		transfer = (void *)private;
		finish(transfer, result);
		transfer->done(&transfer->response, transfer->userdata);
	}
}

/* --- libcurl on sd-event -------------------------------------------------------------- */

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	int events = 0;

	(void)source;

	if (revents & EPOLLIN)
		events |= CURL_CSELECT_IN;
	if (revents & EPOLLOUT)
		events |= CURL_CSELECT_OUT;
	if (revents & (EPOLLERR | EPOLLHUP))
		events |= CURL_CSELECT_ERR;

	advance(userdata, fd, events);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;

	advance(userdata, CURL_SOCKET_TIMEOUT, 0);
	return 0;
}

/* curl wants to be told of @what on @fd; @io is the source we assigned to it before, if any. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *io)
{
	struct http *http = userdata;
	sd_event_source *source = io;
	uint32_t events = 0;

	(void)easy;

	if (what == CURL_POLL_REMOVE) {
		sd_event_source_disable_unref(source);
		return 0;
	}

	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;

	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;

	if (sd_event_add_io(http->event, &source, fd, events, on_io, http) < 0)
		return -1;
	(void)curl_multi_assign(http->multi, fd, source);
	return 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *userdata)
{
	struct http *http = userdata;
	int r;

	(void)multi;

	if (timeout_ms < 0)
		return sd_event_source_set_enabled(http->timer, SD_EVENT_OFF) < 0 ? -1 : 0;

	r = sd_event_source_set_time_relative(http->timer, (uint64_t)timeout_ms * USEC_PER_MSEC);
	if (r >= 0)
		r = sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
	return r < 0 ? -1 : 0;
}

int http_new(struct http **ret, sd_event *event)
{
	CLEANUP(http_freep) struct http *http = NULL;
	int r;

	assert(ret);

	http = malloc(sizeof(*http));
	if (!http)
		return -ENOMEM;

	*http = (struct http){
		.event = sd_event_ref(event),
		.multi = curl_multi_init(),
	};
	if (!http->multi)
		return -ENOMEM;

	r = sd_event_add_time(event, &http->timer, CLOCK_MONOTONIC, 0, 1, on_timer, http);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
	if (r < 0)
		return r;

	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);

	*ret = TAKE_PTR(http);
	return 0;
}

struct http *http_free(struct http *http)
{
	if (!http)
		return NULL;

	if (http->multi)
		curl_multi_cleanup(
			http->multi); /* calls back to drop sockets: so before the rest */
	sd_event_source_disable_unref(http->timer);
	sd_event_unref(http->event);
	free(http);
	return NULL;
}

/* --- what an answer brings ------------------------------------------------------------ */

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct http_transfer *transfer = userdata;
	const size_t len = size * count;
	char *body;

	if (len > HTTP_BODY_MAX - transfer->response.body_len) {
		transfer->is_cut = true;
		return 0; /* CURLE_WRITE_ERROR */
	}
	body = realloc(transfer->body, transfer->response.body_len + len + 1);
	if (!body)
		return 0;
	memcpy(body + transfer->response.body_len, data, len);
	transfer->body = body;
	transfer->response.body_len += len;
	body[transfer->response.body_len] = '\0';
	return len;
}

/* Is @line of @len bytes the header @name? Then copy its value, or "" if it does not fit. */
static void take_header(char *buf, const char *name, const char *line, size_t len)
{
	const size_t name_len = strlen(name);

	if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
		return;
	line += name_len + 1;
	len -= name_len + 1;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	if (len >= HTTP_HEADER_MAX)
		len = 0;
	memcpy(buf, line, len);
	buf[len] = '\0';
}

static size_t on_header(char *data, size_t size, size_t count, void *userdata)
{
	struct http_transfer *transfer = userdata;
	const size_t len = size * count;

	transfer->header_bytes += len;
	if (transfer->header_bytes > RESPONSE_HEADER_MAX)
		return 0;
	take_header(transfer->response.etag, "etag", data, len);
	take_header(transfer->response.date, "date", data, len);
	take_header(transfer->response.region, "x-amz-bucket-region", data, len);
	take_header(transfer->response.crc32, "x-amz-crc32", data, len);
	take_header(transfer->response.location, "location", data,
		    len < HTTP_HEADER_MAX ? len : HTTP_HEADER_MAX);
	return len;
}

/* A connection is there, and the request goes out next: more than once if libcurl sends it again.
 */
// NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type
static int on_sending(void *userdata, char *to_ip, char *from_ip, int to_port, int from_port)
{
	struct http_transfer *transfer = userdata;

	(void)to_ip;
	(void)from_ip;
	(void)to_port;
	(void)from_port;

	transfer->tries++;
	return CURL_PREREQFUNC_OK;
}

/* --- start and stop ------------------------------------------------------------------- */

static int set_headers(struct http_transfer *transfer, const struct http_request *request)
{
	struct curl_slist *list;

	/* An empty Expect: or Accept: takes away what libcurl would add and we have not signed. */
	list = curl_slist_append(NULL, "Expect:");
	for (size_t i = 0; list && request->headers[i]; i++) {
		transfer->headers = list;
		list = curl_slist_append(list, request->headers[i]);
	}
	if (!list)
		return -ENOMEM;
	transfer->headers = list;
	return curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, list) == CURLE_OK ? 0 : -ENOMEM;
}

/* Told always, "" too: libcurl would ask the environment of this process. */
static int set_proxy(CURL *easy, const struct http_request *request)
{
	const char *proxy = request->proxy ? request->proxy : "";

	if (curl_easy_setopt(easy, CURLOPT_PROXY, proxy) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_NOPROXY, *proxy ? "" : "*") != CURLE_OK)
		return -ENOMEM;
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	return 0;
}

/* A proxy that is spoken to over TLS is verified as the server is, as Go does. */
static int set_tls(CURL *easy, const struct http_request *request)
{
	if (request->ca_pem) {
		struct curl_blob blob = { .len = strlen(request->ca_pem), .flags = CURL_BLOB_COPY };

		memcpy(&blob.data, &request->ca_pem, sizeof(blob.data)); /* libcurl only reads it */
		if (curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) != CURLE_OK ||
		    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO_BLOB, &blob) != CURLE_OK)
			return -ENOMEM;
	} else if (request->ca_bundle) {
		if (curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_bundle) != CURLE_OK ||
		    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, request->ca_bundle) != CURLE_OK)
			return -ENOMEM;
	}
	if (request->insecure) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
		curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, 0L);
	}
	return 0;
}

static int set_options(struct http_transfer *transfer, const struct http_request *request)
{
	CURL *easy = transfer->easy;
	CURLcode code;
	int r;

	code = curl_easy_setopt(easy, CURLOPT_URL, request->url);
	if (code != CURLE_OK)
		return -ENOMEM;
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* a redirect needs a new signature */
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "tfqd/" VERSION);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)(request->connect_timeout_usec / USEC_PER_MSEC));
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->timeout_usec / USEC_PER_MSEC));
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);

	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_sending);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);

	r = set_proxy(easy, request);
	if (r < 0)
		return r;
	r = set_tls(easy, request);
	if (r < 0)
		return r;

	if (strcmp(request->method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return 0;
	}
	if (request->body) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		if (curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body) != CURLE_OK)
			return -ENOMEM;
	}
	return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK ? 0
											  : -ENOMEM;
}

int http_start(struct http_transfer **ret, struct http *http, const struct http_request *request,
	       http_done_fn done, void *userdata)
{
	CLEANUP(transfer_freep) struct http_transfer *transfer = NULL;
	int r;

	transfer = calloc(1, sizeof(*transfer));
	if (!transfer)
		return -ENOMEM;
	transfer->http = http;
	transfer->done = done;
	transfer->userdata = userdata;
	transfer->easy = curl_easy_init();
	if (!transfer->easy)
		return -ENOMEM;

	r = set_headers(transfer, request);
	if (r < 0)
		return r;
	r = set_options(transfer, request);
	if (r < 0)
		return r;

	switch (curl_multi_add_handle(http->multi, transfer->easy)) {
	case CURLM_OK: break;
	case CURLM_OUT_OF_MEMORY: return -ENOMEM;
	default: return -EINVAL;
	}
	*ret = TAKE_PTR(transfer);
	return 0;
}

struct http_transfer *http_cancel(struct http_transfer *transfer)
{
	if (!transfer)
		return NULL;
	(void)curl_multi_remove_handle(transfer->http->multi, transfer->easy);
	return transfer_free(transfer);
}

/* --- what is known of hosts ----------------------------------------------------------- */

int64_t http_clock(const struct http *http, const char *host)
{
	for (unsigned i = 0; i < http->clock_count; i++)
		if (strcmp(http->clocks[i].host, host) == 0)
			return http->clocks[i].ahead_sec;
	return 0;
}

void http_set_clock(struct http *http, const char *host, int64_t ahead_sec)
{
	unsigned i = 0;

	while (i < http->clock_count && strcmp(http->clocks[i].host, host) != 0)
		i++;
	if (i == http->clock_count) {
		if (strlen(host) >= sizeof(http->clocks[0].host))
			return;
		i = http->clock_next++ % HTTP_CLOCKS_MAX;
		if (http->clock_count < HTTP_CLOCKS_MAX)
			http->clock_count++;
		memcpy(http->clocks[i].host, host, strlen(host) + 1);
	}
	http->clocks[i].ahead_sec = ahead_sec;
}
