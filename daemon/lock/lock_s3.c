/* SPDX-License-Identifier: MIT */
/*
 * What an HTTP status means for a lock is decided by the request: a 404 says "absent"
 * to a read, "gone" to an If-Match, and "no such bucket" to a create. Any 5xx may
 * come after the write was done (terraform leaves orphans behind here), so it is an
 * unknown outcome and never a failure.
 */
#include "daemon/lock/lock_s3.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/text.h"
#include "common/aws/aws_error.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"

#define HEADERS_MAX 20
#define B64_LEN(n)  (((n) + 2) / 3 * 4 + 1)

struct lock_s3 {
	struct lock_store store; /* first */
	struct http *http;
	struct http_transfer *transfer;
	struct endpoint *lock_at, *state_at;
	char *region, *ca_pem, *ca_bundle;
	char *access_key, *secret_key, *token;
	char *acl, *kms_key_id, *sse_customer_key;
	char sse_customer_md5[B64_LEN(16)];
	bool encrypt, insecure, skip_checksum;
	uint64_t connect_timeout_usec, request_timeout_usec;
	time_t skew_sec; /* the server's clock less ours; for signing alone */

	enum lease_op op; /* under way */
	lock_store_done_fn done;
	lock_store_exists_fn exists_done;
	void *userdata;
};

/* The headers of one request: some signed, all sent. */
struct headers {
	struct sigv4_header list[HEADERS_MAX];
	size_t count;
};

static void add(struct headers *headers, const char *name, const char *value)
{
	if (value)
		headers->list[headers->count++] = (struct sigv4_header){ name, value };
}

