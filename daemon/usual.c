/* SPDX-License-Identifier: MIT */
#include "daemon/usual.h"

#include <errno.h>
#include <search.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct kind {
	const char *identity, *subcommand; /* name's two parts, or of who searches */
	uint64_t took[USUAL_MAX];
	uint64_t count; /* ever */
	uint64_t median;
	TAILQ_ENTRY(kind) link;
	char name[];
};

TAILQ_HEAD(kind_list, kind);

struct usual {
	void *tree;
	struct kind_list kinds; /* the one that ran last is the last */
	size_t count;
};

int usual_new(struct usual **ret)
{
	struct usual *usual = calloc(1, sizeof(*usual));

	if (!usual)
		return -ENOMEM;
	TAILQ_INIT(&usual->kinds);
	*ret = usual;
	return 0;
}

static int compare_kinds(const void *a, const void *b)
{
	const struct kind *left = a, *right = b;
	const int order = strcmp(left->identity, right->identity);

	return order != 0 ? order : strcmp(left->subcommand, right->subcommand);
}

static void forget(struct usual *usual, struct kind *kind)
{
	(void)tdelete(kind, &usual->tree, compare_kinds);
	TAILQ_REMOVE(&usual->kinds, kind, link);
	usual->count--;
	free(kind);
}

struct usual *usual_free(struct usual *usual)
{
	struct kind *kind;

	while (usual && (kind = TAILQ_FIRST(&usual->kinds)))
		forget(usual, kind);
	free(usual);
	return NULL;
}

static struct kind *find(const struct usual *usual, const char *identity, const char *subcommand)
{
	const struct kind key = { .identity = identity, .subcommand = subcommand };
	struct kind *const *found = tfind(&key, (void *const *)&usual->tree, compare_kinds);

	return found ? *found : NULL;
}

static struct kind *make(struct usual *usual, const char *identity, const char *subcommand)
{
	const size_t first = strlen(identity) + 1, second = strlen(subcommand) + 1;
	struct kind *kind = calloc(1, sizeof(*kind) + first + second);

	if (!kind)
		return NULL;
	kind->identity = memcpy(kind->name, identity, first);
	kind->subcommand = memcpy(kind->name + first, subcommand, second);
	if (!tsearch(kind, &usual->tree, compare_kinds)) {
		free(kind);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&usual->kinds, kind, link);
	if (++usual->count > USUAL_KINDS_MAX)
		forget(usual, TAILQ_FIRST(&usual->kinds));
	return kind;
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static uint64_t median_of(const struct kind *kind)
{
	const size_t known = kind->count < USUAL_MAX ? (size_t)kind->count : USUAL_MAX;
	uint64_t took[USUAL_MAX];

	if (known < USUAL_MIN)
		return 0;
	memcpy(took, kind->took, known * sizeof(took[0]));
	qsort(took, known, sizeof(took[0]), compare_times);
	return took[known / 2];
}

void usual_add(struct usual *usual, const char *identity, const char *subcommand, uint64_t usec)
{
	struct kind *kind = find(usual, identity, subcommand);

	if (!kind)
		kind = make(usual, identity, subcommand);
	if (!kind)
		return;
	kind->took[kind->count++ % USUAL_MAX] = usec;
	kind->median = median_of(kind);
	TAILQ_REMOVE(&usual->kinds, kind, link);
	TAILQ_INSERT_TAIL(&usual->kinds, kind, link);
}

uint64_t usual_usec(const struct usual *usual, const char *identity, const char *subcommand)
{
	const struct kind *kind = find(usual, identity, subcommand);

	return kind ? kind->median : 0;
}
