/* SPDX-License-Identifier: MIT */
/* Shared by run.c, run_submit.c and run_user.c; for nobody else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/run.h"
#include "client/subject.h"
#include "client/waiting.h"
#include "common/frame.h"
#include "common/varlink.h"

enum menu { MENU_OFF, MENU_ASKED };

struct run {
	const struct run_options *options;
	struct varlink *link; /* NULL: tfqd has said all, or is gone */
	int attach;           /* -1: the runner has said all */
	int signals;
	struct waiting waiting;
	uint64_t deadline_usec; /* of --wait-timeout; 0: none */

	json_t *job;  /* as tfqd told last */
	bool is_over; /* tfqd says so */
	bool is_running;
	bool has_output;      /* its runner may say so before tfqd does */
	bool was_interrupted; /* by us: it is cancelled because we said so */
	bool has_timed_out;
	int exit_at_once; /* 0: no */
	bool has_detached;
	int exit_from_runner;  /* -1: none yet */
	char last_words[1024]; /* of a runner whose terraform never ran */
	enum menu menu;
	bool is_stdin_done;

	size_t in_len;
	char in[FRAME_HEADER_LEN + FRAME_BODY_MAX];
};

/* run_submit.c */

/* Hand the command over to tfqd; opens run::attach. Return: 0, or the exit code after telling why
 * not. */
int run_submit(struct run *run, char *const *argv, const struct subject *subject);

/* run_user.c: signals, and what is typed */

/* Return: a signalfd(2), or a negative errno. */
int run_open_signals(void);
void run_read_signal(struct run *run);
/* Is there a terminal that may be read now? In the background a read would stop us. */
bool run_wants_stdin(const struct run *run);
void run_read_stdin(struct run *run);
/* It leaves the queue, or terraform is sent its one SIGINT. */
void run_ask_for_end(struct run *run);
