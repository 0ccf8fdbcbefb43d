/* SPDX-License-Identifier: MIT */
/*
 * What an HTTP status means for a lock is decided by the request: a 404 says "absent"
 * to a read, "gone" to an If-Match, and "no such bucket" to a create. Any 5xx may
 * come after the write was done (terraform leaves orphans behind here), so it is an
 * unknown outcome and never a failure.
 */
#include "daemon/lock/lock_s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "daemon/lock/probe.h"
#include "daemon/lock/s3_bucket.h"

struct lock_s3 {
	struct lock_store store; /* first */
	struct s3_bucket *bucket;
	struct aws_transfer *transfer;
	char *key; /* of the state */
	char *lock_path, *state_path;
	struct probe_traits traits;

	enum lease_op op; /* under way */
	lock_store_done_fn done;
	lock_store_exists_fn exists_done;
	lock_store_probe_fn probe_done;
	void *userdata;

	struct lock_probes *probes;
	struct lock_probe *probe;
};

/* --- what came back ------------------------------------------------------------------------- */

/* The object is not there; or is it the bucket? */
static enum lease_result meaning_of_404(enum lease_op op, const struct aws_answer *answer)
{
	const char *code = answer->error.code;

	if (op == LEASE_CREATE || strcmp(code, "NoSuchBucket") == 0)
		return LEASE_R_DENIED;
	if (answer->http->body_len > 0 && strcmp(code, "NoSuchKey") != 0)
		return LEASE_R_UNKNOWN; /* a page of somebody in between */
	return LEASE_R_ABSENT;
}

static enum lease_result meaning(enum lease_op op, const struct aws_answer *answer)
{
	const struct http_response *response = answer->http;

