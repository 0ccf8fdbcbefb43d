/* SPDX-License-Identifier: MIT */
/* <data dir>/terraform.tfstate, the workspace and the environment that select a state. */
#include <errno.h>

#include "common/aws/endpoint.h"
#include "common/aws/proxy.h"
#include "common/backend.h"
#include "tests/fuzz/fuzz.h"

#define ENV_MAX 16

static int parse(struct backend **ret, const struct backend_source *source, char *const *env,
		 bool require_lock)
{
	AUTO_FREE char *error = NULL;
	const int r = backend_parse(ret, source, env, require_lock, &error);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EINVAL || r == -ENOLCK);
	FUZZ_CHECK((r < 0) == (error != NULL) && (r < 0) == (*ret == NULL));
	FUZZ_CHECK(r != -ENOLCK || require_lock);
	return r;
}

static void resolve(const struct backend *backend, char *const *env)
{
	const struct endpoint_s3 s3 = { .url = backend->endpoint_s3,
					.region = backend->region,
					.bucket = backend->bucket,
					.path_style = backend->path_style,
					.use_fips = backend->use_fips,
					.use_dualstack = backend->use_dualstack };
	CLEANUP(endpoint_freep) struct endpoint *endpoint = NULL;
	AUTO_FREE char *error = NULL;
	AUTO_FREE char *proxy = NULL;
	struct proxy_settings settings;

	if (endpoint_resolve_s3(&endpoint, &s3, backend->key, &error) < 0) {
		FUZZ_CHECK(error);
		fuzz_check_printable(error);
		return;
	}
	proxy_settings_find(&settings, backend, env);
	if (proxy_choose(&proxy, &settings, endpoint->origin, &error) < 0)
		FUZZ_CHECK(error);
}

/* The file, the workspace, the profile's endpoints, the environment by lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char directory[] = "/home/user/net";
	struct fuzz_input input = { data, size };
	CLEANUP(backend_freep) struct backend *backend = NULL;
	CLEANUP(backend_freep) struct backend *again = NULL;
	AUTO_FREE char *file = fuzz_part(&input, NULL);
	AUTO_FREE char *workspace = fuzz_part(&input, NULL);
	AUTO_FREE char *endpoints = fuzz_part(&input, NULL);
	AUTO_FREE char *environment = fuzz_part(&input, NULL);
	struct backend_source source = { .directory = directory };
	char *env[ENV_MAX];

	source.file = *file ? file : NULL;
	source.workspace = workspace;
	source.profile_endpoints = *endpoints ? endpoints : NULL;
	fuzz_lines(env, ENV_MAX, environment);
	if (parse(&backend, &source, env, false) < 0)
		return 0;
	FUZZ_CHECK(backend->identity && *backend->identity && backend->name && *backend->name);
	FUZZ_CHECK(backend->type && backend->workspace && backend->terraform_version);
	if (parse(&again, &source, env, true) == 0)
		FUZZ_CHECK(strcmp(again->identity, backend->identity) == 0);
	if (backend->kind == BACKEND_S3) {
		FUZZ_CHECK(backend->bucket && backend->key && backend->region);
		resolve(backend, env);
	}
	return 0;
}
