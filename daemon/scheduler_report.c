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
#include "daemon/launcher.h"
#include "daemon/metrics.h"
#include "daemon/peer.h"
#include "daemon/proc.h"
#include "daemon/scheduler_parts.h"

/* By number and start: neither can be had twice. The first that is known of a unit's are those of
 * the first who comes from there, and nothing else was started in it by then. */
static bool is_runner(struct scheduler *scheduler, struct job *job, const struct peer *peer)
{
	if (peer->owner.uid != job->owner.uid)
		return false;
	if (job->runner_pid == 0)
		return runner_link_claim(scheduler, job, peer->owner.pid) >= 0;
	return peer->owner.pid == job->runner_pid &&
	       (job->runner_start == 0 || proc_start(job->runner_pid) == job->runner_start);
}

static bool is_run_by(const struct job *job, uid_t uid, pid_t pid)
{
	return job && job->runner_pid > 0 && job->runner_pid == pid && job->owner.uid == uid;
}

bool scheduler_has_runner(const struct scheduler *scheduler, uid_t uid, pid_t pid)
{
	for (const struct line *line = queue_first_line(scheduler->queue); line;
	     line = TAILQ_NEXT(line, link))
		if (is_run_by(line->active, uid, pid) || is_run_by(queue_head(line), uid, pid))
			return true;
	return false;
}

/* It comes back to us, who were not there for a while: what has happened is in its reports. */
static void welcome_back(struct scheduler *scheduler, struct job *job, uint64_t deadline_usec)
{
	struct lane *lane;

	journal_job(JOURNAL_RUNNER_BACK, job, "its runner is back");
	scheduler_settle(scheduler, job);
	if (!job_status_is_running(job->status) || !job->line)
		return;
	lane = lane_of(job->line);
	/* What it was told is what counts, also if we had no time to write it down. */
	job->is_fenced = deadline_usec > 0;
	lock_set_takeover(lane->lock, job->is_fenced);
	for (size_t i = 0; i < job->viewer_count; i++)
		(void)runner_link_attach(job, &job->viewers[i]);
	job_close_fds(job);
	if (job->interrupts > 0) /* asked for while it could not hear */
		runner_link_stop(job, job->interrupts);
	if (lane->lock && job->is_fenced && lock_is_held_by(lane->lock, job->id))
		runner_link_deadline(job, lock_deadline(lane->lock));
}

static void send_away(const struct scheduler *scheduler, const struct job *job,
		      const struct peer *peer)
{
	if (job_status_is_final(job->status) && !job->runner &&
	    is_run_by(job, peer->owner.uid, peer->owner.pid))
		return; /* its job has ended before it came */
	if (launcher_unit_has(job->id, peer->owner.pid)) {
		journal_job(JOURNAL_RUNNER_BACK, job,
			    "a runner from before a restart is not needed any more");
		return;
	}
	journal_job(JOURNAL_IMPOSTOR, job,
		    "process %d of %s says that it is its runner, and is not: refused",
		    (int)peer->owner.pid, peer->owner.name);
	scheduler_audit(scheduler, "impostor", job, peer->owner.uid,
			"a process that is not its runner said hello");
}

int scheduler_hello(struct scheduler *scheduler, struct job *job, struct peer *peer,
		    const struct scheduler_hello *hello)
{
	if (job->runner || job_status_is_final(job->status) ||
	    hello->has_begun != (job_status_is_running(job->status) || job->is_undecided) ||
	    !is_runner(scheduler, job, peer)) {
		send_away(scheduler, job, peer);
		return -EPERM;
	}
	job->runner = peer;
	peer->runs = job;
	peer_prefer(peer);
	if (hello->has_begun)
		welcome_back(scheduler, job, hello->deadline_usec);
	else
		runner_link_prepare(scheduler, job);
	return 0;
}

struct scheduler_report scheduler_report_read(const json_t *object)
{
	const json_t *code = json_object_get(object, "exit_code");

	return (struct scheduler_report){
		.event = json_string_value(json_object_get(object, "event")),
		.pid = (pid_t)json_integer_value(json_object_get(object, "pid")),
		.at_usec = (uint64_t)json_integer_value(json_object_get(object, "at")),
		.exit_code = json_is_integer(code) ? (int)json_integer_value(code) : -1,
		.exit_signal = (int)json_integer_value(json_object_get(object, "exit_signal")),
		.has_errored_state = json_is_true(json_object_get(object, "errored_state")),
		.is_fenced = json_is_true(json_object_get(object, "fenced")),
		.message = json_string_value(json_object_get(object, "message")),
	};
}

static void on_ready(struct scheduler *scheduler, struct job *job,
		     const struct scheduler_report *report)
{
	(void)scheduler;
	(void)report;

	job->is_runner_ready = true;
	if (job->status == JOB_LOCKING)
		lane_try_go(lane_of(job->line), job);
}

