/* SPDX-License-Identifier: MIT */
/*
 * floor DIRECTORY PROGRAM - what nobody can be faster than on this machine.
 *
 * stdout says the median, and the 99th percentile, of each in microseconds:
 *   message       there and back over a socket, between two processes that wait in epoll
 *   exec          of PROGRAM, by a process that was forked before and waits at a pipe for the word,
 *                 until the parent has seen it; that is how a runner starts terraform
 *   rested-...    the same two between two CPUs, after all have slept for a tenth of a second, and
 *                 the CPUs with them, as they do while a terraform waits for its provider
 *   spawn         exec with the fork
 *   grow, fsync   4 KiB that are added to a file in DIRECTORY, or written over, and are on disk
 * PROGRAM is killed as soon as it has been started.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

#define WARM_UP   20
#define MESSAGES  2000
#define STARTS    200
#define SYNCS     200
#define RESTED    40
#define BLOCK     4096

#define REST_USEC 100000

struct floor {
	const char *directory, *program;
	int fd, epoll;        /* of what is measured just now */
	useconds_t rest_usec; /* before each */
	cpu_set_t cpus;       /* all that may be used; set while there is a rest */
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static int checked(const char *what, int r)
{
	if (r < 0)
		die(what);
	return r;
}

static int compare(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* Times @once(), which returns microseconds, @count times. */
static void measure(const char *name, uint64_t (*once)(const struct floor *floor),
		    const struct floor *floor, size_t count)
{
	uint64_t *usec = calloc(count, sizeof(*usec));

	if (!usec)
		die("calloc");
	for (size_t i = 0; i < WARM_UP && floor->rest_usec == 0; i++)
		(void)once(floor);
	for (size_t i = 0; i < count; i++)
		usec[i] = once(floor);
	qsort(usec, count, sizeof(*usec), compare);
	(void)printf("%s %llu %llu\n", name, (unsigned long long)usec[count / 2],
		     (unsigned long long)usec[count * 99 / 100]);
	free(usec);
}

/* --- a CPU of one's own --------------------------------------------------------------------- */

/* From now on, on the @index'th of the CPUs that @all has, counted round and round. */
static void pin(const cpu_set_t *all, int index)
{
	cpu_set_t one;
	int left = index % CPU_COUNT(all);

	CPU_ZERO(&one);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, all) && left-- == 0)
			CPU_SET(cpu, &one);
	}
	(void)checked("sched_setaffinity", sched_setaffinity(0, sizeof(one), &one));
}

static void rest(struct floor *floor)
{
	(void)checked("sched_getaffinity", sched_getaffinity(0, sizeof(floor->cpus), &floor->cpus));
	floor->rest_usec = REST_USEC;
	pin(&floor->cpus, 0);
}

static void rest_no_more(struct floor *floor)
{
	floor->rest_usec = 0;
	(void)checked("sched_setaffinity", sched_setaffinity(0, sizeof(floor->cpus), &floor->cpus));
}

/* --- a message ------------------------------------------------------------------------------ */

static int watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	const int epoll = checked("epoll_create1", epoll_create1(EPOLL_CLOEXEC));

	(void)checked("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	return epoll;
}

/* Return: false at the end of the other side. */
static bool take(int epoll, int fd)
{
	struct epoll_event event;
	char bytes[64];

	(void)checked("epoll_wait", epoll_wait(epoll, &event, 1, -1));
	return checked("recv", (int)recv(fd, bytes, sizeof(bytes), 0)) > 0;
}

static void give(int fd)
{
	(void)checked("send", (int)send(fd, "message", sizeof("message"), MSG_NOSIGNAL));
}

static uint64_t there_and_back(const struct floor *floor)
{
	uint64_t began;

	(void)usleep(floor->rest_usec);
	began = clock_usec(CLOCK_MONOTONIC);
	give(floor->fd);
	(void)take(floor->epoll, floor->fd);
	return clock_usec(CLOCK_MONOTONIC) - began;
}

