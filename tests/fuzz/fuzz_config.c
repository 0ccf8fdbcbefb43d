/* SPDX-License-Identifier: MIT */
/* Configuration files: the main one, and one over it. */
#include <errno.h>

#include "daemon/config.h"
#include "tests/fuzz/fuzz.h"

static bool read_one(struct config *config, const void *text, size_t len)
{
	char path[FUZZ_PATH_SIZE];
	AUTO_CLOSE int fd = fuzz_file(path, text, len);
	AUTO_FREE char *error = NULL;
	const int r = config_read(config, path, &error);

	FUZZ_CHECK((r < 0) == (error != NULL));
	return r >= 0;
}

static void look_at(const struct config *config, const char *state)
{
	AUTO_FREE char *error = NULL;
	size_t index = 0;

	FUZZ_CHECK((config_check(config, &error) < 0) == (error != NULL));
	while (config_next_unused(config, &index))
		;
	(void)config_state_match(config, state);
}

/* Two files, and the name of a state. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	CLEANUP(config_freep) struct config *config = NULL;
	size_t len, more_len;
	AUTO_FREE char *text = fuzz_part(&input, &len);
	AUTO_FREE char *more = fuzz_part(&input, &more_len);
	AUTO_FREE char *state = fuzz_part(&input, NULL);

	FUZZ_CHECK(config_new(&config) == 0);
	if (read_one(config, text, len) && read_one(config, more, more_len))
		look_at(config, state);
	return 0;
}
