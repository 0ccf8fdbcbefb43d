/* SPDX-License-Identifier: MIT */
#include "daemon/aws/aws_answer.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "common/parse.h"
#include "common/text.h"

static const char *const throttles[] = {
	"SlowDown",
	"Throttling",
	"ThrottlingException",
	"ThrottledException",
	"RequestThrottled",
	"RequestThrottledException",
	"TooManyRequestsException",
	"ProvisionedThroughputExceededException",
	"RequestLimitExceeded",
	"BandwidthLimitExceeded",
	"LimitExceededException",
	NULL,
};

static const char *const faults[] = {
	"InternalError",           "InternalServerError",
	"InternalFailure",         "ServiceUnavailable",
	"RequestTimeout",          "RequestTimeoutException",
	"PriorRequestNotComplete", NULL,
};

static const char *const expiries[] = {
	"ExpiredToken",
	"ExpiredTokenException",
	"TokenRefreshRequired",
	"InvalidToken",
	"UnrecognizedClientException",
	"InvalidAccessKeyId",
	"InvalidClientTokenId",
	"RequestExpired",
	NULL,
};

static const char *const clock_errors[] = {
	"RequestTimeTooSkewed",
	"RequestExpired",
	"RequestInTheFuture",
	"InvalidSignatureException",
	"SignatureDoesNotMatch",
	"AuthFailure",
	"AccessDenied",
	"AccessDeniedException",
	NULL,
};

static bool is_one_of(const char *code, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(code, *list) == 0)
			return true;
	return false;
}

static bool is_damaged(const struct http_response *response)
{
	uint64_t sum;

	if (!response->is_answered || response->crc32[0] == '\0')
		return false;
	return parse_u64(response->crc32, UINT32_MAX, &sum) < 0 ||
	       sum != crc32(0, (const unsigned char *)response->body, (unsigned)response->body_len);
}

enum aws_result aws_answer_sort(const struct http_response *response, const struct aws_error *error)
{
	const int status = response->status;

	if (!response->is_answered)
		return response->is_unsent ? AWS_UNSENT : AWS_UNKNOWN;
	if (is_damaged(response))
		return AWS_UNKNOWN;
	if (status >= 200 && status < 300)
		return AWS_DONE;
	if (status == 429 || is_one_of(error->code, throttles))
		return AWS_THROTTLED;
	if (status == 501 && strcmp(error->code, "NotImplemented") == 0)
		return AWS_REFUSED;
	if (status < 200 || status >= 500 || status == 408 || is_one_of(error->code, faults))
		return AWS_UNKNOWN;
	return AWS_REFUSED;
}

bool aws_answer_is_expiry(const struct aws_error *error)
{
	return is_one_of(error->code, expiries);
}

bool aws_answer_is_clock(const struct aws_error *error)
{
	return is_one_of(error->code, clock_errors);
}

/* Say what the answer says so that whoever reads it knows what to do. */
void aws_answer_explain(struct aws_answer *answer)
{
	const struct http_response *response = answer->http;
	const struct aws_error *error = &answer->error;
	const char *region = error->region[0] ? error->region : response->region;
	char clean[AWS_ERROR_TEXT_MAX];
	char *const buf = answer->why;

	if (!response->is_answered)
		(void)snprintf(buf, AWS_WHY_MAX, "%s", response->error);
	else if (is_damaged(response)) {
		(void)snprintf(buf, AWS_WHY_MAX,
			       "the answer was damaged on its way (its x-amz-crc32 is wrong)");
	} else if (response->status == 301 ||
		   strcmp(error->code, "IllegalLocationConstraintException") == 0 ||
		   (strcmp(error->code, "AuthorizationHeaderMalformed") == 0 && *region)) {
		(void)snprintf(
			buf, AWS_WHY_MAX,
			"the bucket is in another region%s%s; set it as region in the backend block",
			*region ? ", " : "", text_printable(clean, sizeof(clean), region));
	} else {
		(void)snprintf(buf, AWS_WHY_MAX, "HTTP %d%s%s%s%s%s", response->status,
			       error->code[0] ? ", " : "", error->code,
			       error->message[0] ? ": " : "", error->message,
			       response->status == 407 ? "; the proxy wants a user and a password: "
							 "put them into its URL"
						       : "");
	}
}
