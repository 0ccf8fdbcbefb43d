/* SPDX-License-Identifier: MIT */
#include "daemon/aws/credentials_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/backend_parts.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "common/timestamp.h"
#include "daemon/launcher.h"

#define NOFILE     1024 /* programs that use select(2) can do with no more */
#define ERROR_MAX  1024
#define SOURCE_MAX 512

/* Its memory is that of its child's event source, so that it can be reaped after all else is gone.
 * A unit is systemd's to reap: then it is freed at once. */
struct helper {
	pid_t pid;
	struct launcher_unit *unit; /* in place of a child; NULL: a child */
	int fd;                     /* its output */
	helper_done_fn done;        /* NULL: cancelled */
	void *userdata;
	sd_event_source *child, *output, *timer;
	bool has_timed_out, is_too_long;
	size_t len;
	char answer[HELPER_ANSWER_MAX + 1];
};

static void kill_all(struct helper *helper)
{
	if (helper->unit)
		launcher_unit_kill(helper->unit);
	else
		(void)kill(-helper->pid, SIGKILL);
}

static void drop(sd_event_source **source)
{
	*source = sd_event_source_disable_unref(*source);
}

/* All but the child's source, which frees the helper. */
static void stop(struct helper *helper)
{
	drop(&helper->output);
	drop(&helper->timer);
	if (helper->fd >= 0)
		(void)close(TAKE_FD(helper->fd));
	explicit_bzero(helper->answer, sizeof(helper->answer));
	helper->done = NULL;
}

static void on_destroy(void *userdata)
{
	struct helper *helper = userdata;

	stop(helper);
	free(helper);
}

/* --- the answer ------------------------------------------------------------------------------ */

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && *text ? text : NULL;
}

static bool take_keys(struct helper_answer *answer, const json_t *object, char source[SOURCE_MAX])
{
	const char *from = text_of(object, "Source");
	const char *until = text_of(object, "Expiration");

	answer->access_key = text_of(object, "AccessKeyId");
	answer->secret_key = text_of(object, "SecretAccessKey");
	answer->token = text_of(object, "SessionToken");
	answer->can_refresh = json_is_true(json_object_get(object, "Refreshable"));
	answer->source = text_printable(source, SOURCE_MAX, from ? from : "");
	return answer->access_key && answer->secret_key && from &&
	       (!until || timestamp_parse(until, &answer->expires_usec) == 0);
}

/* How it ended: a child, or (@info is NULL) a unit, which could not be started because of @why. */
struct end {
	const siginfo_t *info;
	const char *why;
};

/* Why there is no answer. */
static void explain_end(const struct helper *helper, const struct end *end, char error[ERROR_MAX])
{
	static const char advice[] =
		"is tfq-credentials installed beside tfq-runner, and may everybody run it?";

	if (helper->has_timed_out) {
		(void)snprintf(error, ERROR_MAX,
			       "The look-up of AWS credentials did not end within %d s.",
			       (int)(HELPER_LIMIT_USEC / 1000000));
	} else if (helper->is_too_long) {
		(void)snprintf(error, ERROR_MAX, "The look-up of AWS credentials said too much.");
	} else if (end->info) {
		(void)snprintf(error, ERROR_MAX,
			       "The look-up of AWS credentials failed (%s %d): %s",
			       end->info->si_code == CLD_EXITED ? "exit code" : "signal",
			       end->info->si_status, advice);
	} else {
		(void)snprintf(error, ERROR_MAX, "The look-up of AWS credentials failed: %s",
			       end->why ? end->why : advice);
	}
}

static void tell(struct helper *helper, const struct end *end)
{
	CLEANUP(backend_json_freep)
	json_t *object = json_loadb(helper->answer, helper->len, 0, NULL);
	struct helper_answer answer = { .result = -EACCES };
	const char *said = text_of(object, "Error");
	char error[ERROR_MAX] = "", source[SOURCE_MAX] = "";
	const helper_done_fn done = helper->done;

	if (said) {
		(void)text_printable(error, sizeof(error), said);
		if (json_is_true(json_object_get(object, "Unsupported")))
			answer.result = -EOPNOTSUPP;
	} else if (!helper->is_too_long && take_keys(&answer, object, source)) {
		answer.result = 0;
	} else {
		explain_end(helper, end, error);
	}
	answer.error = answer.result < 0 ? error : NULL;
	stop(helper);
	done(&answer, helper->userdata);
}

/* --- the run --------------------------------------------------------------------------------- */

/* Take what is there. Return: is there more to come? */
static bool read_output(struct helper *helper)
{
	for (;;) {
		const size_t room = sizeof(helper->answer) - helper->len;
		const ssize_t n = room ? read(helper->fd, helper->answer + helper->len, room) : 0;

		if (room == 0) {
			helper->is_too_long = true;
			kill_all(helper);
			return false;
		}
		if (n == 0)
			return false;
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN;
		helper->len += n > 0 ? (size_t)n : 0;
	}
}

/* Frees the helper. */
static void finish_unit(struct helper *helper, const char *why)
{
	drop(&helper->output);
	(void)read_output(helper);
	tell(helper, &(struct end){ .why = why });
	helper->unit = launcher_unit_free(helper->unit);
	free(helper);
}

