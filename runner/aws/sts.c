/* SPDX-License-Identifier: MIT */
/* Roles, by the Security Token Service (aws.md 5.6, 6). */
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/aws/aws_error.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/aws_files.h"
#include "common/parse.h"
#include "common/timestamp.h"
#include "runner/aws/fetch.h"
#include "runner/aws/sources.h"
#include "runner/aws/sts_answer.h"

#define API_VERSION      "2011-06-15"
#define CONTENT_TYPE     "application/x-www-form-urlencoded; charset=utf-8"
#define DURATION_SECONDS UINT64_C(3600) /* what every role allows, and a chain of them at most */
#define WEB_TRIES        3
#define GLOBAL_REGION    "us-east-1"
#define SKEW_MAX_SEC     240 /* a refusal at less is not the clock's (aws.md 4.4) */

struct call {
	const char *action;
	const char *body;
	const struct keys *sign_with; /* NULL: unsigned */
	char *url, *host, *path;      /* where; own */
	const char *region;           /* lent: of the signature */
	time_t signed_at, offset;     /* by STS's clock, and what that differs from ours by */
};

static void call_clear(struct call *call)
{
	free(call->url);
	free(call->host);
	free(call->path);
}

static void url_freep(CURLU **p)
{
	curl_url_cleanup(*p);
}

static void part_freep(char **p)
{
	curl_free(*p);
}

/* --- the form -------------------------------------------------------------------------------- */

struct form {
	FILE *out;
	bool is_cut; /* something of it is missing, for want of memory: it must not be sent */
};

static void put(struct form *form, const char *name, const char *value)
{
	CLEANUP(secret_freep) char *coded = NULL;

	if (!value)
		return;
	if (sigv4_encode(&coded, value, false) < 0)
		form->is_cut = true;
	else
		(void)fprintf(form->out, "&%s=%s", name, coded);
}

static void put_list(struct form *form, const json_t *list, const char *name, const char *member)
{
	char full[64];

	for (size_t i = 0; i < json_array_size(list); i++) {
		(void)snprintf(full, sizeof(full), "%s.member.%zu%s", name, i + 1, member);
		put(form, full, json_string_value(json_array_get(list, i)));
	}
}

static void put_tags(struct form *form, json_t *tags)
{
	const char *tag;
	json_t *value;
	char member[64];
	size_t i = 0;

	json_object_foreach(tags, tag, value)
	{
		i++;
		(void)snprintf(member, sizeof(member), "Tags.member.%zu.Key", i);
		put(form, member, tag);
		(void)snprintf(member, sizeof(member), "Tags.member.%zu.Value", i);
		put(form, member, json_string_value(value));
	}
}

/* Session names are [\w+=,.@-]{2,64}. */
static void put_session(struct form *form, const struct ask *ask, const char *name)
{
	char clean[65];
	size_t len;

	(void)snprintf(clean, sizeof(clean), "%s", name ? name : ask->session_name);
	for (char *c = clean; *c; c++) {
		if (!isascii((unsigned char)*c) ||
		    (!isalnum((unsigned char)*c) && !strchr("_+=,.@-", *c)))
			*c = '-';
	}
	for (len = strlen(clean); len < 2; len++) {
		clean[len] = '-';
		clean[len + 1] = '\0';
	}
	put(form, "RoleSessionName", clean);
}

/* The body of a call. Return: 0 or -ENOMEM. */
static int make_form(char **ret, const struct ask *ask, const char *action,
		     const struct sts_role *role, const char *token)
{
	CLEANUP(secret_freep) char *text = NULL;
	char duration[24];
	size_t size;
	struct form form = { .out = open_memstream(&text, &size) };

	if (!form.out)
		return -ENOMEM;
	(void)fprintf(form.out, "Action=%s&Version=" API_VERSION, action);
	put(&form, "RoleArn", role->arn);
	put_session(&form, ask, role->session_name);
	(void)snprintf(duration, sizeof(duration), "%" PRIu64,
		       role->duration_seconds ? role->duration_seconds : DURATION_SECONDS);
	put(&form, "DurationSeconds", duration);
	put(&form, "Policy", role->policy);
	put_list(&form, role->policy_arns, "PolicyArns", ".arn");
	put(&form, "WebIdentityToken", token);
	put(&form, "ExternalId", role->external_id);
	put(&form, "SourceIdentity", role->source_identity);
	put_tags(&form, role->tags);
	put_list(&form, role->transitive_tag_keys, "TransitiveTagKeys", "");
	if (fclose(form.out) != 0 || form.is_cut)
		return -ENOMEM;
	*ret = TAKE_PTR(text);
	return 0;
}

