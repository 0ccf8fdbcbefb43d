/* SPDX-License-Identifier: MIT */
/*
 * A descriptor belongs to the message whose bytes it came with: a sender gives it with
 * the first byte, and has each message in a sendmsg() of its own. The kernel ends a
 * recvmsg() behind the data that carried descriptors, but puts data without any before it
 * (unix_stream_read_generic()). So the last byte that came together with a descriptor
 * tells the message: fds[].at, counted from the start of the input buffer.
 */
#include "common/varlink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/wire.h"

#define READ_CHUNK  ((size_t)4096) /* bytes by which the input buffer grows at least */
#define GUESS_MIN   ((size_t)1024) /* bytes of a message: what most have */
#define FDS_PENDING 8              /* descriptors that may wait for their message to be read */

/* A message that waits to be written; descriptors go with its first byte. */
struct outgoing {
	struct outgoing *next;
	size_t len, done, fd_count;
	int fds[WIRE_FDS_MAX];
	char bytes[];
};

struct varlink {
	int fd;

	char *in;
	size_t in_size;
	size_t in_start, in_len; /* what was read and not given out yet: from there, so much */
	size_t scanned;          /* bytes of that which are known to hold no NUL */
	struct {
		int fd;
		size_t at;
	} fds[FDS_PENDING];
	size_t fd_count;
	int taken[WIRE_FDS_MAX]; /* of the message given out last */
	size_t taken_count, taken_next;

	struct outgoing *out, **out_last;
	size_t out_bytes;
	size_t guess; /* bytes that the next message to be sent may have */
};

static struct outgoing *outgoing_free(struct outgoing *out)
{
	if (!out)
		return NULL;
	for (size_t i = 0; i < out->fd_count; i++)
		(void)close(out->fds[i]);
	explicit_bzero(out->bytes, out->len); /* environments and credentials pass through here */
	free(out);
	return NULL;
}
DEFINE_FREEP(outgoing);

int varlink_new(struct varlink **ret, int fd)
{
	AUTO_CLOSE int owned = fd;
	struct varlink *varlink;
	int flags;

	assert(ret);

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;

	varlink = calloc(1, sizeof(*varlink));
	if (!varlink)
		return -ENOMEM;
	varlink->fd = TAKE_FD(owned);
	varlink->out_last = &varlink->out;
	varlink->guess = GUESS_MIN;
	*ret = varlink;
	return 0;
}

int varlink_connect(struct varlink **ret, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_CLOSE int fd = -1;
	const size_t len = strlen(path);

	if (len >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, len + 1);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return varlink_new(ret, TAKE_FD(fd));
}

