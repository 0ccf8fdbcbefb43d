/* SPDX-License-Identifier: MIT */
/* Frames: what is read is written in the same bytes. */
#include "common/frame.h"

#include <errno.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;
	int used;

	do {
		unsigned char header[FRAME_HEADER_LEN];
		struct frame frame, again;

		used = frame_decode(&frame, data + at, size - at);
		FUZZ_CHECK(used >= 0 || used == -EBADMSG || used == -EMSGSIZE);
		if (used <= 0)
			break;
		FUZZ_CHECK((size_t)used == FRAME_HEADER_LEN + frame.len);
		FUZZ_CHECK((size_t)used <= size - at);
		FUZZ_CHECK(frame.body == (const char *)data + at + FRAME_HEADER_LEN);
		frame_encode_header(header, &frame);
		FUZZ_CHECK(memcmp(header, data + at, FRAME_HEADER_LEN) == 0);
		FUZZ_CHECK(frame_decode_header(&again, header) == 0 && again.len == frame.len);
		if (frame.type == FRAME_RESIZE && frame.len == FRAME_SIZE_LEN) {
			unsigned char body[FRAME_SIZE_LEN];
			uint16_t rows, columns;

			frame_decode_size(data + at + FRAME_HEADER_LEN, &rows, &columns);
			frame_encode_size(body, rows, columns);
			FUZZ_CHECK(memcmp(body, frame.body, FRAME_SIZE_LEN) == 0);
		}
		at += (size_t)used;
	} while (at < size);
	return 0;
}
