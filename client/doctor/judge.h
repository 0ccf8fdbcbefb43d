/* SPDX-License-Identifier: MIT */
/* What the files that judge share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "client/doctor/findings.h"

struct judge {
	const json_t *facts;
	const json_t *backend; /* of them */
	json_t *findings;
	bool is_poor; /* out of memory */
};

/* @what and @fix are json_sprintf()'s and stolen; @fix NULL: there is nothing to be done. */
void judge_add(struct judge *judge, enum finding_level level, const char *code, json_t *what,
	       const char *why, json_t *fix);

/* "" if it is not there. */
const char *judge_text(const json_t *object, const char *name);

enum answer {
	ANSWER_NONE,   /* not asked */
	ANSWER_SILENT, /* no answer came */
	ANSWER_FINE,
	ANSWER_ABSENT,  /* there is no such thing */
	ANSWER_REFUSED, /* the condition did not hold */
	ANSWER_DENIED,  /* these credentials may not */
	ANSWER_FOREIGN, /* the store does not know this request */
	ANSWER_OTHER,
};

/* What became of the request @name. *@ret, which may be NULL, is its record, or NULL. */
enum answer judge_answer(const struct judge *judge, const char *name, const json_t **ret);

/*
 * A right that is missing: @action ("s3:GetObject") on what @resource names behind
 * "arn:PARTITION:". @level is ERROR for what terraform needs, and NOTE for what only this look
 * needs.
 */
void judge_right(struct judge *judge, enum finding_level level, const char *action,
		 json_t *resource);

/* "aws", "aws-cn" or "aws-us-gov". */
const char *judge_partition(const struct judge *judge);

void judge_lock(struct judge *judge);  /* which lock is configured */
void judge_store(struct judge *judge); /* credentials, clock, the bucket and rights in it */
void judge_probe(struct judge *judge); /* does it honour conditions? */
void judge_table(struct judge *judge);
void judge_machine(struct judge *judge); /* tfqd, and who else is on this state */
