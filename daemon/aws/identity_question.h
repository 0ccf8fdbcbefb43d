/* SPDX-License-Identifier: MIT */
/* The question for credentials that tfq-runner --credentials is asked (runner/aws/ask.h). Pure. */
#pragma once

#include <stddef.h>

#include "common/aws/sigv4.h"
#include "daemon/config.h"
#include "daemon/job.h"

struct identity_question {
	char *text; /* JSON, with secrets: wiped when cleared */
	size_t len;
	char key[SIGV4_HASH_LEN]; /* equal for equal questions, whatever terminal they come from */
};

/*
 * What is to be asked for @job: with its own environment and backend, or if @config says
 * credentials = daemon, with @daemon_env and [aws] profile. Return: 0, -ENOMEM, -EIO.
 */
int identity_question_make(struct identity_question *ret, const struct job *job,
			   char *const *daemon_env, const struct config *config);
void identity_question_clear(struct identity_question *question);
