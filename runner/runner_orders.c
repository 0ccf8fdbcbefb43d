/* SPDX-License-Identifier: MIT */
/* What tfqd orders. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "runner/runner_parts.h"

static void prepare(struct runner *runner, const json_t *spec)
{
	unsigned char size[FRAME_SIZE_LEN];
	int r;

	if (runner->spec)
		return;
	runner->recording.fd = varlink_take_fd(runner->link);
	runner->reports_fd = varlink_take_fd(runner->link);
	r = spec_parse(&runner->spec, spec, runner->id);
	if (r >= 0 && (runner->recording.fd < 0 || runner->reports_fd < 0))
		r = -EBADMSG;
	if (r < 0) {
		log_warning(r, "tfq-runner: the daemon's order makes no sense: %m");
		(void)sd_event_exit(runner->event, r);
		return;
	}
	if (runner->spec->has_stdin)
		runner->stdin_fd = varlink_take_fd(runner->link);
	if (runner->spec->journal) /* where there is none, the recording is enough */
		(void)journal_output_open(&runner->journal, JOURNAL_OUTPUT_SOCKET, runner->id,
					  runner->spec->journal);
	recording_add(&runner->recording, FRAME_START, FRAME_STREAM_NONE, "1", 1);
	if (runner->spec->has_terminal) {
		runner->size = runner->spec->size;
		frame_encode_size(size, runner->size.rows, runner->size.columns);
		recording_add(&runner->recording, FRAME_RESIZE, FRAME_STREAM_NONE, size,
			      sizeof(size));
	}
	if (runner_make_child(runner, runner->spec->hold_lock))
		runner_tell(runner, "ready", NULL);
}

/* The job is over for the daemon, which is not looked for any more. If it never ran here, the
 * viewers are told why. */
static void end(struct runner *runner, const json_t *parameters)
{
	const char *message = json_string_value(json_object_get(parameters, "message"));

	if (runner->is_started && !runner->is_over)
		return; /* it is not over while anything of it lives */
	runner_drop_link(runner);
	if (!runner->is_started && !runner->spec)
		(void)sd_event_exit(runner->event, 0);
	else if (!runner->is_started)
		runner_end_unstarted(runner, SPEC_EXIT_FAILED, message);
	runner_maybe_leave(runner);
}

/* An absent member is 0. Return: 0, or -EBADMSG for what is no such number. */
static int read_number(const json_t *parameters, const char *name, uint64_t *ret)
{
	const json_t *value = json_object_get(parameters, name);

	if (value && (!json_is_integer(value) || json_integer_value(value) < 0))
		return -EBADMSG;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

/* A deadline that cannot be read must not be taken for none. */
static void go(struct runner *runner, const json_t *parameters)
{
	uint64_t deadline, stop_grace;

	if (!runner->spec || runner->is_over || runner->is_started)
		return;
	if (read_number(parameters, "deadline", &deadline) < 0 ||
	    read_number(parameters, "stop_grace", &stop_grace) < 0) {
		runner_refuse(runner, SPEC_EXIT_FAILED,
			      "tfqd's order makes no sense: restart tfqd if it was just upgraded");
		return;
	}
	runner_go(runner, json_is_true(json_object_get(parameters, "hold_lock")), deadline,
		  stop_grace);
}

static void attach(struct runner *runner, const json_t *parameters)
{
	const int fd = varlink_take_fd(runner->link);
	uint64_t offset;

	/* Such an offset no recording has. */
	if (!runner->spec || read_number(parameters, "offset", &offset) < 0)
		offset = UINT64_MAX;
	runner_add_viewer(runner, fd, offset, json_is_true(json_object_get(parameters, "input")));
}

void runner_take_order(struct runner *runner, const json_t *message)
{
	const json_t *parameters = json_object_get(message, "parameters");
	const char *order = json_string_value(json_object_get(parameters, "order"));
	uint64_t deadline;

	if (!order) { /* an error, or a daemon that we do not understand */
		runner_be_refused(runner, message);
		return;
	}
	runner_be_accepted(runner);
	if (strcmp(order, "prepare") == 0) {
		prepare(runner, json_object_get(parameters, "spec"));
	} else if (strcmp(order, "attach") == 0) {
		attach(runner, parameters);
	} else if (strcmp(order, "go") == 0) {
		go(runner, parameters);
	} else if (strcmp(order, "deadline") == 0) {
		if (read_number(parameters, "deadline", &deadline) == 0)
			runner_fence_move(runner, deadline);
	} else if (strcmp(order, "stop") == 0) {
		(void)runner_interrupt(runner, (int)json_integer_value(
						       json_object_get(parameters, "level")));
	} else if (strcmp(order, "end") == 0) {
		end(runner, parameters);
	}
}
