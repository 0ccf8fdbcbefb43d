/* SPDX-License-Identifier: MIT */
/* When whose turn comes: pauses, places that are changed by hand, and what is to be expected. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "daemon/journal.h"
#include "daemon/scheduler_parts.h"

#define ESTIMATE_USEC USEC_PER_SEC /* one is good for so long */
#define KINDS_MAX     8            /* subcommands in one line */

/* --- pauses ---------------------------------------------------------------------------------- */

static char *make_reason(const char *reason, const struct job_owner *by)
{
	char *text = NULL;

	if (asprintf(&text, "paused by %s%s%s", by->name, reason ? ": " : "",
		     reason ? reason : "") < 0)
		return NULL;
	(void)text_printable(text, strlen(text) + 1, text);
	return text;
}

/* A line without jobs: known by what has run there. */
static struct line *find_line(struct scheduler *scheduler, const char *state)
{
	struct line *line = queue_find_line(scheduler->queue, state);
	const struct job *job;

	if (line)
		return line;
	TAILQ_FOREACH_REVERSE(job, &scheduler->all, job_list, in_all)
	if (strcmp(job->backend->name, state) == 0 || strcmp(job->backend->identity, state) == 0)
		break;
	if (job)
		line = queue_line(scheduler->queue, job->backend->identity, job->backend->name);
	if (line && !line->data && !lane_new(scheduler, line)) {
		queue_drop_line(scheduler->queue, line);
		return NULL;
	}
	return line;
}

int scheduler_pause(struct scheduler *scheduler, const char *state, const char *reason,
		    const struct job_owner *by)
{
	AUTO_FREE char *text = make_reason(reason, by);
	struct line *line;

	if (!text)
		return -ENOMEM;
	if (!state) {
		journal_tell(JOURNAL_PAUSED, NULL, "Nothing new is begun: %s", text);
		free(scheduler->pause_reason);
		scheduler->pause_reason = TAKE_PTR(text);
		queue_pause(scheduler->queue, true);
		scheduler_note_pause(scheduler);
		for (line = queue_first_line(scheduler->queue); line; line = TAILQ_NEXT(line, link))
			line->is_dirty = true;
		scheduler_pump_soon(scheduler);
		return 0;
	}
	line = find_line(scheduler, state);
	if (!line)
		return -ENOENT;
	journal_tell(JOURNAL_PAUSED, &(struct journal_about){ .state = line->name },
		     "Nothing new is begun on %s: %s", line->name, text);
	free(line->pause_reason);
	line->pause_reason = TAKE_PTR(text);
	line->is_dirty = true;
	scheduler_note_line(scheduler, line);
	scheduler_pump_soon(scheduler);
	return 0;
}

const char *scheduler_pause_reason(const struct scheduler *scheduler)
{
	return scheduler->pause_reason;
}

int scheduler_unpause(struct scheduler *scheduler)
{
	struct line *line;

	if (!scheduler->pause_reason)
		return -EALREADY;
	journal_tell(JOURNAL_GOES_ON, NULL, "What was paused goes on");
	free(scheduler->pause_reason);
	scheduler->pause_reason = NULL;
	queue_pause(scheduler->queue, false);
	scheduler_note_pause(scheduler);
	for (line = queue_first_line(scheduler->queue); line; line = TAILQ_NEXT(line, link))
		line->is_dirty = true;
	scheduler_pump_soon(scheduler);
	return 0;
}

/* --- places ----------------------------------------------------------------------------------- */

int scheduler_move_up(struct scheduler *scheduler, struct job *job, bool own)
{
	int r;

	if (job->status != JOB_QUEUED || !job->line || job->is_undecided)
		return -ESRCH;
	r = queue_move_up(job, own);
	if (r < 0)
		return r;
	(void)scheduler_note(scheduler, job);
	scheduler_pump_soon(scheduler);
	return 0;
}

void scheduler_supersede(struct scheduler *scheduler, const struct job *job)
{
	struct line *line = job->line;

	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++) {
		struct job *old = TAILQ_FIRST(&line->waiting[i]);

		while (old) {
			struct job *next = TAILQ_NEXT(old, in_line);

			if (old != job && old->owner.uid == job->owner.uid && !old->is_undecided &&
			    old->status == JOB_QUEUED &&
			    strcmp(old->subcommand, job->subcommand) == 0) {
				job_set_message(old, "superseded by #%" PRIu64, job->id);
				scheduler_step(scheduler, old, JOB_EV_SUPERSEDE);
			}
			old = next;
		}
	}
}

/* --- what is to be expected ------------------------------------------------------------------ */

struct kinds {
	size_t count;
	struct {
		const char *subcommand;
		uint64_t usec;
	} known[KINDS_MAX];
};

static uint64_t usual_of(const struct scheduler *scheduler, struct kinds *kinds,
			 const struct job *job)
{
	for (size_t i = 0; i < kinds->count; i++)
		if (strcmp(kinds->known[i].subcommand, job->subcommand) == 0)
			return kinds->known[i].usec;
	if (kinds->count == KINDS_MAX)
		return 0;
	kinds->known[kinds->count].subcommand = job->subcommand;
	kinds->known[kinds->count].usec = scheduler_usual(scheduler, job);
	return kinds->known[kinds->count++].usec;
}

/* When @active will have ended; 0: nobody knows. */
static uint64_t end_of(const struct job *active, uint64_t now)
{
	const uint64_t due = active->started_usec + active->usual_usec;

	if (active->usual_usec == 0 || active->started_usec == 0)
		return 0;
	return due > now ? due : now;
}

void scheduler_estimate(struct scheduler *scheduler, struct line *line)
{
	const uint64_t now = clock_usec(CLOCK_REALTIME);
	struct lane *lane = lane_of(line);
	struct kinds kinds = { 0 };
	uint64_t at = now;
	struct job *job;

	if (lane->estimated_usec > 0 && now - lane->estimated_usec < ESTIMATE_USEC &&
	    line->is_numbered)
		return;
	lane->estimated_usec = now;
	if (line->active) {
		line->active->usual_usec = usual_of(scheduler, &kinds, line->active);
		line->active->eta_usec = 0;
		at = end_of(line->active, now);
	}
	if (line->hold_reason || line->pause_reason || scheduler->pause_reason)
		at = 0;
	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++) {
		TAILQ_FOREACH(job, &line->waiting[i], in_line)
		{
			job->usual_usec = usual_of(scheduler, &kinds, job);
			job->eta_usec = at;
			at = at > 0 && job->usual_usec > 0 ? at + job->usual_usec : 0;
		}
	}
}

/* --- the configuration ----------------------------------------------------------------------- */

struct queue_limits scheduler_limits(const struct config *config)
{
	return (struct queue_limits){
		.max_running = config->max_running,
		.max_running_per_user = config->max_running_per_user,
		.max_queued = config->max_queued,
		.max_queued_per_user = config->max_queued_per_user,
	};
}

void scheduler_reconfigure(struct scheduler *scheduler)
{
	const struct queue_limits limits = scheduler_limits(scheduler->setup.config);

	queue_set_limits(scheduler->queue, &limits);
	scheduler_expire_soon(scheduler);
	scheduler_pump_soon(scheduler);
}
