/* SPDX-License-Identifier: MIT */
#include "daemon/aws/identity_question.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/proxy.h"
#include "common/backend_parts.h"
#include "common/cleanup.h"

/* Of a terminal or of terraform, and of no credentials: they differ from job to job. */
static bool is_passing(const char *variable)
{
	static const char *const names[] = { "PWD=",     "OLDPWD=", "_=",  "SHLVL=",  "TERM=",
					     "COLUMNS=", "LINES=",  "TF_", "SSH_TTY=" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* JSON has UTF-8 only: a variable that is none cannot be of any meaning to AWS. */
static json_t *environment_of(char *const *env, bool lasting_alone)
{
	json_t *list = json_array();

	for (; list && env && *env; env++) {
		json_t *text = lasting_alone && is_passing(*env) ? NULL : json_string(*env);

		if (text && json_array_append_new(list, text) < 0) {
			backend_json_free(list);
			return NULL;
		}
	}
	return list;
}

static int put(json_t *object, const char *name, const char *value)
{
	return value && json_object_set_new(object, name, json_string(value)) < 0 ? -ENOMEM : 0;
}

/* The backend's members that are found already, beside those for credentials alone. */
static json_t *backend_of(const struct job *job, const struct config *config, bool is_daemon)
{
	const struct backend *backend = job->backend;
	const char *own = is_daemon ? NULL : backend->credentials_json;
	CLEANUP(backend_json_freep) json_t *object = own ? json_loads(own, 0, NULL) : json_object();
	int r;

	if (!object)
		return NULL;
	r = put(object, "region", backend->region);
	if (r == 0)
		r = put(object, "custom_ca_bundle",
			is_daemon ? config->ca_bundle : backend->ca_bundle);
	if (r == 0 && is_daemon)
		r = put(object, "profile", config->profile);
	if (r < 0 || json_object_set_new(object, "insecure", json_boolean(backend->insecure)) < 0 ||
	    json_object_set_new(object, "use_fips", json_boolean(backend->use_fips)) < 0 ||
	    json_object_set_new(object, "use_dualstack", json_boolean(backend->use_dualstack)) < 0)
		return NULL;
	return TAKE_PTR(object);
}

static json_t *proxy_of(const struct backend *backend, char *const *env)
{
	struct proxy_settings settings = { 0 };

	proxy_settings_find(&settings, backend, env);
	return json_pack("{s:s?, s:s?, s:s?}", "http", settings.http, "https", settings.https,
			 "no_proxy", settings.no_proxy);
}

static int hash_of(char ret[static SIGV4_HASH_LEN], const json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	int r;

	if (!text)
		return -ENOMEM;
	r = sigv4_hash(ret, text, strlen(text));
	explicit_bzero(text, strlen(text));
	free(text);
	return r;
}

int identity_question_make(struct identity_question *ret, const struct job *job,
			   char *const *daemon_env, const struct config *config)
{
	const bool is_daemon = config->credentials == CONFIG_CREDENTIALS_DAEMON;
	char *const *env = is_daemon ? daemon_env : job->env;
	const struct backend *backend = is_daemon ? NULL : job->backend;
	const char *directory = is_daemon ? "/" : job->state_directory;
	CLEANUP(backend_json_freep)
	json_t *object = json_pack("{s:o, s:s, s:o, s:o, s:s?, s:I}", "environment",
				   environment_of(env, true), "directory", directory, "backend",
				   backend_of(job, config, is_daemon), "proxy",
				   proxy_of(backend, env), "endpoint_sts", config->endpoint_sts,
				   "uid", (json_int_t)(is_daemon ? 0 : job->owner.uid));
	struct identity_question question = { 0 };
	char session[32];
	int r;

	if (!object)
		return -ENOMEM;
	r = hash_of(question.key, object);
	if (r < 0)
		return r;
	(void)snprintf(session, sizeof(session), "tfqd-%" PRIu64, job->id);
	backend_json_wipe(json_object_get(object, "environment"));
	if (json_object_set_new(object, "environment", environment_of(env, false)) < 0 ||
	    put(object, "session_name", session) < 0)
		return -ENOMEM;
	question.text = json_dumps(object, JSON_COMPACT);
	if (!question.text)
		return -ENOMEM;
	question.len = strlen(question.text);
	*ret = question;
	return 0;
}

void identity_question_clear(struct identity_question *question)
{
	if (question->text)
		explicit_bzero(question->text, question->len);
	free(question->text);
	*question = (struct identity_question){ 0 };
}
