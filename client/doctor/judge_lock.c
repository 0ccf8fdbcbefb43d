/* SPDX-License-Identifier: MIT */
/* Is there a lock, and does it fit terraform's version? */
#include <stdio.h>

#include "client/doctor/judge.h"

#define LOCKFILE_TRIED 10 /* 1.10 has it as an experiment, */
#define LOCKFILE_READY 11 /* and since 1.11 the table is deprecated */

/* The minor version of a 1.x; a later major version counts as a late minor one. Return: -1 if it is
 * not known. */
static int minor_of(const char *version)
{
	int major = 0, minor = 0;

	if (sscanf(version, "%d.%d", &major, &minor) != 2) // NOLINT(cert-err34-c): bounded below
		return -1;
	return major > 1 ? 99 : major < 1 ? 0 : minor;
}

static void add_off(struct judge *judge, int minor)
{
	judge_add(
		judge, FINDING_ERROR, "lock-off",
		json_sprintf("Nothing locks the state %s.", judge_text(judge->backend, "name")),
		"Two applies at the same moment, of whoever runs terraform anywhere, overwrite each "
		"other's state. tfqd queues no job for such a state.",
		minor >= 0 && minor < LOCKFILE_TRIED
			? json_sprintf("In the backend \"s3\" block, as terraform %s knows no lock "
				       "file:\n"
				       "    dynamodb_table = \"tflocks\"\n"
				       "a table with the partition key LockID (S). Then:\n"
				       "    terraform init -reconfigure",
				       judge_text(judge->backend, "terraform_version"))
			: json_sprintf("In the backend \"s3\" block:\n"
				       "    use_lockfile = true\n"
				       "Then:\n"
				       "    terraform init -reconfigure"));
}

static void judge_lockfile(struct judge *judge, int minor)
{
	const char *version = judge_text(judge->backend, "terraform_version");

	if (minor < 0)
		return;
	if (minor < LOCKFILE_TRIED) {
		judge_add(
			judge, FINDING_ERROR, "lock-too-new",
			json_sprintf("use_lockfile is set, but terraform %s, which ran init here, "
				     "does not know it.",
				     version),
			"That terraform takes no lock at all. Lock files came with 1.10.",
			json_sprintf("Upgrade terraform to 1.11 or later, or lock by a table:\n"
				     "    dynamodb_table = \"tflocks\""));
	} else if (minor < LOCKFILE_READY) {
		judge_add(judge, FINDING_WARNING, "lock-experimental",
			  json_sprintf("use_lockfile is an experiment in terraform %s.", version),
			  "It may change without notice, and was finished in 1.11.",
			  json_sprintf("Upgrade terraform to 1.11 or later."));
	}
}

static void judge_deprecated(struct judge *judge, int minor, bool has_file)
{
	if (minor < LOCKFILE_READY)
		return;
	judge_add(judge, FINDING_WARNING, has_file ? "lock-both" : "lock-table",
		  json_sprintf(has_file ? "Both a lock file and the table %s lock this state."
					: "Only the table %s locks this state.",
			       judge_text(judge->backend, "table")),
		  "dynamodb_table is deprecated since terraform 1.11 and will go. Each lock there "
		  "costs a second service, with rights and outages of its own.",
		  has_file ? json_sprintf(
				     "Once everybody who works on this state has terraform 1.11 "
				     "or later, delete from the backend block\n"
				     "    dynamodb_table\n"
				     "and run: terraform init -reconfigure")
			   : json_sprintf("Add to the backend block\n"
					  "    use_lockfile = true\n"
					  "and run: terraform init -reconfigure. Remove "
					  "dynamodb_table once nobody is left with a terraform "
					  "before 1.11."));
}

void judge_lock(struct judge *judge)
{
	const int minor = minor_of(judge_text(judge->backend, "terraform_version"));
	const bool has_file = json_is_true(json_object_get(judge->backend, "lockfile"));
	const bool has_table = *judge_text(judge->backend, "table");

	if (!has_file && !has_table) {
		add_off(judge, minor);
		return;
	}
	if (has_file && !(has_table && minor < LOCKFILE_TRIED))
		judge_lockfile(judge, minor);
	if (has_table)
		judge_deprecated(judge, minor, has_file);
}
