/* SPDX-License-Identifier: MIT */
#include "runner/doctor/question.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/proxy.h"
#include "common/backend_parts.h"
#include "common/doctor.h"
#include "common/explain.h"
#include "common/secret.h"
#include "common/text.h"

static int copy_text(char **ret, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text_replace(ret, text) : 0;
}

static int take_source(struct backend_source *source, const json_t *object)
{
	int r = copy_text(&source->directory, object, "state_directory");

	if (r == 0)
		r = copy_text(&source->file, object, "backend");
	if (r == 0)
		r = copy_text(&source->workspace, object, "workspace");
	if (r == 0)
		r = copy_text(&source->profile_endpoints, object, "profile_endpoints");
	if (r < 0)
		return r;
	return source->directory && source->workspace ? 0 : -EINVAL;
}

/* Lent texts, NULL-ended. */
static char **take_env(const json_t *object)
{
	const json_t *list = json_object_get(object, "environment");
	char **env = calloc(json_array_size(list) + 1, sizeof(*env));

	for (size_t i = 0, used = 0; env && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text)
			memcpy(&env[used++], &text, sizeof(text));
	}
	return env;
}

static int put(json_t *object, const char *name, const char *value)
{
	return value && json_object_set_new(object, name, json_string(value)) < 0 ? -ENOMEM : 0;
}

/* The backend's members that are found already, beside those for credentials alone. */
static json_t *backend_json(const struct backend *backend)
{
	const char *own = backend->credentials_json;
	CLEANUP(backend_json_freep) json_t *object = own ? json_loads(own, 0, NULL) : json_object();

	if (!object || put(object, "region", backend->region) < 0 ||
	    put(object, "custom_ca_bundle", backend->ca_bundle) < 0 ||
	    json_object_set_new(object, "insecure", json_boolean(backend->insecure)) < 0 ||
	    json_object_set_new(object, "use_fips", json_boolean(backend->use_fips)) < 0 ||
	    json_object_set_new(object, "use_dualstack", json_boolean(backend->use_dualstack)) < 0)
		return NULL;
	return TAKE_PTR(object);
}

/* The same question as tfqd asks for a job on this state (runner/aws/ask.h). */
static int make_ask(struct ask **ret, const struct backend *backend, const json_t *object,
		    char *const *env, char **ret_error)
{
	struct proxy_settings proxy = { 0 };
	CLEANUP(backend_json_freep) json_t *question = NULL;
	CLEANUP(secret_freep) char *text = NULL;
	int r;

	proxy_settings_find(&proxy, backend, env);
	question = json_pack("{s:O, s:O, s:o, s:{s:s?, s:s?, s:s?}, s:s}", "environment",
			     json_object_get(object, "environment"), "directory",
			     json_object_get(object, "state_directory"), "backend",
			     backend_json(backend), "proxy", "http", proxy.http, "https",
			     proxy.https, "no_proxy", proxy.no_proxy, "session_name", "tfq-doctor");
	text = question ? json_dumps(question, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	r = ask_new(ret, text, strlen(text));
	return r < 0 && *ret && (*ret)->error ? explain(ret_error, r, "%s", (*ret)->error) : r;
}

static void source_clear(struct backend_source *source)
{
	free(source->directory);
	secret_free(source->file);
	free(source->workspace);
	free(source->profile_endpoints);
}

int question_read(struct question *ret, const char *text, size_t len, char **ret_error)
{
	CLEANUP(source_clear) struct backend_source source = { 0 };
	CLEANUP(backend_json_freep) json_t *object = json_loadb(text, len, 0, NULL);
	AUTO_FREE char **env = take_env(object);
	int r;

	*ret = (struct question){ 0 };
	if (!env)
		return -ENOMEM;
	r = take_source(&source, object);
	if (r == -EINVAL) {
		return explain(ret_error, r,
			       "The question makes no sense: are tfq and " DOCTOR_PROGRAM
			       " of the same version?");
	}
	if (r == 0)
		r = backend_parse(&ret->backend, &source, env, false, ret_error);
	if (r == 0 && ret->backend->kind != BACKEND_S3)
		return explain(ret_error, -EINVAL, "The backend is not S3.");
	ret->may_probe = json_is_true(json_object_get(object, "probe"));
	return r < 0 ? r : make_ask(&ret->ask, ret->backend, object, env, ret_error);
}

void question_clear(struct question *question)
{
	question->ask = ask_free(question->ask);
	question->backend = backend_free(question->backend);
}
