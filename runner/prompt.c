/* SPDX-License-Identifier: MIT */
#include "runner/prompt.h"

static const char question[] = "Enter a value:";
#define QUESTION_LEN (sizeof(question) - 1)

#define ESC          '\033'
#define BEL          '\a'
#define CAN          '\030'
#define SUB          '\032'

/* Return: was @c part of a sequence? */
static bool pass_escape(struct prompt *prompt, char c)
{
	if (c == CAN || c == SUB) { /* these end a sequence wherever it is */
		prompt->escape = PROMPT_TEXT;
		return true;
	}
	switch (prompt->escape) {
	case PROMPT_TEXT:
		if (c != ESC)
			return false;
		prompt->escape = PROMPT_ESCAPE;
		break;
	case PROMPT_ESCAPE:
		if (c == '[')
			prompt->escape = PROMPT_CSI;
		else if (c == ']')
			prompt->escape = PROMPT_STRING;
		else if (c != ESC && (c < ' ' || c > '/')) /* those stand in the middle */
			prompt->escape = PROMPT_TEXT;
		break;
	case PROMPT_CSI:
		if (c == ESC)
			prompt->escape = PROMPT_ESCAPE;
		else if (c >= '@' && c <= '~')
			prompt->escape = PROMPT_TEXT;
		break;
	case PROMPT_STRING:
		if (c == ESC)
			prompt->escape = PROMPT_STRING_END;
		else if (c == BEL)
			prompt->escape = PROMPT_TEXT;
		break;
	case PROMPT_STRING_END:
		if (c == '\\')
			prompt->escape = PROMPT_TEXT;
		else if (c != ESC)
			prompt->escape = PROMPT_STRING;
		break;
	}
	return true;
}

/* The question begins with a letter that it has but once: a match that fails begins there or not
 * at all. */
static void pass_text(struct prompt *prompt, char c)
{
	if (prompt->matched == QUESTION_LEN) {
		if (c == ' ' || c == '\t')
			return;
		prompt->matched = 0;
	}
	if (c != question[prompt->matched])
		prompt->matched = 0;
	if (c != question[prompt->matched])
		return;
	prompt->matched++;
	if (prompt->matched == QUESTION_LEN)
		prompt->asked++;
}

void prompt_feed(struct prompt *prompt, const char *output, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!pass_escape(prompt, output[i]))
			pass_text(prompt, output[i]);
}

bool prompt_asks(const struct prompt *prompt)
{
	return prompt->matched == QUESTION_LEN;
}

void prompt_answer(struct prompt *prompt)
{
	prompt->matched = 0;
}
