/* SPDX-License-Identifier: MIT */
/*
 * A lock file in S3, as terraform's `use_lockfile` makes it: the object <state key>.tflock,
 * created with If-None-Match, renewed and handed over with If-Match, removed after a comparison.
 */
#pragma once

#include "common/backend.h"
#include "daemon/http.h"
#include "daemon/lock/lock.h"
#include "daemon/lock/store_config.h"

#define LOCK_S3_SUFFIX ".tflock"

/*
 * See the state of @backend (kind BACKEND_S3). Everything is copied.
 * Return: 0; -EINVAL if no URL can be made of it, or none of its proxy, with a sentence for the
 * user in *@ret_error, the caller's to free; -ENOMEM.
 */
int lock_s3_new(struct lock_store **ret, struct http *http, const struct backend *backend,
		const struct lock_store_config *config, char **ret_error);
