/* SPDX-License-Identifier: MIT */
/* credential_process: a command of the user's that prints credentials (aws.md 5.3). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/backend_parts.h"
#include "common/parse.h"
#include "common/process.h"
#include "runner/aws/sources.h"

#define OUTPUT_MAX 65536U
#define MORE_USEC  (20 * USEC_PER_SEC) /* for what comes after it, a role perhaps */

struct output {
	char *text; /* NUL-ended, wiped */
	size_t len;
};

static void output_clear(struct output *output)
{
	if (output->text)
		explicit_bzero(output->text, output->len);
	free(output->text);
}

/* As the user's terraform would: its environment, our directory, our stderr. Does not return. */
static void run(const char *command, char *const *env, int out)
{
	char shell[] = "sh", option[] = "-c", path[] = "/bin/sh";
	char *argv[] = { shell, option, NULL, NULL };
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	memcpy(&argv[2], &command, sizeof(command)); /* nobody writes there */
	process_reset_signals();
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		(void)execve(path, argv, env);
	_exit(127);
}

/* Read until its end, too much, or @until. Return: 0, -EFBIG, -ETIMEDOUT, or what read(2) says. */
static int read_all(struct output *output, int fd, uint64_t until)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		const uint64_t now = ask_clock();
		ssize_t n;
		int ready;

		if (now >= until)
			return -ETIMEDOUT;
		ready = poll(&poll_fd, 1, (int)((until - now) / USEC_PER_MSEC) + 1);
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready <= 0)
			continue;
		n = read(fd, output->text + output->len, OUTPUT_MAX + 1 - output->len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		output->len += n > 0 ? (size_t)n : 0;
		output->text[output->len] = '\0';
		if (output->len > OUTPUT_MAX)
			return -EFBIG;
	}
}

/* It has closed its output, and has until @until to end. Return: its status, or -ETIMEDOUT. */
static int wait_until(pid_t pid, uint64_t until)
{
	const uint64_t now = ask_clock();
	AUTO_CLOSE int fd = pidfd_open(pid, 0);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int status = 0;

	if (fd < 0)
		return -errno;
	if (poll(&poll_fd, 1, until > now ? (int)((until - now) / USEC_PER_MSEC) : 0) <= 0)
		return -ETIMEDOUT;
	return waitpid(pid, &status, 0) == pid ? status : -errno;
}

/* Return: the status of its end, or a negative errno. */
static int collect(struct output *output, const char *command, struct ask *ask)
{
	const uint64_t until = ask_clock() + ask->seconds * USEC_PER_SEC;
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		run(command, ask->env, fds[1]);
	r = pid < 0 ? -errno : 0;
	(void)close(fds[1]);
	if (r == 0)
		r = read_all(output, fds[0], until);
	(void)close(fds[0]);
	if (r == 0)
		r = wait_until(pid, until);
	if (r < 0 && pid > 0) { /* of what it started itself, main() sees to the end */
		ask->has_strays = true;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	return r;
}

static int judge(struct ask *ask, const char *profile, int r)
{
	if (r == -ETIMEDOUT) {
		return ask_fail(ask, r,
				"The credential_process of profile %s did not end within %" PRIu64
				" s. It "
				"cannot ask anybody anything here: sign in first.",
				profile, ask->seconds);
	}
	if (r == -EFBIG)
		return ask_fail(ask, r, "The credential_process of profile %s prints too much.",
				profile);
	if (r < 0)
		return ask_fail(ask, r, "The credential_process of profile %s could not be run: %s",
				profile, strerror(-r));
	if (WIFSIGNALED(r)) {
		return ask_fail(ask, -EACCES,
				"The credential_process of profile %s was ended by signal %d.",
				profile, WTERMSIG(r));
	}
	if (WEXITSTATUS(r) != 0) {
		return ask_fail(
			ask, -EACCES,
			"The credential_process of profile %s failed with exit code %d: run "
			"it by hand to see why.",
			profile, WEXITSTATUS(r));
	}
	return 0;
}

int command_find(struct keys *keys, struct ask *ask, const char *profile, const char *command)
{
	static const char *const names[4] = { "AccessKeyId", "SecretAccessKey", "SessionToken",
					      "Expiration" };
	CLEANUP(output_clear) struct output output = { .text = calloc(1, OUTPUT_MAX + 2) };
	CLEANUP(backend_json_freep) json_t *object = NULL;
	int r;

	if (!output.text)
		return -ENOMEM;
	r = judge(ask, profile, collect(&output, command, ask));
	if (r < 0)
		return r;
	if (ask->deadline_usec < ask_clock() + MORE_USEC)
		ask->deadline_usec = ask_clock() + MORE_USEC;
	object = json_loadb(output.text, output.len, 0, NULL);
	r = json_integer_value(json_object_get(object, "Version")) == 1
		    ? keys_from_json(keys, object, names)
		    : -EBADMSG;
	if (r == -EBADMSG) {
		return ask_fail(
			ask, r,
			"The credential_process of profile %s does not print what it should: "
			"one JSON object with Version 1, AccessKeyId and SecretAccessKey.",
			profile);
	}
	if (r < 0)
		return r;
	keys->can_refresh = true;
	if (asprintf(&keys->source, "credential_process of profile %s", profile) < 0) {
		keys->source = NULL;
		return -ENOMEM;
	}
	return 0;
}
