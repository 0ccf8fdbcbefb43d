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

/* Call @handler when what cgroup_is_populated() says may have changed. Return: 0; -ENOENT if it is
 * gone; or what sd_event_add_inotify(3) says. */
int cgroup_watch(sd_event_source **ret, sd_event *event, const char *cgroup,
		 sd_event_inotify_handler_t handler, void *userdata);
