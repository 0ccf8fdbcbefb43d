/* SPDX-License-Identifier: MIT */
#include "daemon/preflight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/explain.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "daemon/aws/ca_bundle.h"
#include "daemon/journal.h"
#include "daemon/lock/lock_dynamodb.h"
#include "daemon/lock/lock_s3.h"

#define WHY_MAX 1024

/* Less than this is no time to run anything in. */
#define LIFE_MIN_USEC (60 * USEC_PER_SEC)

/* 0.2, 0.4, 0.8 and 1.6 s between looks for the state. */
#define PAUSE_USEC (200 * USEC_PER_MSEC)
#define TRIES_MAX  4

struct preflight {
	const struct scheduler_setup *setup;
	const struct job *job;
	uint64_t usual_usec;
	preflight_done_fn done; /* NULL once called, and until preflight_new() is through */
	void *userdata;
	bool is_early;

	enum preflight_state state;
	char why[WHY_MAX];
	struct identity_lookup *lookup;
	struct identity *identity;
	struct lock_store *stores[LOCK_KIND_COUNT];
	sd_event_source *pause; /* before the state is asked for again; NULL: it never was */
	unsigned tries;
	struct lock_store *state_store; /* S3, for the look at the state; one of the above or own */
};

static void end(struct preflight *preflight, enum preflight_state state, const char *why)
{
	const preflight_done_fn done = preflight->done;

	preflight->state = state;
	(void)snprintf(preflight->why, sizeof(preflight->why), "%s", why ? why : "");
	preflight->done = NULL;
	if (done)
		done(preflight, preflight->userdata);
}

/* --- the state object ------------------------------------------------------------------------ */

static void look_for_state(struct preflight *preflight);

/* A store that does not answer may do so in a moment. Return: is it asked again? */
static bool ask_again(struct preflight *preflight, int is_there)
{
	if (is_there != -EAGAIN || preflight->tries >= TRIES_MAX)
		return false;
	return sd_event_source_set_time_relative(preflight->pause,
						 PAUSE_USEC << preflight->tries++) >= 0 &&
	       sd_event_source_set_enabled(preflight->pause, SD_EVENT_ONESHOT) >= 0;
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;

	look_for_state(userdata);
	return 0;
}

/*
 * terraform makes a missing workspace's state under a lock of its own, whatever -lock=false
 * says (terraform-locking.md 5.1): it would run into ours.
 */
static void on_exists(int is_there, const char *error, void *userdata)
{
	struct preflight *preflight = userdata;

	if (is_there > 0) {
		end(preflight, PREFLIGHT_READY, NULL);
		return;
	}
	if (ask_again(preflight, is_there))
		return;
	if (is_there < 0)
		journal_job(JOURNAL_LOCK_TO_TERRAFORM, preflight->job,
			    "leaves the lock to terraform: %s", error);
	end(preflight, PREFLIGHT_CHILD,
	    is_there == 0 ? "the workspace has no state yet"
			  : "tfqd cannot tell whether the workspace has a state");
}

static void look_for_state(struct preflight *preflight)
{
	struct lock_store *store = preflight->state_store;
	int r = 0;

	if (preflight->job->is_state_known) {
		end(preflight, PREFLIGHT_READY, NULL);
		return;
	}
	if (!preflight->pause) {
		r = sd_event_add_time_relative(preflight->setup->event, &preflight->pause,
					       CLOCK_MONOTONIC, 0, 0, on_pause_over, preflight);
		if (r >= 0)
			r = sd_event_source_set_enabled(preflight->pause, SD_EVENT_OFF);
	}
	if (r >= 0)
		r = store ? store->ops->exists(store, on_exists, preflight) : -EINVAL;
	if (r < 0)
		end(preflight, PREFLIGHT_REFUSED, strerror(-r));
}

/* --- the store's honesty --------------------------------------------------------------------- */

static void on_probed(bool is_usable, const char *error, void *userdata)
{
	struct preflight *preflight = userdata;

	if (is_usable)
		look_for_state(preflight);
	else
		end(preflight, PREFLIGHT_REFUSED, error);
}

static void probe(struct preflight *preflight)
{
	struct lock_store *store = preflight->stores[LOCK_S3];
	int r = 1;

	if (store && store->ops->probe && !preflight->job->is_inquiry)
		r = store->ops->probe(store, on_probed, preflight);
	if (r < 0)
		end(preflight, PREFLIGHT_REFUSED, strerror(-r));
	else if (r > 0)
		look_for_state(preflight);
}

/* --- the stores ------------------------------------------------------------------------------ */

static bool is_plain(const char *url)
{
	return url && strncmp(url, "https:", 6) != 0;
}

/* Only TLS needs it, and only where the job says something else than the system does. */
static int read_ca(const struct job *job, char **ret, char **ret_error)
{
	const struct backend *backend = job->backend;
	int r;

	if (!backend->ca_bundle ||
	    (is_plain(backend->endpoint_s3) &&
	     (!backend->dynamodb_table || is_plain(backend->endpoint_dynamodb))))
		return 0;
	r = ca_bundle_read(ret, backend->ca_bundle, job->state_directory, job->owner.uid);
	if (r >= 0)
		return 0;
	return explain(ret_error, -EINVAL,
		       "cannot read the CA bundle %s for %s: %s (custom_ca_bundle, AWS_CA_BUNDLE)",
		       backend->ca_bundle, job->owner.name, strerror(-r));
}

