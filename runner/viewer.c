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
#include "common/clock.h"

#define SEND_MAX   ((size_t)1048576) /* bytes per turn: then others have theirs */
#define TYPED_MAX  ((size_t)4096)    /* as much is read at a time */
#define NOTE_BYTES 512

/* A frame for this viewer alone, to be sent where the recording was at an end. */
struct note {
	uint64_t at; /* offset */
	size_t len, done;
	unsigned char bytes[FRAME_HEADER_LEN + NOTE_BYTES];
};

struct viewer {
	struct viewer *next;
	int fd;
	sd_event_source *io;
	struct viewer_setup setup;
	off_t offset;
	uint64_t moved_usec;
	bool is_over; /* no more output */
	bool is_full; /* until EPOLLOUT */
	bool is_deaf; /* it has sent nonsense */
	struct note *note;

	/* What it sends: the frame of which something has come, and how far. */
	struct frame frame;
	size_t header_len, body_len;
	unsigned char header[FRAME_HEADER_LEN], size[FRAME_SIZE_LEN];
};

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* --- to the viewer ---------------------------------------------------------------------------- */

static bool listens(const struct viewer *viewer)
{
	return viewer->setup.may_type && !viewer->is_deaf;
}

/* Bytes that may be read now: what it says in vain is read, too, or its end would not be. */
static size_t get_room(const struct viewer *viewer)
{
	if (!listens(viewer))
		return TYPED_MAX;
	return min_size(viewer->setup.callbacks->get_room(viewer, viewer->setup.userdata),
			TYPED_MAX);
}

static void set_events(struct viewer *viewer, bool wants_out)
{
	(void)sd_event_source_set_io_events(viewer->io, (wants_out ? EPOLLOUT : 0u) |
								(get_room(viewer) ? EPOLLIN : 0u));
}

static bool has_note_now(const struct viewer *viewer)
{
	return viewer->note && (uint64_t)viewer->offset == viewer->note->at;
}

static bool has_more(const struct viewer *viewer)
{
	return viewer->note || (uint64_t)viewer->offset < viewer->setup.recording->size;
}

