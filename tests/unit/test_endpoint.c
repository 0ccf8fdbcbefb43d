/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/endpoint.h"
#include "common/cleanup.h"
#include "tests/unit/unit.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

#define S3(url_, region_, bucket_, ...)                                                \
	{                                                                              \
		.url = (url_), .region = (region_), .bucket = (bucket_), ##__VA_ARGS__ \
	}

/* The key is "k" where none is given. */
static const struct {
	struct endpoint_s3 s3;
	const char *key;
	const char *origin;
	const char *path;
} cases[] = {
	/* clang-format off */

	/* partitions */
	{ S3(NULL, "eu-west-1", "bkt"), NULL, "https://bkt.s3.eu-west-1.amazonaws.com", "/k" },
	{ S3(NULL, "us-east-1", "bkt"), NULL, "https://bkt.s3.us-east-1.amazonaws.com", "/k" },
	{ S3(NULL, "mars-1", "bkt"), NULL, "https://bkt.s3.mars-1.amazonaws.com", "/k" },
	{ S3(NULL, "cn", "bkt"), NULL, "https://bkt.s3.cn.amazonaws.com", "/k" },
	{ S3(NULL, "cn-north-1", "bkt"), NULL, "https://bkt.s3.cn-north-1.amazonaws.com.cn", "/k" },
	{ S3(NULL, "us-gov-west-1", "bkt"), NULL, "https://bkt.s3.us-gov-west-1.amazonaws.com", "/k" },
	{ S3(NULL, "us-iso-east-1", "bkt"), NULL, "https://bkt.s3.us-iso-east-1.c2s.ic.gov", "/k" },
	{ S3(NULL, "us-isob-east-1", "bkt"), NULL, "https://bkt.s3.us-isob-east-1.sc2s.sgov.gov", "/k" },
	{ S3(NULL, "us-isof-south-1", "bkt"), NULL, "https://bkt.s3.us-isof-south-1.csp.hci.ic.gov", "/k" },
	{ S3(NULL, "eu-isoe-west-1", "bkt"), NULL, "https://bkt.s3.eu-isoe-west-1.cloud.adc-e.uk", "/k" },
	{ S3(NULL, "eusc-de-east-1", "bkt"), NULL, "https://bkt.s3.eusc-de-east-1.amazonaws.eu", "/k" },

	/* FIPS and dual-stack */
	{ S3(NULL, "eu-west-1", "bkt", .use_dualstack = true), NULL,
	  "https://bkt.s3.dualstack.eu-west-1.amazonaws.com", "/k" },
	{ S3(NULL, "us-gov-west-1", "bkt", .use_fips = true), NULL,
	  "https://bkt.s3-fips.us-gov-west-1.amazonaws.com", "/k" },
	{ S3(NULL, "us-east-1", "bkt", .use_fips = true, .use_dualstack = true), NULL,
	  "https://bkt.s3-fips.dualstack.us-east-1.amazonaws.com", "/k" },
	{ S3(NULL, "us-east-1", "bkt", .path_style = true, .use_fips = true, .use_dualstack = true), NULL,
	  "https://s3-fips.dualstack.us-east-1.amazonaws.com", "/bkt/k" },
	{ S3(NULL, "cn-north-1", "bkt", .use_dualstack = true), NULL,
	  "https://bkt.s3.dualstack.cn-north-1.amazonaws.com.cn", "/k" },
	{ S3("http://minio.corp:9000", "cn-north-1", "bkt", .use_fips = true, .use_dualstack = true), NULL,
	  "http://bkt.minio.corp:9000", "/k" },

	/* path style: asked for, or needed */
	{ S3(NULL, "eu-west-1", "bkt", .path_style = true), NULL, "https://s3.eu-west-1.amazonaws.com", "/bkt/k" },
	{ S3(NULL, "eu-west-1", "my.bucket"), NULL, "https://s3.eu-west-1.amazonaws.com", "/my.bucket/k" },
	{ S3(NULL, "eu-west-1", "Bkt"), NULL, "https://s3.eu-west-1.amazonaws.com", "/Bkt/k" },
	{ S3(NULL, "eu-west-1", "my_bkt"), NULL, "https://s3.eu-west-1.amazonaws.com", "/my_bkt/k" },
	{ S3(NULL, "eu-west-1", "ab"), NULL, "https://s3.eu-west-1.amazonaws.com", "/ab/k" },
	{ S3(NULL, "eu-west-1", A63), NULL, "https://" A63 ".s3.eu-west-1.amazonaws.com", "/k" },
	{ S3(NULL, "eu-west-1", A63 "a"), NULL, "https://s3.eu-west-1.amazonaws.com", "/" A63 "a/k" },
	{ S3(NULL, "eu-west-1", "192.168.100.200"), NULL, "https://s3.eu-west-1.amazonaws.com", "/192.168.100.200/k" },
	{ S3(NULL, "eu-west-1", "a b\xc3\xbc?#%"), NULL, "https://s3.eu-west-1.amazonaws.com", "/a%20b%C3%BC%3F%23%25/k" },
	{ S3(NULL, "eu-west-1", "123"), NULL, "https://123.s3.eu-west-1.amazonaws.com", "/k" },

	/* custom endpoints: the bucket goes in front of the host, as terraform puts it */
	{ S3("http://localhost:9000", "auto", "bkt"), NULL, "http://bkt.localhost:9000", "/k" },
	{ S3("http://localhost:9000/", "auto", "bkt"), NULL, "http://bkt.localhost:9000", "/k" },
	{ S3("http://localhost:9000", "auto", "bkt", .path_style = true), NULL, "http://localhost:9000", "/bkt/k" },
	{ S3("https://minio.corp", "auto", "bkt"), NULL, "https://bkt.minio.corp", "/k" },
	{ S3("HTTPS://Minio.Corp", "auto", "bkt"), NULL, "https://bkt.Minio.Corp", "/k" },
	{ S3("https://minio_s3.corp:1", "auto", "bkt"), NULL, "https://bkt.minio_s3.corp:1", "/k" },
	{ S3("https://minio.corp:65535", "auto", "bkt"), NULL, "https://bkt.minio.corp:65535", "/k" },
	{ S3("http://minio.corp:80", "auto", "bkt"), NULL, "http://bkt.minio.corp", "/k" },
	{ S3("https://minio.corp:443/", "auto", "bkt"), NULL, "https://bkt.minio.corp", "/k" },
	{ S3("http://minio.corp:443", "auto", "bkt"), NULL, "http://bkt.minio.corp:443", "/k" },
	{ S3("https://minio.corp:80", "auto", "bkt"), NULL, "https://bkt.minio.corp:80", "/k" },

	/* ... with a base path */
	{ S3("https://minio.corp:9000/base", "auto", "bkt"), NULL, "https://bkt.minio.corp:9000", "/base/k" },
	{ S3("https://minio.corp:9000/base/", "auto", "bkt"), NULL, "https://bkt.minio.corp:9000", "/base/k" },
	{ S3("https://minio.corp:9000/base/", "auto", "bkt", .path_style = true), NULL,
	  "https://minio.corp:9000", "/base/bkt/k" },
	{ S3("https://minio.corp/a%20b/@c//", "auto", "bkt", .path_style = true), NULL,
	  "https://minio.corp", "/a%20b/@c/bkt/k" },

	/* ... with a bucket that is no host label */
	{ S3("http://minio.corp:9000", "auto", "my.bucket"), NULL, "http://my.bucket.minio.corp:9000", "/k" },
	{ S3("https://minio.corp:9000", "auto", "my.bucket"), NULL, "https://minio.corp:9000", "/my.bucket/k" },
	{ S3("http://minio.corp:9000", "auto", "a..b"), NULL, "http://minio.corp:9000", "/a..b/k" },
	{ S3("http://minio.corp:9000", "auto", ".ab"), NULL, "http://minio.corp:9000", "/.ab/k" },
	{ S3("http://minio.corp:9000", "auto", "ab."), NULL, "http://minio.corp:9000", "/ab./k" },
	{ S3("http://minio.corp:9000", "auto", "192.168.100.200"), NULL, "http://minio.corp:9000", "/192.168.100.200/k" },
	{ S3("http://minio.corp:9000", "auto", "192.168.100.2000"), NULL, "http://192.168.100.2000.minio.corp:9000", "/k" },
	{ S3("http://minio.corp:9000", "auto", "Bkt"), NULL, "http://minio.corp:9000", "/Bkt/k" },

	/* ... at an address, where nothing can go in front */
	{ S3("http://127.0.0.1:9000", "auto", "bkt"), NULL, "http://127.0.0.1:9000", "/bkt/k" },
	{ S3("http://127.0.0.1:9000/base", "auto", "bkt", .path_style = true), NULL,
	  "http://127.0.0.1:9000", "/base/bkt/k" },
	{ S3("http://[::1]:9000", "auto", "bkt", .path_style = true), NULL, "http://[::1]:9000", "/bkt/k" },
	{ S3("http://[::1]:9000", "auto", "bkt"), NULL, "http://[::1]:9000", "/bkt/k" },
	{ S3("https://[fd00::1:2]/", "auto", "bkt"), NULL, "https://[fd00::1:2]", "/bkt/k" },
	{ S3("http://[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:1", "auto", "bkt"), NULL,
	  "http://[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:1", "/bkt/k" },
	{ S3("http://127.0.0.1.nip.io", "auto", "bkt"), NULL, "http://bkt.127.0.0.1.nip.io", "/k" },

	/* keys: encoded once, and never tidied up */
	{ S3(NULL, "eu-west-1", "bkt"), "", "https://bkt.s3.eu-west-1.amazonaws.com", "/" },
	{ S3(NULL, "eu-west-1", "bkt", .path_style = true), "", "https://s3.eu-west-1.amazonaws.com", "/bkt/" },
	{ S3(NULL, "eu-west-1", "bkt"), "/a", "https://bkt.s3.eu-west-1.amazonaws.com", "//a" },
	{ S3(NULL, "eu-west-1", "bkt"), "a//b/", "https://bkt.s3.eu-west-1.amazonaws.com", "/a//b/" },
	{ S3(NULL, "eu-west-1", "bkt"), "./x/../y", "https://bkt.s3.eu-west-1.amazonaws.com", "/./x/../y" },
	{ S3(NULL, "eu-west-1", "bkt"), "env:/w@1/a b+c=d@e/\xc3\xbc(1)!",
	  "https://bkt.s3.eu-west-1.amazonaws.com", "/env%3A/w%401/a%20b%2Bc%3Dd%40e/%C3%BC%281%29%21" },
	{ S3(NULL, "eu-west-1", "bkt"), "%2F?x#y&\n\x7f\xff~-._",
	  "https://bkt.s3.eu-west-1.amazonaws.com", "/%252F%3Fx%23y%26%0A%7F%FF~-._" },
	/* clang-format on */
};
#define CASE_COUNT ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(object_is_found)
{
	CLEANUP(endpoint_freep) struct endpoint *endpoint = NULL;
	AUTO_FREE char *error = NULL;
	const char *origin = cases[_i].origin;
	int r;

	r = endpoint_resolve_s3(&endpoint, &cases[_i].s3, cases[_i].key ? cases[_i].key : "k",
				&error);
	ck_assert_msg(r == 0, "%s: %d %s", origin, r, error);
	ck_assert_ptr_null(error);
	ck_assert_str_eq(endpoint->origin, origin);
	ck_assert_str_eq(endpoint->host, strstr(origin, "://") + 3);
	ck_assert_str_eq(endpoint->path, cases[_i].path);
}
END_TEST

