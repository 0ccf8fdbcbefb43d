/* SPDX-License-Identifier: MIT */
/* What a lock store is made with, beside the backend that it is for. */
#pragma once

#include <stdint.h>

#include "common/aws/proxy.h"
#include "common/backend.h"
#include "daemon/aws/aws_client.h"
#include "daemon/aws/identity.h"

struct lock_probes;

/* Everything is copied but where it says otherwise. */
struct lock_store_config {
	const char *endpoint_s3; /* of [aws], where the backend says none; NULL: AWS's */
	const char *endpoint_dynamodb;
	const char *ca_pem;        /* what the backend's or the environment's CA bundle holds; NULL:
				      none named */
	const char *ca_bundle;     /* of [aws] ca_bundle, where none is named */
	struct identity *identity; /* a reference is taken */
	struct proxy_settings proxy; /* whose texts are copied */
	struct lock_probes *probes;  /* borrowed for the store's life; NULL: it is never probed */
	uint64_t connect_timeout_usec, request_timeout_usec;
};

/* What a client for the store is made with, all but the service. Lent by the arguments. */
static inline struct aws_client_setup lock_store_client(struct http *http,
							const struct backend *backend,
							const struct lock_store_config *config)
{
	return (struct aws_client_setup){
		.http = http,
		.region = backend->region,
		.identity = config->identity,
		.ca_pem = config->ca_pem,
		.ca_bundle = config->ca_bundle,
		.insecure = backend->insecure,
		.proxy = config->proxy,
		.connect_timeout_usec = config->connect_timeout_usec,
		.request_timeout_usec = config->request_timeout_usec,
	};
}
