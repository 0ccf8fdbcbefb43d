/* SPDX-License-Identifier: MIT */
/* One connection to tfqd: a client or a runner. Messages in, messages out, who it is by the
 * kernel's word. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/varlink.h"
#include "daemon/job.h"

#define PEER_USER_BYTES_MAX ((size_t)256 << 20) /* that the connections of one user may hold up */
#define PEER_FEW            16                  /* connections; who has more has their turn later */

struct inquiry;

/* What the connections of one user take up, all together. It outlives them. */
struct peer_user {
	uid_t uid;
	uint64_t count;
	size_t bytes;
	uint64_t busy_usec, busy_at_usec; /* how long they have kept us busy of late, as of then */
	uint64_t told_since_usec; /* the log tells of what they do wrong, but not for ever */
	unsigned told;
	LIST_ENTRY(peer_user) link; /* the owner's list */
};

struct peer {
	struct varlink *varlink;
	struct job_owner owner;     /* from SO_PEERCRED and SO_PEERGROUPS at connect */
	struct job_watch *watch;    /* the job whose changes it hears of, or NULL */
	struct job *runs;           /* the job whose runner it is, or NULL */
	struct inquiry *inquiry;    /* what it waits for the answer of; request.c's; or NULL */
	LIST_ENTRY(peer) listening; /* request_context::listeners, if ... */
	bool is_listening;
	uint64_t heard;  /* the last event that it was told of */
	bool is_waiting; /* for an answer that waits for the disk: its next calls wait, too */
	bool is_closing;
	bool is_muted; /* it calls one way: nothing is to be answered */
	void *userdata;
	TAILQ_ENTRY(peer) link; /* the owner's list */

	/* the module's own */
	sd_event_source *io, *closer, *again;
	struct peer_user *user;   /* NULL: nobody counts */
	size_t counted;           /* bytes of these among peer_user::bytes */
	int64_t behind, priority; /* by their number when it came; as it is now */
	const struct peer_callbacks *callbacks;
};

struct peer_callbacks {
	/* A whole message; borrowed. May call peer_close(). */
	void (*on_message)(struct peer *peer, json_t *message);
	/* The connection is over, @error says why (-EPIPE: hung up). Frees the peer. */
	void (*on_closed)(struct peer *peer, int error);
};

/*
 * Serve @fd, which is taken, also on failure. owner.name is the caller's to set: looking it
 * up may take as long as a directory server. @callbacks must outlive the peer.
 * Return: 0, or a negative errno.
 */
int peer_new(struct peer **ret, sd_event *event, int fd, const struct peer_callbacks *callbacks,
	     void *userdata);

/*
 * Count it among those of @user, of whom it is. Who has many of them, or keeps us busy for more
 * than a fifth of the time, has their turn when nobody else wants one.
 */
void peer_count(struct peer *peer, struct peer_user *user);

/* It runs a job: however many others its user has, it has its turn as if it were the only one. */
void peer_prefer(struct peer *peer);

/* May the log tell of one more thing that this user does wrong? A few a minute: the journal drops
 * what is too much, of others, too. */
bool peer_user_may_be_told(struct peer_user *user);

struct peer *peer_free(struct peer *peer);
DEFINE_FREEP(peer);

/*
 * Send @message, which is stolen (NULL counts as out of memory), with descriptors,
 * which are duplicated. A peer that cannot be reached is closed from the loop.
 * Return: 0, or a negative errno.
 */
int peer_send(struct peer *peer, json_t *message, const int *fds, size_t fd_count);

/* Send an error with a sentence for the user. */
void peer_send_error(struct peer *peer, const char *error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Take no further message of it until peer_resume(), which may hand on some at once. */
void peer_pause(struct peer *peer);
void peer_resume(struct peer *peer);

/* Close from the loop, once what was sent has gone. */
void peer_close(struct peer *peer);

/* Hear of every change of @job; of one job at a time. Return: 0 or -ENOMEM. */
int peer_watch(struct peer *peer, struct job *job);
void peer_unwatch(struct peer *peer);
