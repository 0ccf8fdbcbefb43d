/* SPDX-License-Identifier: MIT */
/* What is asked of the stores of a state, and in which order. */
#pragma once

#include <jansson.h>

#include "runner/doctor/question.h"

/*
 * Ask all of it, with @keys; what was answered goes into @facts (common/doctor.h). Nothing that is
 * there is changed; but see question.may_probe.
 *
 * Return: 0, whatever the answers; -EINVAL for an endpoint or a proxy that is none, with a sentence
 * in *@ret_error, the caller's to free; -ENOMEM; -EIO if OpenSSL fails.
 */
int checks_run(json_t *facts, const struct question *question, const struct keys *keys,
	       char **ret_error);
