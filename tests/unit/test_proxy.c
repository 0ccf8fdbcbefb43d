/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/proxy.h"
#include "common/backend.h"
#include "common/cleanup.h"
#include "tests/unit/unit.h"

#define P "http://p.example:3128"

/* As Go's httpproxy says of HTTP_PROXY=P, NO_PROXY=@no_proxy. */
static const struct {
	const char *no_proxy, *url;
	bool is_direct;
} exceptions[] = {
	/* clang-format off */
	{ NULL, "http://s3.example/", false },
	{ "", "http://s3.example", false },
	{ "*", "http://s3.example", true },
	{ "a,*", "http://s3.example", true },
	{ NULL, "http://localhost:9000/b/k", true },
	{ NULL, "http://LOCALHOST/", true },
	{ NULL, "http://bkt.localhost:9000", false },
	{ NULL, "http://127.0.0.1", true },
	{ NULL, "http://127.255.0.9:80", true },
	{ NULL, "http://[::1]:9000", true },
	{ NULL, "http://128.0.0.1", false },
	{ NULL, "http://[::2]", false },

	{ "example.com", "http://example.com", true },
	{ "example.com", "http://b.example.com:9000", true },
	{ "example.com", "http://badexample.com", false },
	{ "example.com", "http://example.com.evil", false },
	{ "EXAMPLE.com", "http://b.Example.COM", true },
	{ ".example.com", "http://example.com", false },
	{ ".example.com", "http://b.example.com", true },
	{ "*.example.com", "http://example.com", false },
	{ "*.example.com", "http://a.b.example.com", true },
	{ "x, example.com ,y", "http://example.com", true },
	{ ",,", "http://example.com", false },
	{ "example.com:80", "http://example.com", true },
	{ "example.com:80", "http://example.com:81", false },
	{ "example.com:81", "http://example.com:81", true },
	{ ".example.com:81", "http://b.example.com", false },
	{ ":80", "http://example.com", false },

	{ "10.0.0.1", "http://10.0.0.1:9000", true },
	{ "10.0.0.1", "http://10.0.0.12", false },
	{ "10.0.0.1:9000", "http://10.0.0.1:9000", true },
	{ "10.0.0.1:9000", "http://10.0.0.1", false },
	{ "10.0.0.0/8", "http://10.255.3.4", true },
	{ "10.0.0.0/8", "http://11.0.0.1", false },
	{ "10.0.0.0/12", "http://10.15.0.1", true },
	{ "10.0.0.0/12", "http://10.16.0.1", false },
	{ "10.0.0.0/33", "http://10.0.0.0", false },
	{ "10.0.0.0/", "http://10.0.0.0", false },
	{ "0.0.0.0/0", "http://10.0.0.1", true },
	{ "0.0.0.0/0", "http://example.com", false },
	{ "0.0.0.0/0", "http://[fd00::1]", false },
	{ "10.0.0.1/32", "http://10.0.0.1", true },
	{ "fd00::/8", "http://[fd12::1]:9000", true },
	{ "fd00::/8", "http://[fe00::1]:9000", false },
	{ "fd00::1", "http://[fd00::1]", true },
	{ "[fd00::1]:80", "http://[fd00::1]", true },
	{ "[fd00::1]:81", "http://[fd00::1]", false },
	{ "10.0.0.1", "http://[::ffff:10.0.0.1]", true },
	/* clang-format on */
};
#define EXCEPTION_COUNT ((int)(sizeof(exceptions) / sizeof(exceptions[0])))

START_TEST(no_proxy_excepts_as_in_go)
{
	const struct proxy_settings settings = { .http = P, .no_proxy = exceptions[_i].no_proxy };
	AUTO_FREE char *proxy = NULL, *error = NULL;

	ck_assert_int_eq(proxy_choose(&proxy, &settings, exceptions[_i].url, &error), 0);
	ck_assert_pstr_eq(proxy, exceptions[_i].is_direct ? NULL : P);
	ck_assert_ptr_null(error);
}
END_TEST

static const struct {
	const char *proxy, *wanted; /* NULL: refused */
} urls[] = {
	/* clang-format off */
	{ P, P },
	{ "p.example:3128", "http://p.example:3128" },
	{ "p.example", "http://p.example" },
	{ "HTTPS://p.example", "https://p.example" },
	{ "socks5://p.example:1080", "socks5h://p.example:1080" },
	{ "http://u:s%40@p.example:1/x?y", "http://u:s%40@p.example:1" },
	{ "u:hush@p.example", "http://u:hush@p.example" },
	{ "http://[fd00::1]:3128", "http://[fd00::1]:3128" },
	{ "ftp://u:hush@p.example", NULL },
	{ "http://", NULL },
	{ "http://u:hush@", NULL },
	{ "http://u:hush@p.exa mple", NULL },
	{ " http://u:hush@p.example", NULL },
	{ "http://p.example\r\nX: hush", NULL },
	/* clang-format on */
};
#define URL_COUNT ((int)(sizeof(urls) / sizeof(urls[0])))

