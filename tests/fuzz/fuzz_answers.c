/* SPDX-License-Identifier: MIT */
/* What S3 and DynamoDB, or a look-alike, answer when they are asked for a lock. */
#include <errno.h>

#include "daemon/aws/identity.h"
#include "daemon/lock/lock_dynamodb.h"
#include "daemon/lock/lock_s3.h"
#include "tests/fuzz/fuzz.h"

#define SENT_MAX 16 /* requests for one question */

/* --- http.h in the place of the real one --------------------------------------------------- */

struct http_transfer {
	http_done_fn done;
	void *userdata;
};

static struct http_transfer here;
static unsigned sent;

int64_t http_clock(const struct http *http, const char *host)
{
	(void)http;
	(void)host;
	return 0;
}

void http_set_clock(struct http *http, const char *host, int64_t ahead_sec)
{
	(void)http;
	(void)host;
	(void)ahead_sec;
}

int http_start(struct http_transfer **ret, struct http *http, const struct http_request *request,
	       http_done_fn done, void *userdata)
{
	(void)http;
	FUZZ_CHECK(!here.done && request->method && request->url);
	here = (struct http_transfer){ done, userdata };
	*ret = &here;
	sent++;
	return 0;
}

struct http_transfer *http_cancel(struct http_transfer *transfer)
{
	if (transfer)
		transfer->done = NULL;
	return NULL;
}

/* --- what comes of it ---------------------------------------------------------------------- */

static bool is_done;

static void on_done(const struct lease_answer *answer, const struct lockinfo_seen *seen,
		    const char *error, void *userdata)
{
	const enum lease_op *op = userdata;

	FUZZ_CHECK(!is_done);
	is_done = true;
	FUZZ_CHECK(strnlen(answer->etag, sizeof(answer->etag)) < sizeof(answer->etag));
	FUZZ_CHECK(strnlen(answer->nonce, sizeof(answer->nonce)) < sizeof(answer->nonce));
	if (seen) {
		FUZZ_CHECK(*op == LEASE_READ);
		fuzz_check_printable(seen->id);
		fuzz_check_printable(seen->who);
		fuzz_check_printable(seen->info);
	}
	if (error)
		fuzz_check_printable(error);
}

static void on_exists(int is_there, const char *error, void *userdata)
{
	(void)userdata;
	FUZZ_CHECK(!is_done);
	is_done = true;
	FUZZ_CHECK((is_there < 0) == (error != NULL));
	if (error)
		fuzz_check_printable(error);
}

/* --- the store ------------------------------------------------------------------------------ */

static const struct lockinfo info = {
	.id = "11111111-2222-4333-8444-555555555555",
	.operation = "OperationTypeApply",
	.info = "tfqd job 42",
	.who = "alice@bastion",
	.version = "1.11.4",
	.created = "2026-01-02T03:04:05Z",
	.path = "bkt/app/t.tfstate",
	.host = "machine",
	.boot = "boot",
	.job = 42,
	.nonce = "00112233445566778899aabbccddeeff",
	.lease_sec = 900,
};

static struct lock_store *make_store(struct identity *identity, bool is_s3)
{
	static char bucket[] = "bkt", key[] = "app/t.tfstate", region[] = "eu-west-1",
		    table[] = "tflocks";
	const struct backend backend = { .kind = BACKEND_S3,
					 .bucket = bucket,
					 .key = key,
					 .region = region,
					 .dynamodb_table = table };
	const struct lock_store_config config = { .identity = identity,
						  .connect_timeout_usec = 1,
						  .request_timeout_usec = 2 };
	struct lock_store *store = NULL;
	AUTO_FREE char *error = NULL;

	FUZZ_CHECK((is_s3 ? lock_s3_new : lock_dynamodb_new)(&store, NULL, &backend, &config,
							     &error) == 0);
	return store;
}

static void copy(char *to, size_t size, struct fuzz_input *input)
{
	AUTO_FREE char *text = fuzz_part(input, NULL);

	(void)snprintf(to, size, "%s", text);
}

/* One answer: a status, the headers, and a body. */
static void respond(struct fuzz_input *input)
{
	struct http_response response = { 0 };
	const http_done_fn done = here.done;
	const unsigned hundreds = fuzz_byte(input);
	AUTO_FREE char *body = NULL;

	response.status = (int)(hundreds % 6 * 100 + fuzz_byte(input) % 100);
	response.is_answered = response.status >= 100;
	response.is_repeated = hundreds & 0x80;
	copy(response.etag, sizeof(response.etag), input);
	copy(response.date, sizeof(response.date), input);
	copy(response.region, sizeof(response.region), input);
	copy(response.crc32, sizeof(response.crc32), input);
	copy(response.location, sizeof(response.location), input);
	body = fuzz_part(input, &response.body_len);
	response.body = body;
	here.done = NULL;
	done(&response, here.userdata);
}

static int ask(struct lock_store *store, enum lease_op *op)
{
	struct lease_request request = { .op = *op };
	const bool writes = *op == LEASE_CREATE || *op == LEASE_SWAP;

	(void)snprintf(request.etag, sizeof(request.etag), "\"0123456789abcdef\"");
	(void)snprintf(request.nonce, sizeof(request.nonce), "%s", info.nonce);
	if (*op == LEASE_NONE)
		return store->ops->exists ? store->ops->exists(store, on_exists, op) : -EOPNOTSUPP;
	return store->ops->send(store, &request, writes ? &info : NULL, on_done, op);
}

/* One byte: the store, and what it is asked; then answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const unsigned kind = fuzz_byte(&input);
	enum lease_op op = (enum lease_op)(kind / 2 % (LEASE_REMOVE + 1));
	struct identity *identity = NULL;
	struct lock_store *store;

	FUZZ_CHECK(identity_new(&identity, "AKID", "hush", "token", "environment", 0) == 0);
	store = make_store(identity, kind % 2);
	is_done = false;
	sent = 0;
	if (ask(store, &op) == 0) {
		while (here.done && sent < SENT_MAX)
			respond(&input);
		FUZZ_CHECK(is_done || here.done || sent > 0);
	}
	(void)lock_store_free(store);
	FUZZ_CHECK(!here.done);
	(void)identity_unref(identity);
	return 0;
}
