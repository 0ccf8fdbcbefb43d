/* SPDX-License-Identifier: MIT */
/* Shared by request*.c; for nobody else. */
#pragma once

#include "daemon/access.h"
#include "daemon/request.h"

/* One call: what came, and where the answer goes. */
struct call {
	struct request_context *context;
	struct peer *peer;
	const char *method;
	const json_t *parameters;
	unsigned roles; /* on the state that the call is about */
	bool more;      /* the caller wants to hear of every change */
};

/* request.c: answer what submit.c or the scheduler refused with @r; @error: their sentence, or
 * NULL. */
void request_refuse_submit(const struct call *call, int r, const char *error);

void request_reply(const struct call *call, json_t *parameters);
/* request_refuse.c: the caller may not do that. Said, logged and written into the audit; @job: that
 * it is about, or NULL. */
void request_refuse(const struct call *call, const struct job *job, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
json_t *request_json_of(const struct request_context *context, const struct job *job);
/* The job that the call names as @name; NULL: then the error is sent. */
struct job *request_find_job(const struct call *call, const char *name);
/* The same, also of one that is in the store alone: then it is *@ret_past, the caller's. */
const struct job *request_find_past(const struct call *call, const char *name,
				    struct job **ret_past);

/* request_wait.c: answers that leave when what they say is on disk */

/* The answer to a Submit that was carried out. */
void request_accept_later(const struct call *call, struct job *job);
/* @parameters, stolen, when all that is noted by now is on disk. */
void request_reply_later(const struct call *call, json_t *parameters);
/* @peer is going. */
void request_forget_waiting(struct request_context *context, struct peer *peer);

/* request_plan.c */
void request_pause(const struct call *call);
void request_resume(const struct call *call);
void request_up(const struct call *call);

/* request_past.c */
void request_history(const struct call *call);
void request_events(const struct call *call);
void request_metrics(const struct call *call);
/* Tell all who listen what has come to disk. */
void request_tell_events(struct request_context *context);
void request_stop_listening(struct peer *peer);

/* request_output.c */
void request_attach(const struct call *call);
void request_logs(const struct call *call);

/* request_lock.c */
void request_who(const struct call *call);
void request_unlock(const struct call *call);
