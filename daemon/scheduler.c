/* SPDX-License-Identifier: MIT */
/*
 * The way of a job: submit → queued → (pump picks it) locking → lane gets the lock, runner_link
 * the runner → running → the runner reports the exit → closed, and in the same breath the
 * lane hands the lock to the next one. Everything that can wait (places in the queue, counts,
 * runners started ahead) is done by the pump, once per turn of the loop, after that.
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
#include "daemon/peer.h"
#include "daemon/preflight.h"
#include "daemon/scheduler_parts.h"

#define HANDOVER_PAUSE_USEC (10 * USEC_PER_MSEC)
#define USUAL_MIN           3 /* runs of a kind that tell how long one takes */
#define USUAL_MAX           15

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

void scheduler_forget(struct scheduler *scheduler, struct job *job)
{
	(void)tdelete(job, &scheduler->by_id, compare_ids);
	TAILQ_REMOVE(&scheduler->all, job, in_all);
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

static int compare_times(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

uint64_t scheduler_usual(const struct scheduler *scheduler, const struct job *job)
{
	uint64_t took[USUAL_MAX];
	const struct job *past;
	size_t count = 0;

	TAILQ_FOREACH_REVERSE(past, &scheduler->all, job_list, in_all)
	{
		if (count == USUAL_MAX)
			break;
		if (past->status == JOB_DONE && past->started_usec > 0 &&
		    past->ended_usec > past->started_usec &&
		    strcmp(past->subcommand, job->subcommand) == 0 &&
		    strcmp(past->backend->identity, job->backend->identity) == 0)
			took[count++] = past->ended_usec - past->started_usec;
	}
	if (count < USUAL_MIN)
		return 0;
	qsort(took, count, sizeof(took[0]), compare_times);
	return took[count / 2];
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
	(void)sd_event_source_set_enabled(scheduler->pump, SD_EVENT_ONESHOT);
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

static void log_end(const struct job *job)
{
	const int level = job->status == JOB_LOST ? LOG_ERR : LOG_INFO;
	const char *why = job->message ? job->message : "";

	if (job->exit_signal) {
		journal_job(level, job, "%s, killed by signal %d%s%s", job_status_name(job->status),
			    job->exit_signal, *why ? ": " : "", why);
	} else if (job->exit_code >= 0) {
		journal_job(level, job, "%s, exit code %d%s%s", job_status_name(job->status),
			    job->exit_code, *why ? ": " : "", why);
	} else {
		journal_job(level, job, "%s%s%s", job_status_name(job->status), *why ? ": " : "",
			    why);
	}
}

/* It is over. The next one first: everything else can wait for that. */
static void close_job(struct scheduler *scheduler, struct job *job)
{
	struct line *line = job->line;
	const bool was_active = line->active == job;

	queue_remove(scheduler->queue, job);
	if (was_active)
		lane_hand_on(lane_of(line), job);

	job->ended_usec = clock_usec(CLOCK_REALTIME);
	runner_link_end(job);
	job->preflight = preflight_free(job->preflight);
	job_forget_secrets(job);
	scheduler->over_count++;
	log_end(job);
	scheduler_changed(scheduler, job);
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
	lock_set_takeover(lane_of(line)->lock, false); /* nor may anybody elsewhere go on */
	queue_remove(scheduler->queue, job);
	job->ended_usec = clock_usec(CLOCK_REALTIME);
	job->preflight = preflight_free(job->preflight);
	job_forget_secrets(job);
	scheduler->over_count++;
	log_end(job);
	scheduler_changed(scheduler, job);
	scheduler_pump_soon(scheduler);
}

/* Where the lease may be taken over, its runner must know until when it is ours. */
static void start(struct scheduler *scheduler, struct job *job)
{
	const struct lane *lane = lane_of(job->line);
	const bool is_fenced = job_is_locked_by_us(job) && lane_takes_over(lane);

	runner_link_go(job, is_fenced ? lock_deadline(lane->lock) : 0,
		       scheduler->setup.config->stop_grace_usec);
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
		journal_job(LOG_WARNING, job, "event %d makes no sense while %s, ignored",
			    (int)event, job_status_name(before));
		return;
	}
	carry_out(scheduler, job, (enum job_action)action);
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

/* --- what is asked ------------------------------------------------------------------------------
 */

static uint64_t line_limit(const struct scheduler *scheduler, const struct job *job)
{
	const struct config_state *state =
		config_state_match(scheduler->setup.config, job->backend->name);

	return state && state->has_max_queued ? state->max_queued : 0;
}

/* A job that queues another on its own state would wait for itself. */
static bool waits_for_itself(const struct scheduler *scheduler, const struct job *job)
{
	const char *outer = env_get(job->env, "TFQ_JOB");
	const struct job *running;
	uint64_t id;

	if (!outer || parse_u64(outer, INT64_MAX, &id) < 0)
		return false;
	running = scheduler_find(scheduler, id);
	return running && running->line && running->line->active == running &&
	       strcmp(running->backend->identity, job->backend->identity) == 0;
}

int scheduler_submit(struct scheduler *scheduler, struct job *job)
{
	const struct line *present;
	int r;

	if (scheduler->is_stopping)
		return -ESHUTDOWN;
	present = queue_find_line(scheduler->queue, job->backend->identity);
	if (job->no_wait &&
	    (queue_is_full(scheduler->queue, job->owner.uid) ||
	     (present && (present->active || present->waiting_count > 0 || present->hold_reason))))
		return -EBUSY;

	if (waits_for_itself(scheduler, job))
		return -EDEADLK;
	job->passes_hold =
		present && present->lets_push && strcmp(job->operation, "state-push") == 0;

	job->id = scheduler->next_id;
	job->submitted_usec = clock_usec(CLOCK_REALTIME);
	r = runner_link_reserve(scheduler->setup.jobs_dir, job->id);
	if (r < 0)
		return r;
	if (!tsearch(job, &scheduler->by_id, compare_ids)) {
		runner_link_forget(scheduler, job);
		return -ENOMEM;
	}
	r = queue_add(scheduler->queue, job, line_limit(scheduler, job));
	if (r >= 0 && !job->line->data && !lane_new(scheduler, job->line)) {
		struct line *line = job->line;

		queue_remove(scheduler->queue, job);
		queue_drop_line(scheduler->queue, line);
		r = -ENOMEM;
	}
	if (r < 0) {
		(void)tdelete(job, &scheduler->by_id, compare_ids);
		runner_link_forget(scheduler, job); /* the number is the next one's */
		return r;
	}
	TAILQ_INSERT_TAIL(&scheduler->all, job, in_all);
	scheduler->next_id++;
	journal_job(LOG_INFO, job, "%s queued '%s' on %s%s%s%s", job->owner.name, job->command,
		    job->backend->name, job->reason ? " (" : "", job->reason ? job->reason : "",
		    job->reason ? ")" : "");
	scheduler_pump_soon(scheduler);
	return 0;
}

void scheduler_cancel(struct scheduler *scheduler, struct job *job, bool force, const char *by)
{
	if (job_status_is_final(job->status))
		return;
	journal_job(LOG_INFO, job, "%s asked for its end%s", by, force ? ", by force" : "");
	job->is_cancelled = true;
	if (!job->message)
		job_set_message(job, "by %s", by);
	scheduler_step(scheduler, job, force ? JOB_EV_FORCE : JOB_EV_CANCEL);
}

int scheduler_resume(struct scheduler *scheduler, const char *state)
{
	struct line *line = queue_find_line(scheduler->queue, state);
	struct lane *lane;

	if (!line)
		return -ENOENT;
	if (!line->hold_reason || lane_of(line)->is_quarantined)
		return -EALREADY;
	if (line->lost_session && runner_link_survivor(line->lost_session))
		return -EBUSY;
	log_info("The queue of %s goes on", line->name);
	free(line->hold_reason);
	line->hold_reason = NULL;
	line->lets_push = false;
	line->lost_session = 0;
	line->is_dirty = true;
	lane = lane_of(line);
	if (lane->lock && line->waiting_count == 0)
		lock_want(lane->lock, NULL);
	scheduler_pump_soon(scheduler);
	return 0;
}

int scheduler_unlock(struct scheduler *scheduler, const char *state, const char *id, const char *by)
{
	const struct line *line = queue_find_line(scheduler->queue, state);
	struct lock *lock = line ? lane_of(line)->lock : NULL;
	int r;

	if (!lock)
		return -ENOENT;
	if (lock_deadline(lock) > 0 && !lock_holder(lock))
		return -EBUSY;
	r = lock_break(lock, id);
	if (r >= 0)
		log_warning(0, "%s orders that lock %s of %s, held by %s since %s, be removed", by,
			    id, line->name, lock_holder(lock)->who, lock_holder(lock)->created);
	return r;
}

void scheduler_stop(struct scheduler *scheduler)
{
	struct job *job, *next;

	if (scheduler->is_stopping)
		return;
	scheduler->is_stopping = true;
	for (job = TAILQ_FIRST(&scheduler->all); job; job = next) {
		next = TAILQ_NEXT(job, in_all);
		if (job->status != JOB_QUEUED && job->status != JOB_LOCKING)
			continue;
		job_set_message(job, "tfqd is stopping: terraform was not run; queue it again once "
				     "tfqd is back");
		scheduler_step(scheduler, job, JOB_EV_CANCEL);
	}
	scheduler_pump_soon(scheduler);
}

/* --- making one
 * ----------------------------------------------------------------------------------- */

int scheduler_new(struct scheduler **ret, const struct scheduler_setup *setup,
		  const struct scheduler_callbacks *callbacks, void *userdata)
{
	CLEANUP(scheduler_freep) struct scheduler *scheduler = NULL;
	const struct config *config = setup->config;
	int r;

	scheduler = calloc(1, sizeof(*scheduler));
	if (!scheduler)
		return -ENOMEM;
	scheduler->setup = *setup;
	scheduler->callbacks = *callbacks;
	scheduler->userdata = userdata;
	TAILQ_INIT(&scheduler->all);

	r = runner_link_next_id(setup->jobs_dir, &scheduler->next_id);
	if (r < 0)
		return r;
	r = queue_new(&scheduler->queue,
		      &(struct queue_limits){
			      .max_running = config->max_running,
			      .max_running_per_user = config->max_running_per_user,
			      .max_queued = config->max_queued,
			      .max_queued_per_user = config->max_queued_per_user,
		      });
	if (r < 0)
		return r;
	r = sd_event_add_defer(setup->event, &scheduler->pump, scheduler_pump, scheduler);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(setup->event, &scheduler->pump_late, CLOCK_MONOTONIC, 0,
				       USEC_PER_MSEC, on_pump_late, scheduler);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(scheduler->pump_late, SD_EVENT_OFF);
	if (r < 0)
		return r;
	/* After every message that this turn brings: a hand-over waits for nothing. */
	r = sd_event_source_set_priority(scheduler->pump, SD_EVENT_PRIORITY_IDLE);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(scheduler->pump, SD_EVENT_OFF);
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
	queue_free(scheduler->queue);
	sd_event_source_disable_unref(scheduler->pump);
	sd_event_source_disable_unref(scheduler->pump_late);
	sd_event_source_disable_unref(scheduler->stop_limit);
	free(scheduler);
	return NULL;
}