/* clang-format off */
static const struct endpoint_s3 refused[] = {
	/* regions */
	S3(NULL, "", "bkt"),
	S3(NULL, "EU-west-1", "bkt"),
	S3(NULL, "eu_west_1", "bkt"),
	S3(NULL, "eu-west-1.evil.org/", "bkt"),
	S3(NULL, "x@evil", "bkt"),
	S3(NULL, "eu-west-1\n", "bkt"),
	S3(NULL, "\xc3\xbc", "bkt"),
	S3("http://localhost", "a.b", "bkt"),
	S3(NULL, "cn-north-1", "bkt", .use_fips = true),

	/* buckets */
	S3(NULL, "eu-west-1", ""),
	S3(NULL, "eu-west-1", "."),
	S3(NULL, "eu-west-1", ".."),
	S3(NULL, "eu-west-1", "a/b"),
	S3(NULL, "eu-west-1", "a\nb"),
	S3(NULL, "eu-west-1", "a\x7f" "b"),
	S3(NULL, "eu-west-1", A63 A63 A63 A63 "aaaa"),
	S3(NULL, "eu-west-1", "arn:aws:s3:eu-west-1:123456789012:accesspoint/x"),
	S3(NULL, "eu-west-1", "foo--usw2-az1--x-s3"),
	S3(NULL, "eu-west-1", "foo--usw2-az1--xa-s3"),
	S3("http://localhost:9000", "eu-west-1", ".."),

	/* URLs */
	S3("", "auto", "bkt"),
	S3("localhost:9000", "auto", "bkt"),
	S3("//localhost", "auto", "bkt"),
	S3("ftp://localhost", "auto", "bkt"),
	S3("file:///etc/passwd", "auto", "bkt"),
	S3(" http://localhost", "auto", "bkt"),
	S3("http:/localhost", "auto", "bkt"),
	S3("http://", "auto", "bkt"),
	S3("http:///", "auto", "bkt"),
	S3("http://:9000", "auto", "bkt"),
	S3("http://user@localhost", "auto", "bkt"),
	S3("http://user:secret@localhost:9000/", "auto", "bkt"),
	S3("http://localhost@evil.org", "auto", "bkt"),
	S3("http://localhost?x=1", "auto", "bkt"),
	S3("http://localhost/base?x=1", "auto", "bkt"),
	S3("http://localhost/base#x", "auto", "bkt"),
	S3("http://localhost#x", "auto", "bkt"),
	S3("http://local host", "auto", "bkt"),
	S3("http://local\thost", "auto", "bkt"),
	S3("http://localhost\r\nX: y", "auto", "bkt"),
	S3("http://localhost/a\r\nX: y", "auto", "bkt"),
	S3("http://localhost/a b", "auto", "bkt"),
	S3("http://localhost/\x7f", "auto", "bkt"),
	S3("http://localhost/\xc3\xbc", "auto", "bkt"),
	S3("http://\xc3\xbc.org", "auto", "bkt"),
	S3("http://localhost\\evil", "auto", "bkt"),
	S3("http://localhost/\\evil", "auto", "bkt"),
	S3("http://%6cocalhost", "auto", "bkt"),
	S3("http://localhost:", "auto", "bkt"),
	S3("http://localhost:0", "auto", "bkt"),
	S3("http://localhost:65536", "auto", "bkt"),
	S3("http://localhost:000080", "auto", "bkt"),
	S3("http://localhost:-1", "auto", "bkt"),
	S3("http://localhost:9000x", "auto", "bkt"),
	S3("http://localhost:9000:9000", "auto", "bkt"),
	S3("http://::1:9000", "auto", "bkt"),
	S3("http://[::1", "auto", "bkt"),
	S3("http://[", "auto", "bkt"),
	S3("http://[]", "auto", "bkt"),
	S3("http://[::1]x", "auto", "bkt"),
	S3("http://[::1]9000", "auto", "bkt"),
	S3("http://[::g]", "auto", "bkt"),
	S3("http://[127.0.0.1]", "auto", "bkt"),
	S3("http://[fe80::1%25eth0]", "auto", "bkt"),
	S3("http://[" A63 "]", "auto", "bkt"),
};
/* clang-format on */
#define REFUSED_COUNT ((int)(sizeof(refused) / sizeof(refused[0])))

