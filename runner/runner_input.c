/* SPDX-License-Identifier: MIT */
/* What is typed for the child, and the size of its terminal. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "runner/runner_parts.h"

#define RESIZE_PAUSE (50 * USEC_PER_MSEC) /* who drags a window's edge sends hundreds */

void runner_close_input(struct runner *runner)
{
	sd_event_source_disable_unref(TAKE_PTR(runner->in_io));
	if (runner->child.in >= 0)
		(void)close(TAKE_FD(runner->child.in));
	runner->typed_len = 0;
	runner_resume_viewers(runner);
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
	runner_resume_viewers(runner);
	return 0;
}

size_t runner_input_room(const struct runner *runner)
{
	return runner->child.in < 0 ? VIEWER_ROOM_ALL : sizeof(runner->typed) - runner->typed_len;
}

void runner_type(struct runner *runner, const char *data, size_t len)
{
	if (len == 0) {
		runner->typed_end = !runner->spec->has_terminal; /* there ^D is a character */
	} else if (runner->child.in >= 0) {
		runner_see_answer(runner);
		memcpy(runner->typed + runner->typed_len, data, len);
		runner->typed_len += len;
	}
	write_typed(runner);
}

void runner_lose_writer(struct runner *runner)
{
	if (runner->spec && !runner->spec->has_terminal)
		runner_close_input(runner); /* nobody is left who could answer */
	runner_watch_question(runner);
}

/* --- the terminal's size ---------------------------------------------------------------------- */

static void set_size(struct runner *runner)
{
	unsigned char body[FRAME_SIZE_LEN];

	if (runner->child.slave < 0 || (runner->size.rows == runner->next_size.rows &&
					runner->size.columns == runner->next_size.columns))
		return;
	runner->size = runner->next_size;
	if (terminal_resize(runner->child.slave, &runner->size) < 0)
		return;
	frame_encode_size(body, runner->size.rows, runner->size.columns);
	recording_add(&runner->recording, FRAME_RESIZE, FRAME_STREAM_NONE, body, sizeof(body));
	runner_push_viewers(runner);
	runner_set_timer(runner->resize, RESIZE_PAUSE);
}

int runner_on_resize(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;

	set_size(userdata);
	return 0;
}

void runner_resize(struct runner *runner, const struct terminal_size *size)
{
	int is_pausing = SD_EVENT_OFF;

	if (!terminal_size_is_sane(size))
		return;
	runner->next_size = *size;
	(void)sd_event_source_get_enabled(runner->resize, &is_pausing);
	if (is_pausing == SD_EVENT_OFF)
		set_size(runner);
}
