/* SPDX-License-Identifier: MIT */
/* What tfqd orders its runner, line by line. The rest of the runner is not there. */
#include <sys/socket.h>

#include "runner/runner_parts.h"
#include "tests/fuzz/fuzz.h"

static unsigned refused;

/* --- in the place of what would run something ------------------------------------------------ */

bool runner_make_child(struct runner *runner, bool hold_lock)
{
	FUZZ_CHECK(runner->spec && runner->spec->argv && runner->spec->env);
	(void)hold_lock;
	return true;
}

void runner_go(struct runner *runner, bool hold_lock, uint64_t deadline_usec,
	       uint64_t stop_grace_usec)
{
	(void)hold_lock;
	FUZZ_CHECK(deadline_usec <= INT64_MAX && stop_grace_usec <= INT64_MAX);
	runner->is_started = true;
}

bool runner_interrupt(struct runner *runner, int level)
{
	(void)runner;
	(void)level;
	return true;
}

void runner_tell(struct runner *runner, const char *event, json_t *parameters)
{
	(void)runner;
	FUZZ_CHECK(event);
	json_decref(parameters);
}

void runner_drop_link(struct runner *runner)
{
	(void)runner;
}

void runner_be_accepted(struct runner *runner)
{
	(void)runner;
}

void runner_be_refused(struct runner *runner, const json_t *message)
{
	(void)runner;
	(void)message;
	refused++;
}

void runner_add_viewer(struct runner *runner, int fd, uint64_t offset, bool may_type)
{
	(void)runner;
	(void)offset;
	(void)may_type;
	if (fd >= 0)
		(void)close(fd);
}

void runner_end_unstarted(struct runner *runner, int code, const char *words)
{
	(void)code;
	(void)words;
	runner->is_over = true;
}

void runner_refuse(struct runner *runner, int code, const char *message)
{
	FUZZ_CHECK(message);
	runner_end_unstarted(runner, code, message);
}

void runner_maybe_leave(struct runner *runner)
{
	(void)runner;
}

void runner_fence_move(struct runner *runner, uint64_t deadline_usec)
{
	(void)runner;
	FUZZ_CHECK(deadline_usec <= INT64_MAX);
}

/* --- the runner ------------------------------------------------------------------------------- */

static void send_order(struct varlink *from, const json_t *message)
{
	char path[FUZZ_PATH_SIZE];
	AUTO_CLOSE int fd = fuzz_file(path, NULL, 0);
	const int fds[] = { fd, fd, fd };

	(void)varlink_send(from, message, fds, 3);
}

static void take(struct runner *runner, struct varlink *from, const char *line)
{
	json_t *message = json_loads(line, 0, NULL), *got = NULL;

	if (json_is_object(message)) {
		send_order(from, message);
		while (varlink_read(runner->link) > 0)
			;
		if (varlink_next(runner->link, &got) == 1)
			runner_take_order(runner, got);
	}
	json_decref(got);
	json_decref(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct runner *runner = calloc(1, sizeof(*runner));
	CLEANUP(varlink_freep) struct varlink *from = NULL;
	AUTO_FREE char *text = fuzz_part(&input, NULL);
	char *rest = text, *line;
	int fds[2];

	FUZZ_CHECK(runner && sd_event_new(&runner->event) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	FUZZ_CHECK(varlink_new(&runner->link, fds[0]) == 0 && varlink_new(&from, fds[1]) == 0);
	runner->recording.fd = runner->reports_fd = runner->stdin_fd = -1;
	while ((line = strsep(&rest, "\n")))
		take(runner, from, line);
	if (runner->recording.fd >= 0)
		(void)close(runner->recording.fd);
	if (runner->reports_fd >= 0)
		(void)close(runner->reports_fd);
	if (runner->stdin_fd >= 0)
		(void)close(runner->stdin_fd);
	runner->spec = spec_free(runner->spec);
	runner->link = varlink_free(runner->link);
	sd_event_unref(runner->event);
	free(runner);
	return 0;
}
