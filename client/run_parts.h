/* SPDX-License-Identifier: MIT */
/* Shared by run*.c; for nobody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/keys.h"
#include "client/link.h"
#include "client/run.h"
#include "client/screen.h"
#include "client/stream.h"
#include "client/subject.h"
#include "client/waiting.h"

enum menu { MENU_OFF, MENU_ASKED };

enum run_kind {
	RUN_SUBMIT, /* it is ours: Ctrl-C ends it */
	RUN_ATTACH,
	RUN_FOLLOW, /* its output alone */
	RUN_WAIT,   /* its end alone */
};

struct run {
	enum run_kind kind;
	const struct run_options *options; /* and what follows: to submit with */
	char *const *argv;
	const struct subject *subject;
	bool has_input; /* what is typed here is for terraform */

	struct link link;
	bool is_answered;        /* this connection's question */
	bool said_away;          /* that tfqd is not there */
	bool was_away;           /* since the job was accepted */
	uint64_t resubmit_until; /* a tfqd that stops has refused it; 0: none has */
	int attach;              /* -1: the runner has said all, or is gone */
	bool is_attach_new;      /* it went with the question that is not answered yet */
	uint64_t reattach_usec;  /* it ended too early: ask anew then; 0: it did not */
	struct stream stream;

	int signals;
	struct waiting waiting;
	uint64_t deadline_usec; /* of --wait-timeout; 0: none */

	uint64_t id;  /* 0: not accepted yet */
	json_t *job;  /* as tfqd told last */
	bool is_over; /* tfqd says so */
	bool is_running;
	bool was_interrupted; /* by us: it is cancelled because we said so */
	bool has_timed_out;
	int exit_at_once; /* 0: no */
	bool has_detached;

	struct screen screen;
	bool wants_screen;    /* terraform has one of its own */
	bool is_resized;      /* and it has not been told */
	uint64_t resize_usec; /* when it was told last */
	struct keys keys;
	enum menu menu;
	bool is_stdin_done;
};

/* run.c */

/* With everything set: watch the job until it is over. Return: the exit code. */
int run_watch(struct run *run);
void run_init(struct run *ret, enum run_kind kind);
void run_clear(struct run *run);

/* run_link.c: what tfqd is asked and tells */

/* Ask for the job, as it is now and as it changes, on a connection that has just been made.
 * Return: 0, or the exit code after telling why not. */
int run_ask(struct run *run);
/* Return: 0, or the exit code of an error. */
int run_read_link(struct run *run, short revents);
/* The times that have come. Return: 0, or the exit code of an error. */
int run_keep_link(struct run *run, uint64_t now_usec);
bool run_is_status(const struct run *run, const char *status);

/* run_submit.c */

/* Hand the command over to tfqd; opens run::attach. Return: 0, or the exit code after telling why
 * not. */
int run_submit(struct run *run);
/* terraform gets our own stdin, to read from when it likes; but not a terminal, which stays ours.
 */
bool run_gives_stdin(const struct run *run);

/* run_end.c */

/* Show what was recorded and did not come to us, and how it ended. Return: the exit code. */
int run_end(struct run *run);

/* run_user.c: signals, and what is typed */

/* Return: a signalfd(2), or a negative errno. */
int run_open_signals(void);
void run_read_signal(struct run *run);
/* Is there something that may be read now? In the background a read would stop us. */
bool run_wants_stdin(const struct run *run);
void run_read_stdin(struct run *run, short revents);
/* It leaves the queue, or terraform is sent its one SIGINT. */
void run_ask_for_end(struct run *run);
/* Terminal modes and size as they should be now. Return: when to look again; 0: when something
 * happens. */
uint64_t run_keep_screen(struct run *run, uint64_t now_usec);
/* Nobody sees the output any more: @error of writing it. */
void run_lose_terminal(struct run *run, int error);
