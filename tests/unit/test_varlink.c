/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/varlink.h"
#include "common/wire.h"
#include "tests/unit/unit.h"

/* One end that speaks varlink, and one that is a bare socket. */
struct pair {
	struct varlink *varlink;
	int peer;
};

static void open_pair(struct pair *pair)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(varlink_new(&pair->varlink, fds[0]), 0);
	pair->peer = fds[1];
}

static void close_pair(struct pair *pair)
{
	ck_assert_ptr_null(varlink_free(pair->varlink));
	if (pair->peer >= 0)
		(void)close(pair->peer);
}

static void put(const struct pair *pair, const char *bytes, size_t len)
{
	ck_assert_int_eq(write(pair->peer, bytes, len), (ssize_t)len);
}

/* Bytes and descriptors in one sendmsg(). */
static void put_fds(int peer, const char *bytes, size_t len, const int *fds, size_t count)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov;
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	iov.iov_len = len;
	memcpy(&iov.iov_base, &bytes, sizeof(bytes));
	header.msg_control = &control;
	header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, count * sizeof(int));
	ck_assert_int_eq(sendmsg(peer, &header, MSG_NOSIGNAL), (ssize_t)len);
}

static int read_all(struct varlink *varlink)
{
	int r;

	do
		r = varlink_read(varlink);
	while (r > 0);
	return r;
}

static void expect(struct varlink *varlink, const char *text)
{
	json_t *wanted = json_loads(text, 0, NULL), *message = NULL;

	ck_assert_ptr_nonnull(wanted);
	ck_assert_int_eq(varlink_next(varlink, &message), 1);
	ck_assert_msg(json_equal(message, wanted), "not %s", text);
	json_decref(message);
	json_decref(wanted);
}

static void expect_none(struct varlink *varlink)
{
	json_t *message = NULL;

	ck_assert_int_eq(varlink_next(varlink, &message), 0);
	ck_assert_ptr_null(message);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_ino;
}

/* The next descriptor of the last message is the file of inode @inode. */
static void expect_fd(struct varlink *varlink, ino_t inode)
{
	const int fd = varlink_take_fd(varlink);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(inode_of(fd), inode);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	(void)close(fd);
}

static int open_file(ino_t *ret)
{
	const int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	*ret = inode_of(fd);
	return fd;
}

/* How many descriptors are open: none may leak. */
static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static const char two[] =
	"{\"method\":\"a\"}\0{\"method\":\"\\u00e9\",\"parameters\":{\"x\":[1,2]}}";

START_TEST(message_is_read_whatever_its_pieces)
{
	struct pair pair;
	json_t *message = NULL;
	unsigned messages = 0;

	/* Cut in three, at every two places. */
	for (size_t second = (size_t)_i; second <= sizeof(two); second++) {
		const size_t cuts[] = { 0, (size_t)_i, second, sizeof(two) };

		open_pair(&pair);
		messages = 0;
		for (size_t i = 0; i < 3; i++) {
			put(&pair, two + cuts[i], cuts[i + 1] - cuts[i]);
			ck_assert_int_eq(read_all(pair.varlink), 0);
			while (varlink_next(pair.varlink, &message) == 1) {
				const char *method =
					json_string_value(json_object_get(message, "method"));

				ck_assert_str_eq(method, messages++ == 0 ? "a" : "\xc3\xa9");
				json_decref(message);
			}
		}
		ck_assert_uint_eq(messages, 2);
		close_pair(&pair);
	}
}
END_TEST

START_TEST(many_messages_come_out_of_one_read)
{
	struct pair pair;

	open_pair(&pair);
	for (int i = 0; i < 100; i++)
		put(&pair, "{\"n\":1}", 8);
	ck_assert_int_eq(varlink_read(pair.varlink), 1);
	for (int i = 0; i < 100; i++)
		expect(pair.varlink, "{\"n\":1}");
	expect_none(pair.varlink);
	ck_assert_int_eq(varlink_read(pair.varlink), 0);
	close_pair(&pair);
}
END_TEST

