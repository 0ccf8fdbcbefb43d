/* SPDX-License-Identifier: MIT */
/*
 * Where credentials come from, one function for each, all of one kind: they fill @keys, which is
 * empty, and return 0; or a negative errno, and the sentence for the user is set (but for -ENOMEM).
 * -EOPNOTSUPP: terraform can ask this, we cannot.
 */
#pragma once

#include <jansson.h>

#include "runner/aws/ask.h"

/* What to ask of STS. All lent; NULL: not said. */
struct sts_role {
	const char *arn;
	const char *session_name;  /* NULL: the question's */
	uint64_t duration_seconds; /* 0: an hour */
	const char *external_id, *policy, *source_identity;
	const json_t *policy_arns;         /* list of texts */
	json_t *tags;                      /* object of texts */
	const json_t *transitive_tag_keys; /* list of texts */
};

/* AssumeRole, signed with @with; the source says whose they were. */
int sts_assume(struct keys *keys, struct ask *ask, const struct sts_role *role,
	       const struct keys *with);

/* AssumeRoleWithWebIdentity, with @token, or if that is NULL with what the file says now. */
int sts_web_identity(struct keys *keys, struct ask *ask, const struct sts_role *role,
		     const char *token, const char *token_file);

/* IAM Identity Center, as profile @profile says; its token is renewed if there is need. */
int sso_find(struct keys *keys, struct ask *ask, const char *profile);

/* The credential_process @command. */
int command_find(struct keys *keys, struct ask *ask, const char *profile, const char *command);

/* The container's service (ECS, EKS Pod Identity). Is there one? */
bool container_is_there(const struct ask *ask);
int container_find(struct keys *keys, struct ask *ask);

/* The instance's role, of its metadata service. @tried: for the sentence, where else we looked. */
int instance_find(struct keys *keys, struct ask *ask, const char *tried);

/*
 * The keys in @object, a JSON answer: members @names[0..3] for access key, secret, token and
 * expiration (text as RFC 3339; NULL: has none). Return: 0, -EBADMSG, -ENOMEM; sets no sentence.
 */
int keys_from_json(struct keys *keys, const json_t *object, const char *const names[4]);
