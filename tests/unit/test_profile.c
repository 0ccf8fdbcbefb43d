/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "common/aws_profile.h"
#include "common/cleanup.h"
#include "tests/unit/unit.h"

#define CONFIG      PROFILE_CONFIG
#define CREDENTIALS PROFILE_CREDENTIALS
#define P           PROFILE_PROFILE
#define ID          "aws_access_key_id"
#define SECRET      "aws_secret_access_key"
#define TOKEN       "aws_session_token"

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order to be read in
static const struct {
	const char *name;
	enum profile_file file;
	const char *text;
	enum profile_kind kind;
	const char *section, *key;
	const char *value; /* NULL: not there */
} cases[] = {
	/* clang-format off */
	{ "plain", CONFIG, "[profile x]\nregion = r\n", P, "x", "region", "r" },
	{ "no blanks", CONFIG, "[profile x]\nregion=r\n", P, "x", "region", "r" },
	{ "no line end at the end", CONFIG, "[profile x]\nregion=r", P, "x", "region", "r" },
	{ "CR LF", CONFIG, "[profile x]\r\nregion = r\r\n", P, "x", "region", "r" },
	{ "byte order mark", CONFIG, "\xef\xbb\xbf[profile x]\nregion = r\n", P, "x", "region", "r" },
	{ "blanks in brackets", CONFIG, "[ profile \t x ]\nregion = r\n", P, "x", "region", "r" },
	{ "tab in brackets", CONFIG, "[profile\tx]\nregion = r\n", P, "x", "region", "r" },
	{ "text behind brackets", CONFIG, "[profile x] # mine\nregion = r\n", P, "x", "region", "r" },
	{ "blanks before brackets", CONFIG, "  [profile x]\nregion = r\n", P, "x", "region", "r" },
	{ "quoted name", CONFIG, "[profile \"x y\"]\nregion = r\n", P, "x y", "region", "r" },
	{ "odd characters", CONFIG, "[profile a_b-c/d.e%f@g:h+i]\nregion = r\n", P, "a_b-c/d.e%f@g:h+i", "region", "r" },
	{ "forbidden characters", CONFIG, "[profile a*b]\nregion = r\n", P, "a*b", "region", NULL },
	{ "their keys go nowhere", CONFIG, "[profile x]\n[profile a*b]\nregion = r\n", P, "x", "region", NULL },
	{ "no name", CONFIG, "[profile ]\nregion = r\n", P, "", "region", NULL },
	{ "no bracket's end", CONFIG, "[profile x]\n[profile y\nregion = r\n", P, "x", "region", "r" },
	{ "not a word apart", CONFIG, "[profilex]\nregion = r\n", P, "x", "region", NULL },

	{ "bare in config", CONFIG, "[x]\nregion = r\n", P, "x", "region", NULL },
	{ "bare in config ends the one before", CONFIG, "[profile y]\n[x]\nregion = r\n", P, "y", "region", NULL },
	{ "bare in credentials", CREDENTIALS, "[x]\nregion = r\n", P, "x", "region", "r" },
	{ "profile in credentials", CREDENTIALS, "[profile x]\nregion = r\n", P, "x", "region", NULL },
	{ "nor by that name", CREDENTIALS, "[profile x]\nregion = r\n", P, "profile x", "region", NULL },
	{ "default", CONFIG, "[default]\nregion = r\n", P, "default", "region", "r" },
	{ "profile default", CONFIG, "[profile default]\nregion = r\n", P, "default", "region", "r" },
	{ "profile default wins", CONFIG, "[profile default]\nregion = r\n[default]\nregion = s\n", P, "default", "region", "r" },
	{ "as a whole", CONFIG, "[profile default]\nregion = r\n[default]\noutput = s\n", P, "default", "output", NULL },
	{ "sso-session", CONFIG, "[sso-session x]\nsso_region = r\n", PROFILE_SSO_SESSION, "x", "sso_region", "r" },
	{ "services", CONFIG, "[services x]\nsts =\n  endpoint_url = u\n", PROFILE_SERVICES, "x", "sts.endpoint_url", "u" },
	{ "a session is no profile", CONFIG, "[sso-session x]\nsso_region = r\n", P, "x", "sso_region", NULL },

	{ "key's case", CONFIG, "[profile x]\nReGion = R\n", P, "x", "region", "R" },
	{ "value with =", CONFIG, "[profile x]\nk = a=b==\n", P, "x", "k", "a=b==" },
	{ "colon", CONFIG, "[profile x]\nk: v\n", P, "x", "k", "v" },
	{ "colon within a value", CONFIG, "[profile x]\nk = a:b\n", P, "x", "k", "a:b" },
	{ "blanks around", CONFIG, "[profile x]\nk \t=\t v w \t\n", P, "x", "k", "v w" },
	{ "empty", CONFIG, "[profile x]\nk =\n", P, "x", "k", NULL },
	{ "no key", CONFIG, "[profile x]\n= v\n", P, "x", "", NULL },
	{ "no =", CONFIG, "[profile x]\nk\nl = v\n", P, "x", "l", "v" },
	{ "before any section", CONFIG, "k = v\n[profile x]\n", P, "x", "k", NULL },
	{ "twice", CONFIG, "[profile x]\nk = a\nk = b\n", P, "x", "k", "b" },
	{ "section twice", CONFIG, "[profile x]\nk = a\n[profile y]\n[profile x]\nl = b\n", P, "x", "k", "a" },
	{ "section twice, the other key", CONFIG, "[profile x]\nk = a\n[profile y]\n[profile x]\nl = b\n", P, "x", "l", "b" },

	{ "comment", CONFIG, "[profile x]\n# k = a\n; k = b\n", P, "x", "k", NULL },
	{ "indented comment", CONFIG, "[profile x]\nk = a\n  # more\n", P, "x", "k", "a" },
	{ "comment behind a blank", CONFIG, "[profile x]\nk = a #b\n", P, "x", "k", "a" },
	{ "semicolon behind a blank", CONFIG, "[profile x]\nk = a ;b\n", P, "x", "k", "a" },
	{ "comment behind a tab", CONFIG, "[profile x]\nk = a\t# b\n", P, "x", "k", "a" },
	{ "no comment without", CONFIG, "[profile x]\nk = a#b;c\n", P, "x", "k", "a#b;c" },
	{ "nothing but a comment", CONFIG, "[profile x]\nk = # b\n", P, "x", "k", NULL },

	{ "continuation", CONFIG, "[profile x]\nk = a\n  b = c\n\td\nl = e\n", P, "x", "k", "a\nb = c\nd" },
	{ "behind it", CONFIG, "[profile x]\nk = a\n  b\nl = e\n", P, "x", "l", "e" },
	{ "continuation over an empty line", CONFIG, "[profile x]\nk = a\n\n  b\n", P, "x", "k", "a\nb" },
	{ "continuation of nothing", CONFIG, "[profile x]\n  k = a\n", P, "x", "k", NULL },
	{ "nested", CONFIG, "[profile x]\ns3 =\n  addressing_style = path\n  k = v\n", P, "x", "s3.addressing_style", "path" },
	{ "nested second", CONFIG, "[profile x]\ns3 =\n  addressing_style = path\n  k = v\n", P, "x", "s3.k", "v" },
	{ "nested is not outside", CONFIG, "[profile x]\ns3 =\n  k = v\n", P, "x", "k", NULL },
	{ "nested without =", CONFIG, "[profile x]\ns3 =\n  k\n  l = v\n", P, "x", "s3.l", "v" },
	{ "nested under a section that does not count", CONFIG, "[x]\ns3 =\n  k = v\n", P, "x", "s3.k", NULL },

	{ "half of the keys", CREDENTIALS, "[x]\n" ID " = a\nk = v\n", P, "x", ID, NULL },
	{ "but what is beside them", CREDENTIALS, "[x]\n" ID " = a\nk = v\n", P, "x", "k", "v" },
	{ "no UTF-8", CONFIG, "[profile x]\nk = \xff\nl = v\n", P, "x", "k", NULL },
	{ "what follows no UTF-8", CONFIG, "[profile x]\nk = \xff\nl = v\n", P, "x", "l", "v" },
	{ "empty file", CONFIG, "", P, "x", "k", NULL },
	/* clang-format on */
};

