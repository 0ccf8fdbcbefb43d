/* SPDX-License-Identifier: MIT */
#include "runner/tree.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/cleanup.h"

struct pids {
	pid_t *list;
	size_t count, room;
};

/* Without memory for it a process is found by a later pass, when others are gone. */
static void add(struct pids *pids, pid_t pid)
{
	if (pids->count == pids->room) {
		const size_t room = pids->room ? 2 * pids->room : 64;
		pid_t *list = reallocarray(pids->list, room, sizeof(*list));

		if (!list)
			return;
		pids->list = list;
		pids->room = room;
	}
	pids->list[pids->count++] = pid;
}

/* The children that one thread has: "123 456 ", proc(5). */
static int add_children_of_thread(struct pids *pids, const char *process, pid_t thread)
{
	AUTO_FREE char *number = NULL;
	char path[64];
	FILE *children;
	size_t size = 0;

	(void)snprintf(path, sizeof(path), "/proc/%s/task/%d/children", process, (int)thread);
	children = fopen(path, "re");
	if (!children)
		return -errno;
	while (getdelim(&number, &size, ' ', children) > 0) {
		const pid_t pid = (pid_t)strtol(number, NULL, 10);

		if (pid > 0) /* kill(2) takes others for groups */
			add(pids, pid);
	}
	(void)fclose(children);
	return 0;
}

/* Ours; we have one thread. A /proc of another PID namespace does not know it by this number. */
static int add_own_children(struct pids *pids)
{
	return add_children_of_thread(pids, "self", gettid());
}

/* What has just ended has none: they have come to us. */
static void add_children_of(struct pids *pids, pid_t pid)
{
	const struct dirent *entry;
	char process[16], path[64];
	DIR *tasks;

	(void)snprintf(process, sizeof(process), "%d", (int)pid);
	(void)snprintf(path, sizeof(path), "/proc/%s/task", process);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		const pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);

		if (thread > 0)
			(void)add_children_of_thread(pids, process, thread);
	}
	if (tasks)
		(void)closedir(tasks);
}

int tree_signal_children(int signal_number)
{
	struct pids pids = { 0 };
	int r;

	r = add_own_children(&pids);
	for (size_t i = 0; i < pids.count; i++)
		(void)kill(pids.list[i], signal_number);
	free(pids.list);
	return r < 0 ? r : (int)pids.count;
}

int tree_kill(void)
{
	struct pids pids = { 0 };
	int r;

	r = add_own_children(&pids);
	for (size_t i = 0; i < pids.count; i++) {
		const pid_t pid = pids.list[i];

		add_children_of(&pids, pid); /* first: once it is dead they are not its own */
		(void)kill(pid, SIGKILL);
	}
	free(pids.list);
	return r < 0 ? r : (int)pids.count;
}
