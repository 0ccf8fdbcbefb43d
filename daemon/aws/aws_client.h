/* SPDX-License-Identifier: MIT */
/*
 * One service of AWS, or of a look-alike, asked with one identity: requests are signed with the
 * keys of the moment and the server's clock, sent once, and their answers sorted by what they say
 * of whether the request was carried out. Facts: aws.md 1.1, 3.2, 4.1, 4.4, 6.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/aws/endpoint.h"
#include "common/aws/proxy.h"
#include "common/aws/sigv4.h"
#include "common/cleanup.h"
#include "daemon/aws/aws_answer.h"
#include "daemon/aws/identity.h"
#include "daemon/http.h"

#define AWS_HEADERS_MAX   20 /* of a request, those of the signature included */
#define AWS_REDIRECTS_MAX 3
#define AWS_RENEWAL_USEC  UINT64_C(30000000) /* how long expired keys are waited for */

struct aws_client;
struct aws_transfer;

struct aws_client_setup {
	struct http *http;   /* borrowed for the client's life */
	const char *service; /* "s3", "dynamodb": what is signed for; static */
	const char *region;
	struct identity *identity; /* a reference is taken; its keys are read at each signing */
	const char *ca_pem, *ca_bundle; /* as in struct http_request */
	bool insecure;
	struct proxy_settings proxy;
	uint64_t connect_timeout_usec, request_timeout_usec;
};

/*
 * Everything is copied. @origin: "https://host:port", where most requests are going to be sent.
 * Return: 0; -EINVAL for a proxy for it that is no URL, with a sentence for the user in
 * *@ret_error, the caller's to free; -ENOMEM.
 */
int aws_client_new(struct aws_client **ret, const struct aws_client_setup *setup,
		   const char *origin, char **ret_error);

/* Every transfer must be done or cancelled before. Wipes what is secret. Return: NULL. */
struct aws_client *aws_client_free(struct aws_client *client);
DEFINE_FREEP(aws_client);

struct aws_request {
	const char *method; /* static */
	const struct endpoint *at;
	const char *path;                   /* in place of at->path, percent-encoded; NULL: that */
	const struct sigv4_header *headers; /* but those that signing adds; all are signed */
	size_t header_count;
	const char *body; /* NULL: none */
	bool fresh;       /* as in struct http_request */
};

typedef void (*aws_done_fn)(const struct aws_answer *answer, void *userdata);

/*
 * Sign and send; everything is copied. @done is called once, from the loop, never from within
 * this call. Before that the request is signed anew and sent again at once, if it was refused
 *  - for a clock that differs by more than 4 min from the time signed with (once; all requests
 *    to that host are signed with the server's time from then on),
 *  - by S3 with 307 TemporaryRedirect to another host of the same store (3 times at most).
 *
 * Return: 0 and the transfer in *@ret, valid until @done or aws_cancel(); -ENOMEM; -EIO if
 * OpenSSL fails; -EINVAL for what cannot be a header or a URL.
 */
int aws_send(struct aws_transfer **ret, struct aws_client *client,
	     const struct aws_request *request, aws_done_fn done, void *userdata);

/* Give the transfer up: @done is not called. NULL is fine. Return: NULL. */
struct aws_transfer *aws_cancel(struct aws_transfer *transfer);