START_TEST(file_reads_as_the_sdk_reads_it)
{
	CLEANUP(profiles_freep) struct profiles *profiles = NULL;
	const char *value;

	ck_assert_int_eq(profiles_new(&profiles), 0);
	ck_assert_int_eq(profiles_add(profiles, cases[_i].file, cases[_i].text), 0);
	value = profiles_get(profiles, cases[_i].kind, cases[_i].section, cases[_i].key);
	ck_assert_msg(value && cases[_i].value ? strcmp(value, cases[_i].value) == 0
					       : !value && !cases[_i].value,
		      "%s: %s", cases[_i].name, value ? value : "nothing");
}
END_TEST

/* The files are read in this order: config, config, credentials. */
static const struct {
	const char *name;
	const char *first, *second, *credentials;
	const char *found[3]; /* of id, secret, token */
	const char *k;
} merged[] = {
	/* clang-format off */
	{ "credentials win as a group",
	  "[profile x]\n" ID "=i1\n" SECRET "=s1\n" TOKEN "=t1\nk=1\n", "", "[x]\n" ID "=i2\n" SECRET "=s2\n",
	  { "i2", "s2", NULL }, "1" },
	{ "half a group is nothing",
	  "[profile x]\n" ID "=i1\n" SECRET "=s1\n" TOKEN "=t1\n", "", "[x]\n" SECRET "=s2\nk=2\n",
	  { "i1", "s1", "t1" }, "2" },
	{ "halves of two files are no whole", "[profile x]\n" ID "=i1\n", "", "[x]\n" SECRET "=s2\n",
	  { NULL, NULL, NULL }, NULL },
	{ "a token alone goes with nothing", "[profile x]\n" ID "=i1\n" SECRET "=s1\n", "", "[x]\n" TOKEN "=t2\n",
	  { "i1", "s1", NULL }, NULL },
	{ "a later file of the same kind", "[profile x]\nk=1\n" ID "=i1\n" SECRET "=s1\n", "[profile x]\nk=2\n", "",
	  { "i1", "s1", NULL }, "2" },
	{ "other keys one by one", "[profile x]\nk=1\n", "[profile x]\nl=2\n", "[x]\nm=3\n", { NULL, NULL, NULL }, "1" },
	/* clang-format on */
};

