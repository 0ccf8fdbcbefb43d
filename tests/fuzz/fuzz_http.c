/* SPDX-License-Identifier: MIT */
/* An answer's headers and body, in the pieces in which libcurl hands them over. */
#include "daemon/http.c" // NOLINT(bugprone-suspicious-include): for what libcurl calls
#include "tests/fuzz/fuzz.h"

static void check_header(const char *text)
{
	FUZZ_CHECK(strnlen(text, HTTP_HEADER_MAX) < HTTP_HEADER_MAX);
	FUZZ_CHECK(*text != ' ' && *text != '\t');
}

/* Lines of headers; then the body. The first byte: how much of that comes at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const size_t step = fuzz_byte(&input) + 1;
	struct http_transfer *transfer = calloc(1, sizeof(*transfer));
	size_t len, body_len;
	AUTO_FREE char *headers = fuzz_part(&input, &len);
	AUTO_FREE char *body = fuzz_part(&input, &body_len);

	FUZZ_CHECK(transfer);
	for (size_t at = 0; at < len;) {
		const char *end = memchr(headers + at, '\n', len - at);
		const size_t line = end ? (size_t)(end - headers) + 1 - at : len - at;

		if (on_header(headers + at, 1, line, transfer) != line)
			break;
		at += line;
	}
	for (size_t at = 0; at < body_len; at += step) {
		const size_t piece = body_len - at < step ? body_len - at : step;

		if (on_body(body + at, 1, piece, transfer) != piece)
			break;
	}
	check_header(transfer->response.etag);
	check_header(transfer->response.date);
	check_header(transfer->response.region);
	check_header(transfer->response.crc32);
	check_header(transfer->response.location);
	FUZZ_CHECK(transfer->response.body_len == body_len || transfer->is_cut);
	FUZZ_CHECK(!transfer->body ||
		   memcmp(transfer->body, body, transfer->response.body_len) == 0);
	(void)transfer_free(transfer);
	return 0;
}
