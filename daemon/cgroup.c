/* SPDX-License-Identifier: MIT */
#include "daemon/cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/cleanup.h"

/* v2 alone, or v2 beside v1. Return: its events file, the caller's to free; NULL with errno. */
static char *events_path(const char *cgroup)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		char *path = NULL;

		if (asprintf(&path, "%s%s/cgroup.events", roots[i], cgroup) < 0) {
			errno = ENOMEM;
			return NULL;
		}
		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

bool cgroup_is_shown(const char *cgroup)
{
	AUTO_FREE char *path = events_path(cgroup);

	return path;
}

bool cgroup_is_populated(const char *cgroup)
{
	AUTO_FREE char *path = events_path(cgroup);
	bool is_populated = true;
	char line[64];
	FILE *file;

	if (!path)
		return errno != ENOENT;
	file = fopen(path, "re");
	if (!file)
		return errno != ENOENT;
	while (fgets(line, sizeof(line), file))
		if (strcmp(line, "populated 0\n") == 0)
			is_populated = false;
	if (ferror(file) && errno == ENODEV) /* it went while we read */
		is_populated = false;
	(void)fclose(file);
	return is_populated;
}

void cgroup_unwatch(struct cgroup_watch *watch)
{
	watch->changed = sd_event_source_disable_unref(watch->changed);
	watch->removed = sd_event_source_disable_unref(watch->removed);
}

/* The kernel tells of a change some time after it, and not at all if the cgroup is removed by then:
 * but the folder that it was in always sees that. */
int cgroup_watch(struct cgroup_watch *watch, sd_event *event, const char *cgroup,
		 sd_event_inotify_handler_t handler, void *userdata)
{
	AUTO_FREE char *path = events_path(cgroup);
	int r;

	if (!path)
		return errno == ENOENT ? 0 : -errno;
	r = sd_event_add_inotify(event, &watch->changed, path, IN_MODIFY, handler, userdata);
	if (r >= 0) {
		*strrchr(path, '/') = '\0';
		*strrchr(path, '/') = '\0';
		r = sd_event_add_inotify(event, &watch->removed, path, IN_DELETE, handler,
					 userdata);
	}
	if (r < 0)
		cgroup_unwatch(watch);
	return r == -ENOENT ? 0 : r;
}
