/* SPDX-License-Identifier: MIT */
/*
 * One connection that carries varlink messages: bytes of a socket to JSON objects
 * and back, with descriptors. Knows no event loop and never blocks: the owner
 * polls varlink_fd() for varlink_events() and calls varlink_read(),
 * varlink_next() and varlink_flush().
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"

struct varlink;

/* Takes @fd, a connected AF_UNIX stream socket, also on failure. Return: 0, -ENOMEM, or fcntl(2)'s
 * errno. */
int varlink_new(struct varlink **ret, int fd);

/* Connect to the socket at @path. Return: 0, -ENAMETOOLONG, -ENOMEM, or what connect(2) says. */
int varlink_connect(struct varlink **ret, const char *path);

/* Close the connection and every descriptor that nobody took. */
struct varlink *varlink_free(struct varlink *varlink);
DEFINE_FREEP(varlink);

/* Bytes that are kept for what was read in part, and for what waits to be written. */
size_t varlink_memory(const struct varlink *varlink);

int varlink_fd(const struct varlink *varlink);

/* EPOLLIN, and EPOLLOUT while something waits to be written. */
uint32_t varlink_events(const struct varlink *varlink);

/*
 * Read what is there, one system call.
 * Return: 1 if bytes came, 0 if none are there now, -EPIPE if the peer has
 * closed its end, another negative errno if the connection is broken.
 */
int varlink_read(struct varlink *varlink);

/*
 * The next whole message. The caller owns *@ret.
 * Return: 1; 0 if there is none yet; -EMSGSIZE for one over WIRE_MESSAGE_MAX;
 * -EBADMSG for what is no JSON object; -ENOMEM. After an error the stream has
 * lost its place: send a last error and close.
 */
int varlink_next(struct varlink *varlink, json_t **ret);

/*
 * A descriptor that came with the message varlink_next() gave last, in the
 * order sent; the caller owns it. Return: the descriptor, or -ENOENT.
 */
int varlink_take_fd(struct varlink *varlink);

/*
 * Close a descriptor that somebody sent us, without waiting for what is in it: a TCP
 * socket may be set to linger in close(2).
 */
void varlink_close_foreign(int fd);

/*
 * Queue @message, which is borrowed, with @fd_count descriptors, which are
 * duplicated, and write what can be written.
 * Return: 0; -ENOBUFS if the peer has let WIRE_BACKLOG_MAX pile up; -EMSGSIZE
 * for a message over WIRE_MESSAGE_MAX; -EILSEQ for one that is no valid UTF-8;
 * -ENOMEM; or what sendmsg(2) says: then close.
 */
int varlink_send(struct varlink *varlink, const json_t *message, const int *fds, size_t fd_count);

/* Write what waits. Return: 1 when all is written, 0 if not yet, or a negative errno: then close.
 */
int varlink_flush(struct varlink *varlink);

/* --- messages: each returns a new object, or NULL when out of memory. @parameters is stolen. ---
 */

json_t *varlink_call(const char *method, json_t *parameters);
json_t *varlink_reply(json_t *parameters, bool continues);
json_t *varlink_error(const char *error, const char *message);
