/* SPDX-License-Identifier: MIT */
/* What an error body says, XML or JSON. Hostile input: bounded; the HTTP status comes first. */
#pragma once

#include <stddef.h>

#define AWS_ERROR_BODY_MAX 65536U /* bytes looked at; a longer body counts as "no code" */
#define AWS_ERROR_TEXT_MAX 256    /* bytes kept of one member, with the NUL */

/*
 * Printable text only: control characters (C0, DEL, C1) become '?', and so does
 * each byte that is not UTF-8. Cut at a character if too long.
 */
struct aws_error {
	char code[AWS_ERROR_TEXT_MAX]; /* "PreconditionFailed"; "" if the body does not parse */
	char message[AWS_ERROR_TEXT_MAX];
	char region[AWS_ERROR_TEXT_MAX]; /* of AuthorizationHeaderMalformed, PermanentRedirect */
	char server_time[AWS_ERROR_TEXT_MAX]; /* of RequestTimeTooSkewed */
	char endpoint[AWS_ERROR_TEXT_MAX];    /* of TemporaryRedirect: a host */
};

/*
 * Read <Error><Code>...</Error> (also inside <ErrorResponse>, as STS wraps it)
 * with expat; depth at most 8, no DOCTYPE, thus no entity declarations. All is
 * read as UTF-8, whatever the body says of itself. Where a member comes twice,
 * the first that is not empty counts. Never fails: what does not parse, or
 * parses to something else, gives empty strings.
 */
void aws_error_parse(struct aws_error *ret, const void *body, size_t len);

/*
 * The same for the JSON of DynamoDB: code is what stands behind the last "#" of "__type", message
 * is "message" or "Message"; the rest is "".
 */
void aws_error_parse_json(struct aws_error *ret, const void *body, size_t len);
