/* SPDX-License-Identifier: MIT */
/* Does the store honour the conditions that a lock stands on? */
#include "client/doctor/judge.h"

static void add_bad(struct judge *judge, const char *fault)
{
	judge_add(judge, FINDING_ERROR, "no-conditions", json_sprintf("The store %s.", fault),
		  "A lock file there keeps nobody out: two applies would both believe that they "
		  "hold it.",
		  json_sprintf(
			  "Keep the lock in a DynamoDB table (dynamodb_table), or the state in a "
			  "store that honours conditional writes: AWS S3, current MinIO or "
			  "Ceph."));
}

static void add_unclear(struct judge *judge, const char *step, const json_t *record)
{
	judge_add(judge, FINDING_WARNING, "probe-unclear",
		  json_sprintf("Whether the store honours conditional writes could not be tried "
			       "out: %s gave HTTP %d %s.",
			       step, (int)json_integer_value(json_object_get(record, "status")),
			       judge_text(record, "code")),
		  "A lock file is only a lock where it does. tfqd tries it out before the first "
		  "job, too.",
		  json_sprintf("Run it again: tfq doctor --probe"));
}

/* One that must not succeed. Return: has it been refused, as it should? */
static bool judge_refusal(struct judge *judge, const char *step, const char *fault)
{
	const json_t *record;

	switch (judge_answer(judge, step, &record)) {
	case ANSWER_REFUSED:
	case ANSWER_ABSENT: return true;
	case ANSWER_FINE:
	case ANSWER_FOREIGN: add_bad(judge, fault); return false;
	case ANSWER_NONE:
	case ANSWER_SILENT:
	case ANSWER_DENIED:
	case ANSWER_OTHER: break;
	}
	add_unclear(judge, step, record);
	return false;
}

static void judge_steps(struct judge *judge)
{
	const char *bucket = judge_text(judge->backend, "bucket"),
		   *key = judge_text(judge->backend, "key");
	const json_t *record;

	switch (judge_answer(judge, "create", &record)) {
	case ANSWER_FINE: break;
	case ANSWER_DENIED:
		judge_right(judge, FINDING_ERROR, "s3:PutObject",
			    json_sprintf("s3:::%s/%s*", bucket, key));
		return;
	case ANSWER_FOREIGN: add_bad(judge, "knows no If-None-Match"); return;
	case ANSWER_NONE:
	case ANSWER_SILENT:
	case ANSWER_ABSENT:
	case ANSWER_REFUSED:
	case ANSWER_OTHER: add_unclear(judge, "create", record); return;
	}
	if (judge_refusal(judge, "create_again", "ignores If-None-Match"))
		(void)judge_refusal(judge, "swap_wrong", "ignores If-Match");
	if (judge_answer(judge, "remove", NULL) == ANSWER_DENIED)
		judge_right(judge, FINDING_ERROR, "s3:DeleteObject",
			    json_sprintf("s3:::%s/%s*", bucket, key));
}

void judge_probe(struct judge *judge)
{
	const bool has_file = json_is_true(json_object_get(judge->backend, "lockfile"));

	if (judge_answer(judge, "create", NULL) != ANSWER_NONE) {
		judge_steps(judge);
	} else if (judge_answer(judge, "write", NULL) == ANSWER_FINE) {
		add_bad(judge, "ignores If-Match");
	} else if (has_file && judge_answer(judge, "list", NULL) == ANSWER_FINE &&
		   !json_is_true(json_object_get(judge->facts, "aws"))) {
		judge_add(judge, FINDING_NOTE, "not-probed",
			  json_sprintf("Whether this store, which is not AWS's own, honours "
				       "conditional writes was not tried out, nor the right to "
				       "write."),
			  "A lock file is only a lock where it does. tfqd tries it out before the "
			  "first job.",
			  json_sprintf("tfq doctor --probe\n"
				       "writes a small object beside the state, and removes it."));
	}
}
