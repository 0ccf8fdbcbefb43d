/* SPDX-License-Identifier: MIT */
#include "client/doctor/machine.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/rpc.h"
#include "common/cleanup.h"
#include "common/paths.h"
#include "common/varlink.h"
#include "common/wire.h"

#define ANSWER_TIMEOUT_MS 10000
#define OTHERS_MAX        20 /* directories that are named */

static inline void json_freep(json_t **p)
{
	json_decref(*p);
}

static void look_at_socket(json_t *daemon, const char *path)
{
	const struct group *group;
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	(void)json_object_set_new(daemon, "mode", json_integer(st.st_mode & 07777));
	(void)json_object_set_new(daemon, "system",
				  json_boolean(strcmp(path, PATHS_SYSTEM_SOCKET) == 0));
	group = getgrgid(st.st_gid);
	if (group)
		(void)json_object_set_new(daemon, "group", json_string(group->gr_name));
}

static const char *word_for(int error)
{
	switch (error) {
	case -EACCES:
	case -EPERM: return "denied";
	case -ENOENT:
	case -ECONNREFUSED: return "absent";
	default: return strerror(-error);
	}
}

/* One question. Return: 1 and the answer's parameters, the caller's; 0 on a time-out; or a negative
 * errno. */
static int call(struct varlink *varlink, const char *method, json_t *parameters, json_t **ret)
{
	CLEANUP(json_freep) json_t *message = varlink_call(method, parameters);
	CLEANUP(json_freep) json_t *answer = NULL;
	int r;

	if (!message)
		return -ENOMEM;
	r = varlink_send(varlink, message, NULL, 0);
	if (r >= 0)
		r = rpc_wait(varlink, &answer, ANSWER_TIMEOUT_MS);
	if (r > 0)
		*ret = json_incref(json_object_get(answer, "parameters"));
	return r;
}

/* --- others on this state -------------------------------------------------------------------- */

static bool is_known(const json_t *others, const char *directory)
{
	for (size_t i = 0; i < json_array_size(others); i++) {
		const char *known =
			json_string_value(json_object_get(json_array_get(others, i), "directory"));

		if (known && strcmp(known, directory) == 0)
			return true;
	}
	return false;
}

static void take_job(json_t *others, const json_t *job, const char *state, const char *directory)
{
	const char *its = json_string_value(json_object_get(job, "state")),
		   *where = json_string_value(json_object_get(job, "directory"));
	const json_t *user = json_object_get(job, "user"), *uid = json_object_get(job, "uid");

	if (!its || !where || strcmp(its, state) != 0 || strcmp(where, directory) == 0 ||
	    json_array_size(others) >= OTHERS_MAX || is_known(others, where))
		return;
	(void)json_array_append_new(others,
				    json_pack("{s:s, s:O?, s:b}", "directory", where, "user", user,
					      "same_user",
					      json_integer_value(uid) == (json_int_t)getuid()));
}

/* Page by page. */
static json_t *find_others(struct varlink *varlink, const char *state, const char *directory)
{
	json_t *others = json_array();
	json_int_t after = 0;
	bool has_more = true;

	while (has_more) {
		CLEANUP(json_freep) json_t *answer = NULL;
		const json_t *jobs;
		size_t count;

		if (call(varlink, WIRE_LIST, json_pack("{s:b, s:I}", "all", 1, "after", after),
			 &answer) <= 0)
			break;
		jobs = json_object_get(answer, "jobs");
		count = json_array_size(jobs);
		for (size_t i = 0; i < count; i++)
			take_job(others, json_array_get(jobs, i), state, directory);
		has_more = count > 0 && json_is_true(json_object_get(answer, "more"));
		if (has_more)
			after = json_integer_value(
				json_object_get(json_array_get(jobs, count - 1), "id"));
	}
	return others;
}

/* --- all of it ------------------------------------------------------------------------------- */

void machine_look(json_t *facts, const char *state, const char *directory)
{
	CLEANUP(varlink_freep) struct varlink *varlink = NULL;
	AUTO_FREE char *path = paths_client_socket();
	json_t *daemon = json_object();
	CLEANUP(json_freep) json_t *info = NULL;
	int r;

	if (!path || !daemon || json_object_set_new(facts, "daemon", daemon) < 0)
		return;
	(void)json_object_set_new(daemon, "socket", json_string(path));
	look_at_socket(daemon, path);
	r = varlink_connect(&varlink, path);
	if (r >= 0) {
		r = call(varlink, WIRE_INFO, json_object(), &info);
		if (r == 0)
			r = -ETIMEDOUT;
	}
	if (r < 0) {
		(void)json_object_set_new(daemon, "error", json_string(word_for(r)));
		return;
	}
	(void)json_object_set_new(facts, "others", find_others(varlink, state, directory));
}
