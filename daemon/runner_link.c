/* SPDX-License-Identifier: MIT */
/*
 * Runners seen from the daemon: started, told what to run, told to go. Secrets (the
 * environment) reach a runner in the answer to its hello and nowhere else.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/log.h"
#include "daemon/cgroup.h"
#include "daemon/job_files.h"
#include "daemon/journal.h"
#include "daemon/launcher.h"
#include "daemon/peer.h"
#include "daemon/proc.h"
#include "daemon/scheduler_parts.h"

#define CHILD_LOCK_TIMEOUT "1h" /* terraform's own wait, where it takes the lock itself */

/* --- starting and watching ------------------------------------------------------------------- */

/* A process of ours, and whose runner it is; it may outlive the job. */
struct child {
	struct scheduler *scheduler;
	uint64_t job;
};

static int on_exit_of_runner(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	const struct child *child = userdata;
	struct scheduler *scheduler = child->scheduler;
	struct job *job = scheduler_find(scheduler, child->job);
	char how[64];

	/* It floats, so that it outlives its job; its work is done. This drops the last reference.
	 */
	(void)sd_event_source_set_floating(source, false);

	if (!job || job->runner_pid != info->si_pid)
		return 0;
	(void)snprintf(how, sizeof(how),
		       info->si_code == CLD_EXITED ? "its runner gave up with exit code %d"
						   : "its runner was killed by signal %d",
		       info->si_status);
	scheduler_runner_died(scheduler, job, how);
	return 0;
}

/* systemd has killed what was left in it. */
static void on_end_of_unit(struct launcher_unit *unit, const char *why, void *userdata)
{
	struct job *job = userdata;
	char how[160];

	(void)unit;
	(void)snprintf(how, sizeof(how),
		       "its runner died before terraform was started: see 'journalctl "
		       "TFQ_JOB=%" PRIu64 "'",
		       job->id);
	scheduler_runner_died(lane_of(job->line)->scheduler, job, why ? why : how);
}

static int watch_child(struct scheduler *scheduler, const struct job *job, pid_t pid)
{
	CLEANUP(sd_event_source_unrefp) sd_event_source *source = NULL;
	AUTO_FREE struct child *child = malloc(sizeof(*child));
	int r;

	if (!child)
		return -ENOMEM;
	*child = (struct child){ .scheduler = scheduler, .job = job->id };
	r = sd_event_add_child(scheduler->setup.event, &source, pid, WEXITED, on_exit_of_runner,
			       child);
	if (r >= 0)
		r = sd_event_source_set_destroy_callback(source, free);
	if (r < 0)
		return r;
	(void)TAKE_PTR(child);
	return sd_event_source_set_floating(source, true);
}

int runner_link_start(struct scheduler *scheduler, struct job *job)
{
	pid_t pid = 0;
	int r;

	if (job->runner_pid || job->unit)
		return 0;
	if (launcher_has_units(scheduler->setup.launcher))
		return launcher_unit_start_runner(&job->unit, scheduler->setup.launcher, job,
						  on_end_of_unit, job);
	r = launcher_direct_start(&pid, job, scheduler->setup.runner, scheduler->setup.socket,
				  scheduler->setup.nofile);
	if (r < 0)
		return r;
	job->runner_pid = job->session = pid;
	job->runner_start = proc_start(pid);
	r = watch_child(scheduler, job, pid);
	if (r < 0)
		journal_job(JOURNAL_RUNNER_TROUBLE, job, "cannot watch its runner: %s",
			    strerror(-r));
	job->armed = scheduler_note(scheduler, job);
	return 0;
}

static int on_end_of_watched(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct job *job = userdata;

	(void)fd;
	(void)revents;

	(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	scheduler_runner_died(lane_of(job->line)->scheduler, job, NULL);
	return 0;
}

bool runner_link_lives(const struct job *job)
{
	return (job->cgroup && cgroup_is_populated(job->cgroup)) ||
	       (job->runner_pid > 0 && job->runner_start > 0 &&
		proc_start(job->runner_pid) == job->runner_start);
}

void runner_link_kill(struct job *job)
{
	if (job->unit)
		launcher_unit_kill(job->unit);
}

void runner_link_forget(struct job *job)
{
	job->runner_pid = 0;
	job->unit = launcher_unit_free(job->unit);
	free(TAKE_PTR(job->cgroup));
}

int runner_link_claim(struct scheduler *scheduler, struct job *job, pid_t pid)
{
	AUTO_FREE char *cgroup = NULL;
	int r;

	if (!job->unit)
		return -EPERM;
	r = launcher_unit_claim(job->unit, pid, &cgroup);
	if (r < 0)
		return r;
	free(job->cgroup);
	job->cgroup = TAKE_PTR(cgroup);
	job->runner_pid = job->session = pid;
	job->runner_start = proc_start(pid);
	job->armed = scheduler_note(scheduler, job);
	return 0;
}

int runner_link_watch(struct scheduler *scheduler, struct job *job)
{
	int fd, r;

	if (job->cgroup)
		return launcher_unit_find(&job->unit, scheduler->setup.launcher,
					  scheduler->setup.event, job->cgroup, on_end_of_unit, job);
	fd = proc_watch(job->runner_pid, job->runner_start);
	if (fd < 0)
		return fd;
	r = sd_event_add_io(scheduler->setup.event, &job->runner_watch, fd, EPOLLIN,
			    on_end_of_watched, job);
	if (r >= 0)
		r = sd_event_source_set_io_fd_own(job->runner_watch, true);
	if (r < 0)
		(void)close(fd);
	return r;
}

/* --- orders ---------------------------------------------------------------------------------- */

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
	const bool wants_journal = scheduler->setup.config->output && log_goes_to_journal();

	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s?, s:b, s:b, s:s, s:s, s:s?, s:i, s:b, s:b, "
			 "s:i, s:i, s:I, s:s?}",
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
			 "stdin", job->stdin_fd >= 0,
			 "tty", job->has_tty,
			 "rows", (int)job->rows,
			 "columns", (int)job->columns,
			 "approval_timeout",
			 (json_int_t)scheduler->setup.config->approval_timeout_usec,
			 "journal", wants_journal ? job->backend->name : NULL);
}
/* clang-format on */

int runner_link_attach(struct job *job, const struct job_viewer *viewer)
{
	return send_order(job,
			  json_pack("{s:s, s:I, s:b}", "order", "attach", "offset",
				    (json_int_t)viewer->offset, "input", viewer->has_input),
			  true, &viewer->fd, 1);
}

void runner_link_prepare(struct scheduler *scheduler, struct job *job)
{
	AUTO_CLOSE int recording = -1, reports = -1;
	int fds[3];
	int r;

	r = job_files_begin(scheduler->setup.jobs_dir, job->id, &recording, &reports);
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
	/* A runner that cannot be told is gone, and found out as such. */
	for (size_t i = 0; r >= 0 && i < job->viewer_count; i++)
		r = runner_link_attach(job, &job->viewers[i]);
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
	/* Where the kernel wakes it on this CPU, it would wait until all is done that can wait. */
	(void)sched_yield();
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
