/* SPDX-License-Identifier: MIT */
/* The methods about locks that somebody else holds: Who, Unlock. */
#include <errno.h>

#include "common/wire.h"
#include "daemon/inquiry.h"
#include "daemon/request_parts.h"
#include "daemon/submit.h"

static void on_answer(json_t *answer, const char *error, void *userdata)
{
	struct peer *peer = userdata;
	CLEANUP(inquiry_freep) struct inquiry *inquiry = TAKE_PTR(peer->inquiry); /* has @error */

	if (answer)
		(void)peer_send(peer, varlink_reply(answer, false), NULL, 0);
	else
		peer_send_error(peer, WIRE_E_BAD_STATE, "cannot tell who holds the lock: %s",
				error);
}

static void ask_stores(const struct call *call)
{
	AUTO_FREE char *error = NULL;
	struct job *job = NULL;
	int r;

	r = submit_parse_state(&job, call->parameters, call->peer, call->context->config, &error);
	if (r >= 0)
		r = inquiry_new(&call->peer->inquiry, call->context->scheduler, job, on_answer,
				call->peer);
	if (r < 0)
		request_refuse_submit(call, r, error);
}

void request_who(const struct call *call)
{
	const char *state = json_string_value(json_object_get(call->parameters, "state"));
	json_t *answer;

	if (!state) {
		if (call->roles & ACCESS_SUBMIT)
			ask_stores(call);
		else
			request_refuse(call, NULL,
				       "only who may queue jobs may have tfqd ask a store");
		return;
	}
	answer = inquiry_known(call->context->scheduler, state);
	if (answer)
		(void)peer_send(call->peer, varlink_reply(answer, false), NULL, 0);
	else {
		peer_send_error(call->peer, WIRE_E_NO_SUCH_STATE,
				"nothing is queued on '%s'; 'tfq who' without a name asks for the "
				"state of the directory it is called in",
				state);
	}
}

void request_unlock(const struct call *call)
{
	const char *state = json_string_value(json_object_get(call->parameters, "state"));
	const char *id = json_string_value(json_object_get(call->parameters, "id"));
	const int r = state && id ? scheduler_unlock(call->context->scheduler, state, id,
						     call->peer->owner.name)
				  : -EBADMSG;

	switch (r) {
	case -EBADMSG:
		peer_send_error(call->peer, WIRE_E_BAD_REQUEST, "state or id is missing");
		return;
	case -ENOENT:
		peer_send_error(
			call->peer, WIRE_E_NO_SUCH_STATE,
			"no job of this tfqd waits for a lock of '%s' that somebody else "
			"holds; in the directory of that state, use: terraform force-unlock %s",
			state, id);
		return;
	case -EBUSY:
		peer_send_error(
			call->peer, WIRE_E_BUSY,
			"a job of this tfqd holds it: cancel that one, or, if it is lost, use "
			"tfq resume '%s'",
			state);
		return;
	case -ESTALE:
		peer_send_error(call->peer, WIRE_E_NO_SUCH_STATE,
				"the lock of '%s' has another ID by now: see tfq who '%s'", state,
				state);
		return;
	default:
		scheduler_audit(call->context->scheduler, "unlock", NULL, call->peer->owner.uid,
				id);
		request_reply_later(call, json_pack("{s:s, s:s}", "state", state, "id", id));
	}
}
