/* SPDX-License-Identifier: MIT */
/*
 * Identities that must be asked for. One question is one helper at a time, however many wait for
 * its answer; what it found is asked for again before it expires, beside everything else. A failure
 * then changes nothing: the old keys stay, for instances even beyond their time, as AWS asks for.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/env.h"
#include "common/explain.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/timestamp.h"
#include "daemon/aws/credentials.h"
#include "daemon/aws/credentials_helper.h"
#include "daemon/aws/identity_parts.h"
#include "daemon/aws/identity_question.h"
#include "daemon/launcher.h"

#define EARLY_USEC     (15 * USEC_PER_MIN) /* before expiry; a quarter of a life if that is less */
#define RETRY_MIN_USEC (5 * USEC_PER_SEC)
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)
#define EXPIRED_USEC   (5 * USEC_PER_MIN) /* to the next try after an answer that had expired */
#define ACCURACY_USEC  (USEC_PER_SEC / 10)
#define NOT_STARTED    "The look-up of AWS credentials cannot be started: %s"

/* A question, who waits for its answer, and what was found. Lives as long as one of these two. */
struct identity_refresh {
	struct identities *identities; /* NULL: they are gone, nothing is asked any more */
	struct identity_question question;
	struct job_owner owner;    /* own groups, without a name */
	struct identity *identity; /* not counted: its last unref ends us; NULL: none yet */
	struct helper *helper;     /* NULL: none at work */
	bool is_refused;           /* a server does not take what was found */
	sd_event_source *timer;    /* to the next asking; NULL: none */
	uint64_t asked_usec;       /* when the last helper was started, monotonic; 0: never */
	uint64_t retry_usec;       /* the last wait after a failure; 0: it did not fail */
	TAILQ_HEAD(, identity_lookup) lookups;
	TAILQ_ENTRY(identity_refresh) link; /* identities::all */
};

struct identity_lookup {
	struct identity_refresh *refresh;
	identity_done_fn done;
	void *userdata;
	TAILQ_ENTRY(identity_lookup) link; /* identity_refresh::lookups */
};

struct identities {
	struct identities_setup setup;
	TAILQ_HEAD(, identity_refresh) all;
};

static void drop_timer(struct identity_refresh *refresh)
{
	refresh->timer = sd_event_source_disable_unref(refresh->timer);
}

static struct identity_refresh *refresh_free(struct identity_refresh *refresh)
{
	if (!refresh)
		return NULL;

	assert(TAILQ_EMPTY(&refresh->lookups));

	if (refresh->identities)
		TAILQ_REMOVE(&refresh->identities->all, refresh, link);
	drop_timer(refresh);
	refresh->helper = helper_cancel(refresh->helper);
	identity_question_clear(&refresh->question);
	free(refresh->owner.groups);
	free(refresh);
	return NULL;
}

static void refresh_freep(struct identity_refresh **p)
{
	refresh_free(*p);
}

void identity_refresh_end(struct identity_refresh *refresh)
{
	refresh->identity = NULL;
	if (TAILQ_EMPTY(&refresh->lookups))
		refresh_free(refresh);
}

/* --- asking ---------------------------------------------------------------------------------- */

static uint64_t now_usec(const struct identity_refresh *refresh, clockid_t clock)
{
	uint64_t now = 0;

	(void)sd_event_now(refresh->identities->setup.event, clock, &now);
	return now;
}

static void on_answer(const struct helper_answer *answer, void *userdata);

static int ask(struct identity_refresh *refresh)
{
	const struct helper_setup setup = {
		.event = refresh->identities->setup.event,
		.runner = refresh->identities->setup.runner,
		.launcher = refresh->identities->setup.launcher,
		.owner = &refresh->owner,
		.question = refresh->question.text,
		.question_len = refresh->question.len,
	};

	drop_timer(refresh);
	refresh->asked_usec = now_usec(refresh, CLOCK_MONOTONIC);
	return helper_start(&refresh->helper, &setup, on_answer, refresh);
}

static void on_failure(struct identity_refresh *refresh, int result, const char *error);

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct identity_refresh *refresh = userdata;
	char error[256];
	int r;

	(void)source;
	(void)usec;
	r = refresh->helper ? 0 : ask(refresh);
	if (r < 0) { /* with or without an identity: who held it may be gone by now */
		(void)snprintf(error, sizeof(error), NOT_STARTED, launcher_explain(r));
		on_failure(refresh, r, error);
	}
	return 0;
}

