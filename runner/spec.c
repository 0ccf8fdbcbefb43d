/* SPDX-License-Identifier: MIT */
#include "runner/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/backend.h"
#include "common/env.h"
#include "common/explain.h"
#include "common/plan/plan.h"
#include "common/text.h"
#include "common/tfargs.h"
#include "common/which.h"

#define EXTRA_VARIABLES 1 /* TFQ_JOB */

static bool is_variable(const char *variable, const char *name)
{
	const size_t len = strlen(name);

	return strncmp(variable, name, len) == 0 && variable[len] == '=';
}

static int take_strv(char ***ret, const json_t *list, size_t extra)
{
	const size_t count = json_array_size(list);
	char **strv = calloc(count + extra + 1, sizeof(*strv));
	size_t used = 0;

	if (!strv)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *word = json_string_value(json_array_get(list, i));

		strv[used] = word ? strdup(word) : NULL;
		if (!strv[used]) {
			tfargs_strv_free(strv);
			return word ? -ENOMEM : -EBADMSG;
		}
		used++;
	}
	*ret = strv;
	return 0;
}

/* Set a variable in a vector that has room for it. */
static int set_variable(char **env, const char *name, const char *value)
{
	char *variable = NULL;

	if (asprintf(&variable, "%s=%s", name, value) < 0)
		return -ENOMEM;
	for (; *env; env++) {
		if (is_variable(*env, name)) {
			free(*env);
			break;
		}
	}
	*env = variable;
	return 0;
}

static int take_text(char **ret, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text_replace(ret, text) : -EBADMSG;
}

