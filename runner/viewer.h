/* SPDX-License-Identifier: MIT */
/*
 * Somebody who watches a job: an offset into the recording and a socket. A slow viewer
 * costs no memory and never holds up the child. What is typed is handed on as it comes: it
 * costs none either.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "runner/recording.h"

#define VIEWER_ROOM_ALL SIZE_MAX

struct viewer;

struct viewer_callbacks {
	/* How many bytes on_input() takes of @viewer now; VIEWER_ROOM_ALL: any. */
	size_t (*get_room)(const struct viewer *viewer, void *userdata);
	/* Typed for the child: @len bytes; 0: its stdin has ended. */
	void (*on_input)(struct viewer *viewer, const char *data, size_t len, void *userdata);
	/* Its terminal has another size: any two numbers. */
	void (*on_resize)(struct viewer *viewer, uint16_t rows, uint16_t columns, void *userdata);
	/* It has sent nonsense: from now on it may not type. */
	void (*on_deaf)(struct viewer *viewer, void *userdata);
	/* It has hung up, or has seen everything. Frees it. */
	void (*on_gone)(struct viewer *viewer, void *userdata);
};

struct viewer_setup {
	sd_event *event;
	const struct recording *recording;
	const struct viewer_callbacks *callbacks;
	void *userdata;
	uint64_t offset; /* of the recording, where it begins */
	bool may_type;   /* if not, what it sends is thrown away */
};

/* Takes @fd, also on failure. @setup's pointers must outlive it. Return: 0, -ERANGE for an offset
 * beyond the recording, or another negative errno. */
int viewer_new(struct viewer **ret, int fd, const struct viewer_setup *setup);
struct viewer *viewer_free(struct viewer *viewer);

/* The recording has grown. @is_over: it will not grow any more. May call on_gone. */
void viewer_push(struct viewer *viewer, bool is_over);

/* Tell it alone, as a note between what is recorded so far and what follows. One at a time: while
 * another waits to be read, nothing. It goes out with the next viewer_push(). */
void viewer_note(struct viewer *viewer, const char *text);

/* get_room() may say something else now. */
void viewer_resume_input(struct viewer *viewer);

bool viewer_may_type(const struct viewer *viewer);

/* When it last took something, CLOCK_MONOTONIC. */
uint64_t viewer_moved_usec(const struct viewer *viewer);

/* Tell whoever is at @fd why there is no view, as a note, as far as that goes at once. */
void viewer_refuse(int fd, const char *text);

/* Links for the owner's list. */
struct viewer *viewer_next(const struct viewer *viewer);
void viewer_set_next(struct viewer *viewer, struct viewer *next);