static int make_stores(struct preflight *preflight, char **ret_error)
{
	const struct scheduler_setup *setup = preflight->setup;
	const struct backend *backend = preflight->job->backend;
	AUTO_FREE char *ca_pem = NULL;
	struct lock_store_config config = {
		.endpoint_s3 = setup->config->endpoint_s3,
		.endpoint_dynamodb = setup->config->endpoint_dynamodb,
		.ca_bundle = setup->config->ca_bundle,
		.identity = preflight->identity,
		.connect_timeout_usec = setup->config->connect_timeout_usec,
		.request_timeout_usec = setup->config->request_timeout_usec,
		.probes = setup->probes,
	};
	int r;

	r = read_ca(preflight->job, &ca_pem, ret_error);
	if (r < 0)
		return r;
	config.ca_pem = ca_pem;
	proxy_settings_find(&config.proxy, backend, preflight->job->env);
	r = lock_s3_new(&preflight->state_store, setup->http, backend, &config, ret_error);
	if (r >= 0 && backend->dynamodb_table)
		r = lock_dynamodb_new(&preflight->stores[LOCK_DYNAMODB], setup->http, backend,
				      &config, ret_error);
	if (r >= 0 && backend->use_lockfile)
		preflight->stores[LOCK_S3] = preflight->state_store;
	return r;
}

/* --- the credentials ------------------------------------------------------------------------- */

/* What the job's terraform got in its environment cannot be renewed from outside. */
static bool lives_long_enough(const struct preflight *preflight, char **ret_error)
{
	const struct identity *identity = preflight->identity;
	const uint64_t now = clock_usec(CLOCK_REALTIME);
	const uint64_t needed =
		preflight->usual_usec > LIFE_MIN_USEC ? preflight->usual_usec : LIFE_MIN_USEC;
	const uint64_t left = identity->expires_usec > now ? identity->expires_usec - now : 0;

	if (identity->expires_usec == 0 || identity->can_refresh || left >= needed)
		return true;
	if (left == 0) {
		(void)explain(
			ret_error, -EKEYEXPIRED,
			"the AWS credentials (%s) have expired; log in again, and queue it again",
			identity->source);
	} else {
		(void)explain(
			ret_error, -EKEYEXPIRED,
			"the AWS credentials (%s) expire in %" PRIu64
			" s and cannot be renewed while it runs, and jobs like this take about "
			"%" PRIu64 " s; log in again, and queue it again",
			identity->source, left / USEC_PER_SEC, needed / USEC_PER_SEC);
	}
	return false;
}

static void use_identity(struct preflight *preflight)
{
	AUTO_FREE char *error = NULL;
	int r;

	if (!preflight->job->is_inquiry && !lives_long_enough(preflight, &error)) {
		end(preflight, PREFLIGHT_REFUSED, error);
		return;
	}
	r = make_stores(preflight, &error);
	if (r < 0)
		end(preflight, PREFLIGHT_REFUSED, error ? error : strerror(-r));
	else
		probe(preflight);
}

static void on_identity(int result, struct identity *identity, const char *error, void *userdata)
{
	struct preflight *preflight = userdata;

	preflight->lookup = NULL;
	if (result < 0 || !identity) {
		end(preflight, result == -EOPNOTSUPP ? PREFLIGHT_CHILD : PREFLIGHT_REFUSED,
		    error ? error : strerror(-result));
		return;
	}
	preflight->identity = identity;
	use_identity(preflight);
}

int preflight_new(struct preflight **ret, const struct scheduler_setup *setup,
		  const struct job *job, uint64_t usual_usec, preflight_done_fn done,
		  void *userdata)
{
	CLEANUP(preflight_freep) struct preflight *preflight = NULL;
	AUTO_FREE char *error = NULL;
	int r;

	preflight = calloc(1, sizeof(*preflight));
	if (!preflight)
		return -ENOMEM;
	preflight->setup = setup;
	preflight->job = job;
	preflight->usual_usec = usual_usec;
	preflight->is_early = job->status == JOB_QUEUED;
	preflight->userdata = userdata;

	r = identity_find(&preflight->lookup, &preflight->identity, setup->identities, job,
			  on_identity, preflight, &error);
	if (r > 0)
		use_identity(preflight);
	else if (r < 0)
		on_identity(r, NULL, error, preflight);
	if (preflight->state == PREFLIGHT_UNDER_WAY)
		preflight->done = done;
	*ret = TAKE_PTR(preflight);
	return 0;
}

struct preflight *preflight_free(struct preflight *preflight)
{
	if (!preflight)
		return NULL;
	identity_lookup_cancel(preflight->lookup);
	sd_event_source_disable_unref(preflight->pause);
	if (preflight->state_store != preflight->stores[LOCK_S3])
		lock_store_free(preflight->state_store);
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		lock_store_free(preflight->stores[i]);
	identity_unref(preflight->identity);
	free(preflight);
	return NULL;
}

enum preflight_state preflight_state(const struct preflight *preflight)
{
	return preflight->state;
}

bool preflight_is_early(const struct preflight *preflight)
{
	return preflight->is_early;
}

const char *preflight_why(const struct preflight *preflight)
{
	return preflight->why;
}

struct identity *preflight_identity(const struct preflight *preflight)
{
	return preflight->identity;
}

bool preflight_has_stores(const struct preflight *preflight)
{
	return preflight->stores[LOCK_S3] || preflight->stores[LOCK_DYNAMODB];
}

void preflight_give(struct preflight *preflight, struct lock_claim *claim)
{
	if (preflight->state_store != preflight->stores[LOCK_S3])
		lock_store_free(preflight->state_store);
	preflight->state_store = NULL;
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		claim->stores[i] = TAKE_PTR(preflight->stores[i]);
}
