/* SPDX-License-Identifier: MIT */
/* What the container (aws.md 5.4) or the instance (5.5) that we are in gives. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/backend_parts.h"
#include "common/text.h"
#include "common/timestamp.h"
#include "runner/aws/fetch.h"
#include "runner/aws/sources.h"

#define ECS_HOST      "http://169.254.170.2"
#define IMDS_V4       "http://169.254.169.254"
#define IMDS_V6       "http://[fd00:ec2::254]"
#define TOKEN_PATH    "/latest/api/token"
#define ROLE_PATH     "/latest/meta-data/iam/security-credentials/"
#define TOKEN_SECONDS "21600"
#define ROLE_MAX      256

static void url_freep(CURLU **p)
{
	curl_url_cleanup(*p);
}

static void part_freep(char **p)
{
	curl_free(*p);
}

int keys_from_json(struct keys *keys, const json_t *object, const char *const names[4])
{
	const char *access_key = json_string_value(json_object_get(object, names[0]));
	const char *secret_key = json_string_value(json_object_get(object, names[1]));
	const json_t *until = names[3] ? json_object_get(object, names[3]) : NULL;

	if (!access_key || !*access_key || !secret_key || !*secret_key)
		return -EBADMSG;
	if (until && !json_is_null(until) &&
	    (!json_is_string(until) ||
	     timestamp_parse(json_string_value(until), &keys->expires_usec) < 0))
		return -EBADMSG;
	return keys_set(keys, access_key, secret_key,
			json_string_value(json_object_get(object, names[2])));
}

static const char *const names_of_role[4] = { "AccessKeyId", "SecretAccessKey", "Token",
					      "Expiration" };

/* --- containers ------------------------------------------------------------------------------ */

