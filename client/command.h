/* SPDX-License-Identifier: MIT */
/* tfq's own commands; terraform's subcommands are none of them. */
#pragma once

#include <stdint.h>

struct command {
	const char *name;
	const char *aliases;               /* "ls ps"; NULL: none */
	const char *usage;                 /* what follows the name */
	const char *help;                  /* one line */
	int (*run)(int argc, char **argv); /* argv[0] is the name. Return: the exit code. */
};

/* A job's number, "42" or "#42". Return: it, or 0 after telling the user that @text is none. */
uint64_t command_take_id(const char *text);

int cmd_queue(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_who(int argc, char **argv);
int cmd_unlock(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
