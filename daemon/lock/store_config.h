/* SPDX-License-Identifier: MIT */
/* What a lock store is made with, beside the backend that it is for. */
#pragma once

#include <stdint.h>

#include "common/aws/proxy.h"
#include "daemon/aws/identity.h"

struct lock_probes;

/* Everything is copied but where it says otherwise. */
struct lock_store_config {
	const char *region;      /* where the backend says none; NULL: none */
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
