/* SPDX-License-Identifier: MIT */
#include "runner/doctor/checks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/explain.h"
#include "common/parse.h"
#include "runner/doctor/store.h"

#define SECONDS 40 /* for one service */
#define NO_ETAG "\"00000000000000000000000000000000\""
#define BODY \
	"{\"ID\":\"tfq-doctor\",\"Info\":\"tfq doctor tries this store out; it may be deleted\"}"

#define RETURN_IF_FAILED(call)         \
	do {                           \
		const int r_ = (call); \
		if (r_ < 0)            \
			return r_;     \
	} while (0)

/* --- S3 -------------------------------------------------------------------------------------- */

/* One state's objects in a bucket. */
struct place {
	struct store store;
	const struct backend *backend;
	char *state, *lock, *scratch; /* paths, percent-encoded */
};

static void place_clear(struct place *place)
{
	free(place->state);
	free(place->lock);
	free(place->scratch);
}

static int make_path(char **ret, const struct place *place, const char *end)
{
	AUTO_FREE char *key = NULL, *encoded = NULL;
	int r;

	if (asprintf(&key, "%s%s", place->backend->key, end) < 0) {
		key = NULL;
		return -ENOMEM;
	}
	r = sigv4_encode(&encoded, key, true);
	if (r < 0)
		return r;
	if (asprintf(ret, "%s%s", place->store.at->path, encoded) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int make_paths(struct place *place)
{
	uint64_t random;
	char end[40];

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	(void)snprintf(end, sizeof(end), ".tfq-probe-%016llx", (unsigned long long)random);
	RETURN_IF_FAILED(make_path(&place->state, place, ""));
	RETURN_IF_FAILED(make_path(&place->lock, place, ".tflock"));
	return make_path(&place->scratch, place, end);
}

static const char *code_of(const struct place *place, const char *name)
{
	const json_t *entry = json_object_get(json_object_get(place->store.facts, "asked"), name);
	const char *code = json_string_value(json_object_get(entry, "code"));

	return code ? code : "";
}

/*
 * By the key as prefix: a policy may allow no other list. Return: 1 if there is more to ask: the
 * bucket is there, and the store knows us; or 0.
 */
static int ask_list(struct place *place)
{
	struct store_request request = { .name = "list", .method = "GET" };
	AUTO_FREE char *prefix = NULL, *query = NULL;
	int r;

	r = sigv4_encode(&prefix, place->backend->key, false);
	if (r < 0)
		return r;
	if (asprintf(&query, "list-type=2&max-keys=1&prefix=%s", prefix) < 0) {
		query = NULL;
		return -ENOMEM;
	}
	request.query = query;
	r = store_ask(&place->store, &request);
	if (r > 0 && strcmp(code_of(place, "list"), "RequestTimeTooSkewed") == 0)
		r = store_ask(&place->store, &request); /* with the time that it has told us now */
	if (r < 0)
		return r;
	return r == 200 || r == 501 || strcmp(code_of(place, "list"), "AccessDenied") == 0;
}

static int ask_settings(struct place *place)
{
	static const struct {
		const char *name, *query;
	} settings[] = {
		{ "versioning", "versioning=" },
		{ "encryption", "encryption=" },
		{ "public", "publicAccessBlock=" },
		{ "logging", "logging=" },
	};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		RETURN_IF_FAILED(store_ask(&place->store,
					   &(struct store_request){ .name = settings[i].name,
								    .method = "GET",
								    .query = settings[i].query,
								    .keeps_body = true }));
	}
	return 0;
}

static int put(struct place *place, const char *name, const char *path,
	       struct sigv4_header condition)
{
	const struct backend *backend = place->backend;
	struct store_request request = {
		.name = name,
		.method = "PUT",
		.path = path,
		.body = BODY,
		.headers = { condition, { "content-type", "application/json" } },
	};

	/* As terraform writes it: a policy may demand this. */
	if (backend->kms_key_id) {
		request.headers[2] =
			(struct sigv4_header){ "x-amz-server-side-encryption", "aws:kms" };
		request.headers[3] =
			(struct sigv4_header){ "x-amz-server-side-encryption-aws-kms-key-id",
					       backend->kms_key_id };
	} else if (backend->encrypt) {
		request.headers[2] =
			(struct sigv4_header){ "x-amz-server-side-encryption", "AES256" };
	}
	return store_ask(&place->store, &request);
}

static int remove_object(struct place *place, const char *name, const char *path)
{
	return store_ask(&place->store,
			 &(struct store_request){ .name = name, .method = "DELETE", .path = path });
}

/*
 * May we write the lock? Asked with a condition that cannot hold, where the store is known to
 * honour conditions, and only while nobody holds the lock: if it should be written in spite of it
 * all, it was not there before, and is taken away again.
 */
static int ask_write(struct place *place)
{
	int r;

	if (store_status(&place->store, "lock") != 404)
		return 0;
	r = put(place, "write", place->lock, (struct sigv4_header){ "if-match", NO_ETAG });
	return r == 200 ? remove_object(place, "remove", place->lock) : r;
}

/* Return: 1 if the store honours conditions; 0 if not, or if nobody can tell. */
static int ask_probe(struct place *place)
{
	const struct sigv4_header absent = { "if-none-match", "*" };
	int r, good;

	r = put(place, "create", place->scratch, absent);
	if (r != 200)
		return r < 0 ? r : 0;
	good = put(place, "create_again", place->scratch, absent) == 412 &&
	       put(place, "swap_wrong", place->scratch,
		   (struct sigv4_header){ "if-match", NO_ETAG }) == 412;
	r = remove_object(place, "remove", place->scratch);
	return r < 0 ? r : good;
}

/* Objects encrypted with the customer's own key answer nobody without it. */
static int ask_objects(struct place *place)
{
	if (place->backend->sse_customer_key)
		return 0;
	RETURN_IF_FAILED(store_ask(&place->store, &(struct store_request){ .name = "state",
									   .method = "HEAD",
									   .path = place->state }));
	RETURN_IF_FAILED(store_ask(&place->store, &(struct store_request){ .name = "lock",
									   .method = "HEAD",
									   .path = place->lock }));
	return 0;
}

static int ask_bucket(struct place *place, bool is_aws, bool may_probe)
{
	int r, honours = is_aws;

	r = ask_list(place);
	if (r <= 0)
		return r;
	RETURN_IF_FAILED(ask_settings(place));
	RETURN_IF_FAILED(ask_objects(place));
	if (may_probe) {
		honours = ask_probe(place);
		if (honours < 0)
			return honours;
	}
	return honours && place->backend->use_lockfile ? ask_write(place) : 0;
}

static int check_s3(struct store *store, const struct question *question, char **ret_error)
{
	const struct backend *backend = question->backend;
	const struct endpoint_s3 where = {
		.url = backend->endpoint_s3,
		.region = backend->region,
		.bucket = backend->bucket,
		.path_style = backend->path_style,
		.use_fips = backend->use_fips,
		.use_dualstack = backend->use_dualstack,
	};
	CLEANUP(endpoint_freep) struct endpoint *at = NULL;
	CLEANUP(place_clear) struct place place = { .store = *store, .backend = backend };
	bool is_aws;

	RETURN_IF_FAILED(endpoint_resolve_s3(&at, &where, "", ret_error));
	place.store.at = at;
	place.store.service = "s3";
	is_aws = endpoint_is_aws(at->host);
	if (json_object_set_new(store->facts, "aws", json_boolean(is_aws)) < 0)
		return -ENOMEM;
	RETURN_IF_FAILED(make_paths(&place));
	return ask_bucket(&place, is_aws, question->may_probe);
}

/* --- DynamoDB -------------------------------------------------------------------------------- */

static int ask_item(struct store *store, const char *name, const char *target, json_t *body)
{
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (!text)
		return -ENOMEM;
	return store_ask(store,
			 &(struct store_request){
				 .name = name,
				 .method = "POST",
				 .body = text,
				 .headers = { { "content-type", "application/x-amz-json-1.0" },
					      { "x-amz-target", target } },
				 .keeps_body = strcmp(name, "table") == 0,
			 });
}

/* Items of a name that nobody uses, on a condition that nothing fulfils. */
static int ask_items(struct store *store, const struct backend *backend)
{
	static const char never[] = "attribute_exists(LockID) AND attribute_not_exists(LockID)";
	AUTO_FREE char *id = NULL;

	if (asprintf(&id, "%s/%s.tfq-doctor", backend->bucket, backend->key) < 0) {
		id = NULL;
		return -ENOMEM;
	}
	RETURN_IF_FAILED(ask_item(store, "get", "DynamoDB_20120810.GetItem",
				  json_pack("{s:s, s:{s:{s:s}}}", "TableName",
					    backend->dynamodb_table, "Key", "LockID", "S", id)));
	RETURN_IF_FAILED(
		ask_item(store, "put", "DynamoDB_20120810.PutItem",
			 json_pack("{s:s, s:{s:{s:s}}, s:s}", "TableName", backend->dynamodb_table,
				   "Item", "LockID", "S", id, "ConditionExpression", never)));
	RETURN_IF_FAILED(
		ask_item(store, "delete", "DynamoDB_20120810.DeleteItem",
			 json_pack("{s:s, s:{s:{s:s}}, s:s}", "TableName", backend->dynamodb_table,
				   "Key", "LockID", "S", id, "ConditionExpression", never)));
	return 0;
}

static int check_dynamodb(struct store *store, const struct backend *backend, char **ret_error)
{
	const struct endpoint_service where = {
		.name = "dynamodb",
		.url = backend->endpoint_dynamodb,
		.region = backend->region,
		.use_fips = backend->use_fips,
		.use_dualstack = backend->use_dualstack,
	};
	CLEANUP(endpoint_freep) struct endpoint *at = NULL;
	int r;

	RETURN_IF_FAILED(endpoint_resolve_service(&at, &where, ret_error));
	store->at = at;
	store->service = "dynamodb";
	store->ask->deadline_usec = ask_clock() + SECONDS * USEC_PER_SEC;
	r = ask_item(store, "table", "DynamoDB_20120810.DescribeTable",
		     json_pack("{s:s}", "TableName", backend->dynamodb_table));
	if (r > 0 && (r == 200 || store_status(store, "table") == 400))
		r = ask_items(store, backend);
	store->at = NULL;
	return r < 0 ? r : 0;
}

int checks_run(json_t *facts, const struct question *question, const struct keys *keys,
	       char **ret_error)
{
	struct store store = {
		.ask = question->ask,
		.keys = keys,
		.region = question->backend->region,
		.facts = facts,
	};
	int r;

	store.ask->deadline_usec = ask_clock() + SECONDS * USEC_PER_SEC;
	r = check_s3(&store, question, ret_error);
	if (r == 0 && question->backend->dynamodb_table)
		r = check_dynamodb(&store, question->backend, ret_error);
	/* Of a proxy, say: fetch() left its sentence there. */
	if (r < 0 && !*ret_error && store.ask->error)
		return explain(ret_error, r, "%s", store.ask->error);
	return r;
}
