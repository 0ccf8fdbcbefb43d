/* SPDX-License-Identifier: MIT */
/*
 * What a job needs to run and nobody else may see: its Submit as it came, with environment, words
 * and backend. One file a job, mode 0600, in memory: on a tmpfs, which outlives tfqd, but not the
 * machine's next boot.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"

struct vault;

/*
 * Below @runtime_dir if that is on a tmpfs; otherwise in /dev/shm, in a folder of this user's
 * whose name is made from @state_dir. Return: 0; -EOPNOTSUPP if there is no memory to keep it in
 * (no tmpfs, or somebody else's folder is in the way): then *@ret is a vault that keeps nothing.
 * Or a negative errno.
 */
int vault_new(struct vault **ret, const char *runtime_dir, const char *state_dir);
struct vault *vault_free(struct vault *vault); /* what is in it stays */
DEFINE_FREEP(vault);

/* Where it is; "" where it keeps nothing. */
const char *vault_dir(const struct vault *vault);

/* Return: 0; -EOPNOTSUPP; -ENOMEM; or a negative errno, as -ENOSPC. */
int vault_put(const struct vault *vault, uint64_t id, const json_t *secret);

/* Return: 0 and *@ret, the caller's; -ENOENT; -EBADMSG; or another
 * negative errno. */
int vault_get(const struct vault *vault, uint64_t id, json_t **ret);
void vault_drop(const struct vault *vault, uint64_t id);

/* Drop what is of no job for which @is_needed says so. */
void vault_sweep(const struct vault *vault, bool (*is_needed)(uint64_t id, void *userdata),
		 void *userdata);
