/* SPDX-License-Identifier: MIT */
#include "client/logs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "common/cleanup.h"
#include "common/wire.h"

int logs_open(uint64_t id, json_t **ret_job, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	json_t *answer = NULL, *parameters;
	int r;

	r = rpc_ask_fd(WIRE_LOGS, json_pack("{s:I}", "id", (json_int_t)id), &answer, &fd);
	if (r != 0)
		return r;
	r = rpc_check(answer);
	parameters = json_object_get(answer, "parameters");
	if (r == 0 && !json_is_object(json_object_get(parameters, "job"))) {
		print_error("tfqd's answer makes no sense");
		r = EXIT_OURS;
	}
	if (r == 0) {
		*ret_job = json_incref(json_object_get(parameters, "job"));
		*ret_fd = TAKE_FD(fd);
	}
	json_decref(answer);
	return r;
}

int logs_read(struct stream *stream, int fd, uint64_t id)
{
	off_t at = (off_t)stream->offset;
	ssize_t n;
	int r = 0;

	do {
		size_t space;
		char *to = stream_space(stream, &space);

		n = pread(fd, to, space, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0)
			r = stream_take(stream, (size_t)n);
		at += n > 0 ? n : 0;
	} while (n != 0 && (n > 0 || errno == EINTR) && r == 0 && stream->error == 0);

	if (n < 0) {
		r = -errno;
		print_error("cannot read the recording of #%llu: %s", (unsigned long long)id,
			    strerror(-r));
	} else if (r < 0) {
		print_error("the recording of #%llu is damaged: at byte %llu there is no frame",
			    (unsigned long long)id, (unsigned long long)stream->offset);
	} else if (n == 0 && stream->in_len > 0) {
		print_error("the recording of #%llu ends in the middle of a frame",
			    (unsigned long long)id);
		stream->in_len = 0;
	}
	return r;
}
