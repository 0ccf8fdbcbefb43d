/* SPDX-License-Identifier: MIT */
/*
 * After a restart. What a job's runner has written into its reports says more than what we had
 * time to write down: "going" stands there before terraform is let go, "exited" once nothing of it
 * is left.
 *
 *   exited                      it has ended: closed as if it had been said just now
 *   going, runner lives         it runs: the lock is regained, the runner will say hello
 *   going, runner gone          lost: nobody knows how terraform ended
 *   no going, runner lives      undecided: an order to go may have been under way to it. Its line
 *                               waits for its hello, or its end (a runner that was not told to go
 *                               ends when it has lost its tfqd)
 *   no going, runner gone       it never began: it waits at its old place, or is told of if what
 *                               it needs to run went with the machine's memory
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "daemon/job_files.h"
#include "daemon/job_record.h"
#include "daemon/journal.h"
#include "daemon/proc.h"
#include "daemon/scheduler_parts.h"
#include "daemon/submit.h"

#define AWAIT_USEC (5 * USEC_PER_SEC) /* tfq tries at least every two seconds */

/* --- what the runner has left word of -------------------------------------------------------- */

struct found {
	json_t *reports; /* NULL: none */
	bool has_begun;
	const json_t *started, *end; /* exited or refused */
};

static void found_clear(const struct found *found)
{
	json_decref(found->reports);
}

static struct found look(const struct scheduler *scheduler, const struct job *job)
{
	struct found found = {
		.reports = job_files_read_reports(scheduler->setup.jobs_dir, job->id),
	};

	for (size_t i = 0; i < json_array_size(found.reports); i++) {
		const json_t *object = json_array_get(found.reports, i);
		const struct scheduler_report report = scheduler_report_read(object);

		if (!report.event)
			continue;
		if (strcmp(report.event, "going") == 0)
			found.has_begun = true;
		else if (strcmp(report.event, "started") == 0)
			found.started = object;
		else if (strcmp(report.event, "exited") == 0 ||
			 strcmp(report.event, "refused") == 0)
			found.end = object;
	}
	return found;
}

/* CLOCK_MONOTONIC to CLOCK_REALTIME, for times of this boot. */
static uint64_t real_time(uint64_t at_usec)
{
	const uint64_t now = clock_usec(CLOCK_MONOTONIC);
	const uint64_t real = clock_usec(CLOCK_REALTIME);

	return at_usec > 0 && at_usec < now ? real - (now - at_usec) : real;
}

static void apply(struct scheduler *scheduler, struct job *job, const struct found *found)
{
	struct scheduler_report report;

	if (found->started && !job->pid) {
		report = scheduler_report_read(found->started);
		job->started_usec = real_time(report.at_usec);
		scheduler_runner_reports(scheduler, job, &report);
	}
	if (!found->end || job_status_is_final(job->status))
		return;
	report = scheduler_report_read(found->end);
	job->ended_usec = real_time(report.at_usec);
	scheduler_runner_reports(scheduler, job, &report);
}

/* It waits in its line as far as we knew, but its terraform was let go. */
static void make_running(struct scheduler *scheduler, struct job *job)
{
	if (job->line->active)
		return;
	job->line->undecided -= job->is_undecided;
	job->is_undecided = false;
	queue_activate(scheduler->queue, job);
	job->status = JOB_RUNNING;
	(void)scheduler_note(scheduler, job);
	lane_regain(lane_of(job->line));
	if (job->is_cancelled)
		scheduler_step(scheduler, job, JOB_EV_CANCEL);
}

void scheduler_settle(struct scheduler *scheduler, struct job *job)
{
	CLEANUP(found_clear) struct found found = look(scheduler, job);

	if (found.has_begun && job->status == JOB_QUEUED)
		make_running(scheduler, job);
	if (job_status_is_running(job->status))
		apply(scheduler, job, &found);
	if (job->runner_pid == 0 && !job->runner && found.reports && !found.has_begun &&
	    job_status_is_running(job->status))
		scheduler_refuse(scheduler, job, "its runner died before terraform was started");
}

/* --- a job ----------------------------------------------------------------------------------- */

