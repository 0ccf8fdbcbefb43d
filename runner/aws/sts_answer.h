/* SPDX-License-Identifier: MIT */
/* The credentials in an answer of STS. Pure; hostile input: bounded, no entities. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"

#define STS_ANSWER_MAX 65536U /* bytes */

/* Strings are the struct's own, wiped when freed. */
struct sts_answer {
	char *access_key, *secret_key, *token, *expiration;
};

/*
 * Read ACTIONResponse / ACTIONResult / Credentials, in whatever order its members come.
 * Return: 0 and all four set; -EBADMSG if it is not that; -ENOMEM.
 */
int sts_answer_parse(struct sts_answer **ret, const char *action, const void *body, size_t len);
struct sts_answer *sts_answer_free(struct sts_answer *answer);
DEFINE_FREEP(sts_answer);
