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

int frame_decode_header(struct frame *ret, const unsigned char header[static FRAME_HEADER_LEN])
{
	uint32_t len;
	uint64_t at_usec;

	memcpy(&len, header + 4, sizeof(len));
	memcpy(&at_usec, header + 8, sizeof(at_usec));
	len = le32toh(len);

	if (header[2] != 0 || header[3] != 0)
		return -EBADMSG;
	if (len > FRAME_BODY_MAX)
		return -EMSGSIZE;

	*ret = (struct frame){
		.type = header[0],
		.stream = header[1],
		.len = len,
		.at_usec = le64toh(at_usec),
	};
	return 0;
}

int frame_decode(struct frame *ret, const void *buf, size_t len)
{
	struct frame frame;
	int r;

	if (len < FRAME_HEADER_LEN)
		return 0;
	r = frame_decode_header(&frame, buf);
	if (r < 0)
		return r;
	if (len - FRAME_HEADER_LEN < frame.len)
		return 0;

	frame.body = (const char *)buf + FRAME_HEADER_LEN;
	*ret = frame;
	return (int)(FRAME_HEADER_LEN + frame.len);
}

void frame_encode_size(unsigned char ret[static FRAME_SIZE_LEN], uint16_t rows, uint16_t columns)
{
	ret[0] = (unsigned char)(rows & 0xff);
	ret[1] = (unsigned char)(rows >> 8);
	ret[2] = (unsigned char)(columns & 0xff);
	ret[3] = (unsigned char)(columns >> 8);
}

void frame_decode_size(const unsigned char body[static FRAME_SIZE_LEN], uint16_t *ret_rows,
		       uint16_t *ret_columns)
{
	*ret_rows = (uint16_t)(body[0] | body[1] << 8);
	*ret_columns = (uint16_t)(body[2] | body[3] << 8);
}
