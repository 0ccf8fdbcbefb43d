/* SPDX-License-Identifier: MIT */
/*
 * Who waits for which state, and whose turn it is. One line per state, first come
 * first served within a priority; lines run side by side. Pure: no clock, no I/O.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "daemon/job.h"

TAILQ_HEAD(job_list, job);

struct queue;

/* One state's line. At most one of its jobs is active: chosen, and not over yet. */
struct line {
	char *identity; /* backend::identity */
	char *name;     /* backend::name */
	struct job_list waiting[JOB_PRIORITY_COUNT];
	uint64_t waiting_count;
	struct job *active;
	char *hold_reason;  /* why nobody's turn comes, in words; NULL: it does */
	char *pause_reason; /* an operator has stopped it; NULL: none has */
	bool lets_push;     /* held for an errored.tfstate: who pushes it may pass */
	pid_t lost_session; /* of the job for which it is held, of its runner; 0: none */
	pid_t lost_pid;     /* ... of its terraform, which has a session of its own on a terminal */
	uint64_t
		undecided; /* jobs in it of which one may yet turn out to run (job::is_undecided) */
	bool is_numbered;  /* job::position is right for all of them */
	bool is_dirty;     /* somebody's place has changed: the owner's to use */
	void *data;        /* the owner's */
	TAILQ_ENTRY(line) link;
};

struct queue_limits {
	uint64_t max_running, max_running_per_user;
	uint64_t max_queued, max_queued_per_user;
};

int queue_new(struct queue **ret, const struct queue_limits *limits);

/* From now on; what is there stays, also beyond them. */
void queue_set_limits(struct queue *queue, const struct queue_limits *limits);

/* Every line must be empty. */
struct queue *queue_free(struct queue *queue);
DEFINE_FREEP(queue);

/*
 * Put @job, whose id, priority and backend are set, at the end of its state's line,
 * which is made if need be. @max_in_line: 0, or a limit for that line.
 * Return: 0; -ENOSPC if the queue or the line is full; -EDQUOT if the user has as
 * many waiting as one may; -ENOMEM.
 */
int queue_add(struct queue *queue, struct job *job, uint64_t max_in_line);

/* The line of the state @identity, called @name, made if need be; NULL when out of memory. */
struct line *queue_line(struct queue *queue, const char *identity, const char *name);

/* Nobody's turn comes, in any line, until this is over. */
void queue_pause(struct queue *queue, bool is_paused);
bool queue_is_paused(const struct queue *queue);

/*
 * @job, which waits, goes before all of its priority in its line; @own: before those of its owner
 * alone. Return: 0; -EALREADY if it was there; -ERANGE if there is no room, after a thousand such.
 */
int queue_move_up(struct job *job, bool own);

/*
 * Put @job, which was accepted before and whose rank says when, into its line: waiting at its
 * place, or @is_active. No limit counts. Return: 0 or -ENOMEM.
 */
int queue_restore(struct queue *queue, struct job *job, bool is_active);

/* A waiting @job leaves its line; or the active one, which is over. The line stays. */
void queue_remove(struct queue *queue, struct job *job);

/* It is @job's turn: from waiting to active. Its line must have no active one. */
void queue_activate(struct queue *queue, struct job *job);

/*
 * Whose turn is it? Of all lines without an active job and without a hold, the head
 * that was accepted first, within the limits of running jobs. NULL: nobody's.
 */
struct job *queue_pick(const struct queue *queue);

/* Would one more job of @uid have to wait for a place, whatever its state? */
bool queue_is_full(const struct queue *queue, uid_t uid);

/* job::secret_bytes of all that @uid has in it. */
size_t queue_secret_bytes(const struct queue *queue, uid_t uid);

/* The first that waits in @line, or NULL. */
struct job *queue_head(const struct line *line);

/* Jobs before @job in its line, itself counted: 1 for the active one, or for the head of a line
 * without. */
uint64_t queue_position(const struct job *job);

/* Free @line, which must be empty. Its data is the owner's. */
void queue_drop_line(struct queue *queue, struct line *line);

struct line *queue_first_line(const struct queue *queue);
/* The line whose name or identity is @name, or NULL. */
struct line *queue_find_line(const struct queue *queue, const char *name);

uint64_t queue_waiting_count(const struct queue *queue);
uint64_t queue_active_count(const struct queue *queue);
uint64_t queue_line_count(const struct queue *queue);
