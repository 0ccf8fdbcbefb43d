/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/doctor/xml.h"
#include "tests/unit/unit.h"

/* clang-format off */
static const struct {
	const char *body, *texts; /* as compact JSON, its members sorted */
} rows[] = {
	{ "<A><Status>Enabled</Status></A>", "{\"Status\":\"Enabled\"}" },
	{ "<?xml version=\"1.0\"?>\n<A xmlns=\"http://x/\">\n  <B>true</B>\n  <C>false</C>\n</A>", "{\"B\":\"true\",\"C\":\"false\"}" },
	{ "<A><B>1</B><B>2</B></A>", "{\"B\":\"1\"}" },
	{ "<A><R><S>AES&amp;256</S></R></A>", "{\"S\":\"AES&256\"}" },
	{ "<A/>", "{}" }, { "<A></A>", "{}" }, { "", "{}" }, { "hello", "{}" },
	{ "<A><B>good</B><C>", "{\"B\":\"good\"}" },
	{ "<!DOCTYPE a [<!ENTITY x \"y\">]><A><B>&x;</B></A>", "{}" },
	{ "<A><B>\xc2\x9b" "1m</B></A>", "{\"B\":\"?1m\"}" },
	{ "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><B>x</B>", "{}" },
};
/* clang-format on */

START_TEST(texts_are_found)
{
	json_t *texts = xml_texts(rows[_i].body, strlen(rows[_i].body));
	char *got = json_dumps(texts, JSON_COMPACT | JSON_SORT_KEYS);

	ck_assert_msg(got && strcmp(got, rows[_i].texts) == 0, "%s: %s, not %s", rows[_i].body, got,
		      rows[_i].texts);
	free(got);
	json_decref(texts);
}
END_TEST

START_TEST(long_texts_are_cut)
{
	char body[4096];
	json_t *texts;

	(void)snprintf(body, sizeof(body), "<A><B>%02000d</B><C>x</C></A>", 0);
	texts = xml_texts(body, strlen(body));
	ck_assert_uint_eq(json_string_length(json_object_get(texts, "B")), 511);
	ck_assert_str_eq(json_string_value(json_object_get(texts, "C")), "x");
	json_decref(texts);
}
END_TEST

START_TEST(too_much_is_nothing)
{
	char *body = calloc(1, XML_ANSWER_MAX + 2);
	json_t *texts;

	ck_assert(body);
	memset(body, ' ', XML_ANSWER_MAX + 1);
	memcpy(body, "<A><B>x</B></A>", 15);
	texts = xml_texts(body, XML_ANSWER_MAX + 1);
	ck_assert_uint_eq(json_object_size(texts), 0);
	json_decref(texts);
	texts = xml_texts(body, XML_ANSWER_MAX);
	ck_assert_uint_eq(json_object_size(texts), 1);
	json_decref(texts);
	free(body);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, texts_are_found, 0, (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tcase, long_texts_are_cut);
	tcase_add_test(tcase, too_much_is_nothing);
}

int main(void)
{
	return unit_main("doctor_xml", add_tests);
}
