/* SPDX-License-Identifier: MIT */
#include "runner/prompt.h"

static const char question[] = "Enter a value:";
#define QUESTION_LEN (sizeof(question) - 1)

#define ESC          '\033'
#define BEL          '\a'
#define CAN          '\030'
#define SUB          '\032'

static enum prompt_escape after_escape(char c)
{
	switch (c) {
	case '[': return PROMPT_CSI;
	case ']': return PROMPT_STRING;
	case ESC: return PROMPT_ESCAPE;
	default: return c >= ' ' && c <= '/' ? PROMPT_ESCAPE : PROMPT_TEXT; /* those go on */
	}
}

static enum prompt_escape in_csi(char c)
{
	if (c == ESC)
		return PROMPT_ESCAPE;
	return c >= '@' && c <= '~' ? PROMPT_TEXT : PROMPT_CSI;
}

static enum prompt_escape in_string(char c)
{
	if (c == ESC)
		return PROMPT_STRING_END;
	return c == BEL ? PROMPT_TEXT : PROMPT_STRING;
}

/* Return: was @c part of a sequence? */
static bool pass_escape(struct prompt *prompt, char c)
{
	if (prompt->escape == PROMPT_TEXT && c != ESC)
		return c == CAN || c == SUB;
	if (c == CAN || c == SUB) { /* these end a sequence wherever it is */
		prompt->escape = PROMPT_TEXT;
		return true;
	}
	switch (prompt->escape) {
	case PROMPT_TEXT: prompt->escape = PROMPT_ESCAPE; break;
	case PROMPT_ESCAPE: prompt->escape = after_escape(c); break;
	case PROMPT_CSI: prompt->escape = in_csi(c); break;
	case PROMPT_STRING: prompt->escape = in_string(c); break;
	case PROMPT_STRING_END: prompt->escape = c == '\\' ? PROMPT_TEXT : in_string(c); break;
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
