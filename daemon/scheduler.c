/* SPDX-License-Identifier: MIT */
/*
 * The way of a job: submit (scheduler_ask.c) → on disk → queued → (pump picks it) locking → lane
 * gets the lock, runner_link the runner → running → the runner reports the exit → closed, and in
 * the same breath the lane hands the lock to the next one. Everything that can wait (places in the
 * queue, counts, runners started ahead) is done by the pump, once per turn of the loop, after that.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/env.h"
#include "common/log.h"
#include "common/parse.h"
#include "daemon/journal.h"
#include "daemon/launcher.h"
#include "daemon/metrics.h"
#include "daemon/peer.h"
#include "daemon/preflight.h"
#include "daemon/scheduler_parts.h"

#define HANDOVER_PAUSE_USEC (10 * USEC_PER_MSEC)
#define PUMP_LATEST_USEC \
	(10 * USEC_PER_MSEC) /* after it is due; others may have no end of messages */
#define EXPIRY_PAUSE_USEC (5 * USEC_PER_SEC)

/* --- the register ---------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
	const struct job *left = a, *right = b;

	return left->id < right->id ? -1 : left->id > right->id;
}

struct job *scheduler_find(const struct scheduler *scheduler, uint64_t id)
{
	const struct job key = { .id = id };
	struct job *const *found = tfind(&key, (void *const *)&scheduler->by_id, compare_ids);

	return found ? *found : NULL;
}

int scheduler_register(struct scheduler *scheduler, struct job *job)
{
	struct job *before;

	if (!tsearch(job, &scheduler->by_id, compare_ids))
		return -ENOMEM;
	TAILQ_FOREACH_REVERSE(before, &scheduler->all, job_list, in_all)
	if (before->id < job->id)
		break;
	if (before)
		TAILQ_INSERT_AFTER(&scheduler->all, before, job, in_all);
	else
		TAILQ_INSERT_HEAD(&scheduler->all, job, in_all);
	return 0;
}

void scheduler_unregister(struct scheduler *scheduler, struct job *job)
{
	(void)tdelete(job, &scheduler->by_id, compare_ids);
	TAILQ_REMOVE(&scheduler->all, job, in_all);
}

void scheduler_forget(struct scheduler *scheduler, struct job *job)
{
	scheduler_unregister(scheduler, job);
	job->runner_watch = sd_event_source_disable_unref(job->runner_watch);
	job->unit = launcher_unit_free(job->unit);
	job->preflight = preflight_free(job->preflight);
	job_free(job);
}

const struct scheduler_setup *scheduler_setup_of(const struct scheduler *scheduler)
{
	return &scheduler->setup;
}

const struct queue *scheduler_queue(const struct scheduler *scheduler)
{
	return scheduler->queue;
}

const struct job_list *scheduler_jobs(const struct scheduler *scheduler)
{
	return &scheduler->all;
}

uint64_t scheduler_running_count(const struct scheduler *scheduler)
{
	const struct line *line;
	uint64_t count = 0;

	for (line = queue_first_line(scheduler->queue); line; line = TAILQ_NEXT(line, link))
		count += line->active && job_status_is_running(line->active->status);
	return count;
}

uint64_t scheduler_usual(const struct scheduler *scheduler, const struct job *job)
{
	return usual_usec(scheduler->usual, job->backend->identity, job->subcommand);
}

void scheduler_learn(struct scheduler *scheduler, const struct job *job)
{
	if (job->status == JOB_DONE && job->started_usec > 0 && job->ended_usec > job->started_usec)
		usual_add(scheduler->usual, job->backend->identity, job->subcommand,
			  job->ended_usec - job->started_usec);
}

bool scheduler_is_stopping(const struct scheduler *scheduler)
{
	return scheduler->is_stopping;
}

/* --- steps ------------------------------------------------------------------------------------ */

void scheduler_changed(struct scheduler *scheduler, const struct job *job)
{
	scheduler->callbacks.on_changed(job, scheduler->userdata);
}

