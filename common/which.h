/* SPDX-License-Identifier: MIT */
/* Finds the real terraform, with or without a tfq that is called terraform before it in PATH. */
#pragma once

/*
 * Look for the program @name in the list @path (as $PATH; NULL: the system's default), or,
 * if @name has a slash, just there. Passed over: what is not executable, and what is the
 * same file as one of @skip (NULL-ended paths; "" is no path).
 *
 * Return: 0 and its path in *@ret, the caller's to free; -ENOENT; -EACCES if all there was
 * is not executable; -ELOOP if all there was is to be passed over; -ENOMEM.
 */
int which_program(char **ret, const char *name, const char *path, const char *const *skip);
