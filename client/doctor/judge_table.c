/* SPDX-License-Identifier: MIT */
/* The table of the lock, if there is one. */
#include <string.h>

#include "client/doctor/judge.h"

static json_t *table_resource(const struct judge *judge)
{
	return json_sprintf("dynamodb:%s:*:table/%s", judge_text(judge->backend, "region"),
			    judge_text(judge->backend, "table"));
}

static json_t *create_command(const struct judge *judge)
{
	return json_sprintf("aws dynamodb create-table --region %s --table-name %s \\\n"
			    "    --billing-mode PAY_PER_REQUEST \\\n"
			    "    --attribute-definitions AttributeName=LockID,AttributeType=S \\\n"
			    "    --key-schema AttributeName=LockID,KeyType=HASH",
			    judge_text(judge->backend, "region"),
			    judge_text(judge->backend, "table"));
}

/* Partition key LockID, a string, and no sort key. */
static bool has_right_key(const json_t *table)
{
	const json_t *keys = json_object_get(table, "KeySchema"),
		     *attributes = json_object_get(table, "AttributeDefinitions");
	const json_t *key = json_array_get(keys, 0);

	if (json_array_size(keys) != 1 || strcmp(judge_text(key, "AttributeName"), "LockID") != 0)
		return false;
	for (size_t i = 0; i < json_array_size(attributes); i++) {
		const json_t *attribute = json_array_get(attributes, i);

		if (strcmp(judge_text(attribute, "AttributeName"), "LockID") == 0)
			return strcmp(judge_text(attribute, "AttributeType"), "S") == 0;
	}
	return false;
}

/* Return: may items be judged? */
static bool judge_key(struct judge *judge, const json_t *table)
{
	if (has_right_key(table))
		return true;
	judge_add(
		judge, FINDING_ERROR, "table-key",
		json_sprintf("The key of the table %s is not LockID, a string, alone.",
			     judge_text(judge->backend, "table")),
		"Every lock is refused, so nothing can be applied. A key cannot be changed.",
		json_sprintf("Make another table, name it in dynamodb_table, and run\n"
			     "terraform init -reconfigure:\n%s",
			     "aws dynamodb create-table --table-name NEW-NAME \\\n"
			     "    --billing-mode PAY_PER_REQUEST \\\n"
			     "    --attribute-definitions AttributeName=LockID,AttributeType=S \\\n"
			     "    --key-schema AttributeName=LockID,KeyType=HASH"));
	return false;
}

/* A table that was provisioned from its first day has no BillingModeSummary at all. */
static void judge_billing(struct judge *judge, const json_t *table)
{
	const char *mode = judge_text(json_object_get(table, "BillingModeSummary"), "BillingMode");

	if (strcmp(mode, "PAY_PER_REQUEST") == 0)
		return;
	judge_add(judge, FINDING_WARNING, "table-billing",
		  json_sprintf("The table %s has a fixed capacity.",
			       judge_text(judge->backend, "table")),
		  "When many jobs renew their locks at once it throttles, and a lease may run out. "
		  "It also costs while nothing runs.",
		  json_sprintf("aws dynamodb update-table --region %s --table-name %s \\\n"
			       "    --billing-mode PAY_PER_REQUEST",
			       judge_text(judge->backend, "region"),
			       judge_text(judge->backend, "table")));
}

static void judge_replicas(struct judge *judge, const json_t *table)
{
	if (json_array_size(json_object_get(table, "Replicas")) == 0 ||
	    strcmp(judge_text(table, "MultiRegionConsistency"), "STRONG") == 0)
		return;
	judge_add(judge, FINDING_WARNING, "table-replicas",
		  json_sprintf("The table %s is replicated to other regions.",
			       judge_text(judge->backend, "table")),
		  "Each region decides by itself who has the lock: people in two regions may both "
		  "get it.",
		  json_sprintf(
			  "Have everybody use the table in one region, or remove the replicas; "
			  "a lock needs none."));
}

static void judge_description(struct judge *judge)
{
	const json_t *record, *table;

	switch (judge_answer(judge, "table", &record)) {
	case ANSWER_FINE:
		table = json_object_get(json_object_get(record, "said"), "Table");
		if (judge_key(judge, table)) {
			judge_billing(judge, table);
			judge_replicas(judge, table);
		}
		return;
	case ANSWER_ABSENT:
		judge_add(judge, FINDING_ERROR, "table-absent",
			  json_sprintf("There is no table %s in %s.",
				       judge_text(judge->backend, "table"),
				       judge_text(judge->backend, "region")),
			  "Every command that locks the state fails.", create_command(judge));
		return;
	case ANSWER_DENIED:
		judge_right(judge, FINDING_NOTE, "dynamodb:DescribeTable", table_resource(judge));
		return;
	case ANSWER_NONE: return;
	case ANSWER_SILENT:
	case ANSWER_REFUSED:
	case ANSWER_FOREIGN:
	case ANSWER_OTHER: break;
	}
	judge_add(judge, FINDING_WARNING, "table-silent",
		  json_sprintf("DynamoDB does not describe the table %s: HTTP %d %s %s",
			       judge_text(judge->backend, "table"),
			       (int)json_integer_value(json_object_get(record, "status")),
			       judge_text(record, "code"), judge_text(record, "message")),
		  "Without it there is no lock.",
		  json_sprintf("aws dynamodb describe-table --region %s --table-name %s",
			       judge_text(judge->backend, "region"),
			       judge_text(judge->backend, "table")));
}

void judge_table(struct judge *judge)
{
	static const struct {
		const char *name, *action;
	} rights[] = {
		{ "get", "dynamodb:GetItem" },
		{ "put", "dynamodb:PutItem" },
		{ "delete", "dynamodb:DeleteItem" },
	};

	judge_description(judge);
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		if (judge_answer(judge, rights[i].name, NULL) == ANSWER_DENIED)
			judge_right(judge, FINDING_ERROR, rights[i].action, table_resource(judge));
}
