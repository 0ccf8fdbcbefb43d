/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share. Each tests/fuzz/fuzz_*.c is one: it gives bytes that somebody else
 * may have written to what reads them in tfqd, and says what must be true afterwards. libFuzzer
 * makes up the bytes (`make fuzz`); `make check` takes those in seeds/ (replay.c).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"

/* Return: 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must be true. */
#define FUZZ_CHECK(what)                                                                         \
	do {                                                                                     \
		if (!(what)) {                                                                   \
			(void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

#define FUZZ_SEPARATOR 0x1e /* "record separator": between the parts of an input */

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* Up to the next separator, without it; *@ret_len may be NULL. Return: NUL-ended, the caller's. */
static inline char *fuzz_part(struct fuzz_input *input, size_t *ret_len)
{
	const uint8_t *end = input->left ? memchr(input->at, FUZZ_SEPARATOR, input->left) : NULL;
	const size_t len = end ? (size_t)(end - input->at) : input->left;
	const size_t used = len + (end ? 1 : 0);
	char *part = malloc(len + 1);

	FUZZ_CHECK(part);
	if (len > 0)
		memcpy(part, input->at, len);
	part[len] = '\0';
	input->at += used;
	input->left -= used;
	if (ret_len)
		*ret_len = len;
	return part;
}

/* One byte; 0 at the end. */
static inline unsigned fuzz_byte(struct fuzz_input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

/* The lines of @text, which is changed, as a NULL-ended vector of @max at most. */
static inline void fuzz_lines(char **ret, size_t max, char *text)
{
	size_t count = 0;

	while (text && count + 1 < max)
		ret[count++] = strsep(&text, "\n");
	ret[count] = NULL;
}

/* Fit for a terminal: UTF-8, no control character, and text_printable() would change nothing. */
static inline void fuzz_check_printable(const char *text)
{
	const size_t size = strlen(text) + 1;
	AUTO_FREE char *again = malloc(size);

	FUZZ_CHECK(again);
	FUZZ_CHECK(text_is_utf8(text));
	FUZZ_CHECK(strcmp(text_printable(again, size, text), text) == 0);
}

#define FUZZ_PATH_SIZE 32

/* A file that holds the @len bytes at @data; @path, of FUZZ_PATH_SIZE bytes, leads to it. Return:
 * its descriptor, the caller's. */
static inline int fuzz_file(char *path, const void *data, size_t len)
{
	const int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(len == 0 || write(fd, data, len) == (ssize_t)len);
	(void)snprintf(path, FUZZ_PATH_SIZE, "/proc/self/fd/%d", fd);
	return fd;
}
