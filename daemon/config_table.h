/* SPDX-License-Identifier: MIT */
/* The keys of tfqd.conf as a table: where each goes, what it may be. For config*.c alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_KEYS_MAX      64      /* rows; checked when built */
#define CONFIG_STATE_SECTION "state" /* whose rows are about a struct config_state */

enum config_type {
	CONFIG_U64,
	CONFIG_USEC,
	CONFIG_BYTES,
	CONFIG_PERCENT,
	CONFIG_BOOL,
	CONFIG_WORD,     /* an int or enum, one of a row's words */
	CONFIG_HANDOVER, /* a number of jobs, or a time: config.handover_jobs, handover_usec */
	CONFIG_TEXT,     /* from here on: strings */
	CONFIG_NAME,     /* no blanks */
	CONFIG_PATH,     /* absolute */
	CONFIG_SOCKET,   /* absolute, and short enough for sockaddr_un */
	CONFIG_BINARY,   /* a name without slash, or an absolute path */
	CONFIG_URL,
	CONFIG_SLICE,
	CONFIG_GROUP,
};

struct config_word {
	const char *text;
	int value;
};

struct config_row {
	const char *name; /* "section.key" */
	const char *section;
	const char *key;
	size_t offset;     /* in struct config; in struct config_state for CONFIG_STATE_SECTION */
	size_t has_offset; /* of the bool that says it was given; 0: there is none */
	const char *fallback;            /* the default as it would be written; "" for none */
	uint64_t min, max;               /* numbers only, in the field's unit */
	const struct config_word *words; /* CONFIG_WORD only; ends with a NULL text */
	enum config_type type;
	bool is_used;       /* false: checked, but without effect in this version */
	bool needs_restart; /* a reload does not change it */
};

/* The @index-th row; NULL behind the last. */
const struct config_row *config_row(size_t index);

/* @row's own index. */
size_t config_row_index(const struct config_row *row);

/* NULL if there is no such key in @section. */
const struct config_row *config_row_find(const char *section, const char *key);

/*
 * Put @text into @row's field of @base, a struct config or config_state.
 * Return: 0, -EINVAL (wrong form), -ERANGE, -ENOMEM.
 */
int config_row_set(const struct config_row *row, void *base, const char *text);

/* Is the number in @row's field of @base within the row's limits? True for other types. */
bool config_row_is_in_range(const struct config_row *row, const void *base);

/* Has @row's field of @base the value that it would have if nobody had set it? */
bool config_row_is_default(const struct config_row *row, const void *base);

/* Have two struct config the same value there? */
bool config_row_is_same(const struct config_row *row, const void *one, const void *other);

/* Let two struct config change it with each other. */
void config_row_swap(const struct config_row *row, void *one, void *other);

/* Free @row's field if it is a string. */
void config_row_clear(const struct config_row *row, void *base);

/*
 * What @row takes, as the end of a sentence: "a time with its unit, as 10s", or for
 * -ERANGE in @error "between 10 s and 1 d".
 * Return: the caller's to free, NULL if out of memory.
 */
char *config_row_wanted(const struct config_row *row, int error);

/* The section or key (of @section) that is nearest to @word; NULL if none is near. */
const char *config_suggest_section(const char *word);
const char *config_suggest_key(const char *section, const char *word);

/* The section other than @section that has @key; NULL if none has. */
const char *config_suggest_home(const char *section, const char *key);
