/* SPDX-License-Identifier: MIT */
/* One of those who want a lock: its cycles, what it believes, and its deaths. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/lock/lock_dynamodb.h"
#include "daemon/lock/lock_s3.h"
#include "tests/soak/soak.h"

#define REQUEST_USEC     (300 * USEC_PER_MSEC)
#define CUT_WORK_USEC    (25 * USEC_PER_SEC)
#define KILLED_PER_MILLE 30
#define CUT_PER_MILLE    15
#define FEW_CYCLES       200 /* up to here only those are killed or cut off that must be */

static const struct lease_config lease_config = {
	.lease_usec = LEASE_TAKEN_MIN_USEC,
	.renew_usec = 700 * USEC_PER_MSEC,
	.poll_min_usec = 100 * USEC_PER_MSEC,
	.poll_max_usec = 600 * USEC_PER_MSEC,
	.acquire_tries = 8,
	.drift_percent = 10,
	.quarantine_usec = 300 * USEC_PER_MSEC,
};

static void set_phase(struct contender *contender, enum phase phase)
{
	contender->phase = phase;
	contender->phase_usec = now_usec();
}

/* --- who believes to hold it ---------------------------------------------------------------- */

/* The job that @contender works for under the lock; 0: none. */
static uint64_t job_held(const struct contender *contender, uint64_t now)
{
	const struct lock *lock = contender->lock;

	if (contender->phase != WANT && contender->phase != WORK && contender->phase != PASS)
		return 0;
	if (contender->takes_over && now >= lock_deadline(lock))
		return 0;
	if (lock_is_held_by(lock, contender->job))
		return contender->job;
	if (contender->job_before != 0 && lock_is_held_by(lock, contender->job_before))
		return contender->job_before;
	return 0;
}

/* Where nobody removes others' locks, this is never to happen, not for a moment. */
static void check_alone(const struct contender *contender, uint64_t now)
{
	const struct contender *others = &soak.contenders[(size_t)contender->state->number * HOSTS];

	for (unsigned i = 0; i < HOSTS; i++) {
		if (&others[i] != contender && others[i].is_holder &&
		    job_held(&others[i], now) != 0)
			say(now, contender->name, "two-hold %s", others[i].name);
	}
}

static void tell_hold(struct contender *contender, const char *why)
{
	const uint64_t now = now_usec();
	const uint64_t job = job_held(contender, now);
	const uint64_t deadline = contender->takes_over ? lock_deadline(contender->lock) : 0;

	if (job == 0) {
		if (contender->is_holder)
			say(now, contender->name, "end %s", why);
		contender->is_holder = false;
		return;
	}
	check_alone(contender, now);
	if (contender->is_holder && job == contender->told_job &&
	    deadline == contender->told_deadline_usec)
		return;
	contender->is_holder = true;
	contender->told_job = job;
	contender->told_deadline_usec = deadline;
	say(now, contender->name, "hold %" PRIu64 " %" PRIu64, job, deadline);
}

/* --- a cycle -------------------------------------------------------------------------------- */

void contender_stores(const struct contender *contender, struct lock_claim *claim)
{
	static char bucket[] = "tfbucket", region[] = "us-east-1", table[] = "tflocks";
	const struct backend backend = {
		.kind = BACKEND_S3,
		.bucket = bucket,
		.key = contender->state->key,
		.region = region,
		.dynamodb_table = table,
		.endpoint_s3 = soak.url,
		.endpoint_dynamodb = soak.url,
		.path_style = true,
	};
	const struct lock_store_config config = {
		.identity = contender->identity,
		.connect_timeout_usec = REQUEST_USEC,
		.request_timeout_usec = REQUEST_USEC,
		.probes = soak.probes[contender->host],
	};
	struct http *http = soak.http[contender->host];
	AUTO_FREE char *error = NULL;

	if (soak.with_s3)
		checked("S3",
			lock_s3_new(&claim->stores[LOCK_S3], http, &backend, &config, &error));
	if (soak.with_dynamodb)
		checked("DynamoDB", lock_dynamodb_new(&claim->stores[LOCK_DYNAMODB], http, &backend,
						      &config, &error));
}

static void want(struct contender *contender)
{
	unsigned char random[16];
	char id[LOCKINFO_ID_LEN];
	struct lock_claim *claim = NULL;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		die("random numbers", -errno);
	lockinfo_id(id, random);
	contender->job_before = contender->job;
	contender->job = ++soak.jobs;
	checked("claim", lock_claim_new(&claim, contender->job,
					&(struct lock_claim_words){
						.id = id,
						.operation = "OperationTypeApply",
						.who = contender->name,
						.version = "1.11.4",
						.path = contender->state->key,
					}));
	contender_stores(contender, claim);
	lock_want(contender->lock, claim);
}

static void begin(struct contender *contender)
{
	contender->is_second = contender->has_taken = false;
	contender->job = 0;
	contender->outcome = "done";
	want(contender);
	set_phase(contender, WANT);
}

/* Work ends before the lock is let go. */
void contender_release(struct contender *contender, const char *outcome)
{
	contender->outcome = outcome;
	set_phase(contender, RELEASE);
	tell_hold(contender, outcome);
	lock_want(contender->lock, NULL);
}

static void choose_fate(struct contender *contender)
{
	const enum fate fate = contender->state->fate;
	const bool is_random =
		!contender->state->is_cautious && soak.cycles > FEW_CYCLES && !soak.is_over;
	const uint64_t lot = is_random ? chance(1000) : 1000;

	if (fate == KILL || lot < KILLED_PER_MILLE) {
		/* Those that must be are killed while they work, the others whenever. */
		set_timer(contender->doom, chance((fate == KILL ? 20 : 1000) * USEC_PER_MSEC));
	} else if (fate == CUT || lot < KILLED_PER_MILLE + CUT_PER_MILLE) {
		say(now_usec(), contender->name, "cut");
		set_timer(contender->timer, CUT_WORK_USEC);
	}
}

