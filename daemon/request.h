/* SPDX-License-Identifier: MIT */
/* The daemon's whole interface: from a method's name to what it does. */
#pragma once

#include <jansson.h>

#include "daemon/access.h"
#include "daemon/config.h"
#include "daemon/peer.h"
#include "daemon/scheduler.h"

#define REQUEST_REFUSED_USERS 64 /* whose refusals are counted one by one */

struct request_waiting;

/* How often a user was refused of late: the audit is kept for ever, and nobody is to fill it. */
struct request_refused {
	uid_t uid;
	uint64_t since_usec; /* 0: nobody's */
	unsigned count;
};

struct request_context {
	struct scheduler *scheduler;
	const struct config *config;
	const struct access *access;
	const char *hostname;
	struct store *store;
	const char *jobs_dir;
	TAILQ_HEAD(, request_waiting) waiting; /* answers that wait for the disk */
	LIST_HEAD(, peer) listeners;           /* who hears of every event */
	struct request_refused refused[REQUEST_REFUSED_USERS];
	/* The name of a user, the caller's to free, or NULL when out of memory. */
	char *(*user_name)(uid_t uid, void *userdata);
	void *userdata;
};

/* Carry out @message of @peer and answer it. What makes no sense is answered with an error. */
void request_handle(struct request_context *context, struct peer *peer, const json_t *message);

/* From the store: all writes up to @number are on disk: what waited for that is answered. Or they
 * have failed: then no job is accepted by them. */
void request_kept(struct request_context *context, uint64_t number);
void request_unkept(struct request_context *context, uint64_t number, const char *why);

/* Tell everybody who watches @job; the last time if it is over. */
void request_tell_watchers(const struct request_context *context, const struct job *job);

/* @peer is going: it watches and runs nothing any more. */
void request_drop_peer(struct request_context *context, struct peer *peer);
