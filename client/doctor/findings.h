/* SPDX-License-Identifier: MIT */
/* From facts to findings: what is wrong with a backend, why that matters, and what mends it. Pure.
 */
#pragma once

#include <jansson.h>

enum finding_level {
	FINDING_NOTE, /* to be known; not wrong */
	FINDING_WARNING,
	FINDING_ERROR,
};

/*
 * @facts: tfq-doctor's (common/doctor.h), and
 *   backend   type, name, terraform_version, bucket, key, region, lockfile (boolean), table
 *   daemon    socket (path), error (a word, absent if it answered: "denied", "absent", or why it
 *             does not answer); group, mode, system (is it the system's socket?), absent if the
 *             socket could not be looked at
 *   others    list of {directory, user, same_user}: other directories on this state
 * What is absent is not judged.
 *
 * Return: a new list of {level: "note" | "warning" | "error", code, what, why, fix}, the worst
 * first; why and fix may be "". NULL: out of memory.
 */
json_t *findings_judge(const json_t *facts);

/* The worst level in @findings; FINDING_NOTE if it is empty. */
enum finding_level findings_worst(const json_t *findings);
