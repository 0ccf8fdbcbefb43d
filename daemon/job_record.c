/* SPDX-License-Identifier: MIT */
#include "daemon/job_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

#define ID_MAX (INT64_MAX >> 21) /* of a job: there is room for its JOB_RANK() */

/* --- writing --------------------------------------------------------------------------------- */

static json_t *owner_json(const struct job_owner *owner)
{
	json_t *groups = json_array();

	for (size_t i = 0; i < owner->group_count; i++)
		(void)json_array_append_new(groups, json_integer((json_int_t)owner->groups[i]));
	return json_pack("{s:i, s:I, s:I, s:s, s:o}", "pid", (int)owner->pid, "uid",
			 (json_int_t)owner->uid, "gid", (json_int_t)owner->gid, "name", owner->name,
			 "groups", groups);
}

/* The words, if none of them hides a secret; else NULL. */
static json_t *argv_json(const struct job *job)
{
	json_t *argv = job->is_argv_plain ? json_array() : NULL;

	for (char **word = job->argv; argv && word && *word; word++)
		(void)json_array_append_new(argv, json_string(*word));
	return argv;
}

/* clang-format off */
static json_t *run_json(const struct job *job)
{
	return json_pack("{s:i, s:I, s:s*, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:b, s:I}",
			 "runner", (int)job->runner_pid,
			 "runner_start", (json_int_t)job->runner_start,
			 "cgroup", job->cgroup,
			 "session", (int)job->session,
			 "pid", (int)job->pid,
			 "exit_code", job->exit_code,
			 "exit_signal", job->exit_signal,
			 "interrupts", job->interrupts,
			 "cancelled", job->is_cancelled,
			 "lock_lost", job->is_lock_lost,
			 "fenced", job->is_fenced,
			 "busy", job->is_busy,
			 "state_known", job->is_state_known,
			 "handover", job->handover_usec == UINT64_MAX
				? (json_int_t)-1 : (json_int_t)job->handover_usec);
}

json_t *job_record_make(const struct job *job, const char *boot)
{
	return json_pack("{s:I, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s?, "
			 "s:s?, s:s?, s:s?, s:s, s:I, s:I, s:I, s:I, s:o?, s:b, s:o}",
			 "id", (json_int_t)job->id,
			 "status", job_status_name(job->status),
			 "priority", job_priority_name(job->priority),
			 "boot", boot,
			 "owner", owner_json(&job->owner),
			 "identity", job->backend->identity,
			 "state", job->backend->name,
			 "workspace", job->backend->workspace,
			 "command", job->command,
			 "subcommand", job->subcommand,
			 "operation", job->operation,
			 "directory", job->directory,
			 "state_directory", job->state_directory,
			 "label", job->label,
			 "reason", job->reason,
			 "message", job->message,
			 "why_child", job->why_child,
			 "lock_id", job->lock_id,
			 "submitted", (json_int_t)job->submitted_usec,
			 "started", (json_int_t)job->started_usec,
			 "ended", (json_int_t)job->ended_usec,
			 "rank", (json_int_t)job->rank,
			 "argv", argv_json(job),
			 "tty", job->has_tty,
			 "run", run_json(job));
}
/* clang-format on */

/* --- reading --------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static json_int_t number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static bool flag_of(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* Return: 0; -EBADMSG if it is @needed and not there; -ENOMEM. */
static int take(char **to, const json_t *object, const char *name, bool is_needed)
{
	const char *text = text_of(object, name);

	if (!text)
		return is_needed ? -EBADMSG : 0;
	return text_replace(to, text);
}

static int take_owner(struct job_owner *owner, const json_t *object)
{
	const json_t *groups = json_object_get(object, "groups");
	const size_t count = json_array_size(groups);

	if (!json_is_integer(json_object_get(object, "uid")) ||
	    !json_is_integer(json_object_get(object, "gid")))
		return -EBADMSG;
	owner->pid = (pid_t)number_of(object, "pid");
	owner->uid = (uid_t)number_of(object, "uid");
	owner->gid = (gid_t)number_of(object, "gid");
	if (count > 0) {
		owner->groups = malloc(count * sizeof(*owner->groups));
		if (!owner->groups)
			return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *group = json_array_get(groups, i);

		if (!json_is_integer(group))
			return -EBADMSG;
		owner->groups[i] = (gid_t)json_integer_value(group);
	}
	owner->group_count = count;
	return take(&owner->name, object, "name", true);
}

static int take_backend(struct job *job, const json_t *record)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	int r;

	job->backend = backend;
	if (!backend)
		return -ENOMEM;
	backend->kind = BACKEND_OTHER;
	r = take(&backend->identity, record, "identity", true);
	if (r >= 0)
		r = take(&backend->name, record, "state", true);
	if (r >= 0)
		r = take(&backend->workspace, record, "workspace", true);
	return r;
}

