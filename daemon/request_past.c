/* SPDX-License-Identifier: MIT */
/* What was: History, Events; and Metrics. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"
#include "daemon/job_record.h"
#include "daemon/metrics.h"
#include "daemon/request_parts.h"

/* --- jobs that are over ---------------------------------------------------------------------- */

struct search {
	const struct call *call;
	const char *state, *user;
	json_t *jobs;
	bool has_more;
};

static int on_job(const struct store_job *row, const json_t *record, void *userdata)
{
	CLEANUP(job_freep) struct job *job = NULL;
	struct search *search = userdata;

	(void)row;
	if (job_record_parse(&job, record) < 0)
		return 0; /* said at the start */
	if ((search->state && strcmp(search->state, job->backend->name) != 0) ||
	    (search->user && strcmp(search->user, job->owner.name) != 0))
		return 0;
	if (json_array_size(search->jobs) >= WIRE_LIST_PAGE) {
		search->has_more = true;
		return 1;
	}
	return json_array_append_new(search->jobs, request_json_of(search->call->context, job)) < 0
		       ? -ENOMEM
		       : 0;
}

static uint64_t number(const struct call *call, const char *name)
{
	const json_int_t value = json_integer_value(json_object_get(call->parameters, name));

	return value > 0 ? (uint64_t)value : 0;
}

void request_history(const struct call *call)
{
	const struct store_span span = {
		.before = number(call, "before"),
		.since_usec = number(call, "since"),
		.until_usec = number(call, "until"),
	};
	struct search search = {
		.call = call,
		.state = json_string_value(json_object_get(call->parameters, "state")),
		.user = json_string_value(json_object_get(call->parameters, "user")),
		.jobs = json_array(),
	};
	const int r = store_read_over(call->context->store, &span, on_job, &search);

	if (r < 0) {
		json_decref(search.jobs);
		peer_send_error(call->peer, WIRE_E_INTERNAL, "the history cannot be read: %s",
				strerror(-r));
		return;
	}
	request_reply(call, json_pack("{s:o, s:b}", "jobs", search.jobs, "more", search.has_more));
}

/* --- events ---------------------------------------------------------------------------------- */

struct telling {
	struct request_context *context;
	json_t *events;
	uint64_t last;
};

static void add_job(struct telling *telling, json_t *object, uint64_t id)
{
	const struct scheduler *scheduler = telling->context->scheduler;
	const struct job *known = scheduler_find(scheduler, id);
	CLEANUP(job_freep) struct job *past = known ? NULL : scheduler_recall(scheduler, id);
	const struct job *job = known ? known : past;

	(void)json_object_set_new(object, "job", json_integer((json_int_t)id));
	if (job)
		(void)json_object_set_new(object, "state", json_string(job->backend->name));
}

static int on_event(const struct store_event *event, void *userdata)
{
	struct telling *telling = userdata;
	json_t *object = json_pack("{s:I, s:I, s:s}", "id", (json_int_t)event->id, "at",
				   (json_int_t)event->at_usec, "kind", event->kind);

	if (!object)
		return -ENOMEM;
	if (event->job > 0)
		add_job(telling, object, event->job);
	if (event->by != (uid_t)-1) {
		AUTO_FREE char *name =
			telling->context->user_name(event->by, telling->context->userdata);

		(void)json_object_set_new(object, "uid", json_integer((json_int_t)event->by));
		(void)json_object_set_new(object, "user", json_string(name ? name : "?"));
	}
	if (*event->text)
		(void)json_object_set_new(object, "text", json_string(event->text));
	telling->last = event->id;
	if (json_array_append_new(telling->events, object) < 0)
		return -ENOMEM;
	return json_array_size(telling->events) >= WIRE_LIST_PAGE ? 1 : 0;
}

/* Those after what @peer has heard, a page of them. @always: also if there is none. Return: may
 * there be more? */
static bool tell(struct request_context *context, struct peer *peer, bool goes_on, bool always)
{
	size_t count;

	struct telling telling = { .context = context,
				   .events = json_array(),
				   .last = peer->heard };
	const int r = store_read_events(context->store, peer->heard, on_event, &telling);

	count = json_array_size(telling.events);
	if (r < 0 || (!always && count == 0)) {
		json_decref(telling.events);
		if (r < 0 && always)
			peer_send_error(peer, WIRE_E_INTERNAL, "the audit cannot be read: %s",
					strerror(-r));
		return false;
	}
	peer->heard = telling.last;
	(void)peer_send(peer, varlink_reply(json_pack("{s:o}", "events", telling.events), goes_on),
			NULL, 0);
	return goes_on && count >= WIRE_LIST_PAGE;
}

void request_events(const struct call *call)
{
	const json_t *newest = json_object_get(call->parameters, "newest");
	struct peer *peer = call->peer;
	uint64_t last = 0;

	peer->heard = number(call, "after");
	if (json_is_integer(newest)) {
		(void)store_read_last_event(call->context->store, &last);
		peer->heard = number(call, "newest") < last ? last - number(call, "newest") : 0;
	}
	if (call->more) {
		peer->is_listening = true;
		LIST_INSERT_HEAD(&call->context->listeners, peer, listening);
	}
	if (tell(call->context, peer, call->more, true))
		while (tell(call->context, peer, true, false))
			;
}

void request_tell_events(struct request_context *context)
{
	struct peer *peer, *next;

	for (peer = LIST_FIRST(&context->listeners); peer; peer = next) {
		next = LIST_NEXT(peer, listening);
		while (tell(context, peer, true, false))
			;
	}
}

void request_stop_listening(struct peer *peer)
{
	if (!peer->is_listening)
		return;
	LIST_REMOVE(peer, listening);
	peer->is_listening = false;
}

/* --- metrics --------------------------------------------------------------------------------- */

void request_metrics(const struct call *call)
{
	const struct scheduler *scheduler = call->context->scheduler;
	AUTO_FREE char *text = metrics_text(scheduler_queue(scheduler), scheduler_jobs(scheduler));

	request_reply(call, text ? json_pack("{s:s}", "text", text) : NULL);
}
