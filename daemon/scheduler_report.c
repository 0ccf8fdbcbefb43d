/* SPDX-License-Identifier: MIT */
/* What runners say of their jobs: who they are, that they are ready, and how it ended. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/clock.h"
#include "daemon/journal.h"
#include "daemon/peer.h"
#include "daemon/scheduler_parts.h"

int scheduler_hello(struct scheduler *scheduler, struct job *job, struct peer *peer)
{
	if (!job->runner_pid || peer->owner.pid != job->runner_pid || job->runner ||
	    job_status_is_final(job->status))
		return -EPERM;
	job->runner = peer;
	peer->runs = job;
	runner_link_prepare(scheduler, job);
	return 0;
}

void scheduler_runner_ready(struct scheduler *scheduler, struct job *job)
{
	(void)scheduler;
	job->is_runner_ready = true;
	if (job->status == JOB_LOCKING)
		lane_try_go(lane_of(job->line), job);
}

void scheduler_runner_refused(struct scheduler *scheduler, struct job *job,
			      const struct scheduler_report *report)
{
	if (job_status_is_final(job->status))
		return;
	job->exit_code = report->exit_code;
	scheduler_refuse(scheduler, job, "%s",
			 report->message ? report->message : "terraform did not start");
}

void scheduler_runner_started(struct scheduler *scheduler, struct job *job,
			      const struct scheduler_report *report)
{
	struct lane *lane;

	if (!job->line)
		return;
	lane = lane_of(job->line);
	job->pid = report->pid;
	job->started_usec = clock_usec(CLOCK_REALTIME);
	job_close_fds(job); /* kept until now, for another runner if the first had died */
	if (lane->is_handed_over && report->at_usec >= lane->exited_usec)
		job->handover_usec = report->at_usec - lane->exited_usec;
	journal_job(LOG_INFO, job, "terraform runs as PID %d", (int)job->pid);
	scheduler_changed(scheduler, job);
	scheduler_pump_soon(scheduler); /* the next one's runner */
}

/* terraform lost its way to the state: whoever runs next would fork it. */
static void hold_for_errored_state(struct job *job)
{
	struct line *line = job->line;

	job_set_message(
		job,
		"terraform could not save its state and left errored.tfstate in %s; there, run "
		"'tfq state push errored.tfstate', which passes the queue, then: tfq resume '%s'",
		job->state_directory, line->name);
	free(line->hold_reason);
	if (asprintf(&line->hold_reason,
		     "the queue stands still because job %" PRIu64
		     " left errored.tfstate in %s; there, run 'tfq state push errored.tfstate', "
		     "then: tfq resume '%s'",
		     job->id, job->state_directory, line->name) < 0)
		line->hold_reason = NULL;
	line->lets_push = true;
}

static void tell_why_fenced(struct job *job)
{
	const struct lock *lock = scheduler_lock(job->line);
	const char *error = lock ? lock_error(lock) : "";

	job_set_message(job,
			"the lock could not be renewed, so terraform was stopped before its lease "
			"could run out%s%s",
			*error ? ": " : "", error);
}

void scheduler_runner_exited(struct scheduler *scheduler, struct job *job,
			     const struct scheduler_report *report)
{
	enum job_event event = JOB_EV_EXIT_BAD;

	if (!job_status_is_running(job->status))
		return;
	lane_of(job->line)->exited_usec = report->at_usec;
	job->exit_code = report->exit_code;
	job->exit_signal = report->exit_signal;
	if (report->is_fenced && report->exit_code != 0 && !job->is_lock_lost)
		tell_why_fenced(job);
	/* 2 is plan -detailed-exitcode's "there are changes". */
	if (report->exit_code == 0 ||
	    (report->exit_code == 2 && strcmp(job->operation, "OperationTypePlan") == 0))
		event = JOB_EV_EXIT_OK;
	else if (job->is_cancelled && job->status == JOB_STOPPING)
		event = JOB_EV_EXIT_STOPPED;
	if (job->is_lock_lost) { /* whatever terraform says: somebody may have written beside it */
		event = JOB_EV_EXIT_BAD;
		if (job->exit_code == 0)
			job->exit_code = -1;
	}
	/* Where terraform has the lock, the hold is nobody's to give: anybody can lay a file there.
	 */
	if (report->has_errored_state && job_is_locked_by_us(job))
		hold_for_errored_state(job);
	if (job_is_locked_by_us(job) && (report->exit_signal || job->interrupts > 1))
		lane_quarantine(lane_of(job->line));
	scheduler_step(scheduler, job, event);
}

void scheduler_runner_gone(struct scheduler *scheduler, struct job *job)
{
	job->runner = NULL;
	job->runner_pid = 0;
	job->is_runner_ready = false;
	job->has_lost_runner = true;
	if (job_status_is_final(job->status))
		return;
	if (job->status == JOB_LOCKING && !job->message)
		job_set_message(job, "its runner died before terraform was started");
	scheduler_step(scheduler, job, JOB_EV_VANISHED);
	scheduler_pump_soon(scheduler);
}
