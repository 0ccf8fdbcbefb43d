/* SPDX-License-Identifier: MIT */
/*
 * Ten thousand jobs may wait, each with an environment of kilobytes. Of one whose turn is not near,
 * only that is kept in memory which is told of it; what it takes to run it is in the vault, and is
 * read back when it is next.
 */
#include <errno.h>
#include <string.h>

#include "daemon/scheduler_parts.h"
#include "daemon/submit.h"

/* The jobs of a line share one; of a state, all but the workspace's name is the same. */
static struct backend *outline_for(struct lane *lane, const struct backend *backend)
{
	struct backend *outline = NULL;

	if (lane->outline && strcmp(lane->outline->workspace, backend->workspace) == 0)
		return backend_ref(lane->outline);
	if (backend_outline(&outline, backend) < 0)
		return NULL;
	backend_free(lane->outline);
	lane->outline = outline;
	return backend_ref(outline);
}

bool scheduler_reduce(struct lane *lane, struct job *job)
{
	struct backend *outline = outline_for(lane, job->backend);

	if (!outline)
		return false;
	job_reduce(job, outline);
	return true;
}

/* Has nothing begun for it? */
static bool only_waits(const struct job *job)
{
	return job->status == JOB_QUEUED && !job->is_undecided && !job->runner_pid && !job->unit &&
	       !job->preflight;
}

void scheduler_consider(struct job *job)
{
	job->is_considered = true;
	if (job->is_in_vault && only_waits(job))
		job->is_dozing = scheduler_reduce(lane_of(job->line), job);
}

void scheduler_doze(struct scheduler *scheduler)
{
	struct job *job;

	/* In the order of their acceptance, which is also that of their writes. */
	TAILQ_FOREACH_REVERSE(job, &scheduler->all, job_list, in_all)
	{
		if (job->is_considered)
			return;
		if (job->submitted == 0)
			scheduler_consider(job);
	}
}

int scheduler_wake(const struct scheduler *scheduler, struct job *job)
{
	AUTO_FREE char *error = NULL;
	json_t *parameters = NULL;
	int r;

	if (!job->is_dozing)
		return 0;
	r = vault_get(scheduler->setup.vault, job->id, &parameters);
	if (r >= 0)
		r = submit_parse_again(job, parameters, &error);
	json_decref(parameters);
	if (r >= 0)
		job->is_dozing = false;
	return r;
}

void scheduler_refuse_sleeper(struct scheduler *scheduler, struct job *job, int r)
{
	scheduler_refuse_soon(scheduler, job,
			      "tfqd keeps its environment in memory, and cannot read it back (%s): "
			      "terraform was not run; queue it again",
			      r == -ENOENT    ? "it is gone"
			      : r == -EBADMSG ? "it is damaged"
					      : strerror(-r));
}
