/* SPDX-License-Identifier: MIT */
#include "client/fetch.h"

#include <errno.h>
#include <stdbool.h>

#include "client/rpc.h"

#define ANSWER_TIMEOUT_MS 30000

int fetch_answer(struct varlink *varlink, const char *method, json_t *parameters, json_t **ret)
{
	json_t *call = varlink_call(method, parameters);
	int r = call ? varlink_send(varlink, call, NULL, 0) : -ENOMEM;

	json_decref(call);
	if (r >= 0)
		r = rpc_wait(varlink, ret, ANSWER_TIMEOUT_MS);
	if (r == 0)
		return -ETIMEDOUT;
	return r < 0 ? r : 0;
}

/* Return: 1 if there is another page, 0 if not. */
static bool take_page(const struct fetch *fetch, const json_t *answer, json_t *jobs)
{
	const json_t *parameters = json_object_get(answer, "parameters");
	json_t *page = json_object_get(parameters, "jobs");
	const size_t count = json_array_size(page);

	if (count == 0)
		return false;
	(void)json_object_set(fetch->parameters, fetch->cursor,
			      json_object_get(json_array_get(page, count - 1), "id"));
	(void)json_array_extend(jobs, page);
	return json_is_true(json_object_get(parameters, "more")) &&
	       (fetch->enough == 0 || json_array_size(jobs) < fetch->enough);
}

int fetch_jobs(struct varlink *varlink, const struct fetch *fetch, json_t *jobs, json_t **ret)
{
	bool has_more = true;

	while (has_more) {
		json_t *answer = NULL;
		const int r =
			fetch_answer(varlink, fetch->method, json_copy(fetch->parameters), &answer);

		if (r < 0)
			return r;
		if (json_object_get(answer, "error")) {
			*ret = answer;
			return 1;
		}
		has_more = take_page(fetch, answer, jobs);
		json_decref(answer);
	}
	return 0;
}

struct talk {
	const struct fetch *fetch;
	json_t *jobs, *error;
};

/* Once more on another connection: it goes on behind the last page. */
static int ask_pages(struct varlink *varlink, void *userdata)
{
	struct talk *talk = userdata;

	return fetch_jobs(varlink, talk->fetch, talk->jobs, &talk->error);
}

int fetch_or_tell(const struct fetch *fetch, json_t *jobs)
{
	struct talk talk = { fetch, jobs, NULL };
	int r;

	r = rpc_talk(fetch->method, ask_pages, &talk);
	if (r == 0 && talk.error)
		r = rpc_check(talk.error);
	json_decref(talk.error);
	return r;
}
