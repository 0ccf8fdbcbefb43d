/* SPDX-License-Identifier: MIT */
/* Credentials, clock, the bucket, and what these credentials may do in it. */
#include <stdlib.h>
#include <string.h>

#include "client/doctor/judge.h"

#define CLOCK_WARNING_SEC 30
#define CLOCK_ERROR_SEC \
	300 /* DynamoDB refuses what was signed so far off, S3 at three times that */

/* --- getting there ---------------------------------------------------------------------------- */

static void judge_clock(struct judge *judge)
{
	const json_t *clock = json_object_get(judge->facts, "clock");
	const long long ahead = json_integer_value(clock);

	if (!clock || llabs(ahead) <= CLOCK_WARNING_SEC)
		return;
	judge_add(judge, llabs(ahead) > CLOCK_ERROR_SEC ? FINDING_ERROR : FINDING_WARNING, "clock",
		  json_sprintf("This machine's clock is %lld s %s that of the store.", llabs(ahead),
			       ahead > 0 ? "behind" : "ahead of"),
		  "AWS refuses what is signed more than 5 minutes off; and times in locks and logs "
		  "mislead whoever reads them.",
		  json_sprintf("timedatectl set-ntp true\n"
			       "timedatectl timesync-status"));
}

static void add_refused(struct judge *judge, const json_t *record)
{
	const char *code = judge_text(record, "code"), *message = judge_text(record, "message");

	judge_add(judge, FINDING_ERROR, "store-refuses",
		  json_sprintf("The store refuses to list s3://%s: HTTP %d %s %s",
			       judge_text(judge->backend, "bucket"),
			       (int)json_integer_value(json_object_get(record, "status")), code,
			       message),
		  "Terraform will be told the same.",
		  json_sprintf("Look whose keys these are, and whether they are still good:\n"
			       "    aws sts get-caller-identity"));
}

static void add_absent(struct judge *judge)
{
	const char *bucket = judge_text(judge->backend, "bucket"),
		   *region = judge_text(judge->backend, "region");

	judge_add(judge, FINDING_ERROR, "bucket-absent",
		  json_sprintf("There is no bucket %s.", bucket),
		  "There is no place for the state, nor for its lock.",
		  json_sprintf("Correct 'bucket' in the backend block, or make it:\n"
			       "    aws s3api create-bucket --bucket %s --region %s%s%s",
			       bucket, region,
			       strcmp(region, "us-east-1") == 0
				       ? ""
				       : " --create-bucket-configuration LocationConstraint=",
			       strcmp(region, "us-east-1") == 0 ? "" : region));
}

static void add_region(struct judge *judge, const char *region)
{
	judge_add(judge, FINDING_ERROR, "bucket-region",
		  json_sprintf("The bucket %s is in %s, and the backend says %s.",
			       judge_text(judge->backend, "bucket"), region,
			       judge_text(judge->backend, "region")),
		  "Requests for the lock go to the wrong place and are refused there.",
		  json_sprintf("In the backend block:\n"
			       "    region = \"%s\"\n"
			       "Then: terraform init -reconfigure",
			       region));
}

/* Return: is the bucket there, and may it be asked more? */
static bool judge_list(struct judge *judge)
{
	const json_t *record;
	const enum answer answer = judge_answer(judge, "list", &record);
	const char *region = judge_text(record, "region"),
		   *bucket = judge_text(judge->backend, "bucket");

	switch (answer) {
	case ANSWER_NONE: return false;
	case ANSWER_FINE: return true;
	case ANSWER_DENIED:
		judge_right(judge, FINDING_ERROR, "s3:ListBucket", json_sprintf("s3:::%s", bucket));
		return true;
	case ANSWER_FOREIGN: return true;
	case ANSWER_ABSENT: add_absent(judge); return false;
	case ANSWER_SILENT:
		judge_add(judge, FINDING_ERROR, "store-silent",
			  json_sprintf("The store does not answer: %s",
				       judge_text(record, "message")),
			  "Without it there is no lock and no state.",
			  json_sprintf("Try it by hand, with the same proxy and certificates:\n"
				       "    aws s3api head-bucket --bucket %s --region %s",
				       bucket, judge_text(judge->backend, "region")));
		return false;
	case ANSWER_REFUSED:
	case ANSWER_OTHER: break;
	}
	if (*region && strcmp(region, judge_text(judge->backend, "region")) != 0)
		add_region(judge, region);
	else
		add_refused(judge, record);
	return false;
}

/* --- how the bucket is set up ---------------------------------------------------------------- */

static bool is_versioned(const json_t *said)
{
	return strcmp(judge_text(said, "Status"), "Enabled") == 0;
}

static bool is_encrypted(const json_t *said)
{
	return *judge_text(said, "SSEAlgorithm");
}

static bool is_private(const json_t *said)
{
	static const char *const members[] = { "BlockPublicAcls", "IgnorePublicAcls",
					       "BlockPublicPolicy", "RestrictPublicBuckets" };

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strcmp(judge_text(said, members[i]), "true") != 0)
			return false;
	return true;
}

static bool is_logged(const json_t *said)
{
	return *judge_text(said, "TargetBucket");
}

