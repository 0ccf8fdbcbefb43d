/* SPDX-License-Identifier: MIT */
/* Shared by request.c and request_lock.c; for nobody else. */
#pragma once

#include "daemon/access.h"
#include "daemon/request.h"

/* One call: what came, and where the answer goes. */
struct call {
	const struct request_context *context;
	struct peer *peer;
	const json_t *parameters;
	unsigned roles;
	bool more; /* the caller wants to hear of every change */
};

/* request.c: answer what submit.c or the scheduler refused with @r; @error: their sentence, or
 * NULL. */
void request_refuse_submit(const struct call *call, int r, const char *error);

/* request_lock.c */
void request_who(const struct call *call);
void request_unlock(const struct call *call);
