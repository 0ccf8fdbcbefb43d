/* SPDX-License-Identifier: MIT */
/*
 * Runners seen from the daemon: started, told what to run, told to go. Secrets (the
 * environment) reach a runner in the answer to its hello and nowhere else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/parse.h"
#include "common/wire.h"
#include "daemon/journal.h"
#include "daemon/launcher.h"
#include "daemon/peer.h"
#include "daemon/scheduler_parts.h"

#define CHILD_LOCK_TIMEOUT "1h" /* terraform's own wait, where it takes the lock itself */

/* --- recordings ------------------------------------------------------------------------------ */

static int job_path(char **ret, const char *jobs_dir, uint64_t id, const char *rest)
{
	if (asprintf(ret, "%s/%" PRIu64 "%s", jobs_dir, id, rest) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static int open_file(const char *jobs_dir, uint64_t id, const char *name, int *ret)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *file = NULL;

	if (job_path(&dir, jobs_dir, id, "") < 0 || job_path(&file, jobs_dir, id, name) < 0)
		return -ENOMEM;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	*ret = open(file, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *ret < 0 ? -errno : 0;
}

static void remove_recording(const char *dir, const char *file)
{
	AUTO_FREE char *reports = NULL;

	if (asprintf(&reports, "%s/reports", dir) < 0) {
		reports = NULL;
		return;
	}
	if ((unlink(file) < 0 && errno != ENOENT) || (unlink(reports) < 0 && errno != ENOENT) ||
	    (rmdir(dir) < 0 && errno != ENOENT))
		log_warning(errno, "Failed to remove %s: %m", dir);
}

int runner_link_reserve(const char *jobs_dir, uint64_t id)
{
	AUTO_FREE char *dir = NULL;

	if (job_path(&dir, jobs_dir, id, "") < 0)
		return -ENOMEM;
	return mkdir(dir, 0700) < 0 ? -errno : 0;
}

void runner_link_forget(const struct scheduler *scheduler, const struct job *job)
{
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *file = NULL;

	if (job_path(&dir, scheduler->setup.jobs_dir, job->id, "") < 0 ||
	    job_path(&file, scheduler->setup.jobs_dir, job->id, "/output") < 0)
		return;
	remove_recording(dir, file);
}

/* As many as there are jobs that would be remembered. */
static void remove_old(const char *jobs_dir, DIR *dir, uint64_t highest)
{
	const struct dirent *entry;
	uint64_t id;

	rewinddir(dir);
	while ((entry = readdir(dir))) {
		AUTO_FREE char *job_dir = NULL;
		AUTO_FREE char *file = NULL;

		if (parse_u64(entry->d_name, INT64_MAX - 1, &id) < 0 ||
		    id + SCHEDULER_HISTORY_MAX > highest)
			continue;
		if (job_path(&job_dir, jobs_dir, id, "") == 0 &&
		    job_path(&file, jobs_dir, id, "/output") == 0)
			remove_recording(job_dir, file);
	}
}

int runner_link_next_id(const char *jobs_dir, uint64_t *ret)
{
	DIR *dir = opendir(jobs_dir);
	const struct dirent *entry;
	uint64_t highest = 0, id;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (parse_u64(entry->d_name, INT64_MAX - 1, &id) == 0 && id > highest)
			highest = id;
	remove_old(jobs_dir, dir, highest);
	(void)closedir(dir);
	*ret = highest + 1;
	return 0;
}

/* Session of the process that @stat_line (/proc/<pid>/stat, proc(5)) tells of; the name may hold
 * anything. */
static pid_t session_of(const char *stat_line)
{
	const char *at = strrchr(stat_line, ')');

	for (int i = 0; at && i < 4; i++) { /* state, ppid, pgrp, session */
		at = strchr(at + 1, ' ');
	}
	return at ? (pid_t)strtol(at, NULL, 10) : 0;
}

pid_t runner_link_survivor(pid_t session)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char path[64], line[512];
		uint64_t pid;
		FILE *file;

		if (parse_u64(entry->d_name, INT32_MAX, &pid) < 0)
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
		file = fopen(path, "re");
		if (file && fgets(line, sizeof(line), file) && session_of(line) == session)
			found = (pid_t)pid;
		if (file)
			(void)fclose(file);
	}
	if (proc)
		(void)closedir(proc);
	return found;
}

/* --- starting ----------------------------------------------------------------------------------
 */

static int on_exit_of_runner(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct scheduler *scheduler = userdata;
	struct job *job;

	/* It floats, so that it outlives its job; its work is done. This drops the last reference.
	 */
	(void)sd_event_source_set_floating(source, false);

	TAILQ_FOREACH(job, &scheduler->all, in_all)
	if (job->runner_pid == info->si_pid)
		break;
	if (!job)
		return 0;
	if (job->runner) { /* its last words may still be on the way */
		job->runner_pid = 0;
		return 0;
	}
	job_set_message(job,
			info->si_code == CLD_EXITED ? "its runner gave up with exit code %d"
						    : "its runner was killed by signal %d",
			info->si_status);
	scheduler_runner_gone(scheduler, job);
	return 0;
}

