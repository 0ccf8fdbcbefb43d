/* SPDX-License-Identifier: MIT */
/* Shared by scheduler*.c, lane*.c and runner_link.c alone. */
#pragma once

#include "daemon/scheduler.h"
#include "daemon/usual.h"

#define LANE_QUARANTINE_USEC UINT64_C(30000000) /* aws.md 7.3: delta */

struct scheduler {
	struct scheduler_setup setup;
	struct scheduler_callbacks callbacks;
	void *userdata;

	struct queue *queue;
	struct job_list all;
	void *by_id; /* tsearch(3) */
	struct usual *usual;
	uint64_t next_id;
	uint64_t over_count;
	uint64_t ended_count;   /* since the start: what is usual may have changed */
	char *pause_reason;     /* nothing new is begun; NULL: it is */
	struct job_list unkept; /* jobs that are not on disk yet, in order */
	bool is_stopping, is_stopped;
	bool is_restoring;           /* which locks may be left is not known yet */
	sd_event_source *awaiting;   /* how long clients of before are */
	sd_event_source *expiry;     /* a look for jobs that may be forgotten */
	sd_event_source *pump_late;  /* in its place while a hand-over is under way */
	sd_event_source *stop_limit; /* how long a stop may take once nothing runs; NULL: not yet */
	sd_event_source *pump;       /* once per turn of the loop, however much happened in it */
	sd_event_source *pump_latest; /* then at last, should there be no end of what happens */
};

/* What the scheduler knows of a line beyond the queue: its lock. line::data. */
/*
 * What the lock of a line is held under. As the configuration says when the line comes into being,
 * and so for as long as it is there: a lock that says one lease, and a terraform that is fenced by
 * another, would let two run at once.
 */
struct lane_terms {
	uint64_t lease_usec, renew_usec, stop_grace_usec;
	uint64_t poll_min_usec, poll_max_usec;
	uint64_t drift_percent;
	enum config_takeover takeover;
};

struct lane {
	struct scheduler *scheduler;
	struct line *line;
	struct lane_terms terms;
	struct lock *lock;         /* NULL until it is needed first */
	struct backend *outline;   /* of the jobs that doze; NULL: none does yet */
	struct identity *identity; /* of the last that wanted the lock */
	uint64_t told_job;         /* for whom the log knows of a foreign lock, with this ID */
	char told_holder[LOCKINFO_TEXT_MAX];
	char told_trouble[LOCKINFO_TEXT_MAX]; /* with the lock, its numbers aside */
	uint64_t told_trouble_usec;           /* CLOCK_MONOTONIC */
	char *lock_key;                       /* which stores it is in; NULL: never wanted */
	bool may_go_early;           /* the active job may start while the lock is handed to it */
	bool is_quarantined;         /* a killed terraform's last write may be under way */
	sd_event_source *quarantine; /* until then; NULL: never needed */
	bool must_release;           /* the lock is to be let go before anybody takes it again */
	bool is_handed_over;         /* the active job came by hand-over */
	uint64_t kept_job;        /* for which the store knows that there may be a lock; 0: none */
	uint64_t kept_after;      /* ... once this write is done */
	uint64_t estimated_usec;  /* when job::eta_usec was filled in, CLOCK_REALTIME */
	bool is_found;            /* that is of before a restart, and was not seen since */
	sd_event_source *regain;  /* tries again to regain the lock of a job from before */
	struct job *sweeper;      /* whose lock of before is to be removed; the lane's own */
	uint64_t exited_usec;     /* exit of the job before, CLOCK_MONOTONIC */
	uint64_t held_since_usec; /* CLOCK_BOOTTIME; 0: not held */
	uint64_t handover_count;  /* since then */
};

/* scheduler.c */

/* Apply @event to @job and carry out what it asks for. An event out of place is logged and dropped.
 */
