/* SPDX-License-Identifier: MIT */
/* What happened to a job, with the fields that people filter on (TFQ_JOB, TFQ_STATE, ...). */
#pragma once

#include "daemon/job.h"

/* To the journal with fields, or to stderr as text. @level is syslog's. */
void journal_job(int level, const struct job *job, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
