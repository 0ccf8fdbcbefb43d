/* SPDX-License-Identifier: MIT */
/* What becomes of a line and its active job when something happens to its lock. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "daemon/journal.h"
#include "daemon/metrics.h"
#include "daemon/scheduler_parts.h"

#define TROUBLE_AGAIN_USEC USEC_PER_MIN
#define ACQUIRE_TRIES      8 /* with back-off: about five seconds */

/* Others may take what of ours has run out, and we theirs: one buys the other. */
bool lane_takes_over(const struct lane *lane)
{
	return lane->terms.takeover == CONFIG_TAKEOVER_AUTO;
}

static void on_info(char *buf, size_t size, uint64_t id, void *userdata)
{
	struct lane *lane = userdata;
	const struct job *job = scheduler_find(lane->scheduler, id);
	char text[LOCKINFO_TEXT_MAX];

	if (!job) {
		(void)snprintf(buf, size, "tfqd job %" PRIu64, id);
		return;
	}
	(void)snprintf(text, sizeof(text),
		       "tfqd job %" PRIu64 " of %s%s%s%s; %" PRIu64
		       " more waiting; to queue behind it on %s: tfq %s",
		       id, job->owner.name, job->reason ? ", \"" : "",
		       job->reason ? job->reason : "", job->reason ? "\"" : "",
		       lane->line->waiting_count, lane->scheduler->setup.hostname, job->subcommand);
	(void)text_printable(buf, size, text);
}

static void on_held(struct lane *lane, struct job *active)
{
	if (lane->held_since_usec == 0)
		lane->held_since_usec = clock_usec(CLOCK_BOOTTIME);
	if (!active || !lock_is_held_by(lane->lock, active->id))
		return;
	journal_job(JOURNAL_LOCK_HELD, active, "holds the lock, ID %s", active->lock_id);
	lane_try_go(lane, active);
}

static void on_lost(struct lane *lane, struct job *active)
{
	const struct lockinfo_seen *holder = lock_holder(lane->lock);
	const char *who = holder && holder->who[0] ? holder->who : "somebody";

	lane->held_since_usec = 0;
	journal_tell(JOURNAL_LOCK_REPLACED, &(struct journal_about){ .state = lane->line->name },
		     "The lock of %s was replaced by %s while tfqd held it", lane->line->name, who);
	if (!active)
		return;
	if (active->status == JOB_LOCKING)
		lane->may_go_early = false;
	else {
		active->is_lock_lost = true;
		job_set_message(active,
				"the lock was replaced by %s while terraform ran; terraform was "
				"interrupted",
				who);
	}
	scheduler_step(lane->scheduler, active, JOB_EV_LOCK_LOST);
}

/* A store that is away for an hour is tried a thousand times: what only takes another number of
 * milliseconds each time is told once a minute. */
static bool is_news(struct lane *lane, const char *error)
{
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);
	char text[sizeof(lane->told_trouble)];
	size_t len = 0;

	for (; *error && len < sizeof(text) - 1; error++)
		if (*error < '0' || *error > '9')
			text[len++] = *error;
	text[len] = '\0';
	if (strcmp(text, lane->told_trouble) == 0 &&
	    now - lane->told_trouble_usec < TROUBLE_AGAIN_USEC)
		return false;
	memcpy(lane->told_trouble, text, len + 1);
	lane->told_trouble_usec = now;
	return true;
}

static void on_trouble(struct lane *lane, struct job *active, unsigned events)
{
	struct scheduler *scheduler = lane->scheduler;
	const char *error = lock_error(lane->lock);

	if (active && active->status == JOB_LOCKING &&
	    (events & (LEASE_EV_FAILED | LEASE_EV_DENIED))) {
		scheduler_refuse(scheduler, active, "%s",
				 *error ? error : "the lock cannot be taken");
		return;
	}
	if (*error && is_news(lane, error)) { /* else a look has cleared up what was said before */
		journal_tell(JOURNAL_LOCK_TROUBLE,
			     &(struct journal_about){ .state = lane->line->name },
			     "Trouble with the lock of %s, trying again: %s", lane->line->name,
			     error);
	}
	if (active)
		scheduler_changed(scheduler, active);
}