static int take_texts(struct job *job, const json_t *record)
{
	const struct {
		char **to;
		const char *name;
		bool is_needed;
	} texts[] = {
		{ &job->command, "command", true },
		{ &job->subcommand_text, "subcommand", true },
		{ &job->operation_text, "operation", true },
		{ &job->directory, "directory", true },
		{ &job->state_directory, "state_directory", true },
		{ &job->label, "label", false },
		{ &job->reason, "reason", false },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const int r = take(texts[i].to, record, texts[i].name, texts[i].is_needed);

		if (r < 0)
			return r;
	}
	job->subcommand = job->subcommand_text;
	job->operation = job->operation_text;
	return 0;
}

/* Its number, and its place in the line. Return: 0, or -EBADMSG. */
static int take_place(struct job *job, const json_t *record)
{
	const json_int_t id = number_of(record, "id");
	const json_t *rank = json_object_get(record, "rank");

	if (id <= 0 || id > ID_MAX)
		return -EBADMSG;
	job->id = (uint64_t)id;
	job->rank = json_is_integer(rank) ? json_integer_value(rank) : JOB_RANK(id);
	return job->rank >= -JOB_RANK(ID_MAX) && job->rank <= JOB_RANK(ID_MAX) ? 0 : -EBADMSG;
}

static int take_argv(struct job *job, const json_t *list)
{
	const size_t count = json_array_size(list);

	if (job->argv || !json_is_array(list))
		return 0;
	job->argv = calloc(count + 1, sizeof(*job->argv));
	if (!job->argv)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *word = json_string_value(json_array_get(list, i));
		const int r = word ? text_replace(&job->argv[i], word) : -EBADMSG;

		if (r < 0)
			return r;
	}
	job->is_argv_plain = true;
	return 0;
}

static int take_status(enum job_status *ret, const char *name)
{
	for (int i = 0; name && i < JOB_STATUS_COUNT; i++) {
		if (strcmp(name, job_status_name((enum job_status)i)) == 0) {
			*ret = (enum job_status)i;
			return 0;
		}
	}
	return -EBADMSG;
}

static int apply_run(struct job *job, const json_t *run)
{
	job->runner_pid = (pid_t)number_of(run, "runner");
	job->runner_start = (uint64_t)number_of(run, "runner_start");
	job->session = (pid_t)number_of(run, "session");
	job->pid = (pid_t)number_of(run, "pid");
	job->exit_code = (int)number_of(run, "exit_code");
	job->exit_signal = (int)number_of(run, "exit_signal");
	job->interrupts = (int)number_of(run, "interrupts");
	job->is_cancelled = flag_of(run, "cancelled");
	job->is_lock_lost = flag_of(run, "lock_lost");
	job->is_fenced = flag_of(run, "fenced");
	job->is_busy = flag_of(run, "busy");
	job->is_state_known |= flag_of(run, "state_known");
	job->handover_usec =
		number_of(run, "handover") < 0 ? UINT64_MAX : (uint64_t)number_of(run, "handover");
	return take(&job->cgroup, run, "cgroup", false);
}

int job_record_apply(struct job *job, const json_t *record)
{
	const char *why_child = text_of(record, "why_child");
	const char *priority = text_of(record, "priority");
	const char *lock_id = text_of(record, "lock_id");
	int r;

	r = take_place(job, record);
	if (r >= 0)
		r = take_status(&job->status, text_of(record, "status"));
	if (r >= 0 && (!priority || job_priority_parse(&job->priority, priority) < 0))
		r = -EBADMSG;
	if (r >= 0)
		r = take(&job->message, record, "message", false);
	if (r < 0)
		return r;
	if (why_child)
		job_leave_to_child(job, why_child);
	(void)snprintf(job->lock_id, sizeof(job->lock_id), "%s", lock_id ? lock_id : "");
	job->submitted_usec = (uint64_t)number_of(record, "submitted");
	job->started_usec = (uint64_t)number_of(record, "started");
	job->ended_usec = (uint64_t)number_of(record, "ended");
	job->has_tty |= flag_of(record, "tty");
	r = apply_run(job, json_object_get(record, "run"));
	return r < 0 ? r : take_argv(job, json_object_get(record, "argv"));
}

int job_record_parse(struct job **ret, const json_t *record)
{
	CLEANUP(job_freep) struct job *job = NULL;
	int r;

	r = job_new(&job);
	if (r >= 0)
		r = take_owner(&job->owner, json_object_get(record, "owner"));
	if (r >= 0)
		r = take_backend(job, record);
	if (r >= 0)
		r = take_texts(job, record);
	if (r >= 0)
		r = job_record_apply(job, record);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(job);
	return 0;
}

bool job_record_is_of_boot(const json_t *record, const char *boot)
{
	const char *written = text_of(record, "boot");

	return written && *boot && strcmp(written, boot) == 0;
}
