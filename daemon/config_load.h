/* SPDX-License-Identifier: MIT */
/* The configuration that counts: files, command line, systemd's variables. At the start, and again
 * at each reload. */
#pragma once

#include "daemon/config.h"

/* Of the command line; NULL: not given. */
struct config_options {
	const char *file, *socket, *state_dir, *runtime_dir;
};

/*
 * Read all of it into a new configuration, complete and checked.
 * Return: 0, -ENOMEM, or another negative errno: then it was logged what is wrong, and where.
 */
int config_load(struct config **ret, const struct config_options *options);
