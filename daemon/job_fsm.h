/* SPDX-License-Identifier: MIT */
/* The life of a job as a table. Pure: no I/O, no clock, no allocation. */
#pragma once

#include <stdbool.h>

/* A job's STATUS; "state" always means a terraform state. Names are part of the protocol. */
enum job_status {
	JOB_QUEUED,
	JOB_LOCKING, /* first of its queue: waits for the lock and for its runner */
	JOB_RUNNING,
	JOB_APPROVING, /* terraform asks for approval */
	JOB_STOPPING,  /* was sent its one SIGINT */
	JOB_DONE,
	JOB_FAILED,
	JOB_CANCELLED,
	JOB_LOST, /* how it ended cannot be known */
	JOB_STATUS_COUNT,
};

enum job_event {
	JOB_EV_HEAD,   /* it is its turn */
	JOB_EV_GO,     /* the lock is held, the runner is ready */
	JOB_EV_PROMPT, /* terraform asks */
	JOB_EV_ANSWERED,
	JOB_EV_EXIT_OK,      /* exit code 0 (or 2 of plan -detailed-exitcode); no process is left */
	JOB_EV_EXIT_BAD,     /* any other exit; no process is left */
	JOB_EV_EXIT_STOPPED, /* as EXIT_BAD, after somebody's cancel */
	JOB_EV_CANCEL,
	JOB_EV_FORCE,     /* the second SIGINT is asked for */
	JOB_EV_EXPIRE,    /* waited, or was waited for, too long */
	JOB_EV_SUPERSEDE, /* a newer one takes its place */
	JOB_EV_REFUSED,   /* cannot be run: no lock to be had, or terraform did not start */
	JOB_EV_LOCK_LOST, /* somebody replaced the lock */
	JOB_EV_VANISHED,  /* its runner died */
	JOB_EVENT_COUNT,
};

/* What the caller must do after a step. 0 is no action at all: an illegal step. */
enum job_action {
	JOB_DO_NOTHING = 1,
	JOB_DO_ACQUIRE,         /* want the lock, start the runner */
	JOB_DO_START,           /* tell the runner to go */
	JOB_DO_INTERRUPT,       /* one SIGINT */
	JOB_DO_INTERRUPT_AGAIN, /* the second */
	JOB_DO_CLOSE,           /* it is over: report, let the next one on */
	JOB_DO_HOLD,            /* it is over, nobody knows how: keep the lock, stop the queue */
};

/*
 * Apply @event to *@status.
 * Return: the enum job_action to carry out, or -EPROTO if @event cannot happen
 * in *@status, which is then unchanged.
 */
int job_fsm_step(enum job_status *status, enum job_event event);

/* "queued", "locking", ... */
const char *job_status_name(enum job_status status);

/* Is it over? */
bool job_status_is_final(enum job_status status);

/* May terraform be running? */
bool job_status_is_running(enum job_status status);
