/* SPDX-License-Identifier: MIT */
/* Shared by runner.c and runner_*.c; for nobody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "common/frame.h"
#include "common/parse.h"
#include "common/varlink.h"
#include "runner/child.h"
#include "runner/fence.h"
#include "runner/recording.h"
#include "runner/runner.h"
#include "runner/spec.h"
#include "runner/viewer.h"

struct runner {
	uint64_t id;
	sd_event *event;
	struct varlink *link; /* NULL: the daemon is gone */
	sd_event_source *link_io, *out_io, *err_io, *in_io, *grace, *sigchld, *fence_timer;
	struct spec *spec;
	struct recording recording;
	struct viewer *viewers;
	int stdin_fd;

	struct child child;
	bool prepared_lock; /* the child that waits has -lock=false */
	bool is_child_gone; /* it died while it waited */
	bool is_started, is_exited, is_over;
	int interrupts; /* SIGINTs sent */
	int status;     /* of the child, from waitpid(2) */
	uint64_t exited_usec;
	bool has_leftovers; /* terraform has exited, they were sent SIGTERM */
	bool is_killing;    /* whatever is left gets SIGKILL, again and again */
	struct fence fence;
	bool is_fenced;    /* the fence has sent a signal */
	bool is_reprieved; /* the viewers were told of a lease renewed after its SIGINT */
	struct timespec errored_before; /* mtime of an errored.tfstate that was there before */

	size_t typed_len; /* typed, and not yet taken by the child */
	char typed[FRAME_BODY_MAX];
	bool typed_end;
};

/* runner.c */

/* runner_orders.c */

/* Connect to the tfqd that listens on @socket. Return: 0, or a negative errno. */
int runner_say_hello(struct runner *runner, const char *socket);
/* Tell tfqd, if it is still there, of @event. @parameters is stolen; NULL: none. */
void runner_report(struct runner *runner, const char *event, json_t *parameters);
void runner_drop_link(struct runner *runner);

/* runner_viewers.c */

/* Takes @fd; what cannot be a viewer is closed. */
void runner_add_viewer(struct runner *runner, int fd);
/* The recording has grown, or is over. */
void runner_push_viewers(struct runner *runner);
void runner_free_viewers(struct runner *runner);
/* The child's stdin ends. */
void runner_close_input(struct runner *runner);
/* For sd-event: the child's stdin takes more. */
int runner_on_input_room(sd_event_source *source, int fd, uint32_t revents, void *userdata);

/* runner_child.c */

/* Fork the child for a run with or without the daemon's lock. Return: false if it was refused. */
bool runner_make_child(struct runner *runner, bool hold_lock);
/* Let it, which waits, go under a lease (fence.h), or refuse. */
void runner_go(struct runner *runner, bool hold_lock, uint64_t deadline_usec,
	       uint64_t stop_grace_usec);
/* One SIGINT to terraform's pid alone: its group has providers, which must not hear it. @level: how
 * many it may have got by then. Return: was it sent? */
bool runner_interrupt(struct runner *runner, int level);
/* Record what it has still printed, to the end. */
void runner_drain_child(struct runner *runner);
void runner_unwatch_child(struct runner *runner);

/* runner_end.c */

/* Tell the viewers something, and the recording. */
void runner_note(struct runner *runner, const char *text);
/* Kill everything that is left of the job, and go on until it is gone. */
void runner_kill_all(struct runner *runner);
/* The timer behind that and behind the patience with leftovers: made while it can be refused.
 * Return: 0, or a negative errno. */
int runner_make_grace(struct runner *runner);
/* It never ran: by the daemon's word, or because it cannot. */
void runner_end_unstarted(struct runner *runner, int code, const char *words);
/* The same, and tell tfqd. @message: for the user; NULL: out of memory. */
void runner_refuse(struct runner *runner, int code, const char *message);
/* Leave the loop if nobody needs us any more. */
void runner_maybe_leave(struct runner *runner);
/* An errored.tfstate that lies there already is not this job's. */
void runner_remember_errored_state(struct runner *runner);
/* For sd-event: something of the job has ended. */
int runner_on_sigchld(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata);

/* runner_fence.c */

/* Begin under a lease; @deadline_usec 0: none. Return: 0; -ETIME if it is too late to start;
 * -EOPNOTSUPP if the kernel does not tell what there would be to kill; or a negative errno: then it
 * must not start either. */
int runner_fence_begin(struct runner *runner, uint64_t deadline_usec, uint64_t stop_grace_usec);
/* tfqd says that the lease was renewed. */
void runner_fence_move(struct runner *runner, uint64_t deadline_usec);
void runner_fence_end(struct runner *runner);
