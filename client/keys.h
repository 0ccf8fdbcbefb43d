/* SPDX-License-Identifier: MIT */
/* The keys by which one leaves a job that one is attached to, found in what is typed. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define KEYS_MAX     16
#define KEYS_DEFAULT "ctrl-p,ctrl-q"

struct keys {
	size_t len, matched; /* of @keys; of those, typed so far */
	char keys[KEYS_MAX];
};

/* "ctrl-p,ctrl-q": single characters, or ctrl- and one of a-z @ [ \ ] ^ _; "": none. Return: 0 or
 * -EINVAL. */
int keys_parse(struct keys *ret, const char *text);

/*
 * Copy what is to be passed on to @out, which has room for @len + KEYS_MAX bytes: the keys are
 * held back until something else follows. *@ret_leave: all of them were typed; the rest is
 * dropped. Return: how many bytes were copied.
 */
size_t keys_run(struct keys *keys, char *out, const char *in, size_t len, bool *ret_leave);
