/* SPDX-License-Identifier: MIT */
#include "daemon/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/wire.h"
#include "daemon/inquiry.h"
#include "daemon/job_json.h"
#include "daemon/queue.h"
#include "daemon/request_parts.h"
#include "daemon/submit.h"

static void prepare_json(const struct request_context *context, const struct job *job)
{
	if (job->line)
		scheduler_estimate(context->scheduler, job->line);
}

/* What stops all lines is told of each of them. */
static void add_pause(const struct request_context *context, const struct job *job, json_t *object)
{
	const char *paused = scheduler_pause_reason(context->scheduler);

	if (!object || !paused || job->status != JOB_QUEUED)
		return;
	(void)json_object_set_new(object, "paused", json_true());
	(void)json_object_set_new(object, "message", json_string(paused));
}

static json_t *brief_json_of(const struct request_context *context, const struct job *job)
{
	json_t *object;

	prepare_json(context, job);
	object = job_json_brief(job, scheduler_lock(job->line));
	if (queue_position(job) == 1)
		add_pause(context, job, object);
	return object;
}

json_t *request_json_of(const struct request_context *context, const struct job *job)
{
	json_t *object;

	prepare_json(context, job);
	object = job_json(job, scheduler_lock(job->line));
	add_pause(context, job, object);
	return object;
}

void request_reply(const struct call *call, json_t *parameters)
{
	(void)peer_send(call->peer, parameters ? varlink_reply(parameters, false) : NULL, NULL, 0);
}

const struct job *request_find_past(const struct call *call, const char *name,
				    struct job **ret_past)
{
	const json_t *id = json_object_get(call->parameters, name);
	const struct job *job;

	if (!json_is_integer(id)) {
		peer_send_error(call->peer, WIRE_E_BAD_REQUEST, "%s is missing or no number", name);
		return NULL;
	}
	job = scheduler_find(call->context->scheduler, (uint64_t)json_integer_value(id));
	if (!job && ret_past)
		job = *ret_past = scheduler_recall(call->context->scheduler,
						   (uint64_t)json_integer_value(id));
	if (!job) {
		peer_send_error(call->peer, WIRE_E_NO_SUCH_JOB,
				"there is no job %" JSON_INTEGER_FORMAT
				"; 'tfq queue' lists those there are",
				json_integer_value(id));
	}
	return job;
}

struct job *request_find_job(const struct call *call, const char *name)
{
	const struct job *job = request_find_past(call, name, NULL);

	return job ? scheduler_find(call->context->scheduler, job->id) : NULL;
}

/* --- watching -------------------------------------------------------------------------------- */

void request_tell_watchers(const struct request_context *context, const struct job *job)
{
	const bool is_over = job_status_is_final(job->status);
	struct job_watch *watch, *next;

	for (watch = TAILQ_FIRST(&job->watches); watch; watch = next) {
		struct peer *peer = watch->peer;
		json_t *parameters = json_pack("{s:o}", "job", request_json_of(context, job));

		next = TAILQ_NEXT(watch, link);
		if (is_over)
			peer_unwatch(peer);
		(void)peer_send(peer, parameters ? varlink_reply(parameters, !is_over) : NULL, NULL,
				0);
	}
}

void request_drop_peer(struct request_context *context, struct peer *peer)
{
	struct job *job = peer->runs;

	request_forget_waiting(context, peer);
	request_stop_listening(peer);
	peer_unwatch(peer);
	peer->inquiry = inquiry_free(peer->inquiry);
	peer->runs = NULL;
	if (job)
		scheduler_runner_gone(context->scheduler, job);
}

/* --- methods --------------------------------------------------------------------------------- */

