/* SPDX-License-Identifier: MIT */
/* The listener and the peers that come from it, over a real socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/wire.h"
#include "daemon/listener.h"
#include "daemon/peer.h"
#include "tests/unit/unit.h"

static sd_event *event;
static struct listener *listener;
static int listening;
static struct sockaddr_un at;
static socklen_t at_len;

static struct peer *peers[64];
static size_t accepted, closed, messages;
static int close_error;
static bool answers, hangs_up;

static void on_message(struct peer *peer, json_t *message)
{
	messages++;
	ck_assert(json_is_object(message));
	if (answers)
		ck_assert_int_eq(peer_send(peer, json_incref(message), NULL, 0), 0);
	if (hangs_up)
		peer_close(peer);
}

static void on_closed(struct peer *peer, int error)
{
	closed++;
	close_error = error;
	for (size_t i = 0; i < accepted; i++)
		if (peers[i] == peer)
			peers[i] = NULL;
	ck_assert_ptr_null(peer_free(peer));
}

static const struct peer_callbacks callbacks = { on_message, on_closed };

static int on_accept(int fd, void *userdata)
{
	const int r = peer_new(&peers[accepted], event, fd, &callbacks, userdata);

	ck_assert_int_eq(r, 0);
	accepted++;
	return r;
}

static void setup(void)
{
	accepted = closed = messages = 0;
	answers = hangs_up = false;
	memset(peers, 0, sizeof(peers));
	at = (struct sockaddr_un){ .sun_family = AF_UNIX }; /* a name that the kernel picks */
	at_len = sizeof(at);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(listening, 0);
	ck_assert_int_eq(bind(listening, (const struct sockaddr *)&at, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(listening, 128), 0);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &at_len), 0);
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(listener_new(&listener, event, listening, on_accept, &accepted), 0);
}

static void teardown(void)
{
	ck_assert_ptr_null(listener_free(listener));
	for (size_t i = 0; i < accepted; i++)
		peer_free(peers[i]);
	(void)close(listening);
	sd_event_unref(event);
}

static int dial(void)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&at, at_len), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void run(void)
{
	unsigned turns = 0;

	while (sd_event_run(event, 0) > 0)
		ck_assert_uint_lt(turns++, 10000);
}