START_TEST(what_is_no_endpoint_is_refused)
{
	const struct endpoint_s3 *s3 = &refused[_i];
	struct endpoint *endpoint = NULL;
	AUTO_FREE char *error = NULL;
	size_t len;

	ck_assert_msg(endpoint_resolve_s3(&endpoint, s3, "k", &error) == -EINVAL,
		      "'%s' '%s' '%s' is taken", s3->url, s3->region, s3->bucket);
	ck_assert_ptr_null(endpoint);

	/* A sentence, and none that shows a password. */
	len = strlen(error);
	ck_assert(len > 10 && error[len - 1] == '.');
	ck_assert_ptr_null(strstr(error, "secret"));
}
END_TEST

START_TEST(user_name_is_told_as_the_reason)
{
	const struct endpoint_s3 s3 = S3("http://user:secret@localhost/", "auto", "bkt");
	struct endpoint *endpoint = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(endpoint_resolve_s3(&endpoint, &s3, "k", &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "user name"));
}
END_TEST

static const struct {
	const char *host;
	bool is_aws;
} hosts[] = {
	/* clang-format off */
	{ "s3.eu-west-1.amazonaws.com", true },
	{ "bkt.s3.eu-west-1.amazonaws.com", true },
	{ "my.bucket.s3.eu-west-1.amazonaws.com", true },
	{ "BKT.S3.EU-West-1.AmazonAWS.com", true },
	{ "bkt.s3.dualstack.eu-west-1.amazonaws.com", true },
	{ "bkt.s3-fips.us-east-1.amazonaws.com", true },
	{ "bkt.s3-fips.dualstack.us-gov-west-1.amazonaws.com", true },
	{ "bkt.s3.cn-north-1.amazonaws.com.cn", true },
	{ "bkt.s3.us-iso-east-1.c2s.ic.gov", true },
	{ "bkt.s3.us-isob-east-1.sc2s.sgov.gov", true },
	{ "bkt.s3.eusc-de-east-1.amazonaws.eu", true },
	{ "s3.amazonaws.com", true },
	{ "bkt.s3.amazonaws.com", true },
	{ "bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com", true },

	{ "", false },
	{ ".", false },
	{ "amazonaws.com", false },
	{ ".amazonaws.com", false },
	{ "..amazonaws.com", false },
	{ "amazonaws.com.evil.org", false },
	{ "s3.eu-west-1.amazonaws.com.evil.org", false },
	{ "bkt.s3.eu-west-1.amazonaws.com.cn.evil.org", false },
	{ "evilamazonaws.com", false },
	{ "s3.eu-west-1.evilamazonaws.com", false },
	{ "s3-amazonaws.com", false },
	{ "s3.eu-west-1.amazonaws.co", false },
	{ "s3.eu-west-1.amazonaws.com:9000", false },
	{ "evils3.eu-west-1.amazonaws.com", false },
	{ "localhost:9000", false },
	{ "127.0.0.1", false },
	{ "[::1]:9000", false },
	{ "bkt.minio.corp", false },
	{ "account.r2.cloudflarestorage.com", false },

	/* hosts below AWS's domain behind which anybody's store may be */
	{ "ec2-198-51-100-1.eu-west-1.compute.amazonaws.com", false },
	{ "minio-1234567890.eu-west-1.elb.amazonaws.com", false },
	{ "abcdef1234.execute-api.eu-west-1.amazonaws.com", false },
	{ "vpce-0a1b-2c3d.vpce-svc-0123.us-east-1.vpce.amazonaws.com", false },
	/* clang-format on */
};
#define HOST_COUNT ((int)(sizeof(hosts) / sizeof(hosts[0])))

