/* SPDX-License-Identifier: MIT */
/* Owns everything in tfqd: makes it, in order; runs it; takes it apart. */
#pragma once

#include "common/cleanup.h"
#include "daemon/config_load.h"

struct daemon;

/*
 * Make a daemon of @config, which is borrowed, complete (socket, state_dir and runtime_dir are
 * set), and changed by a reload, which loads it again by @options; with @env, its own
 * environment. Signals are blocked from here on.
 * Errors are logged, with what to do.
 * Return: 0 or a negative errno.
 */
int daemon_new(struct daemon **ret, struct config *config, const struct config_options *options,
	       char *const *env);

struct daemon *daemon_free(struct daemon *daemon);
DEFINE_FREEP(daemon);

/* Serve until told to stop. Return: 0 or a negative errno. */
int daemon_run(struct daemon *daemon);
