/* SPDX-License-Identifier: MIT */
#include "daemon/inquiry.h"

#include <errno.h>
#include <string.h>

#include "daemon/job_json.h"
#include "daemon/preflight.h"

struct inquiry {
	struct scheduler *scheduler;
	struct job *job;
	struct preflight *preflight;
	struct lock_claim claim; /* for its stores alone */
	sd_event_source *begin;  /* NULL: the preflight is under way, and calls */
	inquiry_done_fn done;
	void *userdata;
	json_t *locks;
	int kind; /* asked now */
};

static void finish(struct inquiry *inquiry, const char *error)
{
	json_t *answer = NULL;

	if (!error) {
		const struct line *line = queue_find_line(scheduler_queue(inquiry->scheduler),
							  inquiry->job->backend->identity);
		const struct job *active = line ? line->active : NULL;

		answer = json_pack("{s:s, s:O}", "state", inquiry->job->backend->name, "locks",
				   inquiry->locks);
		if (answer && active && job_is_locked_by_us(active) && active->lock_id[0])
			(void)json_object_set_new(answer, "job",
						  job_json(active, scheduler_lock(line)));
		error = answer ? NULL : "out of memory";
	}
	inquiry->done(answer, error, inquiry->userdata);
}

static const char *kind_name(int kind)
{
	return kind == LOCK_S3 ? "lock file in S3" : "item in DynamoDB";
}

static void ask(struct inquiry *inquiry);

static void on_read(const struct lease_answer *answer, const struct lockinfo_seen *seen,
		    const char *error, void *userdata)
{
	struct inquiry *inquiry = userdata;
	json_t *lock;

	if (answer->result != LEASE_R_DONE && answer->result != LEASE_R_ABSENT) {
		finish(inquiry, error ? error : "the store gave no answer that makes sense");
		return;
	}
	lock = json_pack("{s:s}", "kind", kind_name(inquiry->kind));
	if (lock && seen)
		(void)json_object_set_new(lock, "holder", holder_json(seen));
	else if (lock && answer->result == LEASE_R_DONE) {
		(void)json_object_set_new(lock, "message",
					  json_string(
						  error ? error
							: "there is something that is no lock"));
	}
	(void)json_array_append_new(inquiry->locks, lock);
	inquiry->kind++;
	ask(inquiry);
}

static void ask(struct inquiry *inquiry)
{
	const struct lease_request request = { .op = LEASE_READ };
	struct lock_store *store = NULL;

	while (inquiry->kind < LOCK_KIND_COUNT && !(store = inquiry->claim.stores[inquiry->kind]))
		inquiry->kind++;
	if (!store)
		finish(inquiry, NULL);
	else if (store->ops->send(store, &request, NULL, on_read, inquiry) < 0)
		finish(inquiry, "out of memory");
}

static void on_preflight(struct preflight *preflight, void *userdata)
{
	struct inquiry *inquiry = userdata;

	if (preflight_state(preflight) != PREFLIGHT_READY) {
		finish(inquiry, preflight_why(preflight));
		return;
	}
	preflight_give(preflight, &inquiry->claim);
	ask(inquiry);
}

static int on_begin(sd_event_source *source, void *userdata)
{
	struct inquiry *inquiry = userdata;

	(void)source;
	if (inquiry->job->why_child)
		finish(inquiry, inquiry->job->why_child);
	else
		on_preflight(inquiry->preflight, inquiry);
	return 0;
}

int inquiry_new(struct inquiry **ret, struct scheduler *scheduler, struct job *job,
		inquiry_done_fn done, void *userdata)
{
	CLEANUP(inquiry_freep) struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
	int r = 0;

	if (!inquiry) {
		job_free(job);
		return -ENOMEM;
	}
	inquiry->scheduler = scheduler;
	inquiry->job = job;
	inquiry->done = done;
	inquiry->userdata = userdata;
	inquiry->locks = json_array();
	if (!job->why_child)
		r = preflight_new(&inquiry->preflight, scheduler_setup_of(scheduler), job, 0,
				  on_preflight, inquiry);
	/* What is under way calls us: begun by both, it would give its stores away twice. */
	if (r >= 0 &&
	    (job->why_child || preflight_state(inquiry->preflight) != PREFLIGHT_UNDER_WAY))
		r = sd_event_add_defer(scheduler_setup_of(scheduler)->event, &inquiry->begin,
				       on_begin, inquiry);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(inquiry);
	return 0;
}

struct inquiry *inquiry_free(struct inquiry *inquiry)
{
	if (!inquiry)
		return NULL;
	sd_event_source_disable_unref(inquiry->begin);
	preflight_free(inquiry->preflight);
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		lock_store_free(inquiry->claim.stores[i]);
	job_free(inquiry->job);
	json_decref(inquiry->locks);
	free(inquiry);
	return NULL;
}

json_t *inquiry_known(const struct scheduler *scheduler, const char *state)
{
	const struct line *line = queue_find_line(scheduler_queue(scheduler), state);
	const struct lock *lock = scheduler_lock(line);
	json_t *answer;

	if (!line)
		return NULL;
	answer = json_pack("{s:s, s:[]}", "state", line->name, "locks");
	if (answer && lock && lock_holder(lock))
		(void)json_array_append_new(json_object_get(answer, "locks"),
					    json_pack("{s:o}", "holder", holder_json_of(lock)));
	if (answer && line->active)
		(void)json_object_set_new(answer, "job", job_json(line->active, lock));
	if (answer && line->hold_reason)
		(void)json_object_set_new(answer, "message", json_string(line->hold_reason));
	return answer;
}