/* Its runner has stopped it by now, by the same clock; nothing that comes later brings it back. One
 * that its user has stopped has not: what is left then dies with its unit. */
static void on_expired(struct lane *lane, struct job *active)
{
	journal_tell(
		JOURNAL_LOCK_EXPIRED, &(struct journal_about){ .state = lane->line->name },
		"The lease on the lock of %s has run out: it could not be renewed in time (%s)",
		lane->line->name, lock_error(lane->lock));
	if (!active || !job_status_is_running(active->status))
		return;
	if (active->is_fenced)
		runner_link_kill(active);
	active->is_lock_lost = true;
	job_set_message(active,
			"the lock could not be renewed before its lease ran out, so terraform was "
			"stopped (%s)",
			lock_error(lane->lock));
	scheduler_step(lane->scheduler, active, JOB_EV_LOCK_LOST);
}

/* As long as it may be taken over, its runner has to know until when it is ours. */
static void tell_deadline(struct lane *lane, struct job *active)
{
	if (active && job_status_is_running(active->status) && active->is_fenced)
		runner_link_deadline(active, lock_deadline(lane->lock));
	else if (active)
		lane_try_go(lane, active);
}

static void on_stale(struct lane *lane, struct job *active)
{
	const struct lockinfo_seen *holder = lock_holder(lane->lock);

	if (!active || !holder)
		return;
	journal_job(JOURNAL_LOCK_STALE, active,
		    "waits for %s, whose lease has run out without a renewal: nobody holds it any "
		    "more. By policy an operator decides: tfq unlock '%s' --id %s",
		    holder->who[0] ? holder->who : "somebody", lane->line->name, holder->id);
	scheduler_changed(lane->scheduler, active);
}

static void on_foreign(struct lane *lane, struct job *active)
{
	const struct lockinfo_seen *holder = lock_holder(lane->lock);
	const char *who = holder && holder->who[0] ? holder->who : "somebody";
	const char *id = holder ? holder->id : "?";

	if (active && job_status_is_running(active->status)) {
		on_lost(lane, active); /* while there was no tfqd */
		return;
	}
	if (!active || active->status != JOB_LOCKING)
		return;
	if (lane->told_job != active->id || strcmp(lane->told_holder, id) != 0) {
		lane->told_job = active->id; /* once: every renewal of his brings us here */
		(void)snprintf(lane->told_holder, sizeof(lane->told_holder), "%s", id);
		journal_job(JOURNAL_LOCK_FOREIGN, active,
			    "waits for %s, who holds lock %s since %s", who, id,
			    holder ? holder->created : "?");
	}
	if (active->no_wait) {
		active->is_busy = true;
		scheduler_refuse(lane->scheduler, active, "the state is locked by %s, lock ID %s",
				 who, id);
		return;
	}
	scheduler_changed(lane->scheduler, active);
}

static void log_regained(const struct lane *lane, unsigned events)
{
	const char *name = lane->line->name;

	if (events & (LEASE_EV_REGAINED | LEASE_EV_TAKEN))
		metrics_count(events & LEASE_EV_REGAINED ? METRIC_REGAINED : METRIC_TAKEOVERS);
	if (events & LEASE_EV_REGAINED) {
		journal_tell(JOURNAL_LOCK_REGAINED,
			     &(struct journal_about){ .state = lane->line->name },
			     "The lock of %s, left by the tfqd before this one, is regained", name);
	} else if (events & LEASE_EV_TAKEN) {
		journal_tell(
			JOURNAL_LOCK_TAKEN_OVER,
			&(struct journal_about){ .state = lane->line->name },
			"The lock of %s was taken over: its lease had run out, so whoever held "
			"it is dead",
			name);
	}
}

