/* SPDX-License-Identifier: MIT */
/* Who wants to see what a job prints: Attach, Logs. Output may hold secrets: it is its owner's and
 * the operators' alone. */
#include <errno.h>
#include <inttypes.h>

#include "common/wire.h"
#include "daemon/job_files.h"
#include "daemon/request_parts.h"
#include "daemon/submit.h"

static bool may_see(const struct call *call, const struct job *job)
{
	if (access_may_touch(call->roles, &call->peer->owner, &job->owner))
		return true;
	request_refuse(call, job,
		       "job %" PRIu64 " is %s's; only they or an operator may see its output",
		       job->id, job->owner.name);
	return false;
}

/* Return: 0, or a negative errno after the error was sent. */
static int take_viewer(const struct call *call, struct job *job)
{
	const json_t *offset = json_object_get(call->parameters, "offset");
	struct varlink *fds = call->peer->varlink;
	int r = 0;

	if (offset && (!json_is_integer(offset) || json_integer_value(offset) < 0)) {
		peer_send_error(call->peer, WIRE_E_BAD_REQUEST, "offset is a number of bytes");
		return -EBADMSG;
	}
	r = submit_take_socket(fds);
	if (r >= 0) {
		r = scheduler_attach(call->context->scheduler, job, r,
				     (uint64_t)json_integer_value(offset),
				     json_is_true(json_object_get(call->parameters, "input")));
	}
	if (r == -EMFILE) {
		peer_send_error(call->peer, WIRE_E_FULL, "%d viewers wait for that job already",
				JOB_VIEWERS_MAX);
	} else if (r == -EDQUOT) {
		peer_send_error(
			call->peer, WIRE_E_FULL,
			"twice as many viewers wait for jobs of that user as jobs of theirs "
			"may be queued ([queue] max_queued_per_user)");
	} else if (r < 0) {
		peer_send_error(call->peer, WIRE_E_BAD_REQUEST,
				"attach is set, but no AF_UNIX socket came");
	}
	return r;
}

/* A client that lost us, and comes back to a job that has not begun. Return: as above. */
static int take_stdin(const struct call *call, struct job *job)
{
	const bool is_owner = call->peer->owner.uid == job->owner.uid;

	if (!is_owner || job_status_is_running(job->status))
		return 0;
	if (submit_take_stdin(job, call->peer->varlink, NULL) >= 0) {
		scheduler_await_no_more(call->context->scheduler, job);
		return 0;
	}
	peer_send_error(call->peer, WIRE_E_BAD_REQUEST, "stdin is set, but no descriptor came");
	return -EBADMSG;
}

void request_attach(const struct call *call)
{
	CLEANUP(job_freep) struct job *past = NULL;
	const struct job *known = request_find_past(call, "id", &past);
	const bool sees = json_is_true(json_object_get(call->parameters, "attach"));
	struct job *job;

	if (!known || (sees && !may_see(call, known)))
		return;
	job = past ? past : scheduler_find(call->context->scheduler, known->id);
	if (!job_status_is_final(job->status)) {
		if (sees && take_viewer(call, job) < 0)
			return;
		if (json_is_true(json_object_get(call->parameters, "stdin")) &&
		    take_stdin(call, job) < 0)
			return;
		if (sees && call->peer->owner.uid != job->owner.uid) {
			scheduler_audit(call->context->scheduler, "attach", job,
					call->peer->owner.uid, "");
		}
	}
	if (call->more && !job_status_is_final(job->status) && peer_watch(call->peer, job) >= 0) {
		(void)peer_send(call->peer,
				varlink_reply(json_pack("{s:o}", "job",
							request_json_of(call->context, job)),
					      true),
				NULL, 0);
		return;
	}
	request_reply(call, json_pack("{s:o}", "job", request_json_of(call->context, job)));
}

void request_logs(const struct call *call)
{
	AUTO_CLOSE int fd = -1;
	CLEANUP(job_freep) struct job *past = NULL;
	const struct job *job = request_find_past(call, "id", &past);
	json_t *parameters;

	if (!job || !may_see(call, job))
		return;
	fd = job_files_open_recording(call->context->jobs_dir, job->id);
	if (fd < 0 && fd != -ENOENT) {
		peer_send_error(call->peer, WIRE_E_INTERNAL,
				"the recording of job %" PRIu64 " cannot be opened: %s", job->id,
				strerror(-fd));
		return;
	}
	if (call->peer->owner.uid != job->owner.uid)
		scheduler_audit(call->context->scheduler, "logs", job, call->peer->owner.uid, "");
	parameters = json_pack("{s:o, s:b}", "job", request_json_of(call->context, job),
			       "has_output", fd >= 0);
	(void)peer_send(call->peer, parameters ? varlink_reply(parameters, false) : NULL, &fd,
			fd >= 0 ? 1 : 0);
}