	switch (answer->result) {
	case AWS_DONE:
		if (response->status == 204)
			return op == LEASE_REMOVE ? LEASE_R_DONE : LEASE_R_UNKNOWN;
		/* S3 answers a write without a body; whoever sends one is somebody else. */
		if (response->status != 200 || (op != LEASE_READ && response->body_len > 0))
			return LEASE_R_UNKNOWN;
		return LEASE_R_DONE;
	case AWS_REFUSED:
		if (response->status == 404)
			return meaning_of_404(op, answer);
		if (response->status == 412)
			return LEASE_R_REFUSED;
		return response->status == 409 ? LEASE_R_CONFLICT : LEASE_R_DENIED;
	case AWS_UNSENT: return LEASE_R_UNSENT;
	case AWS_THROTTLED: return LEASE_R_THROTTLED;
	case AWS_UNKNOWN: break;
	}
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
static void explain(char *buf, const struct lock_s3 *s3, const struct aws_answer *answer)
{
	(void)snprintf(buf, LOCK_ERROR_MAX, "cannot %s %s%s: %s", op_name(s3->op),
		       s3->bucket->at->origin, s3->lock_path,
		       answer->why[0] ? answer->why
				      : "it does not answer as S3 does (is there a proxy or a "
					"portal in between?)");
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

/* Does @body look as if somebody in between had written it: a page, or an error document? */
static bool is_markup(const struct http_response *response)
{
	const char *body = response->body + strspn(response->body, " \t\r\n");

	return *body == '<' || strncmp(body, "\xef\xbb\xbf<", 4) == 0;
}

/* A page or an error document under a 200. Without an ETag it is no object for sure. */
static void take_markup(struct lease_answer *answer, char *text, const struct lock_s3 *s3,
			const struct aws_answer *got)
{
	struct aws_error error;

	aws_error_parse(&error, got->http->body, got->http->body_len);
	if (answer->etag[0] == '\0' || error.code[0] != '\0')
		answer->result = LEASE_R_UNKNOWN;
	explain(text, s3, got);
	if (error.code[0] != '\0')
		(void)snprintf(text, LOCK_ERROR_MAX, "cannot %s %s: HTTP 200, but %s: %s",
			       op_name(s3->op), s3->bucket->name, error.code, error.message);
}

/*
 * There is an object, but no lock that anybody could read. It still keeps everybody off: it is
 * somebody's, with an ID that names nothing.
 */
static void take_unreadable(struct lease_answer *answer, struct lockinfo_seen *seen, char *text,
			    const struct lock_s3 *s3, int error)
{
	answer->result = LEASE_R_DONE;
	memcpy(answer->id, LOCKINFO_ID_NONE, sizeof(LOCKINFO_ID_NONE));
	*seen = (struct lockinfo_seen){ 0 };
	memcpy(seen->id, LOCKINFO_ID_NONE, sizeof(LOCKINFO_ID_NONE));
	if (snprintf(
		    text, LOCK_ERROR_MAX,
		    "what stands where the lock belongs %s, so neither tfqd nor terraform "
		    "force-unlock can tell whose it is; once you know that nobody needs it, remove "
		    "it: aws s3 rm 's3://%s/%s" LOCK_S3_SUFFIX "'",
		    lockinfo_strerror(error), s3->bucket->bucket, s3->key) >= LOCK_ERROR_MAX)
		memcpy(text + LOCK_ERROR_MAX - 4, "...", 4);
}

static void take_lock(struct lease_answer *answer, struct lockinfo_seen *seen, char *text,
		      const struct lock_s3 *s3, const struct aws_answer *got)
{
	const struct http_response *response = got->http;
	const int r = response->is_cut ? -EFBIG
				       : lockinfo_parse(seen, response->body, response->body_len);

	if (r < 0 && !response->is_cut && (answer->etag[0] == '\0' || is_markup(response))) {
		take_markup(answer, text, s3, got);
		return;
	}
	if (r < 0) {
		take_unreadable(answer, seen, text, s3, r);
		return;
	}
	memcpy(answer->nonce, seen->nonce, sizeof(answer->nonce));
	(void)snprintf(answer->id, sizeof(answer->id), "%.*s", LEASE_ID_MAX - 1, seen->id);
	answer->lease_usec = lockinfo_lease_usec(seen);
}

static void on_answer(const struct aws_answer *got, void *userdata)
{
	struct lock_s3 *s3 = userdata;
	struct lease_answer answer = { .result = meaning(s3->op, got),
				       .is_repeated = got->is_repeated };
	struct lockinfo_seen seen = { 0 };
	char text[LOCK_ERROR_MAX] = "";
	/* Cut at its length: the object is there, and it is not ours. */
	const bool is_huge = s3->op == LEASE_READ && got->http->is_cut && got->http->status == 200;

	s3->transfer = NULL;
	if (answer.result == LEASE_R_DONE || is_huge) {
		take_etag(&answer, got->http);
		if (s3->op == LEASE_READ)
			take_lock(&answer, &seen, text, s3, got);
	} else if (answer.result != LEASE_R_REFUSED && answer.result != LEASE_R_ABSENT) {
		explain(text, s3, got);
	}
	s3->done(&answer, seen.id[0] ? &seen : NULL, text[0] ? text : NULL, s3->userdata);
}

static void on_exists(const struct aws_answer *got, void *userdata)
{
	struct lock_s3 *s3 = userdata;
	char text[LOCK_ERROR_MAX];

	s3->transfer = NULL;
	if (got->result == AWS_DONE && got->http->status == 200) {
		s3->exists_done(1, NULL, s3->userdata);
	} else if (got->result == AWS_REFUSED && got->http->status == 404) {
		s3->exists_done(0, NULL, s3->userdata);
	} else {
		explain(text, s3, got);
		s3->exists_done(got->result == AWS_REFUSED ? -EACCES : -EAGAIN, text, s3->userdata);
	}
}

/* --- the store's operations ------------------------------------------------------------------ */

/* Some stores compare an ETag without its quotes, and so refuse it with them. */
static const char *condition(char *buf, const struct lock_s3 *s3,
			     const struct lease_request *request)
{
	const size_t len = strlen(request->etag);
	/* The machine asks for the other form than what did not do. */
	const bool is_unquoted = request->etag_unquoted != s3->traits.etag_unquoted;

	memcpy(buf, request->etag, len + 1);
	if (is_unquoted && len > 2 && buf[0] == '"' && buf[len - 1] == '"') {
		buf[len - 1] = '\0';
		return buf + 1;
	}
	return buf;
}

static int s3_send(struct lock_store *store, const struct lease_request *request,
		   const struct lockinfo *info, lock_store_done_fn done, void *userdata)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;
	struct s3_request what = { .path = s3->lock_path };
	AUTO_FREE char *body = NULL;
	char etag[LEASE_ETAG_MAX];
	int r;

	s3->op = request->op;
	s3->done = done;
	s3->userdata = userdata;

	switch (request->op) {
	case LEASE_READ: what.method = "GET"; break;
	case LEASE_REMOVE:
		what.method = "DELETE";
		if (s3->traits.delete != PROBE_DELETE_REFUSES)
			what.if_match = condition(etag, s3, request);
		/* Where the condition may be ignored, libcurl must not send it again by itself:
		 * the object that was compared may be another by then. */
		what.fresh = s3->traits.delete != PROBE_DELETE_CONDITIONAL;
		break;
	case LEASE_CREATE:
	case LEASE_SWAP:
		r = lockinfo_format(&body, info);
		if (r < 0)
			return r;
		what.method = "PUT";
		what.body = body;
		if (request->op == LEASE_CREATE)
			what.if_none_match = "*";
		else
			what.if_match = condition(etag, s3, request);
		break;
	case LEASE_NONE: return -EINVAL;
	}
	return s3_bucket_send(&s3->transfer, s3->bucket, &what, on_answer, s3);
}

static int s3_exists(struct lock_store *store, lock_store_exists_fn done, void *userdata)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;