START_TEST(aws_is_told_from_others)
{
	ck_assert_msg(endpoint_is_aws(hosts[_i].host) == hosts[_i].is_aws, "%s", hosts[_i].host);
}
END_TEST

START_TEST(every_host_of_aws_is_known_as_such)
{
	CLEANUP(endpoint_freep) struct endpoint *endpoint = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(endpoint_resolve_s3(&endpoint, &cases[_i].s3, "k", &error), 0);
	ck_assert_msg(endpoint_is_aws(endpoint->host) == !cases[_i].s3.url, "%s", endpoint->host);
}
END_TEST

static const struct {
	const char *region, *suffix, *dualstack;
} suffixes[] = {
	/* clang-format off */
	{ "eu-west-1", "amazonaws.com", "api.aws" },
	{ "us-gov-west-1", "amazonaws.com", "api.aws" },
	{ "cn-north-1", "amazonaws.com.cn", "api.amazonwebservices.com.cn" },
	{ "us-iso-east-1", "c2s.ic.gov", "c2s.ic.gov" },
	{ "evil.org/", NULL, NULL },
	{ "", NULL, NULL },
	/* clang-format on */
};

START_TEST(other_services_have_the_regions_suffix)
{
	ck_assert_pstr_eq(endpoint_suffix(suffixes[_i].region, false), suffixes[_i].suffix);
	ck_assert_pstr_eq(endpoint_suffix(suffixes[_i].region, true), suffixes[_i].dualstack);
}
END_TEST