static void set_timer(struct identity_refresh *refresh, uint64_t delay_usec)
{
	int r;

	drop_timer(refresh);
	r = sd_event_add_time_relative(refresh->identities->setup.event, &refresh->timer,
				       CLOCK_BOOTTIME, delay_usec, ACCURACY_USEC, on_time, refresh);
	if (r < 0)
		log_warning(r, "Cannot plan the renewal of AWS credentials: %m");
}

static void retry_later(struct identity_refresh *refresh, const char *why)
{
	char wait[32];

	refresh->retry_usec = refresh->retry_usec ? 2 * refresh->retry_usec : RETRY_MIN_USEC;
	if (refresh->retry_usec > RETRY_MAX_USEC)
		refresh->retry_usec = RETRY_MAX_USEC;
	log_warning(0, "Cannot renew the AWS credentials of uid %lu (%s), trying again in %s: %s",
		    (unsigned long)refresh->owner.uid, refresh->identity->source,
		    parse_format_usec(wait, refresh->retry_usec), why);
	set_timer(refresh, refresh->retry_usec);
}

/* In good time before they expire. An instance may be given expired keys: services may accept them
 * all the same (aws.md 5.5). */
static void plan(struct identity_refresh *refresh)
{
	const uint64_t expires = refresh->identity->expires_usec;
	const uint64_t now = now_usec(refresh, CLOCK_REALTIME);
	uint64_t life, early;

	if (!refresh->identity->can_refresh || expires == 0)
		return;
	if (expires <= now) {
		set_timer(refresh, EXPIRED_USEC);
		return;
	}
	life = expires - now;
	early = life / 4 < EARLY_USEC ? life / 4 : EARLY_USEC;
	set_timer(refresh, life - early);
}

void identity_renew(struct identity *identity)
{
	struct identity_refresh *refresh = identity->refresh;
	uint64_t since;
	int r;

	if (!refresh || !refresh->identities || !identity->can_refresh)
		return;
	refresh->is_refused = true;
	if (refresh->helper || (refresh->retry_usec > 0 && refresh->timer))
		return; /* it is being asked, or is going to be, not over and over */
	since = now_usec(refresh, CLOCK_MONOTONIC) - refresh->asked_usec;
	if (since < RETRY_MIN_USEC) { /* new ones, and refused as well: not over and over */
		set_timer(refresh, RETRY_MIN_USEC - since);
		return;
	}
	r = ask(refresh);
	if (r < 0)
		retry_later(refresh, strerror(-r));
}

/* --- answers --------------------------------------------------------------------------------- */

/* Tell all who wait. @identity: NULL with a failure. Who is told may start or give up others. */
static void tell(struct identity_refresh *refresh, int result, struct identity *identity,
		 const char *error)
{
	struct identity_lookup *lookup;

	while ((lookup = TAILQ_FIRST(&refresh->lookups))) {
		TAILQ_REMOVE(&refresh->lookups, lookup, link);
		lookup->done(result, identity ? identity_ref(identity) : NULL, error,
			     lookup->userdata);
		free(lookup);
	}
}

static void on_failure(struct identity_refresh *refresh, int result, const char *error)
{
	if (refresh->identity) {
		CLEANUP(identity_unrefp) struct identity *old = identity_ref(refresh->identity);

		(void)text_replace(&old->trouble, error);
		retry_later(refresh, error);
		tell(refresh, result, NULL, error);
		return;
	}
	/* Nobody may join it any more: the next one shall ask anew. */
	TAILQ_REMOVE(&refresh->identities->all, refresh, link);
	refresh->identities = NULL;
	tell(refresh, result, NULL, error);
	refresh_free(refresh);
}

/* The fresh keys go where the old ones were; these are wiped with what the fresh ones came in. */
static void replace(struct identity *identity, struct identity *fresh)
{
	const struct identity old = *identity;

	identity->access_key = fresh->access_key;
	identity->secret_key = fresh->secret_key;
	identity->token = fresh->token;
	identity->source = fresh->source;
	identity->expires_usec = fresh->expires_usec;
	identity->can_refresh = fresh->can_refresh;
	fresh->access_key = old.access_key;
	fresh->secret_key = old.secret_key;
	fresh->token = old.token;
	fresh->source = old.source;
}

