/* SPDX-License-Identifier: MIT */
/*
 * A line and its lock. The lock belongs to the line, not to a job: when a job ends and
 * another waits, the lock is told whose it is now and never let go. The next child starts at
 * once, beside that write, because the lock is held all the while: but only if the lease has
 * enough left for the write to fail and the child to be stopped in time, and only if the
 * same credentials write it, so that the write cannot be refused for want of rights.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/wire.h"
#include "daemon/journal.h"
#include "daemon/launcher.h"
#include "daemon/preflight.h"
#include "daemon/scheduler_parts.h"

#define LEAVE_FREE_USEC (17 * USEC_PER_SEC) /* terraform's longest sleep between tries is 16 s */
#define START_USEC      USEC_PER_SEC        /* from our word to its first request, at most */
#define WHO_MAX         256

struct lane *lane_of(const struct line *line)
{
	return line->data;
}

const struct lock *scheduler_lock(const struct line *line)
{
	return line && line->data ? lane_of(line)->lock : NULL;
}

static struct lane_terms terms_of(const struct config *config, const char *state_name)
{
	const struct config_state *state = config_state_match(config, state_name);

	return (struct lane_terms){
		.lease_usec = config->lease_usec,
		.renew_usec = config->renew_usec,
		.stop_grace_usec = config->stop_grace_usec,
		.poll_min_usec = config->poll_min_usec,
		.poll_max_usec = config->poll_max_usec,
		.drift_percent = config->drift_percent,
		.takeover = state && state->has_takeover ? state->takeover : config->takeover,
	};
}

struct lane *lane_new(struct scheduler *scheduler, struct line *line)
{
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->scheduler = scheduler;
	lane->line = line;
	lane->terms = terms_of(scheduler->setup.config, line->name);
	line->data = lane;
	return lane;
}

void lane_free(struct lane *lane)
{
	if (!lane)
		return;
	lock_free(lane->lock);
	identity_unref(lane->identity);
	backend_free(lane->outline);
	free(lane->lock_key);
	sd_event_source_disable_unref(lane->quarantine);
	sd_event_source_disable_unref(lane->regain);
	lane_swept(lane);
	lane->line->data = NULL;
	free(lane);
}

bool lane_is_idle(const struct lane *lane)
{
	return !lane->line->active && lane->line->waiting_count == 0 && !lane->line->hold_reason &&
	       !lane->line->pause_reason && lane->line->undecided == 0 && !lane->sweeper &&
	       (!lane->lock || (lock_is_idle(lane->lock) && !lock_may_appear(lane->lock)));
}

/* --- taking it ------------------------------------------------------------------------------- */

