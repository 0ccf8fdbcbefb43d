/* SPDX-License-Identifier: MIT */
#include "client/outlet.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/screen.h"

#define PIECE_MAX 4096

void outlet_init(struct outlet *ret, int fd, bool is_foreign)
{
	memset(ret, 0, offsetof(struct outlet, buf));
	ret->fd = fd;
	ret->is_filtered = is_foreign && isatty(fd);
	ret->adds_returns = screen_adds_returns(fd);
}

int outlet_flush(struct outlet *outlet)
{
	size_t at = 0;

	while (outlet->error == 0 && at < outlet->len) {
		const ssize_t n = write(outlet->fd, outlet->buf + at, outlet->len - at);

		if (n < 0 && errno == EAGAIN) /* somebody made our stdout non-blocking */
			(void)poll(&(struct pollfd){ .fd = outlet->fd, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			outlet->error = -errno;
		else if (n > 0)
			at += (size_t)n;
	}
	outlet->len = 0;
	return outlet->error;
}

/* terraform's terminal has made CR LF of its newlines already; ours does so again. */
static size_t drop_returns(char *text, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++)
		if (text[i] != '\r' || i + 1 == len || text[i + 1] != '\n')
			text[used++] = text[i];
	return used;
}

void outlet_write(struct outlet *outlet, const char *data, size_t len)
{
	while (len > 0 && outlet->error == 0) {
		const size_t piece = len < PIECE_MAX ? len : PIECE_MAX;
		char *to;
		size_t n = piece;

		if (outlet->len + piece + FILTER_HELD_MAX > sizeof(outlet->buf))
			(void)outlet_flush(outlet);
		to = outlet->buf + outlet->len;
		if (outlet->is_filtered)
			n = filter_run(&outlet->filter, to, data, piece);
		else
			memcpy(to, data, piece);
		outlet->len += outlet->adds_returns ? drop_returns(to, n) : n;
		data += piece;
		len -= piece;
	}
}