static void on_first(struct identity_refresh *refresh, struct identity *fresh)
{
	CLEANUP(identity_unrefp) struct identity *identity = fresh; /* ours while we tell */

	if (identity->can_refresh) {
		identity->refresh = refresh;
		refresh->identity = identity;
		plan(refresh);
		tell(refresh, 0, identity, NULL);
		return;
	}
	/* It is as it is, so there is nothing to keep the question for. */
	TAILQ_REMOVE(&refresh->identities->all, refresh, link);
	refresh->identities = NULL;
	tell(refresh, 0, identity, NULL);
	refresh_free(refresh);
}

static void on_renewed(struct identity_refresh *refresh, struct identity *fresh)
{
	CLEANUP(identity_unrefp) struct identity *identity = identity_ref(refresh->identity);

	replace(identity, fresh);
	identity_unref(fresh);
	free(TAKE_PTR(identity->trouble));
	plan(refresh);
	tell(refresh, 0, identity, NULL);
}

static void on_answer(const struct helper_answer *answer, void *userdata)
{
	struct identity_refresh *refresh = userdata;
	struct identity *fresh = NULL;
	int r = answer->result;

	refresh->helper = NULL;
	if (answer->result == 0)
		r = identity_new(&fresh, answer->access_key, answer->secret_key, answer->token,
				 answer->source, answer->expires_usec);
	if (!fresh) {
		on_failure(refresh, r, answer->error ? answer->error : "Out of memory");
		return;
	}
	fresh->can_refresh = answer->can_refresh;
	refresh->retry_usec = 0;
	refresh->is_refused = false;
	if (refresh->identity)
		on_renewed(refresh, fresh);
	else
		on_first(refresh, fresh);
}

/* --- look-ups -------------------------------------------------------------------------------- */

/* As whom the helper runs: the job's owner, or us. Return: 0, -ENOMEM, or getgroups(2)'s. */
static int copy_owner(struct job_owner *ret, const struct job *job, bool is_daemon)
{
	const struct job_owner *owner = &job->owner;
	const int own_count = is_daemon ? getgroups(0, NULL) : 0;
	const size_t count = is_daemon ? (size_t)own_count : owner->group_count;

	if (own_count < 0)
		return -errno;
	ret->uid = is_daemon ? geteuid() : owner->uid;
	ret->gid = is_daemon ? getegid() : owner->gid;
	ret->groups = calloc(count + 1, sizeof(*ret->groups));
	if (!ret->groups)
		return -ENOMEM;
	ret->group_count = count;
	if (!is_daemon && count > 0)
		memcpy(ret->groups, owner->groups, count * sizeof(*ret->groups));
	if (is_daemon && getgroups(own_count, ret->groups) < 0)
		return -errno;
	return 0;
}

static int refresh_new(struct identity_refresh **ret, struct identities *identities,
		       const struct job *job)
{
	const struct config *config = identities->setup.config;
	CLEANUP(refresh_freep) struct identity_refresh *refresh = calloc(1, sizeof(*refresh));
	int r;

	if (!refresh)
		return -ENOMEM;
	TAILQ_INIT(&refresh->lookups);
	r = identity_question_make(&refresh->question, job, identities->setup.env, config);
	if (r == 0)
		r = copy_owner(&refresh->owner, job,
			       config->credentials == CONFIG_CREDENTIALS_DAEMON);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(refresh);
	return 0;
}

/* What needs no asking. Return: 1 and a reference, 0 if there is no such, -ENOMEM. */
static int find_now(struct identity **ret, const struct identities *identities,
		    const struct job *job)
{
	const struct config *config = identities->setup.config;
	const bool is_daemon = config->credentials == CONFIG_CREDENTIALS_DAEMON;
	const char *until = env_get_filled(is_daemon ? identities->setup.env : job->env,
					   "AWS_CREDENTIAL_EXPIRATION");
	struct credentials found;
	uint64_t expires = 0;
	const char *why;
	int r;

	if (is_daemon && config->profile)
		return 0;
	if (credentials_find(&found, job->backend, job->env, identities->setup.env,
			     config->credentials, &why) < 0)
		return 0;
	if (until && found.access_key != job->backend->access_key)
		(void)timestamp_parse(until, &expires);
	r = identity_new(ret, found.access_key, found.secret_key, found.token, found.source,
			 expires);
	return r < 0 ? r : 1;
}

