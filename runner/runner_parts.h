/* SPDX-License-Identifier: MIT */
/* Shared by runner.c and runner_*.c; for nobody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "common/frame.h"
#include "common/parse.h"
#include "common/varlink.h"
#include "runner/child.h"
#include "runner/fence.h"
#include "runner/journal_output.h"
#include "runner/prompt.h"
#include "runner/recording.h"
#include "runner/runner.h"
#include "runner/spec.h"
#include "runner/terminal.h"
#include "runner/viewer.h"

#define RUNNER_VIEWERS_MAX 1000
#define VIEWER_LINGER      (60 * USEC_PER_SEC) /* for one who does not read, after the end */

struct runner {
	uint64_t id;
	sd_event *event;
	struct spec *spec;
	struct recording recording;
	struct journal_output journal;

	const char *socket;
	struct varlink *link; /* NULL: there is no tfqd */
	sd_event_source *link_io;
	sd_event_source *retry; /* to find it again */
	uint64_t retry_usec;    /* the next pause */
	json_t *unwritten;      /* reports for which the disk had no room */

	struct viewer *viewers, *writer; /* the latest first; who types, NULL: nobody */
	sd_event_source *push, *linger;  /* they are behind; they are looked at after the end */

	struct child child;
	struct rlimit nofile; /* its limit, ours before it was raised */
	sd_event_source *out_io, *err_io, *in_io, *sigchld, *grace;
	uint64_t exited_usec;
	struct timespec errored_before; /* mtime of an errored.tfstate that was there before */

	sd_event_source *fence_timer;
	struct fence fence;

	sd_event_source *resize; /* a size was just set: another one waits */
	size_t typed_len;        /* typed, and not yet taken by the child */

	struct prompt prompt;
	unsigned asked;                     /* prompt::asked of the question that tfqd knows */
	sd_event_source *settle, *approval; /* is it a question? did nobody answer it? */

	unsigned viewer_count;
	int reports_fd, stdin_fd;
	int interrupts;                       /* SIGINTs sent */
	int status;                           /* of the child, from waitpid(2) */
	struct terminal_size size, next_size; /* as it is; as it is to be */

	bool is_refused;    /* tfqd does not know us */
	bool prepared_lock; /* the child that waits has -lock=false */
	bool is_child_gone; /* it died while it waited */
	bool is_started, is_exited, is_over;
	bool has_leftovers; /* terraform has exited, they were sent SIGTERM */
	bool is_killing;    /* whatever is left gets SIGKILL, again and again */
	bool is_fenced;     /* the fence has sent a signal */
	bool is_reprieved;  /* the viewers were told of a lease renewed after its SIGINT */
	bool typed_end;
	bool is_signalled;             /* its SIGINT was not tfqd's idea */
	bool is_asking, is_unanswered; /* tfqd knows of the question; it has ended terraform */

	char typed[FRAME_BODY_MAX];
	char output[FRAME_BODY_MAX]; /* what is read from the child at a time */
};

/* --- runner.c -------------------------------------------------------------------------------- */

/* Have it go off once, that much from now. */
void runner_set_timer(sd_event_source *timer, uint64_t usec);

/* --- runner_link.c --------------------------------------------------------------------------- */

/* Connect to tfqd and say hello. Return: 0, or a negative errno. */
int runner_say_hello(struct runner *runner);
/* Tell tfqd, if it is there, of @event. @parameters is stolen; NULL: none. */
void runner_tell(struct runner *runner, const char *event, json_t *parameters);
/* The same, and before that write it down for a tfqd to come. Return: was it written? */
bool runner_report(struct runner *runner, const char *event, json_t *parameters);
/* terraform is about to begin: known to the tfqd to come, whatever happens now. Return: as above */
bool runner_report_going(struct runner *runner);
/* tfqd's answer to the hello makes it sure that it is there, or sure that it does not want us. */
void runner_be_accepted(struct runner *runner);
void runner_be_refused(struct runner *runner, const json_t *message);
void runner_drop_link(struct runner *runner);
/* For sd-event. */
int runner_on_retry(sd_event_source *source, uint64_t usec, void *userdata);

