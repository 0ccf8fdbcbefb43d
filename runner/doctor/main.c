/* SPDX-License-Identifier: MIT */
/*
 * tfq-doctor: reads one question from its input, asks the stores, and writes what they said
 * (common/doctor.h). It judges nothing. A program of its own, so that tfq does without libcurl.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <curl/curl.h>

#include "common/cleanup.h"
#include "common/doctor.h"
#include "common/io.h"
#include "runner/aws/chain.h"
#include "runner/doctor/checks.h"

/* It holds secrets: to be wiped and freed. */
static int read_question(char **ret, size_t *ret_len)
{
	struct stat st;

	if (fstat(STDIN_FILENO, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (size_t)st.st_size > DOCTOR_QUESTION_MAX)
		return -EINVAL;
	*ret = calloc(1, (size_t)st.st_size);
	return *ret ? io_read_all(STDIN_FILENO, *ret, (size_t)st.st_size, ret_len) : -ENOMEM;
}

static int say_credentials(json_t *facts, const char *name, const char *text)
{
	return json_object_set_new(facts, "credentials", json_pack("{s:s}", name, text));
}

/* Return: 0, also if there are no credentials, which is a fact like others. */
static int find_facts(json_t *facts, const struct question *question, char **ret_error)
{
	CLEANUP(keys_clear) struct keys keys = { 0 };
	int r;

	r = chain_find(&keys, question->ask);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		const char *why = question->ask->error;

		return say_credentials(facts, "error", why ? why : strerror(-r));
	}
	if (say_credentials(facts, "source", keys.source) < 0)
		return -ENOMEM;
	return checks_run(facts, question, &keys, ret_error);
}

static int answer(const char *text, size_t len, bool *ret_has_strays)
{
	CLEANUP(question_clear) struct question question = { 0 };
	AUTO_FREE char *error = NULL;
	json_t *facts = json_pack("{s:{}}", "asked");
	int r;

	r = facts ? question_read(&question, text, len, &error) : -ENOMEM;
	if (r == 0)
		r = find_facts(facts, &question, &error);
	*ret_has_strays = question.ask && question.ask->has_strays;
	if (r < 0) {
		(void)fprintf(stderr, "%s\n", error ? error : strerror(-r));
	} else if (json_dumpf(facts, stdout, JSON_COMPACT) < 0 || fflush(stdout) != 0) {
		r = -EIO;
	}
	json_decref(facts);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	char *text = NULL;
	size_t len = 0;
	bool has_strays = false;
	int code;

	(void)argv;
	if (argc > 1 || isatty(STDIN_FILENO)) {
		(void)fprintf(stderr, "tfq-doctor is started by tfq; people use 'tfq doctor'.\n");
		return EX_USAGE;
	}
#ifndef __SANITIZE_ADDRESS__
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
	(void)setsid(); /* what a credential_process leaves behind can be ended as one group */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(DOCTOR_SECONDS);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	if (read_question(&text, &len) < 0) {
		(void)fprintf(stderr, "The question could not be read.\n");
		return EXIT_FAILURE;
	}
	code = answer(text, len, &has_strays);
	explicit_bzero(text, len);
	free(text);
	curl_global_cleanup();
	if (has_strays && getpgrp() == getpid())
		(void)kill(0, SIGKILL);
	return code;
}
