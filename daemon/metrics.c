/* SPDX-License-Identifier: MIT */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SECONDS_SIZE 32
#define BUCKET_COUNT 10

static uint64_t counters[METRIC_COUNT];

struct histogram {
	uint64_t buckets[BUCKET_COUNT + 1]; /* the last: above all bounds */
	uint64_t count, sum_usec;
};
static struct histogram times[METRIC_TIME_COUNT];

/* clang-format off */
static const struct {
	const char *name, *help, *label;
} counter_names[METRIC_COUNT] = {
	[METRIC_SUBMITTED] = { "tfqd_jobs_submitted", "Jobs accepted.", "" },
	[METRIC_DONE] = { "tfqd_jobs_ended", "Jobs that have ended, by how.", "{status=\"done\"}" },
	[METRIC_FAILED] = { "tfqd_jobs_ended", NULL, "{status=\"failed\"}" },
	[METRIC_CANCELLED] = { "tfqd_jobs_ended", NULL, "{status=\"cancelled\"}" },
	[METRIC_LOST] = { "tfqd_jobs_ended", NULL, "{status=\"lost\"}" },
	[METRIC_LOCK_REQUESTS] = { "tfqd_lock_requests", "Requests for locks to their stores.", "" },
	[METRIC_LOCK_FAULTS] = { "tfqd_lock_faults", "Such requests that were not answered, or with an error.", "" },
	[METRIC_RENEWALS] = { "tfqd_lock_renewals", "Confirmed renewals of leases.", "" },
	[METRIC_TAKEOVERS] = { "tfqd_lock_takeovers", "Leases of dead holders that were taken over.", "" },
	[METRIC_REGAINED] = { "tfqd_lock_regained", "Own locks of before a restart that were regained.", "" },
};

static const struct {
	const char *name, *help;
	uint64_t bounds_usec[BUCKET_COUNT];
} time_names[METRIC_TIME_COUNT] = {
	[METRIC_WAITED] = { "tfqd_job_waiting_seconds", "From a job's submission to its start.",
		{ 100000, 1000000, 10000000, 60000000, 300000000, 900000000, 1800000000, 3600000000, 14400000000, 86400000000 } },
	[METRIC_RAN] = { "tfqd_job_running_seconds", "From a job's start to its end.",
		{ 1000000, 5000000, 15000000, 60000000, 180000000, 600000000, 1800000000, 3600000000, 14400000000, 86400000000 } },
	[METRIC_HANDOVER] = { "tfqd_handover_seconds", "From one terraform's exit to the next one's start on the same state.",
		{ 500, 1000, 2000, 3000, 5000, 10000, 20000, 50000, 100000, 1000000 } },
	[METRIC_ROUND_TRIP] = { "tfqd_lock_round_trip_seconds", "Requests for locks, from sending to answer.",
		{ 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000, 5000000, 10000000 } },
};
/* clang-format on */

void metrics_count(enum metric metric)
{
	counters[metric]++;
}

void metrics_observe(enum metric_time time, uint64_t usec)
{
	struct histogram *histogram = &times[time];
	size_t i = 0;

	while (i < BUCKET_COUNT && usec > time_names[time].bounds_usec[i])
		i++;
	histogram->buckets[i]++;
	histogram->count++;
	histogram->sum_usec += usec;
}

static void put_counters(FILE *out)
{
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		if (counter_names[i].help) {
			(void)fprintf(out, "# TYPE %s counter\n# HELP %s %s\n",
				      counter_names[i].name, counter_names[i].name,
				      counter_names[i].help);
		}
		(void)fprintf(out, "%s_total%s %" PRIu64 "\n", counter_names[i].name,
			      counter_names[i].label, counters[i]);
	}
}

/* As OpenMetrics wants its thresholds: 0.5 and 60.0, not 0.500000 or 60. */
static const char *seconds_text(char *buf, uint64_t usec)
{
	size_t len = (size_t)snprintf(buf, SECONDS_SIZE, "%" PRIu64 ".%06" PRIu64, usec / 1000000,
				      usec % 1000000);

	while (buf[len - 1] == '0' && buf[len - 2] != '.')
		buf[--len] = '\0';
	return buf;
}

static void put_times(FILE *out)
{
	for (size_t i = 0; i < METRIC_TIME_COUNT; i++) {
		const char *name = time_names[i].name;
		uint64_t sum = 0;
		char bound[SECONDS_SIZE];

		(void)fprintf(out, "# TYPE %s histogram\n# UNIT %s seconds\n# HELP %s %s\n", name,
			      name, name, time_names[i].help);
		for (size_t k = 0; k < BUCKET_COUNT; k++) {
			sum += times[i].buckets[k];
			(void)fprintf(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name,
				      seconds_text(bound, time_names[i].bounds_usec[k]), sum);
		}
		(void)fprintf(out,
			      "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_count %" PRIu64
			      "\n%s_sum %" PRIu64 ".%06" PRIu64 "\n",
			      name, times[i].count, name, times[i].count, name,
			      times[i].sum_usec / 1000000, times[i].sum_usec % 1000000);
	}
}

static void put_now(FILE *out, const struct queue *queue, const struct job_list *jobs)
{
	uint64_t by_status[JOB_STATUS_COUNT] = { 0 };
	const struct job *job;

	TAILQ_FOREACH(job, jobs, in_all)
	by_status[job->status]++;
	(void)fprintf(out, "# TYPE tfqd_jobs gauge\n# HELP tfqd_jobs Jobs that are not over, by "
			   "status.\n");
	for (int i = 0; i < JOB_STATUS_COUNT; i++) {
		if (!job_status_is_final((enum job_status)i)) {
			(void)fprintf(out, "tfqd_jobs{status=\"%s\"} %" PRIu64 "\n",
				      job_status_name((enum job_status)i), by_status[i]);
		}
	}
	(void)fprintf(out,
		      "# TYPE tfqd_states gauge\n# HELP tfqd_states States with a queue or a "
		      "lock.\ntfqd_states %" PRIu64 "\n",
		      queue_line_count(queue));
}

char *metrics_text(const struct queue *queue, const struct job_list *jobs)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	put_now(out, queue, jobs);
	put_counters(out);
	put_times(out);
	(void)fprintf(out, "# EOF\n");
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