START_TEST(nothing_can_be_freed)
{
	ck_assert_ptr_null(endpoint_free(NULL));
}
END_TEST

static const struct {
	struct endpoint_service service;
	const char *origin; /* NULL: refused */
	const char *path;
} services[] = {
	/* clang-format off */
	{ { "dynamodb", NULL, "eu-west-1", false, false }, "https://dynamodb.eu-west-1.amazonaws.com", "/" },
	{ { "dynamodb", NULL, "eu-west-1", false, true }, "https://dynamodb.eu-west-1.api.aws", "/" },
	{ { "dynamodb", NULL, "eu-west-1", true, false }, "https://dynamodb-fips.eu-west-1.amazonaws.com", "/" },
	{ { "dynamodb", NULL, "eu-west-1", true, true }, "https://dynamodb-fips.eu-west-1.api.aws", "/" },
	{ { "sts", NULL, "mars-1", false, false }, "https://sts.mars-1.amazonaws.com", "/" },
	{ { "sts", NULL, "cn-north-1", false, false }, "https://sts.cn-north-1.amazonaws.com.cn", "/" },
	{ { "dynamodb", NULL, "cn-north-1", false, true },
	  "https://dynamodb.cn-north-1.api.amazonwebservices.com.cn", "/" },
	{ { "dynamodb", NULL, "cn-north-1", true, false }, NULL, NULL },
	{ { "dynamodb", NULL, "us-gov-west-1", true, false }, "https://dynamodb.us-gov-west-1.amazonaws.com", "/" },
	{ { "sts", NULL, "us-gov-west-1", true, true }, "https://sts-fips.us-gov-west-1.api.aws", "/" },
	{ { "dynamodb", NULL, "us-iso-east-1", false, false }, "https://dynamodb.us-iso-east-1.c2s.ic.gov", "/" },
	{ { "dynamodb", NULL, "us-isob-east-1", false, true },
	  "https://dynamodb.us-isob-east-1.api.aws.scloud", "/" },
	{ { "dynamodb", NULL, "eusc-de-east-1", false, false }, "https://dynamodb.eusc-de-east-1.amazonaws.eu", "/" },
	{ { "dynamodb", NULL, "eusc-de-east-1", false, true },
	  "https://dynamodb.eusc-de-east-1.api.amazonwebservices.eu", "/" },
	{ { "dynamodb", "http://127.0.0.1:8000", "eu-west-1", true, true }, "http://127.0.0.1:8000", "/" },
	{ { "dynamodb", "https://db.example:443/base/", "eu-west-1", false, false }, "https://db.example", "/base/" },
	{ { "dynamodb", "http://[::1]:8000/a/b", "eu-west-1", false, false }, "http://[::1]:8000", "/a/b/" },
	{ { "dynamodb", "db.example", "eu-west-1", false, false }, NULL, NULL },
	{ { "dynamodb", "http://u:p@db.example", "eu-west-1", false, false }, NULL, NULL },
	{ { "dynamodb", NULL, "eu-west-1.evil.example/", false, false }, NULL, NULL },
	{ { "dynamodb", NULL, NULL, false, false }, NULL, NULL },
	/* clang-format on */
};
#define SERVICE_COUNT ((int)(sizeof(services) / sizeof(services[0])))

