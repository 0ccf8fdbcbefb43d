/* SPDX-License-Identifier: MIT */
/*
 * What an answer of AWS, or of a look-alike, says of its request: was it carried out? Pure.
 * Facts: aws.md 3.2, 4.1, 4.4.
 */
#pragma once

#include <stdbool.h>

#include "common/aws/aws_error.h"
#include "daemon/http.h"

#define AWS_WHY_MAX 640 /* bytes of a phrase about an answer, with the NUL */

enum aws_result {
	AWS_DONE,      /* 2xx */
	AWS_REFUSED,   /* 3xx, 4xx, 501: this try was not carried out */
	AWS_UNSENT,    /* never left us, or refused for expired keys, which are being renewed */
	AWS_UNKNOWN,   /* no answer, a damaged one, a fault of the server's: perhaps carried out */
	AWS_THROTTLED, /* as unknown, and the server wants to be left alone for a while */
};

struct aws_answer {
	enum aws_result result;
	const struct http_response *http; /* lent for the call */
	bool is_repeated; /* sent more than once: REFUSED and UNSENT tell of the last time alone */
	struct aws_error error; /* of an answer that is none of 2xx */
	char why[AWS_WHY_MAX];  /* unless DONE: what it says, as a phrase, and what to do; printable
				 */
};

/* By status and code alone. A wrong x-amz-crc32 makes any answer AWS_UNKNOWN. */
enum aws_result aws_answer_sort(const struct http_response *response,
				const struct aws_error *error);

/* Does the server not, or no longer, know the keys? */
bool aws_answer_is_expiry(const struct aws_error *error);

/* May it be a refusal of the time that was signed with? It is if that is off by minutes. */
bool aws_answer_is_clock(const struct aws_error *error);

/* Fill in @answer->why from the rest. */
void aws_answer_explain(struct aws_answer *answer);
