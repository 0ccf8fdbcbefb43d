/* SPDX-License-Identifier: MIT */
/*
 * What tfqd counts about itself since it was started, and how it is written down for others:
 * OpenMetrics text (https://openmetrics.io). One set for the process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/queue.h"

enum metric {
	METRIC_SUBMITTED, /* jobs accepted */
	METRIC_DONE,      /* jobs that ended so */
	METRIC_FAILED,
	METRIC_CANCELLED,
	METRIC_LOST,
	METRIC_LOCK_REQUESTS,
	METRIC_LOCK_FAULTS, /* requests without an answer, or with one that says that it went wrong
			     */
	METRIC_RENEWALS,
	METRIC_TAKEOVERS,
	METRIC_REGAINED,
	METRIC_COUNT,
};

enum metric_time {
	METRIC_WAITED, /* from a job's submission to its start */
	METRIC_RAN,
	METRIC_HANDOVER,   /* from one terraform's exit to the next one's start */
	METRIC_ROUND_TRIP, /* of a request for a lock */
	METRIC_TIME_COUNT,
};

void metrics_count(enum metric metric);
void metrics_observe(enum metric_time time, uint64_t usec);

/* All of them, and what @queue and @jobs hold now. Return: the text, the caller's, or NULL when out
 * of memory. */
char *metrics_text(const struct queue *queue, const struct job_list *jobs);
