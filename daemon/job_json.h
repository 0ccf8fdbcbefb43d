/* SPDX-License-Identifier: MIT */
/* A job as the protocol shows it. */
#pragma once

#include <jansson.h>

#include "daemon/job.h"
#include "daemon/lock/lock.h"

/* @lock: of the job's line, or NULL. Return: a new object (type Job of the interface), or NULL when
 * out of memory. */
json_t *job_json(const struct job *job, const struct lock *lock);

/* The same in brief, for a row in a list: see List in the interface. */
json_t *job_json_brief(const struct job *job, const struct lock *lock);

/* What was read of a lock (type Holder). Return: a new object, or NULL when out of memory. */
json_t *holder_json(const struct lockinfo_seen *holder);

/* The same of whom @lock, which has a holder, waits for, with what is to be expected of him. */
json_t *holder_json_of(const struct lock *lock);