static void wipe(char **text)
{
	if (*text)
		OPENSSL_cleanse(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

/* --- sending -------------------------------------------------------------------------------- */

static void add_sse_c(struct headers *headers, const struct lock_s3 *s3)
{
	if (!s3->sse_customer_key)
		return;
	add(headers, "x-amz-server-side-encryption-customer-algorithm", "AES256");
	add(headers, "x-amz-server-side-encryption-customer-key", s3->sse_customer_key);
	add(headers, "x-amz-server-side-encryption-customer-key-md5", s3->sse_customer_md5);
}

/* As terraform puts the state object itself (terraform-locking.md 1.2, 1.7). */
static void add_put(struct headers *headers, const struct lock_s3 *s3, const char *checksum)
{
	add(headers, "content-type", "application/json");
	add(headers, "x-amz-checksum-sha256", checksum);
	add(headers, "x-amz-acl", s3->acl);
	if (s3->sse_customer_key) {
		add_sse_c(headers, s3);
	} else if (s3->kms_key_id) {
		add(headers, "x-amz-server-side-encryption", "aws:kms");
		add(headers, "x-amz-server-side-encryption-aws-kms-key-id", s3->kms_key_id);
	} else if (s3->encrypt) {
		add(headers, "x-amz-server-side-encryption", "AES256");
	}
}

/* One "Name: value" line each, in one buffer that holds the secrets and is wiped. */
struct lines {
	char *text;
	size_t size;
	const char *line[HEADERS_MAX + 1];
};

static void lines_clear(struct lines *lines)
{
	if (lines->text)
		OPENSSL_cleanse(lines->text, lines->size);
	free(lines->text);
}

static int lines_make(struct lines *lines, const struct headers *headers)
{
	char *at;

	for (size_t i = 0; i < headers->count; i++)
		lines->size += strlen(headers->list[i].name) + strlen(headers->list[i].value) + 3;
	at = lines->text = malloc(lines->size + 1);
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < headers->count; i++) {
		lines->line[i] = at;
		at = stpcpy(stpcpy(stpcpy(at, headers->list[i].name), ": "),
			    headers->list[i].value) +
		     1;
	}
	return 0;
}

static int start(struct lock_s3 *s3, const char *method, const struct endpoint *at,
		 struct headers *headers, const char *body, http_done_fn done)
{
	CLEANUP(lines_clear) struct lines lines = { 0 };
	AUTO_FREE char *authorization = NULL;
	AUTO_FREE char *url = NULL;
	char hash[SIGV4_HASH_LEN], date[SIGV4_DATE_LEN];
	int r;

	r = sigv4_hash(hash, body ? body : "", body ? strlen(body) : 0);
	if (r < 0)
		return r;
	sigv4_date(date, time(NULL) + s3->skew_sec);
	add(headers, "host", at->host);
	add(headers, "x-amz-content-sha256", hash);
	add(headers, "x-amz-date", date);
	add(headers, "x-amz-security-token", s3->token);
	r = sigv4_authorization(&authorization,
				&(struct sigv4_request){
					.method = method,
					.path = at->path,
					.headers = headers->list,
					.header_count = headers->count,
					.payload_hash = hash,
					.region = s3->region,
					.service = "s3",
					.date = date,
				},
				&(struct sigv4_credentials){ s3->access_key, s3->secret_key,
							     s3->token });
	if (r < 0)
		return r;
	add(headers, "authorization", authorization);

	r = lines_make(&lines, headers);
	if (r < 0)
		return r;
	if (asprintf(&url, "%s%s", at->origin, at->path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	return http_start(&s3->transfer, s3->http,
			  &(struct http_request){
				  .method = method,
				  .url = url,
				  .headers = lines.line,
				  .body = body,
				  .body_len = body ? strlen(body) : 0,
				  .ca_pem = s3->ca_pem,
				  .ca_bundle = s3->ca_bundle,
				  .insecure = s3->insecure,
				  .connect_timeout_usec = s3->connect_timeout_usec,
				  .timeout_usec = s3->request_timeout_usec,
			  },
			  done, s3);
}

/* --- what came back ------------------------------------------------------------------------- */

static bool is_throttle(int status, const struct aws_error *error)
{
	return status == 429 || strcmp(error->code, "SlowDown") == 0 ||
	       strcmp(error->code, "RequestLimitExceeded") == 0;
}

/* The object is not there; or is it the bucket? */
static enum lease_result meaning_of_404(enum lease_op op, const struct aws_error *error,
					size_t body_len)
{
	if (op == LEASE_CREATE || strcmp(error->code, "NoSuchBucket") == 0)
		return LEASE_R_DENIED;
	if (body_len > 0 && strcmp(error->code, "NoSuchKey") != 0)
		return LEASE_R_UNKNOWN; /* a page of somebody in between */
	return LEASE_R_ABSENT;
}

static enum lease_result meaning(enum lease_op op, const struct http_response *response,
				 const struct aws_error *error)
{
	const int status = response->status;

	if (!response->is_answered)
		return response->is_unsent ? LEASE_R_UNSENT : LEASE_R_UNKNOWN;
	if (status == 204 && op == LEASE_REMOVE)
		return LEASE_R_DONE;
	if (status ==
	    200) /* S3 answers a write without a body; whoever sends one is somebody else */
		return op == LEASE_READ || response->body_len == 0 ? LEASE_R_DONE : LEASE_R_UNKNOWN;
	if (status == 404)
		return meaning_of_404(op, error, response->body_len);
	if (status == 412)
		return LEASE_R_REFUSED;
	if (status == 409)
		return LEASE_R_CONFLICT;
	if (is_throttle(status, error))
		return LEASE_R_THROTTLED;
	if (strcmp(error->code, "RequestTimeTooSkewed") == 0)
		return LEASE_R_UNSENT; /* refused unread; the next one is signed with the right time
					*/
	if (status >= 500 || status == 408 || strcmp(error->code, "RequestTimeout") == 0)
		return LEASE_R_UNKNOWN;
	if (status >= 300)
		return LEASE_R_DENIED;
	return LEASE_R_UNKNOWN;
}

static const char *op_name(enum lease_op op)
{
	switch (op) {
	case LEASE_NONE: return "look for the state";
	case LEASE_READ: return "read the lock";
	case LEASE_CREATE: return "take the lock";
	case LEASE_SWAP: return "renew the lock";
	case LEASE_REMOVE: return "release the lock";
	}
	return "";
}

/* Say what went wrong so that whoever reads it knows where to look. @buf: LOCK_ERROR_MAX. */
static void explain(char *buf, const struct lock_s3 *s3, const struct http_response *response,
		    const struct aws_error *error)
{
	const char *region = error->region[0] ? error->region : response->region;
	char clean[AWS_ERROR_TEXT_MAX];
	int used;

	used = snprintf(buf, LOCK_ERROR_MAX, "cannot %s %s%s: ", op_name(s3->op),
			s3->lock_at->origin, s3->lock_at->path);
	if (used >= LOCK_ERROR_MAX)
		return;
	buf += used;
	if (!response->is_answered)
		(void)snprintf(buf, (size_t)(LOCK_ERROR_MAX - used), "%s", response->error);
	else if (response->status == 301 ||
		 strcmp(error->code, "AuthorizationHeaderMalformed") == 0) {
		(void)snprintf(
			buf, (size_t)(LOCK_ERROR_MAX - used),
			"the bucket is in another region%s%s; set it as region in the backend block",
			region[0] ? ", " : "", text_printable(clean, sizeof(clean), region));
	} else {
		(void)snprintf(buf, (size_t)(LOCK_ERROR_MAX - used), "HTTP %d%s%s%s%s",
			       response->status, error->code[0] ? ", " : "", error->code,
			       error->message[0] ? ": " : "", error->message);
	}
}

/* Learn the server's clock from its refusal of ours (aws.md 4.4); for signing alone. */
static void learn_skew(struct lock_s3 *s3, const struct http_response *response)
{
	struct tm tm = { 0 };
	const char *end = strptime(response->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	if (end && *end == '\0')
		s3->skew_sec = timegm(&tm) - time(NULL);
}

static void take_etag(struct lease_answer *answer, const struct http_response *response)
{
	char clean[LEASE_ETAG_MAX];

	if (strlen(response->etag) >= sizeof(answer->etag))
		return;
	(void)text_printable(clean, sizeof(clean), response->etag);
	if (strcmp(clean, response->etag) == 0) /* it is going to be a header of ours */
		memcpy(answer->etag, clean, sizeof(clean));
}

static void on_response(const struct http_response *response, void *userdata)
{
	struct lock_s3 *s3 = userdata;
	struct lease_answer answer = { 0 };
	struct lockinfo_seen seen;
	struct aws_error error = { 0 };
	char text[LOCK_ERROR_MAX] = "";
	bool is_lock = false;

	s3->transfer = NULL;
	if (response->is_answered && response->status >= 300)
		aws_error_parse(&error, response->body, response->body_len);
	if (strcmp(error.code, "RequestTimeTooSkewed") == 0)
		learn_skew(s3, response);

	answer.result = meaning(s3->op, response, &error);
	if (answer.result == LEASE_R_DONE) {
		take_etag(&answer, response);
		is_lock = s3->op == LEASE_READ &&
			  lockinfo_parse(&seen, response->body, response->body_len) == 0;
	} else if (answer.result != LEASE_R_REFUSED && answer.result != LEASE_R_ABSENT) {
		explain(text, s3, response, &error);
	}
	if (is_lock) {
		memcpy(answer.nonce, seen.nonce, sizeof(answer.nonce));
		(void)snprintf(answer.id, sizeof(answer.id), "%.*s", LEASE_ID_MAX - 1, seen.id);
	}
	s3->done(&answer, is_lock ? &seen : NULL, text[0] ? text : NULL, s3->userdata);
}

static void on_exists(const struct http_response *response, void *userdata)
{
	struct lock_s3 *s3 = userdata;
	char text[LOCK_ERROR_MAX];

	s3->transfer = NULL;
	if (response->is_answered && response->status == 200) {
		s3->exists_done(1, NULL, s3->userdata);
	} else if (response->is_answered && response->status == 404) {
		s3->exists_done(0, NULL, s3->userdata);
	} else {
		explain(text, s3, response, &(struct aws_error){ 0 });
		s3->exists_done(-1, text, s3->userdata);
	}
}

/* --- the store's operations ------------------------------------------------------------------ */

/* Some stores compare an ETag without its quotes, and so refuse it with them. */
static const char *condition(char *buf, const struct lease_request *request)
{
	const size_t len = strlen(request->etag);

	memcpy(buf, request->etag, len + 1);
	if (request->etag_unquoted && len > 2 && buf[0] == '"' && buf[len - 1] == '"') {
		buf[len - 1] = '\0';
		return buf + 1;
	}
	return buf;
}

static int checksum_of(char *buf, const char *body)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t len = 0;

	if (!EVP_Q_digest(NULL, "SHA256", NULL, body, strlen(body), digest, &len))
		return -EIO;
	(void)EVP_EncodeBlock((unsigned char *)buf, digest, (int)len);
	return 0;
}

static int s3_send(struct lock_store *store, const struct lease_request *request,
		   const struct lockinfo *info, lock_store_done_fn done, void *userdata)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;
	AUTO_FREE char *body = NULL;
	struct headers headers = { 0 };
	char checksum[B64_LEN(32)], etag[LEASE_ETAG_MAX];
	int r;

	s3->op = request->op;
	s3->done = done;
	s3->userdata = userdata;

	switch (request->op) {
	case LEASE_READ:
		add_sse_c(&headers, s3);
		return start(s3, "GET", s3->lock_at, &headers, NULL, on_response);
	case LEASE_REMOVE:
		add(&headers, "if-match", condition(etag, request));
		return start(s3, "DELETE", s3->lock_at, &headers, NULL, on_response);
	case LEASE_CREATE:
	case LEASE_SWAP:
		r = lockinfo_format(&body, info);
		if (r >= 0)
			r = checksum_of(checksum, body);
		if (r < 0)
			return r;
		add_put(&headers, s3, s3->skip_checksum ? NULL : checksum);
		if (request->op == LEASE_CREATE)
			add(&headers, "if-none-match", "*");
		else
			add(&headers, "if-match", condition(etag, request));
		return start(s3, "PUT", s3->lock_at, &headers, body, on_response);
	case LEASE_NONE: break;
	}
	return -EINVAL;
}

static int s3_exists(struct lock_store *store, lock_store_exists_fn done, void *userdata)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;
	struct headers headers = { 0 };

	s3->op = LEASE_NONE;
	s3->exists_done = done;
	s3->userdata = userdata;
	add_sse_c(&headers, s3);
	return start(s3, "HEAD", s3->state_at, &headers, NULL, on_exists);
}

static void s3_cancel(struct lock_store *store)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;

	s3->transfer = http_cancel(s3->transfer);
}

