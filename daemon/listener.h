/* SPDX-License-Identifier: MIT */
/* Accepts connections on the daemon's socket and hands them on. */
#pragma once

#include <systemd/sd-event.h>

#include "common/cleanup.h"

struct listener;

/*
 * A peer has connected. The callee owns @fd (non-blocking, close-on-exec) from
 * here on, whatever it returns; a negative errno only gets logged.
 */
typedef int (*listener_accept_fn)(int fd, void *userdata);

/*
 * Accept on @fd, a listening, non-blocking AF_UNIX socket that stays the
 * caller's and must outlive the listener.
 *
 * Return: 0, -ENOMEM, or what sd_event_add_io() says.
 */
int listener_new(struct listener **ret, sd_event *event, int fd, listener_accept_fn on_accept,
		 void *userdata);

struct listener *listener_free(struct listener *listener);
DEFINE_FREEP(listener);