START_TEST(later_files_go_over_earlier_ones)
{
	static const char *const keys[3] = { ID, SECRET, TOKEN };
	CLEANUP(profiles_freep) struct profiles *profiles = NULL;

	ck_assert_int_eq(profiles_new(&profiles), 0);
	ck_assert_int_eq(profiles_add(profiles, CONFIG, merged[_i].first), 0);
	ck_assert_int_eq(profiles_add(profiles, CONFIG, merged[_i].second), 0);
	ck_assert_int_eq(profiles_add(profiles, CREDENTIALS, merged[_i].credentials), 0);
	for (size_t i = 0; i < 3; i++)
		ck_assert_pstr_eq(profiles_get(profiles, P, "x", keys[i]), merged[_i].found[i]);
	ck_assert_pstr_eq(profiles_get(profiles, P, "x", "k"), merged[_i].k);
	ck_assert(profiles_has(profiles, P, "x"));
	ck_assert(!profiles_has(profiles, P, "y"));
}
END_TEST

/* Whatever is cut off, and whatever byte is put anywhere: it is read, and nothing breaks. */
START_TEST(damaged_file_does_no_harm)
{
	static const char text[] = "[default]\nk = a ; b\n  c\n[profile \"x\"]\r\ns3 =\n  l = v\n"
				   "[sso-session s]\n" ID " = i\n" SECRET ": s\n\n# e\n";
	static const char bytes[] = "[]=: \t\"#;\n\r\x01\xff";

	for (size_t at = 0; at < sizeof(text); at++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			CLEANUP(profiles_freep) struct profiles *profiles = NULL;
			char copy[sizeof(text)];

			memcpy(copy, text, sizeof(text));
			if (at < sizeof(text) - 1)
				copy[at] = bytes[i];
			ck_assert_int_eq(profiles_new(&profiles), 0);
			ck_assert_int_eq(profiles_add(profiles, CONFIG, copy), 0);
			ck_assert_int_eq(profiles_add(profiles, CREDENTIALS, copy), 0);
		}
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, file_reads_as_the_sdk_reads_it, 0,
			    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_loop_test(tcase, later_files_go_over_earlier_ones, 0,
			    (int)(sizeof(merged) / sizeof(merged[0])));
	tcase_add_test(tcase, damaged_file_does_no_harm);
}

int main(void)
{
	return unit_main("profile", add_tests);
}
