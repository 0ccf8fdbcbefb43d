/* SPDX-License-Identifier: MIT */
/* What somebody who watches a job sends to its runner: keys, sizes, nonsense. */
#include "runner/viewer.h"

#include <sys/socket.h>

#include "tests/fuzz/fuzz.h"

#define TURNS_MAX 256

static struct viewer *viewer;
static bool is_deaf;
static size_t room;

static size_t get_room(const struct viewer *of, void *userdata)
{
	(void)of;
	(void)userdata;
	return room;
}

static void on_input(struct viewer *of, const char *data, size_t len, void *userdata)
{
	(void)of;
	(void)userdata;
	FUZZ_CHECK(!is_deaf);
	FUZZ_CHECK(len <= room && (len == 0 || data));
}

static void on_resize(struct viewer *of, uint16_t rows, uint16_t columns, void *userdata)
{
	(void)of;
	(void)rows;
	(void)columns;
	(void)userdata;
	FUZZ_CHECK(!is_deaf);
}

static void on_deaf(struct viewer *of, void *userdata)
{
	(void)of;
	(void)userdata;
	FUZZ_CHECK(!is_deaf);
	is_deaf = true;
}

static void on_gone(struct viewer *of, void *userdata)
{
	(void)userdata;
	FUZZ_CHECK(of == viewer);
	viewer = viewer_free(of);
}

static void feed(sd_event *event, int fd, struct fuzz_input *input, size_t step)
{
	while (viewer && input->left > 0) {
		const size_t len = input->left < step ? input->left : step;

		if (send(fd, input->at, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
			break;
		input->at += len;
		input->left -= len;
		for (int i = 0; i < TURNS_MAX && sd_event_run(event, 0) > 0; i++)
			;
	}
}

/* Two bytes: how much comes at a time, how much the child takes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct viewer_callbacks callbacks = { get_room, on_input, on_resize, on_deaf,
							   on_gone };
	static sd_event *event;
	struct fuzz_input input = { data, size };
	const size_t step = fuzz_byte(&input) * 16 + 1;
	char path[FUZZ_PATH_SIZE];
	struct recording recording = { .fd = fuzz_file(path, NULL, 0) };
	struct viewer_setup setup = { .recording = &recording, .callbacks = &callbacks };
	int fds[2];

	room = fuzz_byte(&input);
	room = room == UINT8_MAX ? VIEWER_ROOM_ALL : room + 1;
	is_deaf = false;
	if (!event)
		FUZZ_CHECK(sd_event_new(&event) == 0);
	setup.event = event;
	setup.may_type = true;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	FUZZ_CHECK(viewer_new(&viewer, fds[0], &setup) == 0);
	feed(event, fds[1], &input, step);
	(void)close(fds[1]);
	for (int i = 0; viewer && i < TURNS_MAX && sd_event_run(event, 0) > 0; i++)
		;
	if (viewer)
		viewer = viewer_free(viewer);
	(void)close(recording.fd);
	return 0;
}
