/* SPDX-License-Identifier: MIT */
#include "common/suggest.h"

#include <string.h>

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Letters to change, add, drop or swap; both words have SUGGEST_MAX bytes at most. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][SUGGEST_MAX + 1] = { 0 };
	const size_t a_len = strlen(a);
	const size_t b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3];
		const size_t *above2 = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = min(row[j], min(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = min(row[j], above2[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

void suggest_start(struct suggest *suggest, const char *word)
{
	const size_t len = strlen(word);

	*suggest = (struct suggest){ .word = word, .distance = len < 6 ? 2 : len / 3 + 1 };
}

void suggest_consider(struct suggest *suggest, const char *candidate)
{
	const size_t len = strlen(candidate);
	size_t distance;

	if (len > SUGGEST_MAX || strlen(suggest->word) > SUGGEST_MAX)
		return;
	distance = edit_distance(suggest->word, candidate);
	if (distance < suggest->distance && distance < len) {
		suggest->nearest = candidate;
		suggest->distance = distance;
	}
}
