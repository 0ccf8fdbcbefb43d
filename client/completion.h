/* SPDX-License-Identifier: MIT */
/* Completions for shells. Their scripts are made from the table of commands, and ask us for what is
 * only known at run time: "tfq __complete KIND". */
#pragma once

#include <stdio.h>

#include "client/command.h"

#define COMPLETION_COMMAND "__complete"

/*
 * Answer a script: @argv is one of jobs (that wait or run), all-jobs, states. Each line is a word,
 * a tab and what it is. Quick, and silent about all that fails. Return: 0.
 */
int completion_answer(char *const *argv);

/* --- for the writers of scripts: completion_*.c --- */

void completion_bash(void);
void completion_zsh(void);
void completion_fish(void);

/* What the argument of a command is called in COMPLETION_COMMAND; NULL if tfqd cannot tell. */
const char *completion_kind(const struct command *command);

/* The same for the value of an option. */
const char *completion_kind_of_value(const struct command_option *option);

/* Is its value a file? */
bool completion_is_file(const struct command_option *option);

/* Put @text, in which the characters @special have a @before before them. */
void completion_put(const char *text, const char *special, const char *before);

/* Put the names of @command, its aliases too, with @between between them. */
void completion_put_names(const struct command *command, const char *between);

/* The same for all options of tfq's own that take a value in a word of its own. */
void completion_put_value_options(const char *between);

/* Put terraform's subcommands: the first words, or with @first the second ones behind that. */
void completion_put_subcommands(const char *first, const char *between);

/* Has terraform's @first second words? */
bool completion_has_second(const char *first);
