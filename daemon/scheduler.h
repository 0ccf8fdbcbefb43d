/* SPDX-License-Identifier: MIT */
/*
 * What happens to jobs: carries out what job_fsm says, on the queue, the locks and the
 * runners. It owns every job and every lock; requests and runners' reports come in by
 * these calls, what the world should hear of goes out by the callbacks.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "daemon/config.h"
#include "daemon/http.h"
#include "daemon/job.h"
#include "daemon/lock/lock.h"
#include "daemon/queue.h"
#include "daemon/store.h"
#include "daemon/vault.h"

#define SCHEDULER_HISTORY_MAX 1000 /* jobs that are over and in memory; more are in the store */

struct scheduler;
struct identities;
struct lock_probes;
struct launcher;

struct scheduler_callbacks {
	/* Something of @job has changed that a watcher would see. */
	void (*on_changed)(const struct job *job, void *userdata);
	/* How many there are has changed. */
	void (*on_counts)(void *userdata);
	/* It was told to stop, nothing runs and no lock is held any more. */
	void (*on_stopped)(void *userdata);
};

/* All borrowed for the scheduler's life. */
struct scheduler_setup {
	sd_event *event;
	struct http *http;
	const struct config *config;
	const struct lock_host *host;
	const char *hostname;
	const char *jobs_dir; /* recordings: <jobs_dir>/<id>/output */
	const char *runner;   /* path of tfq-runner */
	const char *socket;
	const struct rlimit *nofile; /* what jobs are to have of RLIMIT_NOFILE */
	struct launcher *launcher;   /* NULL: runners are our children */
	struct identities *identities;
	struct lock_probes *probes;
	struct store *store;
	struct vault *vault;
};

int scheduler_new(struct scheduler **ret, const struct scheduler_setup *setup,
		  const struct scheduler_callbacks *callbacks, void *userdata);

/*
 * Bring back what was there before: jobs, lines that stand still, locks. What ended meanwhile is
 * closed, what runs is waited for to say hello, what waits takes its place again. Before anybody
 * may connect. Return: 0, or a negative errno.
 */
int scheduler_restore(struct scheduler *scheduler);

/* Runners and terraforms go on; locks stay in the store. */
struct scheduler *scheduler_free(struct scheduler *scheduler);
DEFINE_FREEP(scheduler);

/* That the jobs of one user which are not over may hold in memory: words and environments. */
#define SCHEDULER_BYTES_PER_USER ((size_t)128 << 20)

/*
 * Accept @job, which is taken on success, and number it. @parameters: of its Submit, kept in the
 * vault. It is accepted for good when its write, job::submitted, is on disk: until then
 * scheduler_unkept() may take it back.
 * Return: 0; -EFBIG if its user's jobs would hold too much; -EIO if nothing can be kept at present,
 * store_trouble() says why; -ENOSPC, -EDQUOT or -ENOMEM as queue_add(); -EBUSY if it does not want
 * to wait and would have to; -EDEADLK if a job that runs on that state asks for it; -ESHUTDOWN
 * while stopping.
 */
int scheduler_submit(struct scheduler *scheduler, struct job *job, const json_t *parameters);

/* From the store: all writes up to @number are on disk; or have failed, which is tried again. */
void scheduler_kept(struct scheduler *scheduler, uint64_t number);
void scheduler_unkept(struct scheduler *scheduler, uint64_t number, const char *why);

/* Who did what, into the audit. @job: or NULL; @by: (uid_t)-1 for tfqd itself. */
void scheduler_audit(const struct scheduler *scheduler, const char *kind, const struct job *job,
		     uid_t by, const char *text);

/*
 * Show the output of @job, which is not over, on @fd, which is taken.
 * Return: 0; -EMFILE if as many wait for it as may; -EDQUOT if twice max_queued_per_user
 * wait for jobs of its user that have not begun; -ENOMEM.
 */
int scheduler_attach(const struct scheduler *scheduler, struct job *job, int fd, uint64_t offset,
		     bool has_input);

/* The stdin of @job, which came without one from before a restart, is there. */
void scheduler_await_no_more(struct scheduler *scheduler, struct job *job);

/* A job that is not in memory any more, made of its record, the caller's to free; or NULL. */
struct job *scheduler_recall(const struct scheduler *scheduler, uint64_t id);

