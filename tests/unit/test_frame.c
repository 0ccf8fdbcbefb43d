/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "tests/unit/unit.h"

/* A START frame of stream 0 at 0x0807060504030201 with the body "1". */
static const unsigned char golden[] = { 1, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, '1' };

START_TEST(bytes_are_as_written_down)
{
	const struct frame frame = {
		.type = FRAME_START,
		.len = 1,
		.at_usec = UINT64_C(0x0807060504030201),
		.body = "1",
	};
	unsigned char header[FRAME_HEADER_LEN];
	struct frame read;

	frame_encode_header(header, &frame);
	ck_assert_mem_eq(header, golden, FRAME_HEADER_LEN);
	ck_assert_int_eq(frame_decode(&read, golden, sizeof(golden)), (int)sizeof(golden));
	ck_assert_uint_eq(read.type, FRAME_START);
	ck_assert_uint_eq(read.stream, 0);
	ck_assert_uint_eq(read.at_usec, frame.at_usec);
	ck_assert_uint_eq(read.len, 1);
	ck_assert_int_eq(read.body[0], '1');
}
END_TEST

static const struct frame frames[] = {
	{ .type = FRAME_OUTPUT, .stream = FRAME_STDERR, .len = 0, .at_usec = UINT64_MAX },
	{ .type = FRAME_OUTPUT, .stream = FRAME_STDOUT, .len = 5, .at_usec = 0 },
	{ .type = FRAME_EXIT, .stream = FRAME_EXIT_SIGNAL, .len = 4, .at_usec = 1 },
	{ .type = 255, .stream = 255, .len = 300, .at_usec = 77 }, /* a newer peer's */
	{ .type = 0, .stream = 0, .len = 1, .at_usec = 77 },
	{ .type = FRAME_INPUT, .stream = 0, .len = FRAME_BODY_MAX, .at_usec = 77 },
};
#define FRAME_COUNT ((int)(sizeof(frames) / sizeof(frames[0])))

START_TEST(frame_comes_back_and_no_prefix_does)
{
	const struct frame *frame = &frames[_i];
	const size_t len = FRAME_HEADER_LEN + frame->len;
	unsigned char *bytes = malloc(len + 7);
	struct frame read = { .type = 99 };

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, 0xaa, len + 7);
	frame_encode_header(bytes, frame);
	for (size_t i = 0; i < len; i++) {
		ck_assert_int_eq(frame_decode(&read, bytes, i), 0);
		ck_assert_uint_eq(read.type, 99);
	}
	for (size_t more = 0; more <= 7; more += 7) { /* what follows is the next one's */
		ck_assert_int_eq(frame_decode(&read, bytes, len + more), (int)len);
		ck_assert_uint_eq(read.type, frame->type);
		ck_assert_uint_eq(read.stream, frame->stream);
		ck_assert_uint_eq(read.len, frame->len);
		ck_assert_uint_eq(read.at_usec, frame->at_usec);
		ck_assert_ptr_eq(read.body, bytes + FRAME_HEADER_LEN);
	}
	free(bytes);
}
END_TEST

START_TEST(reserved_bytes_must_be_zero)
{
	unsigned char bytes[sizeof(golden)];
	struct frame read;

	memcpy(bytes, golden, sizeof(golden));
	bytes[2 + _i] = 1;
	ck_assert_int_eq(frame_decode(&read, bytes, sizeof(bytes)), -EBADMSG);
	ck_assert_int_eq(frame_decode(&read, bytes, FRAME_HEADER_LEN), -EBADMSG);
}
END_TEST

START_TEST(body_over_the_limit_is_refused_by_its_header)
{
	static const uint32_t lengths[] = { FRAME_BODY_MAX + 1, 0x7fffffff, 0x80000000,
					    0xffffffff };
	unsigned char bytes[FRAME_HEADER_LEN] = { 2 };
	struct frame read;

	for (size_t i = 0; i < 4; i++)
		bytes[4 + i] = (unsigned char)(lengths[_i] >> (8 * i));
	ck_assert_int_eq(frame_decode(&read, bytes, sizeof(bytes)), -EMSGSIZE);
}
END_TEST

START_TEST(header_alone_says_what_comes)
{
	unsigned char header[FRAME_HEADER_LEN];
	struct frame frame = { .type = 99 };

	frame_encode_header(header, &(struct frame){ .type = FRAME_INPUT,
						     .stream = 3,
						     .len = FRAME_BODY_MAX,
						     .at_usec = 5 });
	ck_assert_int_eq(frame_decode_header(&frame, header), 0);
	ck_assert_uint_eq(frame.type, FRAME_INPUT);
	ck_assert_uint_eq(frame.stream, 3);
	ck_assert_uint_eq(frame.len, FRAME_BODY_MAX);
	ck_assert_uint_eq(frame.at_usec, 5);
	ck_assert_ptr_null(frame.body);
	header[4] = 1;
	ck_assert_int_eq(frame_decode_header(&frame, header), -EMSGSIZE);
	header[3] = 1;
	ck_assert_int_eq(frame_decode_header(&frame, header), -EBADMSG);
	ck_assert_uint_eq(frame.type, FRAME_INPUT);
}
END_TEST

START_TEST(size_is_as_written_down)
{
	static const unsigned char want[FRAME_SIZE_LEN] = { 0x02, 0x01, 0xff, 0x80 };
	unsigned char body[FRAME_SIZE_LEN];
	uint16_t rows, columns;

	frame_encode_size(body, 0x0102, 0x80ff);
	ck_assert_mem_eq(body, want, sizeof(want));
	frame_decode_size(body, &rows, &columns);
	ck_assert_uint_eq(rows, 0x0102);
	ck_assert_uint_eq(columns, 0x80ff);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, bytes_are_as_written_down);
	tcase_add_loop_test(tcase, frame_comes_back_and_no_prefix_does, 0, FRAME_COUNT);
	tcase_add_loop_test(tcase, reserved_bytes_must_be_zero, 0, 2);
	tcase_add_loop_test(tcase, body_over_the_limit_is_refused_by_its_header, 0, 4);
	tcase_add_test(tcase, header_alone_says_what_comes);
	tcase_add_test(tcase, size_is_as_written_down);
}

int main(void)
{
	return unit_main("frame", add_tests);
}