static ssize_t send_note(struct viewer *viewer)
{
	struct note *note = viewer->note;
	const ssize_t n = send(viewer->fd, note->bytes + note->done, note->len - note->done,
			       MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		note->done += (size_t)n;
	if (note->done == note->len) {
		free(note);
		viewer->note = NULL;
	}
	return n;
}

/* Return: bytes sent, or -1 with errno. */
static ssize_t send_some(struct viewer *viewer)
{
	const struct recording *recording = viewer->setup.recording;
	const uint64_t end = viewer->note ? viewer->note->at : recording->size;

	if (has_note_now(viewer))
		return send_note(viewer);
	return sendfile(viewer->fd, recording->fd, &viewer->offset,
			min_size(end - (uint64_t)viewer->offset, SEND_MAX));
}

/* Return: false if the viewer is gone, and freed. */
static bool push(struct viewer *viewer)
{
	size_t sent = 0;

	while (has_more(viewer) && !viewer->is_full && sent < SEND_MAX) {
		const ssize_t n = send_some(viewer);

		if (n > 0) {
			sent += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			viewer->is_full = true;
		} else if (n == 0 || errno != EINTR) {
			viewer->setup.callbacks->on_gone(viewer, viewer->setup.userdata);
			return false;
		}
	}
	if (sent > 0)
		viewer->moved_usec = clock_usec(CLOCK_MONOTONIC);
	set_events(viewer, has_more(viewer));
	if (has_more(viewer) || !viewer->is_over)
		return true;
	viewer->setup.callbacks->on_gone(viewer, viewer->setup.userdata);
	return false;
}

void viewer_push(struct viewer *viewer, bool is_over)
{
	viewer->is_over = viewer->is_over || is_over;
	if (!viewer->is_full)
		(void)push(viewer);
}

static size_t write_note(unsigned char *bytes, const char *text)
{
	const size_t len = strnlen(text, NOTE_BYTES);

	frame_encode_header(bytes, &(struct frame){
					   .type = FRAME_NOTE,
					   .len = (uint32_t)len,
				   }); /* without a time: it is not in the recording */
	memcpy(bytes + FRAME_HEADER_LEN, text, len);
	return FRAME_HEADER_LEN + len;
}

void viewer_note(struct viewer *viewer, const char *text)
{
	struct note *note = viewer->note ? NULL : malloc(sizeof(*note));

	if (!note)
		return;
	note->at = viewer->setup.recording->size;
	note->len = write_note(note->bytes, text);
	note->done = 0;
	viewer->note = note;
}

void viewer_refuse(int fd, const char *text)
{
	unsigned char bytes[FRAME_HEADER_LEN + NOTE_BYTES] = { 0 };
	const size_t len = write_note(bytes, text);

	(void)send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* --- from the viewer -------------------------------------------------------------------------- */

/* What makes no sense ends the conversation, not the view. */
static void begin_frame(struct viewer *viewer)
{
	viewer->body_len = 0;
	viewer->is_deaf = frame_decode_header(&viewer->frame, viewer->header) < 0;
	if (viewer->is_deaf)
		viewer->setup.callbacks->on_deaf(viewer, viewer->setup.userdata);
}

static void take_body(struct viewer *viewer, const char *data, size_t len)
{
	if (viewer->frame.type == FRAME_INPUT)
		viewer->setup.callbacks->on_input(viewer, data, len, viewer->setup.userdata);
	else if (viewer->frame.type == FRAME_RESIZE && viewer->frame.len == FRAME_SIZE_LEN)
		memcpy(viewer->size + viewer->body_len, data, len);
	viewer->body_len += len;
}

static void end_frame(struct viewer *viewer)
{
	uint16_t rows, columns;

	viewer->header_len = 0;
	if (viewer->frame.type == FRAME_INPUT_END) {
		viewer->setup.callbacks->on_input(viewer, NULL, 0, viewer->setup.userdata);
	} else if (viewer->frame.type == FRAME_RESIZE && viewer->frame.len == FRAME_SIZE_LEN) {
		frame_decode_size(viewer->size, &rows, &columns);
		viewer->setup.callbacks->on_resize(viewer, rows, columns, viewer->setup.userdata);
	}
}

static void take_input(struct viewer *viewer, const char *data, size_t len)
{
	while (len > 0 && listens(viewer)) {
		size_t n;

		if (viewer->header_len < FRAME_HEADER_LEN) {
			n = min_size(len, FRAME_HEADER_LEN - viewer->header_len);
			memcpy(viewer->header + viewer->header_len, data, n);
			viewer->header_len += n;
			if (viewer->header_len == FRAME_HEADER_LEN)
				begin_frame(viewer);
		} else {
			n = min_size(len, viewer->frame.len - viewer->body_len);
			take_body(viewer, data, n);
		}
		if (viewer->header_len == FRAME_HEADER_LEN && !viewer->is_deaf &&
		    viewer->body_len == viewer->frame.len)
			end_frame(viewer);
		data += n;
		len -= n;
	}
}

void viewer_resume_input(struct viewer *viewer)
{
	set_events(viewer, has_more(viewer));
}

/* Return: false if it has hung up. */
static bool read_input(struct viewer *viewer, uint32_t revents)
{
	char buffer[TYPED_MAX];
	const size_t room = get_room(viewer);
	ssize_t n;

	if (room == 0) /* nothing to read its end with, and epoll would tell of it for ever */
		return !(revents & (EPOLLHUP | EPOLLERR));
	n = recv(viewer->fd, buffer, room, MSG_DONTWAIT);
	if (n > 0)
		take_input(viewer, buffer, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct viewer *viewer = userdata;

	(void)source;
	(void)fd;

	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR) && !read_input(viewer, revents)) {
		viewer->setup.callbacks->on_gone(viewer, viewer->setup.userdata);
		return 0;
	}
	if (revents & EPOLLOUT)
		viewer->is_full = false;
	(void)push(viewer);
	return 0;
}

/* --- life ------------------------------------------------------------------------------------- */

int viewer_new(struct viewer **ret, int fd, const struct viewer_setup *setup)
{
	AUTO_CLOSE int owned = fd;
	struct viewer *viewer;
	int flags, r;

	if (setup->offset > setup->recording->size)
		return -ERANGE;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	viewer = calloc(1, sizeof(*viewer));
	if (!viewer)
		return -ENOMEM;
	viewer->setup = *setup;
	viewer->offset = (off_t)setup->offset;
	viewer->moved_usec = clock_usec(CLOCK_MONOTONIC);
	r = sd_event_add_io(setup->event, &viewer->io, fd, EPOLLIN, on_io, viewer);
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
	free(viewer->note);
	free(viewer);
	return NULL;
}

bool viewer_may_type(const struct viewer *viewer)
{
	return listens(viewer);
}

uint64_t viewer_moved_usec(const struct viewer *viewer)
{
	return viewer->moved_usec;
}

struct viewer *viewer_next(const struct viewer *viewer)
{
	return viewer->next;
}

void viewer_set_next(struct viewer *viewer, struct viewer *next)
{
	viewer->next = next;
}
