/* SPDX-License-Identifier: MIT */
/*
 * Enough of Protocol Buffers' wire format to walk over a message field by field.
 * Pure; the bytes may be anybody's. Source: https://protobuf.dev/programming-guides/encoding
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What is left of a message; lent. */
struct protobuf {
	const unsigned char *at;
	size_t len;
};

enum protobuf_wire {
	PROTOBUF_VARINT = 0,
	PROTOBUF_FIXED64 = 1,
	PROTOBUF_BYTES = 2, /* strings and messages, too */
	PROTOBUF_FIXED32 = 5,
};

struct protobuf_field {
	uint64_t number;
	enum protobuf_wire wire;
	uint64_t value;        /* of PROTOBUF_VARINT; 0 for all others */
	struct protobuf bytes; /* of all others; inside the message */
};

/*
 * Take the next field off @message.
 *
 * Return: 1; 0 at the message's end; -EBADMSG for a field that is cut short, for
 * a varint of more than 64 bits, the number 0 and the wire types that proto3 does
 * not have.
 */
int protobuf_next(struct protobuf *message, struct protobuf_field *ret);
