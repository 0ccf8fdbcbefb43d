/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/viewer.h"
#include "tests/unit/unit.h"

/* One viewer, a recording, and the other end of its socket. */
static sd_event *event;
static struct recording recording;
static struct viewer *viewer;
static int peer;

static char typed[FRAME_BODY_MAX + 1];
static size_t typed_len, typed_ends, gone;
static bool takes_input;

static bool on_input(const char *data, size_t len, void *userdata)
{
	ck_assert_ptr_eq(userdata, &recording);
	if (len == 0) {
		typed_ends++;
		return true;
	}
	if (!takes_input)
		return false;
	ck_assert_uint_lt(typed_len + len, sizeof(typed));
	memcpy(typed + typed_len, data, len);
	typed_len += len;
	return true;
}

static void on_gone(struct viewer *who, void *userdata)
{
	(void)userdata;
	ck_assert_ptr_eq(who, viewer);
	viewer = viewer_free(who);
	gone++;
}

static const struct viewer_callbacks callbacks = { on_input, on_gone };

static void setup(void)
{
	int fds[2];

	typed_len = typed_ends = gone = 0;
	takes_input = true;
	recording = (struct recording){ 0 };
	recording.fd = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(recording.fd, 0);
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(viewer_new(&viewer, event, fds[0], &recording, &callbacks, &recording), 0);
	peer = fds[1];
	ck_assert_int_eq(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
}

static void teardown(void)
{
	viewer = viewer_free(viewer);
	if (peer >= 0)
		(void)close(peer);
	(void)close(recording.fd);
	sd_event_unref(event);
}

/* Run until nothing is left to do: a loop that spins never comes to that. */
static void run(void)
{
	unsigned turns = 0;

	while (sd_event_run(event, 0) > 0)
		ck_assert_uint_lt(turns++, 10000);
}

static void send_frame(enum frame_type type, const char *body, size_t len)
{
	static unsigned char bytes[FRAME_HEADER_LEN + FRAME_BODY_MAX];
	size_t sent = 0;

	frame_encode_header(bytes, &(struct frame){ .type = (uint8_t)type, .len = (uint32_t)len });
	if (len > 0)
		memcpy(bytes + FRAME_HEADER_LEN, body, len);
	while (sent < FRAME_HEADER_LEN + len) {
		const ssize_t n =
			send(peer, bytes + sent, FRAME_HEADER_LEN + len - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else
			ck_assert_int_eq(errno, EAGAIN);
		run();
	}
}

static size_t read_some(void)
{
	char bytes[65536];
	const ssize_t n = read(peer, bytes, sizeof(bytes));

	return n > 0 ? (size_t)n : 0;
}

START_TEST(viewer_gets_what_is_there_and_what_comes)
{
	char bytes[4096];
	ssize_t n;

	recording_add(&recording, FRAME_START, 0, "1", 1);
	viewer_push(viewer, false);
	n = read(peer, bytes, sizeof(bytes));
	ck_assert_int_eq(n, FRAME_HEADER_LEN + 1);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "hello", 5);
	viewer_push(viewer, false);
	n = read(peer, bytes, sizeof(bytes));
	ck_assert_int_eq(n, FRAME_HEADER_LEN + 5);
	ck_assert_mem_eq(bytes + FRAME_HEADER_LEN, "hello", 5);
	ck_assert_uint_eq(gone, 0);
	viewer_push(viewer, true);
	ck_assert_uint_eq(gone, 1);
	ck_assert_int_eq(read(peer, bytes, sizeof(bytes)), 0);
}
END_TEST

START_TEST(slow_viewer_gets_everything_in_its_own_time)
{
	static char big[FRAME_BODY_MAX];
	uint64_t got = 0;

	for (int i = 0; i < 100; i++) {
		recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
		viewer_push(viewer, i == 99); /* never waits */
		run();
	}
	ck_assert_uint_eq(gone, 0);
	while (got < recording.size) {
		const size_t n = read_some();

		got += n;
		ck_assert(n > 0 || viewer);
		run();
	}
	ck_assert_uint_eq(got, recording.size);
	ck_assert_uint_eq(gone, 1);
}
END_TEST

START_TEST(viewer_that_hangs_up_is_gone)
{
	static char big[FRAME_BODY_MAX];

	if (_i > 0) /* while there is much that it has not read */
		for (int i = 0; i < 20; i++)
			recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
	viewer_push(viewer, _i == 2);
	run();
	ck_assert_uint_eq(gone, 0);
	(void)close(peer);
	peer = -1;
	run();
	ck_assert_uint_eq(gone, 1);
}
END_TEST

START_TEST(what_is_typed_goes_to_the_child)
{
	send_frame(FRAME_INPUT, "ye", 2);
	send_frame(FRAME_RESIZE, "\x18\0\x50\0", 4); /* not for it */
	send_frame(FRAME_INPUT, "s\n", 2);
	send_frame(FRAME_INPUT, NULL, 0); /* nothing typed is no end */
	ck_assert_uint_eq(typed_ends, 0);
	send_frame((enum frame_type)200, "?", 1);
	send_frame(FRAME_INPUT_END, NULL, 0);
	ck_assert_uint_eq(typed_len, 4);
	ck_assert_mem_eq(typed, "yes\n", 4);
	ck_assert_uint_eq(typed_ends, 1);
}
END_TEST

START_TEST(input_waits_for_a_child_that_does_not_read)
{
	takes_input = false;
	send_frame(FRAME_INPUT, "one", 3);
	send_frame(FRAME_INPUT, "two", 3);
	ck_assert_uint_eq(typed_len, 0);
	takes_input = true;
	viewer_resume_input(viewer);
	run();
	ck_assert_uint_eq(typed_len, 6);
	ck_assert_mem_eq(typed, "onetwo", 6);
}
END_TEST

START_TEST(hang_up_is_seen_though_input_waits)
{
	static char big[FRAME_BODY_MAX];

	takes_input = false;
	send_frame(FRAME_INPUT, big, sizeof(big)); /* fills its buffer */
	ck_assert_uint_eq(gone, 0);
	(void)close(peer);
	peer = -1;
	run();
	ck_assert_uint_eq(gone, 1);
}
END_TEST

START_TEST(nonsense_ends_the_conversation_but_not_the_view)
{
	static const unsigned char bad[] = { 16, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'x' };
	char bytes[64];

	ck_assert_int_eq(write(peer, bad, sizeof(bad)), (ssize_t)sizeof(bad));
	run();
	ck_assert_uint_eq(gone, 0);
	ck_assert_uint_eq(typed_len, 0);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "still", 5);
	viewer_push(viewer, false);
	ck_assert_int_eq(read(peer, bytes, sizeof(bytes)), FRAME_HEADER_LEN + 5);
	(void)close(peer);
	peer = -1;
	run();
	ck_assert_uint_eq(gone, 1);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 30);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, viewer_gets_what_is_there_and_what_comes);
	tcase_add_test(tcase, slow_viewer_gets_everything_in_its_own_time);
	tcase_add_loop_test(tcase, viewer_that_hangs_up_is_gone, 0, 3);
	tcase_add_test(tcase, what_is_typed_goes_to_the_child);
	tcase_add_test(tcase, input_waits_for_a_child_that_does_not_read);
	tcase_add_test(tcase, hang_up_is_seen_though_input_waits);
	tcase_add_test(tcase, nonsense_ends_the_conversation_but_not_the_view);
}

int main(void)
{
	return unit_main("viewer", add_tests);
}