void scheduler_step(struct scheduler *scheduler, struct job *job, enum job_event event);
void scheduler_changed(struct scheduler *scheduler, const struct job *job);
void scheduler_pump_soon(struct scheduler *scheduler);
/* It cannot be run; the sentence says why. */
void scheduler_refuse(struct scheduler *scheduler, struct job *job, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same from within what starts jobs: the pump ends it, so that no refusal calls the next. */
void scheduler_refuse_soon(struct scheduler *scheduler, struct job *job, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* How long jobs like @job have taken, the middle one of those that are known; 0: too few are. */
uint64_t scheduler_usual(const struct scheduler *scheduler, const struct job *job);
/* @job is over: remember how long it took. */
void scheduler_learn(struct scheduler *scheduler, const struct job *job);

/* Into the list of all, and findable. Return: 0 or -ENOMEM. */
int scheduler_register(struct scheduler *scheduler, struct job *job);
void scheduler_unregister(struct scheduler *scheduler, struct job *job);
void scheduler_forget(struct scheduler *scheduler, struct job *job); /* frees it */
/* Its runner is to let terraform go, now. */
void scheduler_let_go(struct scheduler *scheduler, struct job *job);
/* Look for jobs that may be forgotten, in a while. */
void scheduler_expire_soon(struct scheduler *scheduler);

/* scheduler_plan.c */

struct queue_limits scheduler_limits(const struct config *config);

/* What a pause of all has stopped goes on. Return: 0, or -EALREADY. */
int scheduler_unpause(struct scheduler *scheduler);
/* Cancel what its owner has waiting for the same as @job. */
void scheduler_supersede(struct scheduler *scheduler, const struct job *job);

/* scheduler_keep.c */

#define SCHEDULER_ALL_LINES "" /* in the place of an identity */
/* Write down whether anything new is begun at all. */
void scheduler_note_pause(struct scheduler *scheduler);

/* Write @job down. Return: the number of the write (store.h). */
uint64_t scheduler_note(struct scheduler *scheduler, struct job *job);
/* Write down whether @line stands still. */
void scheduler_note_line(struct scheduler *scheduler, const struct line *line);
bool scheduler_is_kept(const struct scheduler *scheduler, uint64_t number);
void scheduler_expire(struct scheduler *scheduler);

/* scheduler_report.c */

/* The runner of @job has ended, as the kernel says; @how: in words, or NULL. */
void scheduler_runner_died(struct scheduler *scheduler, struct job *job, const char *how);

/* scheduler_restore.c */

/* Apply what the runner of @job has reported into its file, and we have not heard. */
void scheduler_settle(struct scheduler *scheduler, struct job *job);
/* It is known by now whether @job, which was undecided, runs. */
void scheduler_decide(struct scheduler *scheduler, struct job *job);
/* The job of @record, which is @skeleton's, as it was submitted. Return: 0; -ENOENT if its secrets
 * are gone; or a negative errno, and *@ret_error may say more. */
int scheduler_rebuild(struct job **ret, const struct scheduler *scheduler,
		      const struct job *skeleton, const json_t *record, char **ret_error);

/* scheduler_doze.c */

/* Drop of @job, if it but waits, what is in the vault, too. Once for each job. */
void scheduler_consider(struct job *job);
/* The same for all that are on disk since. */
void scheduler_doze(struct scheduler *scheduler);
/* Read it back, before @job is run or its lock asked for. Return: 0; -ENOENT; -EBADMSG; or another
 * negative errno, perhaps of the moment. */
int scheduler_wake(const struct scheduler *scheduler, struct job *job);
/* It is @job's turn, and scheduler_wake() has said @r. */
void scheduler_refuse_sleeper(struct scheduler *scheduler, struct job *job, int r);
/* Keep of @job, of the line of @lane, only what is told of it. Return: false when out of memory. */
bool scheduler_reduce(struct lane *lane, struct job *job);

/* scheduler_left.c */

/* Before the jobs, and after them. Return: 0, or a negative errno. */
int scheduler_restore_lines(struct scheduler *scheduler);
int scheduler_restore_locks(struct scheduler *scheduler);
/* Is what is in the vault of job @id still needed, to run it or for its lock? @userdata: scheduler
 */
bool scheduler_needs_secrets(uint64_t id, void *userdata);
/* A lock of before may be there, and nobody needs it: have it removed. */
void scheduler_sweep(struct lane *lane);
/* Is @id that of a lock which this daemon wrote for a job that does not run any more? */
bool scheduler_is_own_lock(const struct scheduler *scheduler, const struct line *line,
			   const char *id);

/* scheduler_pump.c: start what can be started, tell those who wait, drop what is over. */
int scheduler_pump(sd_event_source *source, void *userdata);

/* lane.c */

struct lane *lane_of(const struct line *line);
/* Return: the lane of a new line, or NULL when out of memory. */
struct lane *lane_new(struct scheduler *scheduler, struct line *line);
void lane_free(struct lane *lane);
/* Begin what must be known before @job's lock is asked for, if that is not done. */
void lane_prepare(struct lane *lane, struct job *job);
/* Make @job's claim, and want the lock for it. Its preflight is ready. */
void lane_take_lock(struct lane *lane, struct job *job);
/* Want the lock for the active job, or none where terraform takes it; then start the job if it can
 * be. */
void lane_acquire(struct lane *lane, struct job *job);
/* Lock and runner: both there? Then it goes. */
void lane_try_go(struct lane *lane, struct job *job);
/* The lock is not needed any more. */
void lane_let_go(struct lane *lane);
/* Keep the lock for as long as a write of a terraform that was killed may still land. */
void lane_quarantine(struct lane *lane);
/* @job, which was active, is over: the lock goes to the next one, or is released. */
void lane_hand_on(struct lane *lane, const struct job *job);
/* Nothing waits, nothing runs, nothing is in the store. */
bool lane_is_idle(const struct lane *lane);

/* As idle, but for a request to take the lock that may still land: said in the log. */
bool lane_may_be_left(const struct lane *lane);

/* lane_keep.c: a lock that was there before */

/* Say in the store that @job's lock may be there. Return: may a request go out? lane_on_kept()
 * comes back to it. */
bool lane_keep(struct lane *lane, const struct job *job);
void lane_on_kept(struct lane *lane, uint64_t number);
/* Nothing of ours is there any more. */
void lane_unkeep(struct lane *lane);
/* Get back the lock of the active job, which runs since before this tfqd was started. */
void lane_regain(struct lane *lane);
/* Remove the lock of @job, which is over and taken: it was left there. */
void lane_sweep(struct lane *lane, struct job *job);
/* It is held, or another's: done. */
void lane_swept(struct lane *lane);

/* lane_events.c */

/* Make the line's lock, if there is none yet. Return: 0, or a negative errno. */
int lane_make_lock(struct lane *lane);
/* Is the lock one whose lease others may take over when it has run out? */
bool lane_takes_over(const struct lane *lane);

/* runner_link.c */

/* Start the runner of @job if it has none. Return: 0, or a negative errno. */
int runner_link_start(struct scheduler *scheduler, struct job *job);
/* Orders. A job without a runner takes them as done. */
void runner_link_prepare(struct scheduler *scheduler, struct job *job);
/*
 * @deadline_usec: when the lease of the lock may end, CLOCK_BOOTTIME; no process of the job lives
 * then. @stop_grace_usec: from terraform's SIGINT to the kill. 0, 0: no lease, nobody is killed.
 */
void runner_link_go(struct job *job, uint64_t deadline_usec, uint64_t stop_grace_usec);
/* The lease that it went under was renewed until then. */
void runner_link_deadline(struct job *job, uint64_t deadline_usec);
void runner_link_stop(struct job *job, int level);
void runner_link_end(struct job *job);
/* Show its output to one more. Return: 0, or a negative errno. */
int runner_link_attach(struct job *job, const struct job_viewer *viewer);
/* Watch over a runner that another tfqd has started. Return: 0; -ESRCH if it is gone. */
int runner_link_watch(struct scheduler *scheduler, struct job *job);
/* Does the runner live, or anything in the unit that it has? */
bool runner_link_lives(const struct job *job);
/* Nothing of the runner lives any more. */
void runner_link_forget(struct job *job);
/* SIGKILL to all of its unit, the runner too. Where it has none, nothing can be done. */
void runner_link_kill(struct job *job);
/* Process @pid says that it is the runner of the unit that was started for @job. Return: 0, or a
 * negative errno. */
int runner_link_claim(struct scheduler *scheduler, struct job *job, pid_t pid);
