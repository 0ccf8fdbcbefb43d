/* SPDX-License-Identifier: MIT */
/* One probe of one bucket, for probe.c alone. */
#pragma once

#include "daemon/lock/lock.h"
#include "daemon/lock/probe.h"

enum probe_verdict {
	PROBE_GOOD,
	PROBE_BAD,    /* the store's fault */
	PROBE_DENIED, /* these credentials, or this configuration, could not tell */
	PROBE_SILENT, /* nobody could tell: no answers */
};

struct probe_run;

/* @run is over: its scratch objects are removed, as far as that was possible. May free it. */
typedef void (*probe_run_done_fn)(struct probe_run *run, enum probe_verdict verdict,
				  const struct probe_traits *traits, const char *error,
				  void *userdata);

/* Return: 0, and @done is called once, later, from the loop; -ENOMEM or another negative errno. */
int probe_run_new(struct probe_run **ret, sd_event *event, struct s3_bucket *bucket,
		  const char *key, probe_run_done_fn done, void *userdata);
struct probe_run *probe_run_free(struct probe_run *run); /* gives it up; NULL is fine */
DEFINE_FREEP(probe_run);
