/* SPDX-License-Identifier: MIT */
/* Where things are, for a system's tfqd (root) and for a user's own. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define PATHS_SYSTEM_SOCKET "/run/tfqd/tfqd.sock"

/*
 * Folders of a user's own tfqd: $XDG_RUNTIME_DIR/tfqd (or /tmp/tfqd-<uid>, which must be
 * that user's alone) and $XDG_STATE_HOME/tfqd (or ~/.local/state/tfqd).
 * Return: the path, the caller's to free, or NULL when out of memory or without a home.
 */
char *paths_user_runtime_dir(uid_t uid);
char *paths_user_state_dir(uid_t uid);
char *paths_user_config_dir(uid_t uid);

/*
 * The socket a client is to use: $TFQ_SOCKET, else the system's if it is there, else the
 * user's own. Return: the path, the caller's to free, or NULL when out of memory.
 */
char *paths_client_socket(void);

/* Make @path, a directory of this process's user with @mode, and its parents. Return: 0; -EPERM if
 * it is there and somebody else's or open to others' writing; or what mkdir(2) says. */
int paths_make_dir(const char *path, mode_t mode);