	s3->op = LEASE_NONE;
	s3->exists_done = done;
	s3->userdata = userdata;
	return s3_bucket_send(&s3->transfer, s3->bucket,
			      &(struct s3_request){ .method = "HEAD", .path = s3->state_path },
			      on_exists, s3);
}

static void on_probe(const struct probe_traits *traits, const char *error, void *userdata)
{
	struct lock_s3 *s3 = userdata;

	s3->probe = NULL;
	if (traits)
		s3->traits = *traits;
	s3->probe_done(traits != NULL, error, s3->userdata);
}

static int s3_probe(struct lock_store *store, lock_store_probe_fn done, void *userdata)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;

	if (endpoint_is_aws(s3->bucket->at->host))
		return 1;
	s3->probe_done = done;
	s3->userdata = userdata;
	return lock_probe_start(&s3->probe, &s3->traits, s3->probes,
				&(struct lock_probe_question){
					.bucket = s3->bucket,
					.key = s3->key,
					.done = on_probe,
					.userdata = s3,
				});
}

static void s3_cancel(struct lock_store *store)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;

	s3->transfer = aws_cancel(s3->transfer);
	s3->probe = lock_probe_cancel(s3->probe);
}

static struct lock_store *s3_free(struct lock_store *store)
{
	struct lock_s3 *s3 = (struct lock_s3 *)store;

	s3_cancel(store);
	s3_bucket_unref(s3->bucket);
	free(s3->key);
	free(s3->lock_path);
	free(s3->state_path);
	free(s3);
	return NULL;
}

static const struct lock_store_ops s3_ops = {
	.send = s3_send,
	.exists = s3_exists,
	.probe = s3_probe,
	.cancel = s3_cancel,
	.free = s3_free,
};

/* --- making one ------------------------------------------------------------------------------- */

int lock_s3_new(struct lock_store **ret, struct http *http, const struct backend *backend,
		const struct lock_store_config *config, char **ret_error)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;
	AUTO_FREE char *lock_key = NULL;
	struct lock_s3 *s3;
	int r;

	s3 = calloc(1, sizeof(*s3));
	if (!s3)
		return -ENOMEM;
	s3->store.ops = &s3_ops;
	store = &s3->store;
	s3->probes = config->probes;
	r = s3_bucket_new(&s3->bucket, http, backend, config, ret_error);
	if (r < 0)
		return r;
	if (endpoint_is_aws(s3->bucket->at->host))
		s3->traits.delete = PROBE_DELETE_CONDITIONAL;
	if (asprintf(&lock_key, "%s" LOCK_S3_SUFFIX, backend->key) < 0) {
		lock_key = NULL;
		return -ENOMEM;
	}
	r = text_replace(&s3->key, backend->key);
	if (r < 0)
		return r;
	r = s3_bucket_path(&s3->lock_path, s3->bucket, lock_key);
	if (r < 0)
		return r;
	r = s3_bucket_path(&s3->state_path, s3->bucket, backend->key);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(store);
	return 0;
}
