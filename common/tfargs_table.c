/* SPDX-License-Identifier: MIT */
#include "common/tfargs_parts.h"

#include <assert.h>
#include <string.h>

#include "common/suggest.h"

#define NEW_WORKSPACE            "terraform locks a new workspace by itself, in spite of -lock=false"
#define OTHER_WORKSPACE          "the workspace to delete is not the selected one"

#define ARRAY_COUNT(array)       (sizeof(array) / sizeof((array)[0]))

#define LOCKS(name_, operation_) .name = (name_), .operation = (operation_), .class = TFARGS_LOCKS
#define CHILD_LOCKS(name_, operation_, why_) \
	.name = (name_), .operation = (operation_), .why_child = (why_), .class = TFARGS_CHILD_LOCKS
#define HAS_TIMEOUT   .has_lock_timeout = true
#define ASKS_INPUT    .asks_input = true
#define ASKS_APPROVAL .asks_approval = true
#define ASKS_ALWAYS   .asks_always = true

/*
 * As of terraform 1.11, with what newer ones and OpenTofu ("state ls", "move",
 * "remove") added. What is not named in a row is zero: TFARGS_READER.
 */
static const struct tfargs_command commands[] = {
	/* clang-format off */
	{ LOCKS("apply", "OperationTypeApply"), HAS_TIMEOUT, ASKS_INPUT, ASKS_APPROVAL },
	{ LOCKS("destroy", "OperationTypeApply"), HAS_TIMEOUT, ASKS_INPUT, ASKS_APPROVAL },
	{ LOCKS("plan", "OperationTypePlan"), HAS_TIMEOUT, ASKS_INPUT },
	{ LOCKS("refresh", "OperationTypeRefresh"), HAS_TIMEOUT, ASKS_INPUT },
	{ LOCKS("import", "OperationTypeInvalid"), HAS_TIMEOUT, ASKS_INPUT },
	{ LOCKS("taint", "taint"), HAS_TIMEOUT },
	{ LOCKS("untaint", "untaint"), HAS_TIMEOUT },
	{ LOCKS("state mv", "state-mv"), HAS_TIMEOUT },
	{ LOCKS("state move", "state-mv"), HAS_TIMEOUT },
	{ LOCKS("state rm", "state-rm"), HAS_TIMEOUT },
	{ LOCKS("state remove", "state-rm"), HAS_TIMEOUT },
	{ LOCKS("state push", "state-push"), HAS_TIMEOUT },
	{ LOCKS("state replace-provider", "state-replace-provider"), HAS_TIMEOUT, ASKS_APPROVAL },

	{ CHILD_LOCKS("console", "OperationTypeInvalid", "terraform console has no -lock flag"), ASKS_ALWAYS },
	{ CHILD_LOCKS("workspace new", "init", NEW_WORKSPACE) },
	{ CHILD_LOCKS("env new", "init", NEW_WORKSPACE) },
	/* This Operation is terraform's own slip. */
	{ CHILD_LOCKS("workspace delete", "state-replace-provider", OTHER_WORKSPACE) },
	{ CHILD_LOCKS("env delete", "state-replace-provider", OTHER_WORKSPACE) },
	{ CHILD_LOCKS("state migrate", "migration source state", "a migration locks two states") },

	{ .name = "init" },         /* unless it migrates: tfargs.c */
	{ .name = "force-unlock" }, /* must not wait for the very lock that it removes */
	{ .name = "env" }, { .name = "env list" }, { .name = "env select" }, { .name = "fmt" },
	{ .name = "get" }, { .name = "graph" }, { .name = "login" }, { .name = "logout" },
	{ .name = "metadata" }, { .name = "metadata functions" }, { .name = "modules" },
	{ .name = "output" }, { .name = "providers" }, { .name = "providers lock" },
	{ .name = "providers mirror" }, { .name = "providers schema" }, { .name = "query" },
	{ .name = "rpcapi" }, { .name = "show" }, { .name = "stacks" }, { .name = "state" },
	{ .name = "state identities" }, { .name = "state list" }, { .name = "state ls" },
	{ .name = "state pull" }, { .name = "state show" }, { .name = "test" },
	{ .name = "validate" }, { .name = "version" }, { .name = "workspace" },
	{ .name = "workspace list" }, { .name = "workspace select" },
	{ .name = "workspace show" },
	/* clang-format on */
};

/*
 * The flags of queued subcommands that take the next word as their value, if
 * none comes with "=". None of them is a boolean in another queued subcommand.
 * One that is missing here makes its value look like a positional: `apply
 * -new plan` is then an apply of a saved plan, which is refused if it is none,
 * and that is the harmless side to err on.
 */
static const char *const value_flags[] = {
	/* clang-format off */
	"backend-config", "backup", "backup-out", "config", "deprecation", "exclude", "exclude-file",
	"from-module", "generate-config-out", "include", "invoke", "json-into", "lock-timeout",
	"lockfile", "out", "parallelism", "plugin-dir", "replace", "state", "state-out", "target",
	"target-file", "test-directory", "var", "var-file",
	/* clang-format on */
};

const struct tfargs_command *tfargs_command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

bool tfargs_flag_takes_value(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_COUNT(value_flags); i++)
		if (strlen(value_flags[i]) == len && memcmp(value_flags[i], name, len) == 0)
			return true;
	return false;
}

const char *tfargs_subcommand_at(size_t index)
{
	return index < ARRAY_COUNT(commands) ? commands[index].name : NULL;
}

const char *tfargs_suggest(const char *word)
{
	struct suggest suggest;

	assert(word);

	suggest_start(&suggest, word);
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
		suggest_consider(&suggest, commands[i].name);
	return suggest.nearest;
}
