/* SPDX-License-Identifier: MIT */
/*
 * What is kept on disk of jobs, lines and locks, and what waits for it: a job is accepted, and
 * its terraform let go, only once the store says that the write is done.
 */
#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "daemon/job_files.h"
#include "daemon/job_record.h"
#include "daemon/journal.h"
#include "daemon/scheduler_parts.h"

#define EXPIRED_MAX 256 /* in one look, five seconds after another */

bool scheduler_is_kept(const struct scheduler *scheduler, uint64_t number)
{
	return number <= store_committed(scheduler->setup.store);
}

uint64_t scheduler_note(struct scheduler *scheduler, struct job *job)
{
	const bool is_over = job_status_is_final(job->status);

	return store_put_job(scheduler->setup.store,
			     &(struct store_job){
				     .id = job->id,
				     .is_over = is_over,
				     .ended_usec = job->ended_usec,
				     .output_bytes =
					     is_over ? job_files_size(scheduler->setup.jobs_dir,
								      job->id)
						     : 0,
			     },
			     job_record_make(job, scheduler->setup.host->boot));
}

void scheduler_note_line(struct scheduler *scheduler, const struct line *line)
{
	/* A quarantine ends by itself, and begins anew after a restart. */
	const char *reason = lane_of(line)->is_quarantined ? NULL : line->hold_reason;

	if (!reason && !line->pause_reason) {
		(void)store_drop_line(scheduler->setup.store, line->identity);
		return;
	}
	(void)store_put_line(scheduler->setup.store, line->identity,
			     json_pack("{s:s, s:s?, s:s?, s:b, s:i, s:i, s:s}", "state", line->name,
				       "reason", reason, "paused", line->pause_reason, "lets_push",
				       line->lets_push, "session", (int)line->lost_session, "pid",
				       (int)line->lost_pid, "boot", scheduler->setup.host->boot));
}

/* No state's identity is empty. */
void scheduler_note_pause(struct scheduler *scheduler)
{
	if (scheduler->pause_reason) {
		(void)store_put_line(scheduler->setup.store, SCHEDULER_ALL_LINES,
				     json_pack("{s:s}", "paused", scheduler->pause_reason));
	} else {
		(void)store_drop_line(scheduler->setup.store, SCHEDULER_ALL_LINES);
	}
}

void scheduler_audit(const struct scheduler *scheduler, const char *kind, const struct job *job,
		     uid_t by, const char *text)
{
	(void)store_add_event(scheduler->setup.store, kind, job ? job->id : 0, by, text);
}

/* --- what waited for the disk ----------------------------------------------------------------- */

static void accept_kept(struct scheduler *scheduler, uint64_t number)
{
	struct job *job;

	while ((job = TAILQ_FIRST(&scheduler->unkept)) && job->submitted <= number) {
		TAILQ_REMOVE(&scheduler->unkept, job, in_unkept);
		job->submitted = 0;
		scheduler_pump_soon(scheduler);
	}
}

void scheduler_kept(struct scheduler *scheduler, uint64_t number)
{
	struct line *line, *next;

	accept_kept(scheduler, number);
	for (line = queue_first_line(scheduler->queue); line; line = next) {
		struct job *job = line->active;

		next = TAILQ_NEXT(line, link);
		if (!job)
			continue;
		if (job->go_after > 0 && job->go_after <= number)
			scheduler_let_go(scheduler, job);
		if (line->active == job && job->status == JOB_LOCKING)
			lane_try_go(lane_of(line), job);
		lane_on_kept(lane_of(line), number);
	}
	if (scheduler->is_stopping)
		scheduler_pump_soon(scheduler);
}

void scheduler_unkept(struct scheduler *scheduler, uint64_t number, const char *why)
{
	struct job *job;

	journal_tell(JOURNAL_STORE_TROUBLE, NULL, "%s", why);
	while ((job = TAILQ_FIRST(&scheduler->unkept)) && job->submitted <= number) {
		TAILQ_REMOVE(&scheduler->unkept, job, in_unkept);
		journal_job(JOURNAL_NOT_KEPT, job, "is not accepted: it cannot be kept");
		if (job->line)
			queue_remove(scheduler->queue, job);
		else
			scheduler->over_count--;
		vault_drop(scheduler->setup.vault, job->id);
		(void)store_drop_job(scheduler->setup.store, job->id);
		job_files_remove(scheduler->setup.jobs_dir, job->id);
		scheduler_forget(scheduler, job);
	}
	/* What was accepted runs on, as long as there is no power cut nothing is lost by it. */
	scheduler_kept(scheduler, number);
}

/* --- how long -------------------------------------------------------------------------------- */

static void expire(struct scheduler *scheduler, uint64_t id)
{
	struct job *job = scheduler_find(scheduler, id);

	if (job && (!TAILQ_EMPTY(&job->watches) || job->runner || job->submitted > 0))
		return; /* somebody is at it: later */
	job_files_remove(scheduler->setup.jobs_dir, id);
	vault_drop(scheduler->setup.vault, id);
	(void)store_drop_job(scheduler->setup.store, id);
	if (job) {
		scheduler_forget(scheduler, job);
		scheduler->over_count--;
	}
}

void scheduler_expire(struct scheduler *scheduler)
{
	const struct config *config = scheduler->setup.config;
	const uint64_t now = clock_usec(CLOCK_REALTIME);
	uint64_t ids[EXPIRED_MAX];
	int n;

	n = store_read_expired(scheduler->setup.store,
			       config->keep_usec > 0 && config->keep_usec < now
				       ? now - config->keep_usec
				       : 0,
			       config->keep_bytes, ids, EXPIRED_MAX);
	if (n < 0)
		log_warning(n, "Failed to look for jobs that may be forgotten: %m");
	for (int i = 0; i < n; i++)
		expire(scheduler, ids[i]);
	if (n == EXPIRED_MAX) /* once these are gone */
		scheduler_expire_soon(scheduler);
}