static struct identity_refresh *find_same(const struct identities *identities,
					  const struct identity_refresh *wanted)
{
	struct identity_refresh *refresh;

	TAILQ_FOREACH(refresh, &identities->all, link)
	if (strcmp(refresh->question.key, wanted->question.key) == 0)
		return refresh;
	return NULL;
}

/* Nothing is to be had with what was found, and the last asking for more has failed. */
static bool is_dead(const struct identity_refresh *refresh)
{
	const struct identity *identity = refresh->identity;

	return identity->trouble && (refresh->is_refused ||
				     (identity->expires_usec > 0 &&
				      identity->expires_usec <= now_usec(refresh, CLOCK_REALTIME)));
}

static int wait_for(struct identity_lookup **ret, struct identity_refresh *refresh,
		    identity_done_fn done, void *userdata)
{
	struct identity_lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		return -ENOMEM;
	*lookup =
		(struct identity_lookup){ .refresh = refresh, .done = done, .userdata = userdata };
	TAILQ_INSERT_TAIL(&refresh->lookups, lookup, link);
	*ret = lookup;
	return 0;
}

/* Somebody may have logged in meanwhile, so @refresh is not left to wait for its time. */
static int join(struct identity_lookup **ret_lookup, struct identity **ret_now,
		struct identity_refresh *refresh, identity_done_fn done, void *userdata)
{
	if (refresh->identity && !is_dead(refresh)) {
		*ret_now = identity_ref(refresh->identity);
		return 1;
	}
	if (!refresh->helper && ask(refresh) < 0)
		retry_later(refresh, "out of memory or processes");
	return wait_for(ret_lookup, refresh, done, userdata);
}

// NOLINTNEXTLINE(readability-function-size): two ways to answer take two places for it
int identity_find(struct identity_lookup **ret_lookup, struct identity **ret_now,
		  struct identities *identities, const struct job *job, identity_done_fn done,
		  void *userdata, char **ret_error)
{
	CLEANUP(refresh_freep) struct identity_refresh *fresh = NULL;
	struct identity_refresh *same;
	int r;

	r = find_now(ret_now, identities, job);
	if (r == 0)
		r = refresh_new(&fresh, identities, job) < 0 ? -ENOMEM : 0;
	if (r != 0)
		return r;
	same = find_same(identities, fresh);
	if (same)
		return join(ret_lookup, ret_now, same, done, userdata);

	fresh->identities = identities;
	TAILQ_INSERT_TAIL(&identities->all, fresh, link);
	r = ask(fresh);
	if (r < 0)
		return explain(ret_error, r, NOT_STARTED, launcher_explain(r));
	r = wait_for(ret_lookup, fresh, done, userdata);
	if (r == 0)
		fresh = NULL;
	return r;
}

struct identity_lookup *identity_lookup_cancel(struct identity_lookup *lookup)
{
	struct identity_refresh *refresh;

	if (!lookup)
		return NULL;
	refresh = lookup->refresh;
	TAILQ_REMOVE(&refresh->lookups, lookup, link);
	free(lookup);
	/* Without "identities" it is being told right now, and who tells frees it. */
	if (TAILQ_EMPTY(&refresh->lookups) && !refresh->identity && refresh->identities)
		refresh_free(refresh);
	return NULL;
}

/* --- all ------------------------------------------------------------------------------------- */

int identities_new(struct identities **ret, const struct identities_setup *setup)
{
	struct identities *identities = calloc(1, sizeof(*identities));

	if (!identities)
		return -ENOMEM;
	identities->setup = *setup;
	TAILQ_INIT(&identities->all);
	*ret = identities;
	return 0;
}

struct identities *identities_free(struct identities *identities)
{
	struct identity_refresh *refresh;
	struct identity_lookup *lookup;

	if (!identities)
		return NULL;
	while ((refresh = TAILQ_FIRST(&identities->all))) {
		TAILQ_REMOVE(&identities->all, refresh, link);
		refresh->identities = NULL;
		refresh->helper = helper_cancel(refresh->helper);
		drop_timer(refresh);
		while ((lookup = TAILQ_FIRST(&refresh->lookups))) {
			TAILQ_REMOVE(&refresh->lookups, lookup, link);
			free(lookup);
		}
		if (!refresh->identity)
			refresh_free(refresh);
	}
	free(identities);
	return NULL;
}
