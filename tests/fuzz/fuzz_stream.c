/* SPDX-License-Identifier: MIT */
/* What a runner, or a recording, shows to tfq: of another user's job nothing gets through that
 * does more than colour; the place in the recording never goes back. */
#include "client/stream.h"

#include <errno.h>
#include <fcntl.h>

#include "tests/fuzz/fuzz.h"

enum { IS_FOREIGN = 1, WANTS_LINES = 2, WANTS_TIMESTAMPS = 4, IS_SILENT = 8, RETURNS = 16 };

static int out_fd = -1;

/* @text has only whole CSI ... m of all sequences, and of control characters \n \t \r. */
static void check_harmless(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c == 0x1b) {
			FUZZ_CHECK(i + 1 < len && text[i + 1] == '[');
			for (i += 2; i < len && strchr("0123456789;:", text[i]); i++)
				FUZZ_CHECK(text[i] != '\0');
			FUZZ_CHECK(i < len && text[i] == 'm');
		} else {
			FUZZ_CHECK(c == '\n' || c == '\t' || c == '\r' || (c >= 0x20 && c != 0x7f));
		}
	}
}

/* What was printed, the caller's. */
static char *take_output(bool is_foreign)
{
	const off_t len = lseek(out_fd, 0, SEEK_END);
	char *text = malloc((size_t)len + 1);

	FUZZ_CHECK(text && pread(out_fd, text, (size_t)len, 0) == (ssize_t)len);
	text[len] = '\0';
	if (is_foreign) {
		check_harmless(text, (size_t)len);
		FUZZ_CHECK(strlen(text) == (size_t)len && text_is_utf8(text));
	}
	FUZZ_CHECK(ftruncate(out_fd, 0) == 0 && lseek(out_fd, 0, SEEK_SET) == 0);
	return text;
}

/* May one of the frames in the @len bytes at hand begin a recording anew? */
static bool begins_anew(const struct stream *stream, size_t len)
{
	for (size_t at = 0; at < len; at++)
		if (stream->in[at] == FRAME_START)
			return true;
	return false;
}

static void feed(struct stream *stream, const uint8_t *data, size_t size, size_t step)
{
	for (size_t at = 0; at < size; at += step) {
		const uint64_t before = stream->offset;
		const size_t left = size - at < step ? size - at : step;
		size_t room;
		char *to = stream_space(stream, &room);
		bool may_begin;
		int r;

		FUZZ_CHECK(room > 0);
		FUZZ_CHECK(left <= room);
		memcpy(to, data + at, left);
		may_begin = begins_anew(stream, stream->in_len + left);
		r = stream_take(stream, left);
		if (r < 0) {
			FUZZ_CHECK(r == -EBADMSG || r == -EMSGSIZE);
			return;
		}
		FUZZ_CHECK(stream->in_len < sizeof(stream->in));
		FUZZ_CHECK(stream->offset >= before || may_begin);
	}
}

static struct stream *show(struct fuzz_input input, unsigned flags, size_t step)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	FUZZ_CHECK(stream);
	stream->wants_lines = flags & WANTS_LINES;
	stream->wants_timestamps = (flags & WANTS_LINES) && (flags & WANTS_TIMESTAMPS);
	stream->is_silent = flags & IS_SILENT;
	stream_open(stream, flags & IS_FOREIGN);
	stream->out.fd = stream->err.fd = out_fd;
	stream->out.is_filtered = stream->err.is_filtered = flags & IS_FOREIGN;
	stream->out.adds_returns = flags & RETURNS;
	feed(stream, input.at, input.left, step);
	return stream;
}

/* Two bytes: what is wanted, and how many come at a time, which must not matter. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const unsigned flags = fuzz_byte(&input);
	const size_t step = ((size_t)fuzz_byte(&input) + 1) * 8;
	struct stream *whole, *cut;
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *cut_text = NULL;

	if (out_fd < 0) {
		out_fd = memfd_create("out", MFD_CLOEXEC);
		FUZZ_CHECK(setenv("TZ", "UTC", 1) == 0);
		FUZZ_CHECK(out_fd >= 0);
	}
	whole = show(input, flags, FRAME_BODY_MAX);
	text = take_output(flags & IS_FOREIGN);
	cut = show(input, flags, step);
	cut_text = take_output(flags & IS_FOREIGN);
	FUZZ_CHECK(strcmp(text, cut_text) == 0 && whole->offset == cut->offset);
	FUZZ_CHECK(whole->has_ended == cut->has_ended && whole->exit_code == cut->exit_code);
	free(whole);
	free(cut);
	return 0;
}
