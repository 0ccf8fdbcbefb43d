/* SPDX-License-Identifier: MIT */
#include "daemon/lock/lock_dynamodb.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/sigv4.h"
#include "common/text.h"
#include "daemon/aws/aws_client.h"

#define NUMBER_MAX 21 /* bytes of a uint64_t, with the NUL */

struct lock_dynamodb {
	struct lock_store store; /* first */
	struct aws_client *client;
	struct endpoint *at;
	struct aws_transfer *transfer;
	char *table, *lock_id, *region;
	/* the item without a nonce of ours that was read last, and its version */
	json_t *raw;
	char raw_etag[LEASE_ETAG_MAX];

	enum lease_op op;            /* under way */
	char nonce[LEASE_NONCE_LEN]; /* CREATE, SWAP: that it writes */
	lock_store_done_fn done;
	void *userdata;
};

static inline void json_freep(json_t **p)
{
	json_decref(*p);
}

/* --- what is sent --------------------------------------------------------------------------- */

static json_t *string_value(const char *text)
{
	return json_pack("{s:s}", "S", text);
}

static json_t *number_value(uint64_t number)
{
	char text[NUMBER_MAX];

	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	return json_pack("{s:s}", "N", text);
}

/* The whole item. Return: NULL if out of memory. */
static json_t *make_item(const struct lock_dynamodb *dynamodb, const struct lockinfo *info)
{
	AUTO_FREE char *plain = NULL;

	if (lockinfo_format_plain(&plain, info) < 0)
		return NULL;
	/* None may be called as a table's TTL might be: it would delete a live lock. */
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "LockID",
			 string_value(dynamodb->lock_id), "Info", string_value(plain), "LeaseV",
			 number_value(LOCKINFO_VERSION), "LeaseRvn", string_value(info->nonce),
			 "LeaseOwner", string_value(info->host), "LeaseJob",
			 number_value(info->job), "LeaseSeq", number_value(info->seq), "LeaseMs",
			 number_value(info->lease_sec * 1000), "LeaseEpoch",
			 number_value(info->epoch));
}

/*
 * That the item is as it was seen: Info is what every holder writes anew. (A condition on all
 * attributes would say no more.)
 */
static int add_raw_condition(json_t *body, const json_t *raw)
{
	json_t *info = json_object_get(raw, "Info"), *nonce = json_object_get(raw, "LeaseRvn");
	CLEANUP(json_freep) json_t *known = json_object();
	AUTO_FREE char *condition = NULL;
	int r = 0;

	if (asprintf(&condition, "%s AND %s", info ? "#i = :info" : "attribute_not_exists(#i)",
		     nonce ? "#r = :old" : "attribute_not_exists(#r)") < 0) {
		condition = NULL;
		return -1;
	}
	if (info)
		r |= json_object_set(known, ":info", info);
	if (nonce)
		r |= json_object_set(known, ":old", nonce);
	if (info || nonce) /* an empty list is an error */
		r |= json_object_set(body, "ExpressionAttributeValues", known);
	r |= json_object_set_new(body, "ExpressionAttributeNames",
				 json_pack("{s:s, s:s}", "#i", "Info", "#r", "LeaseRvn"));
	return r | json_object_set_new(body, "ConditionExpression", json_string(condition));
}

static int add_condition(json_t *body, const struct lock_dynamodb *dynamodb,
			 const struct lease_request *request)
{
	if (request->op == LEASE_CREATE)
		return json_object_set_new(body, "ConditionExpression",
					   json_string("attribute_not_exists(LockID)"));
	if (request->op == LEASE_REMOVE && dynamodb->raw &&
	    strcmp(request->etag, dynamodb->raw_etag) == 0)
		return add_raw_condition(body, dynamodb->raw);
	/* For a raw version that another store has read this never holds: look again. */
	if (json_object_set_new(body, "ConditionExpression", json_string("#r = :old")) < 0 ||
	    json_object_set_new(body, "ExpressionAttributeNames",
				json_pack("{s:s}", "#r", "LeaseRvn")) < 0)
		return -1;
	return json_object_set_new(body, "ExpressionAttributeValues",
				   json_pack("{s:o}", ":old", string_value(request->etag)));
}

/* Return: 0 and *@ret, the caller's to free, or -ENOMEM. */
static int make_body(char **ret, const struct lock_dynamodb *dynamodb,
		     const struct lease_request *request, const struct lockinfo *info)
{
	CLEANUP(json_freep) json_t *body = json_pack("{s:s}", "TableName", dynamodb->table);
	int r = 0;

	if (info)
		r = json_object_set_new(body, "Item", make_item(dynamodb, info));
	else {
		r = json_object_set_new(body, "Key",
					json_pack("{s:o}", "LockID",
						  string_value(dynamodb->lock_id)));
	}
	if (r == 0 && request->op == LEASE_READ)
		r = json_object_set_new(body, "ConsistentRead", json_true());
	else if (r == 0)
		r = add_condition(body, dynamodb, request);
	*ret = r == 0 ? json_dumps(body, JSON_COMPACT) : NULL;
	return *ret ? 0 : -ENOMEM;
}

