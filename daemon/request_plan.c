/* SPDX-License-Identifier: MIT */
/* What changes whose turn comes: Pause, Resume, Up. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/wire.h"
#include "daemon/request_parts.h"

/* Of all lines, if the call names none. Return: false if the call makes no sense; that is said. */
static bool take_state(const struct call *call, const char **ret)
{
	const json_t *state = json_object_get(call->parameters, "state");

	*ret = json_string_value(state);
	if (*ret || !state || json_is_null(state))
		return true;
	peer_send_error(call->peer, WIRE_E_BAD_REQUEST, "state is no string");
	return false;
}

void request_pause(const struct call *call)
{
	const char *reason = json_string_value(json_object_get(call->parameters, "reason"));
	const char *state;
	int r;

	if (!take_state(call, &state))
		return;
	if (reason && strlen(reason) > WIRE_TEXT_MAX) {
		peer_send_error(call->peer, WIRE_E_BAD_REQUEST, "reason is over %d bytes",
				WIRE_TEXT_MAX);
		return;
	}
	r = scheduler_pause(call->context->scheduler, state, reason, &call->peer->owner);
	if (r == -ENOENT) {
		peer_send_error(call->peer, WIRE_E_NO_SUCH_STATE,
				"no job of '%s' is known; without a name everything is paused",
				state);
		return;
	}
	if (r < 0) {
		peer_send_error(call->peer, WIRE_E_INTERNAL, "%s", strerror(-r));
		return;
	}
	scheduler_audit(call->context->scheduler, "pause", NULL, call->peer->owner.uid,
			state ? state : "everything");
	request_reply_later(call, json_pack("{s:s?}", "state", state));
}

void request_resume(const struct call *call)
{
	const char *state;
	int r;

	if (!take_state(call, &state))
		return;
	r = scheduler_resume(call->context->scheduler, state);
	if (r == -ENOENT) {
		peer_send_error(call->peer, WIRE_E_NO_SUCH_STATE,
				"nothing is queued on that state");
	} else if (r == -EBUSY) {
		peer_send_error(
			call->peer, WIRE_E_BUSY,
			"processes of the lost job still live, and may write the state; end them "
			"first, then resume");
	} else if (r == -EALREADY) {
		peer_send_error(call->peer, WIRE_E_NO_SUCH_STATE, "%s",
				state ? "that queue does not stand still"
				      : "not everything is paused; a state that stands still is "
					"resumed by its name");
	} else {
		scheduler_audit(call->context->scheduler, "resume", NULL, call->peer->owner.uid,
				state ? state : "everything");
		request_reply_later(call, json_pack("{s:s?}", "state", state));
	}
}

void request_up(const struct call *call)
{
	const bool is_operator = call->roles & ACCESS_OPERATE;
	struct job *job = request_find_job(call, "id");
	int r;

	if (!job)
		return;
	if (!access_may_touch(call->roles, &call->peer->owner, &job->owner)) {
		request_refuse(call, job,
			       "job %" PRIu64 " is %s's; only operators move other people's",
			       job->id, job->owner.name);
		return;
	}
	r = scheduler_move_up(call->context->scheduler, job, !is_operator);
	if (r == -ESRCH || r == -ERANGE) {
		peer_send_error(call->peer, WIRE_E_BUSY,
				r == -ESRCH ? "job %" PRIu64 " does not wait in a queue"
					    : "job %" PRIu64 " cannot be moved: there was too much "
					      "moving before it",
				job->id);
		return;
	}
	if (r >= 0)
		scheduler_audit(call->context->scheduler, "up", job, call->peer->owner.uid, "");
	request_reply_later(call, json_pack("{s:o}", "job", request_json_of(call->context, job)));
}
