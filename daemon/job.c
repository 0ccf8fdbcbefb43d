/* SPDX-License-Identifier: MIT */
#include "daemon/job.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"
#include "common/tfargs.h"
#include "common/varlink.h"

int job_new(struct job **ret)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->priority = JOB_NORMAL;
	job->stdin_fd = -1;
	job->exit_code = -1;
	job->handover_usec = UINT64_MAX;
	TAILQ_INIT(&job->watches);
	*ret = job;
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		varlink_close_foreign(*fd);
	*fd = -1;
}

int job_add_viewer(struct job *job, int fd, uint64_t offset, bool has_input)
{
	struct job_viewer *viewers;

	if (job->viewer_count >= JOB_VIEWERS_MAX) {
		close_fd(&fd);
		return -EMFILE;
	}
	viewers = reallocarray(job->viewers, job->viewer_count + 1, sizeof(*viewers));
	if (!viewers) {
		close_fd(&fd);
		return -ENOMEM;
	}
	viewers[job->viewer_count++] =
		(struct job_viewer){ .fd = fd, .offset = offset, .has_input = has_input };
	job->viewers = viewers;
	return 0;
}

void job_close_fds(struct job *job)
{
	for (size_t i = 0; i < job->viewer_count; i++)
		close_fd(&job->viewers[i].fd);
	free(job->viewers);
	job->viewers = NULL;
	job->viewer_count = 0;
	close_fd(&job->stdin_fd);
}

static void forget_env(struct job *job)
{
	for (char **variable = job->env; variable && *variable; variable++)
		explicit_bzero(*variable, strlen(*variable));
	job->env = tfargs_strv_free(job->env);
}

void job_forget_secrets(struct job *job)
{
	forget_env(job);
	job_close_fds(job);
}

void job_reduce(struct job *job, struct backend *backend)
{
	forget_env(job);
	backend_free(job->backend);
	job->backend = backend;
}

struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;

	assert(TAILQ_EMPTY(&job->watches));

	job_forget_secrets(job);
	tfargs_strv_free(job->argv);
	backend_free(job->backend);
	free(job->owner.groups);
	free(job->owner.name);
	free(job->directory);
	free(job->state_directory);
	free(job->client);
	free(job->command);
	free(job->label);
	free(job->reason);
	free(job->message);
	free(job->why_child_text);
	free(job->subcommand_text);
	free(job->operation_text);
	free(job->cgroup);
	free(job);
	return NULL;
}

bool job_is_locked_by_us(const struct job *job)
{
	return !job->why_child;
}

void job_leave_to_child(struct job *job, const char *why)
{
	free(job->why_child_text);
	job->why_child_text = strdup(why);
	job->why_child = job->why_child_text ? job->why_child_text : "tfqd is out of memory";
}

void job_set_message(struct job *job, const char *format, ...)
{
	char *message = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&message, format, ap);
	va_end(ap);
	if (n < 0)
		message = NULL;
	else
		(void)text_printable(message, (size_t)n + 1,
				     message); /* never longer than it was */
	free(job->message);
	job->message = message;
}

static const char *const priorities[JOB_PRIORITY_COUNT] = {
	[JOB_HIGH] = "high",
	[JOB_NORMAL] = "normal",
	[JOB_LOW] = "low",
};

const char *job_priority_name(enum job_priority priority)
{
	assert(priority < JOB_PRIORITY_COUNT);
	return priorities[priority];
}

int job_priority_parse(enum job_priority *ret, const char *name)
{
	for (int i = 0; i < JOB_PRIORITY_COUNT; i++) {
		if (strcmp(name, priorities[i]) == 0) {
			*ret = (enum job_priority)i;
			return 0;
		}
	}
	return -EINVAL;
}
