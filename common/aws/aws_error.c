/* SPDX-License-Identifier: MIT */
#include "common/aws/aws_error.h"

#include <expat.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"

#define DEPTH_MAX      8
#define SUBSTITUTE     '?'
#define XML_WHITESPACE "\t\n\r" /* the C0 characters that a document may have */

struct reader {
	XML_Parser parser;
	struct aws_error error;
	unsigned depth;
	unsigned error_depth; /* where <Error> is open; 0: nowhere */
	bool wrapped;         /* the root is <ErrorResponse> */
	char *member;         /* of error, AWS_ERROR_TEXT_MAX long, that is being read; or NULL */
	bool member_full;
};

static void parser_freep(XML_Parser *parser)
{
	if (*parser)
		XML_ParserFree(*parser);
}

/* --- text ---------------------------------------------------------------------------- */

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The length of the UTF-8 character at @text, of which there are @left bytes; 0 if it is none. */
static size_t character_len(const unsigned char *text, size_t left)
{
	static const struct {
		unsigned char first, last;     /* of the lead byte */
		unsigned char lowest, highest; /* of the second: no overlong form, no surrogate */
		size_t len;
	} forms[] = {
		/* clang-format off */
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
		/* clang-format on */
	};

	if (text[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (text[0] < forms[i].first || text[0] > forms[i].last)
			continue;
		if (left < forms[i].len || text[1] < forms[i].lowest || text[1] > forms[i].highest)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if (!is_continuation(text[k]))
				return 0;
		return forms[i].len;
	}
	return 0;
}

/* A control character, U+FFFE or U+FFFF. */
static bool is_control(const unsigned char *text, size_t len)
{
	return (len == 1 && (text[0] < 0x20 || text[0] == 0x7f)) ||
	       (len == 2 && text[0] == 0xc2 && text[1] < 0xa0) ||
	       (len == 3 && text[0] == 0xef && text[1] == 0xbf && text[2] >= 0xbe);
}

/* Put '?' for what no document may hold. Return: the new length. */
static size_t make_document(char *text, size_t len)
{
	size_t to = 0;

	for (size_t from = 0; from < len;) {
		const unsigned char *at = (const unsigned char *)text + from;
		const size_t n = character_len(at, len - from);

		if (n == 0 || (is_control(at, n) && (!*at || !strchr(XML_WHITESPACE, *at)))) {
			text[to++] = SUBSTITUTE;
			from += n ? n : 1;
		} else {
			memmove(text + to, at, n);
			to += n;
			from += n;
		}
	}
	return to;
}

/* --- expat's handlers ---------------------------------------------------------------- */

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static char *find_member(struct aws_error *error, const char *name)
{
	if (strcmp(name, "Code") == 0)
		return error->code;
	if (strcmp(name, "Message") == 0)
		return error->message;
	if (strcmp(name, "Region") == 0)
		return error->region;
	if (strcmp(name, "ServerTime") == 0)
		return error->server_time;
	if (strcmp(name, "Endpoint") == 0)
		return error->endpoint;
	return NULL;
}

static void XMLCALL on_start(void *userdata, const char *name, const char **attributes)
{
	struct reader *reader = userdata;

	(void)attributes;

	name = local_name(name);
	reader->depth++;
	if (reader->depth > DEPTH_MAX) {
		(void)XML_StopParser(reader->parser, XML_FALSE);
		return;
	}

	if (reader->depth == 1)
		reader->wrapped = strcmp(name, "ErrorResponse") == 0;

	if (reader->error_depth) {
		if (reader->depth == reader->error_depth + 1) {
			reader->member = find_member(&reader->error, name);
			reader->member_full = false;
			if (reader->member && *reader->member)
				reader->member = NULL; /* the first one counts */
		}
	} else if (strcmp(name, "Error") == 0 && reader->depth == (reader->wrapped ? 2 : 1)) {
		reader->error_depth = reader->depth;
	}
}

static void XMLCALL on_end(void *userdata, const char *name)
{
	struct reader *reader = userdata;

	(void)name;

	if (reader->member && reader->depth == reader->error_depth + 1) {
		char *member = TAKE_PTR(reader->member);

		(void)text_printable(member, strlen(member) + 1, member);
	}
	if (reader->depth == reader->error_depth)
		reader->error_depth = 0;
	reader->depth--;
}

static void XMLCALL on_text(void *userdata, const char *text, int text_len)
{
	struct reader *reader = userdata;
	size_t len = (size_t)text_len;
	size_t used, room;

	/* The text of a member, not of what is nested in it. */
	if (!reader->member || reader->member_full || reader->depth != reader->error_depth + 1)
		return;

	used = strlen(reader->member);
	room = AWS_ERROR_TEXT_MAX - 1 - used;
	if (len > room) {
		reader->member_full = true;
		for (len = room; len > 0 && is_continuation((unsigned char)text[len]); len--)
			;
	}
	memcpy(reader->member + used, text, len);
	reader->member[used + len] = '\0';
}

static void XMLCALL on_doctype(void *userdata, const char *name, const char *system_id,
			       const char *public_id, int has_internal_subset)
{
	const struct reader *reader = userdata;

	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;

	/* Entities can only be declared in here, and no error body needs any. */
	(void)XML_StopParser(reader->parser, XML_FALSE);
}

void aws_error_parse(struct aws_error *ret, const void *body, size_t len)
{
	CLEANUP(parser_freep) XML_Parser parser = NULL;
	AUTO_FREE char *text = NULL;
	struct reader reader = { 0 };

	*ret = (struct aws_error){ 0 };
	if (len == 0 || len > AWS_ERROR_BODY_MAX)
		return;

	text = malloc(len);
	parser = XML_ParserCreate("UTF-8");
	if (!text || !parser)
		return;

	/* expat would give up at the first bad byte, and the code be lost for a bad message. */
	memcpy(text, body, len);
	len = make_document(text, len);

	reader.parser = parser;
	XML_SetUserData(parser, &reader);
	XML_SetElementHandler(parser, on_start, on_end);
	XML_SetCharacterDataHandler(parser, on_text);
	XML_SetStartDoctypeDeclHandler(parser, on_doctype);

	/* What was read of a body that then turns out broken is not to be had. */
	if (XML_Parse(parser, text, (int)len, XML_TRUE) == XML_STATUS_OK)
		*ret = reader.error;
}

/* --- JSON ----------------------------------------------------------------------------- */

void aws_error_parse_json(struct aws_error *ret, const void *body, size_t len)
{
	json_t *root;
	const char *type, *hash, *message;

	*ret = (struct aws_error){ 0 };
	if (len == 0 || len > AWS_ERROR_BODY_MAX)
		return;
	root = json_loadb(body, len, 0, NULL);
	type = json_string_value(json_object_get(root, "__type"));
	message = json_string_value(json_object_get(root, "message"));
	if (!message)
		message = json_string_value(json_object_get(root, "Message"));
	hash = type ? strrchr(type, '#') : NULL;
	(void)text_printable(ret->code, sizeof(ret->code), hash ? hash + 1 : type ? type : "");
	(void)text_printable(ret->message, sizeof(ret->message), message ? message : "");
	json_decref(root);
}
