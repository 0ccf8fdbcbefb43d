/* SPDX-License-Identifier: MIT */
/*
 * Does terraform ask for something? It does if "Enter a value:" is the last that it has printed,
 * but for blanks and for escape sequences, which may also stand within. Pure: sees the output go
 * by, keeps none of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum prompt_escape {
	PROMPT_TEXT,
	PROMPT_ESCAPE,     /* after ESC */
	PROMPT_CSI,        /* ESC [ ... up to its last byte */
	PROMPT_STRING,     /* ESC ] ... (a title) up to BEL or ESC \ */
	PROMPT_STRING_END, /* ESC within a string */
};

struct prompt {
	enum prompt_escape escape;
	unsigned matched; /* bytes of the question */
	unsigned asked;   /* questions so far: tells a new one from the one before */
};

void prompt_feed(struct prompt *prompt, const char *output, size_t len);

/* Is there a question, and nothing behind it? */
bool prompt_asks(const struct prompt *prompt);

/* Something was typed. */
void prompt_answer(struct prompt *prompt);
