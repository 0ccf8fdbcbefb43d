/* SPDX-License-Identifier: MIT */
/*
 * What a job leaves on disk, below <jobs_dir>/<id>: "output", the recording (common/frame.h), and
 * "reports", what its runner had to say, one JSON object a line (wire.h, Report). Both are written
 * by the runner, through descriptors that it is given; only the daemon's user can open them.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#define JOB_FILES_REPORTS_MAX 65536 /* bytes that are read of the reports */

/* Make room for job @id, which takes the number for ever. Return: 0, or mkdir(2)'s negative errno.
 */
int job_files_reserve(const char *jobs_dir, uint64_t id);

/*
 * New files for a new runner; what one before it still writes to its own is nobody's any more.
 * Return: 0 and two descriptors, the caller's; or a negative errno.
 */
int job_files_begin(const char *jobs_dir, uint64_t id, int *ret_recording, int *ret_reports);

/* The recording, to read from. Return: a descriptor, -ENOENT, or another negative errno. */
int job_files_open_recording(const char *jobs_dir, uint64_t id);

/* Bytes of the recording; 0 if there is none. */
uint64_t job_files_size(const char *jobs_dir, uint64_t id);

/*
 * What the runner has reported, in order: an array of objects, the caller's; half a line at the
 * end, or one that makes no sense, is left out. NULL: nothing, or out of memory.
 */
json_t *job_files_read_reports(const char *jobs_dir, uint64_t id);

/* Delete all of it. */
void job_files_remove(const char *jobs_dir, uint64_t id);

/* The highest number that is taken; 0: none. Return: 0, or a negative errno. */
int job_files_last_id(const char *jobs_dir, uint64_t *ret);

/* Delete what is empty: a place that was reserved for a job which nobody began, or accepted. Who is
 * to run yet gets another one from job_files_begin(). */
void job_files_sweep(const char *jobs_dir);
