/* SPDX-License-Identifier: MIT */
/*
 * fork, become the user, exec. Between the two only system calls: libcurl's resolver
 * may have threads, and a lock that one of them held at the fork stays held here.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/process.h"
#include "daemon/launcher.h"

/* Groups first, then gid, then uid: each needs the rights that the next one gives up. */
static int become(const struct job_owner *owner)
{
	if (geteuid() != 0)
		return owner->uid == geteuid() ? 0 : -EPERM;
	if (setgroups(owner->group_count, owner->groups) < 0 ||
	    setresgid(owner->gid, owner->gid, owner->gid) < 0 ||
	    setresuid(owner->uid, owner->uid, owner->uid) < 0)
		return -errno;
	return 0;
}

static int run_child(const struct launcher_program *program)
{
	const int in = program->stdin_fd, out = program->stdout_fd;
	int null, r;

	process_reset_signals();
	if (setsid() < 0)
		return -errno;
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(in >= 0 ? in : null, STDIN_FILENO) < 0 ||
	    dup2(out >= 0 ? out : null, STDOUT_FILENO) < 0)
		return -errno;
	/* The daemon's log is not another user's to write to. */
	if (program->owner->uid != geteuid() && dup2(null, STDERR_FILENO) < 0)
		return -errno;
	r = become(program->owner);
	if (r < 0)
		return r;
	if (chdir("/") < 0)
		return -errno;
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	(void)execve(program->argv[0], program->argv, program->env);
	return -errno;
}

int launcher_direct_spawn(pid_t *ret_pid, const struct launcher_program *program)
{
	AUTO_CLOSE int report_read = -1, report_write = -1;
	int fds[2], error = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	report_read = fds[0];
	report_write = fds[1];

	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)setrlimit(RLIMIT_NOFILE, program->nofile);
		error = -run_child(program);
		(void)!write(report_write, &error, sizeof(error));
		_exit(127);
	}

	/* The end of the pipe is the exec: a millisecond at most, and the only wait. */
	(void)close(TAKE_FD(report_write));
	if (read(report_read, &error, sizeof(error)) == (ssize_t)sizeof(error) && error != 0) {
		(void)waitpid(pid, NULL, 0);
		return -error;
	}
	*ret_pid = pid;
	return 0;
}

int launcher_direct_start(pid_t *ret_pid, const struct job *job, const char *runner,
			  const char *socket, const struct rlimit *nofile)
{
	char number[24], program[4096], socket_path[4096];
	char job_option[] = "--job", socket_option[] = "--socket";
	char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char *argv[] = { program, job_option, number, socket_option, socket_path, NULL };
	char *env[] = { path, NULL };
	const struct launcher_program start = {
		.owner = &job->owner,
		.argv = argv,
		.env = env,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.nofile = nofile,
	};

	if (strlen(runner) >= sizeof(program) || strlen(socket) >= sizeof(socket_path))
		return -ENAMETOOLONG;
	(void)snprintf(program, sizeof(program), "%s", runner);
	(void)snprintf(socket_path, sizeof(socket_path), "%s", socket);
	(void)snprintf(number, sizeof(number), "%" PRIu64, job->id);
	return launcher_direct_spawn(ret_pid, &start);
}
