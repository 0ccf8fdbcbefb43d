/* SPDX-License-Identifier: MIT */
#include "runner/viewer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

#define SEND_MAX 1048576 /* bytes per call: then others have their turn */

struct viewer {
	struct viewer *next;
	int fd;
	sd_event_source *io;
	const struct recording *recording;
	const struct viewer_callbacks *callbacks;
	void *userdata;
	off_t offset;
	bool is_over, is_deaf; /* no more output; no more input */
	size_t in_len;
	char in[FRAME_HEADER_LEN + FRAME_BODY_MAX];
};

static void set_events(struct viewer *viewer, bool wants_out)
{
	uint32_t events = wants_out ? EPOLLOUT : 0;

	if (!viewer->is_deaf && viewer->in_len < sizeof(viewer->in))
		events |= EPOLLIN;
	(void)sd_event_source_set_io_events(viewer->io, events);
}

/* Return: false if the viewer is gone, and freed. */
static bool push(struct viewer *viewer)
{
	while ((uint64_t)viewer->offset < viewer->recording->size) {
		const uint64_t left = viewer->recording->size - (uint64_t)viewer->offset;
		const ssize_t n = sendfile(viewer->fd, viewer->recording->fd, &viewer->offset,
					   left < SEND_MAX ? left : SEND_MAX);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			set_events(viewer, true);
			return true;
		}
		if (n <= 0) {
			viewer->callbacks->on_gone(viewer, viewer->userdata);
			return false;
		}
	}
	set_events(viewer, false);
	if (!viewer->is_over)
		return true;
	viewer->callbacks->on_gone(viewer, viewer->userdata);
	return false;
}

void viewer_push(struct viewer *viewer, bool is_over)
{
	viewer->is_over = viewer->is_over || is_over;
	(void)push(viewer);
}

/* Hand on what is typed. What makes no sense ends the conversation, not the view. */
static void take_input(struct viewer *viewer)
{
	struct frame frame;
	int used;

	while ((used = frame_decode(&frame, viewer->in, viewer->in_len)) > 0) {
		if (frame.type == FRAME_INPUT && frame.len > 0 &&
		    !viewer->callbacks->on_input(frame.body, frame.len, viewer->userdata))
			return; /* viewer_resume_input() comes back here */
		if (frame.type == FRAME_INPUT_END)
			(void)viewer->callbacks->on_input(NULL, 0, viewer->userdata);
		viewer->in_len -= (size_t)used;
		memmove(viewer->in, viewer->in + used, viewer->in_len);
	}
	if (used < 0)
		viewer->is_deaf = true;
}

void viewer_resume_input(struct viewer *viewer)
{
	take_input(viewer);
	set_events(viewer, (uint64_t)viewer->offset < viewer->recording->size);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct viewer *viewer = userdata;
	ssize_t n = 0;

	(void)source;

	if (revents & (EPOLLHUP | EPOLLERR) && viewer->in_len == sizeof(viewer->in)) {
		viewer->callbacks->on_gone(viewer, viewer->userdata);
		return 0;
	}
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR) && viewer->in_len < sizeof(viewer->in)) {
		n = recv(fd, viewer->in + viewer->in_len, sizeof(viewer->in) - viewer->in_len,
			 MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			viewer->callbacks->on_gone(viewer, viewer->userdata);
			return 0;
		}
		if (n > 0) {
			viewer->in_len += (size_t)n;
			take_input(viewer);
		}
	}
	if (revents & (EPOLLHUP | EPOLLERR) && viewer->in_len == sizeof(viewer->in)) {
		/* No room to read its end with, and epoll would tell of it for ever. */
		viewer->callbacks->on_gone(viewer, viewer->userdata);
		return 0;
	}
	(void)push(viewer);
	return 0;
}

int viewer_new(struct viewer **ret, sd_event *event, int fd, const struct recording *recording,
	       const struct viewer_callbacks *callbacks, void *userdata)
{
	AUTO_CLOSE int owned = fd;
	struct viewer *viewer;
	int flags, r;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	viewer = calloc(1, sizeof(*viewer));
	if (!viewer)
		return -ENOMEM;
	viewer->recording = recording;
	viewer->callbacks = callbacks;
	viewer->userdata = userdata;
	r = sd_event_add_io(event, &viewer->io, fd, EPOLLIN, on_io, viewer);
	if (r < 0) {
		free(viewer);
		return r;
	}
	viewer->fd = TAKE_FD(owned);
	*ret = viewer;
	return 0;
}

struct viewer *viewer_free(struct viewer *viewer)
{
	if (!viewer)
		return NULL;
	sd_event_source_disable_unref(viewer->io);
	(void)close(viewer->fd);
	free(viewer);
	return NULL;
}

struct viewer *viewer_next(const struct viewer *viewer)
{
	return viewer->next;
}

void viewer_set_next(struct viewer *viewer, struct viewer *next)
{
	viewer->next = next;
}
