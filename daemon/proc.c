/* SPDX-License-Identifier: MIT */
#include "daemon/proc.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"

/* Fields of /proc/<pid>/stat, counted from the one behind the name, which may hold anything. */
enum { FIELD_STATE = 0, FIELD_SESSION = 3, FIELD_START = 19 };

/* @line: as read. Return: where field @number begins, or NULL. */
static const char *field(const char *line, int number)
{
	const char *at = strrchr(line, ')');

	if (!at)
		return NULL;
	at = strchr(at, ' ');
	for (int i = 0; at && i < number; i++)
		at = strchr(at + 1, ' ');
	return at ? at + 1 : NULL;
}

static bool has_ended(const char *line)
{
	const char *state = field(line, FIELD_STATE);

	return !state || *state == 'Z' || *state == 'X';
}

static bool read_stat(char *buf, int size, uint64_t pid)
{
	char path[64];
	FILE *file;
	bool is_read;

	(void)snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
	file = fopen(path, "re");
	is_read = file && fgets(buf, size, file);
	if (file)
		(void)fclose(file);
	return is_read;
}

uint64_t proc_start(pid_t pid)
{
	char line[1024];
	const char *start;

	if (pid <= 0 || !read_stat(line, sizeof(line), (uint64_t)pid) || has_ended(line))
		return 0;
	start = field(line, FIELD_START);
	return start ? strtoull(start, NULL, 10) : 0;
}

pid_t proc_survivor(pid_t session)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char line[1024];
		const char *of;
		uint64_t pid;

		if (parse_u64(entry->d_name, INT32_MAX, &pid) < 0 ||
		    !read_stat(line, sizeof(line), pid) || has_ended(line))
			continue;
		of = field(line, FIELD_SESSION);
		if (of && strtol(of, NULL, 10) == session)
			found = (pid_t)pid;
	}
	if (proc)
		(void)closedir(proc);
	return found;
}

/* Opened first: a number that was given to another process meanwhile has another start. */
int proc_watch(pid_t pid, uint64_t start)
{
	AUTO_CLOSE int fd = pidfd_open(pid, 0);

	if (fd < 0)
		return -errno;
	return proc_start(pid) == start ? TAKE_FD(fd) : -ESRCH;
}