static void measure_messages(struct floor *floor, const char *name, size_t count)
{
	int pair[2];
	pid_t pid;

	(void)checked("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = checked("fork", fork());
	if (pid == 0) {
		const int epoll = watch(pair[1]);

		(void)close(pair[0]);
		if (floor->rest_usec > 0)
			pin(&floor->cpus, 1);
		while (take(epoll, pair[1]))
			give(pair[1]);
		_exit(0);
	}
	(void)close(pair[1]);
	floor->fd = pair[0];
	floor->epoll = watch(pair[0]);
	measure(name, there_and_back, floor, count);
	(void)close(floor->epoll);
	(void)close(floor->fd);
	(void)waitpid(pid, NULL, 0);
}

/* --- the start of a program ----------------------------------------------------------------- */

static uint64_t start(const struct floor *floor, bool with_fork)
{
	uint64_t began = clock_usec(CLOCK_MONOTONIC), usec;
	int word[2], end[2];
	pid_t pid;
	char byte = 0;

	(void)checked("pipe2", pipe2(word, O_CLOEXEC));
	(void)checked("pipe2", pipe2(end, O_CLOEXEC));
	pid = checked("fork", fork());
	if (pid == 0) {
		const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (floor->rest_usec > 0)
			pin(&floor->cpus, 1);
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
		if (read(word[0], &byte, sizeof(byte)) == sizeof(byte))
			(void)execl(floor->program, floor->program, (char *)NULL);
		(void)!write(end[1], &byte, sizeof(byte));
		_exit(127);
	}
	(void)close(word[0]);
	(void)close(end[1]);
	if (!with_fork) {
		(void)usleep(floor->rest_usec ? floor->rest_usec : 1000); /* until it waits */
		began = clock_usec(CLOCK_MONOTONIC);
	}
	(void)checked("write", (int)write(word[1], &byte, sizeof(byte)));
	if (read(end[0], &byte, sizeof(byte)) != 0) {
		(void)fprintf(stderr, "floor: cannot run %s\n", floor->program);
		exit(EXIT_FAILURE);
	}
	usec = clock_usec(CLOCK_MONOTONIC) - began;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)close(word[1]);
	(void)close(end[0]);
	return usec;
}

static uint64_t start_forked(const struct floor *floor)
{
	return start(floor, false);
}

static uint64_t start_all(const struct floor *floor)
{
	return start(floor, true);
}

/* --- the disk ------------------------------------------------------------------------------- */

static uint64_t write_down(const struct floor *floor)
{
	static const char block[BLOCK] = "x";
	const uint64_t began = clock_usec(CLOCK_MONOTONIC);

	(void)checked("write", (int)write(floor->fd, block, sizeof(block)));
	(void)checked("fdatasync", fdatasync(floor->fd));
	return clock_usec(CLOCK_MONOTONIC) - began;
}

static void measure_syncs(struct floor *floor)
{
	floor->fd = checked(floor->directory,
			    open(floor->directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
	measure("grow", write_down, floor, SYNCS);
	(void)checked("lseek", (int)lseek(floor->fd, 0, SEEK_SET));
	measure("fsync", write_down, floor, SYNCS);
	(void)close(floor->fd);
}

int main(int argc, char *argv[])
{
	struct floor floor = { 0 };

	if (argc != 3) {
		(void)fprintf(stderr, "usage: floor DIRECTORY PROGRAM\n");
		return EXIT_FAILURE;
	}
	floor.directory = argv[1];
	floor.program = argv[2];
	measure_messages(&floor, "message", MESSAGES);
	measure("exec", start_forked, &floor, STARTS);
	rest(&floor);
	measure_messages(&floor, "rested-message", RESTED);
	measure("rested-exec", start_forked, &floor, RESTED);
	rest_no_more(&floor);
	measure("spawn", start_all, &floor, STARTS);
	measure_syncs(&floor);
	return EXIT_SUCCESS;
}
