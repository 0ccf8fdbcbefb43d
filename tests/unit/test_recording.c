/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/recording.h"
#include "tests/unit/unit.h"

static struct recording make_recording(void)
{
	struct recording recording = { 0 };

	recording.fd = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(recording.fd, 0);
	return recording;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

/* Every byte of the file must belong to a whole frame. Return: how many; the last in *@ret_last. */
static unsigned read_frames(const struct recording *recording, char *bytes, size_t size,
			    struct frame *ret_last)
{
	const ssize_t len = pread(recording->fd, bytes, size, 0);
	ssize_t at = 0;
	unsigned count = 0;

	ck_assert_int_ge(len, 0);
	ck_assert_uint_eq((uint64_t)len, recording->size);
	while (at < len) {
		const int used = frame_decode(ret_last, bytes + at, (size_t)(len - at));

		ck_assert_int_gt(used, 0);
		at += used;
		count++;
	}
	return count;
}

static void limit(rlim_t bytes)
{
	const struct rlimit value = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };

	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR); // NOLINT(cert-err33-c)
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &value), 0);
}

START_TEST(frames_follow_each_other)
{
	struct recording recording = make_recording();
	static char bytes[2 * FRAME_BODY_MAX], big[FRAME_BODY_MAX];
	struct frame last = { 0 };

	recording_add(&recording, FRAME_START, FRAME_STREAM_NONE, "1", 1);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDERR, "hello", 5);
	ck_assert_uint_eq(read_frames(&recording, bytes, sizeof(bytes), &last), 2);
	ck_assert_uint_eq(last.type, FRAME_OUTPUT);
	ck_assert_uint_eq(last.stream, FRAME_STDERR);
	ck_assert_mem_eq(last.body, "hello", 5);
	ck_assert_uint_gt(last.at_usec, UINT64_C(1500000000000000));
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, NULL, 0);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
	ck_assert_uint_eq(read_frames(&recording, bytes, sizeof(bytes), &last), 4);
	ck_assert_uint_eq(last.len, FRAME_BODY_MAX);
	ck_assert_uint_eq(recording.lost_bytes, 0);
	(void)close(recording.fd);
}
END_TEST

START_TEST(full_disk_never_leaves_half_a_frame)
{
	struct recording recording = make_recording();
	static char bytes[4096];
	struct frame last = { 0 };
	uint64_t before;

	recording_add(&recording, FRAME_START, FRAME_STREAM_NONE, "1", 1);
	before = recording.size;
	limit(before + (rlim_t)_i); /* room for that much of the next one */
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "0123456789", 10);
	ck_assert_uint_eq(recording.size, before);
	ck_assert_uint_eq(size_of(recording.fd), before);
	ck_assert_uint_eq(recording.lost_bytes, 10);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "0123456789abcdef", 16);
	ck_assert_uint_eq(recording.lost_bytes, 26);
	ck_assert_uint_eq(size_of(recording.fd), before);

	/* Room again: first what is missing is told, then it goes on. */
	limit(RLIM_INFINITY);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "on", 2);
	ck_assert_uint_eq(recording.lost_bytes, 0);
	ck_assert_uint_eq(read_frames(&recording, bytes, sizeof(bytes), &last), 3);
	ck_assert_mem_eq(last.body, "on", 2);
	ck_assert_ptr_nonnull(memmem(bytes, recording.size, "26 bytes of output are missing", 30));
	(void)close(recording.fd);
}
END_TEST

START_TEST(note_that_has_room_stands_alone)
{
	struct recording recording = make_recording();
	static char bytes[4096], big[2000];
	struct frame last = { 0 };

	limit(500);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
	limit(RLIM_INFINITY);
	recording_add(&recording, FRAME_EXIT, FRAME_EXIT_CODE, "\0\0\0\0", 4);
	(void)read_frames(&recording, bytes, sizeof(bytes), &last);
	ck_assert_uint_eq(last.type, FRAME_EXIT);
	ck_assert_uint_eq(recording.lost_bytes, 0);
	(void)close(recording.fd);
}
END_TEST

START_TEST(device_without_room_loses_output_and_no_more)
{
	struct recording recording = { .fd = open("/dev/full", O_RDWR | O_CLOEXEC) };

	ck_assert_int_ge(recording.fd, 0);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "hello", 5);
	ck_assert_uint_eq(recording.lost_bytes, 5);
	ck_assert_uint_eq(recording.size, 0);
	(void)close(recording.fd);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, frames_follow_each_other);
	tcase_add_loop_test(tcase, full_disk_never_leaves_half_a_frame, 0, FRAME_HEADER_LEN + 10);
	tcase_add_test(tcase, note_that_has_room_stands_alone);
	tcase_add_test(tcase, device_without_room_loses_output_and_no_more);
}

int main(void)
{
	return unit_main("recording", add_tests);
}
