/* SPDX-License-Identifier: MIT */
#include "client/stream.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "common/parse.h"

#define TIME_SIZE 40 /* bytes that format_time() needs */

void stream_open(struct stream *stream, bool is_foreign)
{
	outlet_init(&stream->out, STDOUT_FILENO, is_foreign);
	outlet_init(&stream->err, STDERR_FILENO, is_foreign);
}

/* "2026-01-02T03:04:05.678+01:00 ", in local time. */
static size_t format_time(char buf[static TIME_SIZE], uint64_t usec)
{
	const time_t seconds = (time_t)(usec / USEC_PER_SEC);
	char date[24], zone[8];
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || strftime(date, sizeof(date), "%FT%T", &tm) == 0 ||
	    strftime(zone, sizeof(zone), "%z", &tm) != 5)
		return 0;
	return (size_t)snprintf(buf, TIME_SIZE, "%s.%03" PRIu64 "%.3s:%s ", date,
				usec % USEC_PER_SEC / USEC_PER_MSEC, zone, zone + 3);
}

static void write_lines(struct stream *stream, struct outlet *outlet, const struct frame *frame)
{
	const char *data = frame->body;
	size_t len = frame->len;
	struct lines_piece piece;
	char time[TIME_SIZE];

	while (lines_next(&stream->lines, outlet == &stream->err, frame->at_usec, &data, &len,
			  &piece)) {
		if (!piece.is_shown || stream->is_silent)
			continue;
		if (piece.is_start && stream->wants_timestamps)
			outlet_write(outlet, time, format_time(time, frame->at_usec));
		outlet_write(outlet, piece.data, piece.len);
	}
}

static void take_output(struct stream *stream, const struct frame *frame)
{
	struct outlet *outlet = frame->stream == FRAME_STDERR ? &stream->err : &stream->out;
	int r;

	stream->has_output = true;
	if (stream->waiting)
		waiting_clear(stream->waiting);
	if (stream->wants_lines)
		write_lines(stream, outlet, frame);
	else if (!stream->is_silent)
		outlet_write(outlet, frame->body, frame->len);
	r = outlet_flush(outlet);
	if (r < 0)
		stream->error = r;
}

static void take_note(struct stream *stream, const struct frame *frame)
{
	char note[1024], time[TIME_SIZE] = "";

	if (stream->wants_lines && !lines_note(&stream->lines, frame->at_usec))
		return;
	if (stream->is_silent)
		return;
	if (stream->waiting)
		waiting_clear(stream->waiting);
	if (stream->wants_timestamps)
		(void)format_time(time, frame->at_usec);
	(void)snprintf(note, sizeof(note), "%.*s", (int)frame->len, frame->body);
	print_error("%s%s", time, note);
}

static void take_exit(struct stream *stream, const struct frame *frame)
{
	uint32_t value = 0;

	if (frame->len < sizeof(value))
		return;
	memcpy(&value, frame->body, sizeof(value));
	value = le32toh(value);
	(void)snprintf(stream->last_words, sizeof(stream->last_words), "%.*s",
		       (int)(frame->len - sizeof(value)), frame->body + sizeof(value));
	if (frame->stream == FRAME_EXIT_SIGNAL)
		stream->exit_code = EXIT_SIGNAL + (int)(value & 127);
	else
		stream->exit_code = (int)(value & 255);
	stream->never_ran = frame->stream == FRAME_EXIT_NEVER_RAN;
	stream->has_ended = true;
}

/* Return: is it in the recording? A note to us alone has no time, and is not. */
static bool take_frame(struct stream *stream, const struct frame *frame)
{
	switch (frame->type) {
	case FRAME_OUTPUT: take_output(stream, frame); break;
	case FRAME_NOTE:
		take_note(stream, frame);
		if (frame->at_usec == 0) {
			stream->was_told = true;
			return false;
		}
		stream->has_output = true;
		break;
	case FRAME_RESIZE: stream->has_screen = true; break;
	case FRAME_EXIT: take_exit(stream, frame); break;
	default: break; /* a newer runner's */
	}
	return true;
}

char *stream_space(struct stream *stream, size_t *ret_len)
{
	*ret_len = sizeof(stream->in) - stream->in_len;
	return stream->in + stream->in_len;
}

int stream_take(struct stream *stream, size_t len)
{
	struct frame frame;
	size_t at = 0;
	int used;

	stream->in_len += len;
	while ((used = frame_decode(&frame, stream->in + at, stream->in_len - at)) > 0) {
		if (frame.type == FRAME_START) /* perhaps another runner's, from the beginning */
			stream->offset = 0;
		if (take_frame(stream, &frame))
			stream->offset += (uint64_t)used;
		at += (size_t)used;
	}
	stream->in_len -= at;
	memmove(stream->in, stream->in + at, stream->in_len);
	return used;
}

void stream_seek(struct stream *stream, uint64_t offset)
{
	stream->offset = offset;
	stream->in_len = 0;
}
