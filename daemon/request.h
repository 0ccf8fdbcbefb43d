/* SPDX-License-Identifier: MIT */
/* The daemon's whole interface: from a method's name to what it does. */
#pragma once

#include <jansson.h>

#include "daemon/access.h"
#include "daemon/config.h"
#include "daemon/peer.h"
#include "daemon/scheduler.h"

struct request_context {
	struct scheduler *scheduler;
	const struct config *config;
	const struct access *access;
	const char *hostname;
};

/* Carry out @message of @peer and answer it. What makes no sense is answered with an error. */
void request_handle(const struct request_context *context, struct peer *peer,
		    const json_t *message);

/* Tell everybody who watches @job; the last time if it is over. */
void request_tell_watchers(const struct job *job);

/* @peer is going: it watches and runs nothing any more. */
void request_drop_peer(const struct request_context *context, struct peer *peer);
