/* SPDX-License-Identifier: MIT */
#include "client/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

bool screen_is_there(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

bool screen_is_ours(void)
{
	return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

bool screen_adds_returns(int fd)
{
	struct termios modes;

	return tcgetattr(fd, &modes) == 0 && (modes.c_oflag & OPOST) && (modes.c_oflag & ONLCR);
}

bool screen_size(uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		return false;
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
	return true;
}

/* Also no Ctrl-S and Ctrl-V of our own: terraform's terminal has them, and Ctrl-Q is wanted. */
static void set_modes(const struct screen *screen)
{
	struct termios modes = screen->before;

	modes.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL | IEXTEN);
	modes.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON | IXOFF);
	modes.c_cc[VMIN] = 1;
	modes.c_cc[VTIME] = 0;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &modes);
}

void screen_enter(struct screen *screen)
{
	if (screen->is_on || !screen_is_ours() || tcgetattr(STDIN_FILENO, &screen->before) < 0)
		return;
	screen->is_on = true;
	set_modes(screen);
}

void screen_enter_again(const struct screen *screen)
{
	if (screen->is_on && screen_is_ours())
		set_modes(screen);
}

void screen_leave(struct screen *screen)
{
	if (!screen->is_on)
		return;
	screen->is_on = false;
	if (screen_is_ours())
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
}
