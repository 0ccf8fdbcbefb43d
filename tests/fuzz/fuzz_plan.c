/* SPDX-License-Identifier: MIT */
/* A saved plan: the zip file, and the member that is read of it. */
#include "common/plan/plan.h"

#include <errno.h>

#include "common/plan/msgpack.h"
#include "common/plan/plan_decode.h"
#include "tests/fuzz/fuzz.h"

enum { KIND_ZIP, KIND_MEMBER, KIND_MSGPACK, KINDS };

static void read_zip(const uint8_t *data, size_t size)
{
	static char home[] = "HOME=/nonexistent";
	static char *const env[] = { home, NULL };
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	char path[FUZZ_PATH_SIZE];
	AUTO_CLOSE int fd = fuzz_file(path, data, size);
	AUTO_FREE char *error = NULL;
	const int r = plan_source_read(&source, "/", path, env, &error);

	FUZZ_CHECK((r < 0) == (error != NULL));
	if (error)
		fuzz_check_printable(error);
	else
		FUZZ_CHECK(source->file && strlen(source->file) <= BACKEND_FILE_MAX);
}

static void read_member(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = NULL;
	const char *why = NULL;
	const int r = plan_decode(&text, data, size, &why);
	json_t *root;

	FUZZ_CHECK(r == 0 || ((r == -EBADMSG || r == -EOPNOTSUPP) && why));
	if (r < 0)
		return;
	root = json_loads(text, JSON_ALLOW_NUL, NULL);
	FUZZ_CHECK(json_is_object(json_object_get(json_object_get(root, "backend"), "config")));
	json_decref(root);
}

static void read_msgpack(const uint8_t *data, size_t size)
{
	json_t *value = NULL, *again;
	char *text;

	if (msgpack_to_json(&value, data, size, PLAN_DEPTH_MAX) < 0)
		return;
	text = json_dumps(value, JSON_ENCODE_ANY);
	FUZZ_CHECK(text);
	again = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	FUZZ_CHECK(again);
	json_decref(again);
	free(text);
	json_decref(value);
}

/* The first byte: what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };

	switch (fuzz_byte(&input) % KINDS) {
	case KIND_ZIP: read_zip(input.at, input.left); break;
	case KIND_MEMBER: read_member(input.at, input.left); break;
	default: read_msgpack(input.at, input.left);
	}
	return 0;
}
