/* SPDX-License-Identifier: MIT */
/*
 * HTTP requests on an sd-event loop: libcurl's multi interface, one pool of kept-alive
 * connections, no threads of ours, no blocking. One try each; whoever asks knows
 * whether trying again is safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"

#define HTTP_BODY_MAX   65536 /* bytes kept of an answer; the rest makes it an error */
#define HTTP_HEADER_MAX 256   /* bytes kept of one header's value, with the NUL */
#define HTTP_ERROR_MAX  512
#define HTTP_CLOCKS_MAX 32
#define HTTP_HOST_MAX   256

struct http;
struct http_transfer;

struct http_request {
	const char *method;         /* "GET", "HEAD", "PUT", "DELETE", "POST" */
	const char *url;            /* sent byte for byte: no dot segment is removed */
	const char *const *headers; /* "Name: value", NULL-ended */
	const char *body;           /* borrowed until done; NULL: none */
	size_t body_len;
	const char *ca_pem;    /* certificates, as text; NULL: see ca_bundle */
	const char *ca_bundle; /* a file of them; NULL: the system's */
	const char
		*proxy; /* URL, http, https or socks5h; NULL: none, whatever the environment says */
	bool insecure;  /* do not verify TLS */
	bool fresh; /* on a new connection: libcurl sends again by itself on one that has died */
	uint64_t connect_timeout_usec, timeout_usec;
};

struct http_response {
	bool is_answered; /* a whole answer came; else error says why not */
	bool is_unsent;   /* no byte of the request has left us */
	bool is_repeated; /* libcurl sent it again by itself, because the kept-alive connection was
			     closed without an answer: it may have been done before */
	bool is_cut; /* not answered because of its length alone: status and headers are good */
	int status;
	char etag[HTTP_HEADER_MAX]; /* "" if absent, or if longer */
	char date[HTTP_HEADER_MAX];
	char region[HTTP_HEADER_MAX];   /* x-amz-bucket-region */
	char crc32[HTTP_HEADER_MAX];    /* x-amz-crc32 */
	char location[HTTP_HEADER_MAX]; /* cut if longer */
	const char *body;
	size_t body_len;
	char error[HTTP_ERROR_MAX]; /* a phrase: "connection refused (127.0.0.1:9000)"; printable */
};

/* The transfer is over; @response is lent for the call. */
typedef void (*http_done_fn)(const struct http_response *response, void *userdata);

/* Return: 0, -ENOMEM, or what sd_event_add_time() says. */
int http_new(struct http **ret, sd_event *event);

/* Every transfer must be done or cancelled before. */
struct http *http_free(struct http *http);
DEFINE_FREEP(http);

/*
 * Start a request. @done is called once, from the loop, never from within this call.
 * Return: 0 and the transfer in *@ret, valid until @done or http_cancel(); -ENOMEM; -EINVAL
 * for a URL or method that libcurl refuses.
 */
int http_start(struct http_transfer **ret, struct http *http, const struct http_request *request,
	       http_done_fn done, void *userdata);

/* Give the transfer up: @done is not called. NULL is fine. Return: NULL. */
struct http_transfer *http_cancel(struct http_transfer *transfer);

/*
 * How far @host's clock (a Host header's value) is ahead of ours, in seconds, as somebody has
 * learnt it; 0 if nobody has. For signing alone. All requests of a daemon share what is known.
 */
int64_t http_clock(const struct http *http, const char *host);

/* Remember that. Of HTTP_CLOCKS_MAX hosts the one learnt first is forgotten. */
void http_set_clock(struct http *http, const char *host, int64_t ahead_sec);
