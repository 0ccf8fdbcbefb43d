/* SPDX-License-Identifier: MIT */
/*
 * tfq's own commands; terraform's subcommands are none of them. What a command is called, takes
 * and does stands in one row of commands.c: the help, the parser and the shells' completions are
 * all made from that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stands behind the options. */
enum command_argument {
	TAKES_NOTHING,
	TAKES_JOB,  /* one, by its number or label */
	TAKES_JOBS, /* some */
	TAKES_OVER, /* one, that has ended or not */
	TAKES_STATE,
	TAKES_SHELL,
	TAKES_COMMAND,
};

struct command_option {
	const char *name;  /* without its dashes */
	char letter;       /* 0: none */
	const char *value; /* what to call it, "TIME"; STATE, ID and FILE are completed; NULL: takes
			      none */
	const char *help;  /* a few words */
	const char *choices; /* "high normal low": all that the value can be; NULL: anything */
};

struct command {
	const char *name;
	const char *aliases; /* "ls ps"; NULL: none */
	const char *usage;   /* what follows the options: "[STATE]" */
	const char *help;    /* one line */
	enum command_argument takes;
	int (*run)(int argc, char **argv); /* argv[0] is "tfq NAME". Return: the exit code. */
	const struct command_option
		*options; /* up to one without a name; --help is not among them */
};

/* --- the table: commands.c --- */

/* Return: the row, or NULL behind the last one. */
const struct command *command_at(size_t index);

/* By its name or an alias. Return: NULL if there is none. */
const struct command *command_find(const char *name);

/* The options of a run: those that stand before terraform's subcommand. */
extern const struct command command_run;

/* --- options and arguments: options.c --- */

/* Where the value of an option goes: one of the three. */
struct command_value {
	const char *name;
	bool *flag;
	const char **text; /* lent from argv */
	uint64_t *usec;    /* a time, above 0 */
};

/* The values of the options of a run, into @o, a struct run_options. */
#define RUN_VALUES(o)                                                                             \
	{                                                                                         \
		{ "detach", .flag = &(o).detach }, { "label", .text = &(o).label },               \
			{ "reason", .text = &(o).reason }, { "priority", .text = &(o).priority }, \
			{ "no-wait", .flag = &(o).no_wait },                                      \
			{ "wait-timeout", .usec = &(o).wait_timeout_usec },                       \
			{ "supersede", .flag = &(o).supersede }, { "json", .flag = &(o).json },   \
			{ "quiet", .flag = &(o).quiet },                                          \
		{                                                                                 \
			0                                                                         \
		}                                                                                 \
	}

/*
 * Take the options out of @argv, wherever they stand before a "--"; the arguments move together,
 * NULL-ended, from argv[1] on. @values: up to one without a name.
 *
 * Return: what is left of @argc; or -EINVAL after telling the user what is wrong: also if these
 * are more arguments than the command takes.
 */
int command_parse(int argc, char **argv, const struct command_value *values);

/*
 * Take one word, *@at, and the value behind it if it has one. Return: 1 and the index behind it in
 * *@at; 0 if it is no option; -EINVAL after telling the user.
 */
int command_take_option(const struct command *command, char **argv, int *at,
			const struct command_value *values);

/* --- jobs and their names: job_of.c --- */

/*
 * The job that @text names: 42, #42, or a label that no other job has; of those that have not
 * ended, if there is one. Return: 0, or the exit code after telling why not.
 */
int command_find_job(const char *text, uint64_t *ret);

/*
 * The one job of a command line that command_parse() has read; without one, the only job of the
 * user's that has not ended, or, with @or_over, the only one at all. Return: as above.
 */
int command_take_job(int argc, char **argv, bool or_over, uint64_t *ret);

/* --- the commands: cmd_*.c, help.c, completion.c --- */

int cmd_queue(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
int cmd_retry(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_who(int argc, char **argv);
int cmd_unlock(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_metrics(int argc, char **argv);
int cmd_timeline(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_completion(int argc, char **argv);
int cmd_help(int argc, char **argv);
