/* SPDX-License-Identifier: MIT */
#include "client/doctor/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "common/backend_parts.h"
#include "common/cleanup.h"
#include "common/doctor.h"
#include "common/io.h"
#include "common/process.h"
#include "common/secret.h"

#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/libexec/tfqd"
#endif

/* Beside us, where it was built; otherwise where it is installed. */
static void find_program(char path[static PATH_MAX])
{
	char self[PATH_MAX - sizeof("/" DOCTOR_PROGRAM)];
	const ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len > 0) {
		self[len] = '\0';
		slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
		(void)snprintf(path, PATH_MAX, "%s/" DOCTOR_PROGRAM, self);
		if (access(path, X_OK) == 0)
			return;
	}
	(void)snprintf(path, PATH_MAX, "%s", LIBEXECDIR "/" DOCTOR_PROGRAM);
}

/* In memory alone, and on no command line: it holds the environment and the backend's secrets. */
static int question_fd(const json_t *question)
{
	CLEANUP(secret_freep) char *text = json_dumps(question, JSON_COMPACT);
	AUTO_CLOSE int fd = memfd_create("tfq-question", MFD_CLOEXEC);
	int r;

	if (!text)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, text, strlen(text));
	if (r < 0)
		return r;
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : TAKE_FD(fd);
}

/* The child's half. Does not return. */
static void run(const char *path, int in, int out)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	process_reset_signals();
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		(void)execl(path, DOCTOR_PROGRAM, (char *)NULL);
	_exit(EXIT_NOT_FOUND);
}

/* Until its end. Return: a text, the caller's to free; or NULL. */
static char *read_all(int fd)
{
	char *text = calloc(1, DOCTOR_ANSWER_MAX + 1);
	size_t len = 0;

	if (text && io_read_all(fd, text, DOCTOR_ANSWER_MAX, &len) < 0)
		free(TAKE_PTR(text));
	return text;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

static int say_failed(const char *path, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND) {
		print_error("cannot run %s: install tfq anew, all of it", path);
		return EXIT_OURS;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
		print_error(
			"the stores were not asked to the end within %d s; is the network there?",
			DOCTOR_SECONDS);
	} else {
		print_error("the stores could not be asked");
	}
	return EXIT_OURS;
}

/* Return: 0, or the exit code. */
static int ask(const json_t *question, json_t **ret)
{
	AUTO_CLOSE int in = question_fd(question), out = -1;
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	int fds[2], status;
	pid_t pid;

	find_program(path);
	if (in < 0 || pipe2(fds, O_CLOEXEC) < 0) {
		print_error("cannot start %s: %s", path, strerror(in < 0 ? -in : errno));
		return EXIT_OURS;
	}
	out = fds[0];
	pid = fork();
	if (pid == 0)
		run(path, in, fds[1]);
	(void)close(fds[1]);
	if (pid < 0) {
		print_error("cannot start %s: %s", path, strerror(errno));
		return EXIT_OURS;
	}
	text = read_all(out);
	status = wait_for(pid);
	if (status != 0)
		return say_failed(path, status);
	*ret = text ? json_loads(text, 0, NULL) : NULL;
	if (!json_is_object(*ret)) {
		print_error("%s said what makes no sense: is it of the same version?", path);
		return EXIT_OURS;
	}
	return 0;
}

int helper_ask(json_t *question, json_t **ret)
{
	int r = EXIT_OURS;

	if (question)
		r = ask(question, ret);
	else
		print_error("out of memory");
	backend_json_free(question);
	return r;
}