static struct lock_store *s3_free(struct lock_store *store)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;

	s3_cancel(store);
	endpoint_free(s3->lock_at);
	endpoint_free(s3->state_at);
	free(s3->region);
	free(s3->ca_pem);
	free(s3->ca_bundle);
	wipe(&s3->access_key);
	wipe(&s3->secret_key);
	wipe(&s3->token);
	wipe(&s3->sse_customer_key);
	free(s3->acl);
	free(s3->kms_key_id);
	free(s3);
	return NULL;
}

static const struct lock_store_ops s3_ops = {
	.send = s3_send,
	.exists = s3_exists,
	.cancel = s3_cancel,
	.free = s3_free,
};

/* --- making one ------------------------------------------------------------------------------- */

static bool copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

static int set_customer_key(struct lock_s3 *s3, char **ret_error)
{
	unsigned char key[64], digest[EVP_MAX_MD_SIZE];
	size_t len = 0;

	if (!s3->sse_customer_key)
		return 0;
	/* The length that EVP_DecodeBlock() gives counts the padding: "=", and no more. */
	if (strlen(s3->sse_customer_key) != 44 || strcspn(s3->sse_customer_key, "=") != 43 ||
	    EVP_DecodeBlock(key, (const unsigned char *)s3->sse_customer_key, 44) != 33) {
		*ret_error =
			strdup("sse_customer_key is not the base64 of 32 bytes (44 characters)");
		return -EINVAL;
	}
	if (!EVP_Q_digest(NULL, "MD5", NULL, key, 32, digest, &len))
		len = 0;
	OPENSSL_cleanse(key, sizeof(key));
	if (len != 16)
		return -EIO;
	(void)EVP_EncodeBlock((unsigned char *)s3->sse_customer_md5, digest, 16);
	return 0;
}