void request_refuse_submit(const struct call *call, int r, const char *error)
{
	const char *name = WIRE_E_INTERNAL;

	switch (r) {
	case -EBADMSG:
	case -EINVAL: name = WIRE_E_BAD_REQUEST; break;
	case -EPROTO: name = WIRE_E_VERSION; break;
	case -ENXIO: name = WIRE_E_BAD_STATE; break;
	case -ENOSPC:
		name = WIRE_E_FULL;
		error = "the queue is full; wait for some of it to run ([queue] max_queued)";
		break;
	case -EDQUOT:
		name = WIRE_E_FULL;
		error = "you have as many jobs waiting as one user may ([queue] max_queued_per_user)";
		break;
	case -EFBIG:
		name = WIRE_E_FULL;
		error = "the environments and arguments of your jobs that are not over have 128 MiB, "
			"as much as those of one user may: wait for some to end, or unset what they do "
			"not need";
		break;
	case -EBUSY:
		name = WIRE_E_BUSY;
		error = "the state is busy, and you did not want to wait; see 'tfq queue'";
		break;
	case -EDEADLK:
		name = WIRE_E_BAD_REQUEST;
		error = "this runs inside a job on the same state, and would wait for itself; call "
			"terraform with -lock=false there, or split the work into two jobs";
		break;
	case -EIO:
		error = store_trouble(call->context->store);
		if (!error) {
			error = "tfqd cannot keep the job: the disk of its state directory, or its "
				"memory for environments, is full; its log says which; nothing was "
				"queued";
		}
		break;
	case -ESHUTDOWN:
		name = WIRE_E_STOPPING;
		error = "tfqd is stopping and takes no more jobs; try again in a moment";
		break;
	default: break;
	}
	peer_send_error(call->peer, name, "%s", error ? error : strerror(-r));
}

static bool operates(const struct call *call, const char *state)
{
	return access_roles_on(call->context->access, &call->peer->owner, state) & ACCESS_OPERATE;
}

static void do_submit(const struct call *call)
{
	AUTO_FREE char *error = NULL;
	CLEANUP(job_freep) struct job *made = NULL;
	const struct submit_source source = {
		.owner = &call->peer->owner,
		.fds = call->peer->varlink,
	};
	int r;

	r = submit_parse(&made, call->parameters, &source, call->context->config, &error);
	if (r >= 0 && made->priority == JOB_HIGH && made->is_priority_asked &&
	    !operates(call, made->backend->name)) {
		request_refuse(call, NULL,
			       "priority high is for operators; normal and low are everybody's");
		return;
	}
	if (r >= 0)
		r = scheduler_submit(call->context->scheduler, made, call->parameters);
	if (r < 0)
		request_refuse_submit(call, r, error);
	else
		request_accept_later(call, TAKE_PTR(made));
}

static const struct job *first_after(const struct scheduler *scheduler, uint64_t id)
{
	const struct job *job = scheduler_find(scheduler, id);

	if (job)
		return TAILQ_NEXT(job, in_all);
	job = TAILQ_FIRST(scheduler_jobs(scheduler));
	while (job && job->id <= id)
		job = TAILQ_NEXT(job, in_all);
	return job;
}

static void do_list(const struct call *call)
{
	const bool all = json_is_true(json_object_get(call->parameters, "all"));
	const bool is_brief = json_is_true(json_object_get(call->parameters, "brief"));
	const uint64_t after =
		(uint64_t)json_integer_value(json_object_get(call->parameters, "after"));
	json_t *(*const json_of)(const struct request_context *, const struct job *) =
		is_brief ? brief_json_of : request_json_of;
	const struct job *job = first_after(call->context->scheduler, after);
	json_t *jobs = json_array();
	bool has_more = false;

	for (; job && !has_more; job = TAILQ_NEXT(job, in_all)) {
		if (!all && job_status_is_final(job->status))
			continue;
		has_more = json_array_size(jobs) >= WIRE_LIST_PAGE;
		if (!has_more)
			(void)json_array_append_new(jobs, json_of(call->context, job));
	}
	request_reply(call, json_pack("{s:o, s:b}", "jobs", jobs, "more", has_more));
}

/* What was typed is for those who may see the output. */
static void reply_info(const struct call *call, const struct job *job)
{
	json_t *object = request_json_of(call->context, job);

	if (object && job->is_argv_plain &&
	    access_may_touch(call->roles, &call->peer->owner, &job->owner)) {
		json_t *argv = json_array();

		for (char **word = job->argv; argv && word && *word; word++)
			(void)json_array_append_new(argv, json_string(*word));
		(void)json_object_set_new(object, "argv", argv);
	}
	request_reply(call, json_pack("{s:o}", "job", object));
}

