/* SPDX-License-Identifier: MIT */
/* Who watches a job, and which of them types. */
#include <errno.h>

#include "common/clock.h"
#include "runner/runner_parts.h"

/* --- what they see ---------------------------------------------------------------------------- */

/* Once per turn of the loop, however often it has grown in that: there may be hundreds. */
void runner_push_viewers(struct runner *runner)
{
	(void)sd_event_source_set_enabled(runner->push, SD_EVENT_ONESHOT);
}

int runner_on_push(sd_event_source *source, void *userdata)
{
	struct runner *runner = userdata;
	struct viewer *viewer = runner->viewers;

	(void)source;

	while (viewer) {
		struct viewer *next = viewer_next(viewer);

		viewer_push(viewer, runner->is_over);
		viewer = next;
	}
	return 0;
}

void runner_linger(struct runner *runner)
{
	runner_set_timer(runner->linger, VIEWER_LINGER);
}

static void remove_viewer(struct viewer *viewer, void *userdata);

int runner_on_linger(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct runner *runner = userdata;
	struct viewer *viewer = runner->viewers;
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);
	uint64_t earliest = now;

	(void)source;
	(void)usec;

	while (viewer) {
		struct viewer *next = viewer_next(viewer);
		const uint64_t moved = viewer_moved_usec(viewer);

		if (moved + VIEWER_LINGER <= now)
			remove_viewer(viewer, runner);
		else if (moved < earliest)
			earliest = moved;
		viewer = next;
	}
	if (runner->viewers)
		runner_set_timer(runner->linger, earliest + VIEWER_LINGER - now);
	return 0;
}

/* --- who types -------------------------------------------------------------------------------- */

static void tell(struct runner *runner, struct viewer *viewer, const char *text)
{
	viewer_note(viewer, text);
	viewer_resume_input(viewer);
	runner_push_viewers(runner);
}

/* The one who came last of those who may. Who wins or loses by that is told. */
static void find_writer(struct runner *runner, bool has_newcomer)
{
	struct viewer *before = runner->writer, *viewer = runner->viewers;

	while (viewer && !viewer_may_type(viewer))
		viewer = viewer_next(viewer);
	runner->writer = viewer;
	if (before && before != viewer && has_newcomer) {
		tell(runner, before,
		     "somebody else has attached, and types now; what you type is not heard until "
		     "they leave");
	}
	if (viewer && viewer != before && !has_newcomer)
		tell(runner, viewer, "who typed has left: what you type is heard again");
	if (!viewer)
		runner_lose_writer(runner);
}

static size_t get_room(const struct viewer *viewer, void *userdata)
{
	const struct runner *runner = userdata;

	return viewer == runner->writer ? runner_input_room(runner) : VIEWER_ROOM_ALL;
}

static void on_input(struct viewer *viewer, const char *data, size_t len, void *userdata)
{
	struct runner *runner = userdata;

	if (viewer == runner->writer)
		runner_type(runner, data, len);
}

static void on_deaf(struct viewer *viewer, void *userdata)
{
	struct runner *runner = userdata;

	if (viewer == runner->writer)
		find_writer(runner, false);
}

static void on_resize(struct viewer *viewer, uint16_t rows, uint16_t columns, void *userdata)
{
	struct runner *runner = userdata;

	if (viewer == runner->writer)
		runner_resize(runner, &(struct terminal_size){ rows, columns });
}

void runner_resume_viewers(struct runner *runner)
{
	if (runner->writer)
		viewer_resume_input(runner->writer);
}

/* --- who they are ----------------------------------------------------------------------------- */

static void remove_viewer(struct viewer *viewer, void *userdata)
{
	struct runner *runner = userdata;
	struct viewer *other = runner->viewers;
	const bool was_writer = viewer == runner->writer;

	if (other == viewer) {
		runner->viewers = viewer_next(viewer);
	} else {
		while (viewer_next(other) != viewer)
			other = viewer_next(other);
		viewer_set_next(other, viewer_next(viewer));
	}
	viewer_free(viewer);
	runner->viewer_count--;
	if (was_writer) {
		runner->writer = NULL;
		find_writer(runner, false);
	}
	runner_maybe_leave(runner);
}

void runner_add_viewer(struct runner *runner, int fd, uint64_t offset, bool may_type)
{
	static const struct viewer_callbacks callbacks = { get_room, on_input, on_resize, on_deaf,
							   remove_viewer };
	const struct viewer_setup setup = {
		.event = runner->event,
		.recording = &runner->recording,
		.callbacks = &callbacks,
		.userdata = runner,
		.offset = offset,
		.may_type = may_type,
	};
	struct viewer *viewer = NULL;

	if (fd < 0)
		return;
	if (runner->viewer_count == RUNNER_VIEWERS_MAX) {
		viewer_refuse(fd, "too many watch this job already; its output is recorded: see "
				  "'tfq logs'");
		varlink_close_foreign(fd);
		return;
	}
	if (viewer_new(&viewer, fd, &setup) < 0)
		return;
	viewer_set_next(viewer, runner->viewers);
	runner->viewers = viewer;
	runner->viewer_count++;
	if (may_type) {
		find_writer(runner, true);
		runner_watch_question(runner);
	}
	viewer_push(viewer, runner->is_over);
}

void runner_free_viewers(struct runner *runner)
{
	while (runner->viewers) {
		struct viewer *next = viewer_next(runner->viewers);

		viewer_free(runner->viewers);
		runner->viewers = next;
	}
	runner->writer = NULL;
}