int runner_link_start(struct scheduler *scheduler, struct job *job)
{
	CLEANUP(sd_event_source_unrefp) sd_event_source *source = NULL;
	pid_t pid = 0;
	int r;

	if (job->runner_pid)
		return 0;
	r = launcher_direct_start(&pid, job, scheduler->setup.runner, scheduler->setup.socket,
				  scheduler->setup.nofile);
	if (r < 0)
		return r;
	job->runner_pid = job->session = pid;
	r = sd_event_add_child(scheduler->setup.event, &source, pid, WEXITED, on_exit_of_runner,
			       scheduler);
	if (r >= 0)
		r = sd_event_source_set_floating(source, true);
	if (r < 0)
		journal_job(LOG_WARNING, job, "cannot watch its runner: %s", strerror(-r));
	return 0;
}

/* --- orders -------------------------------------------------------------------------------------
 */

static json_t *strv_json(char *const *strv)
{
	json_t *list = json_array();

	for (; list && strv && *strv; strv++) {
		if (json_array_append_new(list, json_string(*strv)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int send_order(struct job *job, json_t *parameters, bool continues, const int *fds,
		      size_t count)
{
	if (!job->runner) {
		json_decref(parameters);
		return -ENOTCONN;
	}
	return peer_send(job->runner, parameters ? varlink_reply(parameters, continues) : NULL, fds,
			 count);
}

/* clang-format off */
static json_t *spec_json(const struct scheduler *scheduler, const struct job *job)
{
	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s?, s:b, s:b, s:s, s:s, s:s?, s:i, s:b}",
			 "argv", strv_json(job->argv),
			 "environment", strv_json(job->env),
			 "directory", job->directory,
			 "state_directory", job->state_directory,
			 "identity", job->backend->identity,
			 "endpoint_dynamodb", job->backend->endpoint_dynamodb,
			 "plan", job->is_plan,
			 "hold_lock", job_is_locked_by_us(job),
			 "lock_timeout", CHILD_LOCK_TIMEOUT,
			 "binary", scheduler->setup.config->binary,
			 "client", job->client,
			 "umask", (int)job->umask,
			 "stdin", job->stdin_fd >= 0);
}
/* clang-format on */

void runner_link_prepare(struct scheduler *scheduler, struct job *job)
{
	AUTO_CLOSE int recording = -1, reports = -1;
	int fds[3];
	int r;

	r = open_file(scheduler->setup.jobs_dir, job->id, "/output", &recording);
	if (r >= 0)
		r = open_file(scheduler->setup.jobs_dir, job->id, "/reports", &reports);
	if (r < 0) {
		scheduler_refuse(scheduler, job, "cannot record its output below %s: %s",
				 scheduler->setup.jobs_dir, strerror(-r));
		return;
	}
	fds[0] = recording;
	fds[1] = reports;
	fds[2] = job->stdin_fd;
	r = send_order(job,
		       json_pack("{s:s, s:o}", "order", "prepare", "spec",
				 spec_json(scheduler, job)),
		       true, fds, job->stdin_fd >= 0 ? 3 : 2);
	if (r < 0 || job->attach_fd < 0)
		return; /* a runner that cannot be told is gone, and found out as such */
	(void)send_order(job, json_pack("{s:s, s:b}", "order", "attach", "input", 1), true,
			 &job->attach_fd, 1);
}

/*
 * Whether the lock is the daemon's or terraform's may have changed since the runner was
 * prepared: a workspace's missing state is found out late.
 */
void runner_link_go(struct job *job, uint64_t deadline_usec, uint64_t stop_grace_usec)
{
	(void)send_order(job,
			 json_pack("{s:s, s:b, s:I, s:I}", "order", "go", "hold_lock",
				   job_is_locked_by_us(job), "deadline", (json_int_t)deadline_usec,
				   "stop_grace", (json_int_t)stop_grace_usec),
			 true, NULL, 0);
}

void runner_link_deadline(struct job *job, uint64_t deadline_usec)
{
	(void)send_order(job,
			 json_pack("{s:s, s:I}", "order", "deadline", "deadline",
				   (json_int_t)deadline_usec),
			 true, NULL, 0);
}

void runner_link_stop(struct job *job, int level)
{
	(void)send_order(job, json_pack("{s:s, s:i}", "order", "stop", "level", level), true, NULL,
			 0);
}

void runner_link_end(struct job *job)
{
	if (!job->runner)
		return;
	(void)send_order(job,
			 json_pack("{s:s, s:s, s:s?}", "order", "end", "status",
				   job_status_name(job->status), "message", job->message),
			 false, NULL, 0);
}
