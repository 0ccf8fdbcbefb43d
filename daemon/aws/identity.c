/* SPDX-License-Identifier: MIT */
#include "daemon/aws/identity.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "daemon/aws/identity_parts.h"

static struct identity *identity_free(struct identity *identity)
{
	if (!identity)
		return NULL;
	free(identity->source);
	free(identity->trouble);
	secret_free(identity->token);
	secret_free(identity->secret_key);
	secret_free(identity->access_key);
	free(identity);
	return NULL;
}
DEFINE_FREEP(identity);

int identity_new(struct identity **ret, const char *access_key, const char *secret_key,
		 const char *token, const char *source, uint64_t expires_usec)
{
	CLEANUP(identity_freep) struct identity *identity = calloc(1, sizeof(*identity));

	if (!identity)
		return -ENOMEM;
	identity->refs = 1;
	identity->access_key = strdup(access_key);
	identity->secret_key = strdup(secret_key);
	identity->token = token ? strdup(token) : NULL;
	identity->source = strdup(source);
	identity->expires_usec = expires_usec;
	if (!identity->access_key || !identity->secret_key || !identity->source ||
	    (token && !identity->token))
		return -ENOMEM;
	*ret = TAKE_PTR(identity);
	return 0;
}

struct identity *identity_ref(struct identity *identity)
{
	assert(identity && identity->refs > 0);

	identity->refs++;
	return identity;
}

struct identity *identity_unref(struct identity *identity)
{
	if (!identity)
		return NULL;

	assert(identity->refs > 0);

	if (--identity->refs > 0)
		return NULL;
	if (identity->refresh)
		identity_refresh_end(identity->refresh);
	return identity_free(identity);
}

bool identity_is_same(const struct identity *a, const struct identity *b)
{
	return a == b || (a && b && strcmp(a->access_key, b->access_key) == 0);
}
