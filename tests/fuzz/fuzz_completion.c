/* SPDX-License-Identifier: MIT */
/* What shells are told of jobs: a line each, a word, a tab and what it is, whatever labels and
 * states hold. */
#include "common/varlink.h"
#include "tests/fuzz/fuzz.h"

/* --- in the place of tfqd -------------------------------------------------------------------- */

static struct fuzz_input answers;

static int fake_connect(struct varlink **ret, const char *path)
{
	(void)path;
	*ret = NULL;
	return 0;
}

static int fake_send(struct varlink *varlink, const json_t *message, const int *fds,
		     size_t fd_count)
{
	(void)varlink;
	(void)fds;
	FUZZ_CHECK(json_is_object(message) && fd_count == 0);
	return 0;
}

static int fake_wait(struct varlink *varlink, json_t **ret, int timeout_ms)
{
	size_t len;
	AUTO_FREE char *text = NULL;

	(void)varlink;
	(void)timeout_ms;
	if (answers.left == 0)
		return 0;
	text = fuzz_part(&answers, &len);
	*ret = json_loadb(text, len, 0, NULL);
	return json_is_object(*ret) ? 1 : 0;
}

#include "client/rpc.h"
#define varlink_connect fake_connect
#define varlink_send    fake_send
#define rpc_wait        fake_wait
#include "client/completion.c" // NOLINT(bugprone-suspicious-include): for what it asks tfqd

/* --- what is printed
 * ------------------------------------------------------------------------------ */

static void check_line(char *line)
{
	char *tab = strchr(line, '\t');

	FUZZ_CHECK(tab && tab > line);
	*tab = '\0';
	fuzz_check_printable(line);
	fuzz_check_printable(tab + 1);
}

static void answer(const char *kind)
{
	char words[16];
	char *const argv[] = { words, NULL };
	FILE *out = stdout;
	char *text = NULL, *rest, *line;
	size_t len = 0;

	(void)snprintf(words, sizeof(words), "%s", kind);
	stdout = open_memstream(&text, &len);
	FUZZ_CHECK(stdout && completion_answer(argv) == 0);
	FUZZ_CHECK(fclose(stdout) == 0);
	stdout = out;
	FUZZ_CHECK(strlen(text) == len);
	rest = text;
	while ((line = strsep(&rest, "\n")))
		if (rest || *line)
			check_line(line);
	free(text);
}

/* One byte: what is asked for; then answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = { "jobs", "all-jobs", "states" };
	const char *kind;

	answers = (struct fuzz_input){ data, size };
	kind = kinds[fuzz_byte(&answers) % 3];
	answer(kind);
	return 0;
}
