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
static size_t typed_len, typed_ends, gone, room;
static unsigned resizes, deaf;
static uint16_t rows, columns;

static size_t get_room(const struct viewer *who, void *userdata)
{
	(void)userdata;
	ck_assert(!viewer || who == viewer);
	return room;
}

static void on_input(struct viewer *who, const char *data, size_t len, void *userdata)
{
	ck_assert_ptr_eq(who, viewer);
	ck_assert_ptr_eq(userdata, &recording);
	if (len == 0) {
		typed_ends++;
		return;
	}
	ck_assert_uint_le(len, room);
	ck_assert_uint_lt(typed_len + len, sizeof(typed));
	memcpy(typed + typed_len, data, len);
	typed_len += len;
	if (room != VIEWER_ROOM_ALL)
		room -= len;
}

static void on_resize(struct viewer *who, uint16_t new_rows, uint16_t new_columns, void *userdata)
{
	ck_assert_ptr_eq(who, viewer);
	(void)userdata;
	rows = new_rows;
	columns = new_columns;
	resizes++;
}

static void on_gone(struct viewer *who, void *userdata)
{
	(void)userdata;
	ck_assert_ptr_eq(who, viewer);
	viewer = viewer_free(who);
	gone++;
}

static void on_deaf(struct viewer *who, void *userdata)
{
	ck_assert_ptr_eq(who, viewer);
	(void)userdata;
	deaf++;
}

static const struct viewer_callbacks callbacks = { get_room, on_input, on_resize, on_deaf,
						   on_gone };

static int make_viewer(struct viewer **ret, int fd, uint64_t offset, bool may_type)
{
	return viewer_new(ret, fd,
			  &(struct viewer_setup){ .event = event,
						  .recording = &recording,
						  .callbacks = &callbacks,
						  .userdata = &recording,
						  .offset = offset,
						  .may_type = may_type });
}

static void setup(void)
{
	int fds[2];

	typed_len = typed_ends = gone = 0;
	resizes = deaf = 0;
	room = VIEWER_ROOM_ALL;
	recording = (struct recording){ 0 };
	recording.fd = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(recording.fd, 0);
	viewer = NULL;
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(make_viewer(&viewer, fds[0], 0, true), 0);
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
	send_frame(FRAME_RESIZE, "\x18\0\x50\1", 4);
	ck_assert_uint_eq(resizes, 1);
	ck_assert_uint_eq(rows, 24);
	ck_assert_uint_eq(columns, 0x150);
	send_frame(FRAME_RESIZE, "\x18\0\x50", 3); /* of a length that it has not */
	send_frame(FRAME_RESIZE, "\x18\0\x50\0\0", 5);
	ck_assert_uint_eq(resizes, 1);
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
	room = 0;
	viewer_resume_input(viewer);
	send_frame(FRAME_INPUT, "one", 3);
	send_frame(FRAME_INPUT, "two", 3);
	ck_assert_uint_eq(typed_len, 0);
	for (int i = 0; i < 6; i++) { /* and comes one by one */
		room = 1;
		viewer_resume_input(viewer);
		while (room > 0) {
			run();
			room = typed_len > (size_t)i ? 0 : 1;
		}
		ck_assert_uint_eq(typed_len, (size_t)i + 1);
	}
	ck_assert_uint_eq(typed_len, 6);
	ck_assert_mem_eq(typed, "onetwo", 6);
}
END_TEST