/* %s in what and fix: the bucket. clang-format would tear the rows apart. */
/* clang-format off */
static const struct setting {
	const char *name, *code, *action;
	enum finding_level level;
	bool (*is_good)(const json_t *said);
	const char *what, *why, *fix;
} settings[] = {
	{ "versioning", "not-versioned", "s3:GetBucketVersioning", FINDING_ERROR, is_versioned,
	  " keeps no old versions.",
	  "A state that is overwritten or deleted by mistake is gone for good.",
	  "aws s3api put-bucket-versioning --bucket %s \\\n"
	  "    --versioning-configuration Status=Enabled\n"
"(in Terraform: conf/examples/backend has such a bucket)" },
	{ "encryption", "not-encrypted", "s3:GetEncryptionConfiguration", FINDING_WARNING, is_encrypted,
	  " has no encryption by default.",
	  "A state holds passwords and keys as plain text.",
	  "aws s3api put-bucket-encryption --bucket %s --server-side-encryption-configuration \\\n"
	  "    '{\"Rules\":[{\"ApplyServerSideEncryptionByDefault\":{\"SSEAlgorithm\":\"AES256\"}}]}'\n"
	  "and, in the backend block: encrypt = true" },
	{ "public", "not-private", "s3:GetBucketPublicAccessBlock", FINDING_ERROR, is_private,
	  " does not block public access.",
	  "One wrong policy or ACL, and the whole world reads the state with all its secrets.",
	  "aws s3api put-public-access-block --bucket %s --public-access-block-configuration \\\n"
	  "    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true" },
	{ "logging", "not-logged", "s3:GetBucketLogging", FINDING_WARNING, is_logged,
	  " keeps no access log.",
	  "When a state or a lock has vanished, nobody can tell who did it.",
	  "aws s3api put-bucket-logging --bucket %s --bucket-logging-status \\\n"
	  "    '{\"LoggingEnabled\":{\"TargetBucket\":\"A-BUCKET-FOR-LOGS\",\"TargetPrefix\":\"s3/\"}}'\n"
	  "(data events in CloudTrail are as good; then ignore this)" },
};
/* clang-format on */

static json_t *setting_fix(const struct setting *setting, const char *bucket)
{
	const char *gap = strstr(setting->fix, "%s");

	return json_sprintf("%.*s%s%s", (int)(gap - setting->fix), setting->fix, bucket, gap + 2);
}

static void judge_setting(struct judge *judge, const struct setting *setting)
{
	const char *bucket = judge_text(judge->backend, "bucket");
	const json_t *record;

	switch (judge_answer(judge, setting->name, &record)) {
	case ANSWER_FINE:
		if (setting->is_good(json_object_get(record, "said")))
			return;
		break;
	case ANSWER_ABSENT: break;
	case ANSWER_DENIED:
		judge_right(judge, FINDING_NOTE, setting->action, json_sprintf("s3:::%s", bucket));
		return;
	case ANSWER_NONE: return;
	case ANSWER_SILENT:
	case ANSWER_REFUSED:
	case ANSWER_FOREIGN:
	case ANSWER_OTHER:
		judge_add(judge, FINDING_NOTE, "not-told",
			  json_sprintf("The store does not say how the bucket %s is set up: %s.",
				       bucket, setting->name),
			  "It does not know that question, or could not answer it now.", NULL);
		return;
	}
	judge_add(judge, setting->level, setting->code,
		  json_sprintf("The bucket %s%s", bucket, setting->what), setting->why,
		  setting_fix(setting, bucket));
}

/* --- rights in it ---------------------------------------------------------------------------- */

/* Without the right to list, an object that is not there is "denied", too. */
static void judge_read(struct judge *judge, const char *name, const char *end)
{
	if (judge_answer(judge, name, NULL) != ANSWER_DENIED ||
	    judge_answer(judge, "list", NULL) == ANSWER_DENIED)
		return;
	judge_right(judge, FINDING_ERROR, "s3:GetObject",
		    json_sprintf("s3:::%s/%s%s", judge_text(judge->backend, "bucket"),
				 judge_text(judge->backend, "key"), end));
}

static void judge_write(struct judge *judge)
{
	if (judge_answer(judge, "write", NULL) != ANSWER_DENIED ||
	    judge_answer(judge, "list", NULL) == ANSWER_DENIED)
		return;
	judge_right(judge, FINDING_ERROR, "s3:PutObject",
		    json_sprintf("s3:::%s/%s.tflock", judge_text(judge->backend, "bucket"),
				 judge_text(judge->backend, "key")));
}

void judge_store(struct judge *judge)
{
	const json_t *credentials = json_object_get(judge->facts, "credentials");

	if (json_object_get(credentials, "error")) {
		judge_add(judge, FINDING_ERROR, "no-credentials",
			  json_sprintf("There are no AWS credentials: %s",
				       judge_text(credentials, "error")),
			  "Neither terraform nor tfqd can reach the state. All that follows could "
			  "not be asked.",
			  json_sprintf("Sign in (aws sso login), or set AWS_PROFILE, and see with\n"
				       "    aws sts get-caller-identity"));
		return;
	}
	judge_clock(judge);
	if (!judge_list(judge))
		return;
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		judge_setting(judge, &settings[i]);
	judge_read(judge, "state", "");
	judge_read(judge, "lock", ".tflock");
	judge_write(judge);
}