static const char *op_name(enum lease_op op)
{
	switch (op) {
	case LEASE_READ: return "GetItem";
	case LEASE_CREATE:
	case LEASE_SWAP: return "PutItem";
	case LEASE_REMOVE: return "DeleteItem";
	case LEASE_NONE: break;
	}
	return "";
}

static void on_answer(const struct aws_answer *got, void *userdata);

static int dynamodb_send(struct lock_store *store, const struct lease_request *request,
			 const struct lockinfo *info, lock_store_done_fn done, void *userdata)
{
	struct lock_dynamodb *dynamodb = (struct lock_dynamodb *)store;
	AUTO_FREE char *body = NULL;
	char target[64];
	const struct sigv4_header headers[] = {
		{ "content-type", "application/x-amz-json-1.0" },
		{ "x-amz-target", target },
	};
	int r;

	if (request->op == LEASE_NONE)
		return -EINVAL;
	dynamodb->op = request->op;
	dynamodb->done = done;
	dynamodb->userdata = userdata;
	(void)snprintf(dynamodb->nonce, sizeof(dynamodb->nonce), "%s", info ? info->nonce : "");
	r = make_body(&body, dynamodb, request, info);
	if (r < 0)
		return r;
	(void)snprintf(target, sizeof(target), "DynamoDB_20120810.%s", op_name(request->op));
	return aws_send(&dynamodb->transfer, dynamodb->client,
			&(struct aws_request){
				.method = "POST",
				.at = dynamodb->at,
				.headers = headers,
				.header_count = 2,
				.body = body,
			},
			on_answer, dynamodb);
}

/* --- what went wrong ------------------------------------------------------------------------ */

static const char *op_words(enum lease_op op)
{
	switch (op) {
	case LEASE_READ: return "read the lock";
	case LEASE_CREATE: return "take the lock";
	case LEASE_SWAP: return "renew the lock";
	case LEASE_REMOVE: return "release the lock";
	case LEASE_NONE: break;
	}
	return "";
}

/* What to do about @code. @buf: @size bytes. */
static void advise(char *buf, size_t size, const struct lock_dynamodb *dynamodb, const char *code)
{
	buf[0] = '\0';
	if (strcmp(code, "ResourceNotFoundException") == 0) {
		(void)snprintf(
			buf, size,
			"; there is no table \"%.100s\" in region %s for these credentials: "
			"correct dynamodb_table or region in the backend block, or create it "
			"with the partition key LockID of type S",
			dynamodb->table, dynamodb->region);
	} else if (strcmp(code, "ValidationException") == 0) {
		(void)snprintf(buf, size,
			       "; the table needs the partition key LockID of type S, and no sort "
			       "key");
	} else if (strncmp(code, "AccessDenied", 12) == 0) {
		(void)snprintf(buf, size,
			       "; these credentials need dynamodb:GetItem, PutItem and DeleteItem "
			       "on the table");
	}
}

/* Say what went wrong so that whoever reads it knows where to look. @buf: LOCK_ERROR_MAX. */
static void explain(char *buf, const struct lock_dynamodb *dynamodb, const struct aws_answer *got)
{
	char advice[384];

	advise(advice, sizeof(advice), dynamodb, got->error.code);
	if (snprintf(buf, LOCK_ERROR_MAX,
		     "cannot %s in DynamoDB table \"%.100s\" (%.120s): %.280s%s",
		     op_words(dynamodb->op), dynamodb->table, dynamodb->at->origin,
		     got->why[0] ? got->why
				 : "it does not answer as DynamoDB does (is there a proxy or a "
				   "portal in between?)",
		     advice) >= LOCK_ERROR_MAX)
		memcpy(buf + LOCK_ERROR_MAX - 4, "...", 4);
}

/* --- what came back ------------------------------------------------------------------------- */

static enum lease_result meaning_of_error(const struct aws_error *error)
{
	static const char *const conflicts[] = {
		"TransactionConflictException",
		"TransactionInProgressException",
		"ReplicatedWriteConflictException",
	};

	if (strcmp(error->code, "ConditionalCheckFailedException") == 0)
		return LEASE_R_REFUSED;
	for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++)
		if (strcmp(error->code, conflicts[i]) == 0)
			return LEASE_R_CONFLICT;
	return LEASE_R_DENIED;
}

