/* SPDX-License-Identifier: MIT */
/* An environment that is not ours: a NULL-ended vector of "NAME=value". */
#pragma once

/* The value of @name in @env, lent out of the vector; NULL if it is not there. */
const char *env_get(char *const *env, const char *name);

/* As env_get(), but NULL also for an empty value: what most of terraform's variables mean by "". */
const char *env_get_filled(char *const *env, const char *name);
