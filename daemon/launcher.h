/* SPDX-License-Identifier: MIT */
/*
 * Starts programs as the users for whom they run: as children of tfqd (launcher_direct.c), or as
 * transient units of systemd (launcher_systemd.c), which then does what needs rights.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "daemon/config.h"
#include "daemon/job.h"

struct launcher;
struct launcher_unit;

/* All borrowed for its life. */
struct launcher_setup {
	sd_event *event;
	const struct config *config;
	const char *runner; /* path of tfq-runner */
	const char *socket; /* where runners say hello */
	const struct rlimit
		*nofile; /* RLIMIT_NOFILE of jobs, which the daemon has raised for itself */
};

/* Decide between the two by [runner] launcher; says in the log where "auto" is not what is usual.
 * Return: 0; -EPERM, told, if launcher = systemd cannot be; or another negative errno. */
int launcher_new(struct launcher **ret, const struct launcher_setup *setup);
struct launcher *launcher_free(struct launcher *launcher); /* units go on; NULL */
DEFINE_FREEP(launcher);

/* Units? Otherwise children. NULL: children. */
bool launcher_has_units(const struct launcher *launcher);

/* Why starting something as another user failed with @error: for people. */
const char *launcher_explain(int error);

/* --- children ------------------------------------------------------------------------------ */

/* A program to be started as somebody. All borrowed for the call. */
struct launcher_program {
	const struct job_owner *owner;
	char *const *argv; /* argv[0] is its path */
	char *const *env;
	int stdin_fd, stdout_fd; /* -1: /dev/null */
	const struct rlimit *nofile;
};

/*
 * Start it as its owner: own session, no signal blocked or ignored, only standard descriptors;
 * stderr is ours if the owner is. The caller reaps it. Return: as launcher_direct_start().
 */
int launcher_direct_spawn(pid_t *ret_pid, const struct launcher_program *program);

/*
 * Start @runner, the path of tfq-runner, for @job as its owner: own session, empty
 * environment, only standard descriptors. It says hello on the socket at @socket.
 * The caller reaps it. @nofile: RLIMIT_NOFILE for it, which the daemon has raised for itself.
 *
 * Return: 0 and *@ret_pid; -EPERM if this process cannot become that user; or what
 * fork(2), setgroups(2), setresuid(2) or execve(2) says.
 */
int launcher_direct_start(pid_t *ret_pid, const struct job *job, const char *runner,
			  const char *socket, const struct rlimit *nofile);

/* --- units --------------------------------------------------------------------------------- */

/*
 * No process of the unit lives, and none will. @why: it could not be started; NULL: it was. The
 * callee frees the unit.
 */
typedef void (*launcher_end_fn)(struct launcher_unit *unit, const char *why, void *userdata);

/*
 * Start the runner of @job, which outlives the unit, as tfq-job-ID.service. Nothing secret is in
 * the unit; who may see it is everybody. A unit of that name from before is waited for, for a
 * while. @end is called once, from the loop, unless launcher_unit_free() comes first.
 * Return: 0, or a negative errno.
 */
int launcher_unit_start_runner(struct launcher_unit **ret, struct launcher *launcher,
			       const struct job *job, launcher_end_fn end, void *userdata);

/* A helper for @owner, with these descriptors, borrowed for the call, as stdin and stdout. It ends
 * after @limit_usec at the latest. Otherwise as above. */
struct launcher_helper {
	const struct job_owner *owner;
	int stdin_fd, stdout_fd;
	uint64_t nofile, limit_usec;
};
int launcher_unit_start_helper(struct launcher_unit **ret, struct launcher *launcher,
			       const struct launcher_helper *helper, launcher_end_fn end,
			       void *userdata);

/* One that another tfqd has started, by its cgroup. Return: 0; -ESRCH if nothing lives there. */
int launcher_unit_find(struct launcher_unit **ret, struct launcher *launcher, sd_event *event,
		       const char *cgroup, launcher_end_fn end, void *userdata);

/*
 * Process @pid says that it is the first of the unit. Return: 0 and its cgroup, the caller's to
 * free; -EPERM if it is in another; or another negative errno.
 */
int launcher_unit_claim(struct launcher_unit *unit, pid_t pid, char **ret_cgroup);

/* Is process @pid in the unit of job @id, of whichever tfqd? */
bool launcher_unit_has(uint64_t id, pid_t pid);

/* SIGKILL to all of it. */
void launcher_unit_kill(struct launcher_unit *unit);
struct launcher_unit *launcher_unit_free(struct launcher_unit *unit); /* it goes on; NULL */
