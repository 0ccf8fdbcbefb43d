/* SPDX-License-Identifier: MIT */
/* A job's recording: frames, one after the other, in a file that the daemon opened. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/frame.h"

struct recording {
	int fd;              /* open for appending and reading; the struct's own */
	uint64_t size;       /* whole frames in it */
	uint64_t lost_bytes; /* output that found no room, since the last that did */
};

/*
 * Append a frame; bodies over FRAME_BODY_MAX are the caller's to split. A full disk loses
 * the frame, never half of it, and a note takes its place once there is room again.
 */
void recording_add(struct recording *recording, enum frame_type type, uint8_t stream,
		   const void *body, size_t len);
