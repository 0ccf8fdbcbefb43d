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

#include "common/explain.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "daemon/aws/ca_bundle.h"
#include "daemon/aws/credentials.h"
#include "daemon/journal.h"
#include "daemon/lock/lock_s3.h"
#include "daemon/scheduler_parts.h"

#define ACQUIRE_TRIES    8                   /* with back-off: about five seconds */
#define LEAVE_FREE_USEC  (17 * USEC_PER_SEC) /* terraform's longest sleep between tries is 16 s */
#define KILL_MARGIN_USEC (5 * USEC_PER_SEC)
#define QUARANTINE_USEC  (30 * USEC_PER_SEC) /* aws.md 7.3: delta */
#define WHO_MAX          256

struct lane *lane_of(const struct line *line)
{
	return line->data;
}

const struct lock *scheduler_lock(const struct line *line)
{
	return line && line->data ? lane_of(line)->lock : NULL;
}

struct lane *lane_new(struct scheduler *scheduler, struct line *line)
{
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->scheduler = scheduler;
	lane->line = line;
	line->data = lane;
	return lane;
}

void lane_free(struct lane *lane)
{
	if (!lane)
		return;
	lock_claim_free(lane->checking);
	lock_free(lane->lock);
	sd_event_source_disable_unref(lane->quarantine);
	lane->line->data = NULL;
	free(lane);
}

bool lane_is_idle(const struct lane *lane)
{
	return !lane->line->active && lane->line->waiting_count == 0 && !lane->line->hold_reason &&
	       (!lane->lock || (lock_is_idle(lane->lock) && !lock_may_appear(lane->lock)));
}

bool lane_may_be_left(const struct lane *lane)
{
	if (lane->line->active || lane->line->waiting_count > 0 || lane->line->hold_reason ||
	    (lane->lock && !lock_is_idle(lane->lock)))
		return false;
	log_warning(
		0,
		"The lock of %s may turn up in the store in the next minutes: a request to take it was "
		"never answered. 'terraform force-unlock' removes it",
		lane->line->name);
	return true;
}

/* --- what the lock says ---------------------------------------------------------------------- */

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
		lane->held_since_usec = scheduler_now(CLOCK_BOOTTIME);
	if (!active || !lock_is_held_by(lane->lock, active->id))
		return;
	journal_job(LOG_DEBUG, active, "holds the lock, ID %s", active->lock_id);
	lane_try_go(lane, active);
}

static void on_lost(struct lane *lane, struct job *active)
{
	const struct lockinfo_seen *holder = lock_holder(lane->lock);
	const char *who = holder && holder->who[0] ? holder->who : "somebody";

	lane->held_since_usec = 0;
	log_warning(0, "The lock of %s was replaced by %s while tfqd held it", lane->line->name,
		    who);
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
	log_warning(0, "Trouble with the lock of %s, trying again: %s", lane->line->name, error);
	if (active)
		scheduler_changed(scheduler, active);
}

static void on_foreign(struct lane *lane, struct job *active)
{
	const struct lockinfo_seen *holder = lock_holder(lane->lock);

	if (!active || active->status != JOB_LOCKING)
		return;
	journal_job(LOG_INFO, active, "waits for %s, who holds lock %s since %s",
		    holder && holder->who[0] ? holder->who : "somebody", holder ? holder->id : "?",
		    holder ? holder->created : "?");
	if (active->no_wait) {
		active->is_busy = true;
		scheduler_refuse(lane->scheduler, active, "the state is locked by %s, lock ID %s",
				 holder && holder->who[0] ? holder->who : "somebody",
				 holder ? holder->id : "?");
		return;
	}
	scheduler_changed(lane->scheduler, active);
}

static void on_events(struct lock *lock, unsigned events, void *userdata)
{
	struct lane *lane = userdata;

	(void)lock;

	if (events & LEASE_EV_GONE) {
		log_warning(
			0,
			"The lock of %s was removed by somebody while tfqd held it; taking it again",
			lane->line->name);
	}
	if (events & LEASE_EV_HELD)
		on_held(lane, lane->line->active);
	if (events & LEASE_EV_LOST) /* lost in the release: that is no loss of the next one's */
		on_lost(lane, events & LEASE_EV_RELEASED ? NULL : lane->line->active);
	if (events & LEASE_EV_FOREIGN)
		on_foreign(lane, lane->line->active);
	if (events & (LEASE_EV_TROUBLE | LEASE_EV_FAILED | LEASE_EV_DENIED))
		on_trouble(lane, lane->line->active, events);
}

