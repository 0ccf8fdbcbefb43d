/* SPDX-License-Identifier: MIT */
/*
 * One run of tfq-runner --credentials: a question goes in, an answer comes out. What it may do, and
 * how long it may take, is the helper's; here it is never waited for, and ended if it hangs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "daemon/job.h"

#define HELPER_ANSWER_MAX 65536U                   /* bytes; more is no answer */
#define HELPER_LIMIT_USEC (UINT64_C(90) * 1000000) /* it ends itself before */

struct helper;
struct launcher;

/* All lent for the call. */
struct helper_answer {
	int result; /* 0; -EOPNOTSUPP: terraform may manage it; -EACCES: it failed; -ENOMEM */
	const char *error;                           /* with a failure: a sentence, printable */
	const char *access_key, *secret_key, *token; /* token: NULL if none */
	const char *source;                          /* printable */
	uint64_t expires_usec;                       /* since 1970; 0: never, or not known */
	bool can_refresh;
};

/* The helper is gone; @answer is what it said. */
typedef void (*helper_done_fn)(const struct helper_answer *answer, void *userdata);

/* All borrowed for the call. */
struct helper_setup {
	sd_event *event;
	const char *runner;            /* path of tfq-runner */
	struct launcher *launcher;     /* how it is started; NULL: as our child */
	const struct job_owner *owner; /* as whom it runs */
	const char *question;
	size_t question_len;
};

/*
 * Start one. @done is called once, from the loop, unless helper_cancel() comes first. Return: 0;
 * what launcher_direct_spawn(), launcher_unit_start_helper(), memfd_create(2), pipe(2) or
 * sd_event_add_*() say.
 */
int helper_start(struct helper **ret, const struct helper_setup *setup, helper_done_fn done,
		 void *userdata);

/* End it, with all that it started; it is reaped by the loop. NULL is fine. Return: NULL. */
struct helper *helper_cancel(struct helper *helper);
