/* SPDX-License-Identifier: MIT */
#include "common/plan/plan_decode.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/backend.h"
#include "common/backend_parts.h"
#include "common/plan/msgpack.h"
#include "common/plan/protobuf.h"

#define FORMAT_VERSION 3 /* of Plan */

static const char damaged[] = "is damaged";
static const char unknown[] = "names its backend in a way that tfq does not know";

/* What we want of message Plan; lent, .at is NULL for what was not there. */
struct plan {
	uint64_t version;
	struct protobuf terraform_version, type, config;
};

/* --- Protocol Buffers ------------------------------------------------------------------------- */

/* One that comes twice would have to be merged; terraform never writes that. */
static int take_bytes(const struct protobuf_field *field, struct protobuf *ret)
{
	if (field->wire != PROTOBUF_BYTES || ret->at)
		return -EOPNOTSUPP;
	*ret = field->bytes;
	return 0;
}

/* The one field number @number of @message, if it is there. */
static int find_bytes(struct protobuf message, uint64_t number, struct protobuf *ret)
{
	struct protobuf_field field;
	int r;

	while ((r = protobuf_next(&message, &field)) > 0) {
		if (field.number != number)
			continue;
		r = take_bytes(&field, ret);
		if (r < 0)
			return r;
	}
	return r;
}

static int read_plan(struct protobuf message, struct plan *ret)
{
	struct protobuf backend = { 0 }, value = { 0 };
	struct protobuf_field field;
	int r;

	while ((r = protobuf_next(&message, &field)) > 0) {
		if (field.number == 1)
			ret->version = field.value;
		else if (field.number == 13)
			r = take_bytes(&field, &backend);
		else if (field.number == 14)
			r = take_bytes(&field, &ret->terraform_version);
		if (r < 0)
			return r;
	}
	if (r >= 0)
		r = find_bytes(backend, 1, &ret->type);
	if (r >= 0)
		r = find_bytes(backend, 2, &value);
	if (r >= 0)
		r = find_bytes(value, 1, &ret->config);
	return r;
}

/* --- its config ------------------------------------------------------------------------------ */

static int read_config(struct protobuf bytes, json_t **ret)
{
	json_t *config = NULL;
	int r;

	if (bytes.len > BACKEND_FILE_MAX) /* and it would be longer as JSON */
		return -EOPNOTSUPP;
	r = msgpack_to_json(&config, bytes.at, bytes.len, PLAN_DEPTH_MAX);
	if (r < 0)
		return r;
	if (!json_is_object(config)) {
		backend_json_free(config);
		return -EOPNOTSUPP;
	}
	*ret = config;
	return 0;
}

/* --- JSON ------------------------------------------------------------------------------------ */

/* Into one piece of memory: json_dumps() would leave copies of secrets behind. */
static int print(char **ret, const json_t *value)
{
	const size_t len = json_dumpb(value, NULL, 0, JSON_COMPACT);
	char *text;

	if (len == 0)
		return -ENOMEM;
	if (len > BACKEND_FILE_MAX)
		return -EOPNOTSUPP;
	text = calloc(len + 1, 1);
	if (!text)
		return -ENOMEM;
	if (json_dumpb(value, text, len, JSON_COMPACT) != len) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}

static int print_backend(char **ret, const struct plan *plan, json_t *config)
{
	CLEANUP(backend_json_freep)
	json_t *value =
		json_pack("{s:i, s:s%, s:{s:s%, s:O, s:i}}", "version", 3, "terraform_version",
			  plan->terraform_version.at ? (const char *)plan->terraform_version.at
						     : "",
			  plan->terraform_version.len, "backend", "type",
			  (const char *)plan->type.at, plan->type.len, "config", config, "hash", 0);

	return value ? print(ret, value) : -EOPNOTSUPP; /* a text that is no UTF-8 */
}

int plan_decode(char **ret, const void *data, size_t len, const char **ret_why)
{
	struct plan plan = { 0 };
	CLEANUP(backend_json_freep) json_t *config = NULL;
	int r;

	assert(ret && data && ret_why);

	r = read_plan((struct protobuf){ .at = data, .len = len }, &plan);
	if (r == -EBADMSG) {
		*ret_why = damaged;
		return r;
	}
	if (r >= 0 && plan.version != FORMAT_VERSION) {
		*ret_why = "is in a format that tfq does not know";
		return -EOPNOTSUPP;
	}
	if (r >= 0 && (plan.type.len == 0 || plan.config.len == 0)) {
		*ret_why = "names no backend, and terraform will not apply it";
		return -EBADMSG;
	}
	if (r >= 0)
		r = read_config(plan.config, &config);
	if (r >= 0)
		r = print_backend(ret, &plan, config);
	if (r == -EOPNOTSUPP)
		*ret_why = unknown;
	return r;
}
