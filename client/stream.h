/* SPDX-License-Identifier: MIT */
/* Frames, of the attach channel or of a recording, to stdout and stderr. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/lines.h"
#include "client/outlet.h"
#include "client/waiting.h"
#include "common/frame.h"

struct stream {
	/* to be set before the first byte */
	struct waiting *waiting; /* goes away before anything is printed; NULL: there is none */
	struct lines lines;
	bool wants_lines;      /* struct lines counts, and says what is shown */
	bool wants_timestamps; /* before each line; with wants_lines */
	bool is_silent;        /* print nothing: only count, or find the end */

	uint64_t offset; /* bytes of the recording that were taken in */
	bool has_output; /* terraform's, or a note; before that, a recording may be made anew */
	bool has_screen; /* terraform has a terminal */
	bool was_told;   /* a note to us alone has come, as of who types; the reader's to clear */
	bool has_ended;
	bool never_ran;
	int exit_code;         /* once it has ended */
	char last_words[1024]; /* of a runner whose terraform never ran */
	int error;             /* of writing; nobody sees it any more */

	struct outlet out, err;
	size_t in_len;
	char in[FRAME_HEADER_LEN + FRAME_BODY_MAX];
};

/* @is_foreign: the job is another user's. What is set stays as it is. */
void stream_open(struct stream *stream, bool is_foreign);

/* Where the next bytes belong: *@ret_len of them, one at least. */
char *stream_space(struct stream *stream, size_t *ret_len);

/*
 * @len bytes lie there now: print all frames that are whole. Return: 0, or -EBADMSG or -EMSGSIZE
 * for what is no frame: read no further.
 */
int stream_take(struct stream *stream, size_t len);

/* Another source follows, at byte @offset of the recording. */
void stream_seek(struct stream *stream, uint64_t offset);