void scheduler_pump_soon(struct scheduler *scheduler)
{
	int is_on = SD_EVENT_OFF;

	(void)sd_event_source_set_enabled(scheduler->pump, SD_EVENT_ONESHOT);
	if (sd_event_source_get_enabled(scheduler->pump_latest, &is_on) > 0)
		return;
	(void)sd_event_source_set_time_relative(scheduler->pump_latest, PUMP_LATEST_USEC);
	(void)sd_event_source_set_enabled(scheduler->pump_latest, SD_EVENT_ONESHOT);
}

static int on_pump_latest(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;
	return scheduler_pump(source, userdata);
}

/*
 * A hand-over is under way: telling a hundred clients of their new places would wake them
 * all just when the next terraform wants the processor. Its start calls the pump, or this.
 */
static void pump_after_handover(struct scheduler *scheduler)
{
	(void)sd_event_source_set_time_relative(scheduler->pump_late, HANDOVER_PAUSE_USEC);
	(void)sd_event_source_set_enabled(scheduler->pump_late, SD_EVENT_ONESHOT);
}

static int on_pump_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	scheduler_pump_soon(userdata);
	return 0;
}

static enum journal_kind kind_of_end(enum job_status status)
{
	switch (status) {
	case JOB_DONE: return JOURNAL_DONE;
	case JOB_FAILED: return JOURNAL_FAILED;
	case JOB_CANCELLED: return JOURNAL_CANCELLED;
	default: return JOURNAL_LOST;
	}
}

static void log_end(const struct job *job)
{
	const enum journal_kind kind = kind_of_end(job->status);
	const char *why = job->message ? job->message : "";

	if (job->exit_signal) {
		journal_job(kind, job, "%s, killed by signal %d%s%s", job_status_name(job->status),
			    job->exit_signal, *why ? ": " : "", why);
	} else if (job->exit_code >= 0) {
		journal_job(kind, job, "%s, exit code %d%s%s", job_status_name(job->status),
			    job->exit_code, *why ? ": " : "", why);
	} else {
		journal_job(kind, job, "%s%s%s", job_status_name(job->status), *why ? ": " : "",
			    why);
	}
}

static void count_end(const struct job *job)
{
	switch (job->status) {
	case JOB_DONE: metrics_count(METRIC_DONE); break;
	case JOB_FAILED: metrics_count(METRIC_FAILED); break;
	case JOB_CANCELLED: metrics_count(METRIC_CANCELLED); break;
	default: metrics_count(METRIC_LOST); break;
	}
	if (job->started_usec > 0 && job->ended_usec > job->started_usec)
		metrics_observe(METRIC_RAN, job->ended_usec - job->started_usec);
}

/* What is to be forgotten of it is; what its lock still needs is kept until that is gone. */
static void end_job(struct scheduler *scheduler, struct job *job, struct lane *lane)
{
	if (job->ended_usec == 0)
		job->ended_usec = clock_usec(CLOCK_REALTIME);
	job->go_after = 0;
	job->runner_watch = sd_event_source_disable_unref(job->runner_watch);
	job->unit = launcher_unit_free(job->unit);
	runner_link_end(job);
	job->preflight = preflight_free(job->preflight);
	job_forget_secrets(job);
	(void)scheduler_reduce(lane, job);
	if (lane->kept_job != job->id && !scheduler->is_restoring)
		vault_drop(scheduler->setup.vault, job->id);
	scheduler->over_count++;
	scheduler->ended_count++;
	count_end(job);
	scheduler_learn(scheduler, job);
	log_end(job);
	scheduler_audit(scheduler, job_status_name(job->status), job, (uid_t)-1,
			job->message ? job->message : "");
	scheduler_expire_soon(scheduler);
	scheduler_changed(scheduler, job);
}

/* It is over. The next one first: everything else can wait for that. */
static void close_job(struct scheduler *scheduler, struct job *job)
{
	struct line *line = job->line;
	const bool was_active = line->active == job;

	queue_remove(scheduler->queue, job);
	if (was_active)
		lane_hand_on(lane_of(line), job);

	end_job(scheduler, job, lane_of(line));
	if (was_active && line->active && line->active->status == JOB_RUNNING)
		pump_after_handover(scheduler);
	else
		scheduler_pump_soon(scheduler);
}

