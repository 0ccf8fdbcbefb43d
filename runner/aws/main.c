/* SPDX-License-Identifier: MIT */
/*
 * tfq-credentials: reads one question (ask.h) from its input, and writes one answer. It runs as the
 * user whose terraform the credentials are for, and may take its time.
 *
 * The answer is one JSON object: as a credential_process prints it, with Source (for people) and
 * Refreshable (may the same be asked again before they expire?); or Error, a sentence for the user,
 * and Unsupported (may terraform itself manage what we cannot?), and the exit code is not 0.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <curl/curl.h>

#include "common/backend_parts.h"
#include "common/timestamp.h"
#include "runner/aws/chain.h"

#define GIVE_UP_SECONDS 85 /* whatever hangs: later than any limit of ours, sooner than tfqd's */

/* All of the input, to be wiped and freed: *@ret_len bytes. */
static int read_question(char **ret, size_t *ret_len)
{
	size_t size = 65536, used = 0;
	char *text = malloc(size);

	while (text && used < ASK_QUESTION_MAX) {
		const ssize_t n = read(STDIN_FILENO, text + used, size - used);

		if (n < 0 && errno != EINTR)
			break;
		if (n == 0) {
			*ret = text;
			*ret_len = used;
			return 0;
		}
		used += n > 0 ? (size_t)n : 0;
		if (used == size) { /* by hand: realloc() would leave a copy behind */
			char *more = malloc(2 * size);

			if (more)
				memcpy(more, text, used);
			explicit_bzero(text, used);
			free(text);
			text = more;
			size *= 2;
		}
	}
	if (text)
		explicit_bzero(text, used);
	free(text);
	return -EIO;
}

static json_t *answer_of(const struct keys *keys)
{
	char until[TIMESTAMP_SIZE];
	json_t *answer = json_pack("{s:i, s:s, s:s, s:s, s:b}", "Version", 1, "AccessKeyId",
				   keys->access_key, "SecretAccessKey", keys->secret_key, "Source",
				   keys->source, "Refreshable", keys->can_refresh);

	if (answer && keys->token)
		(void)json_object_set_new(answer, "SessionToken", json_string(keys->token));
	if (answer && keys->expires_usec > 0)
		(void)json_object_set_new(answer, "Expiration",
					  json_string(timestamp_format(until, keys->expires_usec)));
	return answer;
}

static int print(json_t *answer)
{
	CLEANUP(secret_freep) char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	size_t done = 0, len;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	while (done < len) {
		const ssize_t n = write(STDOUT_FILENO, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int fail(int error, const char *sentence)
{
	CLEANUP(backend_json_freep)
	json_t *answer = json_pack("{s:s, s:b}", "Error", sentence ? sentence : strerror(-error),
				   "Unsupported", error == -EOPNOTSUPP);

	(void)print(answer);
	return EXIT_FAILURE;
}

static int answer(const char *text, size_t len, bool *ret_has_strays)
{
	CLEANUP(ask_freep) struct ask *ask = NULL;
	CLEANUP(keys_clear) struct keys keys = { 0 };
	CLEANUP(backend_json_freep) json_t *object = NULL;
	int r;

	r = ask_new(&ask, text, len);
	if (r == 0)
		r = chain_find(&keys, ask);
	*ret_has_strays = ask && ask->has_strays;
	if (r < 0)
		return fail(r, ask ? ask->error : NULL);
	object = answer_of(&keys);
	return print(object) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	char *text = NULL;
	size_t len = 0;
	bool has_strays = false;
	int code;

	(void)argv;
	if (argc > 1 || isatty(STDIN_FILENO)) {
		(void)fprintf(stderr, "tfq-credentials is started by tfqd; people use tfq.\n");
		return EX_USAGE;
	}
#ifndef __SANITIZE_ADDRESS__
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
	(void)setsid(); /* what a credential_process leaves behind can be ended as one group */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(GIVE_UP_SECONDS);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	if (read_question(&text, &len) < 0)
		return fail(-EIO, "The question for credentials could not be read.");
	code = answer(text, len, &has_strays);
	explicit_bzero(text, len);
	free(text);
	curl_global_cleanup();
	if (has_strays && getpgrp() == getpid())
		(void)kill(0, SIGKILL);
	return code;
}
