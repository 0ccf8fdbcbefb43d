/* SPDX-License-Identifier: MIT */
#include "runner/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/process.h"

/* [0] is read from, [1] written to; of a terminal, terminal[0] is the master. */
struct pipes {
	int in[2], out[2], err[2], go[2], report[2], terminal[2];
	uint64_t *called_usec; /* no pipe, but memory that both see: a message would wake us */
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			(void)close(pair[i]);
		pair[i] = -1;
	}
}

static void unshare_memory(uint64_t *memory)
{
	if (memory)
		(void)munmap(memory, sizeof(*memory));
}

static int share_memory(uint64_t **ret)
{
	const int flags = MAP_SHARED | MAP_ANONYMOUS;
	/* cppcheck-suppress invalidFunctionArg ; -1 it is, see mmap(2) */
	void *memory = mmap(NULL, sizeof(**ret), PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret = memory;
	return 0;
}

static void pipes_close(struct pipes *pipes)
{
	close_pair(pipes->in);
	close_pair(pipes->out);
	close_pair(pipes->err);
	close_pair(pipes->go);
	close_pair(pipes->report);
	close_pair(pipes->terminal);
	unshare_memory(pipes->called_usec);
}

static int set_nonblocking(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int open_streams(struct pipes *pipes)
{
	int r;

	if (pipe2(pipes->in, O_CLOEXEC) < 0 || pipe2(pipes->out, O_CLOEXEC) < 0 ||
	    pipe2(pipes->err, O_CLOEXEC) < 0)
		return -errno;
	r = set_nonblocking(pipes->out[0]);
	if (r >= 0)
		r = set_nonblocking(pipes->err[0]);
	if (r >= 0)
		r = set_nonblocking(pipes->in[1]);
	return r;
}

static int pipes_open(struct pipes *pipes, const struct terminal_size *terminal)
{
	const int r = share_memory(&pipes->called_usec);

	if (r < 0)
		return r;
	if (pipe2(pipes->go, O_CLOEXEC) < 0 || pipe2(pipes->report, O_CLOEXEC) < 0)
		return -errno;
	if (!terminal)
		return open_streams(pipes);
	return terminal_open(terminal, &pipes->terminal[0], &pipes->terminal[1]);
}

static int take_streams(const struct child_spec *spec, const struct pipes *pipes)
{
	const int slave = pipes->terminal[1];
	int input = pipes->in[0];

	if (slave < 0 && spec->stdin_fd >= 0)
		input = spec->stdin_fd;
	if (dup2(slave >= 0 ? slave : input, STDIN_FILENO) < 0 ||
	    dup2(slave >= 0 ? slave : pipes->out[1], STDOUT_FILENO) < 0 ||
	    dup2(slave >= 0 ? slave : pipes->err[1], STDERR_FILENO) < 0)
		return -errno;
	return close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
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
	const int slave = pipes->terminal[1];
	uint64_t until_usec;
	ssize_t n;
	int r;

	process_reset_signals();
	if (slave >= 0)
		r = terminal_own(slave);
	else
		r = setpgid(0, 0) < 0 ? -errno : 0;
	if (r >= 0)
		r = take_streams(spec, pipes);
	if (r < 0)
		return r;
	(void)umask(spec->umask);
	if (spec->nofile)
		(void)setrlimit(RLIMIT_NOFILE, spec->nofile);
	(void)close(pipes->go[1]); /* or its end would never come */
	do
		n = read(pipes->go[0], &until_usec, sizeof(until_usec));
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(until_usec))
		_exit(0);
	r = until_usec > 0 ? bind_to_lease(until_usec, parent) : 0;
	if (r < 0)
		return r;
	*pipes->called_usec = clock_usec(CLOCK_MONOTONIC);
	(void)execve(spec->program, spec->argv, spec->env);
	return -errno;
}

static int take(int *fd)
{
	return TAKE_FD(*fd);
}

/* Return: 0 or a negative errno. */
static int take_ends(struct child *ret, struct pipes *pipes, bool wants_input)
{
	const bool has_terminal = pipes->terminal[0] >= 0;
	int in = -1;

	if (has_terminal) { /* of its own, so that it is closed and watched as a pipe is */
		in = fcntl(pipes->terminal[0], F_DUPFD_CLOEXEC, 3);
		if (in < 0)
			return -errno;
	} else if (wants_input) {
		in = take(&pipes->in[1]);
	}
	*ret = (struct child){
		.out = take(has_terminal ? &pipes->terminal[0] : &pipes->out[0]),
		.err = take(&pipes->err[0]),
		.in = in,
		.slave = take(&pipes->terminal[1]),
		.go = take(&pipes->go[1]),
		.exec_error = take(&pipes->report[0]),
	};
	ret->called_usec = TAKE_PTR(pipes->called_usec);
	return 0;
}

int child_prepare(struct child *ret, const struct child_spec *spec)
{
	CLEANUP(pipes_close)
	struct pipes pipes = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 },
			       { -1, -1 }, { -1, -1 }, NULL };
	const pid_t parent = getpid();
	pid_t pid;
	int r;

	if (chdir(spec->directory) < 0)
		return -errno;
	r = pipes_open(&pipes, spec->terminal);
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
	r = take_ends(ret, &pipes, spec->stdin_fd < 0);
	if (r >= 0)
		ret->pid = pid;
	return r; /* after an error it ends, because the pipe that it reads does */
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
	child->exec_usec = *child->called_usec;
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
	close_fd(&child->slave);
	close_fd(&child->go);
	close_fd(&child->exec_error);
	unshare_memory(TAKE_PTR(child->called_usec));
}
