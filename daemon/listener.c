/* SPDX-License-Identifier: MIT */
#include "daemon/listener.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "common/log.h"
#include "common/parse.h"

#define ACCEPTS_PER_TURN 64                   /* then others have their turn, */
#define TURNS_MAX        5                    /* and more so after so many of them ... */
#define TURNS_USEC       (10 * USEC_PER_MSEC) /* in that time: whoever connects without end */
#define PAUSE_USEC       (USEC_PER_SEC / 5)   /* without descriptors: a spin would help nobody */

struct listener {
	sd_event_source *source, *resume;
	listener_accept_fn on_accept;
	void *userdata;
};

static int on_resume(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct listener *listener = userdata;

	(void)source;
	(void)usec;
	(void)sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
	return 0;
}

static void pause_accepting(struct listener *listener)
{
	(void)sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
	(void)sd_event_source_set_time_relative(listener->resume, PAUSE_USEC);
	(void)sd_event_source_set_enabled(listener->resume, SD_EVENT_ONESHOT);
}

static void accept_failed(struct listener *listener, int error)
{
	if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
		return;
	log_warning(error, "Failed to accept a connection: %m");
	if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS)
		pause_accepting(listener);
}

/* Never fails: a bad peer is no reason to stop. */
static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct listener *listener = userdata;

	(void)source;
	(void)revents;

	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		const int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		int r;

		if (peer < 0) {
			accept_failed(listener, errno);
			return 0;
		}
		r = listener->on_accept(peer, listener->userdata);
		if (r < 0)
			log_warning(r, "Failed to serve a connection, dropping it: %m");
	}
	return 0;
}

int listener_new(struct listener **ret, sd_event *event, int fd, listener_accept_fn on_accept,
		 void *userdata)
{
	CLEANUP(listener_freep) struct listener *listener = NULL;
	int r;

	assert(ret);
	assert(on_accept);

	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;

	listener->on_accept = on_accept;
	listener->userdata = userdata;

	r = sd_event_add_io(event, &listener->source, fd, EPOLLIN, on_connection, listener);
	if (r < 0)
		return r;
	r = sd_event_source_set_ratelimit(listener->source, TURNS_USEC, TURNS_MAX);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &listener->resume, CLOCK_MONOTONIC, 0, 0, on_resume, listener);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(listener->resume, SD_EVENT_OFF);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(listener);
	return 0;
}

struct listener *listener_free(struct listener *listener)
{
	if (!listener)
		return NULL;

	sd_event_source_disable_unref(listener->source);
	sd_event_source_disable_unref(listener->resume);
	free(listener);
	return NULL;
}
