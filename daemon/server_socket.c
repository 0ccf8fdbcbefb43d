/* SPDX-License-Identifier: MIT */
#include "daemon/server_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/access.h"

#define ALIVE_TRIES 20 /* with ALIVE_USEC between them: a second in all */
#define ALIVE_USEC  50000

static bool is_alive(const struct sockaddr_un *address)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			   errno == EAGAIN);
}

/* Who may connect is the socket's mode; who may do what is access.c's. */
static int open_to_submitters(const char *path, gid_t group)
{
	mode_t mode = geteuid() == 0 ? 0660 : 0600;

	if (geteuid() == 0 && group == ACCESS_ANYBODY)
		mode = 0666;
	else if (geteuid() == 0 && chown(path, 0, group == ACCESS_DEFAULT ? 0 : group) < 0)
		return -errno;
	return chmod(path, mode) < 0 ? -errno : 0;
}

static int bind_own(struct server_socket *ret, const char *path, gid_t submitters)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_CLOSE int fd = -1;
	mode_t before;
	int r;

	if (strlen(path) >= sizeof(address.sun_path)) {
		return log_error(-ENAMETOOLONG,
				 "The socket's path %s is too long; give a shorter one with "
				 "--socket",
				 path);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* What a tfqd that was killed has just forked holds its socket until it is a runner. */
	for (int tries = 0; is_alive(&address); tries++) {
		if (tries >= ALIVE_TRIES)
			return log_error(-EADDRINUSE, "Another tfqd serves %s already", path);
		(void)usleep(ALIVE_USEC);
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return log_error(errno, "Failed to remove the old socket %s: %m", path);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return log_error(errno, "Failed to make a socket: %m");
	before = umask(0177);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(before);
	if (r < 0)
		return log_error(r, "Failed to bind %s: %m", path);
	r = open_to_submitters(path, submitters);
	if (r < 0)
		return log_error(r, "Failed to open %s to the submitters: %m", path);
	if (listen(fd, SOMAXCONN) < 0)
		return log_error(errno, "Failed to listen on %s: %m", path);
	ret->path = strdup(path);
	if (!ret->path)
		return log_oom();
	ret->fd = TAKE_FD(fd);
	ret->is_owned = true;
	return 0;
}

static int take_over(struct server_socket *ret)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address) - 1;
	const int fd = SD_LISTEN_FDS_START;
	int flags;

	if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0)
		return log_error(-EINVAL,
				 "What systemd passed is no listening AF_UNIX stream socket");
	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0 || address.sun_path[0] != '/')
		return log_error(-EINVAL,
				 "systemd's socket has no path; runners could not find it");
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return log_error(errno, "Failed to make systemd's socket non-blocking: %m");
	ret->path = strdup(address.sun_path);
	if (!ret->path)
		return log_oom();
	ret->fd = fd;
	return 0;
}

int server_socket_open(struct server_socket *ret, const char *path, gid_t submitters)
{
	const int count = sd_listen_fds(1);

	if (count < 0)
		return log_error(count, "Failed to take over the socket from systemd: %m");
	if (count > 1)
		return log_error(-EINVAL, "Expected one socket from systemd, got %d", count);
	return count == 1 ? take_over(ret) : bind_own(ret, path, submitters);
}

void server_socket_admit(const struct server_socket *socket, gid_t submitters)
{
	int r;

	if (!socket->is_owned)
		return;
	r = open_to_submitters(socket->path, submitters);
	if (r < 0)
		log_warning(r, "Failed to open %s to the submitters: %m", socket->path);
}

void server_socket_close(struct server_socket *socket)
{
	if (socket->is_owned)
		(void)unlink(socket->path);
	if (socket->fd >= 0)
		(void)close(socket->fd);
	free(socket->path);
	*socket = (struct server_socket){ .fd = -1 };
}
