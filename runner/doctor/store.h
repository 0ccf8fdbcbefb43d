/* SPDX-License-Identifier: MIT */
/* Signed requests to one service, one after the other, and a record of what each was answered. */
#pragma once

#include <jansson.h>

#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "runner/aws/ask.h"

struct store {
	struct ask *ask; /* lent, as all here */
	const struct keys *keys;
	const char *service; /* "s3", "dynamodb" */
	const char *region;
	const struct endpoint *at;
	json_t *facts; /* gets "asked" and "clock" (common/doctor.h) */
};

#define STORE_HEADERS_MAX 8

struct store_request {
	const char *name; /* in the record */
	const char *method;
	const char *path;                               /* percent-encoded; NULL: the endpoint's */
	const char *query;                              /* without "?", sorted; NULL: none */
	const char *body;                               /* NULL: none */
	struct sigv4_header headers[STORE_HEADERS_MAX]; /* up to the first without a name */
	bool keeps_body;                                /* say what stood in it */
};

/*
 * Sign with the server's time as it was heard last, send, and record. Return: the HTTP status;
 * 0 if no answer came; a negative errno if it could not be sent at all.
 */
int store_ask(struct store *store, const struct store_request *request);

/* What was recorded of @name: its status, or 0. */
int store_status(const struct store *store, const char *name);
