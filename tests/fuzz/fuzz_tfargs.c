/* SPDX-License-Identifier: MIT */
/* terraform's command line, and the one that is run in its place. */
#include "common/tfargs.h"

#include <errno.h>

#include "tests/fuzz/fuzz.h"

#define WORDS_MAX 64

static size_t count_of(char *const *strv, const char *word)
{
	size_t count = 0;

	for (; *strv; strv++)
		count += strcmp(*strv, word) == 0;
	return count;
}

static bool are_same(char *const *a, char *const *b)
{
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return *a == *b;
}

static void build(const struct tfargs *args, char **argv, char **env, bool hold_lock)
{
	char **built = NULL, **twice = NULL;
	struct tfargs again;
	AUTO_FREE char *error = NULL;
	const int r = tfargs_build(&built, args, argv, hold_lock, "1h");

	FUZZ_CHECK(r == 0 || (hold_lock && r == -EINVAL && args->class != TFARGS_LOCKS));
	if (r < 0)
		return;
	if (hold_lock)
		FUZZ_CHECK(strcmp(built[args->words_end], "-lock=false") == 0 ||
			   count_of(built, "-lock=false") > 0);
	/* Whatever it is, it must not be something else to who reads it the next time. */
	FUZZ_CHECK(tfargs_parse(&again, built, env, &error) == 0);
	FUZZ_CHECK(again.subcommand == args->subcommand);
	FUZZ_CHECK(strcmp(again.plan_file, args->plan_file) == 0);
	if (hold_lock && again.class == TFARGS_LOCKS) {
		FUZZ_CHECK(tfargs_build(&twice, &again, built, true, NULL) == 0);
		FUZZ_CHECK(are_same(built, twice));
		tfargs_strv_free(twice);
	}
	FUZZ_CHECK(!hold_lock || again.class == args->class);
	tfargs_strv_free(built);
}

/* The words by lines, and the environment. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	AUTO_FREE char *words = fuzz_part(&input, NULL);
	AUTO_FREE char *environment = fuzz_part(&input, NULL);
	AUTO_FREE char *error = NULL;
	char *argv[WORDS_MAX], *env[WORDS_MAX];
	char line[256];
	struct tfargs args;
	int r;

	fuzz_lines(argv, WORDS_MAX, words);
	fuzz_lines(env, WORDS_MAX, environment);
	r = tfargs_parse(&args, argv, env, &error);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && error));
	FUZZ_CHECK(strlen(text_command(line, sizeof(line), argv)) < sizeof(line));
	if (argv[0])
		(void)tfargs_suggest(argv[0]);
	if (r < 0)
		return 0;
	build(&args, argv, env, false);
	build(&args, argv, env, true);
	return 0;
}