static void on_refused(struct scheduler *scheduler, struct job *job,
		       const struct scheduler_report *report)
{
	if (job_status_is_final(job->status))
		return;
	job->exit_code = report->exit_code;
	scheduler_refuse(scheduler, job, "%s",
			 report->message ? report->message : "terraform did not start");
}

static void on_started(struct scheduler *scheduler, struct job *job,
		       const struct scheduler_report *report)
{
	struct lane *lane;

	if (!job->line)
		return;
	lane = lane_of(job->line);
	job->pid = report->pid;
	if (job->started_usec == 0)
		job->started_usec = clock_usec(CLOCK_REALTIME);
	job_close_fds(job); /* kept until now, for another runner if the first had died */
	if (lane->is_handed_over && report->at_usec >= lane->exited_usec)
		job->handover_usec = report->at_usec - lane->exited_usec;
	if (job->handover_usec != UINT64_MAX)
		metrics_observe(METRIC_HANDOVER, job->handover_usec);
	if (job->started_usec > job->submitted_usec)
		metrics_observe(METRIC_WAITED, job->started_usec - job->submitted_usec);
	journal_job(JOURNAL_STARTED, job, "terraform runs as PID %d", (int)job->pid);
	scheduler_audit(scheduler, "start", job, (uid_t)-1, "");
	(void)scheduler_note(scheduler, job);
	scheduler_changed(scheduler, job);
	scheduler_pump_soon(scheduler); /* the next one's runner */
}

/* terraform lost its way to the state: whoever runs next would fork it. */
static void hold_for_errored_state(struct scheduler *scheduler, struct job *job)
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
	scheduler_note_line(scheduler, line);
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

static void on_exited(struct scheduler *scheduler, struct job *job,
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
	else if (report->message && !job->message)
		job_set_message(job, "%s", report->message);
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
		hold_for_errored_state(scheduler, job);
	if (job_is_locked_by_us(job) && (report->exit_signal || job->interrupts > 1))
		lane_quarantine(lane_of(job->line));
	scheduler_step(scheduler, job, event);
}

static void on_prompt(struct scheduler *scheduler, struct job *job,
		      const struct scheduler_report *report)
{
	(void)report;
	if (job->status == JOB_RUNNING)
		scheduler_step(scheduler, job, JOB_EV_PROMPT);
}

static void on_answered(struct scheduler *scheduler, struct job *job,
			const struct scheduler_report *report)
{
	(void)report;
	if (job->status == JOB_APPROVING)
		scheduler_step(scheduler, job, JOB_EV_ANSWERED);
}

void scheduler_runner_reports(struct scheduler *scheduler, struct job *job,
			      const struct scheduler_report *report)
{
	static const struct {
		const char *event;
		void (*take)(struct scheduler *scheduler, struct job *job,
			     const struct scheduler_report *report);
	} takers[] = {
		{ "ready", on_ready },   { "refused", on_refused },   { "started", on_started },
		{ "prompt", on_prompt }, { "answered", on_answered }, { "exited", on_exited },
	};

	for (size_t i = 0; report->event && i < sizeof(takers) / sizeof(takers[0]); i++)
		if (strcmp(takers[i].event, report->event) == 0)
			takers[i].take(scheduler, job, report);
}

/* Its runner is dead: what it has reported before counts. */
static void bury(struct scheduler *scheduler, struct job *job, const char *how)
{
	const bool was_undecided = job->is_undecided;

	runner_link_forget(job);
	job->is_runner_ready = false;
	job->has_lost_runner = !was_undecided;
	scheduler_settle(scheduler, job);
	scheduler_decide(scheduler, job);
	if (job_status_is_final(job->status))
		return;
	if (job->status == JOB_LOCKING && !job->message)
		job_set_message(job, "%s",
				how ? how : "its runner died before terraform was started");
	scheduler_step(scheduler, job, JOB_EV_VANISHED);
	scheduler_pump_soon(scheduler);
}

/* The connection is gone; a process that lives may come back. */
void scheduler_runner_gone(struct scheduler *scheduler, struct job *job)
{
	job->runner = NULL;
	if (job_status_is_final(job->status))
		return;
	if (runner_link_lives(job)) { /* its end will be heard of */
		if (proc_start(job->runner_pid) != job->runner_start) {
			journal_job(JOURNAL_RUNNER_TROUBLE, job,
				    "its runner is gone; what is left in its unit is waited for: "
				    "systemctl status tfq-job-%" PRIu64,
				    job->id);
		}
		return;
	}
	bury(scheduler, job, NULL);
}

void scheduler_runner_died(struct scheduler *scheduler, struct job *job, const char *how)
{
	if (!job->runner && !job_status_is_final(job->status))
		bury(scheduler, job, how);
	else
		runner_link_forget(job);
}
