/* SPDX-License-Identifier: MIT */
/*
 * What another user's terraform printed, made harmless for this terminal: text, colours
 * (CSI ... m), newlines, tabs and carriage returns pass. Other control characters and escape
 * sequences are dropped; what is no UTF-8, or turns the direction of writing, becomes '?'. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define FILTER_HELD_MAX 64 /* bytes of a sequence that is not whole yet */

enum filter_at { FILTER_TEXT, FILTER_CHAR, FILTER_ESCAPE, FILTER_CSI, FILTER_STRING };

/* Zeroed to begin with. A sequence may be spread over several calls. */
struct filter {
	enum filter_at at;
	bool is_bad;     /* the CSI sequence is no colour */
	bool was_escape; /* the string's end may follow */
	size_t left;     /* bytes of the character to come */
	size_t held_len;
	char held[FILTER_HELD_MAX];
};

/* @out: room for @len + FILTER_HELD_MAX bytes. Return: how many were written there. */
size_t filter_run(struct filter *filter, char *out, const char *in, size_t len);
