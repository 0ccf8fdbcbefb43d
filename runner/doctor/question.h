/* SPDX-License-Identifier: MIT */
/* What tfq asked (common/doctor.h), and who is to ask the store for it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/backend.h"
#include "runner/aws/ask.h"

struct question {
	struct backend *backend; /* S3 */
	struct ask *ask;         /* environment, proxy, trust and time for all that is asked */
	bool may_probe;
};

/*
 * Understand @text (not kept), and go to the directory that it names. Return: 0; a negative errno,
 * with a sentence in *@ret_error, the caller's to free, but for -ENOMEM. @ret is to be cleared in
 * any case.
 */
int question_read(struct question *ret, const char *text, size_t len, char **ret_error);
void question_clear(struct question *question);
