/* SPDX-License-Identifier: MIT */
/*
 * A job as it is kept on disk: who, what, when, how it ended. Nothing secret: neither environment
 * nor words nor backend block, which are in the vault. Pure.
 */
#pragma once

#include <jansson.h>

#include "daemon/job.h"

/* @boot: of this machine, now. Return: an object, the caller's, or NULL when out of memory. */
json_t *job_record_make(const struct job *job, const char *boot);

/*
 * Make a job of @record: enough to list it, not to run it. Return: 0; -EBADMSG for what is no
 * record; -ENOMEM.
 */
int job_record_parse(struct job **ret, const json_t *record);

/* What has happened to the job of @record, into @job, which was made of its Submit anew. Return: 0
 * or -EBADMSG. */
int job_record_apply(struct job *job, const json_t *record);

/* Was @record written since this machine, whose boot it is, was started? */
bool job_record_is_of_boot(const json_t *record, const char *boot);
