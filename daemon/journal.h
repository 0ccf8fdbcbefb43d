/* SPDX-License-Identifier: MIT */
/*
 * What happens, as events of known kinds (common/journal_kinds.h): to the journal with fields that
 * people filter on (MESSAGE_ID, TFQ_JOB, TFQ_STATE, TFQ_USER, TFQ_UID, ...), or to stderr as text.
 */
#pragma once

#include "common/journal_kinds.h"
#include "daemon/job.h"

/* What an event that is no job's is about; NULL: nothing such. */
struct journal_about {
	const char *state; /* the name of the terraform state */
	const char *lock_id;
	const struct job_owner *who;
};

/* Of a job: "Job 42: " and the sentence. */
void journal_job(enum journal_kind kind, const struct job *job, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Of anything else. @about: or NULL. */
void journal_tell(enum journal_kind kind, const struct journal_about *about, const char *format,
		  ...) __attribute__((format(printf, 3, 4)));
