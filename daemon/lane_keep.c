/* SPDX-License-Identifier: MIT */
/*
 * Locks across a restart. The store knows for which states a lock may be there, and for whom it
 * was written last; what it takes to touch it is in the vault until it is gone.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/parse.h"
#include "daemon/journal.h"
#include "daemon/preflight.h"
#include "daemon/scheduler_parts.h"

#define REGAIN_USEC (5 * USEC_PER_SEC)

/* --- what is kept ---------------------------------------------------------------------------- */

/* The job for which the lock was written before does not need its secrets any more. */
static void forget_kept(struct lane *lane)
{
	const struct scheduler *scheduler = lane->scheduler;
	const struct job *job = lane->kept_job ? scheduler_find(scheduler, lane->kept_job) : NULL;

	if (lane->kept_job && (!job || job_status_is_final(job->status)))
		vault_drop(scheduler->setup.vault, lane->kept_job);
	lane->kept_job = 0;
}

bool lane_keep(struct lane *lane, const struct job *job)
{
	struct store *store = lane->scheduler->setup.store;

	if (lane->kept_job == 0)
		lane->kept_after = store_put_lock(store, lane->line->identity, job->id);
	else if (lane->kept_job != job->id)
		(void)store_put_lock(store, lane->line->identity, job->id);
	if (lane->kept_job != job->id)
		forget_kept(lane);
	lane->kept_job = job->id;
	if (lane->kept_after == 0 || scheduler_is_kept(lane->scheduler, lane->kept_after) ||
	    store_trouble(store))
		return true;
	store_hurry(store);
	return false;
}

void lane_on_kept(struct lane *lane, uint64_t number)
{
	struct job *active = lane->line->active;

	if (lane->kept_after == 0 || lane->kept_after > number)
		return;
	lane->kept_after = 0;
	if (active && active->status == JOB_LOCKING && !lane->scheduler->is_stopping)
		lane_acquire(lane, active);
	else if (active && job_status_is_running(active->status))
		lane_regain(lane);
}

void lane_unkeep(struct lane *lane)
{
	if (lane->kept_job == 0)
		return;
	forget_kept(lane);
	lane->kept_after = 0;
	(void)store_drop_lock(lane->scheduler->setup.store, lane->line->identity);
}

/* --- the lock of a job that runs since before ------------------------------------------------- */

static int on_regain_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	lane_regain(userdata);
	return 0;
}

static void regain_later(struct lane *lane)
{
	if (lane->regain) {
		(void)sd_event_source_set_time_relative(lane->regain, REGAIN_USEC);
		(void)sd_event_source_set_enabled(lane->regain, SD_EVENT_ONESHOT);
		return;
	}
	if (sd_event_add_time_relative(lane->scheduler->setup.event, &lane->regain, CLOCK_BOOTTIME,
				       REGAIN_USEC, USEC_PER_MSEC, on_regain_due, lane) < 0)
		lane->regain = NULL;
}

static void on_preflight(struct preflight *preflight, void *userdata)
{
	struct job *job = userdata;

	(void)preflight;
	if (job->line && job->line->active == job)
		lane_regain(lane_of(job->line));
}

void lane_regain(struct lane *lane)
{
	struct scheduler *scheduler = lane->scheduler;
	struct job *job = lane->line->active;

	if (!job || !job_is_locked_by_us(job) || job_status_is_final(job->status))
		return;
	job->is_state_known = true; /* it runs on it */
	if (!job->preflight &&
	    preflight_new(&job->preflight, &scheduler->setup, job, 0, on_preflight, job) < 0) {
		regain_later(lane);
		return;
	}
	switch (preflight_state(job->preflight)) {
	case PREFLIGHT_UNDER_WAY: return; /* on_preflight() comes back here */
	case PREFLIGHT_READY:
		if (preflight_has_stores(job->preflight))
			lane_take_lock(lane, job);
		return;
	case PREFLIGHT_CHILD:
	case PREFLIGHT_REFUSED: break;
	}
	journal_job(JOURNAL_LOCK_TROUBLE, job, "cannot renew its lock, trying again: %s",
		    preflight_why(job->preflight));
	job->preflight = preflight_free(job->preflight);
	regain_later(lane);
}

/* --- a lock that nobody needs ---------------------------------------------------------------- */

static void begin_sweep(struct lane *lane)
{
	struct job *job = lane->sweeper;

	switch (preflight_state(job->preflight)) {
	case PREFLIGHT_UNDER_WAY: return;
	case PREFLIGHT_READY:
		if (preflight_has_stores(job->preflight))
			lane_take_lock(lane, job);
		return;
	case PREFLIGHT_CHILD:
	case PREFLIGHT_REFUSED: break;
	}
	journal_tell(JOURNAL_LOCK_LEFT,
		     &(struct journal_about){ .state = lane->line->name, .lock_id = job->lock_id },
		     "The lock of %s, ID %s, may still be there: %s; the next job there takes it "
		     "back, or 'terraform force-unlock %s' removes it",
		     lane->line->name, job->lock_id, preflight_why(job->preflight), job->lock_id);
	lane_unkeep(lane);
	lane_swept(lane);
	scheduler_pump_soon(lane->scheduler);
}

static void on_sweep_preflight(struct preflight *preflight, void *userdata)
{
	(void)preflight;
	begin_sweep(userdata);
}

void lane_sweep(struct lane *lane, struct job *job)
{
	job->is_state_known = true;
	lane->sweeper = job;
	if (preflight_new(&job->preflight, &lane->scheduler->setup, job, 0, on_sweep_preflight,
			  lane) < 0)
		lane_swept(lane);
	else
		begin_sweep(lane);
}

void lane_swept(struct lane *lane)
{
	if (!lane->sweeper)
		return;
	lane->sweeper->preflight = preflight_free(lane->sweeper->preflight);
	lane->sweeper = job_free(lane->sweeper);
}
