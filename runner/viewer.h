/* SPDX-License-Identifier: MIT */
/*
 * Somebody who watches a job: an offset into the recording and a socket. A slow viewer
 * costs no memory and never holds up the child.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "runner/recording.h"

struct viewer;

struct viewer_callbacks {
	/* Typed for the child: @len bytes; 0: its stdin has ended. Return: false to be asked again
	 * later. */
	bool (*on_input)(const char *data, size_t len, void *userdata);
	/* It has hung up, or has seen everything. Frees it. */
	void (*on_gone)(struct viewer *viewer, void *userdata);
};

/* Takes @fd, also on failure. @recording and @callbacks must outlive it. Return: 0 or a negative
 * errno. */
int viewer_new(struct viewer **ret, sd_event *event, int fd, const struct recording *recording,
	       const struct viewer_callbacks *callbacks, void *userdata);
struct viewer *viewer_free(struct viewer *viewer);

/* The recording has grown. @is_over: it will not grow any more. May call on_gone. */
void viewer_push(struct viewer *viewer, bool is_over);

/* on_input() would take more now. */
void viewer_resume_input(struct viewer *viewer);

/* Links for the owner's list. */
struct viewer *viewer_next(const struct viewer *viewer);
void viewer_set_next(struct viewer *viewer, struct viewer *next);
