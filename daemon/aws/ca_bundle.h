/* SPDX-License-Identifier: MIT */
/* A file of CA certificates that a job names: read once, carefully, for somebody else. */
#pragma once

#include <sys/types.h>

#define CA_BUNDLE_MAX 2097152 /* bytes: ten times what a distribution's bundle has */

/*
 * Read the file @path, relative to @directory, that a job of @uid names. Only a regular file
 * that is @uid's or that everybody may read: this process may be root. Never blocks on a FIFO
 * or a device.
 *
 * Return: 0 and its text in *@ret, the caller's to free; -EACCES for a file that is not @uid's
 * to read; -EINVAL for no regular file; -EFBIG; or what open(2) says.
 */
int ca_bundle_read(char **ret, const char *path, const char *directory, uid_t uid);
