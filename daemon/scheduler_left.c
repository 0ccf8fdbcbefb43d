/* SPDX-License-Identifier: MIT */
/* After a restart: lines that stand still, and locks that may have been left in their stores. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "daemon/job_record.h"
#include "daemon/journal.h"
#include "daemon/scheduler_parts.h"

static int restore_pause(struct scheduler *scheduler, const char *reason)
{
	if (!reason || text_replace(&scheduler->pause_reason, reason) < 0)
		return reason ? -ENOMEM : 0;
	queue_pause(scheduler->queue, true);
	return 0;
}

static int on_line(const char *identity, const json_t *record, void *userdata)
{
	struct scheduler *scheduler = userdata;
	const char *state = json_string_value(json_object_get(record, "state"));
	const char *reason = json_string_value(json_object_get(record, "reason"));
	const char *paused = json_string_value(json_object_get(record, "paused"));
	struct line *line;

	if (strcmp(identity, SCHEDULER_ALL_LINES) == 0)
		return restore_pause(scheduler, paused);
	if (!state)
		return 0;
	line = queue_line(scheduler->queue, identity, state);
	if (!line || (!line->data && !lane_new(scheduler, line)))
		return -ENOMEM;
	if ((reason && text_replace(&line->hold_reason, reason) < 0) ||
	    (paused && text_replace(&line->pause_reason, paused) < 0))
		return -ENOMEM;
	line->lets_push = json_is_true(json_object_get(record, "lets_push"));
	line->lost_session = (pid_t)json_integer_value(json_object_get(record, "session"));
	line->lost_pid = (pid_t)json_integer_value(json_object_get(record, "pid"));
	/* Those of before the machine's restart are none of today's. */
	if (line->lost_session && !job_record_is_of_boot(record, scheduler->setup.host->boot)) {
		line->lost_session = -1;
		line->lost_pid = 0;
	}
	return 0;
}

/* Then a write of its state may still be under way. */
static bool was_killed_lately(const struct job *job)
{
	const uint64_t now = clock_usec(CLOCK_REALTIME);

	return job_status_is_final(job->status) && (job->exit_signal || job->interrupts > 1) &&
	       job->ended_usec <= now && now - job->ended_usec < LANE_QUARANTINE_USEC;
}

/* It may be long over: a lost one whose lock was kept, say. */
static const struct job *find_or_recall(struct scheduler *scheduler, uint64_t id)
{
	struct job *job = scheduler_find(scheduler, id);

	if (job)
		return job;
	job = scheduler_recall(scheduler, id);
	if (!job || !job_status_is_final(job->status) || scheduler_register(scheduler, job) < 0)
		return job_free(job);
	scheduler->over_count++;
	job->runner_pid = 0;
	return job;
}

static int on_lock(const char *identity, uint64_t id, void *userdata)
{
	struct scheduler *scheduler = userdata;
	const struct job *job = find_or_recall(scheduler, id);
	struct line *line;
	struct lane *lane;

	if (!job) {
		(void)store_drop_lock(scheduler->setup.store, identity);
		return 0;
	}
	line = queue_line(scheduler->queue, identity, job->backend->name);
	if (!line || (!line->data && !lane_new(scheduler, line)))
		return -ENOMEM;
	lane = lane_of(line);
	lane->kept_job = id;
	lane->is_found = true;
	if (was_killed_lately(job))
		lane_quarantine(lane);
	if (line->active)
		lane_regain(lane);
	else if (line->hold_reason && !lane->is_quarantined && line->undecided == 0)
		scheduler_sweep(lane); /* or, of a lost job, so that nobody else takes it */
	return 0;
}

int scheduler_restore_lines(struct scheduler *scheduler)
{
	return store_read_lines(scheduler->setup.store, on_line, scheduler);
}

int scheduler_restore_locks(struct scheduler *scheduler)
{
	const int r = store_read_locks(scheduler->setup.store, on_lock, scheduler);

	/* What runs has a lock, whether or not there was time to write that down. */
	for (struct line *line = queue_first_line(scheduler->queue); line;
	     line = TAILQ_NEXT(line, link))
		if (line->active && lane_of(line)->kept_job == 0)
			lane_regain(lane_of(line));
	return r;
}

void scheduler_sweep(struct lane *lane)
{
	struct scheduler *scheduler = lane->scheduler;
	const struct job *owner = scheduler_find(scheduler, lane->kept_job);
	AUTO_FREE char *error = NULL;
	json_t *record = NULL;
	struct job *job = NULL;
	int r = -ENOENT;

	if (lane->sweeper)
		return;
	if (owner && (record = job_record_make(owner, "")))
		r = scheduler_rebuild(&job, scheduler, owner, record, &error);
	json_decref(record);
	if (r >= 0) {
		lane_sweep(lane, job);
		return;
	}
	journal_tell(JOURNAL_LOCK_LEFT,
		     &(struct journal_about){ .state = lane->line->name,
					      .lock_id = owner ? owner->lock_id : NULL },
		     "The lock of %s, ID %s, may still be in its store, and the credentials for it "
		     "are gone: the next job there takes it back, or 'terraform force-unlock' "
		     "removes it",
		     lane->line->name, owner ? owner->lock_id : "?");
	lane_unkeep(lane);
	scheduler_pump_soon(scheduler);
}

bool scheduler_needs_secrets(uint64_t id, void *userdata)
{
	struct scheduler *scheduler = userdata;
	const struct job *job = scheduler_find(scheduler, id);
	const struct line *line;

	if (job && !job_status_is_final(job->status))
		return true;
	for (line = queue_first_line(scheduler->queue); line; line = TAILQ_NEXT(line, link))
		if (lane_of(line)->kept_job == id)
			return true;
	return false;
}

bool scheduler_is_own_lock(const struct scheduler *scheduler, const struct line *line,
			   const char *id)
{
	const struct job *job;

	TAILQ_FOREACH(job, &scheduler->all, in_all)
	{
		if (strcmp(job->lock_id, id) != 0 ||
		    strcmp(job->backend->identity, line->identity) != 0)
			continue;
		return job == line->active ||
		       (!job_status_is_running(job->status) && !job->is_undecided);
	}
	return false;
}
