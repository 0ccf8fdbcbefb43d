/* SPDX-License-Identifier: MIT */
#include "client/arena.h"

#include <jansson.h>
#include <stdlib.h>

#define CHUNK ((size_t)1 << 20)
#define ALIGN ((size_t)16)

static struct {
	char *at;
	size_t left;
} arena;

static void *take(size_t size)
{
	const size_t need = (size + ALIGN - 1) & ~(ALIGN - 1);
	void *mem;

	if (need < size)
		return NULL;
	if (need > CHUNK / 4) /* it gets its own */
		return malloc(size);
	if (need > arena.left) {
		char *chunk = malloc(CHUNK);

		if (!chunk)
			return NULL;
		arena.at = chunk;
		arena.left = CHUNK;
	}
	mem = arena.at;
	arena.at += need;
	arena.left -= need;
	return mem;
}

static void keep(void *mem)
{
	(void)mem;
}

void arena_use(void)
{
	json_set_alloc_funcs(take, keep);
}
