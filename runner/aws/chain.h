/* SPDX-License-Identifier: MIT */
/* Which source has the credentials that terraform's S3 backend uses, in its order (aws.md 5.1). */
#pragma once

#include "runner/aws/ask.h"

/*
 * Find them: @keys, which is empty, is filled. The first source that is named decides; if it fails,
 * no other is asked. Return: 0; -EOPNOTSUPP for what terraform may ask and we cannot; another
 * negative errno; ask->error says why (but for -ENOMEM).
 */
int chain_find(struct keys *keys, struct ask *ask);

/* "1h30m", "900s", "3600": Go's form of a time, whole seconds. Return: 0, or -EINVAL. */
int chain_parse_duration(const char *text, uint64_t *ret_seconds);
