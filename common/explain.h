/* SPDX-License-Identifier: MIT */
/* Errors with a sentence: for functions whose *@ret_error is shown to the user. */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/*
 * Put a sentence, the caller's to free, into *@ret_error, which is only written
 * to on success.
 *
 * Return: @error, so that a caller can explain and return in one line; -ENOMEM
 * if there is no memory for the sentence.
 */
__attribute__((format(printf, 3, 4))) static inline int explain(char **ret_error, int error,
								const char *fmt, ...)
{
	char *text;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		return -ENOMEM;

	*ret_error = text;
	return error;
}