int scheduler_rebuild(struct job **ret, const struct scheduler *scheduler,
		      const struct job *skeleton, const json_t *record, char **ret_error)
{
	CLEANUP(job_freep) struct job *job = NULL;
	const struct submit_source source = { .owner = &skeleton->owner };
	json_t *parameters = NULL;
	int r;

	r = vault_get(scheduler->setup.vault, skeleton->id, &parameters);
	if (r >= 0)
		r = submit_parse(&job, parameters, &source, scheduler->setup.config, ret_error);
	json_decref(parameters);
	if (r >= 0)
		r = job_record_apply(job, record);
	if (r >= 0 && strcmp(job->backend->identity, skeleton->backend->identity) != 0)
		r = -ESTALE; /* the configuration's endpoints are others now */
	if (r < 0)
		return r;
	*ret = TAKE_PTR(job);
	return 0;
}

/* It cannot be run any more; it was accepted, so that somebody has to be told. */
static void give_up(struct scheduler *scheduler, struct job *job, bool is_same_boot)
{
	if (!job->message) {
		job_set_message(job, is_same_boot
					     ? "its environment, which tfqd keeps in memory, is "
					       "gone: terraform was not run; queue it again"
					     : "the machine was restarted, and its environment, "
					       "which is kept in memory alone, is gone: terraform "
					       "was not run; queue it again");
	}
	scheduler_step(scheduler, job, JOB_EV_REFUSED);
}

void scheduler_decide(struct scheduler *scheduler, struct job *job)
{
	if (!job->is_undecided)
		return;
	job->is_undecided = false;
	job->line->undecided--;
	scheduler_pump_soon(scheduler);
	if (job->status != JOB_QUEUED || job->runner_pid)
		return; /* it runs */
	if (job->is_cancelled)
		scheduler_step(scheduler, job, JOB_EV_CANCEL);
	else if (!job->env && !job->is_dozing)
		give_up(scheduler, job, true);
}

static int place(struct scheduler *scheduler, struct job *job, bool is_active)
{
	int r;

	r = scheduler_register(scheduler, job);
	if (r >= 0)
		r = queue_restore(scheduler->queue, job, is_active);
	if (r >= 0 && !job->line->data && !lane_new(scheduler, job->line))
		r = -ENOMEM;
	if (r >= 0)
		job->passes_hold =
			job->line->lets_push && strcmp(job->operation, "state-push") == 0;
	return r;
}

static bool lives(const struct job *job, bool is_same_boot)
{
	return is_same_boot && runner_link_lives(job);
}

/* It runs, or ran: what became of it? */
static int restore_begun(struct scheduler *scheduler, struct job *job, const struct found *found,
			 bool is_same_boot, bool is_alive)
{
	int r;

	if (!job_status_is_running(job->status))
		job->status = job->is_cancelled ? JOB_STOPPING : JOB_RUNNING;
	r = place(scheduler, job, true);
	if (r < 0)
		return r;
	if (!is_alive)
		runner_link_forget(job);
	if (!is_same_boot || job->session == 0)
		job->session = -1; /* nobody's of today */
	apply(scheduler, job, found);
	if (job_status_is_final(job->status) || is_alive)
		return 0;
	scheduler_step(scheduler, job, JOB_EV_VANISHED);
	return 0;
}

static int restore_waiting(struct scheduler *scheduler, struct job *job, bool is_same_boot,
			   bool is_alive, bool has_secrets)
{
	int r;

	job->status = JOB_QUEUED;
	r = place(scheduler, job, false);
	if (r < 0)
		return r;
	job->is_awaited = job->wants_stdin;
	if (is_alive) {
		job->is_undecided = true;
		job->line->undecided++;
	} else {
		runner_link_forget(job);
	}
	if (!has_secrets && !is_alive)
		give_up(scheduler, job, is_same_boot);
	else if (job->is_cancelled && !is_alive)
		scheduler_step(scheduler, job, JOB_EV_CANCEL);
	scheduler_consider(job);
	return 0;
}

static int restore_live(struct scheduler *scheduler, struct job *job, const json_t *record)
{
	const bool is_same_boot = job_record_is_of_boot(record, scheduler->setup.host->boot);
	CLEANUP(found_clear) struct found found = look(scheduler, job);
	AUTO_FREE char *error = NULL;
	struct job *whole = NULL;
	bool was_running, is_alive;
	int r;

	r = scheduler_rebuild(&whole, scheduler, job, record, &error);
	if (whole) {
		job_free(job);
		job = whole;
		job->is_in_vault = true;
	} else if (r != -ENOENT) {
		job_set_message(job, "it cannot be run after tfqd's restart: %s",
				error ? error : strerror(-r));
	}
	is_alive = !found.end && lives(job, is_same_boot) && runner_link_watch(scheduler, job) >= 0;
	if (!is_alive && !found.end) { /* it may have written more before it died */
		found_clear(&found);
		found = look(scheduler, job);
	}
	/* What the disk says may be behind after a power cut: then what we wrote counts, too. */
	was_running = job_status_is_running(job->status) && (!is_same_boot || !found.reports);
	if (found.has_begun || was_running)
		return restore_begun(scheduler, job, &found, is_same_boot, is_alive);
	return restore_waiting(scheduler, job, is_same_boot, is_alive, whole != NULL);
}

