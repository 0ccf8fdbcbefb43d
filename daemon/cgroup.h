/* SPDX-License-Identifier: MIT */
/* What lives in a cgroup, as the kernel tells it (cgroup v2). */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

/*
 * Is a process in @cgroup, or below it? @cgroup: as sd_pid_get_cgroup(3) names it. One that is
 * not there is empty; what cannot be read counts as populated.
 */
bool cgroup_is_populated(const char *cgroup);

/* Does this machine show what is in @cgroup? */
bool cgroup_is_shown(const char *cgroup);

/* What tells that a cgroup has changed, or is gone. */
struct cgroup_watch {
	sd_event_source *changed, *removed;
};

/*
 * Call @handler when what cgroup_is_populated() says may have changed; for some other reasons, too.
 * Whoever has not looked since may have missed it. Return: 0, also for a cgroup that is gone; or
 * what sd_event_add_inotify(3) says, and there is no watch.
 */
int cgroup_watch(struct cgroup_watch *watch, sd_event *event, const char *cgroup,
		 sd_event_inotify_handler_t handler, void *userdata);
void cgroup_unwatch(struct cgroup_watch *watch);