static void on_idle(struct lock *lock, void *userdata)
{
	struct lane *lane = userdata;

	struct job *active = lane->line->active;

	(void)lock;
	lane->held_since_usec = 0;
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

/* --- claims ------------------------------------------------------------------------------------
 */

static int make_lock(struct lane *lane)
{
	const struct config *config = lane->scheduler->setup.config;
	const struct lease_config lease = {
		.lease_usec = config->lease_usec,
		.renew_usec = config->renew_usec,
		.poll_min_usec = config->poll_min_usec,
		.poll_max_usec = config->poll_max_usec,
		.acquire_tries = ACQUIRE_TRIES,
	};
	static const struct lock_callbacks callbacks = { on_events, on_idle, on_info };

	if (lane->lock)
		return 0;
	return lock_new(&lane->lock, lane->scheduler->setup.event, &lease,
			lane->scheduler->setup.host, &callbacks, lane);
}

/* Return: 0; -EINVAL with a sentence in *@ret_error; another negative errno. */
/* Only TLS needs it, and only where the job says something else than the system does. */
static int read_ca(const struct job *job, char **ret, char **ret_error)
{
	const struct backend *backend = job->backend;
	int r;

	if (!backend->ca_bundle ||
	    (backend->endpoint_s3 && strncmp(backend->endpoint_s3, "https:", 6) != 0))
		return 0;
	r = ca_bundle_read(ret, backend->ca_bundle, job->state_directory, job->owner.uid);
	if (r >= 0)
		return 0;
	return explain(ret_error, -EINVAL,
		       "cannot read the CA bundle %s for %s: %s (custom_ca_bundle, AWS_CA_BUNDLE)",
		       backend->ca_bundle, job->owner.name, strerror(-r));
}

static int make_store(struct lane *lane, const struct job *job, struct lock_store **ret,
		      char **ret_error)
{
	const struct scheduler_setup *setup = &lane->scheduler->setup;
	CLEANUP(identity_unrefp) struct identity *identity = NULL;
	AUTO_FREE char *ca_pem = NULL;
	struct credentials credentials;
	struct lock_store_config store;
	const char *why = NULL;
	int r;

	r = credentials_find(&credentials, job->backend, job->env, setup->env,
			     setup->config->credentials, &why);
	if (r < 0)
		return r;
	r = identity_new(&identity, credentials.access_key, credentials.secret_key,
			 credentials.token, credentials.source, 0);
	if (r < 0)
		return r;
	r = read_ca(job, &ca_pem, ret_error);
	if (r < 0)
		return r;
	store = (struct lock_store_config){
		.region = setup->config->region,
		.endpoint_s3 = setup->config->endpoint_s3,
		.endpoint_dynamodb = setup->config->endpoint_dynamodb,
		.ca_pem = ca_pem,
		.ca_bundle = setup->config->ca_bundle,
		.identity = identity,
		.connect_timeout_usec = setup->config->connect_timeout_usec,
		.request_timeout_usec = setup->config->request_timeout_usec,
	};
	proxy_settings_find(&store.proxy, job->backend, job->env);
	return lock_s3_new(ret, setup->http, job->backend, &store, ret_error);
}

static int make_claim(struct lane *lane, const struct job *job, struct lock_claim **ret,
		      char **ret_error)
{
	struct lock_store *store = NULL;
	AUTO_FREE char *path = NULL;
	char who[WHO_MAX];
	int r;

	r = make_lock(lane);
	if (r < 0)
		return r;
	r = make_store(lane, job, &store, ret_error);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/%s", job->backend->bucket, job->backend->key) < 0) {
		path = NULL;
		lock_store_free(store);
		return -ENOMEM;
	}
	(void)snprintf(who, sizeof(who), "%s@%s", job->owner.name, lane->scheduler->setup.hostname);
	return lock_claim_new(ret, job->id,
			      &(struct lock_claim_words){
				      .operation = job->operation,
				      .who = who,
				      .version = job->backend->terraform_version,
				      .path = path,
			      },
			      store);
}

/* --- taking it -----------------------------------------------------------------------------------
 */

static void want(struct lane *lane, struct job *job, struct lock_claim *claim)
{
	(void)snprintf(job->lock_id, sizeof(job->lock_id), "%s", claim->id);
	lock_want(lane->lock, claim);
	lane_try_go(lane, job);
}

static void leave_to_child(struct lane *lane, struct job *job, const char *why)
{
	job->why_child = why;
	if (lane->lock)
		lock_want(lane->lock, NULL);
	lane_try_go(lane, job);
}

/*
 * terraform makes a missing workspace's state under a lock of its own, whatever -lock=false
 * says (terraform-locking.md 5.1): it would run into ours.
 */
static void on_exists(int is_there, const char *error, void *userdata)
{
	struct lane *lane = userdata;
	struct job *job = lane->line->active;
	struct lock_claim *claim = TAKE_PTR(lane->checking);

	if (!claim || !job) {
		lock_claim_free(claim);
		return;
	}

	if (is_there > 0) {
		job->is_state_known = true;
		want(lane, job, claim);
		return;
	}
	if (is_there < 0)
		journal_job(LOG_INFO, job, "leaves the lock to terraform: %s", error);
	lock_claim_free(claim);
	leave_to_child(lane, job,
		       is_there == 0 ? "the workspace has no state yet"
				     : "tfqd cannot tell whether the workspace has a state");
}