/* In this order: a line has one active job at most. Runners go on meanwhile: by the next pass a job
 * may have left its stage for one whose pass is over. */
enum stage { STAGE_OVER, STAGE_RUNS, STAGE_WAITS };

struct pass {
	struct scheduler *scheduler;
	enum stage stage;
	uint64_t count;
};

static int restore_over(struct scheduler *scheduler, struct job *job)
{
	job->runner_pid = 0;
	scheduler->over_count++;
	scheduler_learn(scheduler, job);
	return scheduler_register(scheduler, job);
}

static enum stage stage_of(const struct scheduler *scheduler, const struct job *job)
{
	CLEANUP(found_clear) struct found found = look(scheduler, job);

	if (job_status_is_final(job->status) || (found.has_begun && found.end))
		return STAGE_OVER;
	return found.has_begun || job_status_is_running(job->status) ? STAGE_RUNS : STAGE_WAITS;
}

static int on_job(const struct store_job *row, const json_t *record, void *userdata)
{
	struct pass *pass = userdata;
	struct scheduler *scheduler = pass->scheduler;
	struct job *job = NULL;
	int r;

	if (scheduler_find(scheduler, row->id))
		return 0; /* an earlier pass had it */
	r = job_record_parse(&job, record);
	if (r < 0) {
		log_warning(r, "Job %" PRIu64 " cannot be read from the database, left out: %m",
			    row->id);
		return 0;
	}
	if (stage_of(scheduler, job) > pass->stage) {
		job_free(job);
		return 0;
	}
	if (job_status_is_final(job->status))
		return restore_over(scheduler, job);
	pass->count++;
	return restore_live(scheduler, job, record);
}

/* --- clients that come back ------------------------------------------------------------------ */

void scheduler_await_no_more(struct scheduler *scheduler, struct job *job)
{
	if (!job->is_awaited)
		return;
	job->is_awaited = false;
	scheduler_pump_soon(scheduler);
}

/* Who has not come back by now is gone, and what he would have typed: terraform reads no input. */
static int on_awaited_enough(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct scheduler *scheduler = userdata;
	struct job *job;

	(void)source;
	(void)usec;

	TAILQ_FOREACH(job, &scheduler->all, in_all)
	scheduler_await_no_more(scheduler, job);
	return 0;
}

/* --- all of it ------------------------------------------------------------------------------- */

static int find_next_id(struct scheduler *scheduler)
{
	uint64_t kept = 0, used = 0;
	int r;

	r = store_read_last_id(scheduler->setup.store, &kept);
	if (r >= 0)
		r = job_files_last_id(scheduler->setup.jobs_dir, &used);
	scheduler->next_id = (kept > used ? kept : used) + 1;
	job_files_sweep(scheduler->setup.jobs_dir);
	return r;
}

int scheduler_restore(struct scheduler *scheduler)
{
	struct store *store = scheduler->setup.store;
	struct pass pass = { .scheduler = scheduler, .stage = STAGE_OVER };
	int r;

	scheduler->is_restoring = true;
	r = find_next_id(scheduler);
	if (r >= 0)
		r = scheduler_restore_lines(scheduler);
	for (; r >= 0 && pass.stage <= STAGE_WAITS; pass.stage++)
		r = store_read_jobs(store, SCHEDULER_HISTORY_MAX, on_job, &pass);
	if (r >= 0)
		r = scheduler_restore_locks(scheduler);
	scheduler->is_restoring = false;
	if (r < 0)
		return r;
	vault_sweep(scheduler->setup.vault, scheduler_needs_secrets, scheduler);
	r = sd_event_add_time_relative(scheduler->setup.event, &scheduler->awaiting,
				       CLOCK_MONOTONIC, AWAIT_USEC, 0, on_awaited_enough,
				       scheduler);
	if (r < 0)
		return r;
	if (pass.count > 0)
		log_info("%" PRIu64 " jobs of before the restart are back", pass.count);
	scheduler_expire_soon(scheduler);
	scheduler_pump_soon(scheduler);
	return 0;
}