/* --- runner_orders.c ------------------------------------------------------------------------- */

void runner_take_order(struct runner *runner, const json_t *message);

/* --- runner_viewers.c ------------------------------------------------------------------------ */

/* Takes @fd; what cannot be a viewer is closed. */
void runner_add_viewer(struct runner *runner, int fd, uint64_t offset, bool may_type);
/* The recording has grown, or is over: they see it in a moment. */
void runner_push_viewers(struct runner *runner);
void runner_resume_viewers(struct runner *runner);
void runner_free_viewers(struct runner *runner);
/* From now on they are waited for, but not for ever. */
void runner_linger(struct runner *runner);
/* For sd-event. */
int runner_on_push(sd_event_source *source, void *userdata);
int runner_on_linger(sd_event_source *source, uint64_t usec, void *userdata);

/* --- runner_input.c -------------------------------------------------------------------------- */

/* How much may be typed now; VIEWER_ROOM_ALL: anything, nobody reads it. */
size_t runner_input_room(const struct runner *runner);
/* @len bytes, no more than that, were typed; 0: stdin has ended. */
void runner_type(struct runner *runner, const char *data, size_t len);
/* The writer's terminal has that size. */
void runner_resize(struct runner *runner, const struct terminal_size *size);
/* Nobody is left who could type: on pipes, nobody will. */
void runner_lose_writer(struct runner *runner);
/* The child's stdin ends. */
void runner_close_input(struct runner *runner);
/* For sd-event. */
int runner_on_input_room(sd_event_source *source, int fd, uint32_t revents, void *userdata);
int runner_on_resize(sd_event_source *source, uint64_t usec, void *userdata);

/* --- runner_prompt.c ------------------------------------------------------------------------- */

/* Look at what terraform has printed. */
void runner_see_output(struct runner *runner, const char *output, size_t len);
/* Something was typed. */
void runner_see_answer(struct runner *runner);
/* Who may answer has come, or has gone. */
void runner_watch_question(struct runner *runner);
/* For sd-event. */
int runner_on_settled(sd_event_source *source, uint64_t usec, void *userdata);
int runner_on_unanswered(sd_event_source *source, uint64_t usec, void *userdata);

/* --- runner_child.c -------------------------------------------------------------------------- */

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

/* --- runner_end.c ---------------------------------------------------------------------------- */

/* Tell the viewers something, and the recording. */
void runner_note(struct runner *runner, const char *text);
/* Kill everything that is left of the job, and go on until it is gone. */
void runner_kill_all(struct runner *runner);
/* It never ran: by the daemon's word, or because it cannot. */
void runner_end_unstarted(struct runner *runner, int code, const char *words);
/* The same, and tell tfqd. @message: for the user; NULL: out of memory. */
void runner_refuse(struct runner *runner, int code, const char *message);
/* Leave the loop if nobody needs us any more. */
void runner_maybe_leave(struct runner *runner);
/* An errored.tfstate that lies there already is not this job's. */
void runner_remember_errored_state(struct runner *runner);
/* For sd-event: something of the job has ended; its patience with the rest has. */
int runner_on_sigchld(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata);
int runner_on_grace_over(sd_event_source *source, uint64_t usec, void *userdata);

/* --- runner_fence.c -------------------------------------------------------------------------- */

/* Begin under a lease; @deadline_usec 0: none. Return: 0; -ETIME if it is too late to start;
 * -EOPNOTSUPP if the kernel does not tell what there would be to kill; or a negative errno: then it
 * must not start either. */
int runner_fence_begin(struct runner *runner, uint64_t deadline_usec, uint64_t stop_grace_usec);
/* tfqd says that the lease was renewed. */
void runner_fence_move(struct runner *runner, uint64_t deadline_usec);
void runner_fence_end(struct runner *runner);