static int resolve(struct lock_s3 *s3, const struct backend *backend,
		   const struct lock_s3_config *config, char **ret_error)
{
	const struct endpoint_s3 where = {
		.url = backend->endpoint_s3 ? backend->endpoint_s3 : config->endpoint,
		.region = s3->region,
		.bucket = backend->bucket,
		.path_style = backend->path_style,
		.use_fips = backend->use_fips,
		.use_dualstack = backend->use_dualstack,
	};
	AUTO_FREE char *lock_key = NULL;
	int r;

	if (asprintf(&lock_key, "%s" LOCK_S3_SUFFIX, backend->key) < 0) {
		lock_key = NULL;
		return -ENOMEM;
	}
	r = endpoint_resolve_s3(&s3->lock_at, &where, lock_key, ret_error);
	if (r < 0)
		return r;
	return endpoint_resolve_s3(&s3->state_at, &where, backend->key, ret_error);
}

int lock_s3_new(struct lock_store **ret, struct http *http, const struct backend *backend,
		const struct lock_s3_config *config, char **ret_error)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;
	struct lock_s3 *s3;
	const char *region = backend->region ? backend->region : config->region;
	int r;

	s3 = calloc(1, sizeof(*s3));
	if (!s3)
		return -ENOMEM;
	s3->store.ops = &s3_ops;
	store = &s3->store;
	s3->http = http;
	s3->encrypt = backend->encrypt;
	s3->insecure = backend->insecure;
	s3->skip_checksum = backend->skip_s3_checksum;
	s3->connect_timeout_usec = config->connect_timeout_usec;
	s3->request_timeout_usec = config->request_timeout_usec;
	if (!copy(&s3->region, region) || !copy(&s3->ca_pem, config->ca_pem) ||
	    !copy(&s3->ca_bundle, config->ca_bundle) ||
	    !copy(&s3->access_key, config->access_key) ||
	    !copy(&s3->secret_key, config->secret_key) || !copy(&s3->token, config->token) ||
	    !copy(&s3->acl, backend->acl) || !copy(&s3->kms_key_id, backend->kms_key_id) ||
	    !copy(&s3->sse_customer_key, backend->sse_customer_key))
		return -ENOMEM;

	r = set_customer_key(s3, ret_error);
	if (r < 0)
		return r;
	r = resolve(s3, backend, config, ret_error);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(store);
	return 0;
}
