/* SPDX-License-Identifier: MIT */
#include "daemon/job_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/log.h"
#include "common/parse.h"

static const char *const names[] = { "output", "reports" };

/* @name: NULL: the folder itself. @buf has PATH_MAX bytes. */
static int path_of(char *buf, const char *jobs_dir, uint64_t id, const char *name)
{
	const int n = snprintf(buf, PATH_MAX, "%s/%" PRIu64 "%s%s", jobs_dir, id, name ? "/" : "",
			       name ? name : "");

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int job_files_reserve(const char *jobs_dir, uint64_t id)
{
	char path[PATH_MAX];
	const int r = path_of(path, jobs_dir, id, NULL);

	if (r < 0)
		return r;
	return mkdir(path, 0700) < 0 ? -errno : 0;
}

/* Return: a descriptor, or a negative errno. */
static int make_file(const char *jobs_dir, uint64_t id, const char *name)
{
	char path[PATH_MAX];
	int fd;
	const int r = path_of(path, jobs_dir, id, name);

	if (r < 0)
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int job_files_begin(const char *jobs_dir, uint64_t id, int *ret_recording, int *ret_reports)
{
	AUTO_CLOSE int recording = -1;
	int r;

	r = job_files_reserve(jobs_dir, id);
	if (r < 0 && r != -EEXIST)
		return r;
	r = make_file(jobs_dir, id, "output");
	if (r < 0)
		return r;
	recording = r;
	r = make_file(jobs_dir, id, "reports");
	if (r < 0)
		return r;
	*ret_reports = r;
	*ret_recording = TAKE_FD(recording);
	return 0;
}

static int open_file(const char *jobs_dir, uint64_t id, const char *name)
{
	char path[PATH_MAX];
	int fd;
	const int r = path_of(path, jobs_dir, id, name);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int job_files_open_recording(const char *jobs_dir, uint64_t id)
{
	return open_file(jobs_dir, id, "output");
}

uint64_t job_files_size(const char *jobs_dir, uint64_t id)
{
	char path[PATH_MAX];
	struct stat st;

	if (path_of(path, jobs_dir, id, "output") < 0 || stat(path, &st) < 0)
		return 0;
	return (uint64_t)st.st_size;
}

json_t *job_files_read_reports(const char *jobs_dir, uint64_t id)
{
	AUTO_CLOSE int fd = open_file(jobs_dir, id, "reports");
	AUTO_FREE char *text = NULL;
	json_t *reports;
	char *line, *end;
	size_t len = 0;
	int r;

	if (fd < 0)
		return NULL;
	text = malloc(JOB_FILES_REPORTS_MAX + 1);
	reports = json_array();
	r = text && reports ? io_read_all(fd, text, JOB_FILES_REPORTS_MAX, &len) : -ENOMEM;
	if (r < 0) {
		json_decref(reports);
		return NULL;
	}
	text[len] = '\0';
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		json_t *report = json_loadb(line, (size_t)(end - line), 0, NULL);

		if (json_is_object(report))
			(void)json_array_append_new(reports, report);
		else
			json_decref(report);
	}
	return reports;
}

void job_files_remove(const char *jobs_dir, uint64_t id)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (path_of(path, jobs_dir, id, names[i]) == 0 && unlink(path) < 0 &&
		    errno != ENOENT)
			log_warning(errno, "Failed to remove %s: %m", path);
	}
	if (path_of(path, jobs_dir, id, NULL) == 0 && rmdir(path) < 0 && errno != ENOENT)
		log_warning(errno, "Failed to remove %s: %m", path);
}

int job_files_last_id(const char *jobs_dir, uint64_t *ret)
{
	DIR *dir = opendir(jobs_dir);
	const struct dirent *entry;
	uint64_t highest = 0, id;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (parse_u64(entry->d_name, INT64_MAX - 1, &id) == 0 && id > highest)
			highest = id;
	(void)closedir(dir);
	*ret = highest;
	return 0;
}

void job_files_sweep(const char *jobs_dir)
{
	DIR *dir = opendir(jobs_dir);
	const struct dirent *entry;
	uint64_t id;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (parse_u64(entry->d_name, INT64_MAX - 1, &id) == 0)
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	(void)closedir(dir);
}