/* Whom a lock of before belonged to is dead: it is there to be removed, or another's by now. */
static bool is_sweep_over(const struct lane *lane, unsigned events)
{
	return lane->sweeper && !lane->line->active && events & (LEASE_EV_HELD | LEASE_EV_FOREIGN);
}

static void on_events(struct lock *lock, unsigned events, void *userdata)
{
	struct lane *lane = userdata;

	if (events & (LEASE_EV_HELD | LEASE_EV_FOREIGN))
		lane->is_found = false;
	if (is_sweep_over(lane, events)) {
		lane_swept(lane);
		if (!lane->line->lost_session) /* of a lost job it is kept */
			lock_want(lock, NULL);
		return;
	}

	if (events & LEASE_EV_GONE) {
		journal_tell(
			JOURNAL_LOCK_GONE, &(struct journal_about){ .state = lane->line->name },
			"The lock of %s was removed by somebody while tfqd held it; taking it again",
			lane->line->name);
	}
	log_regained(lane, events);
	if (events & LEASE_EV_EXPIRED)
		on_expired(lane, lane->line->active);
	if (events & LEASE_EV_RENEWED)
		metrics_count(METRIC_RENEWALS);
	if (events & LEASE_EV_RENEWED)
		tell_deadline(lane, lane->line->active);
	if (events & LEASE_EV_HELD)
		on_held(lane, lane->line->active);
	if (events & LEASE_EV_LOST) /* lost in the release: that is no loss of the next one's */
		on_lost(lane, events & LEASE_EV_RELEASED ? NULL : lane->line->active);
	if (events & LEASE_EV_FOREIGN)
		on_foreign(lane, lane->line->active);
	if (events & LEASE_EV_STALE)
		on_stale(lane, lane->line->active);
	if (events & (LEASE_EV_TROUBLE | LEASE_EV_FAILED | LEASE_EV_DENIED))
		on_trouble(lane, lane->line->active, events);
}

static void on_idle(struct lock *lock, void *userdata)
{
	struct lane *lane = userdata;

	struct job *active = lane->line->active;
	const bool is_stopping = lane->scheduler->is_stopping;

	lane->held_since_usec = 0;
	if (lane->sweeper && !is_stopping)
		lane->is_found = false;
	if (!lock_may_appear(lock) && !lane->is_found)
		lane_unkeep(lane);
	lane_swept(lane);
	if (lane->is_found && !active && !is_stopping) /* its job ended before it was regained */
		scheduler_sweep(lane);
	if (active && active->status == JOB_LOCKING) {
		if (lane->must_release) {
			lane->must_release = false;
			lane_acquire(lane, active);
		} else {
			lane_try_go(lane, active);
		}
	}
	lane->must_release = false;
	scheduler_pump_soon(lane->scheduler);
}

static bool is_own(const char *id, void *userdata)
{
	const struct lane *lane = userdata;

	return scheduler_is_own_lock(lane->scheduler, lane->line, id);
}

int lane_make_lock(struct lane *lane)
{
	const struct lane_terms *terms = &lane->terms;
	const struct lease_config lease = {
		.lease_usec = terms->lease_usec,
		.renew_usec = terms->renew_usec,
		.poll_min_usec = terms->poll_min_usec,
		.poll_max_usec = terms->poll_max_usec,
		.acquire_tries = ACQUIRE_TRIES,
		.takes_over = lane_takes_over(lane),
		.asks = terms->takeover == CONFIG_TAKEOVER_ASK,
		.drift_percent = terms->drift_percent,
		.quarantine_usec = LANE_QUARANTINE_USEC,
	};
	static const struct lock_callbacks callbacks = { on_events, on_idle, on_info, is_own };

	if (lane->lock)
		return 0;
	return lock_new(&lane->lock, lane->scheduler->setup.event, &lease,
			lane->scheduler->setup.host, &callbacks, lane);
}