bool container_is_there(const struct ask *ask)
{
	return ask_env(ask, "AWS_CONTAINER_CREDENTIALS_FULL_URI") ||
	       ask_env(ask, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
}

/* Over plain HTTP a token goes to this machine and to AWS's own link-local addresses only. */
static bool is_allowed(const char *text)
{
	CLEANUP(url_freep) CURLU *url = curl_url();
	CLEANUP(part_freep) char *scheme = NULL;
	CLEANUP(part_freep) char *host = NULL;
	size_t len;

	if (!url || curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return false;
	if (strcasecmp(scheme, "https") == 0)
		return true;
	if (strcasecmp(scheme, "http") != 0)
		return false;
	len = strlen(host);
	if (len > 2 && host[0] == '[') {
		host[len - 1] = '\0';
		return fetch_is_loopback(host + 1) || strcasecmp(host + 1, "fd00:ec2::23") == 0;
	}
	return fetch_is_loopback(host) || strcmp(host, "169.254.170.2") == 0 ||
	       strcmp(host, "169.254.170.23") == 0;
}

static int container_url(char **ret, struct ask *ask)
{
	const char *full = ask_env(ask, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *relative = ask_env(ask, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");

	if (full) {
		if (!is_allowed(full)) {
			return ask_fail(
				ask, -EINVAL,
				"AWS_CONTAINER_CREDENTIALS_FULL_URI is refused: over http it "
				"must lead to this machine or to 169.254.170.2, "
				"169.254.170.23 or [fd00:ec2::23], and it must not hold a "
				"user or password.");
		}
		*ret = strdup(full);
		return *ret ? 0 : -ENOMEM;
	}
	if (*relative != '/') /* or it would become part of the host's name */
		return ask_fail(ask, -EINVAL,
				"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with a slash.");
	if (asprintf(ret, "%s%s", ECS_HOST, relative) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* "Authorization: ...", or NULL there if none is needed. The file is read anew every time. */
static int container_header(char **ret, struct ask *ask)
{
	const char *file = ask_env(ask, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = ask_env(ask, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	CLEANUP(secret_freep) char *text = NULL;
	int r;

	if (file) {
		r = ask_read_file(&text, file);
		if (r < 0) {
			return ask_fail(ask, r,
					"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE (%s) cannot be "
					"read: %s",
					file, strerror(-r));
		}
		token = text;
	}
	if (!token || !*token)
		return 0;
	if (strpbrk(token, "\r\n"))
		return ask_fail(ask, -EINVAL,
				"The container's authorization token holds a line break.");
	if (asprintf(ret, "Authorization: %s", token) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int take_container(struct keys *keys, struct ask *ask, const struct fetch_answer *answer)
{
	CLEANUP(backend_json_freep) json_t *object = json_loadb(answer->body, answer->len, 0, NULL);
	const char *message = json_string_value(json_object_get(object, "message"));
	int r;

	if (answer->status != 200) {
		return ask_fail(ask, -EACCES,
				"The container's credentials service refuses: HTTP %d%s%.200s",
				answer->status, message ? ": " : "", message ? message : "");
	}
	r = keys_from_json(keys, object, names_of_role);
	if (r == -EBADMSG) {
		return ask_fail(ask, r,
				"The container's credentials service answered with what are no "
				"credentials: see AWS_CONTAINER_CREDENTIALS_FULL_URI.");
	}
	if (r < 0)
		return r;
	keys->can_refresh = true;
	return text_replace(&keys->source, "container");
}

int container_find(struct keys *keys, struct ask *ask)
{
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	CLEANUP(secret_freep) char *authorization = NULL;
	AUTO_FREE char *url = NULL;
	const char *headers[] = { NULL, NULL };
	struct fetch request = { .method = "GET", .headers = headers, .is_local = true };
	int r;

	r = container_url(&url, ask);
	if (r == 0)
		r = container_header(&authorization, ask);
	if (r < 0)
		return r;
	request.url = url;
	headers[0] = authorization;
	r = fetch(&answer, ask, &request);
	if (r == -EIO)
		return ask_fail(ask, r, "The container's credentials service does not answer: %s.",
				answer.error);
	return r < 0 ? r : take_container(keys, ask, &answer);
}

/* --- instances ------------------------------------------------------------------------------- */

struct imds {
	struct ask *ask;
	const char *base;  /* lent: without a slash at its end */
	const char *tried; /* for sentences */
	char *token;       /* "X-aws-ec2-metadata-token: ..."; NULL: version 1 */
	bool has_renewed;  /* the token, after a 401 */
};

static void imds_clear(struct imds *imds)
{
	secret_freep(&imds->token);
}

static const char *setting(const struct ask *ask, const char *member, const char *env_name,
			   const char *key)
{
	const char *value = ask_text(ask, member);

	if (!value)
		value = ask_env(ask, env_name);
	if (!value && strcmp(key, "ec2_metadata_service_endpoint") == 0)
		value = ask_env(ask, "AWS_METADATA_URL");
	return value ? value : ask_profile_text(ask, key);
}

static const char *imds_base(const struct ask *ask)
{
	const char *base =
		setting(ask, "ec2_metadata_service_endpoint", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
			"ec2_metadata_service_endpoint");
	const char *mode = setting(ask, "ec2_metadata_service_endpoint_mode",
				   "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
				   "ec2_metadata_service_endpoint_mode");

	if (base)
		return base;
	return mode && strcasecmp(mode, "IPv6") == 0 ? IMDS_V6 : IMDS_V4;
}

static bool imds_is_off(const struct ask *ask)
{
	const char *disabled = ask_env(ask, "AWS_EC2_METADATA_DISABLED");
	const json_t *skip = json_object_get(ask->backend, "skip_metadata_api_check");

	if (json_is_boolean(skip))
		return json_is_true(skip);
	return disabled && strcasecmp(disabled, "true") == 0;
}

static bool imds_v1_is_off(const struct ask *ask)
{
	const char *disabled = ask_env(ask, "AWS_EC2_METADATA_V1_DISABLED");

	if (!disabled)
		disabled = ask_profile_text(ask, "ec2_metadata_v1_disabled");
	return disabled && strcasecmp(disabled, "true") == 0;
}

static int no_keys(const struct imds *imds, const char *why)
{
	return ask_fail(imds->ask, -ENOKEY,
			"There are no AWS credentials: %s has none, and %s. Set AWS_PROFILE or "
			"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in (aws sso login), "
			"and run it again.",
			imds->tried, why);
}

/* Ask for @path. Return: as fetch(). */
static int imds_fetch(struct fetch_answer *answer, struct imds *imds, const char *method,
		      const char *path)
{
	AUTO_FREE char *url = NULL;
	const char *ask_token = "X-aws-ec2-metadata-token-ttl-seconds: " TOKEN_SECONDS;
	const char *headers[] = { strcmp(method, "PUT") == 0 ? ask_token : imds->token, NULL };
	struct fetch request = { .method = method, .headers = headers, .is_local = true };
	size_t len = strlen(imds->base);

	while (len > 0 && imds->base[len - 1] == '/')
		len--;
	if (asprintf(&url, "%.*s%s", (int)len, imds->base, path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	request.url = url;
	return fetch(answer, imds->ask, &request);
}

static int on_no_token(const struct imds *imds, const struct fetch_answer *answer)
{
	if (answer->status == 0 && answer->is_connected && answer->is_timeout) {
		return ask_fail(imds->ask, -ETIMEDOUT,
				"The instance's metadata service does not answer the request for a "
				"token. In a container that is its hop limit: raise "
				"http-put-response-hop-limit to 2 (aws ec2 "
				"modify-instance-metadata-options), or set AWS_PROFILE.");
	}
	if (answer->status == 0)
		return no_keys(imds, "this machine has no metadata service that answers");
	if (answer->status == 403 || answer->status == 404 || answer->status == 405) {
		return imds_v1_is_off(imds->ask)
			       ? ask_fail(imds->ask, -EACCES,
					  "The instance's metadata service gives no token (HTTP "
					  "%d), and its first version is switched off by "
					  "AWS_EC2_METADATA_V1_DISABLED.",
					  answer->status)
			       : 0;
	}
	return ask_fail(imds->ask, -EACCES,
			"The instance's metadata service gives no token: HTTP %d.", answer->status);
}

static int get_token(struct imds *imds)
{
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	int r;

	r = imds_fetch(&answer, imds, "PUT", TOKEN_PATH);
	if (r < 0 && r != -EIO)
		return r;
	if (answer.status != 200)
		return on_no_token(imds, &answer);
	answer.body[strcspn(answer.body, "\r\n")] = '\0';
	secret_freep(&imds->token);
	if (asprintf(&imds->token, "X-aws-ec2-metadata-token: %s", answer.body) < 0) {
		imds->token = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* A token that ran out meanwhile is replaced, once. */
static int imds_get(struct fetch_answer *answer, struct imds *imds, const char *path)
{
	int r;

	r = imds_fetch(answer, imds, "GET", path);
	if (r == 0 && answer->status == 401 && !imds->has_renewed) {
		imds->has_renewed = true;
		r = get_token(imds);
		if (r == 0)
			r = imds_fetch(answer, imds, "GET", path);
	}
	if (r == -EIO) {
		return ask_fail(imds->ask, r,
				"The instance's metadata service does not answer: %s.",
				answer->error);
	}
	return r;
}

/* @ret_role has ROLE_MAX bytes. */
static int get_role(struct imds *imds, char *ret_role)
{
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	int r;

	r = imds_get(&answer, imds, ROLE_PATH);
	if (r < 0)
		return r;
	if (answer.status == 404)
		return no_keys(imds, "this instance has no role");
	if (answer.status != 200) {
		return ask_fail(imds->ask, -EACCES,
				"The instance's metadata service does not name a role: HTTP %d.",
				answer.status);
	}
	answer.body[strcspn(answer.body, "\r\n")] = '\0';
	if (!*answer.body || strlen(answer.body) >= ROLE_MAX ||
	    strpbrk(answer.body, "/?#% \t") != NULL)
		return no_keys(imds, "this instance has no role");
	(void)snprintf(ret_role, ROLE_MAX, "%s", answer.body);
	return 0;
}

static int take_role(struct keys *keys, struct imds *imds, const struct fetch_answer *answer,
		     const char *role)
{
	CLEANUP(backend_json_freep) json_t *object = json_loadb(answer->body, answer->len, 0, NULL);
	const char *code = json_string_value(json_object_get(object, "Code"));
	int r;

	if (answer->status != 200) {
		return ask_fail(imds->ask, -EACCES,
				"The instance's metadata service gives no credentials of role %s: "
				"HTTP %d.",
				role, answer->status);
	}
	if (code && strcmp(code, "Success") != 0) {
		return ask_fail(
			imds->ask, -EACCES,
			"The instance cannot use its role %s: %.100s. See its trust policy.", role,
			code);
	}
	r = keys_from_json(keys, object, names_of_role);
	if (r == -EBADMSG) {
		return ask_fail(imds->ask, r,
				"The instance's metadata service answered with what are no "
				"credentials of role %s.",
				role);
	}
	if (r < 0)
		return r;
	keys->can_refresh = true;
	if (asprintf(&keys->source, "instance role %s", role) < 0) {
		keys->source = NULL;
		return -ENOMEM;
	}
	return 0;
}

int instance_find(struct keys *keys, struct ask *ask, const char *tried)
{
	CLEANUP(imds_clear)
	struct imds imds = { .ask = ask, .base = imds_base(ask), .tried = tried };
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	char role[ROLE_MAX], path[sizeof(ROLE_PATH) + ROLE_MAX];
	int r;

	if (imds_is_off(ask))
		return no_keys(&imds, "the instance's metadata service is not to be asked");
	r = get_token(&imds);
	if (r == 0)
		r = get_role(&imds, role);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s%s", ROLE_PATH, role);
	r = imds_get(&answer, &imds, path);
	return r < 0 ? r : take_role(keys, &imds, &answer, role);
}
