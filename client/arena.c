/* SPDX-License-Identifier: MIT */
#include "client/arena.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#define CHUNK ((size_t)1 << 20)
#define ALIGN ((size_t)16)

struct chunk {
	struct chunk *before; /* all are found from the last one: nothing is lost */
	_Alignas(ALIGN) char data[];
};

static struct {
	struct chunk *last;
	char *at;
	size_t left;
} arena;

static char *take_chunk(size_t size)
{
	struct chunk *chunk = malloc(sizeof(*chunk) + size);

	if (!chunk)
		return NULL;
	chunk->before = arena.last;
	arena.last = chunk;
	return chunk->data;
}

static void *take(size_t size)
{
	const size_t need = (size + ALIGN - 1) & ~(ALIGN - 1);
	char *mem;

	if (need < size || need > SIZE_MAX / 2)
		return NULL;
	if (need > CHUNK / 4) /* it gets its own */
		return take_chunk(need);
	if (need > arena.left) {
		mem = take_chunk(CHUNK);
		if (!mem)
			return NULL;
		arena.at = mem;
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
