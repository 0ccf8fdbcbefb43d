/* SPDX-License-Identifier: MIT */
/* A job's recording, as tfqd hands it out. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "client/stream.h"

/* Return: 0 and the job, and a descriptor (negative: nothing was recorded), both the caller's; or
 * the exit code, and the user has been told. */
int logs_open(uint64_t id, json_t **ret_job, int *ret_fd);

/*
 * Take the recording @fd into @stream, from @stream->offset to its end, or as far as somebody sees
 * it. What is damaged, or half a frame, is told of. Return: 0, or a negative errno.
 */
int logs_read(struct stream *stream, int fd, uint64_t id);