/* Nobody knows how it ended. Its lock stays, its line stands still, until somebody looks. */
static void hold_line(struct scheduler *scheduler, struct job *job)
{
	struct line *line = job->line;

	job_set_message(job, "its runner died, so nobody knows how terraform ended%s%s%s",
			job_is_locked_by_us(job) ? "; look at the state, then let the queue go on "
						   "with: tfq resume '"
						 : "",
			job_is_locked_by_us(job) ? line->name : "",
			job_is_locked_by_us(job) ? "'" : "");
	if (!job_is_locked_by_us(job)) { /* terraform's own lock says the rest */
		close_job(scheduler, job);
		return;
	}
	free(line->hold_reason);
	if (asprintf(&line->hold_reason,
		     "the queue stands still because job %" PRIu64
		     " was lost; look at the state, then: tfq resume '%s'",
		     job->id, line->name) < 0)
		line->hold_reason = NULL;
	line->lost_session = job->session;
	line->lost_pid = job->session > 0 ? job->pid : 0;
	lock_set_takeover(lane_of(line)->lock, false); /* nor may anybody elsewhere go on */
	queue_remove(scheduler->queue, job);
	scheduler_note_line(scheduler, line);
	end_job(scheduler, job, lane_of(line));
	scheduler_pump_soon(scheduler);
}

void scheduler_let_go(struct scheduler *scheduler, struct job *job)
{
	const struct lane *lane = lane_of(job->line);

	job->go_after = 0;
	if (job->interrupts > 0) { /* it was called off while it waited for the disk */
		job->exit_code = -1;
		scheduler_step(scheduler, job,
			       job->is_lock_lost ? JOB_EV_EXIT_BAD : JOB_EV_EXIT_STOPPED);
		return;
	}
	runner_link_go(job, job->is_fenced ? lock_deadline(lane->lock) : 0,
		       lane->terms.stop_grace_usec);
}

/*
 * After a power cut nobody must believe that it never ran: so that is on disk first. Where the
 * lock comes from the job before, it is enough that its runner is: that line stands still after a
 * power cut, because of the one before.
 */
static void start(struct scheduler *scheduler, struct job *job)
{
	const struct lane *lane = lane_of(job->line);

	/* Where the lease may be taken over, its runner must know until when it is ours. */
	job->is_fenced = job_is_locked_by_us(job) && lane_takes_over(lane);
	if (lane->is_handed_over && scheduler_is_kept(scheduler, job->armed)) {
		scheduler_let_go(scheduler, job);
		(void)scheduler_note(scheduler, job);
		return;
	}
	job->go_after = scheduler_note(scheduler, job);
	store_hurry(scheduler->setup.store);
}

static void carry_out(struct scheduler *scheduler, struct job *job, enum job_action action)
{
	switch (action) {
	case JOB_DO_NOTHING: scheduler_changed(scheduler, job); return;
	case JOB_DO_ACQUIRE: lane_acquire(lane_of(job->line), job); return;
	case JOB_DO_START: start(scheduler, job); return;
	case JOB_DO_INTERRUPT:
	case JOB_DO_INTERRUPT_AGAIN: runner_link_stop(job, ++job->interrupts); break;
	case JOB_DO_CLOSE: close_job(scheduler, job); return;
	case JOB_DO_HOLD: hold_line(scheduler, job); return;
	}
	scheduler_changed(scheduler, job);
}

void scheduler_step(struct scheduler *scheduler, struct job *job, enum job_event event)
{
	const enum job_status before = job->status;
	const int action = job_fsm_step(&job->status, event);

	if (action < 0) {
		journal_job(JOURNAL_OUT_OF_PLACE, job, "event %d makes no sense while %s, ignored",
			    (int)event, job_status_name(before));
		return;
	}
	carry_out(scheduler, job, (enum job_action)action);
	if (job->status != before || job_status_is_final(job->status))
		(void)scheduler_note(scheduler, job);
}

static void set_message(struct job *job, const char *format, va_list ap)
{
	AUTO_FREE char *message = NULL;

	if (vasprintf(&message, format, ap) < 0)
		message = NULL;
	job_set_message(job, "%s", message ? message : "out of memory");
}

