/* SPDX-License-Identifier: MIT */
/* Which launcher it is, and the way to systemd. */
#include "daemon/launcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "common/log.h"
#include "daemon/cgroup.h"
#include "daemon/launcher_parts.h"

bool launcher_has_units(const struct launcher *launcher)
{
	return launcher && launcher->has_units;
}

const char *launcher_explain(int error)
{
	if (error != -EPERM || geteuid() != 0)
		return strerror(error < 0 ? -error : error);
	return "this tfqd runs as root, but may not become other users (its unit's sandbox takes "
	       "that away): set [runner] launcher = systemd, and see that the system bus runs; or "
	       "lift the sandbox, see tfqd(8)";
}

/* Started by systemd itself, not by what a service of it runs: that inherits the variables. */
static bool is_system_service(void)
{
	return geteuid() == 0 && getppid() == 1 && getenv("NOTIFY_SOCKET") && sd_booted() > 0;
}

static bool shows_cgroups(void)
{
	AUTO_FREE char *cgroup = NULL;

	return sd_pid_get_cgroup(0, &cgroup) >= 0 && cgroup_is_shown(cgroup);
}

int launcher_connect(struct launcher *launcher)
{
	CLEANUP(sd_bus_unrefp) sd_bus *bus = NULL;
	int r;

	if (launcher->bus && sd_bus_is_open(launcher->bus) > 0)
		return 0;
	launcher->bus = sd_bus_close_unref(launcher->bus);
	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_attach_event(bus, launcher->setup.event, SD_EVENT_PRIORITY_NORMAL);
	if (r < 0)
		return r;
	launcher->bus = TAKE_PTR(bus);
	return 0;
}

static int decide(struct launcher *launcher)
{
	const enum config_launcher wanted = launcher->setup.config->launcher;
	int r;

	if (wanted == CONFIG_LAUNCHER_DIRECT ||
	    (wanted == CONFIG_LAUNCHER_AUTO && !is_system_service()))
		return 0;
	/* Without it nobody would tell us when a unit's last process is gone. */
	if (wanted == CONFIG_LAUNCHER_AUTO && !shows_cgroups()) {
		log_warning(0, "The kernel does not show cgroup v2 below /sys/fs/cgroup: jobs are "
			       "started without systemd, as children of tfqd");
		return 0;
	}
	if (geteuid() != 0) {
		return log_error(-EPERM,
				 "[runner] launcher = systemd is for a tfqd that runs as root; one "
				 "user's own starts jobs itself: launcher = auto or direct");
	}
	if (!shows_cgroups()) {
		return log_error(
			-EOPNOTSUPP,
			"[runner] launcher = systemd needs cgroup v2 below /sys/fs/cgroup: "
			"launcher = direct does without");
	}
	r = launcher_connect(launcher);
	if (r < 0 && wanted == CONFIG_LAUNCHER_AUTO) {
		log_warning(r, "The system bus does not answer (%m): jobs are started without "
			       "systemd, as children of tfqd; start dbus, then tfqd again");
		return 0;
	}
	if (r < 0)
		log_warning(r, "The system bus does not answer yet (%m): no job can be started "
			       "until it does");
	launcher->has_units = true;
	return 0;
}

int launcher_new(struct launcher **ret, const struct launcher_setup *setup)
{
	CLEANUP(launcher_freep) struct launcher *launcher = calloc(1, sizeof(*launcher));
	int r;

	if (!launcher)
		return -ENOMEM;
	launcher->setup = *setup;
	r = decide(launcher);
	if (r < 0)
		return r;
	if (launcher->has_units)
		log_info("Jobs run as units of systemd, in %s", setup->config->slice);
	*ret = TAKE_PTR(launcher);
	return 0;
}

struct launcher *launcher_free(struct launcher *launcher)
{
	if (!launcher)
		return NULL;
	sd_bus_close_unref(launcher->bus);
	free(launcher);
	return NULL;
}
