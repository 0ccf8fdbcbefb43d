/* SPDX-License-Identifier: MIT */
#include "runner/doctor/xml.h"

#include <expat.h>
#include <stdbool.h>
#include <string.h>

#include "common/text.h"

#define DEPTH_MAX 16
#define TEXT_MAX  512U /* bytes of one text, with the NUL; the rest is cut */

struct reader {
	XML_Parser parser;
	json_t *texts;
	unsigned depth;
	size_t len;
	char text[TEXT_MAX];
	bool is_poor;
};

static void XMLCALL on_start(void *userdata, const char *name, const char **attributes)
{
	struct reader *reader = userdata;

	(void)name;
	(void)attributes;
	reader->len = 0;
	if (++reader->depth > DEPTH_MAX)
		(void)XML_StopParser(reader->parser, XML_FALSE);
}

static void XMLCALL on_text(void *userdata, const char *text, int len)
{
	struct reader *reader = userdata;
	const size_t room = TEXT_MAX - 1 - reader->len;
	const size_t take = (size_t)len < room ? (size_t)len : room;

	memcpy(reader->text + reader->len, text, take);
	reader->len += take;
}

static void XMLCALL on_end(void *userdata, const char *name)
{
	struct reader *reader = userdata;

	reader->depth--;
	reader->text[reader->len] = '\0';
	reader->len = 0;
	(void)text_printable(reader->text, TEXT_MAX, reader->text);
	if (strspn(reader->text, " ?") == strlen(reader->text) ||
	    json_object_get(reader->texts, name))
		return; /* what lies around elements, or comes twice */
	if (json_object_set_new(reader->texts, name, json_string(reader->text)) < 0)
		reader->is_poor = true;
}

static void XMLCALL on_doctype(void *userdata, const char *name, const char *system_id,
			       const char *public_id, int has_subset)
{
	struct reader *reader = userdata;

	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_subset;
	(void)XML_StopParser(reader->parser, XML_FALSE);
}

json_t *xml_texts(const void *body, size_t len)
{
	struct reader reader = { .parser = XML_ParserCreate("UTF-8"), .texts = json_object() };

	if (!reader.parser || !reader.texts || len > XML_ANSWER_MAX) {
		if (reader.parser)
			XML_ParserFree(reader.parser);
		if (len > XML_ANSWER_MAX)
			return reader.texts;
		json_decref(reader.texts);
		return NULL;
	}
	XML_SetUserData(reader.parser, &reader);
	XML_SetElementHandler(reader.parser, on_start, on_end);
	XML_SetCharacterDataHandler(reader.parser, on_text);
	XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
	(void)XML_Parse(reader.parser, body, (int)len, 1);
	XML_ParserFree(reader.parser);
	if (reader.is_poor) {
		json_decref(reader.texts);
		return NULL;
	}
	return reader.texts;
}
