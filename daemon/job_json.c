/* SPDX-License-Identifier: MIT */
#include "daemon/job_json.h"

#include "daemon/queue.h"

json_t *holder_json(const struct lockinfo_seen *holder)
{
	json_t *object;

	object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "id", holder->id, "who", holder->who,
			   "operation", holder->operation, "info", holder->info, "since",
			   holder->created, "is_tfqd", holder->is_tfqd);
	if (object && holder->is_tfqd)
		(void)json_object_set_new(object, "lease",
					  json_integer((json_int_t)holder->lease_sec));
	return object;
}

json_t *holder_json_of(const struct lock *lock)
{
	struct lock_prospect prospect;
	json_t *object = holder_json(lock_holder(lock));

	lock_prospect(lock, &prospect);
	if (!object || !prospect.has_lease)
		return object;
	(void)json_object_set_new(object, "dead", json_boolean(prospect.is_dead));
	(void)json_object_set_new(object, "taken_over", json_boolean(prospect.is_taken));
	(void)json_object_set_new(object, "dead_in",
				  json_integer((json_int_t)(prospect.left_usec / 1000000)));
	return object;
}

static json_t *ahead_json(const struct job *ahead)
{
	return json_pack("{s:I, s:s, s:s, s:s?, s:I}", "id", (json_int_t)ahead->id, "user",
			 ahead->owner.name, "command", ahead->command, "reason", ahead->reason,
			 "started", (json_int_t)ahead->started_usec);
}

/* Where nobody takes a dead holder's lock by himself, somebody must be told how. */
static void add_verdict(json_t *object, const struct line *line, const struct lock *lock)
{
	struct lock_prospect prospect;

	lock_prospect(lock, &prospect);
	if (prospect.is_dead && prospect.is_asked && lock_holder(lock)) {
		json_object_set_new(
			object, "message",
			json_sprintf("blocked: its holder is dead, the lease ran out unrenewed; an "
				     "operator resolves it with: tfq unlock '%s' --id %s",
				     line->name, lock_holder(lock)->id));
	}
}

/* When its turn may come. */
static void add_prospect(json_t *object, const struct job *job)
{
	if (job->line && job->usual_usec > 0)
		json_object_set_new(object, "usual", json_integer((json_int_t)job->usual_usec));
	if (job->line && job->eta_usec > 0)
		json_object_set_new(object, "eta", json_integer((json_int_t)job->eta_usec));
}

/* Why it does not go on, or what came of it: the last of these that is so. */
static void add_message(json_t *object, const struct job *job, const struct lock *lock)
{
	const struct line *line = job->line;
	const bool is_locking = line && line->active == job && job->status == JOB_LOCKING;

	if (line && line->hold_reason)
		json_object_set_new(object, "message", json_string(line->hold_reason));
	else if (line && line->pause_reason && line->active != job)
		json_object_set_new(object, "message", json_string(line->pause_reason));
	if (lock && is_locking)
		add_verdict(object, line, lock);
	if (lock && is_locking && *lock_error(lock))
		json_object_set_new(object, "message", json_string(lock_error(lock)));
	if (job->message)
		json_object_set_new(object, "message", json_string(job->message));
}

/* Who does it wait for: the job that runs, or a holder outside? */
static void add_waiting(json_t *object, const struct job *job, const struct lock *lock)
{
	const struct line *line = job->line;
	const struct job *active = line ? line->active : NULL;

	if (!line)
		return;
	if (active && active != job)
		json_object_set_new(object, "ahead", ahead_json(active));
	if (line->pause_reason)
		json_object_set_new(object, "paused", json_true());
	if (lock && active && active->status == JOB_LOCKING && lock_holder(lock))
		json_object_set_new(object, "holder", holder_json_of(lock));
}

static void add_run(json_t *object, const struct job *job)
{
	if (job->label)
		json_object_set_new(object, "label", json_string(job->label));
	if (job->reason)
		json_object_set_new(object, "reason", json_string(job->reason));
	if (job->lock_id[0] && job_is_locked_by_us(job))
		json_object_set_new(object, "lock_id", json_string(job->lock_id));
	if (job->pid && job_status_is_running(job->status))
		json_object_set_new(object, "pid", json_integer(job->pid));
	if (job->exit_code >= 0 && job_status_is_final(job->status))
		json_object_set_new(object, "exit_code", json_integer(job->exit_code));
	if (job->exit_signal)
		json_object_set_new(object, "exit_signal", json_integer(job->exit_signal));
	if (job->has_tty)
		json_object_set_new(object, "tty", json_true());
	if (job->is_busy)
		json_object_set_new(object, "busy", json_true());
	if (job->handover_usec != UINT64_MAX)
		json_object_set_new(object, "handover",
				    json_integer((json_int_t)job->handover_usec));
}

static uint64_t line_length(const struct job *job)
{
	return job->line ? job->line->waiting_count + (job->line->active ? 1 : 0) : 1;
}

json_t *job_json(const struct job *job, const struct lock *lock)
{
	json_t *object;

	object = json_pack(
		"{s:I, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "id",
		(json_int_t)job->id, "status", job_status_name(job->status), "state",
		job->backend->name, "user", job->owner.name, "uid", (json_int_t)job->owner.uid,
		"command", job->command, "directory", job->state_directory, "workspace",
		job->backend->workspace, "lock", job->why_child ? job->why_child : "tfqd",
		"priority", job_priority_name(job->priority), "position",
		(json_int_t)queue_position(job), "of", (json_int_t)line_length(job), "submitted",
		(json_int_t)job->submitted_usec, "started", (json_int_t)job->started_usec, "ended",
		(json_int_t)job->ended_usec);
	if (!object)
		return NULL;
	add_waiting(object, job, lock);
	add_prospect(object, job);
	add_message(object, job, lock);
	add_run(object, job);
	return object;
}

/* The names are ASCII, and what tfqd makes of foreign text is UTF-8. */
static void add_number(json_t *object, const char *name, uint64_t value)
{
	(void)json_object_set_new_nocheck(object, name, json_integer((json_int_t)value));
}

static void add_text(json_t *object, const char *name, const char *text)
{
	(void)json_object_set_new_nocheck(object, name, json_string(text));
}

json_t *job_json_brief(const struct job *job, const struct lock *lock)
{
	json_t *object = json_object();

	if (!object)
		return NULL;
	add_number(object, "id", job->id);
	add_text(object, "status", job_status_name(job->status));
	add_text(object, "state", job->backend->name);
	add_text(object, "user", job->owner.name);
	add_text(object, "command", job->command);
	add_number(object, "position", queue_position(job));
	add_number(object, "of", line_length(job));
	add_number(object, "submitted", job->submitted_usec);
	if (job->started_usec > 0)
		add_number(object, "started", job->started_usec);
	if (job->ended_usec > 0)
		add_number(object, "ended", job->ended_usec);
	add_prospect(object, job);
	if (queue_position(job) == 1) /* the others wait for the same */
		add_message(object, job, lock);
	if (job->label)
		add_text(object, "label", job->label);
	return object;
}
