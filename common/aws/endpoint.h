/* SPDX-License-Identifier: MIT */
/* Where an S3 object lives: origin, host and path, as terraform's SDK resolves them. Pure. */
#pragma once

#include <stdbool.h>

#include "common/cleanup.h"

struct endpoint_s3 {
	const char *url; /* custom endpoint ("http://127.0.0.1:9000/base"); NULL: AWS's own */
	const char *region;
	const char *bucket;
	bool path_style;
	bool use_fips;
	bool use_dualstack;
};

/* All strings are the struct's own. */
struct endpoint {
	char *origin; /* "https://" or "http://", and the host */
	char *host; /* value of the Host header, with the port if it is not the scheme's default */
	char *path; /* percent-encoded, "/" at least: base path, bucket where path style, key */
};

/*
 * Resolve the object @key (not encoded; "" is the bucket itself) of a bucket.
 *
 * The bucket goes in front of the host, also of a custom one, as terraform puts
 * it. It goes into the path when asked for, when the host is an IP address, or
 * when the bucket is no host label: upper case, "_", not 3 to 63 bytes, looks
 * like an IP address, or has a dot over https.
 *
 * Partitions (aws, aws-cn, aws-us-gov, iso, iso-b, iso-e, iso-f, eusc) by the
 * region's prefix; unknown is aws. A custom endpoint is taken as it is: FIPS
 * and dual-stack change nothing there, as with terraform's own setting.
 *
 * Return: 0; -EINVAL for a region that is not [a-z0-9-]+, or has no FIPS where
 * that is asked for; a URL that is not http(s)://host[:port][/path] (user info,
 * query, fragment, blanks and control characters are refused); a bucket that
 * cannot be in a URL, is an ARN or a directory bucket; -ENOMEM. With -EINVAL,
 * *@ret_error is a sentence for the user, the caller's to free; it quotes
 * nothing of what was given. Otherwise it is untouched.
 */
int endpoint_resolve_s3(struct endpoint **ret, const struct endpoint_s3 *s3, const char *key,
			char **ret_error);

struct endpoint_service {
	const char *name; /* "dynamodb", "sts": the first label of the host */
	const char *url;  /* custom endpoint, which may have a path; NULL: AWS's own */
	const char *region;
	bool use_fips;
	bool use_dualstack;
};

/*
 * Resolve the regional endpoint of a service that is asked by POST to "/". Partitions and custom
 * endpoints as above; dual-stack has suffixes of its own (api.aws), and us-gov no FIPS hosts but
 * those. Return: as endpoint_resolve_s3().
 */
int endpoint_resolve_service(struct endpoint **ret, const struct endpoint_service *service,
			     char **ret_error);

struct endpoint *endpoint_free(struct endpoint *endpoint);
DEFINE_FREEP(endpoint);

/*
 * Is @host (a Host header's value) S3 of AWS itself, which needs no probing?
 * Other hosts below amazonaws.com, such as a customer's load balancer, are not.
 */
bool endpoint_is_aws(const char *host);

/*
 * What stands behind the region in the hosts of AWS's other services: "amazonaws.com", or with
 * @use_dualstack "api.aws". Return: static; NULL for a region that is not [a-z0-9-]+.
 */
const char *endpoint_suffix(const char *region, bool use_dualstack);

/*
 * May a request for @host (both as in a Host header) be sent to @other, to which the store sent it
 * on? Only to S3 in the same partition of AWS; with another store, to the same host or one below
 * what @host itself is below, with the same port.
 */
bool endpoint_is_same_store(const char *host, const char *other);