void scheduler_refuse(struct scheduler *scheduler, struct job *job, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set_message(job, format, ap);
	va_end(ap);
	scheduler_step(scheduler, job, JOB_EV_REFUSED);
}

void scheduler_refuse_soon(struct scheduler *scheduler, struct job *job, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	set_message(job, format, ap);
	va_end(ap);
	job->is_refused = true;
	scheduler_pump_soon(scheduler);
}

/* --- making one ------------------------------------------------------------------------------ */

static int on_expiry(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	scheduler_expire(userdata);
	return 0;
}

void scheduler_expire_soon(struct scheduler *scheduler)
{
	int is_on = SD_EVENT_OFF;

	if (sd_event_source_get_enabled(scheduler->expiry, &is_on) > 0)
		return;
	(void)sd_event_source_set_time_relative(scheduler->expiry, EXPIRY_PAUSE_USEC);
	(void)sd_event_source_set_enabled(scheduler->expiry, SD_EVENT_ONESHOT);
}

static int make_timer(struct scheduler *scheduler, sd_event_source **ret, uint64_t accuracy_usec,
		      sd_event_time_handler_t handler)
{
	const int r = sd_event_add_time_relative(scheduler->setup.event, ret, CLOCK_MONOTONIC, 0,
						 accuracy_usec, handler, scheduler);

	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int make_sources(struct scheduler *scheduler)
{
	int r;

	r = sd_event_add_defer(scheduler->setup.event, &scheduler->pump, scheduler_pump, scheduler);
	if (r >= 0) /* after every message that this turn brings: a hand-over waits for nothing */
		r = sd_event_source_set_priority(scheduler->pump, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_enabled(scheduler->pump, SD_EVENT_OFF);
	if (r >= 0)
		r = make_timer(scheduler, &scheduler->pump_late, USEC_PER_MSEC, on_pump_late);
	if (r >= 0)
		r = make_timer(scheduler, &scheduler->pump_latest, USEC_PER_MSEC, on_pump_latest);
	if (r >= 0)
		r = make_timer(scheduler, &scheduler->expiry, USEC_PER_SEC, on_expiry);
	return r;
}

int scheduler_new(struct scheduler **ret, const struct scheduler_setup *setup,
		  const struct scheduler_callbacks *callbacks, void *userdata)
{
	CLEANUP(scheduler_freep) struct scheduler *scheduler = NULL;
	const struct queue_limits limits = scheduler_limits(setup->config);
	int r;

	scheduler = calloc(1, sizeof(*scheduler));
	if (!scheduler)
		return -ENOMEM;
	scheduler->setup = *setup;
	scheduler->callbacks = *callbacks;
	scheduler->userdata = userdata;
	TAILQ_INIT(&scheduler->all);

	TAILQ_INIT(&scheduler->unkept);
	r = queue_new(&scheduler->queue, &limits);
	if (r >= 0)
		r = usual_new(&scheduler->usual);
	if (r < 0)
		return r;
	r = make_sources(scheduler);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(scheduler);
	return 0;
}

struct scheduler *scheduler_free(struct scheduler *scheduler)
{
	struct line *line;

	if (!scheduler)
		return NULL;

	while (!TAILQ_EMPTY(&scheduler->all)) {
		struct job *job = TAILQ_FIRST(&scheduler->all);

		if (job->line)
			queue_remove(scheduler->queue, job);
		scheduler_forget(scheduler, job);
	}
	while (scheduler->queue && (line = queue_first_line(scheduler->queue))) {
		lane_free(lane_of(line));
		queue_drop_line(scheduler->queue, line);
	}
	usual_free(scheduler->usual);
	queue_free(scheduler->queue);
	sd_event_source_disable_unref(scheduler->pump);
	sd_event_source_disable_unref(scheduler->pump_late);
	sd_event_source_disable_unref(scheduler->pump_latest);
	sd_event_source_disable_unref(scheduler->expiry);
	sd_event_source_disable_unref(scheduler->awaiting);
	sd_event_source_disable_unref(scheduler->stop_limit);
	free(scheduler->pause_reason);
	free(scheduler);
	return NULL;
}