static void on_end_of_unit(struct launcher_unit *unit, const char *why, void *userdata)
{
	(void)unit;
	finish_unit(userdata, why);
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct helper *helper = userdata;

	(void)source;
	(void)fd;
	(void)events;
	if (read_output(helper))
		return 0;
	drop(&helper->output);
	/* A unit's end is told of later than a child's. */
	if (helper->unit && helper->len > 0)
		finish_unit(helper, NULL);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct helper *helper = userdata;

	(void)source;
	(void)usec;
	helper->has_timed_out = true;
	kill_all(helper);
	if (helper->unit)
		finish_unit(helper, NULL);
	return 0;
}

static int on_exit_of_helper(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct helper *helper = userdata;
	sd_event_source *child = TAKE_PTR(helper->child);

	/* It could not end what it started. Its PID is not reaped yet, so the group is still its
	 * own. */
	if (info->si_code != CLD_EXITED)
		(void)kill(-helper->pid, SIGKILL);
	if (helper->done) {
		(void)read_output(helper);
		tell(helper, &(struct end){ .info = info });
	}
	/* Either frees the helper once we are back. */
	if (child)
		sd_event_source_disable_unref(child);
	else
		(void)sd_event_source_set_floating(source, false);
	return 0;
}

/* In memory, so that it has not to be fed while it reads. */
static int question_fd(const char *text, size_t len)
{
	AUTO_CLOSE int fd = memfd_create("tfq-question", MFD_CLOEXEC);
	size_t written = 0;

	if (fd < 0)
		return -errno;
	while (written < len) {
		const ssize_t n = write(fd, text + written, len - written);

		if (n < 0 && errno != EINTR)
			return -errno;
		written += n > 0 ? (size_t)n : 0;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : TAKE_FD(fd);
}

static int spawn_child(struct helper *helper, const struct helper_setup *setup, int in, int out)
{
	AUTO_FREE char *program = strdup(setup->runner);
	char option[] = "--credentials", path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char *argv[] = { program, option, NULL };
	char *env[] = { path, NULL };
	struct rlimit nofile = { NOFILE, NOFILE };
	struct launcher_program start = {
		.owner = setup->owner,
		.argv = argv,
		.env = env,
		.stdin_fd = in,
		.stdout_fd = out,
		.nofile = &nofile,
	};

	if (!program)
		return -ENOMEM;
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0 && nofile.rlim_cur > NOFILE)
		nofile.rlim_cur = NOFILE;
	return launcher_direct_spawn(&helper->pid, &start);
}

static int start_unit(struct helper *helper, const struct helper_setup *setup, int in, int out)
{
	return launcher_unit_start_helper(&helper->unit, setup->launcher,
					  &(struct launcher_helper){
						  .owner = setup->owner,
						  .stdin_fd = in,
						  .stdout_fd = out,
						  .nofile = NOFILE,
						  .limit_usec = HELPER_LIMIT_USEC,
					  },
					  on_end_of_unit, helper);
}

/* Return: its output, or a negative errno. */
static int spawn(struct helper *helper, const struct helper_setup *setup)
{
	AUTO_CLOSE int question = question_fd(setup->question, setup->question_len);
	AUTO_CLOSE int in = -1, out = -1;
	int fds[2], r;

	if (question < 0)
		return question;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	in = fds[0];
	out = fds[1];
	if (fcntl(in, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = launcher_has_units(setup->launcher) ? start_unit(helper, setup, question, out)
						: spawn_child(helper, setup, question, out);
	return r < 0 ? r : TAKE_FD(in);
}

/* From then on the child's source owns the helper; without one it is gone, and the child with it.
 */
static int watch_child(struct helper *helper, sd_event *event)
{
	int r;

	r = sd_event_add_child(event, &helper->child, helper->pid, WEXITED, on_exit_of_helper,
			       helper);
	if (r < 0) {
		(void)kill(-helper->pid, SIGKILL);
		(void)waitpid(helper->pid, NULL, 0);
		(void)close(helper->fd);
		free(helper);
		return r;
	}
	(void)sd_event_source_set_destroy_callback(helper->child, on_destroy);
	(void)sd_event_source_set_description(helper->child, "credentials helper");
	return 0;
}

static int watch(struct helper *helper, sd_event *event)
{
	int r;

	r = helper->unit ? 0 : watch_child(helper, event);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &helper->output, helper->fd, EPOLLIN, on_output, helper);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &helper->timer, CLOCK_MONOTONIC,
					       HELPER_LIMIT_USEC, 0, on_timeout, helper);
	if (r < 0)
		(void)helper_cancel(helper);
	return r < 0 ? r : 0;
}

int helper_start(struct helper **ret, const struct helper_setup *setup, helper_done_fn done,
		 void *userdata)
{
	struct helper *helper = calloc(1, sizeof(*helper));
	int r;

	if (!helper)
		return -ENOMEM;
	helper->fd = spawn(helper, setup);
	if (helper->fd < 0) {
		r = helper->fd;
		free(helper);
		return r;
	}
	helper->done = done;
	helper->userdata = userdata;
	r = watch(helper, setup->event);
	if (r < 0)
		return r;
	*ret = helper;
	return 0;
}

struct helper *helper_cancel(struct helper *helper)
{
	sd_event_source *child;

	if (!helper)
		return NULL;
	stop(helper);
	kill_all(helper);
	if (helper->unit) {
		helper->unit = launcher_unit_free(helper->unit);
		free(helper);
		return NULL;
	}
	child = TAKE_PTR(helper->child);
	(void)sd_event_source_set_floating(child, true);
	sd_event_source_unref(child);
	return NULL;
}