static void do_info(const struct call *call)
{
	const struct scheduler *scheduler = call->context->scheduler;
	const struct queue *queue = scheduler_queue(scheduler);
	CLEANUP(job_freep) struct job *past = NULL;
	const struct job *job;

	if (json_object_get(call->parameters, "id")) {
		job = request_find_past(call, "id", &past);
		if (job)
			reply_info(call, job);
		return;
	}
	request_reply(call, json_pack("{s:{s:s, s:i, s:i, s:s, s:I, s:I, s:I, s:b}}", "daemon",
				      "version", VERSION, "protocol", WIRE_PROTOCOL, "pid",
				      (int)getpid(), "host", call->context->hostname, "running",
				      (json_int_t)queue_active_count(queue), "queued",
				      (json_int_t)queue_waiting_count(queue), "states",
				      (json_int_t)queue_line_count(queue), "stopping",
				      scheduler_is_stopping(scheduler)));
}

static void do_cancel(const struct call *call)
{
	struct job *job = request_find_job(call, "id");

	if (!job)
		return;
	if (!access_may_touch(call->roles, &call->peer->owner, &job->owner)) {
		request_refuse(call, job,
			       "job %" PRIu64 " is %s's; only they or an operator may end it",
			       job->id, job->owner.name);
		return;
	}
	/* Somebody who tires of waiting must not interrupt what has just begun. */
	if (!json_is_true(json_object_get(call->parameters, "waiting")) ||
	    job->status == JOB_QUEUED || job->status == JOB_LOCKING) {
		scheduler_audit(call->context->scheduler, "cancel", job, call->peer->owner.uid, "");
		scheduler_cancel(call->context->scheduler, job,
				 json_is_true(json_object_get(call->parameters, "force")),
				 call->peer->owner.name);
	}
	request_reply_later(call, json_pack("{s:o}", "job", request_json_of(call->context, job)));
}

static void do_get_info(const struct call *call)
{
	request_reply(call, json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "tfqd", "product",
				      "tfqd", "version", VERSION, "url", WIRE_URL, "interfaces",
				      WIRE_SERVICE, WIRE_INTERFACE));
}

static void do_get_description(const struct call *call)
{
	static const char service[] =
		"# Every varlink service answers this interface.\n"
		"interface org.varlink.service\n"
		"method GetInfo() -> (vendor: string, product: string, version: string, url: string,\n"
		"  interfaces: []string)\n"
		"method GetInterfaceDescription(interface: string) -> (description: string)\n"
		"error InterfaceNotFound (interface: string)\n"
		"error MethodNotFound (method: string)\n"
		"error MethodNotImplemented (method: string)\n"
		"error InvalidParameter (parameter: string)\n";
	const char *name = json_string_value(json_object_get(call->parameters, "interface"));

	if (name && strcmp(name, WIRE_INTERFACE) == 0)
		request_reply(call, json_pack("{s:s}", "description", wire_interface));
	else if (name && strcmp(name, WIRE_SERVICE) == 0)
		request_reply(call, json_pack("{s:s}", "description", service));
	else {
		(void)peer_send(call->peer,
				json_pack("{s:s, s:{s:s}}", "error",
					  name ? WIRE_E_NO_INTERFACE : WIRE_E_BAD_PARAMETER,
					  "parameters", name ? "interface" : "parameter",
					  name ? name : "interface"),
				NULL, 0);
	}
}

/* --- runners --------------------------------------------------------------------------------- */

static void do_hello(const struct call *call)
{
	const char *phase = json_string_value(json_object_get(call->parameters, "phase"));
	const struct scheduler_hello hello = {
		.has_begun = phase && strcmp(phase, "new") != 0,
		.deadline_usec =
			(uint64_t)json_integer_value(json_object_get(call->parameters, "deadline")),
	};
	struct job *job;
	const json_int_t protocol =
		json_integer_value(json_object_get(call->parameters, "protocol"));

	if (protocol != WIRE_PROTOCOL) {
		peer_send_error(call->peer, WIRE_E_VERSION,
				"this runner is of another version of tfqd");
		return;
	}
	job = request_find_job(call, "job");
	if (!job)
		return;
	if (call->peer->runs ||
	    scheduler_hello(call->context->scheduler, job, call->peer, &hello) < 0) {
		peer_send_error(call->peer, WIRE_E_NOT_ALLOWED,
				"process %d is not the runner of job %" PRIu64,
				(int)call->peer->owner.pid, job->id);
	}
}

