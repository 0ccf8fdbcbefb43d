/* SPDX-License-Identifier: MIT */
#include "daemon/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256 /* lists of users; a bastion has tens */

/* How much of the queue is one user's. */
struct user {
	uid_t uid;
	uint64_t waiting, active;
	size_t secret_bytes; /* of those */
	LIST_ENTRY(user) link;
};

struct queue {
	struct queue_limits limits;
	TAILQ_HEAD(, line) lines;
	LIST_HEAD(, user) users[BUCKETS];
	uint64_t waiting_count, active_count, line_count;
	bool is_paused;
};

static void touch(struct line *line)
{
	line->is_dirty = true;
	line->is_numbered = false;
}

int queue_new(struct queue **ret, const struct queue_limits *limits)
{
	struct queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	queue->limits = *limits;
	TAILQ_INIT(&queue->lines);
	*ret = queue;
	return 0;
}

void queue_set_limits(struct queue *queue, const struct queue_limits *limits)
{
	queue->limits = *limits;
}

struct queue *queue_free(struct queue *queue)
{
	if (!queue)
		return NULL;

	assert(TAILQ_EMPTY(&queue->lines));

	for (size_t i = 0; i < BUCKETS; i++) {
		struct user *user;

		while ((user = LIST_FIRST(&queue->users[i]))) {
			LIST_REMOVE(user, link);
			free(user);
		}
	}
	free(queue);
	return NULL;
}

/* @make: also if there is nothing of that user yet. Return: NULL for none, or out of memory. */
static struct user *find_user(const struct queue *queue, uid_t uid)
{
	struct user *user;

	LIST_FOREACH(user, &queue->users[uid % BUCKETS], link)
	if (user->uid == uid)
		return user;
	return NULL;
}

static struct user *make_user(struct queue *queue, uid_t uid)
{
	struct user *user = find_user(queue, uid);

	if (user)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	LIST_INSERT_HEAD(&queue->users[uid % BUCKETS], user, link);
	return user;
}

static struct line *find_identity(const struct queue *queue, const char *identity)
{
	struct line *line;

	TAILQ_FOREACH(line, &queue->lines, link)
	if (strcmp(line->identity, identity) == 0)
		return line;
	return NULL;
}

struct line *queue_find_line(const struct queue *queue, const char *name)
{
	struct line *line;

	TAILQ_FOREACH(line, &queue->lines, link)
	if (strcmp(line->name, name) == 0)
		return line;
	return find_identity(queue, name);
}

struct line *queue_line(struct queue *queue, const char *identity, const char *name)
{
	struct line *line = find_identity(queue, identity);

	if (line)
		return line;
	line = calloc(1, sizeof(*line));
	if (!line)
		return NULL;
	line->identity = strdup(identity);
	line->name = strdup(name);
	if (!line->identity || !line->name) {
		free(line->identity);
		free(line->name);
		free(line);
		return NULL;
	}
	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++)
		TAILQ_INIT(&line->waiting[i]);
	TAILQ_INSERT_TAIL(&queue->lines, line, link);
	queue->line_count++;
	return line;
}

void queue_drop_line(struct queue *queue, struct line *line)
{
	assert(line->waiting_count == 0 && !line->active);

	TAILQ_REMOVE(&queue->lines, line, link);
	queue->line_count--;
	free(line->identity);
	free(line->name);
	free(line->hold_reason);
	free(line->pause_reason);
	free(line);
}

int queue_add(struct queue *queue, struct job *job, uint64_t max_in_line)
{
	struct user *user = make_user(queue, job->owner.uid);
	struct line *line;

	if (!user)
		return -ENOMEM;
	if (queue->waiting_count >= queue->limits.max_queued)
		return -ENOSPC;
	if (user->waiting >= queue->limits.max_queued_per_user)
		return -EDQUOT;
	line = queue_line(queue, job->backend->identity, job->backend->name);
	if (!line)
		return -ENOMEM;
	if (max_in_line > 0 && line->waiting_count >= max_in_line)
		return -ENOSPC; /* then the line was not empty: it is not left behind */

	job->line = line;
	job->rank = JOB_RANK(job->id);
	TAILQ_INSERT_TAIL(&line->waiting[job->priority], job, in_line);
	line->waiting_count++;
	touch(line);
	queue->waiting_count++;
	user->waiting++;
	user->secret_bytes += job->secret_bytes;
	return 0;
}

int queue_move_up(struct job *job, bool own)
{
	struct job_list *waiting = &job->line->waiting[job->priority];
	struct job *target = TAILQ_FIRST(waiting), *before;
	int64_t low;

	while (own && target->owner.uid != job->owner.uid)
		target = TAILQ_NEXT(target, in_line); /* itself, if no other */
	if (target == job)
		return -EALREADY;
	before = TAILQ_PREV(target, job_list, in_line);
	low = before ? before->rank : target->rank - JOB_RANK(1);
	if (target->rank - low < 2)
		return -ERANGE;
	TAILQ_REMOVE(waiting, job, in_line);
	job->rank = before ? low + (target->rank - low) / 2 : target->rank - 1;
	TAILQ_INSERT_BEFORE(target, job, in_line);
	touch(job->line);
	return 0;
}

