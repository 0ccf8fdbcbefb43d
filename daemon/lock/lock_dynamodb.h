/* SPDX-License-Identifier: MIT */
/*
 * A lock in a DynamoDB table, as terraform's `dynamodb_table` makes it: the item with LockID
 * <bucket>/<state key>, whose Info is terraform's own, byte for byte. What tfqd adds stands in
 * attributes beside it (aws.md 7.4). Renewed, handed over and taken over by writing the whole item
 * on condition of its nonce, LeaseRvn: terraform's documented rights suffice. The version of a lock
 * (its "etag") is that nonce; of an item without one, something that changes with it.
 *
 * terraform's other item, ...-md5, is never touched.
 */
#pragma once

#include "common/backend.h"
#include "daemon/http.h"
#include "daemon/lock/lock.h"
#include "daemon/lock/store_config.h"

/*
 * See the state of @backend (kind BACKEND_S3, with a dynamodb_table). Everything is copied.
 * Return: 0; -EINVAL if no URL can be made of its endpoint or proxy, with a sentence for the user
 * in *@ret_error, the caller's to free; -ENOMEM.
 */
int lock_dynamodb_new(struct lock_store **ret, struct http *http, const struct backend *backend,
		      const struct lock_store_config *config, char **ret_error);
