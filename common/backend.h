/* SPDX-License-Identifier: MIT */
/*
 * Which terraform state a directory works on, and which lock guards it.
 *
 * Two halves. backend_source_read() touches the disk and therefore runs as the
 * submitting user (tfq, and again tfq-runner just before the child starts);
 * backend_parse() is pure and runs wherever the answer is needed, tfqd included.
 * All facts: what `terraform init` leaves in <data dir>/terraform.tfstate, and
 * how terraform resolves it together with the environment on every command.
 */
#pragma once

#include <stdbool.h>

#include "common/cleanup.h"

#define BACKEND_FILE_MAX      262144 /* bytes of <data dir>/terraform.tfstate: 256 KiB */
#define BACKEND_PROFILE_MAX   16384  /* bytes of profile_endpoints */
#define BACKEND_WORKSPACE_MAX 90     /* bytes of a workspace's name; Terraform Cloud's own limit */

/* What was found on disk, before any meaning is given to it. */
struct backend_source {
	char *directory; /* absolute real path in which terraform runs (after -chdir) */
	char *file; /* text of <data dir>/terraform.tfstate; NULL if there is none; holds secrets */
	char *workspace; /* the selected one: $TF_WORKSPACE, <data dir>/environment, or "default" */
	/*
	 * What the user's profile in AWS's shared files says of the S3 backend's endpoints, a JSON
	 * object: s3 and dynamodb (URLs), or ignore (true: neither it nor AWS_ENDPOINT_URL counts).
	 * All may be missing. NULL: nothing.
	 */
	char *profile_endpoints;
};

enum backend_kind {
	BACKEND_S3,
	BACKEND_LOCAL,
	BACKEND_OTHER, /* gcs, azurerm, http, remote, ...: terraform takes those locks itself */
};

/* Strings that terraform has as null or "" where it treats both alike are NULL here. */
struct backend {
	enum backend_kind kind;
	char *type; /* "s3", "local", "gcs", ... */
	char *workspace;
	char *terraform_version; /* of the terraform that ran init; "" if the file does not say */
	char *identity; /* the queue's key: equal if and only if it is the same state; no secrets */
	char *name; /* for people: "s3://bucket/key", "local:/dir/terraform.tfstate", "gcs:1a2b..."
		     */

	/* S3 only, from here on. */
	char *bucket;
	char *key; /* of the state object, workspace applied, not percent-encoded */
	char *region;
	char *endpoint_s3; /* URL, http or https, without user and password; NULL: AWS's own */
	char *endpoint_dynamodb; /* as endpoint_s3 */
	char *dynamodb_table;    /* NULL: none */
	char *kms_key_id;        /* these two are only set if encrypt is */
	char *sse_customer_key;
	char *acl;
	char *ca_bundle;
	char *access_key; /* from the backend block alone, never from the environment */
	char *secret_key;
	char *token;
	char *profile;                  /* from the backend block alone */
	char *http_proxy, *https_proxy; /* from the block alone; "" switches one off */
	char *no_proxy;
	/*
	 * What else the block says of credentials, and these again, as one JSON object for
	 * tfq-runner --credentials (runner/aws/ask.h); NULL: nothing.
	 */
	char *credentials_json;
	bool use_lockfile;
	bool path_style;
	bool encrypt;
	bool insecure; /* do not verify TLS */
	bool use_fips;
	bool use_dualstack;
	bool skip_s3_checksum;
	bool has_assume_role; /* assume_role or assume_role_with_web_identity (or OpenTofu's flat
				 role_arn) */
	bool has_proxy;       /* http_proxy, https_proxy or no_proxy in the block */

	unsigned others; /* that hold it: backend_ref() */
};

/*
 * Find what @directory (absolute, already resolved with -chdir) holds, with
 * the data dir and the workspace that @env selects. Reads as the calling user.
 * For an S3 backend that leaves an endpoint open, the shared files of AWS's tools
 * (~/.aws/config and ~/.aws/credentials, or those that the block or @env names) are
 * read, too. One that is there, but cannot be read, is an error: to guess could
 * mean to lock another store than terraform uses.
 *
 * A directory without <data dir>/terraform.tfstate is fine only if its *.tf
 * and *.tf.json files (OpenTofu's *.tofu too) name no backend and no cloud
 * block: then (*@ret)->file is NULL and the backend is the local one.
 *
 * Return: 0; -ENOENT if the directory is not there, has no configuration, or
 * names a backend but was not initialised; -EACCES (or what open(2) said) if
 * something cannot be read; -EISDIR or -EINVAL for what is no regular file;
 * -EFBIG for a file over its limit; -EBADMSG for one with a NUL byte; -EINVAL
 * for a workspace name that terraform would refuse, or that would lead out of
 * the workspaces' prefix ("..", longer than BACKEND_WORKSPACE_MAX); -ENOMEM.
 * On failure *@ret_error is a sentence for the user, the caller's to free: what
 * is wrong, with the path, and what to do next; it is untouched on -ENOMEM.
 */
int backend_source_read(struct backend_source **ret, const char *directory, char *const *env,
			char **ret_error);

/* Wipes the file's text. Return: NULL. */
struct backend_source *backend_source_free(struct backend_source *source);
DEFINE_FREEP(backend_source);

/*
 * Give meaning to @source under @env. Pure. @require_lock: refuse an S3
 * backend that has neither use_lockfile nor dynamodb_table.
 *
 * The path of a local state is made absolute and cleaned, but symbolic links
 * behind @source->directory are not followed.
 *
 * Return: 0; -EBADMSG if the file is not what terraform writes; -EINVAL for a
 * value terraform would refuse (no region, key with a leading "/", ...), or one
 * that we must (S3 directory buckets, access points), and for a workspace that
 * backend_source_read() would not have let through; -ENOLCK if no lock is
 * configured and @require_lock (the message carries the two lines that fix it);
 * -ENOMEM. *@ret_error as above. Secrets never get into a message.
 */
int backend_parse(struct backend **ret, const struct backend_source *source, char *const *env,
		  bool require_lock, char **ret_error);

/* What is told of @backend to everybody: identity, name, workspace; the other texts are NULL.
 * Return: 0 or -ENOMEM. */
int backend_outline(struct backend **ret, const struct backend *backend);

/* One more holds it, who frees it, too. Return: @backend. */
struct backend *backend_ref(struct backend *backend);

/* The last one who holds it wipes the secrets. Return: NULL. */
struct backend *backend_free(struct backend *backend);
DEFINE_FREEP(backend);
