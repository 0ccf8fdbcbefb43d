/* SPDX-License-Identifier: MIT */
/* A pseudo-terminal for terraform. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TERMINAL_ROWS     24 /* if nobody says how large it is */
#define TERMINAL_COLUMNS  80
#define TERMINAL_SIDE_MAX 10000 /* rows or columns; programs draw lines of that width */

struct terminal_size {
	uint16_t rows, columns;
};

/* Is that a size that a terminal can have? */
bool terminal_size_is_sane(const struct terminal_size *size);

/*
 * Make one: it echoes, cooks lines and ends them as any other, but nothing that is typed sends a
 * signal or stops the output. *@ret_master is non-blocking. Nobody's controlling terminal yet.
 * Return: 0 or a negative errno.
 */
int terminal_open(const struct terminal_size *size, int *ret_master, int *ret_slave);

/* In a child that waits: lead a session with that as controlling terminal. Return: as above. */
int terminal_own(int slave);

/* Who runs on it gets a SIGWINCH. Return: as above. */
int terminal_resize(int master, const struct terminal_size *size);