static int make_claim(struct lane *lane, struct job *job, struct lock_claim **ret)
{
	CLEANUP(lock_claim_freep) struct lock_claim *claim = NULL;
	AUTO_FREE char *path = NULL;
	char who[WHO_MAX];
	int r;

	if (asprintf(&path, "%s/%s", job->backend->bucket, job->backend->key) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	(void)snprintf(who, sizeof(who), "%s@%s", job->owner.name, lane->scheduler->setup.hostname);
	r = lock_claim_new(&claim, job->id,
			   &(struct lock_claim_words){
				   .id = job->lock_id,
				   .operation = job->operation,
				   .who = who,
				   .version = job->backend->terraform_version,
				   .path = path,
			   });
	if (r < 0)
		return r;
	preflight_give(job->preflight, claim);
	*ret = TAKE_PTR(claim);
	return 0;
}

static void leave_to_child(struct lane *lane, struct job *job)
{
	if (lane->lock)
		lock_want(lane->lock, NULL);
	lane_try_go(lane, job);
}

/* Which stores its lock is in: jobs on one state may name another table, or none. Return: the
 * caller's to free, or NULL when out of memory. */
static char *make_lock_key(const struct job *job)
{
	const struct backend *backend = job->backend;
	char *key = NULL;

	if (asprintf(&key, "%d %s %s", backend->use_lockfile,
		     backend->dynamodb_table ? backend->dynamodb_table : "",
		     backend->endpoint_dynamodb ? backend->endpoint_dynamodb : "") < 0)
		return NULL;
	return key;
}

/* Is the lock that was wanted last @job's, too? */
static bool has_same_lock(const struct lane *lane, const struct job *job)
{
	AUTO_FREE char *key = make_lock_key(job);

	return key && lane->lock_key && strcmp(lane->lock_key, key) == 0;
}

static int remember_lock(struct lane *lane, const struct job *job)
{
	AUTO_FREE char *key = make_lock_key(job);

	if (!key)
		return -ENOMEM;
	if (lane->lock && !lock_is_idle(lane->lock) && !has_same_lock(lane, job))
		return -EBUSY;
	free(lane->lock_key);
	lane->lock_key = TAKE_PTR(key);
	return 0;
}

void lane_take_lock(struct lane *lane, struct job *job)
{
	struct lock_claim *claim = NULL;
	int r;

	if (!lane_keep(lane, job))
		return; /* lane_on_kept() comes back here */
	if (job != lane->sweeper)
		lane_swept(lane);
	r = remember_lock(lane, job);

	if (r == -EBUSY) { /* the one before had it elsewhere: that first */
		lock_want(lane->lock, NULL);
		lane->must_release = true;
		return; /* lane_on_idle() comes back here */
	}
	if (r >= 0)
		r = lane_make_lock(lane);
	if (r >= 0)
		r = make_claim(lane, job, &claim);
	if (r < 0) {
		scheduler_refuse_soon(lane->scheduler, job, "cannot take the lock: %s",
				      strerror(-r));
		return;
	}
	/* One that runs since before keeps to what its runner was told. */
	lock_set_takeover(lane->lock,
			  !lane->line->lost_session &&
				  (job_status_is_running(job->status) ? job->is_fenced
								      : lane_takes_over(lane)));
	identity_unref(lane->identity);
	lane->identity = identity_ref(preflight_identity(job->preflight));
	lock_want(lane->lock, claim);
	lane_try_go(lane, job);
}

static void on_preflight(struct preflight *preflight, void *userdata)
{
	struct job *job = userdata;

	(void)preflight;
	if (job->line && job->line->active == job && job->status == JOB_LOCKING)
		lane_acquire(lane_of(job->line), job);
}

/* What kept it from the lock before its turn may be over: the one before has made its state. */
static bool is_prepared(const struct job *job)
{
	if (!job->preflight)
		return false;
	switch (preflight_state(job->preflight)) {
	case PREFLIGHT_UNDER_WAY: return true;
	case PREFLIGHT_READY: return preflight_has_stores(job->preflight);
	case PREFLIGHT_CHILD:
	case PREFLIGHT_REFUSED:
		return job->status == JOB_QUEUED || !preflight_is_early(job->preflight);
	}
	return false;
}

void lane_prepare(struct lane *lane, struct job *job)
{
	int r;

	if (!job_is_locked_by_us(job) || is_prepared(job))
		return;
	job->preflight = preflight_free(job->preflight);
	r = preflight_new(&job->preflight, &lane->scheduler->setup, job,
			  scheduler_usual(lane->scheduler, job), on_preflight, job);
	if (r < 0)
		journal_job(JOURNAL_LOCK_TROUBLE, job, "cannot prepare its lock: %s", strerror(-r));
}

void lane_acquire(struct lane *lane, struct job *job)
{
	int r;

	r = scheduler_wake(lane->scheduler, job);
	if (r < 0) {
		scheduler_refuse_sleeper(lane->scheduler, job, r);
		return;
	}
	r = runner_link_start(lane->scheduler, job);
	if (r < 0) {
		scheduler_refuse_soon(lane->scheduler, job, "cannot start a runner as %s: %s",
				      job->owner.name, launcher_explain(r));
		return;
	}
	if (lane->must_release)
		return; /* lane_on_idle() comes back here */
	if (!job_is_locked_by_us(job)) {
		leave_to_child(lane, job);
		return;
	}
	lane_prepare(lane, job);
	if (!job->preflight) {
		scheduler_refuse_soon(lane->scheduler, job, "out of memory");
		return;
	}
	switch (preflight_state(job->preflight)) {
	case PREFLIGHT_UNDER_WAY: return; /* on_preflight() comes back here */
	case PREFLIGHT_READY: lane_take_lock(lane, job); return;
	case PREFLIGHT_CHILD:
		job_leave_to_child(job, preflight_why(job->preflight));
		leave_to_child(lane, job);
		return;
	case PREFLIGHT_REFUSED:
		scheduler_refuse_soon(lane->scheduler, job, "%s", preflight_why(job->preflight));
		return;
	}
}

/* Is the lock ours for long enough to stop terraform in good order if it cannot be renewed? */
static bool has_left(const struct lane *lane, uint64_t usec)
{
	if (lane_takes_over(lane))
		usec += lane->terms.stop_grace_usec + WIRE_KILL_MARGIN_USEC;
	return lock_deadline(lane->lock) > clock_usec(CLOCK_BOOTTIME) + usec;
}

/* Held, and confirmed. */
static bool has_lock(const struct lane *lane, const struct job *job)
{
	return lane->lock && lock_is_held_by(lane->lock, job->id) && has_left(lane, START_USEC);
}

/* Asked anew at every try: what was true when the job before ended may not be any more. */
static bool can_go_early(const struct lane *lane)
{
	return lane->may_go_early && lane->lock && !lock_is_in_doubt(lane->lock) &&
	       has_left(lane, lane->terms.renew_usec);
}

void lane_try_go(struct lane *lane, struct job *job)
{
	if (job->status != JOB_LOCKING || !job->is_runner_ready || lane->scheduler->is_stopping)
		return;
	if (job_is_locked_by_us(job)) {
		if (!can_go_early(lane) && !has_lock(lane, job))
			return;
	} else if (lane->lock && !lock_is_idle(lane->lock)) {
		return; /* terraform would run into ours; lane_on_idle() comes back here */
	}
	scheduler_step(lane->scheduler, job, JOB_EV_GO);
}

/* --- handing it on --------------------------------------------------------------------------- */

/* With the same rights the hand-over cannot be refused for want of them. */
static bool has_same_rights(const struct lane *lane, const struct job *next)
{
	return next->preflight && preflight_state(next->preflight) == PREFLIGHT_READY &&
	       identity_is_same(lane->identity, preflight_identity(next->preflight));
}

/* People who run terraform by hand elsewhere must get a turn, too: we cannot see them wait. */
static bool is_limit_reached(const struct lane *lane)
{
	const struct config *config = lane->scheduler->setup.config;

	if (config->handover_jobs > 0 && lane->handover_count + 1 >= config->handover_jobs)
		return true;
	return config->handover_usec > 0 && lane->held_since_usec > 0 &&
	       clock_usec(CLOCK_BOOTTIME) - lane->held_since_usec >= config->handover_usec;
}

/* Can @next take the lock over from @job, without its being let go? */
static bool can_hand_over(const struct lane *lane, const struct job *job, const struct job *next)
{
	return next && !lane->scheduler->is_stopping && next->submitted == 0 &&
	       !lane->line->hold_reason && !lane->must_release && job_is_locked_by_us(job) &&
	       job_is_locked_by_us(next) && has_same_lock(lane, next) && lane->lock &&
	       lock_deadline(lane->lock) > 0 && queue_pick(lane->scheduler->queue) == next;
}

void lane_let_go(struct lane *lane)
{
	if (lane->lock)
		lock_want(lane->lock, NULL);
	else if (lane->kept_job)
		scheduler_sweep(lane);
}

static void release(struct lane *lane, bool leave_free)
{
	lane->handover_count = 0;
	lane_let_go(lane);
	if (lane->lock && leave_free) {
		lock_leave_free(lane->lock, LEAVE_FREE_USEC);
		lane->must_release = true;
	}
}

static int on_quarantine_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct lane *lane = userdata;
	struct line *line = lane->line;

	(void)source;
	(void)usec;

	lane->is_quarantined = false;
	if (!line->lets_push) {
		free(line->hold_reason);
		line->hold_reason = NULL;
	}
	line->is_dirty = true;
	if (line->waiting_count == 0 || line->hold_reason)
		release(lane, false);
	scheduler_pump_soon(lane->scheduler);
	return 0;
}

