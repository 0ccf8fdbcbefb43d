/* SPDX-License-Identifier: MIT */
/* What is done once per turn of the loop, however much happened in it. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/parse.h"
#include "daemon/journal.h"
#include "daemon/launcher.h"
#include "daemon/scheduler_parts.h"

#define STOP_LIMIT_USEC (10 * USEC_PER_SEC)

/* The oldest ones that are over make room. */
static void trim_history(struct scheduler *scheduler)
{
	struct job *job = TAILQ_FIRST(&scheduler->all);

	while (job && scheduler->over_count > SCHEDULER_HISTORY_MAX) {
		struct job *next = TAILQ_NEXT(job, in_all);

		if (job_status_is_final(job->status) && TAILQ_EMPTY(&job->watches) &&
		    !job->runner && job->submitted == 0 &&
		    !scheduler_needs_secrets(job->id, scheduler)) {
			scheduler_forget(scheduler, job);
			scheduler->over_count--;
		}
		job = next;
	}
}

static void begin(struct scheduler *scheduler, struct job *job)
{
	struct lane *lane = lane_of(job->line);

	lane->may_go_early = false;
	lane->is_handed_over = false;
	queue_activate(scheduler->queue, job);
	scheduler_step(scheduler, job, JOB_EV_HEAD);
	if (job->status == JOB_LOCKING)
		scheduler_changed(scheduler, job);
}

/* Is @head sure to be next, and all there that it needs? */
static bool is_next(const struct scheduler *scheduler, const struct line *line,
		    const struct job *head)
{
	return line->active && job_status_is_running(line->active->status) && head &&
	       !head->has_lost_runner && head->submitted == 0 && !head->is_awaited &&
	       line->undecided == 0 && !line->pause_reason && !queue_is_paused(scheduler->queue);
}

/* The next one's runner is made ready while this one runs. */
static void start_ahead(struct scheduler *scheduler, struct line *line)
{
	struct job *head = queue_head(line);
	int r;

	if (!is_next(scheduler, line, head) || scheduler_wake(scheduler, head) < 0)
		return; /* what cannot be run is told when its turn comes */
	lane_prepare(lane_of(line), head);
	if (head->runner_pid || head->unit)
		return;
	r = runner_link_start(scheduler, head);
	if (r < 0)
		journal_job(JOURNAL_RUNNER_TROUBLE, head,
			    "cannot start its runner ahead of time: %s", launcher_explain(r));
}

static void tell_line(struct scheduler *scheduler, struct line *line)
{
	struct job *job;

	line->is_dirty = false;
	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++)
		TAILQ_FOREACH(job, &line->waiting[i], in_line)
	scheduler_changed(scheduler, job);
}

/* Jobs that turned out not to be runnable while they were started. */
static void refuse_refused(struct scheduler *scheduler)
{
	for (struct line *line = queue_first_line(scheduler->queue); line;
	     line = TAILQ_NEXT(line, link))
		if (line->active && line->active->is_refused && line->active->status == JOB_LOCKING)
			scheduler_step(scheduler, line->active, JOB_EV_REFUSED);
}

/* Is there nothing that a stop waits for? What runs, or was lost, or killed just now, keeps its
 * lock. */
static bool is_quiet(const struct lane *lane)
{
	const struct line *line = lane->line;

	if ((line->active && job_status_is_running(line->active->status)) || line->lost_session ||
	    lane->is_quarantined)
		return true;
	return !lane->lock || lock_is_idle(lane->lock);
}

static bool are_all_quiet(const struct scheduler *scheduler)
{
	const struct store *store = scheduler->setup.store;
	const struct line *line;

	/* Whoever waits for an answer until it is on disk is to have it. */
	if (store_committed(store) < store_noted(store) && !store_trouble(store))
		return false;

	for (line = queue_first_line(scheduler->queue); line; line = TAILQ_NEXT(line, link))
		if (!is_quiet(lane_of(line)))
			return false;
	return true;
}

/* The store does not let us tidy up. The next tfqd will. */
static int on_stop_limit(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct scheduler *scheduler = userdata;

	(void)source;
	(void)usec;

	for (struct line *line = queue_first_line(scheduler->queue); line;
	     line = TAILQ_NEXT(line, link)) {
		struct lane *lane = lane_of(line);

		if (is_quiet(lane))
			continue;
		journal_tell(
			JOURNAL_LOCK_LEFT, &(struct journal_about){ .state = line->name },
			"Stopping although the lock of %s may still be in the store (%s): tfqd removes "
			"it when it is back; without tfqd, 'terraform force-unlock' does",
			line->name, lock_error(lane->lock));
		lane->lock = lock_free(lane->lock);
	}
	scheduler_pump_soon(scheduler);
	return 0;
}

static void limit_stop(struct scheduler *scheduler)
{
	if (scheduler->stop_limit)
		return;
	if (sd_event_add_time_relative(scheduler->setup.event, &scheduler->stop_limit,
				       CLOCK_BOOTTIME, STOP_LIMIT_USEC, USEC_PER_SEC, on_stop_limit,
				       scheduler) < 0)
		scheduler->stop_limit = NULL;
}

/* Is there perhaps a lock of before a restart, and nobody who would take it? */
static bool is_left(const struct lane *lane)
{
	const struct line *line = lane->line;

	return lane->kept_job && !lane->lock && !lane->sweeper && !line->active &&
	       line->waiting_count == 0 && !line->hold_reason && line->undecided == 0;
}

int scheduler_pump(sd_event_source *source, void *userdata)
{
	struct scheduler *scheduler = userdata;
	struct line *line, *next;
	struct job *job;

	(void)source;

	(void)sd_event_source_set_enabled(scheduler->pump, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(scheduler->pump_latest, SD_EVENT_OFF);
	refuse_refused(scheduler);
	if (scheduler->is_stopping)
		limit_stop(scheduler);
	while (!scheduler->is_stopping && (job = queue_pick(scheduler->queue)))
		begin(scheduler, job);

	for (line = queue_first_line(scheduler->queue); line; line = next) {
		struct lane *lane = lane_of(line);

		next = TAILQ_NEXT(line, link);
		if (!scheduler->is_stopping)
			start_ahead(scheduler, line);
		if (line->is_dirty)
			tell_line(scheduler, line);
		if (!scheduler->is_stopping && is_left(lane))
			scheduler_sweep(lane);
		if (lane_is_idle(lane)) {
			lane_free(lane);
			queue_drop_line(scheduler->queue, line);
		}
	}
	scheduler_doze(scheduler);
	trim_history(scheduler);
	scheduler->callbacks.on_counts(scheduler->userdata);

	if (scheduler->is_stopping && !scheduler->is_stopped && are_all_quiet(scheduler)) {
		scheduler->is_stopped = true;
		scheduler->callbacks.on_stopped(scheduler->userdata);
	}
	return 0;
}