void varlink_close_foreign(int fd)
{
	static const struct linger at_once = { .l_onoff = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	(void)close(fd);
}

static void drop_taken(struct varlink *varlink)
{
	for (size_t i = varlink->taken_next; i < varlink->taken_count; i++)
		varlink_close_foreign(varlink->taken[i]);
	varlink->taken_count = varlink->taken_next = 0;
}

struct varlink *varlink_free(struct varlink *varlink)
{
	if (!varlink)
		return NULL;

	drop_taken(varlink);
	for (size_t i = 0; i < varlink->fd_count; i++)
		varlink_close_foreign(varlink->fds[i].fd);
	while (varlink->out) {
		struct outgoing *next = varlink->out->next;

		outgoing_free(varlink->out);
		varlink->out = next;
	}
	if (varlink->in)
		explicit_bzero(varlink->in, varlink->in_size);
	free(varlink->in);
	(void)close(varlink->fd);
	free(varlink);
	return NULL;
}

size_t varlink_memory(const struct varlink *varlink)
{
	return varlink->in_size + varlink->out_bytes;
}

int varlink_fd(const struct varlink *varlink)
{
	return varlink->fd;
}

uint32_t varlink_events(const struct varlink *varlink)
{
	return EPOLLIN | (varlink->out ? EPOLLOUT : 0);
}

static char *unread(const struct varlink *varlink)
{
	return varlink->in + varlink->in_start;
}

/* Once per filled buffer, and not once per message: a buffer may hold very many of them. */
static void move_to_front(struct varlink *varlink)
{
	if (varlink->in_start == 0)
		return;
	memmove(varlink->in, unread(varlink), varlink->in_len);
	explicit_bzero(varlink->in + varlink->in_len, varlink->in_start);
	varlink->in_start = 0;
}

/* realloc() would leave a copy of secrets behind. */
static int grow(struct varlink *varlink)
{
	size_t size = varlink->in_size * 2;
	char *in;

	if (varlink->in_size - varlink->in_start - varlink->in_len >= READ_CHUNK)
		return 0;
	move_to_front(varlink);
	if (varlink->in_size - varlink->in_len >= READ_CHUNK)
		return 0;
	if (size < 2 * READ_CHUNK)
		size = 2 * READ_CHUNK;

	in = malloc(size);
	if (!in)
		return -ENOMEM;
	if (varlink->in) {
		memcpy(in, varlink->in, varlink->in_len);
		explicit_bzero(varlink->in, varlink->in_size);
		free(varlink->in);
	}
	varlink->in = in;
	varlink->in_size = size;
	return 0;
}

/* @at: where the last byte that came with them is. */
static int keep_fds(struct varlink *varlink, struct msghdr *header, size_t at)
{
	int r = header->msg_flags & MSG_CTRUNC ? -EMSGSIZE : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (varlink->fd_count == FDS_PENDING) {
				varlink_close_foreign(fd);
				r = -EMSGSIZE;
				continue;
			}
			varlink->fds[varlink->fd_count].fd = fd;
			varlink->fds[varlink->fd_count++].at = at;
		}
	}
	return r;
}

