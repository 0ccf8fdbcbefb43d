/* SPDX-License-Identifier: MIT */
/* A transient unit, as it is ordered from systemd. Anybody can read what is in it. */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/parse.h"
#include "daemon/launcher_parts.h"

#define STOP_MARGIN_USEC (30 * USEC_PER_SEC) /* over stop_grace, for leftovers */

/* The message, and the first error on the way. */
struct properties {
	sd_bus_message *message;
	int r;
};

static void put_text(struct properties *properties, const char *name, const char *value)
{
	if (properties->r >= 0)
		properties->r =
			sd_bus_message_append(properties->message, "(sv)", name, "s", value);
}

static void put_number(struct properties *properties, const char *name, uint64_t value)
{
	if (properties->r >= 0)
		properties->r =
			sd_bus_message_append(properties->message, "(sv)", name, "t", value);
}

static void put_id(struct properties *properties, const char *name, uint64_t id)
{
	char digits[24];

	(void)snprintf(digits, sizeof(digits), "%" PRIu64, id);
	put_text(properties, name, digits);
}

static void put_fd(struct properties *properties, const char *name, int fd)
{
	if (properties->r >= 0)
		properties->r = sd_bus_message_append(properties->message, "(sv)", name, "h", fd);
}

static void open_container(struct properties *properties, char type, const char *contents)
{
	if (properties->r >= 0)
		properties->r = sd_bus_message_open_container(properties->message, type, contents);
}

static void close_containers(struct properties *properties, int count)
{
	while (count-- > 0 && properties->r >= 0)
		properties->r = sd_bus_message_close_container(properties->message);
}

static void put_string(struct properties *properties, const char *text)
{
	if (properties->r >= 0)
		properties->r = sd_bus_message_append(properties->message, "s", text);
}

static void put_command(struct properties *properties, char *const *argv)
{
	open_container(properties, 'r', "sv");
	put_string(properties, "ExecStart");
	open_container(properties, 'v', "a(sasb)");
	open_container(properties, 'a', "(sasb)");
	open_container(properties, 'r', "sasb");
	put_string(properties, argv[0]);
	open_container(properties, 'a', "s");
	for (; *argv; argv++)
		put_string(properties, *argv);
	close_containers(properties, 1);
	if (properties->r >= 0)
		properties->r = sd_bus_message_append(properties->message, "b", false);
	close_containers(properties, 4);
}

/* So that `journalctl TFQ_JOB=5` shows what its runner says, too. */
static void put_log_field(struct properties *properties, uint64_t id)
{
	char field[40];

	(void)snprintf(field, sizeof(field), "TFQ_JOB=%" PRIu64, id);
	open_container(properties, 'r', "sv");
	put_string(properties, "LogExtraFields");
	open_container(properties, 'v', "aay");
	open_container(properties, 'a', "ay");
	if (properties->r >= 0)
		properties->r =
			sd_bus_message_append_array(properties->message, 'y', field, strlen(field));
	close_containers(properties, 3);
}

/*
 * systemd itself would add all groups that /etc/group has of the user, which may be more than who
 * asked has. So the runner gets the right to set them, sets them, and gives it up before anything
 * else (runner/rights.c).
 */
static void put_owner(struct properties *properties, const struct job_owner *owner)
{
	put_id(properties, "User", owner->uid);
	put_id(properties, "Group", owner->gid);
	if (owner->uid != 0)
		put_number(properties, "AmbientCapabilities", UINT64_C(1) << CAP_SETGID);
}

/* What is stopped at a shutdown is stopped in the other order: jobs first, while there is still a
 * tfqd, a network and a home directory. No Requires=: tfqd may come and go. */
static void put_job(struct properties *properties, const struct launcher *launcher,
		    const struct job *job)
{
	const struct config *config = launcher->setup.config;

	put_text(properties, "Slice", config->slice);
	put_text(properties, "KillMode", "mixed");
	put_text(properties, "OOMPolicy", "continue");
	put_number(properties, "TimeoutStopUSec", config->stop_grace_usec + STOP_MARGIN_USEC);
	put_number(properties, "LimitNOFILE", launcher->setup.nofile->rlim_max);
	put_number(properties, "LimitNOFILESoft", launcher->setup.nofile->rlim_cur);
	if (config->memory_high_bytes > 0)
		put_number(properties, "MemoryHigh", config->memory_high_bytes);
	if (config->cpu_weight > 0)
		put_number(properties, "CPUWeight", config->cpu_weight);
	if (config->tasks_max > 0)
		put_number(properties, "TasksMax", config->tasks_max);
	put_log_field(properties, job->id);
	if (properties->r >= 0) {
		properties->r = sd_bus_message_append(properties->message, "(sv)", "After", "as", 6,
						      "tfqd.service", "tfqd.socket",
						      "network.target", "network-online.target",
						      "nss-user-lookup.target", "remote-fs.target");
	}
}

static void put_helper(struct properties *properties, const struct launcher *launcher,
		       const struct launcher_helper *helper)
{
	put_text(properties, "Slice", launcher->setup.config->slice);
	put_text(properties, "KillMode", "control-group");
	put_text(properties, "StandardError", "null");
	put_fd(properties, "StandardInputFileDescriptor", helper->stdin_fd);
	put_fd(properties, "StandardOutputFileDescriptor", helper->stdout_fd);
	put_number(properties, "RuntimeMaxUSec", helper->limit_usec);
	put_number(properties, "TimeoutStopUSec", USEC_PER_SEC);
	put_number(properties, "LimitNOFILESoft", helper->nofile);
}

int launcher_compose(sd_bus_message **ret, const struct launcher *launcher,
		     const struct launcher_order *order)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	struct properties properties = { 0 };

	properties.r =
		sd_bus_message_new_method_call(launcher->bus, &message, SYSTEMD_NAME, SYSTEMD_PATH,
					       SYSTEMD_MANAGER, "StartTransientUnit");
	properties.message = message;
	put_string(&properties, order->name);
	put_string(&properties, "fail");
	open_container(&properties, 'a', "(sv)");
	put_text(&properties, "Description", order->description);
	put_text(&properties, "Type", "exec");
	put_text(&properties, "CollectMode", "inactive-or-failed");
	put_command(&properties, order->argv);
	put_owner(&properties, order->owner);
	if (properties.r >= 0)
		properties.r = sd_bus_message_append(message, "(sv)", "Environment", "as", 1,
						     "PATH=/usr/local/bin:/usr/bin:/bin");
	if (order->job)
		put_job(&properties, launcher, order->job);
	else
		put_helper(&properties, launcher, order->helper);
	close_containers(&properties, 1);
	if (properties.r >= 0)
		properties.r = sd_bus_message_append(message, "a(sa(sv))", 0);
	if (properties.r < 0)
		return properties.r;
	*ret = TAKE_PTR(message);
	return 0;
}
