/* SPDX-License-Identifier: MIT */
/* What people ask for: a job, its output, its end; a line that is to go on; a lock removed. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/env.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/varlink.h"
#include "daemon/job_files.h"
#include "daemon/job_record.h"
#include "daemon/journal.h"
#include "daemon/metrics.h"
#include "daemon/proc.h"
#include "daemon/scheduler_parts.h"

static uint64_t line_limit(const struct scheduler *scheduler, const struct job *job)
{
	const struct config_state *state =
		config_state_match(scheduler->setup.config, job->backend->name);

	return state && state->has_max_queued ? state->max_queued : 0;
}

/* A job that queues another on its own state would wait for itself. */
static bool waits_for_itself(const struct scheduler *scheduler, const struct job *job)
{
	const char *outer = env_get(job->env, "TFQ_JOB");
	const struct job *running;
	uint64_t id;

	if (!outer || parse_u64(outer, INT64_MAX, &id) < 0)
		return false;
	running = scheduler_find(scheduler, id);
	return running && running->line && running->line->active == running &&
	       strcmp(running->backend->identity, job->backend->identity) == 0;
}

/* The lock's ID is the job's from the start: what is found in a store can be told to be ours. */
static int make_lock_id(struct job *job)
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	lockinfo_id(job->lock_id, random);
	return 0;
}

static int enqueue(struct scheduler *scheduler, struct job *job)
{
	struct line *line;
	int r;

	r = queue_add(scheduler->queue, job, line_limit(scheduler, job));
	if (r < 0 || job->line->data || lane_new(scheduler, job->line))
		return r;
	line = job->line;
	queue_remove(scheduler->queue, job);
	queue_drop_line(scheduler->queue, line);
	return -ENOMEM;
}

/* A number, room for its recording, its secrets put away. */
static int reserve(struct scheduler *scheduler, struct job *job, const json_t *parameters)
{
	int r;

	job->id = scheduler->next_id;
	job->submitted_usec = clock_usec(CLOCK_REALTIME);
	r = make_lock_id(job);
	if (r >= 0)
		r = job_files_reserve(scheduler->setup.jobs_dir, job->id);
	if (r >= 0)
		r = vault_put(scheduler->setup.vault, job->id, parameters);
	job->is_in_vault = r >= 0;
	if (r == -EOPNOTSUPP)
		return 0; /* said at the start */
	if (r < 0)
		log_error(r, "Job %" PRIu64 " of %s cannot be kept: %m", job->id, job->owner.name);
	return r;
}

static void unreserve(struct scheduler *scheduler, struct job *job)
{
	vault_drop(scheduler->setup.vault, job->id);
	job_files_remove(scheduler->setup.jobs_dir, job->id); /* the number is the next one's */
}

/* Memory is what a user has of others': of room on a disk, and of places in a queue, there is a
 * lot. */
static bool holds_too_much(const struct scheduler *scheduler, const struct job *job)
{
	return queue_secret_bytes(scheduler->queue, job->owner.uid) + job->secret_bytes >
	       SCHEDULER_BYTES_PER_USER;
}

/* Return: 0, or why it would not be taken. */
static int check_submit(const struct scheduler *scheduler, const struct job *job,
			const struct line *present)
{
	if (scheduler->is_stopping)
		return -ESHUTDOWN;
	if (store_trouble(scheduler->setup.store))
		return -EIO;
	if (job->no_wait &&
	    (queue_is_full(scheduler->queue, job->owner.uid) ||
	     (present && (present->active || present->waiting_count > 0 || present->hold_reason))))
		return -EBUSY;
	if (waits_for_itself(scheduler, job))
		return -EDEADLK;
	return holds_too_much(scheduler, job) ? -EFBIG : 0;
}

int scheduler_submit(struct scheduler *scheduler, struct job *job, const json_t *parameters)
{
	const struct line *present = queue_find_line(scheduler->queue, job->backend->identity);
	int r;

	r = check_submit(scheduler, job, present);
	if (r < 0)
		return r;
	job->passes_hold =
		present && present->lets_push && strcmp(job->operation, "state-push") == 0;
	r = reserve(scheduler, job, parameters);
	r = r >= 0 ? scheduler_register(scheduler, job) : r == -ENOMEM ? r : -EIO;
	if (r < 0) {
		unreserve(scheduler, job);
		return r;
	}
	r = enqueue(scheduler, job);
	if (r < 0) {
		scheduler_unregister(scheduler, job);
		unreserve(scheduler, job);
		return r;
	}
	scheduler->next_id++;
	job->submitted = scheduler_note(scheduler, job);
	TAILQ_INSERT_TAIL(&scheduler->unkept, job, in_unkept);
	if (job->supersedes)
		scheduler_supersede(scheduler, job);
	metrics_count(METRIC_SUBMITTED);
	scheduler_audit(scheduler, "submit", job, job->owner.uid, job->command);
	journal_job(JOURNAL_QUEUED, job, "%s queued '%s' on %s%s%s%s", job->owner.name,
		    job->command, job->backend->name, job->reason ? " (" : "",
		    job->reason ? job->reason : "", job->reason ? ")" : "");
	return 0;
}

