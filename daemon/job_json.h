/* SPDX-License-Identifier: MIT */
/* A job as the protocol shows it. */
#pragma once

#include <jansson.h>

#include "daemon/job.h"
#include "daemon/lock/lock.h"

/* @lock: of the job's line, or NULL. Return: a new object (type Job of the interface), or NULL when
 * out of memory. */
json_t *job_json(const struct job *job, const struct lock *lock);