START_TEST(proxy_is_a_url_or_refused)
{
	const struct proxy_settings settings = { .https = urls[_i].proxy };
	AUTO_FREE char *proxy = NULL, *error = NULL;
	const int r = proxy_choose(&proxy, &settings, "https://s3.example", &error);

	ck_assert_pstr_eq(proxy, urls[_i].wanted);
	ck_assert_int_eq(r, urls[_i].wanted ? 0 : -EINVAL);
	ck_assert_int_eq(error != NULL, !urls[_i].wanted);
	ck_assert(!error || !strstr(error, "hush"));
}
END_TEST

/* As aws-sdk-go-base in its legacy mode. */
static const struct {
	const char *block[3]; /* http_proxy, https_proxy, no_proxy of the backend */
	const char *env[3];
	const char *http, *https, *no_proxy;
} sources[] = {
	/* clang-format off */
	{ { 0 }, { 0 }, NULL, NULL, NULL },
	{ { "b" }, { 0 }, "b", "b", NULL },
	{ { "b", "c" }, { 0 }, "b", "c", NULL },
	{ { "b", "" }, { 0 }, "b", "", NULL },
	{ { "", "c" }, { 0 }, "", "c", NULL },
	{ { NULL, "c", "n" }, { 0 }, NULL, "c", "n" },
	{ { 0 }, { "HTTP_PROXY=e" }, "e", NULL, NULL },
	{ { 0 }, { "http_proxy=e", "https_proxy=f", "no_proxy=g" }, "e", "f", "g" },
	{ { 0 }, { "http_proxy=e", "HTTP_PROXY=E" }, "E", NULL, NULL },
	{ { 0 }, { "HTTP_PROXY=", "http_proxy=e" }, "e", NULL, NULL },
	{ { "b" }, { "HTTPS_PROXY=f" }, "b", "f", NULL },
	{ { "b" }, { "HTTP_PROXY=e" }, "b", "b", NULL },
	{ { "" }, { "HTTP_PROXY=e", "HTTPS_PROXY=f", "NO_PROXY=g" }, "", "f", "g" },
	{ { NULL, "c", "n" }, { "HTTP_PROXY=e", "HTTPS_PROXY=f", "NO_PROXY=g" }, "e", "c", "n" },
	{ { 0 }, { "ALL_PROXY=e", "all_proxy=e" }, NULL, NULL, NULL },
	/* clang-format on */
};
#define SOURCE_COUNT ((int)(sizeof(sources) / sizeof(sources[0])))

START_TEST(block_goes_before_the_environment)
{
	struct backend backend = { 0 };
	char **fields[] = { &backend.http_proxy, &backend.https_proxy, &backend.no_proxy };
	char *env[4] = { 0 };
	struct proxy_settings settings;

	for (size_t i = 0; i < 3; i++) {
		*fields[i] = sources[_i].block[i] ? strdup(sources[_i].block[i]) : NULL;
		env[i] = sources[_i].env[i] ? strdup(sources[_i].env[i]) : NULL;
	}
	proxy_settings_find(&settings, &backend, env);
	ck_assert_pstr_eq(settings.http, sources[_i].http);
	ck_assert_pstr_eq(settings.https, sources[_i].https);
	ck_assert_pstr_eq(settings.no_proxy, sources[_i].no_proxy);
	if (!sources[_i].block[0] && !sources[_i].block[1] && !sources[_i].block[2]) {
		proxy_settings_find(&settings, NULL, env);
		ck_assert_pstr_eq(settings.http, sources[_i].http);
	}
	for (size_t i = 0; i < 3; i++) {
		free(*fields[i]);
		free(env[i]);
	}
}
END_TEST

START_TEST(scheme_decides_which_proxy)
{
	const struct proxy_settings settings = { .http = "http://h", .https = "http://s" };
	const struct proxy_settings off = { .http = "", .https = NULL };
	AUTO_FREE char *proxy = NULL, *other = NULL, *error = NULL;

	ck_assert_int_eq(proxy_choose(&proxy, &settings, "http://s3.example", &error), 0);
	ck_assert_str_eq(proxy, "http://h");
	ck_assert_int_eq(proxy_choose(&other, &settings, "https://s3.example", &error), 0);
	ck_assert_str_eq(other, "http://s");
	free(other);
	ck_assert_int_eq(proxy_choose(&other, &off, "http://s3.example", &error), 0);
	ck_assert_ptr_null(other);
	ck_assert_int_eq(proxy_choose(&other, &off, "https://s3.example", &error), 0);
	ck_assert_ptr_null(other);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, no_proxy_excepts_as_in_go, 0, EXCEPTION_COUNT);
	tcase_add_loop_test(tcase, proxy_is_a_url_or_refused, 0, URL_COUNT);
	tcase_add_loop_test(tcase, block_goes_before_the_environment, 0, SOURCE_COUNT);
	tcase_add_test(tcase, scheme_decides_which_proxy);
}

int main(void)
{
	return unit_main("proxy", add_tests);
}