START_TEST(service_has_its_endpoint)
{
	CLEANUP(endpoint_freep) struct endpoint *endpoint = NULL;
	AUTO_FREE char *error = NULL;
	const int r = endpoint_resolve_service(&endpoint, &services[_i].service, &error);

	if (!services[_i].origin) {
		ck_assert_int_eq(r, -EINVAL);
		ck_assert_ptr_nonnull(error);
		return;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(endpoint->origin, services[_i].origin);
	ck_assert_str_eq(endpoint->host, strstr(services[_i].origin, "://") + 3);
	ck_assert_str_eq(endpoint->path, services[_i].path);
}
END_TEST

static const struct {
	const char *host, *other;
	bool is_same;
} redirects[] = {
	/* clang-format off */
	{ "bkt.s3.eu-west-1.amazonaws.com", "bkt.s3.us-west-2.amazonaws.com", true },
	{ "bkt.s3.eu-west-1.amazonaws.com", "bkt.s3-gztb4pa9sq.amazonaws.com", true },
	{ "bkt.s3.eu-west-1.amazonaws.com", "bkt.s3-eu-west-1.amazonaws.com", true },
	{ "bkt.s3.eu-west-1.amazonaws.com", "evil.example", false },
	{ "bkt.s3.eu-west-1.amazonaws.com", "bkt.s3.eu-west-1.amazonaws.com.evil.example", false },
	{ "bkt.s3.eu-west-1.amazonaws.com", "lb-1.eu-west-1.elb.amazonaws.com", false },
	{ "bkt.s3.eu-west-1.amazonaws.com", "bkt.s3.cn-north-1.amazonaws.com.cn", false },
	{ "bkt.s3.eu-west-1.amazonaws.com", "u@bkt.s3.us-west-2.amazonaws.com", false },
	{ "bkt.s3.eu-west-1.amazonaws.com", "", false },
	{ "bkt.minio.example.com:9000", "node2.minio.example.com:9000", true },
	{ "bkt.minio.example.com:9000", "node2.minio.example.com:9001", false },
	{ "bkt.minio.example.com", "minio.example.com", false },
	{ "bkt.minio.example.com", "evilminio.example.com", false },
	{ "minio.example", "other.example", false },
	{ "minio.example:9000", "minio.example:9000", true },
	{ "10.0.0.1:9000", "11.0.0.1:9000", false },
	{ "10.0.0.1:9000", "10.0.0.1:9000", true },
	{ "localhost:9000", "evil.localhost:9000", false },
	/* clang-format on */
};
#define REDIRECT_COUNT ((int)(sizeof(redirects) / sizeof(redirects[0])))

START_TEST(redirect_stays_within_the_store)
{
	ck_assert_int_eq(endpoint_is_same_store(redirects[_i].host, redirects[_i].other),
			 redirects[_i].is_same);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, service_has_its_endpoint, 0, SERVICE_COUNT);
	tcase_add_loop_test(tcase, redirect_stays_within_the_store, 0, REDIRECT_COUNT);
	tcase_add_loop_test(tcase, object_is_found, 0, CASE_COUNT);
	tcase_add_loop_test(tcase, what_is_no_endpoint_is_refused, 0, REFUSED_COUNT);
	tcase_add_test(tcase, user_name_is_told_as_the_reason);
	tcase_add_loop_test(tcase, aws_is_told_from_others, 0, HOST_COUNT);
	tcase_add_loop_test(tcase, every_host_of_aws_is_known_as_such, 0, CASE_COUNT);
	tcase_add_loop_test(tcase, other_services_have_the_regions_suffix, 0,
			    (int)(sizeof(suffixes) / sizeof(suffixes[0])));
	tcase_add_test(tcase, nothing_can_be_freed);
}

int main(void)
{
	return unit_main("endpoint", add_tests);
}
