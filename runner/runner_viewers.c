/* SPDX-License-Identifier: MIT */
/* Viewers of a job, and what they type for the child. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "runner/runner_parts.h"

void runner_push_viewers(struct runner *runner)
{
	struct viewer *viewer = runner->viewers;

	while (viewer) {
		struct viewer *next = viewer_next(viewer);

		viewer_push(viewer, runner->is_over);
		viewer = next;
	}
}

void runner_close_input(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->in_io));
	if (runner->child.in >= 0)
		(void)close(TAKE_FD(runner->child.in));
}

static void on_viewer_gone(struct viewer *viewer, void *userdata)
{
	struct runner *runner = userdata;
	struct viewer *other = runner->viewers;

	if (other == viewer) {
		runner->viewers = viewer_next(viewer);
	} else {
		while (viewer_next(other) != viewer)
			other = viewer_next(other);
		viewer_set_next(other, viewer_next(viewer));
	}
	viewer_free(viewer);
	if (!runner->viewers)
		runner_close_input(runner); /* nobody is left who could answer */
	runner_maybe_leave(runner);
}

static void write_typed(struct runner *runner)
{
	while (runner->typed_len > 0 && runner->child.in >= 0) {
		const ssize_t n = write(runner->child.in, runner->typed, runner->typed_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			(void)sd_event_source_set_enabled(runner->in_io, SD_EVENT_ON);
			return;
		}
		if (n < 0) {
			runner_close_input(runner); /* the child does not read any more */
			break;
		}
		runner->typed_len -= (size_t)n;
		memmove(runner->typed, runner->typed + n, runner->typed_len);
	}
	if (runner->in_io)
		(void)sd_event_source_set_enabled(runner->in_io, SD_EVENT_OFF);
	if (runner->typed_len == 0 && runner->typed_end)
		runner_close_input(runner);
}

int runner_on_input_room(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct runner *runner = userdata;

	(void)source;
	(void)fd;
	(void)revents;

	write_typed(runner);
	if (runner->typed_len == 0)
		for (struct viewer *viewer = runner->viewers; viewer; viewer = viewer_next(viewer))
			viewer_resume_input(viewer);
	return 0;
}

static bool on_viewer_input(const char *data, size_t len, void *userdata)
{
	struct runner *runner = userdata;

	if (len == 0) {
		runner->typed_end = true;
	} else if (runner->child.in >= 0) {
		if (runner->typed_len + len > sizeof(runner->typed))
			return false;
		memcpy(runner->typed + runner->typed_len, data, len);
		runner->typed_len += len;
	}
	write_typed(runner);
	return true;
}

void runner_add_viewer(struct runner *runner, int fd)
{
	static const struct viewer_callbacks callbacks = { on_viewer_input, on_viewer_gone };
	struct viewer *viewer = NULL;

	if (fd < 0 ||
	    viewer_new(&viewer, runner->event, fd, &runner->recording, &callbacks, runner) < 0)
		return;
	viewer_set_next(viewer, runner->viewers);
	runner->viewers = viewer;
	viewer_push(viewer, runner->is_over);
}

void runner_free_viewers(struct runner *runner)
{
	while (runner->viewers) {
		struct viewer *next = viewer_next(runner->viewers);

		viewer_free(runner->viewers);
		runner->viewers = next;
	}
}
