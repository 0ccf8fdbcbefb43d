/* SPDX-License-Identifier: MIT */
/* The shared files of AWS's tools, and which of them are read. */
#include <errno.h>

#include "common/aws_files.h"
#include "common/secret.h"
#include "tests/fuzz/fuzz.h"

#define ENV_MAX 16

struct texts {
	const char *config, *credentials;
	unsigned reads;
};

static const char *const names[] = { "region",     "aws_access_key_id", "endpoint_url",
				     "role_arn",   "source_profile",    "s3.endpoint_url",
				     "sso_session" };

static int read_file(void *context, const char *path, char **ret)
{
	struct texts *texts = context;
	const char *text = texts->reads++ % 2 ? texts->credentials : texts->config;

	FUZZ_CHECK(path);
	*ret = texts->reads > 8 ? NULL : strdup(text);
	return 0;
}

static void look_at(const struct profiles *profiles, const char *profile)
{
	for (int kind = PROFILE_PROFILE; kind <= PROFILE_SERVICES; kind++) {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			const char *value =
				profiles_get(profiles, (enum profile_kind)kind, profile, names[i]);

			FUZZ_CHECK(!value || *value);
			FUZZ_CHECK(!value ||
				   profiles_has(profiles, (enum profile_kind)kind, profile));
		}
	}
}

/* config, credentials, a profile's name, an environment by lines, a path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	CLEANUP(profiles_freep) struct profiles *profiles = NULL;
	CLEANUP(profiles_freep) struct profiles *found = NULL;
	AUTO_FREE char *config = fuzz_part(&input, NULL);
	AUTO_FREE char *credentials = fuzz_part(&input, NULL);
	AUTO_FREE char *profile = fuzz_part(&input, NULL);
	AUTO_FREE char *environment = fuzz_part(&input, NULL);
	AUTO_FREE char *path = fuzz_part(&input, NULL);
	AUTO_FREE char *expanded = NULL;
	char *env[ENV_MAX];
	struct texts texts = { config, credentials, 0 };
	struct aws_files files = { .env = env, .read = read_file, .context = &texts };

	fuzz_lines(env, ENV_MAX, environment);
	FUZZ_CHECK(profiles_new(&profiles) == 0 && profiles_new(&found) == 0);
	FUZZ_CHECK(profiles_add(profiles, PROFILE_CONFIG, config) == 0);
	FUZZ_CHECK(profiles_add(profiles, PROFILE_CREDENTIALS, credentials) == 0);
	look_at(profiles, profile);
	look_at(profiles, "default");
	FUZZ_CHECK(aws_files_load(found, &files) == 0);
	look_at(found, profile);
	(void)aws_files_profile(NULL, env);
	FUZZ_CHECK(aws_files_expand(&expanded, env, path) == 0);
	return 0;
}
