/* SPDX-License-Identifier: MIT */
/* *.tf and *.tf.json: do they name a backend? */
#include "common/backend_parts.h"
#include "tests/fuzz/fuzz.h"

static void check(bool is_there, const char *type)
{
	FUZZ_CHECK(!is_there || strnlen(type, BACKEND_TYPE_SIZE) < BACKEND_TYPE_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	AUTO_FREE char *text = fuzz_part(&input, NULL);
	AUTO_FREE char *path = malloc(strlen(text) + 2);
	char type[BACKEND_TYPE_SIZE] = "";

	FUZZ_CHECK(path);
	check(backend_scan_hcl(text, type), type);
	check(backend_scan_json(text, type), type);
	(void)backend_is_workspace(text);
	(void)sprintf(path, "/%s", text);
	backend_clean_path(path);
	FUZZ_CHECK(path[0] == '/' && !strstr(path, "//") && !strstr(path, "/../"));
	return 0;
}
