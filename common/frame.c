/* SPDX-License-Identifier: MIT */
#include "common/frame.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

void frame_encode_header(unsigned char ret[static FRAME_HEADER_LEN], const struct frame *frame)
{
	const uint32_t len = htole32(frame->len);
	const uint64_t at_usec = htole64(frame->at_usec);

	assert(frame->len <= FRAME_BODY_MAX);

	ret[0] = frame->type;
	ret[1] = frame->stream;
	ret[2] = ret[3] = 0;
	memcpy(ret + 4, &len, sizeof(len));
	memcpy(ret + 8, &at_usec, sizeof(at_usec));
}

int frame_decode(struct frame *ret, const void *buf, size_t len)
{
	const unsigned char *bytes = buf;
	uint32_t body_len;
	uint64_t at_usec;

	if (len < FRAME_HEADER_LEN)
		return 0;

	memcpy(&body_len, bytes + 4, sizeof(body_len));
	memcpy(&at_usec, bytes + 8, sizeof(at_usec));
	body_len = le32toh(body_len);

	if (bytes[2] != 0 || bytes[3] != 0)
		return -EBADMSG;
	if (body_len > FRAME_BODY_MAX)
		return -EMSGSIZE;
	if (len - FRAME_HEADER_LEN < body_len)
		return 0;

	*ret = (struct frame){
		.type = bytes[0],
		.stream = bytes[1],
		.len = body_len,
		.at_usec = le64toh(at_usec),
		.body = (const char *)buf + FRAME_HEADER_LEN,
	};
	return (int)(FRAME_HEADER_LEN + body_len);
}