static int take_texts(struct spec *spec, const json_t *object)
{
	const struct {
		char **to;
		const char *name;
	} texts[] = {
		{ &spec->directory, "directory" }, { &spec->state_directory, "state_directory" },
		{ &spec->identity, "identity" },   { &spec->lock_timeout, "lock_timeout" },
		{ &spec->binary, "binary" },       { &spec->client, "client" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const int r = take_text(texts[i].to, object, texts[i].name);

		if (r < 0)
			return r;
	}
	return 0;
}

/* So that what the job starts can tell. */
static int name_job(struct spec *spec, uint64_t job)
{
	char number[24];

	(void)snprintf(number, sizeof(number), "%" PRIu64, job);
	return set_variable(spec->env, "TFQ_JOB", number);
}

/* What makes no sense is as if it were not said: a size is no reason to refuse a run. */
static void take_terminal(struct spec *spec, const json_t *object)
{
	const json_int_t rows = json_integer_value(json_object_get(object, "rows"));
	const json_int_t columns = json_integer_value(json_object_get(object, "columns"));

	spec->has_terminal = json_is_true(json_object_get(object, "tty"));
	spec->has_stdin = spec->has_stdin && !spec->has_terminal;
	spec->size = (struct terminal_size){ TERMINAL_ROWS, TERMINAL_COLUMNS };
	if (rows > 0 && rows <= TERMINAL_SIDE_MAX && columns > 0 && columns <= TERMINAL_SIDE_MAX)
		spec->size = (struct terminal_size){ (uint16_t)rows, (uint16_t)columns };
}

int spec_parse(struct spec **ret, const json_t *object, uint64_t job)
{
	CLEANUP(spec_freep) struct spec *spec = calloc(1, sizeof(*spec));
	int r;

	if (!spec)
		return -ENOMEM;
	r = take_strv(&spec->argv, json_object_get(object, "argv"), 0);
	if (r >= 0)
		r = take_strv(&spec->env, json_object_get(object, "environment"), EXTRA_VARIABLES);
	if (r >= 0)
		r = take_texts(spec, object);
	if (r >= 0)
		r = name_job(spec, job);
	if (r < 0)
		return r;
	if (json_is_string(json_object_get(object, "endpoint_dynamodb")) &&
	    take_text(&spec->endpoint_dynamodb, object, "endpoint_dynamodb") < 0)
		return -ENOMEM;
	if (json_is_string(json_object_get(object, "journal")) &&
	    take_text(&spec->journal, object, "journal") < 0)
		return -ENOMEM;
	spec->umask = (mode_t)json_integer_value(json_object_get(object, "umask"));
	spec->is_plan = json_is_true(json_object_get(object, "plan"));
	spec->hold_lock = json_is_true(json_object_get(object, "hold_lock"));
	spec->has_stdin = json_is_true(json_object_get(object, "stdin"));
	take_terminal(spec, object);
	if (json_integer_value(json_object_get(object, "approval_timeout")) > 0)
		spec->approval_usec =
			(uint64_t)json_integer_value(json_object_get(object, "approval_timeout"));
	*ret = TAKE_PTR(spec);
	return 0;
}

struct spec *spec_free(struct spec *spec)
{
	if (!spec)
		return NULL;
	for (char **variable = spec->env; variable && *variable; variable++)
		explicit_bzero(*variable, strlen(*variable));
	tfargs_strv_free(spec->env);
	tfargs_strv_free(spec->argv);
	free(spec->directory);
	free(spec->state_directory);
	free(spec->identity);
	free(spec->endpoint_dynamodb);
	free(spec->journal);
	free(spec->lock_timeout);
	free(spec->binary);
	free(spec->client);
	free(spec);
	return NULL;
}

static int find_terraform(const struct spec *spec, char **ret, char **ret_error)
{
	const char *const skip[] = { spec->client, NULL };
	const int r = which_program(ret, spec->binary, env_get(spec->env, "PATH"), skip);

	if (r == 0)
		return 0;
	if (r == -EACCES) {
		(void)explain(ret_error, r, "%s is not executable", spec->binary);
		return SPEC_EXIT_NOT_EXEC;
	}
	(void)explain(
		ret_error, r,
		"there is no %s in PATH (%s); install terraform "
		"(https://developer.hashicorp.com/terraform/install) or set [terraform] binary",
		spec->binary, env_get(spec->env, "PATH") ? env_get(spec->env, "PATH") : "unset");
	return SPEC_EXIT_NOT_FOUND;
}

int spec_command(const struct spec *spec, bool hold_lock, char **ret_program, char ***ret_argv,
		 char **ret_error)
{
	struct tfargs args;
	char **rest = NULL, **argv;
	size_t count = 0;
	int r;

	r = find_terraform(spec, ret_program, ret_error);
	if (r != 0)
		return r;
	r = tfargs_parse(&args, spec->argv, spec->env, ret_error);
	if (r >= 0)
		r = tfargs_build(&rest, &args, spec->argv, hold_lock, spec->lock_timeout);
	if (r < 0)
		return SPEC_EXIT_FAILED;

	while (rest[count])
		count++;
	argv = calloc(count + 2, sizeof(*argv));
	if (argv)
		argv[0] = strdup("terraform");
	if (!argv || !argv[0]) {
		free(argv);
		tfargs_strv_free(rest);
		return SPEC_EXIT_FAILED;
	}
	memcpy(argv + 1, rest, count * sizeof(*argv));
	free(rest);
	*ret_argv = argv;
	return 0;
}

/* From where the state was told when the job was queued. */
static int read_source(struct backend_source **ret, const struct spec *spec, char *ret_plan_file,
		       char **ret_error)
{
	struct tfargs args;
	int r;

	if (!spec->is_plan)
		return backend_source_read(ret, spec->state_directory, spec->env, ret_error);
	r = tfargs_parse(&args, spec->argv, spec->env, ret_error);
	if (r < 0)
		return r;
	memcpy(ret_plan_file, args.plan_file, sizeof(args.plan_file));
	return plan_source_read(ret, spec->state_directory, args.plan_file, spec->env, ret_error);
}

int spec_check_state(const struct spec *spec, char **ret_error)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	CLEANUP(backend_freep) struct backend *backend = NULL;
	char plan_file[PATH_MAX] = "";
	int r;

	r = read_source(&source, spec, plan_file, ret_error);
	if (r >= 0)
		r = backend_parse(&backend, source, spec->env, false, ret_error);
	if (r < 0)
		return SPEC_EXIT_FAILED;
	if (strcmp(backend->identity, spec->identity) == 0) {
		if (!backend->dynamodb_table ||
		    strcmp(backend->endpoint_dynamodb ?: "", spec->endpoint_dynamodb ?: "") == 0)
			return 0;
		(void)explain(
			ret_error, -ESTALE,
			"the DynamoDB endpoint of %s has changed since the job was queued, in "
			"the backend block or the AWS profile: queue it again",
			backend->name);
		return SPEC_EXIT_FAILED;
	}
	if (spec->is_plan) {
		(void)explain(
			ret_error, -ESTALE,
			"the plan file %s was replaced, or another workspace selected, since "
			"the job was queued: it is about another state now (%s); see which one "
			"you mean, and queue it again",
			plan_file, backend->name);
		return SPEC_EXIT_FAILED;
	}
	(void)explain(ret_error, -ESTALE,
		      "%s works on another state now (%s) than when the job was queued; "
		      "select the workspace that you mean, and queue it again",
		      spec->state_directory, backend->name);
	return SPEC_EXIT_FAILED;
}