START_TEST(descriptors_go_with_their_message)
{
	const int before = count_fds();
	struct pair pair;
	ino_t inodes[6];
	int fds[6];

	open_pair(&pair);
	for (int i = 0; i < 6; i++)
		fds[i] = open_file(&inodes[i]);

	/* Two messages with descriptors back to back, plain ones around and between them. */
	if (_i & 1)
		put(&pair, "{\"n\":1}", 8);
	put_fds(pair.peer, "{\"n\":2}", 8, fds, 2);
	if (_i & 2)
		put(&pair, "{\"n\":3}", 8);
	put_fds(pair.peer, "{\"n\":4}", 8, fds + 2, 4);
	if (_i & 4)
		put(&pair, "{\"n\":5}", 8);
	for (int i = 0; i < 6; i++)
		(void)close(fds[i]);
	ck_assert_int_eq(read_all(pair.varlink), 0);

	if (_i & 1) {
		expect(pair.varlink, "{\"n\":1}");
		ck_assert_int_eq(varlink_take_fd(pair.varlink), -ENOENT);
	}
	expect(pair.varlink, "{\"n\":2}");
	expect_fd(pair.varlink, inodes[0]);
	expect_fd(pair.varlink, inodes[1]);
	ck_assert_int_eq(varlink_take_fd(pair.varlink), -ENOENT);
	if (_i & 2) {
		expect(pair.varlink, "{\"n\":3}");
		ck_assert_int_eq(varlink_take_fd(pair.varlink), -ENOENT);
	}
	expect(pair.varlink, "{\"n\":4}");
	for (int i = 2; i < 6; i++)
		expect_fd(pair.varlink, inodes[i]);
	ck_assert_int_eq(varlink_take_fd(pair.varlink), -ENOENT);
	if (_i & 4) {
		expect(pair.varlink, "{\"n\":5}");
		ck_assert_int_eq(varlink_take_fd(pair.varlink), -ENOENT);
	}
	expect_none(pair.varlink);
	close_pair(&pair);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(descriptors_wait_for_the_rest_of_their_message)
{
	static const char message[] = "{\"method\":\"x\"}";
	struct pair pair;
	ino_t inode;
	const int fd = open_file(&inode);

	open_pair(&pair);
	put(&pair, "{\"n\":1", 6); /* its end comes with what follows */
	ck_assert_int_eq(read_all(pair.varlink), 0);
	put(&pair, "}", 2);
	put_fds(pair.peer, message, (size_t)_i, &fd, 1);
	ck_assert_int_eq(read_all(pair.varlink), 0);
	expect(pair.varlink, "{\"n\":1}");
	ck_assert_int_eq(varlink_take_fd(pair.varlink), -ENOENT);
	put(&pair, message + _i, sizeof(message) - (size_t)_i);
	ck_assert_int_eq(read_all(pair.varlink), 0);
	expect(pair.varlink, message);
	expect_fd(pair.varlink, inode);
	(void)close(fd);
	close_pair(&pair);
}
END_TEST

START_TEST(descriptors_that_nobody_takes_are_closed)
{
	const int before = count_fds();
	struct pair pair;
	ino_t inode;
	const int fd = open_file(&inode);

	open_pair(&pair);
	for (int i = 0; i < 3; i++) {
		put_fds(pair.peer, "{\"n\":1}", 8, &fd, 1);
		ck_assert_int_eq(read_all(pair.varlink), 0);
		if (i < 2)
			expect(pair.varlink, "{\"n\":1}");
	}
	(void)close(fd);
	close_pair(&pair);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(too_many_descriptors_break_the_connection)
{
	const int before = count_fds();
	struct pair pair;
	ino_t inode;
	const int fd = open_file(&inode);
	int fds[WIRE_FDS_MAX + 1], r = 0;

	open_pair(&pair);
	for (int i = 0; i <= WIRE_FDS_MAX; i++)
		fds[i] = fd;
	if (_i == 0) { /* with one message */
		put_fds(pair.peer, "{\"n\":1}", 8, fds, WIRE_FDS_MAX + 1);
		r = read_all(pair.varlink);
	} else { /* with a message that does not end */
		for (int i = 0; i < 64 && r == 0; i++) {
			put_fds(pair.peer, " ", 1, fds, 1);
			r = read_all(pair.varlink);
		}
	}
	ck_assert_int_eq(r, -EMSGSIZE);
	(void)close(fd);
	close_pair(&pair);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(oversized_message_is_refused)
{
	static char bytes[65536];
	struct pair pair;
	size_t sent = 0;
	json_t *message = NULL;
	int r = 0;

	memset(bytes, ' ', sizeof(bytes));
	open_pair(&pair);
	while (r == 0 && sent < WIRE_MESSAGE_MAX + 2 * sizeof(bytes)) {
		put(&pair, bytes, sizeof(bytes));
		sent += sizeof(bytes);
		ck_assert_int_eq(read_all(pair.varlink), 0);
		r = varlink_next(pair.varlink, &message);
	}
	ck_assert_int_eq(r, -EMSGSIZE);
	ck_assert_uint_eq(sent, WIRE_MESSAGE_MAX + sizeof(bytes));
	ck_assert_ptr_null(message);
	close_pair(&pair);
}
END_TEST

/* An object whose compact form is @len bytes long. */
static json_t *object_of(size_t len)
{
	char *text = malloc(len + 1);
	json_t *object;

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', len);
	text[len - sizeof("{\"a\":\"\"}") + 1] = '\0';
	object = json_pack("{s:s}", "a", text);
	ck_assert_ptr_nonnull(object);
	ck_assert_uint_eq(json_dumpb(object, NULL, 0, JSON_COMPACT), len);
	free(text);
	return object;
}

START_TEST(largest_message_goes_through)
{
	struct varlink *ends[2];
	json_t *message = object_of(WIRE_MESSAGE_MAX), *read = NULL;
	int fds[2], r;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(varlink_new(&ends[0], fds[0]), 0);
	ck_assert_int_eq(varlink_new(&ends[1], fds[1]), 0);
	ck_assert_int_eq(varlink_send(ends[0], message, NULL, 0), 0);
	ck_assert_uint_eq(varlink_events(ends[0]), EPOLLIN | EPOLLOUT);
	do {
		ck_assert_int_ge(varlink_flush(ends[0]), 0);
		ck_assert_int_ge(read_all(ends[1]), 0);
		r = varlink_next(ends[1], &read);
	} while (r == 0);
	ck_assert_int_eq(r, 1);
	ck_assert(json_equal(message, read));
	ck_assert_int_eq(varlink_flush(ends[0]), 1);
	ck_assert_uint_eq(varlink_events(ends[0]), EPOLLIN);
	json_decref(message);
	json_decref(read);

	message = object_of(WIRE_MESSAGE_MAX + 1);
	ck_assert_int_eq(varlink_send(ends[0], message, NULL, 0), -EMSGSIZE);
	ck_assert_uint_eq(varlink_events(ends[0]), EPOLLIN);
	json_decref(message);
	varlink_free(ends[0]);
	varlink_free(ends[1]);
}
END_TEST

START_TEST(peer_that_does_not_read_is_told_from_one_that_is_slow)
{
	struct pair pair;
	json_t *message = object_of(100000);
	const int before = count_fds();
	unsigned count = 0;
	ino_t inode;
	const int fd = open_file(&inode);
	int r;

	open_pair(&pair);
	while ((r = varlink_send(pair.varlink, message, &fd, 1)) == 0)
		count++;
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_uint_ge(count, WIRE_BACKLOG_MAX / 100001);
	ck_assert_uint_le(count, WIRE_BACKLOG_MAX / 100001 + 16); /* what the kernel takes */
	json_decref(message);
	(void)close(fd);
	close_pair(&pair);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(messages_arrive_in_order_with_their_descriptors)
{
	struct varlink *ends[2];
	int fds[2], received = 0;
	ino_t inodes[40];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(varlink_new(&ends[0], fds[0]), 0);
	ck_assert_int_eq(varlink_new(&ends[1], fds[1]), 0);
	for (int i = 0; i < 40; i++) {
		json_t *big = object_of(30000);
		const int fd = open_file(&inodes[i]);

		ck_assert_int_eq(json_object_set_new(big, "n", json_integer(i)), 0);
		ck_assert_int_eq(varlink_send(ends[0], big, &fd, i % 3 != 0), 0);
		(void)close(fd); /* it was duplicated */
		json_decref(big);
	}
	while (received < 40) {
		json_t *message = NULL;

		ck_assert_int_ge(varlink_flush(ends[0]), 0);
		ck_assert_int_ge(varlink_read(ends[1]), 0);
		while (varlink_next(ends[1], &message) == 1) {
			ck_assert_int_eq(json_integer_value(json_object_get(message, "n")),
					 received);
			if (received % 3 != 0)
				expect_fd(ends[1], inodes[received]);
			ck_assert_int_eq(varlink_take_fd(ends[1]), -ENOENT);
			received++;
			json_decref(message);
		}
	}
	varlink_free(ends[0]);
	varlink_free(ends[1]);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
} garbage[] = {
#define GARBAGE(text)                \
	{                            \
		(text), sizeof(text) \
	}
	GARBAGE(""), /* a NUL alone: also one embedded in a message's middle */
	GARBAGE("{\"a\":\"b\0c\"}"),
	GARBAGE("x"),
	GARBAGE("GET / HTTP/1.1\r\n\r\n"),
	GARBAGE("[]"),
	GARBAGE("\"text\""),
	GARBAGE("1"),
	GARBAGE("null"),
	GARBAGE("{\"a\":1}x"),
	GARBAGE("{\"a\":1}{\"b\":1}"),
	GARBAGE("{\"a\":1,\"a\":2}"),
	GARBAGE("{\"a\":\"\xff\"}"),
	GARBAGE("{\"a\":\"\\u0000\"}"),
	GARBAGE("{\"a\":1"),
};
#define GARBAGE_COUNT ((int)(sizeof(garbage) / sizeof(garbage[0])))

START_TEST(what_is_no_object_is_refused)
{
	struct pair pair;
	json_t *message = NULL;

	open_pair(&pair);
	put(&pair, garbage[_i].bytes, garbage[_i].len);
	ck_assert_int_eq(read_all(pair.varlink), 0);
	ck_assert_int_eq(varlink_next(pair.varlink, &message), -EBADMSG);
	ck_assert_ptr_null(message);
	close_pair(&pair);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	struct pair pair;
	json_t *message = NULL;
	char *bytes = malloc(100000);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, '[', 100000);
	memcpy(bytes, "{\"a\":", 5);
	bytes[99999] = '\0';
	open_pair(&pair);
	put(&pair, bytes, 100000);
	ck_assert_int_eq(read_all(pair.varlink), 0);
	ck_assert_int_eq(varlink_next(pair.varlink, &message), -EBADMSG);
	free(bytes);
	close_pair(&pair);
}
END_TEST

START_TEST(peer_that_closes_is_seen_after_its_last_words)
{
	struct pair pair;

	open_pair(&pair);
	put(&pair, "{\"n\":1}\0{\"n\"", 12);
	(void)close(pair.peer);
	pair.peer = -1;
	ck_assert_int_eq(read_all(pair.varlink), -EPIPE);
	expect(pair.varlink, "{\"n\":1}");
	expect_none(pair.varlink);
	ck_assert_int_eq(varlink_read(pair.varlink), -EPIPE);
	close_pair(&pair);
}
END_TEST

START_TEST(sending_to_a_closed_peer_fails_without_a_signal)
{
	struct pair pair;
	json_t *message = json_pack("{s:i}", "n", 1);

	open_pair(&pair);
	(void)close(pair.peer);
	pair.peer = -1;
	ck_assert_int_eq(varlink_send(pair.varlink, message, NULL, 0), -EPIPE);
	json_decref(message);
	close_pair(&pair);
}
END_TEST

START_TEST(no_message_is_out_of_memory)
{
	struct pair pair;

	open_pair(&pair);
	ck_assert_int_eq(varlink_send(pair.varlink, NULL, NULL, 0), -ENOMEM);
	close_pair(&pair);
}
END_TEST

static void expect_text(json_t *message, const char *text)
{
	char *dumped = json_dumps(message, JSON_COMPACT);

	ck_assert_str_eq(dumped, text);
	free(dumped);
	json_decref(message);
}

START_TEST(messages_have_varlinks_form)
{
	expect_text(varlink_call("a.B", json_pack("{s:i}", "x", 1)),
		    "{\"method\":\"a.B\",\"parameters\":{\"x\":1}}");
	expect_text(varlink_reply(json_object(), false), "{\"parameters\":{}}");
	expect_text(varlink_reply(json_object(), true), "{\"continues\":true,\"parameters\":{}}");
	expect_text(varlink_error("a.E", "why"),
		    "{\"error\":\"a.E\",\"parameters\":{\"message\":\"why\"}}");
	ck_assert_ptr_null(varlink_call("a.B", NULL));
	ck_assert_ptr_null(varlink_reply(NULL, true));
}
END_TEST

START_TEST(connecting_tells_why_it_fails)
{
	struct varlink *varlink = NULL;
	char path[200];

	ck_assert_int_eq(varlink_connect(&varlink, "/nowhere/tfqd.sock"), -ENOENT);
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(varlink_connect(&varlink, path), -ENAMETOOLONG);
	ck_assert_int_eq(varlink_new(&varlink, 999), -EBADF);
	ck_assert_ptr_null(varlink);
	ck_assert_ptr_null(varlink_free(NULL));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, message_is_read_whatever_its_pieces, 0, (int)sizeof(two) + 1);
	tcase_add_test(tcase, many_messages_come_out_of_one_read);
	tcase_add_loop_test(tcase, descriptors_go_with_their_message, 0, 8);
	tcase_add_loop_test(tcase, descriptors_wait_for_the_rest_of_their_message, 1,
			    (int)sizeof("{\"method\":\"x\"}"));
	tcase_add_test(tcase, descriptors_that_nobody_takes_are_closed);
	tcase_add_loop_test(tcase, too_many_descriptors_break_the_connection, 0, 2);
	tcase_add_test(tcase, oversized_message_is_refused);
	tcase_add_test(tcase, largest_message_goes_through);
	tcase_add_test(tcase, peer_that_does_not_read_is_told_from_one_that_is_slow);
	tcase_add_test(tcase, messages_arrive_in_order_with_their_descriptors);
	tcase_add_loop_test(tcase, what_is_no_object_is_refused, 0, GARBAGE_COUNT);
	tcase_add_test(tcase, deep_nesting_is_refused);
	tcase_add_test(tcase, peer_that_closes_is_seen_after_its_last_words);
	tcase_add_test(tcase, sending_to_a_closed_peer_fails_without_a_signal);
	tcase_add_test(tcase, no_message_is_out_of_memory);
	tcase_add_test(tcase, messages_have_varlinks_form);
	tcase_add_test(tcase, connecting_tells_why_it_fails);
}

int main(void)
{
	return unit_main("varlink", add_tests);
}