static void do_report(const struct call *call)
{
	const struct scheduler_report report = scheduler_report_read(call->parameters);

	/* Said hello to nobody, or says nothing: no answer, none was asked for. */
	if (!call->peer->runs || !report.event)
		peer_close(call->peer);
	else
		scheduler_runner_reports(call->context->scheduler, call->peer->runs, &report);
}

/* --- dispatch -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(const struct call *call);
} methods[] = {
	{ WIRE_SUBMIT, do_submit },      { WIRE_LIST, do_list },
	{ WIRE_INFO, do_info },          { WIRE_CANCEL, do_cancel },
	{ WIRE_RESUME, request_resume }, { WIRE_ATTACH, request_attach },
	{ WIRE_LOGS, request_logs },     { WIRE_PAUSE, request_pause },
	{ WIRE_UP, request_up },         { WIRE_HISTORY, request_history },
	{ WIRE_EVENTS, request_events }, { WIRE_METRICS, request_metrics },
	{ WIRE_WHO, request_who },       { WIRE_UNLOCK, request_unlock },
	{ WIRE_HELLO, do_hello },        { WIRE_REPORT, do_report },
	{ WIRE_GET_INFO, do_get_info },  { WIRE_GET_DESCRIPTION, do_get_description },
};

static void refuse_call(const struct call *call)
{
	request_refuse(
		call, NULL, "%s",
		call->context->access->daemon_uid == 0
			? "you are not allowed to do that here; ask for membership in the group of "
			  "tfqd's submitters or operators"
			: "this tfqd runs as another user, for that user alone; start your own");
}

static void run_method(const struct call *call)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, call->method) != 0)
			continue;
		if (access_may_call(call->roles, call->method))
			methods[i].run(call);
		else
			refuse_call(call);
		return;
	}
	(void)peer_send(call->peer,
			json_pack("{s:s, s:{s:s}}", "error", WIRE_E_NO_METHOD, "parameters",
				  "method", call->method),
			NULL, 0);
}

/*
 * The caller's roles on what the call is about; by what the method itself looks at, whatever else
 * is among its parameters.
 */
static unsigned roles_of(const struct call *call)
{
	const struct access *access = call->context->access;
	const struct scheduler *scheduler = call->context->scheduler;
	const enum access_subject subject = access_subject_of(call->method);
	const char *state = json_string_value(json_object_get(call->parameters, "state"));
	const json_t *id = json_object_get(call->parameters, "id");
	CLEANUP(job_freep) struct job *past = NULL;
	const struct job *job = NULL;

	if (subject == ACCESS_ABOUT_STATE && state) {
		const struct line *line = queue_find_line(scheduler_queue(scheduler), state);

		return access_roles_on(access, &call->peer->owner, line ? line->name : state);
	}
	if (subject == ACCESS_ABOUT_JOB && json_is_integer(id) && access->config->state_count > 0) {
		job = scheduler_find(scheduler, (uint64_t)json_integer_value(id));
		if (!job)
			past = scheduler_recall(scheduler, (uint64_t)json_integer_value(id));
		if (past)
			job = past;
	}
	return job ? access_roles_on(access, &call->peer->owner, job->backend->name)
		   : access_roles(access, &call->peer->owner);
}

void request_handle(struct request_context *context, struct peer *peer, const json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));
	const json_t *parameters = json_object_get(message, "parameters");
	struct call call = {
		.context = context,
		.peer = peer,
		.method = method,
		.parameters = parameters,
		.more = json_is_true(json_object_get(message, "more")) &&
			!json_is_true(json_object_get(message, "oneway")),
	};

	if (!method || (parameters && !json_is_object(parameters))) {
		peer_send_error(peer, WIRE_E_BAD_REQUEST,
				"a call has a method and an object of parameters");
		peer_close(peer);
		return;
	}
	if (peer->watch || peer->inquiry ||
	    peer->is_listening) { /* its answers would get mixed up */
		peer_unwatch(peer);
		peer_send_error(peer, WIRE_E_BAD_REQUEST,
				"one call at a time: the one before is not over");
		peer_close(peer);
		return;
	}
	/* A runner's report is one way, but what it sets off may be an order to that very runner.
	 */
	peer->is_muted = !peer->runs && json_is_true(json_object_get(message, "oneway"));
	call.roles = roles_of(&call);
	run_method(&call);
	peer->is_muted = false;
}