static void put(int fd, const char *bytes, size_t len)
{
	ck_assert_int_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void expect(int fd, const char *part)
{
	char bytes[4096];
	const ssize_t n = read(fd, bytes, sizeof(bytes) - 1);

	ck_assert_int_gt(n, 0);
	bytes[n] = '\0';
	ck_assert_msg(strstr(bytes, part) != NULL, "%s", bytes);
}

static void expect_end(int fd)
{
	char byte;

	ck_assert_int_eq(read(fd, &byte, 1), 0);
	(void)close(fd);
}

START_TEST(peer_is_who_the_kernel_says)
{
	const int fd = dial();
	gid_t groups[1024];
	int count;

	run();
	ck_assert_uint_eq(accepted, 1);
	ck_assert_int_eq(peers[0]->owner.pid, getpid());
	ck_assert_uint_eq(peers[0]->owner.uid, geteuid());
	ck_assert_uint_eq(peers[0]->owner.gid, getegid());
	ck_assert_ptr_null(peers[0]->owner.name); /* the owner's to look up */
	ck_assert_ptr_eq(peers[0]->userdata, &accepted);
	count = getgroups(1024, groups);
	ck_assert_uint_eq(peers[0]->owner.group_count, (size_t)count);
	for (int i = 0; i < count; i++)
		ck_assert_uint_eq(peers[0]->owner.groups[i], groups[i]);
	(void)close(fd);
	run();
	ck_assert_uint_eq(closed, 1);
	ck_assert_int_eq(close_error, -EPIPE);
}
END_TEST

START_TEST(many_connect_at_once)
{
	int fds[64];

	for (size_t i = 0; i < 64; i++)
		fds[i] = dial();
	run();
	ck_assert_uint_eq(accepted, 64);
	for (size_t i = 0; i < 64; i++)
		(void)close(fds[i]);
	run();
	ck_assert_uint_eq(closed, 64);
}
END_TEST

START_TEST(messages_are_answered)
{
	const int fd = dial();

	answers = true;
	put(fd, "{\"n\":1}\0{\"n\":2}\0{\"n\"", 20);
	run();
	ck_assert_uint_eq(messages, 2);
	expect(fd, "{\"n\":1}");
	put(fd, ":3}", 4);
	run();
	ck_assert_uint_eq(messages, 3);
	expect(fd, "{\"n\":3}");
	(void)close(fd);
}
END_TEST

START_TEST(last_words_are_heard_before_the_hang_up)
{
	const int fd = dial();

	put(fd, "{\"n\":1}", 8);
	(void)close(fd);
	run();
	ck_assert_uint_eq(messages, 1);
	ck_assert_uint_eq(closed, 1);
}
END_TEST

START_TEST(nonsense_is_answered_and_dropped)
{
	const int fd = dial();

	put(fd, "GET / HTTP/1.1\r\n\r\n", 19);
	run();
	ck_assert_uint_eq(messages, 0);
	ck_assert_uint_eq(closed, 1);
	expect(fd, WIRE_E_BAD_REQUEST);
	expect_end(fd);
}
END_TEST

START_TEST(too_large_a_message_is_answered_and_dropped)
{
	static char bytes[65536];
	const int fd = dial();

	memset(bytes, ' ', sizeof(bytes));
	for (size_t sent = 0; closed == 0;) {
		const ssize_t n = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		ck_assert_uint_le(sent, WIRE_MESSAGE_MAX + 4 * sizeof(bytes));
		run();
	}
	ck_assert_uint_eq(messages, 0);
	expect(fd, WIRE_E_BAD_REQUEST);
	(void)close(fd);
}
END_TEST

START_TEST(nothing_is_read_after_a_close)
{
	const int fd = dial();

	answers = hangs_up = true;
	put(fd, "{\"n\":1}\0{\"n\":2}", 16);
	run();
	ck_assert_uint_eq(messages, 1);
	ck_assert_uint_eq(closed, 1);
	ck_assert_int_eq(close_error, 0);
	expect(fd, "{\"n\":1}");
	(void)close(fd);
}
END_TEST

START_TEST(peer_that_does_not_read_is_dropped)
{
	const int fd = dial();
	int r = 0;

	run();
	for (int i = 0; i < 200 && r == 0; i++) {
		char text[65536];

		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		r = peer_send(peers[0], json_pack("{s:s}", "a", text), NULL, 0);
	}
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_uint_eq(closed, 0); /* from the loop, not from within */
	ck_assert_int_eq(peer_send(peers[0], json_object(), NULL, 0), -EPIPE);
	run();
	ck_assert_uint_eq(closed, 1);
	(void)close(fd);
}
END_TEST

START_TEST(slow_peer_gets_everything)
{
	const int fd = dial();
	size_t got = 0;
	static char text[500001], bytes[65536];

	memset(text, 'x', sizeof(text) - 1);
	run();
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(peer_send(peers[0], json_pack("{s:s}", "a", text), NULL, 0), 0);
	while (got < 4 * (sizeof(text) - 1 + sizeof("{\"a\":\"\"}"))) {
		const ssize_t n = read(fd, bytes, sizeof(bytes));

		ck_assert_int_gt(n, 0);
		got += (size_t)n;
		run();
	}
	ck_assert_uint_eq(closed, 0);
	(void)close(fd);
}
END_TEST

START_TEST(muted_peer_hears_nothing)
{
	const int fd = dial();
	char byte;

	run();
	peers[0]->is_muted = true;
	ck_assert_int_eq(peer_send(peers[0], json_object(), NULL, 0), 0);
	peer_send_error(peers[0], WIRE_E_INTERNAL, "%d", 1);
	run();
	ck_assert_int_eq(read(fd, &byte, 1), -1);
	(void)close(fd);
}
END_TEST

/* --- one user's connections beside another's ------------------------------------------------- */

static struct peer_user few, many;

/* Two connections that are there, of different users. */
static void dial_two(int fds[2])
{
	few = many = (struct peer_user){ 0 };
	fds[0] = dial();
	fds[1] = dial();
	run();
	ck_assert_uint_eq(accepted, 2);
	peer_count(peers[0], &many);
	peer_count(peers[1], &few);
}

START_TEST(who_says_much_at_a_time_has_others_in_between)
{
	char text[300];
	int fds[2];
	unsigned turns = 0;

	dial_two(fds);
	for (size_t i = 0; i < 100; i++)
		memcpy(text + 3 * i, "{}", 3);
	put(fds[0], text, sizeof(text));
	put(fds[1], "{\"n\":1}", 8);
	answers = true;
	while (sd_event_run(event, 0) > 0 && recv(fds[1], text, sizeof(text), 0) < 0)
		ck_assert_uint_lt(turns++, 100);
	ck_assert_msg(messages < 50, "%zu messages before the other's", messages);
	run();
	ck_assert_uint_eq(messages, 101);
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

START_TEST(who_keeps_us_busy_comes_last)
{
	int fds[2];

	dial_two(fds);
	many.busy_usec = 1000000;
	many.busy_at_usec = clock_usec(CLOCK_MONOTONIC);
	put(fds[0], "{}", 3);
	run();
	answers = true;
	put(fds[0], "{}", 3);
	put(fds[1], "{}", 3);
	ck_assert_int_gt(sd_event_run(event, 0), 0);
	expect(fds[1], "{}");
	ck_assert_int_lt(recv(fds[0], &(char){ 0 }, 1, MSG_PEEK), 0);
	run();
	expect(fds[0], "{}");
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

START_TEST(what_a_user_holds_up_is_counted_and_limited)
{
	int fds[2];

	dial_two(fds);
	put(fds[0], "{", 1);
	run();
	ck_assert_uint_gt(many.bytes, 0);
	ck_assert_uint_eq(few.bytes, 0);
	many.bytes += PEER_USER_BYTES_MAX; /* on others */
	put(fds[0], "\"", 1);
	run();
	expect(fds[0], WIRE_E_FULL);
	expect_end(fds[0]);
	ck_assert_uint_eq(many.bytes, PEER_USER_BYTES_MAX);
	ck_assert_uint_eq(many.count, 0);
	put(fds[1], "{}", 3);
	run();
	ck_assert_uint_eq(messages, 1);
	(void)close(fds[1]);
	run();
	ck_assert_uint_eq(few.count, 0);
}
END_TEST

START_TEST(the_log_does_not_tell_everything)
{
	struct peer_user user = { 0 };
	unsigned told = 0;

	for (unsigned i = 0; i < 1000; i++)
		told += peer_user_may_be_told(&user);
	ck_assert_uint_eq(told, 10);
	ck_assert(peer_user_may_be_told(NULL));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 30);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, peer_is_who_the_kernel_says);
	tcase_add_test(tcase, many_connect_at_once);
	tcase_add_test(tcase, messages_are_answered);
	tcase_add_test(tcase, who_says_much_at_a_time_has_others_in_between);
	tcase_add_test(tcase, who_keeps_us_busy_comes_last);
	tcase_add_test(tcase, what_a_user_holds_up_is_counted_and_limited);
	tcase_add_test(tcase, the_log_does_not_tell_everything);
	tcase_add_test(tcase, last_words_are_heard_before_the_hang_up);
	tcase_add_test(tcase, nonsense_is_answered_and_dropped);
	tcase_add_test(tcase, too_large_a_message_is_answered_and_dropped);
	tcase_add_test(tcase, nothing_is_read_after_a_close);
	tcase_add_test(tcase, peer_that_does_not_read_is_dropped);
	tcase_add_test(tcase, slow_peer_gets_everything);
	tcase_add_test(tcase, muted_peer_hears_nothing);
}

int main(void)
{
	return unit_main("peer", add_tests);
}
