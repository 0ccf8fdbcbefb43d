/* SPDX-License-Identifier: MIT */
/*
 * The shared files of AWS's tools, ~/.aws/config and ~/.aws/credentials, as the Go SDK reads them
 * (aws.md 5.2). Pure; wiped when freed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"

enum profile_file { PROFILE_CONFIG, PROFILE_CREDENTIALS };

/* What a section is of: [profile NAME] (in credentials: [NAME]), [sso-session NAME], [services
 * NAME]. */
enum profile_kind { PROFILE_PROFILE, PROFILE_SSO_SESSION, PROFILE_SERVICES };

struct profiles;

/* Return: 0 or -ENOMEM. */
int profiles_new(struct profiles **ret);
struct profiles *profiles_free(struct profiles *profiles);
DEFINE_FREEP(profiles);

/*
 * Read the text of one file into @profiles: configuration files first, then those of credentials,
 * later ones over earlier ones, key by key; only access key, secret and session token come from one
 * file together, and what is said of endpoints (endpoint_url, services and its sections,
 * ignore_configured_endpoint_urls) from the first file with that section. In a configuration file
 * [profile default] beats [default], and other sections without "profile" are ignored. What is no
 * line of such a file is passed over, as the SDK does.
 *
 * Return: 0 or -ENOMEM.
 */
int profiles_add(struct profiles *profiles, enum profile_file file, const char *text);

bool profiles_has(const struct profiles *profiles, enum profile_kind kind, const char *name);

/*
 * The value of @key (lower case; "s3.endpoint_url" for one nested below s3) in a section; NULL if
 * it is not there or is empty. Lent.
 */
const char *profiles_get(const struct profiles *profiles, enum profile_kind kind, const char *name,
			 const char *key);
