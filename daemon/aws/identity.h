/* SPDX-License-Identifier: MIT */
/*
 * Whose AWS credentials requests are signed with. An identity is shared and counted; its keys
 * are replaced in place when they are renewed, so whoever signs reads them anew each time.
 *
 * What stands in a backend block or an environment is an identity at once. All else (profiles,
 * roles, web identity, SSO, processes, containers, instances) is asked of a helper process,
 * `tfq-runner --credentials`, which runs as the job's user: nothing of it may stop the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/backend.h"
#include "common/cleanup.h"
#include "daemon/config.h"
#include "daemon/job.h"

struct identity {
	unsigned refs;
	char *access_key, *secret_key, *token; /* token: NULL if none. Wiped when replaced. */
	char *source;          /* for people: "backend block", "environment", "profile prod", ... */
	uint64_t expires_usec; /* microseconds since 1970; 0: never, or not known */
	bool can_refresh;      /* the same question may be asked again before they expire */
	char *trouble;         /* why they could not be renewed last time; NULL: they could */
	struct identity_refresh *refresh; /* how; NULL: cannot */
};

/* Everything is copied; @token may be NULL. Return: 0 or -ENOMEM. */
int identity_new(struct identity **ret, const char *access_key, const char *secret_key,
		 const char *token, const char *source, uint64_t expires_usec);
struct identity *identity_ref(struct identity *identity);
struct identity *identity_unref(struct identity *identity); /* wipes with the last one; NULL */
static inline void identity_unrefp(struct identity **p)
{
	identity_unref(*p);
}

/* Are both the same access key? Then what one may write the other may. */
bool identity_is_same(const struct identity *a, const struct identity *b);

/*
 * A server said that its keys have expired, or does not know them: ask anew, soon, once for
 * however many say so; after a failure, when that is to be tried again. Without effect where
 * nothing can be asked.
 */
void identity_renew(struct identity *identity);

/* --- finding one --------------------------------------------------------------------------- */

struct identities; /* what all look-ups of a daemon share */
struct identity_lookup;
struct launcher;

/* All borrowed for its life. */
struct identities_setup {
	sd_event *event;
	const char *runner;        /* path of tfq-runner */
	struct launcher *launcher; /* how it is started; NULL: as our child */
	char *const *env;          /* the daemon's own, for credentials = daemon */
	const struct config *config;
};

int identities_new(struct identities **ret, const struct identities_setup *setup);
struct identities *identities_free(struct identities *identities); /* ends helpers; NULL */
DEFINE_FREEP(identities);

/*
 * @result: 0 and a reference to @identity, the callee's; -EOPNOTSUPP: tfqd cannot ask this
 * source, terraform may (MFA, `aws login`); another negative errno: there are none, or asking
 * failed, as terraform's asking would. @error, with every failure: a sentence for the user.
 */
typedef void (*identity_done_fn)(int result, struct identity *identity, const char *error,
				 void *userdata);

/*
 * Find the identity that @job's terraform is going to use, in terraform's order (aws.md 5.1), by
 * its backend, environment and owner; with credentials = daemon, tfqd's own. The same question
 * of the same user shares an identity for as long as somebody holds it, unless it is dead and
 * could not be renewed: then it is asked again, for all.
 *
 * Return: 1 and a reference in *@ret_now, if it needs no asking; 0: @done is called once, from the
 * loop, unless identity_lookup_cancel(*@ret_lookup) comes first; a negative errno as above with
 * *@ret_error, the caller's to free.
 */
int identity_find(struct identity_lookup **ret_lookup, struct identity **ret_now,
		  struct identities *identities, const struct job *job, identity_done_fn done,
		  void *userdata, char **ret_error);
struct identity_lookup *identity_lookup_cancel(struct identity_lookup *lookup); /* NULL is fine */
