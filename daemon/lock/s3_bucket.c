/* SPDX-License-Identifier: MIT */
#include "daemon/lock/s3_bucket.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define B64_LEN(n) (((n) + 2) / 3 * 4 + 1)

/* --- sending ------------------------------------------------------------------------------- */

struct headers {
	struct sigv4_header list[AWS_HEADERS_MAX];
	size_t count;
};

static void add(struct headers *headers, const char *name, const char *value)
{
	if (value)
		headers->list[headers->count++] = (struct sigv4_header){ name, value };
}

static void add_customer_key(struct headers *headers, const struct s3_bucket *bucket)
{
	if (!bucket->sse_customer_key)
		return;
	add(headers, "x-amz-server-side-encryption-customer-algorithm", "AES256");
	add(headers, "x-amz-server-side-encryption-customer-key", bucket->sse_customer_key);
	add(headers, "x-amz-server-side-encryption-customer-key-md5", bucket->sse_customer_md5);
}

static void add_put(struct headers *headers, const struct s3_bucket *bucket, const char *checksum)
{
	add(headers, "content-type", "application/json");
	add(headers, "x-amz-checksum-sha256", checksum);
	add(headers, "x-amz-acl", bucket->acl);
	if (bucket->sse_customer_key) {
		add_customer_key(headers, bucket);
	} else if (bucket->kms_key_id) {
		add(headers, "x-amz-server-side-encryption", "aws:kms");
		add(headers, "x-amz-server-side-encryption-aws-kms-key-id", bucket->kms_key_id);
	} else if (bucket->encrypt) {
		add(headers, "x-amz-server-side-encryption", "AES256");
	}
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

int s3_bucket_send(struct aws_transfer **ret, struct s3_bucket *bucket,
		   const struct s3_request *request, aws_done_fn done, void *userdata)
{
	struct headers headers = { 0 };
	char checksum[B64_LEN(32)];
	int r;

	add(&headers, "if-match", request->if_match);
	add(&headers, "if-none-match", request->if_none_match);
	if (request->body) {
		r = checksum_of(checksum, request->body);
		if (r < 0)
			return r;
		add_put(&headers, bucket, bucket->skip_checksum ? NULL : checksum);
	} else if (strcmp(request->method, "DELETE") != 0) {
		add_customer_key(&headers, bucket);
	}
	return aws_send(ret, bucket->client,
			&(struct aws_request){
				.method = request->method,
				.at = bucket->at,
				.path = request->path,
				.headers = headers.list,
				.header_count = headers.count,
				.body = request->body,
				.fresh = request->fresh,
			},
			done, userdata);
}

int s3_bucket_path(char **ret, const struct s3_bucket *bucket, const char *key)
{
	AUTO_FREE char *encoded = NULL;
	int r;

	r = sigv4_encode(&encoded, key, true);
	if (r < 0)
		return r;
	if (asprintf(ret, "%s%s", bucket->at->path, encoded) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* --- making one ---------------------------------------------------------------------------- */

static bool copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

static int set_customer_key(struct s3_bucket *bucket, char **ret_error)
{
	unsigned char key[64], digest[EVP_MAX_MD_SIZE];
	size_t len = 0;

	if (!bucket->sse_customer_key)
		return 0;
	/* The length that EVP_DecodeBlock() gives counts the padding: "=", and no more. */
	if (strlen(bucket->sse_customer_key) != 44 ||
	    strcspn(bucket->sse_customer_key, "=") != 43 ||
	    EVP_DecodeBlock(key, (const unsigned char *)bucket->sse_customer_key, 44) != 33) {
		*ret_error =
			strdup("sse_customer_key is not the base64 of 32 bytes (44 characters)");
		return -EINVAL;
	}
	if (!EVP_Q_digest(NULL, "MD5", NULL, key, 32, digest, &len))
		len = 0;
	OPENSSL_cleanse(key, sizeof(key));
	if (len != 16)
		return -EIO;
	(void)EVP_EncodeBlock((unsigned char *)bucket->sse_customer_md5, digest, 16);
	return 0;
}

static int resolve(struct s3_bucket *bucket, struct http *http, const struct backend *backend,
		   const struct lock_store_config *config, char **ret_error)
{
	struct aws_client_setup setup = lock_store_client(http, backend, config);
	const struct endpoint_s3 where = {
		.url = backend->endpoint_s3 ? backend->endpoint_s3 : config->endpoint_s3,
		.region = setup.region,
		.bucket = backend->bucket,
		.path_style = backend->path_style,
		.use_fips = backend->use_fips,
		.use_dualstack = backend->use_dualstack,
	};
	int r;

	r = endpoint_resolve_s3(&bucket->at, &where, "", ret_error);
	if (r < 0)
		return r;
	if (asprintf(&bucket->name, "%s%.*s", bucket->at->origin, (int)strlen(bucket->at->path) - 1,
		     bucket->at->path) < 0) {
		bucket->name = NULL;
		return -ENOMEM;
	}
	setup.service = "s3";
	return aws_client_new(&bucket->client, &setup, bucket->at->origin, ret_error);
}

int s3_bucket_new(struct s3_bucket **ret, struct http *http, const struct backend *backend,
		  const struct lock_store_config *config, char **ret_error)
{
	CLEANUP(s3_bucket_unrefp) struct s3_bucket *bucket = NULL;
	int r;

	bucket = calloc(1, sizeof(*bucket));
	if (!bucket)
		return -ENOMEM;
	bucket->refs = 1;
	bucket->encrypt = backend->encrypt;
	bucket->skip_checksum = backend->skip_s3_checksum;
	if (!copy(&bucket->bucket, backend->bucket) || !copy(&bucket->acl, backend->acl) ||
	    !copy(&bucket->kms_key_id, backend->kms_key_id) ||
	    !copy(&bucket->sse_customer_key, backend->sse_customer_key))
		return -ENOMEM;
	r = set_customer_key(bucket, ret_error);
	if (r < 0)
		return r;
	r = resolve(bucket, http, backend, config, ret_error);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(bucket);
	return 0;
}

struct s3_bucket *s3_bucket_ref(struct s3_bucket *bucket)
{
	bucket->refs++;
	return bucket;
}

struct s3_bucket *s3_bucket_unref(struct s3_bucket *bucket)
{
	if (!bucket || --bucket->refs > 0)
		return NULL;
	aws_client_free(bucket->client);
	endpoint_free(bucket->at);
	free(bucket->name);
	free(bucket->bucket);
	free(bucket->acl);
	free(bucket->kms_key_id);
	if (bucket->sse_customer_key)
		OPENSSL_cleanse(bucket->sse_customer_key, strlen(bucket->sse_customer_key));
	free(bucket->sse_customer_key);
	free(bucket);
	return NULL;
}