int varlink_read(struct varlink *varlink)
{
	union {
		char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;
	int r;

	r = grow(varlink);
	if (r < 0)
		return r;
	iov.iov_base = unread(varlink) + varlink->in_len;
	iov.iov_len = varlink->in_size - varlink->in_start - varlink->in_len;

	n = recvmsg(varlink->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;

	r = keep_fds(varlink, &header, varlink->in_len + (size_t)n - (n > 0));
	if (r < 0)
		return r;
	if (n == 0)
		return -EPIPE;
	varlink->in_len += (size_t)n;
	return 1;
}

/* Hand the descriptors that came before position @end to the message given out. */
static void assign_fds(struct varlink *varlink, size_t end)
{
	size_t kept = 0;

	drop_taken(varlink);
	for (size_t i = 0; i < varlink->fd_count; i++) {
		if (varlink->fds[i].at >= end) {
			varlink->fds[kept] = varlink->fds[i];
			varlink->fds[kept++].at -= end;
		} else if (varlink->taken_count < WIRE_FDS_MAX) {
			varlink->taken[varlink->taken_count++] = varlink->fds[i].fd;
		} else {
			varlink_close_foreign(varlink->fds[i].fd);
		}
	}
	varlink->fd_count = kept;
}

static void consume(struct varlink *varlink, size_t len)
{
	assign_fds(varlink, len);
	explicit_bzero(unread(varlink), len);
	varlink->in_start += len;
	varlink->in_len -= len;
	varlink->scanned = 0;
	if (varlink->in_len == 0) { /* an idle connection costs no buffer */
		free(varlink->in);
		varlink->in = NULL;
		varlink->in_size = varlink->in_start = 0;
	}
}

int varlink_next(struct varlink *varlink, json_t **ret)
{
	const char *end;
	json_t *message;
	json_error_t error;
	size_t len;

	if (varlink->in_len == 0)
		return 0;
	end = memchr(unread(varlink) + varlink->scanned, 0, varlink->in_len - varlink->scanned);
	varlink->scanned = varlink->in_len;
	len = end ? (size_t)(end - unread(varlink)) : varlink->in_len;
	if (len > WIRE_MESSAGE_MAX)
		return -EMSGSIZE;
	if (!end)
		return 0;

	message = json_loadb(unread(varlink), len, JSON_REJECT_DUPLICATES, &error);
	consume(varlink, len + 1);
	if (!message)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
	if (!json_is_object(message)) {
		json_decref(message);
		return -EBADMSG;
	}
	*ret = message;
	return 1;
}

int varlink_take_fd(struct varlink *varlink)
{
	if (varlink->taken_next == varlink->taken_count)
		return -ENOENT;
	return varlink->taken[varlink->taken_next++];
}

/* Straight into the queue's own buffer: one copy, and one place to wipe. Return: bytes without the
 * NUL that is needed, or 0. */
static size_t serialise(struct outgoing *out, const json_t *message, size_t size)
{
	*out = (struct outgoing){ .len = size };
	return json_dumpb(message, out->bytes, size, JSON_COMPACT);
}

/* @guess: bytes that the message may have; a larger one is serialised twice. */
static int outgoing_new(struct outgoing **ret, const json_t *message, size_t guess)
{
	struct outgoing *out = malloc(sizeof(*out) + guess), *less;
	size_t len = out ? serialise(out, message, guess) : 0;

	if (out && len >= guess && len <= WIRE_MESSAGE_MAX) {
		(void)outgoing_free(out);
		out = malloc(sizeof(*out) + len + 1);
		len = out ? serialise(out, message, len + 1) : 0;
	}
	if (!out)
		return -ENOMEM;
	if (len == 0 || len > WIRE_MESSAGE_MAX) {
		(void)outgoing_free(out);
		return len == 0 ? -EILSEQ : -EMSGSIZE;
	}
	less = guess > 2 * len ? realloc(out, sizeof(*out) + len + 1) : NULL; /* it may wait long */
	out = less ? less : out;
	out->len = len + 1;
	out->bytes[len] = 0;
	*ret = out;
	return 0;
}

int varlink_send(struct varlink *varlink, const json_t *message, const int *fds, size_t fd_count)
{
	CLEANUP(outgoing_freep) struct outgoing *out = NULL;
	int r;

	assert(fd_count <= WIRE_FDS_MAX);

	if (!message)
		return -ENOMEM;
	r = outgoing_new(&out, message, varlink->guess);
	if (r < 0)
		return r;
	varlink->guess = out->len > GUESS_MIN ? out->len : GUESS_MIN; /* the next one is as large */
	if (varlink->out_bytes + out->len > WIRE_BACKLOG_MAX)
		return -ENOBUFS;

	for (size_t i = 0; i < fd_count; i++) {
		out->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (out->fds[i] < 0)
			return -errno;
		out->fd_count++;
	}

	varlink->out_bytes += out->len;
	*varlink->out_last = out;
	varlink->out_last = &out->next;
	TAKE_PTR(out);

	r = varlink_flush(varlink);
	return r < 0 ? r : 0;
}

static ssize_t send_some(int fd, struct outgoing *out)
{
	union {
		char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = out->bytes + out->done, .iov_len = out->len - out->done };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (out->done == 0 && out->fd_count > 0) {
		struct cmsghdr *c = &control.align;

		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(out->fd_count * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(out->fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), out->fds, out->fd_count * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int varlink_flush(struct varlink *varlink)
{
	while (varlink->out) {
		struct outgoing *out = varlink->out;
		const ssize_t n = send_some(varlink->fd, out);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		out->done += (size_t)n;
		if (out->done < out->len)
			continue;
		varlink->out_bytes -= out->len;
		varlink->out = out->next;
		if (!varlink->out)
			varlink->out_last = &varlink->out;
		outgoing_free(out);
	}
	return 1;
}

json_t *varlink_call(const char *method, json_t *parameters)
{
	return json_pack("{s:s, s:o}", "method", method, "parameters", parameters);
}

json_t *varlink_reply(json_t *parameters, bool continues)
{
	if (continues)
		return json_pack("{s:b, s:o}", "continues", 1, "parameters", parameters);
	return json_pack("{s:o}", "parameters", parameters);
}

json_t *varlink_error(const char *error, const char *message)
{
	return json_pack("{s:s, s:{s:s}}", "error", error, "parameters", "message", message);
}
