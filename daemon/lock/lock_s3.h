/* SPDX-License-Identifier: MIT */
/*
 * A lock file in S3, as terraform's `use_lockfile` makes it: the object <state key>.tflock,
 * created with If-None-Match, renewed and handed over with If-Match, removed after a comparison.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/backend.h"
#include "daemon/http.h"
#include "daemon/lock/lock.h"

#define LOCK_S3_SUFFIX ".tflock"

struct lock_s3_config {
	const char *region;   /* where the backend says none; NULL: none */
	const char *endpoint; /* of [aws] endpoint_s3, where the backend says none; NULL: AWS's */
	const char *ca_pem;   /* what the backend's or the environment's CA bundle holds; NULL: none
				 named */
	const char *ca_bundle;                       /* of [aws] ca_bundle, where none is named */
	const char *access_key, *secret_key, *token; /* token may be NULL */
	uint64_t connect_timeout_usec, request_timeout_usec;
};

/*
 * See the state of @backend (kind BACKEND_S3). Everything is copied.
 * Return: 0; -EINVAL if no URL can be made of it, with a sentence for the user in
 * *@ret_error, the caller's to free; -ENOMEM.
 */
int lock_s3_new(struct lock_store **ret, struct http *http, const struct backend *backend,
		const struct lock_s3_config *config, char **ret_error);
