/* SPDX-License-Identifier: MIT */
/*
 * What terraform prints, line by line into the system's journal, made printable and without
 * colours. Nobody waits for the journal: what it has no room for is counted, and said later.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define JOURNAL_OUTPUT_SOCKET   "/run/systemd/journal/socket"
#define JOURNAL_OUTPUT_LINE_MAX 2000 /* bytes; longer lines go in pieces */

struct journal_line {
	char text[JOURNAL_OUTPUT_LINE_MAX + 1];
	size_t len;
};

struct journal_output {
	int fd; /* -1: there is no journal, or nobody wants it */
	uint64_t job;
	const char *state; /* borrowed: the name of job's state */
	uint64_t lost;     /* lines, since the last that found room */
	struct journal_line out, err;
};

/* To the journal that listens at @socket. Return: 0, or a negative errno. */
int journal_output_open(struct journal_output *output, const char *socket, uint64_t job,
			const char *state);

/* @len bytes of the stream @stream (enum frame_stream). */
void journal_output_add(struct journal_output *output, uint8_t stream, const char *data,
			size_t len);

/* No more will come: what has no end of line goes, too. */
void journal_output_close(struct journal_output *output);