/* The job with that number, or NULL. */
struct job *scheduler_find(const struct scheduler *scheduler, uint64_t id);

/* A job is to end, @by somebody (for the log). @force: the second SIGINT. */
void scheduler_cancel(struct scheduler *scheduler, struct job *job, bool force, const char *by);

/*
 * Begin nothing more on @state (name or identity; NULL: on any), until scheduler_resume().
 * @reason: for those who wait; NULL: none. Return: 0; -ENOENT if no job there is known; -ENOMEM.
 */
int scheduler_pause(struct scheduler *scheduler, const char *state, const char *reason,
		    const struct job_owner *by);
/* Why nothing new is begun anywhere, or NULL: it is. */
const char *scheduler_pause_reason(const struct scheduler *scheduler);

/* @job is to be next of its priority; @own: only of its owner's. Return: 0; -EALREADY; -ESRCH if it
 * does not wait; -ERANGE if that was done too often. */
int scheduler_move_up(struct scheduler *scheduler, struct job *job, bool own);

/* Fill in job::usual_usec and eta_usec of the jobs of @line, if that was not done just now. */
void scheduler_estimate(struct scheduler *scheduler, struct line *line);

/* Let the queue of @state (name or identity; NULL: all that a pause of all has stopped) go on.
 * Return: 0, -ENOENT for no such queue, -EALREADY for none held, -EBUSY while a process of the lost
 * job lives. */
int scheduler_resume(struct scheduler *scheduler, const char *state);

/*
 * Remove the lock with that @id, for which a job on @state waits, by the order of @by.
 * Return: 0; -ENOENT if nothing of this daemon waits for that state's lock; -EBUSY if a job of
 * this daemon holds it; -ESTALE if the holder's lock has another ID.
 */
int scheduler_unlock(struct scheduler *scheduler, const char *state, const char *id,
		     const char *by);

/* The configuration is another one now: what follows from it at once. */
void scheduler_reconfigure(struct scheduler *scheduler);

/* Take no more jobs, start none, let locks go under which nothing runs. What waits and what runs is
 * the next tfqd's. */
void scheduler_stop(struct scheduler *scheduler);
bool scheduler_is_stopping(const struct scheduler *scheduler);

const struct scheduler_setup *scheduler_setup_of(const struct scheduler *scheduler);
const struct queue *scheduler_queue(const struct scheduler *scheduler);
/* Jobs whose terraform runs. */
uint64_t scheduler_running_count(const struct scheduler *scheduler);
/* All jobs it knows, in order of acceptance. */
const struct job_list *scheduler_jobs(const struct scheduler *scheduler);

/* The lock of @line, or NULL if tfqd never took it. */
const struct lock *scheduler_lock(const struct line *line);

/* --- runners ------------------------------------------------------------------------------- */

/* What a runner says of itself (wire.h, Hello). */
struct scheduler_hello {
	bool has_begun; /* its terraform was let go */
	uint64_t
		deadline_usec; /* ... under a lease until then, as far as it knows; 0: under none */
};

/* @peer says it is the runner of @job. Return: 0, or -EPERM if it is not the process that was
 * started for it. */
int scheduler_hello(struct scheduler *scheduler, struct job *job, struct peer *peer,
		    const struct scheduler_hello *hello);

/* Is @pid the process that was started to run a job of @uid, by its number? */
bool scheduler_has_runner(const struct scheduler *scheduler, uid_t uid, pid_t pid);

/* What a runner reports of its job (wire.h, Report). Times: CLOCK_MONOTONIC microseconds. */
struct scheduler_report {
	const char *event; /* NULL: none */
	pid_t pid;
	uint64_t at_usec;
	int exit_code;          /* -1: none */
	int exit_signal;        /* 0: none */
	bool has_errored_state; /* a fresh errored.tfstate lies in the job's directory */
	bool is_fenced;         /* the runner has stopped or killed it: its lease was not renewed */
	const char *message;    /* NULL: none */
};

/* Texts are lent by @object. */
struct scheduler_report scheduler_report_read(const json_t *object);
/* An event that we do not know is ignored. */
void scheduler_runner_reports(struct scheduler *scheduler, struct job *job,
			      const struct scheduler_report *report);
/* The runner's connection is gone. */
void scheduler_runner_gone(struct scheduler *scheduler, struct job *job);
