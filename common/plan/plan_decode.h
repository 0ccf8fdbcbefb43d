/* SPDX-License-Identifier: MIT */
/* The backend that is named in the member "tfplan" of a saved plan. Pure; the bytes may be
 * anybody's. */
#pragma once

#include <stddef.h>

#define PLAN_DEPTH_MAX 16 /* lists and maps in one another; the S3 backend's config has 3 */

/*
 * Find the backend in the @len bytes at @data and write it as terraform init writes
 * it into <data dir>/terraform.tfstate:
 * {"version":3,"terraform_version":"1.11.4","backend":{"type":"s3","config":{...},"hash":0}}.
 * The workspace that is in there, too, is left out: terraform does not heed it.
 *
 * The format: message Plan of terraform's internal/plans/planproto/planfile.proto
 * (version = 1, which must be 3; backend = 13; terraform_version = 14), message
 * Backend (type = 1, config = 2), message DynamicValue (msgpack = 1); in there, go-cty's
 * MessagePack. Terraform 1.11.4 writes it so; the numbers never changed since 0.12.
 *
 * Return: 0 and *@ret, the caller's to wipe and free, BACKEND_FILE_MAX bytes at most;
 * -EBADMSG for what terraform cannot read either: cut short, or without a backend;
 * -EOPNOTSUPP for what it might: another version of the format, a field twice, a
 * config that is no map, too deep, too long, or with values that JSON cannot hold;
 * -ENOMEM. On -EBADMSG and -EOPNOTSUPP *@ret_why, static, says why, with the plan
 * as the subject: "is damaged".
 */
int plan_decode(char **ret, const void *data, size_t len, const char **ret_why);
