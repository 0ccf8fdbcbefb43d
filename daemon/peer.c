/* SPDX-License-Identifier: MIT */
#include "daemon/peer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/wire.h"

#define GROUPS_MAX      65536 /* the kernel's NGROUPS_MAX */
#define TOLD_PER_MIN    10

#define BUSY_SHARE      5 /* of the time is one user's, as long as others want it */
#define BUSY_BURST_USEC (50 * USEC_PER_MSEC)
#define BUSY_MOST_USEC  USEC_PER_SEC
#define HEAVY_PRIORITY  20 /* behind those of the many; before what is done once per turn */
#define CALLS_PER_TURN  4  /* of one connection */

/* --- who it is --------------------------------------------------------------------------- */

static int read_groups(int fd, struct job_owner *owner)
{
	socklen_t size = 0;
	gid_t none;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &none, &size) == 0)
		return 0; /* none */
	if (errno != ERANGE || size > GROUPS_MAX * sizeof(gid_t))
		return -errno;
	owner->groups = malloc(size);
	if (!owner->groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, owner->groups, &size) < 0)
		return -errno;
	owner->group_count = size / sizeof(gid_t);
	return 0;
}

static int read_owner(int fd, struct job_owner *owner)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	owner->pid = cred.pid;
	owner->uid = cred.uid;
	owner->gid = cred.gid;
	return read_groups(fd, owner);
}

/* --- the loop ------------------------------------------------------------------------------ */

static void set_events(struct peer *peer)
{
	uint32_t events = varlink_events(peer->varlink);

	if (peer->is_waiting)
		events &= ~(uint32_t)EPOLLIN;
	(void)sd_event_source_set_io_events(peer->io, events);
}

/* A runner that has hung up may have said before how its job ended: that must not get lost. */
static void hear_out(struct peer *peer)
{
	json_t *message = NULL;

	do {
		while (varlink_next(peer->varlink, &message) > 0) {
			peer->callbacks->on_message(peer, message);
			json_decref(message);
		}
	} while (varlink_read(peer->varlink) > 0);
}

static int on_close_due(sd_event_source *source, void *userdata)
{
	struct peer *peer = userdata;

	(void)source;
	(void)varlink_flush(peer->varlink);
	if (peer->runs)
		hear_out(peer);
	peer->callbacks->on_closed(peer, 0);
	return 0;
}

void peer_close(struct peer *peer)
{
	if (peer->is_closing)
		return;
	peer->is_closing = true;
	(void)sd_event_source_set_enabled(peer->io, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(peer->closer, SD_EVENT_ONESHOT);
}

static void set_priority(struct peer *peer, int64_t priority)
{
	if (peer->priority == priority)
		return;
	peer->priority = priority;
	(void)sd_event_source_set_priority(peer->io, priority);
	(void)sd_event_source_set_priority(peer->again, priority + 1);
	(void)sd_event_source_set_priority(peer->closer, priority);
}

static int64_t priority_of(const struct peer *peer)
{
	const bool is_heavy = peer->user && peer->user->busy_usec > BUSY_BURST_USEC;

	return is_heavy ? HEAVY_PRIORITY + peer->behind : peer->behind;
}

void peer_count(struct peer *peer, struct peer_user *user)
{
	peer->user = user;
	user->count++;
	for (uint64_t count = user->count; count > PEER_FEW; count /= 2)
		peer->behind++;
	set_priority(peer, priority_of(peer));
}

void peer_prefer(struct peer *peer)
{
	peer->behind = 0;
	set_priority(peer, 0);
}

/*
 * A leaky bucket: what they have kept us busy with runs off at a fifth of the time. By processor
 * time: on a busy machine we wait ourselves, which is no fault of theirs.
 */
static void charge(struct peer_user *user, uint64_t since_usec)
{
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);
	const uint64_t leaked = (now - user->busy_at_usec) / BUSY_SHARE;

	user->busy_usec = user->busy_usec > leaked ? user->busy_usec - leaked : 0;
	user->busy_usec += clock_usec(CLOCK_THREAD_CPUTIME_ID) - since_usec;
	if (user->busy_usec > BUSY_MOST_USEC)
		user->busy_usec = BUSY_MOST_USEC;
	user->busy_at_usec = now;
}

bool peer_user_may_be_told(struct peer_user *user)
{
	const uint64_t now = clock_usec(CLOCK_BOOTTIME);

	if (!user)
		return true;
	if (user->told_since_usec == 0 || now - user->told_since_usec >= USEC_PER_MIN) {
		user->told_since_usec = now;
		user->told = 0;
	}
	return ++user->told <= TOLD_PER_MIN;
}

/* Return: do the connections of its user hold up too much, after this one? */
static bool holds_too_much(struct peer *peer)
{
	const size_t bytes = varlink_memory(peer->varlink);

	if (!peer->user)
		return false;
	peer->user->bytes = peer->user->bytes - peer->counted + bytes;
	peer->counted = bytes;
	return peer->user->bytes > PEER_USER_BYTES_MAX;
}

/* The stream has lost its place: say so, as far as the socket takes it, and hang up. */
static void refuse(struct peer *peer, int r)
{
	if (r == -EMSGSIZE) {
		peer_send_error(
			peer, WIRE_E_BAD_REQUEST,
			"the message is too large; %d bytes and %d descriptors are the limit",
			WIRE_MESSAGE_MAX, WIRE_FDS_MAX);
	} else if (r == -EDQUOT) {
		peer_send_error(peer, WIRE_E_FULL,
				"your connections to tfqd hold up %zu MiB, as much as those of one "
				"user may: end some of them",
				PEER_USER_BYTES_MAX >> 20);
	} else if (r == -EBADMSG) {
		peer_send_error(peer, WIRE_E_BAD_REQUEST,
				"that is no varlink message: one JSON object, ended by a NUL byte");
	}
	if (peer_user_may_be_told(peer->user)) {
		log_info("Dropping %s's connection (PID %d): %s", peer->owner.name,
			 (int)peer->owner.pid,
			 r == -EDQUOT ? "that user's hold up too much"
				      : "what it sent is no message");
	}
	peer_close(peer);
}

