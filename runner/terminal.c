/* SPDX-License-Identifier: MIT */
#include "runner/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"

bool terminal_size_is_sane(const struct terminal_size *size)
{
	return size->rows > 0 && size->rows <= TERMINAL_SIDE_MAX && size->columns > 0 &&
	       size->columns <= TERMINAL_SIDE_MAX;
}

/*
 * A byte that is typed must not signal the group: providers must not hear it. The characters are
 * taken away, too, because who reads a password switches ISIG on. ^S would hold terraform up with
 * nobody there for a ^Q.
 */
static int set_modes(int slave)
{
	struct termios modes;

	if (tcgetattr(slave, &modes) < 0)
		return -errno;
	modes.c_lflag &= (tcflag_t)~ISIG;
	modes.c_iflag &= (tcflag_t)~IXON;
	modes.c_iflag |= IUTF8;
	modes.c_cc[VINTR] = modes.c_cc[VQUIT] = modes.c_cc[VSUSP] = _POSIX_VDISABLE;
	return tcsetattr(slave, TCSANOW, &modes) < 0 ? -errno : 0;
}

int terminal_open(const struct terminal_size *size, int *ret_master, int *ret_slave)
{
	AUTO_CLOSE int master = -1, slave = -1;
	int r;

	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	r = set_modes(slave);
	if (r >= 0)
		r = terminal_resize(master, size);
	if (r < 0)
		return r;
	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}

int terminal_own(int slave)
{
	/* A runner that dies hangs up; terraform goes on then as it does without a terminal. */
	if (signal(SIGHUP, SIG_IGN) == SIG_ERR)
		return -errno;
	return setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0 ? -errno : 0;
}

int terminal_resize(int master, const struct terminal_size *size)
{
	const struct winsize window = { .ws_row = size->rows, .ws_col = size->columns };

	return ioctl(master, TIOCSWINSZ, &window) < 0 ? -errno : 0;
}
