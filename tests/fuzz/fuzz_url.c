/* SPDX-License-Identifier: MIT */
/* Endpoints and proxies, as people write them and stores send us on to. */
#include <errno.h>

#include "common/aws/endpoint.h"
#include "common/aws/proxy.h"
#include "common/aws/sigv4.h"
#include "tests/fuzz/fuzz.h"

/* It goes into a request as it is. */
static void check(const struct endpoint *endpoint)
{
	FUZZ_CHECK(endpoint->path[0] == '/');
	for (const char *c = endpoint->path; *c; c++)
		FUZZ_CHECK(*c > ' ' && *c < 0x7f);
	for (const char *c = endpoint->host; *c; c++)
		FUZZ_CHECK(*c > ' ' && *c < 0x7f && *c != '/' && *c != '@');
	FUZZ_CHECK(strstr(endpoint->origin, endpoint->host));
}

static void resolve(char *const *part, unsigned flags)
{
	const char *url = *part[0] ? part[0] : NULL;
	const struct endpoint_s3 s3 = { .url = url,
					.region = part[1],
					.bucket = part[2],
					.path_style = flags & 1,
					.use_fips = flags & 2,
					.use_dualstack = flags & 4 };
	const struct endpoint_service service = { .name = "dynamodb",
						  .url = url,
						  .region = part[1],
						  .use_fips = flags & 2,
						  .use_dualstack = flags & 4 };
	CLEANUP(endpoint_freep) struct endpoint *object = NULL;
	CLEANUP(endpoint_freep) struct endpoint *table = NULL;
	AUTO_FREE char *error = NULL;
	AUTO_FREE char *other = NULL;
	int r = endpoint_resolve_s3(&object, &s3, part[3], &error);

	FUZZ_CHECK((r == 0 && object) || (r == -EINVAL && error));
	if (object)
		check(object);
	r = endpoint_resolve_service(&table, &service, &other);
	FUZZ_CHECK((r == 0 && table) || (r == -EINVAL && other));
	if (table)
		check(table);
	if (object)
		FUZZ_CHECK(endpoint_is_same_store(object->host, object->host) ||
			   !endpoint_is_aws(object->host));
	(void)endpoint_is_aws(part[0]);
	(void)endpoint_is_same_store(part[0], part[4]);
}

static void choose(char *const *part)
{
	const struct proxy_settings settings = { .http = part[4],
						 .https = part[4],
						 .no_proxy = part[5] };
	AUTO_FREE char *proxy = NULL;
	AUTO_FREE char *error = NULL;
	const int r = proxy_choose(&proxy, &settings, part[0], &error);

	FUZZ_CHECK((r == 0 && !error) || (r == -EINVAL && error));
}

/* Flags; then URL, region, bucket, key, a proxy, no_proxy. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const unsigned flags = fuzz_byte(&input);
	AUTO_FREE char *encoded = NULL;
	char *part[6];

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		part[i] = fuzz_part(&input, NULL);
	resolve(part, flags);
	choose(part);
	FUZZ_CHECK(sigv4_encode(&encoded, part[3], flags & 1) == 0);
	for (const char *c = encoded; *c; c++)
		FUZZ_CHECK(*c > ' ' && *c < 0x7f);
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		free(part[i]);
	return 0;
}
