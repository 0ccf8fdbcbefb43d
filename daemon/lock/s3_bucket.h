/* SPDX-License-Identifier: MIT */
/*
 * One bucket as one job writes into it: whose keys, which encryption, ACL and checksum, as
 * terraform itself puts the state there (terraform-locking.md 1.2, 1.6, 1.7).
 */
#pragma once

#include <stdbool.h>

#include "common/backend.h"
#include "daemon/aws/aws_client.h"
#include "daemon/lock/store_config.h"

struct s3_bucket {
	unsigned refs;
	struct aws_client *client;
	struct endpoint *at; /* path: what all keys stand behind */
	char *name; /* "https://host/bucket", for people, and what is known is known of that */
	char *bucket;
	char *acl, *kms_key_id, *sse_customer_key;
	char sse_customer_md5[25];
	bool encrypt, skip_checksum;
};

/*
 * Everything is copied. Return: 0; -EINVAL if no URL can be made of it, with a sentence for the
 * user in *@ret_error, the caller's to free; -ENOMEM.
 */
int s3_bucket_new(struct s3_bucket **ret, struct http *http, const struct backend *backend,
		  const struct lock_store_config *config, char **ret_error);
struct s3_bucket *s3_bucket_ref(struct s3_bucket *bucket);
struct s3_bucket *s3_bucket_unref(struct s3_bucket *bucket); /* NULL is fine; returns NULL */
static inline void s3_bucket_unrefp(struct s3_bucket **p)
{
	s3_bucket_unref(*p);
}

/* The path of @key, percent-encoded. Return: 0 and *@ret, the caller's to free, or -ENOMEM. */
int s3_bucket_path(char **ret, const struct s3_bucket *bucket, const char *key);

/* All static or lent for the call. */
struct s3_request {
	const char *method;                   /* "GET", "HEAD", "PUT", "DELETE" */
	const char *path;                     /* of s3_bucket_path() */
	const char *if_match, *if_none_match; /* NULL: none */
	const char *body;                     /* PUT: JSON */
	bool fresh;                           /* as in struct http_request */
};

/* Return: as aws_send(). */
int s3_bucket_send(struct aws_transfer **ret, struct s3_bucket *bucket,
		   const struct s3_request *request, aws_done_fn done, void *userdata);
