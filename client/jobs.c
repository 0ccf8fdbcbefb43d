/* SPDX-License-Identifier: MIT */
#include "client/jobs.h"

#include "client/rpc.h"
#include "common/wire.h"

int jobs_fetch(json_t *jobs, bool over)
{
	json_int_t after = 0;
	bool has_more = true;

	while (has_more) {
		json_t *answer = NULL, *page;
		const int r =
			rpc_call(WIRE_LIST, json_pack("{s:b, s:I}", "all", over, "after", after),
				 &answer);
		size_t count;

		if (r != 0)
			return r;
		page = json_object_get(answer, "jobs");
		count = json_array_size(page);
		has_more = json_is_true(json_object_get(answer, "more")) && count > 0;
		if (has_more)
			after = json_integer_value(
				json_object_get(json_array_get(page, count - 1), "id"));
		(void)json_array_extend(jobs, page);
		json_decref(answer);
	}
	return 0;
}
