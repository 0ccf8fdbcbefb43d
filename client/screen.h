/* SPDX-License-Identifier: MIT */
/*
 * The user's terminal while terraform has one of its own: every key goes there at once, and is
 * echoed from there. Ctrl-C, Ctrl-Z and Ctrl-\ stay ours. A terminal that is the shell's, because
 * we are in the background, is left alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct screen {
	bool is_on;
	struct termios before;
};

/* Are stdin and stdout terminals? */
bool screen_is_there(void);

/* Is stdin a terminal that may be read now? In the background a read would stop us. */
bool screen_is_ours(void);

/* Does the terminal @fd show a newline as CR LF? */
bool screen_adds_returns(int fd);

/* Of the terminal at stdout. Return: false if it cannot be told. */
bool screen_size(uint16_t *ret_rows, uint16_t *ret_columns);

/* Keys at once, and no echo; nothing happens if that is so, or the terminal is not ours. */
void screen_enter(struct screen *screen);

/* The same again, after something else may have changed it. */
void screen_enter_again(const struct screen *screen);

/* As it was before. */
void screen_leave(struct screen *screen);