/* Is it what DynamoDB answers when it was done, and not somebody else's 200? */
static bool is_genuine(enum lease_op op, const json_t *answer)
{
	static const char *const members[] = { "Item", "Attributes", "ConsumedCapacity",
					       "ItemCollectionMetrics" };
	size_t known = 0;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		known += json_object_get(answer, members[i]) != NULL;
	return json_is_object(answer) && json_object_size(answer) == known &&
	       (op == LEASE_READ || !json_object_get(answer, "Item"));
}

static const char *attribute(const json_t *item, const char *name, const char *type)
{
	return json_string_value(json_object_get(json_object_get(item, name), type));
}

/* A version of an item without a nonce: its hash. The item is kept, to be named in a condition. */
static void take_raw(struct lock_dynamodb *dynamodb, struct lease_answer *answer, json_t *item)
{
	AUTO_FREE char *text = json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS);
	char hash[SIGV4_HASH_LEN] = "";

	if (text)
		(void)sigv4_hash(hash, text, strlen(text));
	(void)snprintf(answer->etag, sizeof(answer->etag), "raw-%s", hash);
	json_decref(dynamodb->raw);
	dynamodb->raw = json_incref(item);
	memcpy(dynamodb->raw_etag, answer->etag, sizeof(answer->etag));
}

/*
 * It still keeps everybody off: it is somebody's, with an ID that names nothing. terraform cannot
 * remove it, as it looks into Info first.
 */
static void take_unreadable(struct lockinfo_seen *seen, char *text,
			    const struct lock_dynamodb *dynamodb, bool has_info, int error)
{
	*seen = (struct lockinfo_seen){ 0 };
	memcpy(seen->id, LOCKINFO_ID_NONE, sizeof(LOCKINFO_ID_NONE));
	if (snprintf(
		    text, LOCK_ERROR_MAX,
		    "the lock in DynamoDB table \"%.100s\" %s%s, so neither tfqd nor terraform "
		    "force-unlock can tell whose it is; once you know that nobody needs it, remove "
		    "it: aws dynamodb delete-item --region %s --table-name '%.100s' --key "
		    "'{\"LockID\":{\"S\":\"%s\"}}'",
		    dynamodb->table, has_info ? "has an Info that " : "has no Info",
		    has_info ? lockinfo_strerror(error) : "", dynamodb->region, dynamodb->table,
		    dynamodb->lock_id) >= LOCK_ERROR_MAX)
		memcpy(text + LOCK_ERROR_MAX - 4, "...", 4);
}

static void take_item(struct lease_answer *answer, struct lockinfo_seen *seen, char *text,
		      struct lock_dynamodb *dynamodb, json_t *item)
{
	const char *info = attribute(item, "Info", "S");
	const struct lockinfo_lease lease = {
		.version = attribute(item, "LeaseV", "N"),
		.nonce = attribute(item, "LeaseRvn", "S"),
		.owner = attribute(item, "LeaseOwner", "S"),
		.job = attribute(item, "LeaseJob", "N"),
		.lease_ms = attribute(item, "LeaseMs", "N"),
		.epoch = attribute(item, "LeaseEpoch", "N"),
	};
	const int r = info ? lockinfo_parse(seen, info, strlen(info)) : -ENOMSG;

	if (r < 0)
		take_unreadable(seen, text, dynamodb, info != NULL, r);
	lockinfo_take_lease(seen, &lease);
	memcpy(answer->nonce, seen->nonce, sizeof(answer->nonce));
	(void)snprintf(answer->id, sizeof(answer->id), "%.*s", LEASE_ID_MAX - 1, seen->id);
	answer->lease_usec = lockinfo_lease_usec(seen);
	if (seen->is_tfqd)
		memcpy(answer->etag, seen->nonce, sizeof(seen->nonce));
	else
		take_raw(dynamodb, answer, item);
}

/* An item that is too long to be read to its end: it is there, and it is not ours. */
static void take_huge(struct lease_answer *answer, struct lockinfo_seen *seen, char *text,
		      const struct lock_dynamodb *dynamodb)
{
	answer->result = LEASE_R_DONE;
	take_unreadable(seen, text, dynamodb, true, -EFBIG);
	memcpy(answer->id, LOCKINFO_ID_NONE, sizeof(LOCKINFO_ID_NONE));
	memcpy(answer->etag, "raw-long", sizeof("raw-long"));
}

/* A 2xx: done, if it is DynamoDB that says so. */
static void take_done(struct lease_answer *answer, struct lockinfo_seen *seen, char *text,
		      struct lock_dynamodb *dynamodb, const struct aws_answer *got)
{
	CLEANUP(json_freep)
	json_t *root = json_loadb(got->http->body, got->http->body_len, 0, NULL);
	json_t *item = json_object_get(root, "Item");
	const char *lock_id = attribute(item, "LockID", "S");