static void work(struct contender *contender)
{
	const bool is_long = chance(12) == 0;

	contender->state->turn_usec = now_usec();
	set_phase(contender, WORK);
	set_timer(contender->timer, is_long ? USEC_PER_SEC + chance(2 * USEC_PER_SEC)
					    : (20 + chance(300)) * USEC_PER_MSEC);
	if (contender->has_taken)
		contender->state->fate = NO_FATE;
	if (!contender->is_second && !soak.is_calm)
		choose_fate(contender);
}

static void end_cycle(struct contender *contender)
{
	say(now_usec(), contender->name, "cycle %s", contender->outcome);
	soak.finished += strcmp(contender->outcome, "done") == 0;
	contender->state->turn_usec = now_usec();
	contender->state->is_swept |= soak.is_calm && strcmp(contender->outcome, "done") == 0;
	set_phase(contender, PAUSE);
	contender->job = contender->job_before = 0;
	if (!soak.is_over || (soak.is_calm && !contender->state->is_swept))
		set_timer(contender->timer, (10 + chance(400)) * USEC_PER_MSEC);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct contender *contender = userdata;

	(void)source;
	(void)usec;

	if (contender->phase == PAUSE && (!soak.is_over || soak.is_calm)) {
		begin(contender);
	} else if (contender->phase == WORK && !contender->is_second) {
		contender->is_second = true;
		set_phase(contender, PASS);
		want(contender);
	} else if (contender->phase == WORK) {
		contender_release(contender, "done");
	} else if (contender->phase == STOP) {
		contender_release(contender, "lost");
	}
	return 0;
}

/* --- what becomes of the lock --------------------------------------------------------------- */

static void on_events(struct lock *lock, unsigned events, void *userdata)
{
	struct contender *contender = userdata;
	const enum phase phase = contender->phase;

	tell_hold(contender, events & LEASE_EV_GONE ? "gone" : "told");
	if (events & LEASE_EV_TAKEN)
		contender->has_taken = true;
	if (phase == STOP || phase == RELEASE || phase == PAUSE)
		return;
	if (events & (LEASE_EV_LOST | LEASE_EV_EXPIRED)) {
		set_phase(contender, STOP); /* as a child that is being stopped */
		tell_hold(contender, "lost");
		set_timer(contender->timer, chance(100) * USEC_PER_MSEC);
	} else if (events & LEASE_EV_HELD && (phase == WANT || phase == PASS) &&
		   lock_is_held_by(lock, contender->job)) {
		work(contender);
	} else if (events & (LEASE_EV_FAILED | LEASE_EV_DENIED) && phase != WORK) {
		contender_release(contender, "refused");
	}
}

static void on_idle(struct lock *lock, void *userdata)
{
	struct contender *contender = userdata;

	say(now_usec(), contender->name, "idle %d", lock_may_appear(lock));
	if (contender->phase == RELEASE)
		end_cycle(contender);
	check_over();
	check_done();
}

static void on_info(char *buf, size_t size, uint64_t job, void *userdata)
{
	(void)userdata;
	(void)snprintf(buf, size, "tfqd job %" PRIu64, job);
}

/* --- a contender's life --------------------------------------------------------------------- */

static void come(struct contender *contender)
{
	static const struct lock_callbacks callbacks = { on_events, on_idle, on_info, NULL };
	struct lease_config config = lease_config;

	config.takes_over = contender->takes_over;
	(void)snprintf(contender->name, sizeof(contender->name), "s%u-h%u-l%u",
		       contender->state->number, contender->host, contender->life++);
	contender->lock_host = (struct lock_host){ contender->name, contender->name };
	checked("identity", identity_new(&contender->identity, contender->name, "testsecret", NULL,
					 "environment", 0));
	checked("lock", lock_new(&contender->lock, soak.event, &config, &contender->lock_host,
				 &callbacks, contender));
	set_phase(contender, PAUSE);
}

static void go(struct contender *contender)
{
	contender->lock = lock_free(contender->lock);
	contender->identity = identity_unref(contender->identity);
	contender->is_holder = false;
	contender->job = contender->job_before = 0;
}

/* As by SIGKILL: what it holds stays, and what it has just sent may arrive. */
static int on_doom(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct contender *contender = userdata;

	(void)source;
	(void)usec;

	say(now_usec(), contender->name, "crash");
	go(contender);
	contender->outcome = "crashed";
	come(contender);
	end_cycle(contender);
	check_done();
	return 0;
}

void contender_init(struct contender *contender, struct state *state, unsigned host)
{
	contender->state = state;
	contender->host = host;
	contender->takes_over = !state->is_cautious || host == HOSTS - 1;
	checked("timer", sd_event_add_time(soak.event, &contender->timer, CLOCK_BOOTTIME, 0, 1000,
					   on_timer, contender));
	checked("timer", sd_event_add_time(soak.event, &contender->doom, CLOCK_BOOTTIME, 0, 1000,
					   on_doom, contender));
	checked("timer", sd_event_source_set_enabled(contender->doom, SD_EVENT_OFF));
	checked("timer", sd_event_source_set_enabled(contender->timer, SD_EVENT_OFF));
	come(contender);
}

void contender_clear(struct contender *contender)
{
	go(contender);
	contender->timer = sd_event_source_disable_unref(contender->timer);
	contender->doom = sd_event_source_disable_unref(contender->doom);
}
