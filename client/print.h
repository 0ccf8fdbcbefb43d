/* SPDX-License-Identifier: MIT */
/* Words for people, on stderr. What others wrote is made printable here. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* "tfq: ..." on stderr; further lines, after a newline, stand by themselves. */
void print_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A member of @object as text fit for a terminal, in @buf; "" if it is not there. Return: @buf. */
const char *print_text(char *buf, size_t size, const json_t *object, const char *name);

uint64_t print_number(const json_t *object, const char *name);

/* "14 min": since @since_usec (microseconds since 1970) until @until_usec, or now if that is 0.
 * @buf: 32 bytes. */
const char *print_duration(char *buf, uint64_t since_usec, uint64_t until_usec);
