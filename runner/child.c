/* SPDX-License-Identifier: MIT */
#include "runner/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/process.h"

struct pipes {
	int in[2], out[2], err[2], go[2], report[2];
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			(void)close(pair[i]);
		pair[i] = -1;
	}
}

static void pipes_close(struct pipes *pipes)
{
	close_pair(pipes->in);
	close_pair(pipes->out);
	close_pair(pipes->err);
	close_pair(pipes->go);
	close_pair(pipes->report);
}

static int pipes_open(struct pipes *pipes)
{
	if (pipe2(pipes->in, O_CLOEXEC) < 0 || pipe2(pipes->out, O_CLOEXEC) < 0 ||
	    pipe2(pipes->err, O_CLOEXEC) < 0 || pipe2(pipes->go, O_CLOEXEC) < 0 ||
	    pipe2(pipes->report, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* @parent is to be outlived by nobody who works under a lease: it alone would end him in time. */
static int bind_to_lease(uint64_t until_usec, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	if (getppid() != parent) /* it was dead before */
		_exit(0);
	return clock_usec(CLOCK_BOOTTIME) < until_usec ? 0 : -ETIME;
}

/* Everything but the exec, then wait for the word. The end of the pipe means: never mind. */
static int become_terraform(const struct child_spec *spec, const struct pipes *pipes, pid_t parent)
{
	const int input = spec->stdin_fd >= 0 ? spec->stdin_fd : pipes->in[0];
	uint64_t until_usec;
	ssize_t n;
	int r;

	process_reset_signals();
	if (setpgid(0, 0) < 0)
		return -errno;
	(void)umask(spec->umask);
	if (dup2(input, STDIN_FILENO) < 0 || dup2(pipes->out[1], STDOUT_FILENO) < 0 ||
	    dup2(pipes->err[1], STDERR_FILENO) < 0)
		return -errno;
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	(void)close(pipes->go[1]); /* or its end would never come */
	do
		n = read(pipes->go[0], &until_usec, sizeof(until_usec));
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(until_usec))
		_exit(0);
	r = until_usec > 0 ? bind_to_lease(until_usec, parent) : 0;
	if (r < 0)
		return r;
	(void)execve(spec->program, spec->argv, spec->env);
	return -errno;
}

static int set_nonblocking(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int take(int *fd)
{
	return TAKE_FD(*fd);
}

int child_prepare(struct child *ret, const struct child_spec *spec)
{
	CLEANUP(pipes_close)
	struct pipes pipes = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
	const pid_t parent = getpid();
	pid_t pid;
	int r;

	if (chdir(spec->directory) < 0)
		return -errno;
	r = pipes_open(&pipes);
	if (r >= 0)
		r = set_nonblocking(pipes.out[0]);
	if (r >= 0)
		r = set_nonblocking(pipes.err[0]);
	if (r >= 0)
		r = set_nonblocking(pipes.in[1]);
	if (r < 0)
		return r;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		const int error = -become_terraform(spec, &pipes, parent);

		(void)!write(pipes.report[1], &error, sizeof(error));
		_exit(127);
	}
	*ret = (struct child){
		.pid = pid,
		.out = take(&pipes.out[0]),
		.err = take(&pipes.err[0]),
		.in = spec->stdin_fd >= 0 ? -1 : take(&pipes.in[1]),
		.go = take(&pipes.go[1]),
		.exec_error = take(&pipes.report[0]),
	};
	return 0;
}

int child_go(struct child *child, uint64_t until_usec)
{
	int error = 0;
	ssize_t n;

	n = write(child->go, &until_usec, sizeof(until_usec));
	if (n != (ssize_t)sizeof(until_usec))
		error = n < 0 ? errno : EIO; /* EPIPE: it has died while it waited */
	(void)close(take(&child->go));
	if (error != 0) {
		(void)close(take(&child->exec_error));
		return -error;
	}
	do
		n = read(child->exec_error, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	(void)close(take(&child->exec_error));
	return n == (ssize_t)sizeof(error) ? -error : 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void child_close(struct child *child)
{
	close_fd(&child->out);
	close_fd(&child->err);
	close_fd(&child->in);
	close_fd(&child->go);
	close_fd(&child->exec_error);
}
