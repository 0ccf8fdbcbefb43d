/* SPDX-License-Identifier: MIT */
/* Answers that wait for the disk: nobody is told of what a crash might undo. */
#include <stdlib.h>

#include "common/wire.h"
#include "daemon/request_parts.h"

struct request_waiting {
	TAILQ_ENTRY(request_waiting) link; /* request_context::waiting, numbers ascend */
	uint64_t number;                   /* of the write (store.h) */
	struct peer *peer;
	struct job *job; /* that was submitted; NULL: another answer */
	bool more;       /* he wants to hear of every change */
	json_t *reply;   /* of another answer: the parameters */
};

static void drop(struct request_context *context, struct request_waiting *waiting)
{
	TAILQ_REMOVE(&context->waiting, waiting, link);
	json_decref(waiting->reply);
	free(waiting);
}

/* Return: NULL when out of memory; then that was answered. */
static struct request_waiting *add(const struct call *call)
{
	struct request_waiting *waiting = calloc(1, sizeof(*waiting));

	if (!waiting) {
		peer_send_error(call->peer, WIRE_E_INTERNAL, "out of memory");
		return NULL;
	}
	waiting->peer = call->peer;
	waiting->more = call->more;
	waiting->number = store_noted(call->context->store);
	store_hurry(call->context->store);
	peer_pause(call->peer);
	TAILQ_INSERT_TAIL(&call->context->waiting, waiting, link);
	return waiting;
}

void request_accept_later(const struct call *call, struct job *job)
{
	struct request_waiting *waiting = add(call);

	if (waiting)
		waiting->job = job;
}

void request_reply_later(const struct call *call, json_t *parameters)
{
	struct request_waiting *waiting;

	if (store_committed(call->context->store) == store_noted(call->context->store)) {
		request_reply(call, parameters);
		return;
	}
	waiting = add(call);
	if (waiting)
		waiting->reply = parameters;
	else
		json_decref(parameters);
}

void request_forget_waiting(struct request_context *context, struct peer *peer)
{
	struct request_waiting *waiting = peer->is_waiting ? TAILQ_FIRST(&context->waiting) : NULL;

	while (waiting && waiting->peer != peer)
		waiting = TAILQ_NEXT(waiting, link);
	if (waiting)
		drop(context, waiting);
}

static void answer(const struct request_context *context, const struct request_waiting *waiting)
{
	struct peer *peer = waiting->peer;
	const bool goes_on = waiting->job && waiting->more &&
			     !job_status_is_final(waiting->job->status) &&
			     peer_watch(peer, waiting->job) >= 0;
	json_t *parameters =
		waiting->job ? json_pack("{s:o}", "job", request_json_of(context, waiting->job))
			     : json_incref(waiting->reply);

	(void)peer_send(peer, parameters ? varlink_reply(parameters, goes_on) : NULL, NULL, 0);
}

void request_kept(struct request_context *context, uint64_t number)
{
	struct request_waiting *waiting;

	while ((waiting = TAILQ_FIRST(&context->waiting)) && waiting->number <= number) {
		struct peer *peer = waiting->peer;

		answer(context, waiting);
		drop(context, waiting);
		peer_resume(peer);
	}
	request_tell_events(context);
}

void request_unkept(struct request_context *context, uint64_t number, const char *why)
{
	struct request_waiting *waiting;

	while ((waiting = TAILQ_FIRST(&context->waiting)) && waiting->number <= number) {
		struct peer *peer = waiting->peer;

		if (waiting->job)
			peer_send_error(waiting->peer, WIRE_E_INTERNAL, "%s", why);
		else
			answer(context, waiting); /* it is done, although not for after a crash */
		drop(context, waiting);
		peer_resume(peer);
	}
}
