/* SPDX-License-Identifier: MIT */
#include "client/subject.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/print.h"
#include "common/explain.h"
#include "common/plan/plan.h"
#include "common/text.h"

/* Where terraform will run: -chdir resolved. */
static int find_directories(const char *chdir_to, char **ret_cwd, char **ret_state,
			    char **ret_error)
{
	int r;

	*ret_cwd = getcwd(NULL, 0);
	if (!*ret_cwd) {
		r = -errno;
		return explain(ret_error, r, "cannot tell the current directory: %s", strerror(-r));
	}
	*ret_state = realpath(chdir_to ? chdir_to : ".", NULL);
	if (!*ret_state) {
		r = -errno;
		return explain(ret_error, r, "cannot enter %s: %s", chdir_to ? chdir_to : ".",
			       strerror(-r));
	}
	return 0;
}

/* Return: 1 if the plan has told; 0 if it is terraform's to tell; or a negative errno. */
static int read_plan(struct subject *subject, const char *directory, const char *plan_file,
		     char **ret_error)
{
	const int r = plan_source_read(&subject->source, directory, plan_file, environ, ret_error);

	if (r != -EOPNOTSUPP)
		return r < 0 ? r : 1;
	print_error(
		"%s: terraform locks what it names itself, in the turn of this directory's state",
		*ret_error);
	free(TAKE_PTR(*ret_error));
	return 0;
}

int subject_find(struct subject *ret, const struct tfargs *args, char **ret_error)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *directory = NULL;
	int r;

	r = find_directories(args->chdir, &ret->cwd, &directory, ret_error);
	if (r < 0)
		return r;
	r = args->plan_file[0] ? read_plan(ret, directory, args->plan_file, ret_error) : 0;
	ret->is_plan = r > 0;
	if (r == 0)
		r = backend_source_read(&ret->source, directory, environ, ret_error);
	if (r < 0)
		return r;
	return backend_parse(&backend, ret->source, environ, false, ret_error);
}

void subject_clear(struct subject *subject)
{
	subject->source = backend_source_free(subject->source);
	free(TAKE_PTR(subject->cwd));
}

static json_t *environment_json(void)
{
	json_t *list = json_array();
	size_t dropped = 0;

	for (char **variable = environ; *variable; variable++) {
		if (text_is_utf8(*variable))
			(void)json_array_append_new(list, json_string(*variable));
		else
			dropped++;
	}
	if (dropped > 0)
		print_error("left out %zu environment variables that are no valid UTF-8", dropped);
	return list;
}

json_t *subject_json(const struct backend_source *source)
{
	return json_pack("{s:s, s:s?, s:s?, s:s, s:o}", "state_directory", source->directory,
			 "backend", source->file, "profile_endpoints", source->profile_endpoints,
			 "workspace", source->workspace, "environment", environment_json());
}