/* --- where ----------------------------------------------------------------------------------- */

static const char *find_region(const struct ask *ask)
{
	const char *region = ask_text(ask, "sts_region");

	if (!region)
		region = ask_text(ask, "region");
	if (!region)
		region = ask_env(ask, "AWS_REGION");
	if (!region)
		region = ask_env(ask, "AWS_DEFAULT_REGION");
	return region ? region : ask_profile_text(ask, "region");
}

/* AWS's own host. FIPS has no name of its own in us-gov-*, where all are. */
static int make_url(char **ret, struct ask *ask, const char *region)
{
	const bool use_fips = ask_bool(ask, "use_fips", "AWS_USE_FIPS_ENDPOINT") && region &&
			      strncmp(region, "us-gov-", 7) != 0;
	const bool use_dualstack =
		ask_bool(ask, "use_dualstack", "AWS_USE_DUALSTACK_ENDPOINT") && region;
	const char *suffix = endpoint_suffix(region ? region : GLOBAL_REGION, use_dualstack);
	int n;

	if (!suffix) {
		return ask_fail(ask, -EINVAL,
				"The region for STS is not the name of one: correct region in the "
				"backend block, AWS_REGION or the profile.");
	}
	n = region ? asprintf(ret, "https://sts%s.%s.%s/", use_fips ? "-fips" : "", region, suffix)
		   : asprintf(ret, "https://sts.%s/", suffix);
	if (n < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Host and path as they are on the wire, for the signature. */
static int take_apart(struct call *call, struct ask *ask)
{
	CLEANUP(url_freep) CURLU *url = curl_url();
	CLEANUP(part_freep) char *host = NULL;
	CLEANUP(part_freep) char *port = NULL;
	CLEANUP(part_freep) char *path = NULL;
	CLEANUP(part_freep) char *whole = NULL;

	if (!url)
		return -ENOMEM;
	if (curl_url_set(url, CURLUPART_URL, call->url, CURLU_DISALLOW_USER) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_URL, &whole, 0) != CURLUE_OK) {
		return ask_fail(ask, -EINVAL,
				"The endpoint of STS must be a URL like https://HOST, without user "
				"and password: see endpoints in the backend block, "
				"AWS_ENDPOINT_URL_STS and AWS_ENDPOINT_URL.");
	}
	(void)curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
	if (asprintf(&call->host, "%s%s%s", host, port ? ":" : "", port ? port : "") < 0) {
		call->host = NULL;
		return -ENOMEM;
	}
	call->path = strdup(path);
	free(call->url);
	call->url = strdup(whole);
	return call->path && call->url ? 0 : -ENOMEM;
}

static int find_place(struct call *call, struct ask *ask)
{
	const char *custom = ask_endpoint(ask, "endpoint_sts", "STS");
	const char *region = find_region(ask);
	int r = 0;

	if (custom)
		call->url = strdup(custom);
	else
		r = make_url(&call->url, ask, region);
	if (r < 0)
		return r;
	if (!call->url)
		return -ENOMEM;
	call->region = region ? region : GLOBAL_REGION;
	return take_apart(call, ask);
}

/* --- one call -------------------------------------------------------------------------------- */

static int sign(char **ret, const struct call *call, const char *date)
{
	const struct sigv4_credentials credentials = {
		.access_key = call->sign_with->access_key,
		.secret_key = call->sign_with->secret_key,
		.token = call->sign_with->token,
	};
	struct sigv4_header headers[] = {
		{ "content-type", CONTENT_TYPE },
		{ "host", call->host },
		{ "x-amz-date", date },
		{ "x-amz-security-token", credentials.token },
	};
	char hash[SIGV4_HASH_LEN];
	struct sigv4_request request = {
		.method = "POST",
		.path = call->path,
		.headers = headers,
		.header_count = credentials.token ? 4 : 3,
		.payload_hash = hash,
		.region = call->region,
		.service = "sts",
		.date = date,
	};
	int r;

	r = sigv4_hash(hash, call->body, strlen(call->body));
	return r < 0 ? r : sigv4_authorization(ret, &request, &credentials);
}

/* "Name: value", the caller's to wipe; NULL: no memory. */
static char *header(const char *name, const char *value)
{
	char *text;

	return asprintf(&text, "%s: %s", name, value) < 0 ? NULL : text;
}

static int send_call(struct fetch_answer *answer, struct ask *ask, struct call *call)
{
	CLEANUP(secret_freep) char *authorization = NULL;
	CLEANUP(secret_freep) char *signature = NULL;
	CLEANUP(secret_freep) char *token = NULL;
	AUTO_FREE char *host = header("Host", call->host);
	static const char type[] = "Content-Type: " CONTENT_TYPE;
	char date[SIGV4_DATE_LEN], date_header[64];
	const char *headers[] = { type, host, NULL, NULL, NULL, NULL };
	const struct fetch request = {
		.method = "POST",
		.url = call->url,
		.headers = headers,
		.body = call->body,
	};
	size_t count = 2;
	int r;

	if (!host)
		return -ENOMEM;
	if (call->sign_with) {
		call->signed_at = time(NULL) + call->offset;
		sigv4_date(date, call->signed_at);
		r = sign(&signature, call, date);
		if (r == -EINVAL) {
			return ask_fail(ask, r,
					"The AWS keys of %s cannot be signed with: they "
					"hold a control character.",
					call->sign_with->source);
		}
		if (r < 0)
			return r;
		authorization = header("Authorization", signature);
		(void)snprintf(date_header, sizeof(date_header), "X-Amz-Date: %s", date);
		headers[count++] = date_header;
		headers[count++] = authorization;
		if (call->sign_with->token) {
			token = header("X-Amz-Security-Token", call->sign_with->token);
			headers[count++] = token;
		}
		if (!authorization || (call->sign_with->token && !token))
			return -ENOMEM;
	}
	return fetch(answer, ask, &request);
}

static int take_keys(struct keys *keys, struct ask *ask, const struct call *call,
		     const struct fetch_answer *answer)
{
	CLEANUP(sts_answer_freep) struct sts_answer *found = NULL;
	int r;

	r = sts_answer_parse(&found, call->action, answer->body, answer->len);
	if (r == 0)
		r = timestamp_parse(found->expiration, &keys->expires_usec) < 0 ? -EBADMSG : 0;
	if (r == -EBADMSG)
		return ask_fail(ask, r, "%s answered %s with what are no credentials: is that STS?",
				call->host, call->action);
	if (r < 0)
		return r;
	return keys_set(keys, found->access_key, found->secret_key, found->token);
}

/* Was it our clock that STS refused, for the first time? Then learn its own. */
static bool learn_clock(struct call *call, const struct fetch_answer *answer, const char *code)
{
	if (!call->sign_with || call->offset != 0 || answer->date < 0 ||
	    llabs((long long)answer->date - (long long)call->signed_at) <= SKEW_MAX_SEC ||
	    (strcmp(code, "SignatureDoesNotMatch") != 0 &&
	     strcmp(code, "InvalidSignatureException") != 0 && strcmp(code, "RequestExpired") != 0))
		return false;
	call->offset = answer->date - time(NULL);
	return true;
}

/* @ret_code, of AWS_ERROR_TEXT_MAX bytes: why STS refused, "" if it did not say. */
static int ask_sts(struct keys *keys, struct ask *ask, struct call *call, const char *arn,
		   char *ret_code)
{
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	struct aws_error error;
	int r;

	*ret_code = '\0';
	r = send_call(&answer, ask, call);
	if (r == -EIO)
		return ask_fail(ask, r, "STS could not be asked for role %s (%s): %s.", arn,
				call->host, answer.error);
	if (r < 0)
		return r;
	if (answer.status == 200)
		return take_keys(keys, ask, call, &answer);

	aws_error_parse(&error, answer.body, answer.len);
	if (learn_clock(call, &answer, error.code))
		return ask_sts(keys, ask, call, arn, ret_code); /* once */
	(void)snprintf(ret_code, AWS_ERROR_TEXT_MAX, "%s", error.code);
	return ask_fail(ask, -EACCES, "STS does not give role %s (%s): HTTP %d %s%s%s", arn,
			call->host, answer.status, error.code, *error.message ? ": " : "",
			error.message);
}

/* --- roles ----------------------------------------------------------------------------------- */

int sts_assume(struct keys *keys, struct ask *ask, const struct sts_role *role,
	       const struct keys *with)
{
	CLEANUP(call_clear) struct call call = { .action = "AssumeRole", .sign_with = with };
	CLEANUP(secret_freep) char *form = NULL;
	char code[AWS_ERROR_TEXT_MAX];
	int r;

	if (!role->arn) {
		return ask_fail(ask, -EINVAL,
				"There is a role to assume, but no role_arn: add it to assume_role "
				"in the backend block.");
	}
	r = find_place(&call, ask);
	if (r == 0)
		r = make_form(&form, ask, call.action, role, NULL);
	if (r != 0)
		return r;
	call.body = form;
	r = ask_sts(keys, ask, &call, role->arn, code);
	if (r < 0)
		return r;
	keys->can_refresh = true;
	if (asprintf(&keys->source, "role %s via %s", role->arn, with->source) < 0) {
		keys->source = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Read anew for every call: whoever issues it replaces it in time. */
static int read_token(char **ret, struct ask *ask, const char *file)
{
	AUTO_FREE char *path = NULL;
	CLEANUP(secret_freep) char *text = NULL;
	int r;

	r = aws_files_expand(&path, ask->env, file);
	if (r < 0)
		return r;
	r = ask_read_file(&text, path);
	if (r < 0)
		return ask_fail(ask, r, "The web identity token file %s cannot be read: %s", path,
				strerror(-r));
	for (size_t len = strlen(text); len > 0 && isspace((unsigned char)text[len - 1]); len--)
		text[len - 1] = '\0';
	if (!*text)
		return ask_fail(ask, -EINVAL, "The web identity token file %s is empty.", path);
	*ret = TAKE_PTR(text);
	return 0;
}

static bool is_worth_another_try(const char *code)
{
	return strcmp(code, "IDPCommunicationError") == 0 ||
	       strcmp(code, "InvalidIdentityToken") == 0 ||
	       strcmp(code, "ExpiredTokenException") == 0;
}

static int web_identity_once(struct keys *keys, struct ask *ask, const struct sts_role *role,
			     const char *token, char *ret_code)
{
	CLEANUP(call_clear) struct call call = { .action = "AssumeRoleWithWebIdentity" };
	CLEANUP(secret_freep) char *form = NULL;
	int r;

	r = find_place(&call, ask);
	if (r == 0)
		r = make_form(&form, ask, call.action, role, token);
	if (r != 0)
		return r;
	call.body = form;
	return ask_sts(keys, ask, &call, role->arn, ret_code);
}

int sts_web_identity(struct keys *keys, struct ask *ask, const struct sts_role *role,
		     const char *token, const char *token_file)
{
	const struct timespec pause = { .tv_nsec = 500000000L };
	char code[AWS_ERROR_TEXT_MAX] = "";
	int r = 0;

	if (!role->arn) {
		return ask_fail(
			ask, -EINVAL,
			"There is a web identity token, but no role for it: set role_arn, or "
			"AWS_ROLE_ARN.");
	}
	if (!token && !token_file) {
		return ask_fail(ask, -EINVAL,
				"A web identity is asked for, but there is no token: set "
				"web_identity_token_file, or AWS_WEB_IDENTITY_TOKEN_FILE.");
	}
	for (int i = 1; i <= WEB_TRIES; i++) {
		CLEANUP(secret_freep) char *read = NULL;

		r = token ? 0 : read_token(&read, ask, token_file);
		if (r < 0)
			return r;
		r = web_identity_once(keys, ask, role, token ? token : read, code);
		if (r == 0 || !is_worth_another_try(code) || i == WEB_TRIES)
			break;
		(void)nanosleep(&pause, NULL);
	}
	if (r < 0)
		return r;
	keys->can_refresh = true;
	if (asprintf(&keys->source, "role %s via web identity", role->arn) < 0) {
		keys->source = NULL;
		return -ENOMEM;
	}
	return 0;
}
