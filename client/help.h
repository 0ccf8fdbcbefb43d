/* SPDX-License-Identifier: MIT */
/* What the table says, for people; as wide as their terminal. */
#pragma once

#include "client/command.h"

/* All of it, or, with @command, all about that one. */
void help_print(const struct command *command);

/* "Did you mean ...?" for a word that is no command, neither ours nor terraform's. Return: the exit
 * code. */
int help_say_unknown(const char *word);
