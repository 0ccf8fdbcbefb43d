/* SPDX-License-Identifier: MIT */
#include "daemon/aws/identity.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static void wipe(char *secret)
{
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

int identity_new(struct identity **ret, const char *access_key, const char *secret_key,
		 const char *token, const char *source, uint64_t expires_usec)
{
	CLEANUP(identity_unrefp) struct identity *identity = NULL;

	identity = calloc(1, sizeof(*identity));
	if (!identity)
		return -ENOMEM;
	identity->refs = 1;
	identity->expires_usec = expires_usec;
	identity->access_key = strdup(access_key);
	identity->secret_key = strdup(secret_key);
	identity->token = token ? strdup(token) : NULL;
	identity->source = strdup(source);
	if (!identity->access_key || !identity->secret_key || (token && !identity->token) ||
	    !identity->source)
		return -ENOMEM;
	*ret = TAKE_PTR(identity);
	return 0;
}

struct identity *identity_ref(struct identity *identity)
{
	identity->refs++;
	return identity;
}

struct identity *identity_unref(struct identity *identity)
{
	if (!identity || --identity->refs > 0)
		return NULL;
	wipe(identity->access_key);
	wipe(identity->secret_key);
	wipe(identity->token);
	free(identity->source);
	free(identity);
	return NULL;
}

bool identity_is_same(const struct identity *a, const struct identity *b)
{
	return strcmp(a->access_key, b->access_key) == 0;
}

void identity_renew(struct identity *identity)
{
	(void)identity; /* what stands in a block or an environment cannot be asked for again */
}
