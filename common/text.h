/* SPDX-License-Identifier: MIT */
/* Text that somebody else wrote, made fit for a terminal, a log or a lock. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Copy @text to @buf of @size bytes (1 at least), NUL-ended, cut at a character's
 * end. Control characters (C0, DEL, C1), line and paragraph separators and what
 * Unicode calls no character become '?', and so does every byte that is no UTF-8.
 * @text may be @buf. Return: @buf.
 */
char *text_printable(char *buf, size_t size, const char *text);

/* Is @text valid UTF-8? */
bool text_is_utf8(const char *text);

/*
 * Write the words of @argv as one line of at most @size bytes with the NUL; what
 * a shell would split or expand is quoted, so that it can be read back. Longer
 * lines end in "...". Return: @buf.
 */
char *text_command(char *buf, size_t size, char *const *argv);

/* Replace *@field, which may be NULL, by a copy of @text. Return: 0, or -ENOMEM; then it is as it
 * was. */
int text_replace(char **field, const char *text);