static size_t count_viewers(const struct scheduler *scheduler, uid_t uid)
{
	const struct job *job;
	size_t count = 0;

	TAILQ_FOREACH(job, &scheduler->all, in_all)
	count += job->owner.uid == uid ? job->viewer_count : 0;
	return count;
}

/* Until terraform runs, its runner may die and another take its place: the viewer is kept. */
int scheduler_attach(const struct scheduler *scheduler, struct job *job, int fd, uint64_t offset,
		     bool has_input)
{
	const struct job_viewer viewer = { .fd = fd, .offset = offset, .has_input = has_input };
	const bool waits = !job->runner || !job_status_is_running(job->status) || job->go_after > 0;

	if (waits && count_viewers(scheduler, job->owner.uid) >=
			     2 * scheduler->setup.config->max_queued_per_user) {
		varlink_close_foreign(fd);
		return -EDQUOT;
	}
	if (job->runner)
		(void)runner_link_attach(job, &viewer); /* one that cannot be told is gone */
	if (waits)
		return job_add_viewer(job, fd, offset, has_input);
	varlink_close_foreign(fd);
	return 0;
}

struct job *scheduler_recall(const struct scheduler *scheduler, uint64_t id)
{
	struct job *job = NULL;
	json_t *record = NULL;

	if (store_read_job(scheduler->setup.store, id, &record) < 0)
		return NULL;
	(void)job_record_parse(&job, record);
	json_decref(record);
	return job;
}

void scheduler_cancel(struct scheduler *scheduler, struct job *job, bool force, const char *by)
{
	if (job_status_is_final(job->status))
		return;
	journal_job(JOURNAL_CANCEL_ASKED, job, "%s asked for its end%s", by,
		    force ? ", by force" : "");
	job->is_cancelled = true;
	if (!job->message)
		job_set_message(job, "by %s", by);
	if (job->is_undecided) { /* scheduler_decide() comes back to it */
		(void)scheduler_note(scheduler, job);
		return;
	}
	scheduler_step(scheduler, job, force ? JOB_EV_FORCE : JOB_EV_CANCEL);
	if (job->go_after > 0) /* it waits for the disk, and need not any more */
		scheduler_let_go(scheduler, job);
}

/* Does a process of the lost job live? */
static bool has_survivor(const struct line *line)
{
	return (line->lost_session > 0 && proc_survivor(line->lost_session)) ||
	       (line->lost_pid > 0 && proc_survivor(line->lost_pid));
}

int scheduler_resume(struct scheduler *scheduler, const char *state)
{
	struct line *line;
	struct lane *lane;

	if (!state)
		return scheduler_unpause(scheduler);
	line = queue_find_line(scheduler->queue, state);
	if (!line)
		return -ENOENT;
	lane = lane_of(line);
	if ((!line->hold_reason || lane->is_quarantined) && !line->pause_reason)
		return -EALREADY;
	if (has_survivor(line))
		return -EBUSY;
	journal_tell(JOURNAL_GOES_ON, &(struct journal_about){ .state = line->name },
		     "The queue of %s goes on", line->name);
	free(line->pause_reason);
	line->pause_reason = NULL;
	if (!lane->is_quarantined) {
		free(line->hold_reason);
		line->hold_reason = NULL;
	}
	line->lets_push = false;
	line->lost_session = line->lost_pid = 0;
	line->is_dirty = true;
	scheduler_note_line(scheduler, line);
	if (line->waiting_count == 0 && !line->active)
		lane_let_go(lane);
	scheduler_pump_soon(scheduler);
	return 0;
}

int scheduler_unlock(struct scheduler *scheduler, const char *state, const char *id, const char *by)
{
	const struct line *line = queue_find_line(scheduler->queue, state);
	struct lock *lock = line ? lane_of(line)->lock : NULL;
	int r;

	if (!lock)
		return -ENOENT;
	if (lock_deadline(lock) > 0 && !lock_holder(lock))
		return -EBUSY;
	r = lock_break(lock, id);
	if (r >= 0) {
		journal_tell(JOURNAL_UNLOCK,
			     &(struct journal_about){ .state = line->name, .lock_id = id },
			     "%s orders that lock %s of %s, held by %s since %s, be removed", by,
			     id, line->name, lock_holder(lock)->who, lock_holder(lock)->created);
	}
	return r;
}

void scheduler_stop(struct scheduler *scheduler)
{
	if (scheduler->is_stopping)
		return;
	scheduler->is_stopping = true;
	for (struct line *line = queue_first_line(scheduler->queue); line;
	     line = TAILQ_NEXT(line, link))
		if (!line->active || line->active->status == JOB_LOCKING)
			lane_let_go(lane_of(line));
	scheduler_pump_soon(scheduler);
}
