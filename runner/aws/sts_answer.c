/* SPDX-License-Identifier: MIT */
#include "runner/aws/sts_answer.h"

#include <errno.h>
#include <expat.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

#define DEPTH_MAX        8
#define CREDENTIALS      3 /* the depth of <Credentials> */
#define VALUE_MAX        16384U
#define MEMBERS          4
#define ELEMENT_NAME_MAX 80

static const char *const members[MEMBERS] = { "AccessKeyId", "SecretAccessKey", "SessionToken",
					      "Expiration" };

struct reader {
	XML_Parser parser;
	char path[CREDENTIALS][ELEMENT_NAME_MAX]; /* of the elements that lead to the members */
	unsigned depth;
	unsigned matched; /* how many of the open elements lie on the path */
	int member;       /* that is being read; -1: none */
	char values[MEMBERS][VALUE_MAX];
	size_t lens[MEMBERS];
	bool is_bad;
};

static void parser_freep(XML_Parser *parser)
{
	if (*parser)
		XML_ParserFree(*parser);
}

static void reader_freep(struct reader **p)
{
	if (*p)
		explicit_bzero(*p, sizeof(**p));
	free(*p);
}

static void stop(struct reader *reader)
{
	reader->is_bad = true;
	(void)XML_StopParser(reader->parser, XML_FALSE);
}

static void XMLCALL on_start(void *userdata, const char *name, const char **attributes)
{
	struct reader *reader = userdata;

	(void)attributes;
	reader->member = -1;
	if (reader->depth == CREDENTIALS && reader->matched == CREDENTIALS) {
		for (int i = 0; i < MEMBERS; i++)
			if (strcmp(name, members[i]) == 0 && reader->lens[i] == 0)
				reader->member = i;
	}
	if (reader->depth < CREDENTIALS && reader->matched == reader->depth &&
	    strcmp(name, reader->path[reader->depth]) == 0)
		reader->matched++;
	if (++reader->depth > DEPTH_MAX)
		stop(reader);
}

static void XMLCALL on_end(void *userdata, const char *name)
{
	struct reader *reader = userdata;

	(void)name;
	reader->member = -1;
	reader->depth--;
	if (reader->matched > reader->depth)
		reader->matched = reader->depth;
}

static void XMLCALL on_text(void *userdata, const char *text, int text_len)
{
	struct reader *reader = userdata;
	const size_t len = (size_t)text_len;
	size_t *used;

	if (reader->member < 0)
		return;
	used = &reader->lens[reader->member];
	if (len >= VALUE_MAX - *used) {
		stop(reader);
		return;
	}
	memcpy(reader->values[reader->member] + *used, text, len);
	*used += len;
}

/* Entities can only be declared in here. */
static void XMLCALL on_doctype(void *userdata, const char *name, const char *system_id,
			       const char *public_id, int has_internal_subset)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	stop(userdata);
}

static int take(struct sts_answer **ret, const struct reader *reader)
{
	CLEANUP(sts_answer_freep) struct sts_answer *answer = calloc(1, sizeof(*answer));

	if (!answer)
		return -ENOMEM;
	for (int i = 0; i < MEMBERS; i++)
		if (reader->lens[i] == 0)
			return -EBADMSG;
	answer->access_key = strdup(reader->values[0]);
	answer->secret_key = strdup(reader->values[1]);
	answer->token = strdup(reader->values[2]);
	answer->expiration = strdup(reader->values[3]);
	if (!answer->access_key || !answer->secret_key || !answer->token || !answer->expiration)
		return -ENOMEM;
	*ret = TAKE_PTR(answer);
	return 0;
}

int sts_answer_parse(struct sts_answer **ret, const char *action, const void *body, size_t len)
{
	CLEANUP(parser_freep) XML_Parser parser = XML_ParserCreate("UTF-8");
	CLEANUP(reader_freep) struct reader *reader = calloc(1, sizeof(*reader));

	if (!parser || !reader)
		return -ENOMEM;
	if (len == 0 || len > STS_ANSWER_MAX)
		return -EBADMSG;
	reader->parser = parser;
	reader->member = -1;
	(void)snprintf(reader->path[0], ELEMENT_NAME_MAX, "%sResponse", action);
	(void)snprintf(reader->path[1], ELEMENT_NAME_MAX, "%sResult", action);
	(void)snprintf(reader->path[2], ELEMENT_NAME_MAX, "Credentials");
	XML_SetUserData(parser, reader);
	XML_SetElementHandler(parser, on_start, on_end);
	XML_SetCharacterDataHandler(parser, on_text);
	XML_SetStartDoctypeDeclHandler(parser, on_doctype);
	if (XML_Parse(parser, body, (int)len, XML_TRUE) != XML_STATUS_OK || reader->is_bad)
		return -EBADMSG;
	return take(ret, reader);
}

struct sts_answer *sts_answer_free(struct sts_answer *answer)
{
	if (!answer)
		return NULL;
	secret_free(answer->access_key);
	secret_free(answer->secret_key);
	secret_free(answer->token);
	free(answer->expiration);
	free(answer);
	return NULL;
}
