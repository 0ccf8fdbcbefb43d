/* SPDX-License-Identifier: MIT */
#include "client/doctor/findings.h"

#include <string.h>

#include "client/doctor/judge.h"

static const char *const levels[] = { "note", "warning", "error" };

/* --- findings -------------------------------------------------------------------------------- */

void judge_add(struct judge *judge, enum finding_level level, const char *code, json_t *what,
	       const char *why, json_t *fix)
{
	json_t *finding =
		json_pack("{s:s, s:s, s:o, s:s, s:o}", "level", levels[level], "code", code, "what",
			  what, "why", why, "fix", fix ? fix : json_string(""));

	if (!finding || json_array_append_new(judge->findings, finding) < 0)
		judge->is_poor = true;
}

const char *judge_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

const char *judge_partition(const struct judge *judge)
{
	const char *region = judge_text(judge->backend, "region");

	return strncmp(region, "cn-", 3) == 0       ? "aws-cn"
	       : strncmp(region, "us-gov-", 7) == 0 ? "aws-us-gov"
						    : "aws";
}

void judge_right(struct judge *judge, enum finding_level level, const char *action,
		 json_t *resource)
{
	const char *name = json_string_value(resource);

	judge_add(
		judge, level, "right-missing",
		json_sprintf("These credentials lack the right %s on %s.", action,
			     name ? name : "it"),
		level == FINDING_ERROR
			? "Terraform, or tfqd for it, cannot do its work without it."
			: "Terraform can do without it; but whether this is as it should be cannot "
			  "be told.",
		json_sprintf("Add to the IAM policy of who runs terraform:\n"
			     "{ \"Effect\": \"Allow\", \"Action\": \"%s\",\n"
			     "  \"Resource\": \"arn:%s:%s\" }",
			     action, judge_partition(judge), name ? name : ""));
	json_decref(resource);
}

/* --- answers --------------------------------------------------------------------------------- */

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(word, *list) == 0)
			return true;
	return false;
}

/* By its code first: DynamoDB answers nearly all of it with 400. */
enum answer judge_answer(const struct judge *judge, const char *name, const json_t **ret)
{
	static const char *const denied[] = { "AccessDenied", "AccessDeniedException",
					      "UnauthorizedOperation", NULL };
	static const char *const foreign[] = { "NotImplemented", "XNotImplemented",
					       "MethodNotAllowed", "UnknownOperationException",
					       NULL };
	const json_t *record = json_object_get(json_object_get(judge->facts, "asked"), name);
	const char *code = judge_text(record, "code");
	const json_int_t status = json_integer_value(json_object_get(record, "status"));

	if (ret)
		*ret = record;
	if (!record)
		return ANSWER_NONE;
	if (status == 0)
		return ANSWER_SILENT;
	if (status >= 200 && status < 300)
		return ANSWER_FINE;
	if (is_one_of(code, denied) || (status == 403 && !*code))
		return ANSWER_DENIED;
	if (is_one_of(code, foreign) || status == 501 || status == 405)
		return ANSWER_FOREIGN;
	if (status == 404 || strcmp(code, "ResourceNotFoundException") == 0)
		return ANSWER_ABSENT;
	if (status == 412 || status == 409 || strcmp(code, "ConditionalCheckFailedException") == 0)
		return ANSWER_REFUSED;
	return ANSWER_OTHER;
}

/* --- all of them ----------------------------------------------------------------------------- */

static enum finding_level level_of(const json_t *finding)
{
	const char *level = judge_text(finding, "level");

	return strcmp(level, levels[FINDING_ERROR]) == 0     ? FINDING_ERROR
	       : strcmp(level, levels[FINDING_WARNING]) == 0 ? FINDING_WARNING
							     : FINDING_NOTE;
}

static json_t *sorted(const json_t *findings)
{
	json_t *list = json_array();

	for (int level = FINDING_ERROR; level >= FINDING_NOTE; level--) {
		for (size_t i = 0; i < json_array_size(findings); i++) {
			json_t *finding = json_array_get(findings, i);

			if ((int)level_of(finding) == level &&
			    json_array_append(list, finding) < 0) {
				json_decref(list);
				return NULL;
			}
		}
	}
	return list;
}

json_t *findings_judge(const json_t *facts)
{
	struct judge judge = {
		.facts = facts,
		.backend = json_object_get(facts, "backend"),
		.findings = json_array(),
	};
	json_t *list;

	if (strcmp(judge_text(judge.backend, "type"), "s3") != 0) {
		judge_add(&judge, FINDING_NOTE, "other-backend",
			  json_sprintf("The state %s is not in S3.",
				       judge_text(judge.backend, "name")),
			  "Terraform takes its lock itself, in the turn that tfqd gives it. There "
			  "is no bucket to look at.",
			  NULL);
	} else {
		judge_lock(&judge);
		judge_store(&judge);
		judge_probe(&judge);
		judge_table(&judge);
	}
	judge_machine(&judge);
	list = judge.is_poor ? NULL : sorted(judge.findings);
	json_decref(judge.findings);
	return list;
}

enum finding_level findings_worst(const json_t *findings)
{
	enum finding_level worst = FINDING_NOTE;

	for (size_t i = 0; i < json_array_size(findings); i++) {
		const enum finding_level level = level_of(json_array_get(findings, i));

		if (level > worst)
			worst = level;
	}
	return worst;
}
