/* SPDX-License-Identifier: MIT */
/* tfq's own commands; terraform's subcommands are none of them. */
#pragma once

struct command {
	const char *name;
	const char *aliases;               /* "ls ps"; NULL: none */
	const char *usage;                 /* what follows the name */
	const char *help;                  /* one line */
	int (*run)(int argc, char **argv); /* argv[0] is the name. Return: the exit code. */
};

int cmd_queue(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_who(int argc, char **argv);
int cmd_unlock(int argc, char **argv);