/*
 * A write of the state may have left the process before it died, and land after it
 * (terraform-locking.md 8.1): whoever started now would read the state before it.
 */
void lane_quarantine(struct lane *lane)
{
	struct line *line = lane->line;
	int r = 0;

	lane->quarantine = sd_event_source_disable_unref(lane->quarantine);
	r = sd_event_add_time_relative(lane->scheduler->setup.event, &lane->quarantine,
				       CLOCK_BOOTTIME, LANE_QUARANTINE_USEC, USEC_PER_SEC,
				       on_quarantine_over, lane);
	if (r < 0) {
		log_warning(r, "Failed to wait for a killed terraform's last write: %m");
		return;
	}
	lane->is_quarantined = true;
	if (!line->hold_reason) {
		(void)text_replace(&line->hold_reason,
				   "terraform was killed; a write of its state may still land, so "
				   "the lock is kept for half a minute");
	}
}

void lane_hand_on(struct lane *lane, const struct job *job)
{
	struct job *next = queue_head(lane->line);

	lane->is_handed_over = lane->may_go_early = false;
	if (lane->is_quarantined)
		return; /* the lock stays as it is until that is over */
	if (next && scheduler_wake(lane->scheduler, next) < 0)
		next = NULL; /* its turn comes, and it is told */
	if (!can_hand_over(lane, job, next)) {
		release(lane, false);
		return;
	}
	if (is_limit_reached(lane)) {
		log_info("Leaving the lock of %s free for a while: others may be waiting for it",
			 lane->line->name);
		release(lane, true);
		return;
	}
	lane->handover_count++;
	(void)lane_keep(lane, next);
	lane->is_handed_over = job_status_is_final(job->status) && job->started_usec > 0;
	/* Only on a lock that says so of the one before: its rights were good enough to write it.
	 */
	lane->may_go_early = lock_is_held_by(lane->lock, job->id) && has_same_rights(lane, next);
	next->is_state_known = true; /* the one before ran on it */
	queue_activate(lane->scheduler->queue, next);
	scheduler_step(lane->scheduler, next, JOB_EV_HEAD);
}