	if (got->http->status != 200 || !is_genuine(dynamodb->op, root) ||
	    (item && (!lock_id || strcmp(lock_id, dynamodb->lock_id) != 0))) {
		explain(text, dynamodb, got);
		return;
	}
	answer->result = LEASE_R_DONE;
	if (dynamodb->op == LEASE_CREATE || dynamodb->op == LEASE_SWAP)
		memcpy(answer->etag, dynamodb->nonce, sizeof(dynamodb->nonce));
	if (dynamodb->op != LEASE_READ)
		return;
	if (item)
		take_item(answer, seen, text, dynamodb, item);
	else
		answer->result = LEASE_R_ABSENT;
}

static void on_answer(const struct aws_answer *got, void *userdata)
{
	struct lock_dynamodb *dynamodb = userdata;
	struct lease_answer answer = { .result = LEASE_R_UNKNOWN, .is_repeated = got->is_repeated };
	struct lockinfo_seen seen = { 0 };
	char text[LOCK_ERROR_MAX] = "";

	dynamodb->transfer = NULL;
	if (dynamodb->op == LEASE_READ && got->http->is_cut && got->http->status == 200) {
		take_huge(&answer, &seen, text, dynamodb);
		dynamodb->done(&answer, &seen, text, dynamodb->userdata);
		return;
	}
	switch (got->result) {
	case AWS_DONE: take_done(&answer, &seen, text, dynamodb, got); break;
	case AWS_REFUSED: answer.result = meaning_of_error(&got->error); break;
	case AWS_UNSENT: answer.result = LEASE_R_UNSENT; break;
	case AWS_THROTTLED: answer.result = LEASE_R_THROTTLED; break;
	case AWS_UNKNOWN: break;
	}
	if (got->result != AWS_DONE && answer.result != LEASE_R_REFUSED)
		explain(text, dynamodb, got);
	dynamodb->done(&answer, seen.id[0] ? &seen : NULL, text[0] ? text : NULL,
		       dynamodb->userdata);
}

/* --- making one ------------------------------------------------------------------------------ */

static void dynamodb_cancel(struct lock_store *store)
{
	struct lock_dynamodb *dynamodb = (struct lock_dynamodb *)store;

	dynamodb->transfer = aws_cancel(dynamodb->transfer);
}

static struct lock_store *dynamodb_free(struct lock_store *store)
{
	struct lock_dynamodb *dynamodb = (struct lock_dynamodb *)store;

	dynamodb_cancel(store);
	aws_client_free(dynamodb->client);
	endpoint_free(dynamodb->at);
	json_decref(dynamodb->raw);
	free(dynamodb->table);
	free(dynamodb->lock_id);
	free(dynamodb->region);
	free(dynamodb);
	return NULL;
}

static const struct lock_store_ops dynamodb_ops = {
	.send = dynamodb_send,
	.cancel = dynamodb_cancel,
	.free = dynamodb_free,
};

static int connect_to(struct lock_dynamodb *dynamodb, struct http *http,
		      const struct backend *backend, const struct lock_store_config *config,
		      char **ret_error)
{
	struct aws_client_setup setup = lock_store_client(http, backend, config);
	const struct endpoint_service where = {
		.name = "dynamodb",
		.url = backend->endpoint_dynamodb ? backend->endpoint_dynamodb
						  : config->endpoint_dynamodb,
		.region = setup.region,
		.use_fips = backend->use_fips,
		.use_dualstack = backend->use_dualstack,
	};
	int r;

	r = endpoint_resolve_service(&dynamodb->at, &where, ret_error);
	if (r < 0)
		return r;
	r = text_replace(&dynamodb->region, setup.region);
	if (r < 0)
		return r;
	setup.service = "dynamodb";
	return aws_client_new(&dynamodb->client, &setup, dynamodb->at->origin, ret_error);
}

int lock_dynamodb_new(struct lock_store **ret, struct http *http, const struct backend *backend,
		      const struct lock_store_config *config, char **ret_error)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;
	struct lock_dynamodb *dynamodb;
	int r;

	dynamodb = calloc(1, sizeof(*dynamodb));
	if (!dynamodb)
		return -ENOMEM;
	dynamodb->store.ops = &dynamodb_ops;
	store = &dynamodb->store;
	r = text_replace(&dynamodb->table, backend->dynamodb_table);
	if (r < 0)
		return r;
	if (asprintf(&dynamodb->lock_id, "%s/%s", backend->bucket, backend->key) < 0) {
		dynamodb->lock_id = NULL;
		return -ENOMEM;
	}
	r = connect_to(dynamodb, http, backend, config, ret_error);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(store);
	return 0;
}