void queue_pause(struct queue *queue, bool is_paused)
{
	queue->is_paused = is_paused;
}

bool queue_is_paused(const struct queue *queue)
{
	return queue->is_paused;
}

/* At the place that its rank says. */
static void insert(struct line *line, struct job *job)
{
	struct job_list *waiting = &line->waiting[job->priority];
	struct job *before;

	TAILQ_FOREACH_REVERSE(before, waiting, job_list, in_line)
	if (before->rank < job->rank)
		break;
	if (before)
		TAILQ_INSERT_AFTER(waiting, before, job, in_line);
	else
		TAILQ_INSERT_HEAD(waiting, job, in_line);
}

int queue_restore(struct queue *queue, struct job *job, bool is_active)
{
	struct user *user = make_user(queue, job->owner.uid);
	struct line *line = queue_line(queue, job->backend->identity, job->backend->name);
	if (!user || !line)
		return -ENOMEM;
	assert(!is_active || !line->active);
	job->line = line;
	user->secret_bytes += job->secret_bytes;
	touch(line);
	if (is_active) {
		line->active = job;
		queue->active_count++;
		user->active++;
		return 0;
	}
	insert(line, job);
	line->waiting_count++;
	queue->waiting_count++;
	user->waiting++;
	return 0;
}

static void leave_waiting(struct queue *queue, struct job *job)
{
	struct user *user = find_user(queue, job->owner.uid);

	assert(user);
	TAILQ_REMOVE(&job->line->waiting[job->priority], job, in_line);
	job->line->waiting_count--;
	touch(job->line);
	queue->waiting_count--;
	user->waiting--;
}

void queue_remove(struct queue *queue, struct job *job)
{
	struct user *user = find_user(queue, job->owner.uid);
	struct line *line = job->line;

	assert(line && user);
	if (line->active == job) {
		line->active = NULL;
		touch(line);
		queue->active_count--;
		user->active--;
	} else {
		leave_waiting(queue, job);
	}
	user->secret_bytes -= job->secret_bytes;
	job->line = NULL;
}

void queue_activate(struct queue *queue, struct job *job)
{
	struct user *user = find_user(queue, job->owner.uid);

	assert(user && !job->line->active);
	leave_waiting(queue, job);
	job->line->active = job;
	queue->active_count++;
	user->active++;
}

struct job *queue_head(const struct line *line)
{
	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++)
		if (!TAILQ_EMPTY(&line->waiting[i]))
			return TAILQ_FIRST(&line->waiting[i]);
	return NULL;
}

/* Is it on disk, and all there that it needs? */
static bool is_ready(const struct job *job)
{
	return job->submitted == 0 && !job->is_awaited;
}

/* Whose turn would it be in @line? */
static struct job *turn_of(const struct line *line)
{
	struct job *job;

	if (line->active || line->undecided > 0 || line->pause_reason)
		return NULL;
	if (!line->hold_reason) {
		job = queue_head(line);
		return job && is_ready(job) ? job : NULL;
	}
	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++) {
		TAILQ_FOREACH(job, &line->waiting[i], in_line)
		{
			if (job->passes_hold && is_ready(job))
				return job;
		}
	}
	return NULL;
}

struct job *queue_pick(const struct queue *queue)
{
	struct job *best = NULL;
	const struct line *line;

	if (queue->is_paused || queue->waiting_count == 0 ||
	    queue->active_count >= queue->limits.max_running)
		return NULL;

	TAILQ_FOREACH(line, &queue->lines, link)
	{
		struct job *head = turn_of(line);
		const struct user *user;

		if (!head || (best && best->id < head->id))
			continue;
		user = find_user(queue, head->owner.uid);
		if (user && user->active >= queue->limits.max_running_per_user)
			continue;
		best = head;
	}
	return best;
}

/* Once per change of the line, not once per job: lines may be thousands long. */
static void number(struct line *line)
{
	uint64_t position = 1;
	struct job *job;

	if (line->active)
		line->active->position = position++;
	for (size_t i = 0; i < JOB_PRIORITY_COUNT; i++)
		TAILQ_FOREACH(job, &line->waiting[i], in_line)
	job->position = position++;
	line->is_numbered = true;
}

uint64_t queue_position(const struct job *job)
{
	if (!job->line)
		return 1;
	if (!job->line->is_numbered)
		number(job->line);
	return job->position;
}

bool queue_is_full(const struct queue *queue, uid_t uid)
{
	const struct user *user = find_user(queue, uid);

	return queue->active_count >= queue->limits.max_running ||
	       (user && user->active >= queue->limits.max_running_per_user);
}

size_t queue_secret_bytes(const struct queue *queue, uid_t uid)
{
	const struct user *user = find_user(queue, uid);

	return user ? user->secret_bytes : 0;
}

struct line *queue_first_line(const struct queue *queue)
{
	return TAILQ_FIRST(&queue->lines);
}

uint64_t queue_waiting_count(const struct queue *queue)
{
	return queue->waiting_count;
}

uint64_t queue_active_count(const struct queue *queue)
{
	return queue->active_count;
}

uint64_t queue_line_count(const struct queue *queue)
{
	return queue->line_count;
}
