/* SPDX-License-Identifier: MIT */
/* tfqd on this machine, and who else it has seen on the same state. */
#include <string.h>

#include "client/doctor/judge.h"

#define MODE_OTHERS 0007

static void judge_daemon(struct judge *judge, const json_t *daemon)
{
	const char *error = judge_text(daemon, "error"), *socket = judge_text(daemon, "socket"),
		   *group = judge_text(daemon, "group");

	if (strcmp(error, "denied") == 0) {
		judge_add(judge, FINDING_ERROR, "daemon-denied",
			  json_sprintf("You may not connect to tfqd at %s.", socket),
			  "You cannot queue anything.",
			  json_sprintf("sudo usermod -aG %s \"$USER\"\n"
				       "and log in again.",
				       *group ? group : "tfqd"));
	} else if (strcmp(error, "absent") == 0) {
		judge_add(judge, FINDING_ERROR, "daemon-absent",
			  json_sprintf("tfqd does not run (no answer at %s).", socket),
			  "Nothing is queued; tfq refuses to run what locks a state.",
			  json_sprintf("sudo systemctl enable --now tfqd.socket\n"
				       "or, for yourself alone: tfqd"));
	} else if (*error) {
		judge_add(judge, FINDING_ERROR, "daemon-silent",
			  json_sprintf("tfqd at %s does not answer: %s", socket, error),
			  "Nothing can be queued.",
			  json_sprintf("journalctl -u tfqd -n 50\n"
				       "sudo systemctl restart tfqd"));
	}
}

static void judge_socket(struct judge *judge, const json_t *daemon)
{
	const json_int_t mode = json_integer_value(json_object_get(daemon, "mode"));
	const char *socket = judge_text(daemon, "socket"), *group = judge_text(daemon, "group");

	if (!json_object_get(daemon, "mode") || !json_is_true(json_object_get(daemon, "system")))
		return;
	if (mode & MODE_OTHERS) {
		judge_add(
			judge, FINDING_WARNING, "socket-open",
			json_sprintf("Everybody on this machine may connect to tfqd (mode %04o of "
				     "%s).",
				     (unsigned)mode, socket),
			"Jobs run as who queues them; but everybody sees the queue, and may fill "
			"it.",
			json_sprintf("sudo systemctl edit tfqd.socket\n"
				     "    [Socket]\n"
				     "    SocketMode=0660\n"
				     "sudo systemctl restart tfqd.socket"));
	} else if (strcmp(group, "root") == 0) {
		judge_add(judge, FINDING_WARNING, "socket-group",
			  json_sprintf("The group of %s is root.", socket),
			  "Nobody but root can queue anything.",
			  json_sprintf(
				  "sudo systemctl edit tfqd.socket\n"
				  "    [Socket]\n"
				  "    SocketGroup=tfqd\n"
				  "sudo systemd-sysusers && sudo systemctl restart tfqd.socket"));
	}
}

/* Each person may have a checkout; one person with two is more likely to have copied a block. */
static void judge_others(struct judge *judge)
{
	const json_t *others = json_object_get(judge->facts, "others");

	for (size_t i = 0; i < json_array_size(others); i++) {
		const json_t *other = json_array_get(others, i);

		if (!json_is_true(json_object_get(other, "same_user")))
			continue;
		judge_add(
			judge, FINDING_WARNING, "same-state",
			json_sprintf("You have run jobs on this state from %s, too.",
				     judge_text(other, "directory")),
			"If that is another environment, each apply destroys what the other one has "
			"made. A second checkout of the same configuration is fine.",
			json_sprintf(
				"Give each environment a key of its own in its backend block:\n"
				"    key = \"ENVIRONMENT/terraform.tfstate\"\n"
				"or a workspace: terraform workspace new ENVIRONMENT"));
	}
}

void judge_machine(struct judge *judge)
{
	const json_t *daemon = json_object_get(judge->facts, "daemon");

	judge_daemon(judge, daemon);
	judge_socket(judge, daemon);
	judge_others(judge);
}
