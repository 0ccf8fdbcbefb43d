/* SPDX-License-Identifier: MIT */
/*
 * The frames of the attach channel and of a recording, which are the same bytes:
 * what a live viewer reads is what the file holds. Pure codec.
 *
 * On the wire, all little-endian: u8 type, u8 stream, u16 zero, u32 length of the
 * body, u64 time in microseconds since 1970, then the body. A recording begins
 * with FRAME_START and, once the job is over, ends with FRAME_EXIT.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_LEN 16
#define FRAME_BODY_MAX   65536 /* bytes */
#define FRAME_SIZE_LEN   4     /* bytes of the body of FRAME_RESIZE */

/* Numbers are wire and file format: append only, never renumber. */
enum frame_type {
	/* runner to viewer, and recorded */
	FRAME_START = 1,  /* body: "1", the version of this format */
	FRAME_OUTPUT = 2, /* body: bytes that the child wrote to stream */
	FRAME_EXIT = 3,   /* stream: 0 exit code, 1 signal, 2 never ran; body: u32 code or signal,
			     then words */
	FRAME_NOTE = 4,   /* body: a sentence of the runner's own; of time 0: to this viewer
			     alone, not recorded */
	FRAME_RESIZE = 5, /* body: u16 rows, u16 columns of the terminal; also viewer to runner */
	/* viewer to runner, never recorded */
	FRAME_INPUT = 16,     /* body: bytes for the child's stdin */
	FRAME_INPUT_END = 17, /* the viewer's stdin has ended */
};

enum frame_stream {
	FRAME_STREAM_NONE = 0,
	FRAME_STDOUT = 1,
	FRAME_STDERR = 2,
};

enum frame_exit {
	FRAME_EXIT_CODE = 0,
	FRAME_EXIT_SIGNAL = 1,
	FRAME_EXIT_NEVER_RAN = 2,
};

struct frame {
	uint8_t type;
	uint8_t stream;
	uint32_t len;
	uint64_t at_usec;
	const char *body;
};

/* Write the header of @frame; its body follows as it is. @frame->len is at most FRAME_BODY_MAX. */
void frame_encode_header(unsigned char ret[static FRAME_HEADER_LEN], const struct frame *frame);

/*
 * Read one frame from the start of @buf; @ret->body points into @buf. Types and
 * streams that we do not know are passed on: a newer peer may send them.
 * Return: the bytes used up (> 0); 0 if @buf holds no whole frame yet; -EBADMSG
 * for a reserved field that is not zero; -EMSGSIZE for a body over FRAME_BODY_MAX.
 */
int frame_decode(struct frame *ret, const void *buf, size_t len);

/* The header alone: for who takes a body as it comes; @ret->body is NULL. Return: 0, -EBADMSG or
 * -EMSGSIZE, as above. */
int frame_decode_header(struct frame *ret, const unsigned char header[static FRAME_HEADER_LEN]);

/* The body of FRAME_RESIZE. */
void frame_encode_size(unsigned char ret[static FRAME_SIZE_LEN], uint16_t rows, uint16_t columns);
void frame_decode_size(const unsigned char body[static FRAME_SIZE_LEN], uint16_t *ret_rows,
		       uint16_t *ret_columns);