START_TEST(hang_up_is_seen_though_input_waits)
{
	room = 0;
	viewer_resume_input(viewer);
	send_frame(FRAME_INPUT, "yes", 3);
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

START_TEST(frames_may_come_in_any_pieces)
{
	unsigned char bytes[2 * FRAME_HEADER_LEN + 7 + 4];

	frame_encode_header(bytes, &(struct frame){ .type = FRAME_INPUT, .len = 7 });
	memset(bytes + FRAME_HEADER_LEN, 'x', 7);
	frame_encode_header(bytes + FRAME_HEADER_LEN + 7,
			    &(struct frame){ .type = FRAME_RESIZE, .len = FRAME_SIZE_LEN });
	frame_encode_size(bytes + sizeof(bytes) - FRAME_SIZE_LEN, 0xfffe, 3);
	for (size_t at = 0; at < sizeof(bytes); at += (size_t)_i) {
		const size_t left = sizeof(bytes) - at;
		const size_t n = left < (size_t)_i ? left : (size_t)_i;

		ck_assert_int_eq(write(peer, bytes + at, n), (ssize_t)n);
		run();
	}
	ck_assert_uint_eq(typed_len, 7);
	ck_assert_mem_eq(typed, "xxxxxxx", 7);
	ck_assert_uint_eq(resizes, 1);
	ck_assert_uint_eq(rows, 0xfffe);
	ck_assert_uint_eq(columns, 3);
}
END_TEST

START_TEST(length_beyond_all_bounds_ends_the_conversation)
{
	static const unsigned char bad[] = { 16, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0,
					     0,  0, 0, 0, 0,    0,    0,    'x',  'y' };

	ck_assert_int_eq(write(peer, bad, sizeof(bad)), (ssize_t)sizeof(bad));
	run();
	send_frame(FRAME_INPUT, "yes", 3);
	ck_assert_uint_eq(typed_len, 0);
	ck_assert_uint_eq(gone, 0);
	ck_assert(!viewer_may_type(viewer));
	ck_assert_uint_eq(deaf, 1);
}
END_TEST

START_TEST(who_may_not_type_is_not_heard_and_its_end_is_seen)
{
	int fds[2];

	viewer = viewer_free(viewer);
	(void)close(peer);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(make_viewer(&viewer, fds[0], 0, false), 0);
	peer = fds[1];
	for (int i = 0; i < 100; i++)
		send_frame(FRAME_INPUT, typed, sizeof(typed) - 1);
	ck_assert_uint_eq(typed_len, 0);
	ck_assert_uint_eq(gone, 0);
	(void)close(peer);
	peer = -1;
	run();
	ck_assert_uint_eq(gone, 1);
}
END_TEST

START_TEST(view_begins_where_it_is_told)
{
	char bytes[64];
	int fds[2];
	struct viewer *other = NULL;

	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "first", 5);
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "second", 6);
	for (uint64_t back = 0; back <= FRAME_HEADER_LEN + 6; back += FRAME_HEADER_LEN + 6) {
		viewer = viewer_free(viewer);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		ck_assert_int_eq(make_viewer(&viewer, fds[0], recording.size - back, true), 0);
		viewer_push(viewer, true);
		ck_assert_uint_eq((uint64_t)read(fds[1], bytes, sizeof(bytes)), back);
		(void)close(fds[1]);
	}
	ck_assert_uint_eq(gone, 2);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(make_viewer(&other, fds[0], recording.size + 1, true), -ERANGE);
	ck_assert_int_eq(read(fds[1], bytes, sizeof(bytes)), 0);
	(void)close(fds[1]);
}
END_TEST

/* Read all frames; return how many notes of its own there were, and check where the first one is.
 */
static unsigned read_notes(size_t outputs, size_t outputs_before)
{
	static char bytes[64 * (FRAME_HEADER_LEN + FRAME_BODY_MAX)];
	size_t len = 0, at = 0, seen = 0;
	unsigned notes = 0;
	struct frame frame;

	for (;;) {
		const ssize_t n = read(peer, bytes + len, sizeof(bytes) - len);

		if (n <= 0)
			break;
		len += (size_t)n;
		run();
	}
	while (at < len) {
		const int used = frame_decode(&frame, bytes + at, len - at);

		ck_assert_int_gt(used, 0);
		at += (size_t)used;
		if (frame.type == FRAME_NOTE) {
			ck_assert_uint_eq(seen, outputs_before);
			notes++;
		} else {
			seen++;
		}
	}
	ck_assert_uint_eq(seen, outputs);
	return notes;
}

START_TEST(note_stands_between_frames_though_the_reader_is_behind)
{
	static char big[FRAME_BODY_MAX];

	for (int i = 0; i < 20; i++)
		recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
	viewer_push(viewer, false); /* as much as fits: somewhere within a frame */
	viewer_note(viewer, "for you alone");
	viewer_note(viewer, "too much");
	for (int i = 0; i < 20; i++)
		recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, big, sizeof(big));
	viewer_push(viewer, true);
	ck_assert_uint_eq(read_notes(40, 20), 1);
	ck_assert_uint_eq(gone, 1);
}
END_TEST

START_TEST(note_comes_at_once_to_who_has_seen_all)
{
	recording_add(&recording, FRAME_OUTPUT, FRAME_STDOUT, "x", 1);
	viewer_push(viewer, false);
	viewer_note(viewer, "for you alone");
	viewer_push(viewer, false);
	ck_assert_uint_eq(read_notes(1, 1), 1);
	viewer_note(viewer, "and again");
	viewer_push(viewer, true);
	ck_assert_uint_eq(read_notes(0, 0), 1);
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
	tcase_add_loop_test(tcase, frames_may_come_in_any_pieces, 1, 44);
	tcase_add_test(tcase, length_beyond_all_bounds_ends_the_conversation);
	tcase_add_test(tcase, who_may_not_type_is_not_heard_and_its_end_is_seen);
	tcase_add_test(tcase, view_begins_where_it_is_told);
	tcase_add_test(tcase, note_stands_between_frames_though_the_reader_is_behind);
	tcase_add_test(tcase, note_comes_at_once_to_who_has_seen_all);
}

int main(void)
{
	return unit_main("viewer", add_tests);
}
