/* SPDX-License-Identifier: MIT */
/* Texts that hold secrets: overwritten before they are freed. */
#pragma once

#include <stdlib.h>
#include <string.h>

/* NULL is fine. */
static inline void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* For CLEANUP. */
static inline void secret_freep(char **p)
{
	secret_free(*p);
}
