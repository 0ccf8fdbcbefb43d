/* SPDX-License-Identifier: MIT */
/* Bytes of a socket to messages: cut anywhere, they are the same ones; sent again, too. */
#include <errno.h>
#include <sys/socket.h>

#include "common/varlink.h"
#include "common/wire.h"
#include "tests/fuzz/fuzz.h"

#define SOCKET_ROOM 65536 /* bytes that surely fit into a socket at once */

static struct varlink *make_pair(int *ret_peer)
{
	struct varlink *varlink = NULL;
	int fds[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	FUZZ_CHECK(varlink_new(&varlink, fds[0]) == 0);
	*ret_peer = fds[1];
	return varlink;
}

/* What has come goes into @messages. Return: 0, or the error that ends it all. */
static int take_all(struct varlink *varlink, json_t *messages)
{
	json_t *message = NULL;
	int r;

	while ((r = varlink_next(varlink, &message)) > 0) {
		FUZZ_CHECK(json_is_object(message));
		(void)json_array_append_new(messages, TAKE_PTR(message));
	}
	FUZZ_CHECK(r == 0 || r == -EMSGSIZE || r == -EBADMSG);
	return r;
}

/* @step bytes at a time. */
static json_t *read_by(const uint8_t *data, size_t size, size_t step, int *ret_error)
{
	json_t *messages = json_array();
	AUTO_CLOSE int peer = -1;
	CLEANUP(varlink_freep) struct varlink *varlink = make_pair(&peer);
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += step) {
		const size_t len = size - at < step ? size - at : step;

		FUZZ_CHECK(write(peer, data + at, len) == (ssize_t)len);
		while (r == 0 && varlink_read(varlink) > 0)
			r = take_all(varlink, messages);
	}
	*ret_error = r;
	return messages;
}

static void send_again(const json_t *messages)
{
	AUTO_CLOSE int fd = -1;
	CLEANUP(varlink_freep) struct varlink *from = make_pair(&fd);
	CLEANUP(varlink_freep) struct varlink *to = NULL;

	FUZZ_CHECK(varlink_new(&to, TAKE_FD(fd)) == 0);
	for (size_t i = 0; i < json_array_size(messages); i++) {
		json_t *got = NULL;
		int r;

		FUZZ_CHECK(varlink_send(from, json_array_get(messages, i), NULL, 0) == 0);
		while ((r = varlink_next(to, &got)) == 0) {
			FUZZ_CHECK(varlink_flush(from) >= 0);
			FUZZ_CHECK(varlink_read(to) > 0);
		}
		FUZZ_CHECK(r == 1 && json_equal(got, json_array_get(messages, i)));
		json_decref(got);
	}
}

/* The first byte: how many come at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const size_t step = fuzz_byte(&input) + 1;
	json_t *whole, *cut;
	int r, r_cut;

	if (size > SOCKET_ROOM / 4)
		return 0;
	whole = read_by(input.at, input.left, SOCKET_ROOM, &r);
	cut = read_by(input.at, input.left, step, &r_cut);
	FUZZ_CHECK(r == r_cut);
	FUZZ_CHECK(json_equal(whole, cut));
	send_again(whole);
	json_decref(whole);
	json_decref(cut);
	return 0;
}
