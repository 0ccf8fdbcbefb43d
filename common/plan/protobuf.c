/* SPDX-License-Identifier: MIT */
#include "common/plan/protobuf.h"

#include <assert.h>
#include <errno.h>

#define VARINT_MAX 10 /* bytes of 7 bits each, for 64 of them */

static int next_varint(struct protobuf *message, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < VARINT_MAX && i < message->len; i++) {
		const unsigned char byte = message->at[i];

		if (i == VARINT_MAX - 1 && byte > 1)
			return -EBADMSG;
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		message->at += i + 1;
		message->len -= i + 1;
		*ret = value;
		return 0;
	}
	return -EBADMSG;
}

static int next_bytes(struct protobuf *message, uint64_t len, struct protobuf *ret)
{
	if (len > message->len)
		return -EBADMSG;
	*ret = (struct protobuf){ .at = message->at, .len = (size_t)len };
	message->at += len;
	message->len -= (size_t)len;
	return 0;
}

int protobuf_next(struct protobuf *message, struct protobuf_field *ret)
{
	struct protobuf_field field = { 0 };
	uint64_t tag, len;
	int r;

	assert(message && ret);

	if (message->len == 0)
		return 0;
	r = next_varint(message, &tag);
	if (r < 0)
		return r;
	field.number = tag >> 3;
	if (field.number == 0)
		return -EBADMSG;

	switch (tag & 7) {
	case PROTOBUF_VARINT:
		field.wire = PROTOBUF_VARINT;
		r = next_varint(message, &field.value);
		break;
	case PROTOBUF_FIXED64:
		field.wire = PROTOBUF_FIXED64;
		r = next_bytes(message, 8, &field.bytes);
		break;
	case PROTOBUF_BYTES:
		field.wire = PROTOBUF_BYTES;
		r = next_varint(message, &len);
		if (r >= 0)
			r = next_bytes(message, len, &field.bytes);
		break;
	case PROTOBUF_FIXED32:
		field.wire = PROTOBUF_FIXED32;
		r = next_bytes(message, 4, &field.bytes);
		break;
	default: r = -EBADMSG; break;
	}
	if (r < 0)
		return r;
	*ret = field;
	return 1;
}
