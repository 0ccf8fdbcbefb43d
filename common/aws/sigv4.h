/* SPDX-License-Identifier: MIT */
/*
 * AWS Signature Version 4, header form. Pure: no I/O, no clock, no globals.
 * Rules: IAM User Guide, "Create a signed AWS API request"; S3 API Reference,
 * "Authenticating Requests: Using the Authorization Header".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "common/cleanup.h"

#define SIGV4_HASH_LEN    65 /* bytes of a SHA-256 in lower-case hex, with its NUL */
#define SIGV4_DATE_LEN    17 /* bytes of "20260102T030405Z", with its NUL */
#define SIGV4_HEADERS_MAX 32

struct sigv4_header {
	const char *name;
	const char *value;
};

struct sigv4_credentials {
	const char *access_key;
	const char *secret_key;
	const char *token; /* NULL: none */
};

struct sigv4_request {
	const char *method;
	const char *path;  /* as on the wire, percent-encoded, no query; "" means "/" */
	const char *query; /* as on the wire, without "?"; NULL: none */
	const struct sigv4_header *headers; /* to be signed, in any order: host, x-amz-date, ... */
	size_t header_count;
	const char *payload_hash; /* lower-case hex, or "UNSIGNED-PAYLOAD" */
	const char *region;
	const char *service; /* "s3": the path is signed as it is; other: encoded again */
	const char *date;    /* "20260102T030405Z", the value of x-amz-date */
};

/* Hex of the SHA-256 of @len bytes at @data. Return: 0, or -EIO if OpenSSL fails. */
int sigv4_hash(char ret[static SIGV4_HASH_LEN], const void *data, size_t len);

/* @now in the form that x-amz-date and the scope take; "" if its year has not four digits. */
void sigv4_date(char ret[static SIGV4_DATE_LEN], time_t now);

/*
 * The canonical request, for tests and for explaining a refused signature.
 * Caller frees *@ret. Return: 0, or -EINVAL and -ENOMEM as sigv4_authorization().
 */
int sigv4_canonical_request(char **ret, const struct sigv4_request *request);

/* The string to sign. Caller frees *@ret. Return: as sigv4_authorization(). */
int sigv4_string_to_sign(char **ret, const struct sigv4_request *request);

/*
 * The value of the Authorization header. The caller sends exactly the headers
 * it gave here, x-amz-security-token included where there is a token.
 *
 * Return: 0 and *@ret, the caller's to free; -EINVAL for no host header, more
 * than SIGV4_HEADERS_MAX headers, a header's name that is none, a control
 * character in a value or in the access key, a token without its header, or a
 * date of another form; -ENOMEM; -EIO.
 */
int sigv4_authorization(char **ret, const struct sigv4_request *request,
			const struct sigv4_credentials *credentials);

/*
 * Percent-encode @text for a path (@keep_slash) or a query (not): all but
 * A-Z a-z 0-9 - . _ ~ becomes %XX, upper case. Dot segments stay.
 * Return: 0 and *@ret, the caller's to free, or -ENOMEM.
 */
int sigv4_encode(char **ret, const char *text, bool keep_slash);