void lane_acquire(struct lane *lane, struct job *job)
{
	CLEANUP(lock_claim_freep) struct lock_claim *claim = NULL;
	AUTO_FREE char *error = NULL;
	int r;

	r = runner_link_start(lane->scheduler, job);
	if (r < 0) {
		scheduler_refuse_soon(lane->scheduler, job, "cannot start a runner as %s: %s",
				      job->owner.name, strerror(-r));
		return;
	}
	if (lane->must_release)
		return; /* on_idle() comes back here */
	lane->checking = lock_claim_free(lane->checking);
	if (!job_is_locked_by_us(job)) {
		leave_to_child(lane, job, job->why_child);
		return;
	}
	r = make_claim(lane, job, &claim, &error);
	if (r < 0) {
		scheduler_refuse_soon(lane->scheduler, job, "cannot take the lock: %s",
				      error ? error : strerror(-r));
		return;
	}
	if (job->is_state_known) {
		want(lane, job, TAKE_PTR(claim));
		return;
	}
	lane->checking = TAKE_PTR(claim);
	r = lane->checking->store->ops->exists(lane->checking->store, on_exists, lane);
	if (r < 0) {
		lane->checking = lock_claim_free(lane->checking);
		scheduler_refuse_soon(lane->scheduler, job, "cannot look for the state: %s",
				      strerror(-r));
	}
}

/* Held, confirmed, and not for as long ago that anything may have happened since. */
static bool has_lock(const struct lane *lane, const struct job *job)
{
	return lock_is_held_by(lane->lock, job->id) &&
	       lock_deadline(lane->lock) > scheduler_now(CLOCK_BOOTTIME);
}

static bool has_margin(const struct lane *lane)
{
	const struct config *config = lane->scheduler->setup.config;
	const uint64_t now = scheduler_now(CLOCK_BOOTTIME);

	return lock_deadline(lane->lock) >
	       now + config->stop_grace_usec + KILL_MARGIN_USEC + config->renew_usec;
}

/* Asked anew at every try: what was true when the job before ended may not be any more. */
static bool can_go_early(const struct lane *lane)
{
	return lane->may_go_early && !lock_is_in_doubt(lane->lock) && has_margin(lane);
}

void lane_try_go(struct lane *lane, struct job *job)
{
	if (job->status != JOB_LOCKING || !job->is_runner_ready || lane->checking)
		return;
	if (job_is_locked_by_us(job)) {
		if (!can_go_early(lane) && !has_lock(lane, job))
			return;
	} else if (lane->lock && !lock_is_idle(lane->lock)) {
		return; /* terraform would run into ours; on_idle() comes back here */
	}
	scheduler_step(lane->scheduler, job, JOB_EV_GO);
}

/* --- handing it on
 * ---------------------------------------------------------------------------------- */

static bool has_same_rights(const struct lane *lane, const struct job *a, const struct job *b)
{
	const struct scheduler_setup *setup = &lane->scheduler->setup;
	struct credentials left, right;
	const char *why;

	if (credentials_find(&left, a->backend, a->env, setup->env, setup->config->credentials,
			     &why) < 0 ||
	    credentials_find(&right, b->backend, b->env, setup->env, setup->config->credentials,
			     &why) < 0)
		return false;
	return strcmp(left.access_key, right.access_key) == 0;
}

/* People who run terraform by hand elsewhere must get a turn, too: we cannot see them wait. */
static bool is_limit_reached(const struct lane *lane)
{
	const struct config *config = lane->scheduler->setup.config;

	if (config->handover_jobs > 0 && lane->handover_count + 1 >= config->handover_jobs)
		return true;
	return config->handover_usec > 0 && lane->held_since_usec > 0 &&
	       scheduler_now(CLOCK_BOOTTIME) - lane->held_since_usec >= config->handover_usec;
}

/* Can @next take the lock over from @job, without its being let go? */
static bool can_hand_over(const struct lane *lane, const struct job *job, const struct job *next)
{
	return next && !lane->scheduler->is_stopping && !lane->line->hold_reason &&
	       !lane->must_release && job_is_locked_by_us(job) && job_is_locked_by_us(next) &&
	       lane->lock && lock_deadline(lane->lock) > 0 &&
	       queue_pick(lane->scheduler->queue) == next;
}

static void release(struct lane *lane, bool leave_free)
{
	if (!lane->lock)
		return;
	lane->handover_count = 0;
	lock_want(lane->lock, NULL);
	if (leave_free) {
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
				       CLOCK_BOOTTIME, QUARANTINE_USEC, USEC_PER_SEC,
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

	lane->checking = lock_claim_free(lane->checking);
	lane->is_handed_over = lane->may_go_early = false;
	if (lane->is_quarantined)
		return; /* the lock stays as it is until that is over */
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
	lane->is_handed_over = job_status_is_final(job->status) && job->started_usec > 0;
	/* Only on a lock that says so of the one before: its rights were good enough to write it.
	 */
	lane->may_go_early =
		lock_is_held_by(lane->lock, job->id) && has_same_rights(lane, job, next);
	next->is_state_known = true; /* the one before ran on it */
	queue_activate(lane->scheduler->queue, next);
	scheduler_step(lane->scheduler, next, JOB_EV_HEAD);
}
