/* SPDX-License-Identifier: MIT */
/* For those who mistype a section or a key. */
#include <string.h>

#include "common/suggest.h"
#include "daemon/config_table.h"

const char *config_suggest_section(const char *word)
{
	const struct config_row *row;
	struct suggest suggest;

	suggest_start(&suggest, word);
	for (size_t i = 0; (row = config_row(i)); i++)
		suggest_consider(&suggest, row->section);
	return suggest.nearest;
}

const char *config_suggest_key(const char *section, const char *word)
{
	const struct config_row *row;
	struct suggest suggest;

	suggest_start(&suggest, word);
	for (size_t i = 0; (row = config_row(i)); i++)
		if (strcmp(row->section, section) == 0)
			suggest_consider(&suggest, row->key);
	return suggest.nearest;
}

const char *config_suggest_home(const char *section, const char *key)
{
	const struct config_row *row;

	for (size_t i = 0; (row = config_row(i)); i++)
		if (strcmp(row->key, key) == 0 && strcmp(row->section, section) != 0)
			return row->section;
	return NULL;
}
