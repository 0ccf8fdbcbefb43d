/* SPDX-License-Identifier: MIT */
/*
 * terraform's command line: which subcommand it is, whether it locks, and the
 * same line with -lock=false in the one place where it works. Pure.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"

enum tfargs_class {
	TFARGS_READER,      /* takes no lock (or must not wait, as force-unlock): exec in place */
	TFARGS_LOCKS,       /* has -lock: queued, tfqd holds the lock, the child gets -lock=false */
	TFARGS_CHILD_LOCKS, /* queued, but terraform must take the lock itself */
	TFARGS_UNKNOWN,     /* no such subcommand */
};

struct tfargs {
	enum tfargs_class class;
	const char *subcommand; /* static: "apply", "state mv", "workspace new"; NULL if unknown or
				   none */
	const char *operation; /* static: LockInfo's Operation, "OperationTypeApply", "state-mv"; ""
				  if none */
	const char *chdir;     /* lent from argv: DIR of -chdir=DIR, or NULL */
	const char *why_child; /* static: why TFARGS_CHILD_LOCKS, in words for the waiting line; or
				  NULL */
	size_t words_end;      /* index in argv just behind the subcommand's last word */
	size_t flags_end; /* index in argv of the first positional or "--" behind it, or argv's end
			   */
	char plan_file[PATH_MAX]; /* the positional of apply, also one in TF_CLI_ARGS*; "": none */
	bool has_lock_timeout;    /* the subcommand knows -lock-timeout and honours it */
	bool given_lock_timeout;  /* the user gave one, in argv or in TF_CLI_ARGS* */
	bool is_interactive;      /* queued, and may ask for approval or variables on stdin */
};

/*
 * Read @argv, NULL-ended, *without* the program's name: what follows "terraform".
 * Environment variables TF_CLI_ARGS and TF_CLI_ARGS_<sub> in @env are looked at too.
 * The flags of readers, init apart, are not judged: terraform will say what is wrong.
 *
 * Return: 0 (also for TFARGS_UNKNOWN and for an empty line, which is a reader:
 * terraform prints its help), -EINVAL for a line that terraform would refuse or
 * that cannot be run under our lock (two -chdir, -chdir after the subcommand,
 * other flags before it, a -lock or -lock-timeout with a bad value, a value
 * flag without its value, a plan file with too long a path, TF_CLI_ARGS* that cannot
 * be split; for subcommands that have -lock, init apart, also a positional argument
 * or "--" in TF_CLI_ARGS*, unless it is or precedes the plan file of apply, which is
 * TFARGS_CHILD_LOCKS then; an empty word in there, and a last flag that would swallow
 * our -lock=false), -ENOMEM. *@ret_error as in backend.h, on failure only (-ENOMEM: not even then).
 */
int tfargs_parse(struct tfargs *ret, char *const *argv, char *const *env, char **ret_error);

/*
 * The line to run. With @hold_lock, the user's own -lock and -lock-timeout
 * (before the first positional) are left out, and -lock=false is put directly
 * behind the subcommand's words. Without it the line stays as it is, except
 * that -lock-timeout=@timeout ("1h") is put there if the subcommand honours it
 * and the user gave none himself. @timeout may be NULL with @hold_lock.
 *
 * Return: 0 and a NULL-ended vector in *@ret, the caller's to free with
 * tfargs_strv_free(); -EINVAL for @hold_lock with another class than
 * TFARGS_LOCKS, whose child would take the lock that is held, or go without;
 * or -ENOMEM.
 */
int tfargs_build(char ***ret, const struct tfargs *args, char *const *argv, bool hold_lock,
		 const char *timeout);

/* Every known subcommand in turn: "state", "state mv"; NULL behind the last. Static. */
const char *tfargs_subcommand_at(size_t index);

/* The nearest known subcommand, tfq's own not counted; NULL if none is near. Static. */
const char *tfargs_suggest(const char *word);

/* Return: NULL. @strv may be NULL. */
char **tfargs_strv_free(char **strv);
