/* SPDX-License-Identifier: MIT */
/* Whole reads and writes of files, signals or not. */
#pragma once

#include <stddef.h>

/* Read to the end of @fd, or until @buf is full. Return: 0 and *@ret_len, or read(2)'s negative
 * errno. */
int io_read_all(int fd, char *buf, size_t size, size_t *ret_len);

/* Return: 0, or write(2)'s negative errno after some of it. */
int io_write_all(int fd, const char *data, size_t len);
