/* SPDX-License-Identifier: MIT */
/*
 * Does a store that calls itself S3 honour what a lock is built on? Tried out with scratch objects
 * beside the state, which are removed again (aws.md 2.7). What was found is remembered by bucket,
 * and whoever asks while a probe is under way waits for it.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "daemon/lock/s3_bucket.h"

#define PROBE_GOOD_USEC UINT64_C(86400000000) /* how long it is believed: 24 h */
#define PROBE_BAD_USEC  UINT64_C(60000000)
#define PROBE_RACERS    6    /* who create one object at the same moment */
#define PROBE_TRIES     5    /* with pauses in between: about four seconds */
#define PROBE_KEY_MAX   1024 /* bytes of an S3 key */

enum probe_delete {
	PROBE_DELETE_UNKNOWN,
	PROBE_DELETE_CONDITIONAL, /* If-Match is honoured */
	PROBE_DELETE_IGNORES,     /* removes whatever is there */
	PROBE_DELETE_REFUSES,     /* takes no If-Match */
};

/* What was learnt of a usable store. */
struct probe_traits {
	bool etag_unquoted; /* If-Match wants the ETag without its quotes */
	enum probe_delete delete;
};

/* All that is known, of all buckets. One per daemon. */
struct lock_probes;

/* Return: 0, -ENOMEM, or what sd_event_add_defer() says. */
int lock_probes_new(struct lock_probes **ret, sd_event *event);

/* Gives up what is under way; whoever waits must have cancelled. NULL is fine. Return: NULL. */
struct lock_probes *lock_probes_free(struct lock_probes *probes);
DEFINE_FREEP(lock_probes);

struct lock_probe; /* somebody who asks */

/* @traits: NULL if it is not usable, or cannot be told; then @error says why and what to do. */
typedef void (*lock_probe_done_fn)(const struct probe_traits *traits, const char *error,
				   void *userdata);

struct lock_probe_question {
	struct s3_bucket *bucket; /* a reference is taken */
	const char *key;          /* of the state, for the names of the scratch objects; copied */
	lock_probe_done_fn done;
	void *userdata;
};

/*
 * May locks be kept in that bucket?
 * Return: 1, as was found before, and *@ret_traits; 0: done is called once, from the loop, unless
 * lock_probe_cancel(*@ret) comes first; -ENOMEM.
 */
int lock_probe_start(struct lock_probe **ret, struct probe_traits *ret_traits,
		     struct lock_probes *probes, const struct lock_probe_question *question);

/* The probe itself goes on, so that nothing is left behind. NULL is fine. Return: NULL. */
struct lock_probe *lock_probe_cancel(struct lock_probe *probe);
