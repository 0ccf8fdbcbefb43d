/* SPDX-License-Identifier: MIT */
/* What a server says went wrong, as XML and as JSON, and what a phrase is made of it. */
#include "common/aws/aws_error.h"

#include "daemon/aws/aws_answer.h"
#include "runner/doctor/xml.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct aws_error *error, const struct http_response *response)
{
	const char *const texts[] = { error->code, error->message, error->region,
				      error->server_time, error->endpoint };
	struct aws_answer answer = { .http = response, .error = *error };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		fuzz_check_printable(texts[i]);
	answer.result = aws_answer_sort(response, error);
	(void)aws_answer_is_expiry(error);
	(void)aws_answer_is_clock(error);
	aws_answer_explain(&answer);
	fuzz_check_printable(answer.why);
}

/* Two bytes of the status; then the body; then x-amz-crc32 and x-amz-bucket-region. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const unsigned hundreds = fuzz_byte(&input);
	const unsigned status = hundreds % 6 * 100 + fuzz_byte(&input) % 100;
	size_t len;
	AUTO_FREE char *body = fuzz_part(&input, &len);
	AUTO_FREE char *sum = fuzz_part(&input, NULL);
	AUTO_FREE char *region = fuzz_part(&input, NULL);
	struct http_response response = { .is_answered = true, .status = (int)status };
	struct aws_error error;
	json_t *texts;

	response.body = body;
	response.body_len = len;
	(void)snprintf(response.crc32, sizeof(response.crc32), "%s", sum);
	(void)snprintf(response.region, sizeof(response.region), "%s", region);
	aws_error_parse(&error, body, len);
	check(&error, &response);
	aws_error_parse_json(&error, body, len);
	check(&error, &response);
	texts = xml_texts(body, len);
	FUZZ_CHECK(json_is_object(texts));
	json_decref(texts);
	return 0;
}
