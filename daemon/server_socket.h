/* SPDX-License-Identifier: MIT */
/* The socket that tfqd serves: systemd's, if it gave us one, else our own. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct server_socket {
	int fd;        /* listening, non-blocking; -1: none */
	char *path;    /* where clients and runners find it */
	bool is_owned; /* we made it, and remove it */
};

/*
 * Take over the one from systemd, or bind @path, with a mode that lets in whom @submitters
 * (an ACCESS_ group) means. A socket that a dead tfqd left behind is replaced.
 * Return: 0; -EADDRINUSE if another tfqd serves @path; or a negative errno. What is wrong
 * is logged, with what to do.
 */
int server_socket_open(struct server_socket *ret, const char *path, gid_t submitters);

/* Let others in from now on, as to server_socket_open(); what is connected stays. Nothing, if the
 * socket is systemd's. */
void server_socket_admit(const struct server_socket *socket, gid_t submitters);

/* Close it, and remove it if it is ours. Also for one that was never opened, with fd -1. */
void server_socket_close(struct server_socket *socket);