/* It has said more than it may at a time. Until its next turn nothing more of it is read. */
static void put_off(struct peer *peer)
{
	(void)sd_event_source_set_enabled(peer->io, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(peer->again, SD_EVENT_ONESHOT);
}

static void take_messages(struct peer *peer)
{
	for (int calls = 0; !peer->is_closing && !peer->is_waiting; calls++) {
		json_t *message = NULL;
		int r;

		if (calls == CALLS_PER_TURN) {
			put_off(peer);
			return;
		}
		r = varlink_next(peer->varlink, &message);
		if (r == 0)
			return;
		if (r < 0) {
			refuse(peer, r);
			return;
		}
		peer->callbacks->on_message(peer, message);
		json_decref(message);
	}
}

static void end_turn(struct peer *peer, uint64_t since_usec)
{
	if (peer->user)
		charge(peer->user, since_usec);
	if (!peer->is_closing && holds_too_much(peer))
		refuse(peer, -EDQUOT);
	set_priority(peer, priority_of(peer));
	if (!peer->is_closing)
		set_events(peer);
}

static int on_again(sd_event_source *source, void *userdata)
{
	struct peer *peer = userdata;
	const uint64_t since = clock_usec(CLOCK_THREAD_CPUTIME_ID);

	(void)source;
	if (peer->is_closing)
		return 0;
	(void)sd_event_source_set_enabled(peer->io, SD_EVENT_ON);
	take_messages(peer);
	end_turn(peer, since);
	return 0;
}

void peer_pause(struct peer *peer)
{
	peer->is_waiting = true;
	set_events(peer);
}

void peer_resume(struct peer *peer)
{
	peer->is_waiting = false;
	take_messages(peer);
	if (!peer->is_closing)
		set_events(peer);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct peer *peer = userdata;
	const uint64_t since = clock_usec(CLOCK_THREAD_CPUTIME_ID);
	int r = 0;

	(void)source;
	(void)fd;

	if (revents & EPOLLOUT && varlink_flush(peer->varlink) < 0)
		peer_close(peer); /* from the loop, and what it said is heard out */
	else if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = varlink_read(peer->varlink);
	if (r == -EMSGSIZE) {
		refuse(peer, r);
		return 0;
	}
	if (r < 0) {
		peer->callbacks->on_closed(peer, r);
		return 0;
	}
	take_messages(peer);
	end_turn(peer, since);
	return 0;
}

int peer_new(struct peer **ret, sd_event *event, int fd, const struct peer_callbacks *callbacks,
	     void *userdata)
{
	CLEANUP(peer_freep) struct peer *peer = NULL;
	AUTO_CLOSE int owned = fd;
	int r;

	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return -ENOMEM;
	peer->callbacks = callbacks;
	peer->userdata = userdata;
	r = read_owner(fd, &peer->owner);
	if (r < 0)
		return r;
	r = varlink_new(&peer->varlink, TAKE_FD(owned));
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &peer->io, fd, EPOLLIN, on_io, peer);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &peer->closer, on_close_due, peer);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(peer->closer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(event, &peer->again, on_again, peer);
	if (r >= 0)
		r = sd_event_source_set_enabled(peer->again, SD_EVENT_OFF);
	if (r >= 0) /* among equals what is deferred would always come first */
		r = sd_event_source_set_priority(peer->again, 1);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(peer);
	return 0;
}

struct peer *peer_free(struct peer *peer)
{
	if (!peer)
		return NULL;
	sd_event_source_disable_unref(peer->io);
	sd_event_source_disable_unref(peer->closer);
	sd_event_source_disable_unref(peer->again);
	if (peer->user) {
		peer->user->count--;
		peer->user->bytes -= peer->counted;
	}
	varlink_free(peer->varlink);
	free(peer->owner.groups);
	free(peer->owner.name);
	free(peer);
	return NULL;
}

int peer_send(struct peer *peer, json_t *message, const int *fds, size_t fd_count)
{
	int r;

	if (peer->is_closing || peer->is_muted) {
		json_decref(message);
		return peer->is_muted ? 0 : -EPIPE;
	}
	r = varlink_send(peer->varlink, message, fds, fd_count);
	json_decref(message);
	if (r >= 0 && holds_too_much(peer))
		r = -ENOBUFS;
	if (r < 0)
		peer_close(peer);
	else
		set_events(peer);
	return r;
}

void peer_send_error(struct peer *peer, const char *error, const char *format, ...)
{
	AUTO_FREE char *message = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&message, format, ap);
	va_end(ap);
	if (n < 0)
		message = NULL;
	(void)peer_send(peer, varlink_error(error, message ? message : "out of memory"), NULL, 0);
}

int peer_watch(struct peer *peer, struct job *job)
{
	peer->watch = malloc(sizeof(*peer->watch));
	if (!peer->watch)
		return -ENOMEM;
	*peer->watch = (struct job_watch){ .job = job, .peer = peer };
	TAILQ_INSERT_TAIL(&job->watches, peer->watch, link);
	return 0;
}

void peer_unwatch(struct peer *peer)
{
	if (!peer->watch)
		return;
	TAILQ_REMOVE(&peer->watch->job->watches, peer->watch, link);
	free(peer->watch);
	peer->watch = NULL;
}
