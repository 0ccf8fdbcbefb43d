/* SPDX-License-Identifier: MIT */
/* IAM Identity Center, by the token that `aws sso login` left in its cache (aws.md 5.7). */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/aws_files.h"
#include "common/backend_parts.h"
#include "common/parse.h"
#include "common/timestamp.h"
#include "runner/aws/fetch.h"
#include "runner/aws/sources.h"

#define REFRESH_USEC      (5 * USEC_PER_MIN) /* a token with less left is renewed, if it can be */
#define SHA1_LEN          20
#define TOKEN_SECONDS_MAX 31536000 /* nobody's token lives longer than a year */

/* What the profile says, lent; and the cache. */
struct sso {
	const char *profile, *session; /* session: NULL for the old form */
	const char *start_url, *region, *account, *role;
	char *cache;   /* path of the token's file; own */
	json_t *token; /* what is in it; own, wiped */
};

static void sso_clear(struct sso *sso)
{
	backend_json_free(sso->token);
	free(sso->cache);
}

/* --- the profile ----------------------------------------------------------------------------- */

static int read_profile(struct sso *sso, struct ask *ask)
{
	const struct profiles *all = ask->profiles;

	sso->session = profiles_get(all, PROFILE_PROFILE, sso->profile, "sso_session");
	sso->account = profiles_get(all, PROFILE_PROFILE, sso->profile, "sso_account_id");
	sso->role = profiles_get(all, PROFILE_PROFILE, sso->profile, "sso_role_name");
	if (sso->session) {
		if (!profiles_has(all, PROFILE_SSO_SESSION, sso->session)) {
			return ask_fail(ask, -EINVAL,
					"Profile %s names the sso_session %s, but there is no "
					"[sso-session %s] in ~/.aws/config: run aws configure sso.",
					sso->profile, sso->session, sso->session);
		}
		sso->start_url =
			profiles_get(all, PROFILE_SSO_SESSION, sso->session, "sso_start_url");
		sso->region = profiles_get(all, PROFILE_SSO_SESSION, sso->session, "sso_region");
	} else {
		sso->start_url = profiles_get(all, PROFILE_PROFILE, sso->profile, "sso_start_url");
		sso->region = profiles_get(all, PROFILE_PROFILE, sso->profile, "sso_region");
	}
	if (!sso->account || !sso->role || !sso->start_url || !sso->region) {
		return ask_fail(ask, -EINVAL,
				"Profile %s does not say all that SSO needs (sso_account_id, "
				"sso_role_name, sso_start_url, sso_region): run aws configure sso "
				"--profile %s.",
				sso->profile, sso->profile);
	}
	return 0;
}

/* The cache's file is called by the SHA-1 of the session's name, or of the URL where there is none.
 */
static int find_cache(struct sso *sso, const struct ask *ask)
{
	const char *name = sso->session ? sso->session : sso->start_url;
	const char *home = aws_files_home(ask->env);
	unsigned char hash[EVP_MAX_MD_SIZE];
	char hex[2 * SHA1_LEN + 1];
	unsigned len = 0;

	if (EVP_Digest(name, strlen(name), hash, &len, EVP_sha1(), NULL) != 1 || len != SHA1_LEN)
		return -EIO;
	for (unsigned i = 0; i < len; i++)
		(void)snprintf(hex + 2 * (size_t)i, 3, "%02x", hash[i]);
	if (asprintf(&sso->cache, "%s/.aws/sso/cache/%s.json", home ? home : "", hex) < 0) {
		sso->cache = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* --- the token ------------------------------------------------------------------------------- */

static const char *token_text(const struct sso *sso, const char *name)
{
	return json_string_value(json_object_get(sso->token, name));
}

static int log_in(struct ask *ask, const struct sso *sso, const char *why)
{
	return ask_fail(ask, -EACCES, "%s: run aws sso login --profile %s.", why, sso->profile);
}

static int read_cache(struct sso *sso, struct ask *ask)
{
	CLEANUP(secret_freep) char *text = NULL;
	int r;

	r = ask_read_file(&text, sso->cache);
	if (r == -ENOENT || r == -ENOTDIR)
		return log_in(ask, sso, "There is no SSO session of this profile");
	if (r < 0)
		return ask_fail(ask, r, "The SSO session %s cannot be read: %s", sso->cache,
				strerror(-r));
	backend_json_free(sso->token);
	sso->token = json_loads(text, 0, NULL);
	if (!token_text(sso, "accessToken") || !token_text(sso, "expiresAt"))
		return log_in(ask, sso, "The cached SSO session is damaged");
	return 0;
}

/* Microseconds that the token lives on; 0: none. */
static uint64_t life_left(const struct sso *sso, const char *name)
{
	const char *text = token_text(sso, name);
	const uint64_t now = ask_now();
	uint64_t until = 0;

	if (!text || timestamp_parse(text, &until) < 0 || until <= now)
		return 0;
	return until - now;
}

static bool can_renew(const struct sso *sso)
{
	return sso->session && token_text(sso, "refreshToken") && token_text(sso, "clientId") &&
	       token_text(sso, "clientSecret") && life_left(sso, "registrationExpiresAt") > 0;
}

static int make_url(char **ret, struct ask *ask, const struct sso *sso, const char *service,
		    const char *path)
{
	const bool is_portal = strcmp(service, "SSO") == 0;
	const char *custom = ask_endpoint(ask, is_portal ? "endpoint_sso" : NULL, service);
	const char *suffix = endpoint_suffix(sso->region, false);
	int n;

	if (!suffix) {
		return ask_fail(ask, -EINVAL,
				"sso_region of profile %s is not the name of a region.",
				sso->profile);
	}
	if (custom) {
		n = asprintf(ret, "%.*s%s",
			     (int)(strlen(custom) - (custom[strlen(custom) - 1] == '/')), custom,
			     path);
	} else {
		n = asprintf(ret, "https://%s.%s.%s%s", is_portal ? "portal.sso" : "oidc",
			     sso->region, suffix, path);
	}
	if (n < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Beside the file, then in its place: a reader sees the old one or the new one. */
static int write_cache(const struct sso *sso)
{
	CLEANUP(secret_freep) char *text = json_dumps(sso->token, JSON_COMPACT);
	AUTO_FREE char *beside = NULL;
	size_t len, written = 0;
	int fd, r = 0;

	if (!text)
		return -ENOMEM;
	if (asprintf(&beside, "%s.XXXXXX", sso->cache) < 0) {
		beside = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(beside, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return -errno;
	len = strlen(text);
	while (r == 0 && written < len) {
		const ssize_t n = write(fd, text + written, len - written);

		if (n > 0)
			written += (size_t)n;
		else if (n == 0 || errno != EINTR)
			r = n == 0 ? -EIO : -errno;
	}
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(beside, sso->cache) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(beside);
	return r;
}

static int put_text(json_t *object, const char *name, const char *value)
{
	json_t *text = json_string(value);

	if (!text)
		return -ENOMEM;
	backend_json_wipe(json_object_get(object, name));
	return json_object_set_new(object, name, text) < 0 ? -ENOMEM : 0;
}

/* What the answer says goes into the token; what we do not know of stays. */
static int take_token(struct sso *sso, const char *body, size_t len)
{
	CLEANUP(backend_json_freep) json_t *answer = json_loadb(body, len, 0, NULL);
	const char *access = json_string_value(json_object_get(answer, "accessToken"));
	const char *refresh = json_string_value(json_object_get(answer, "refreshToken"));
	const json_int_t seconds = json_integer_value(json_object_get(answer, "expiresIn"));
	char until[TIMESTAMP_SIZE];
	int r;

	if (!access || seconds <= 0 || seconds > TOKEN_SECONDS_MAX)
		return -EBADMSG;
	(void)timestamp_format(until, ask_now() + (uint64_t)seconds * USEC_PER_SEC);
	r = put_text(sso->token, "accessToken", access);
	if (r == 0)
		r = put_text(sso->token, "expiresAt", until);
	if (r == 0 && refresh)
		r = put_text(sso->token, "refreshToken", refresh);
	return r;
}

static char *renewal_body(const struct sso *sso)
{
	CLEANUP(backend_json_freep)
	json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "clientId", token_text(sso, "clientId"),
				 "clientSecret", token_text(sso, "clientSecret"), "grantType",
				 "refresh_token", "refreshToken", token_text(sso, "refreshToken"));

	return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

static int renew_token(struct sso *sso, struct ask *ask)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	CLEANUP(secret_freep) char *body = renewal_body(sso);
	AUTO_FREE char *url = NULL;
	struct fetch request = { .method = "POST", .headers = headers, .body = body };
	int r;

	if (!body)
		return -ENOMEM;
	r = make_url(&url, ask, sso, "SSO_OIDC", "/token");
	if (r < 0)
		return r;
	request.url = url;
	r = fetch(&answer, ask, &request);
	if (r < 0)
		return r;
	if (answer.status != 200)
		return -EACCES;
	r = take_token(sso, answer.body, answer.len);
	/* A cache that cannot be written is no reason not to go on with what we have. */
	if (r == 0)
		(void)write_cache(sso);
	return r;
}

/* Several processes may renew at once: what another wrote meanwhile is as good. */
static int get_token(struct sso *sso, struct ask *ask)
{
	int r;

	r = read_cache(sso, ask);
	if (r < 0)
		return r;
	if (life_left(sso, "expiresAt") < REFRESH_USEC && can_renew(sso)) {
		r = renew_token(sso, ask);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			r = read_cache(sso, ask);
		if (r < 0)
			return r;
	}
	if (life_left(sso, "expiresAt") == 0)
		return log_in(ask, sso, "The SSO session has expired");
	return 0;
}

/* --- the role's keys ------------------------------------------------------------------------- */

static int take_keys(struct keys *keys, struct ask *ask, const char *body, size_t len)
{
	static const char *const names[4] = { "accessKeyId", "secretAccessKey", "sessionToken",
					      NULL };
	CLEANUP(backend_json_freep) json_t *answer = json_loadb(body, len, 0, NULL);
	const json_t *role = json_object_get(answer, "roleCredentials");
	const json_int_t msec = json_integer_value(json_object_get(role, "expiration"));
	int r;

	r = msec > 0 ? keys_from_json(keys, role, names) : -EBADMSG;
	if (r == -EBADMSG) {
		return ask_fail(ask, r,
				"The SSO portal answered with what are no credentials: see "
				"sso_region, and endpoints in the backend block.");
	}
	if (r == 0)
		keys->expires_usec = (uint64_t)msec * USEC_PER_MSEC;
	return r;
}

static int ask_portal(struct keys *keys, struct ask *ask, const struct sso *sso)
{
	CLEANUP(fetch_answer_clear) struct fetch_answer answer = { 0 };
	CLEANUP(secret_freep) char *bearer = NULL;
	AUTO_FREE char *account = NULL, *role = NULL;
	AUTO_FREE char *path = NULL, *url = NULL;
	const char *headers[] = { NULL, NULL };
	struct fetch request = { .method = "GET", .headers = headers };
	int r;

	if (sigv4_encode(&account, sso->account, false) < 0 ||
	    sigv4_encode(&role, sso->role, false) < 0)
		return -ENOMEM;
	if (asprintf(&path, "/federation/credentials?account_id=%s&role_name=%s", account, role) <
	    0) {
		path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&bearer, "x-amz-sso_bearer_token: %s", token_text(sso, "accessToken")) < 0) {
		bearer = NULL;
		return -ENOMEM;
	}
	if (strpbrk(bearer, "\r\n"))
		return log_in(ask, sso, "The cached SSO session is damaged");
	r = make_url(&url, ask, sso, "SSO", path);
	if (r < 0)
		return r;
	headers[0] = bearer;
	request.url = url;
	r = fetch(&answer, ask, &request);
	if (r == -EIO)
		return ask_fail(ask, r, "The SSO portal could not be asked: %s.", answer.error);
	if (r < 0)
		return r;
	if (answer.status == 401)
		return log_in(ask, sso, "The SSO session has expired");
	if (answer.status != 200) {
		return ask_fail(ask, -EACCES,
				"The SSO portal does not give role %s in account %s (profile %s): "
				"HTTP %d. See whether it is assigned to you.",
				sso->role, sso->account, sso->profile, answer.status);
	}
	return take_keys(keys, ask, answer.body, answer.len);
}

int sso_find(struct keys *keys, struct ask *ask, const char *profile)
{
	CLEANUP(sso_clear) struct sso sso = { .profile = profile };
	int r;

	r = read_profile(&sso, ask);
	if (r == 0)
		r = find_cache(&sso, ask);
	if (r == 0)
		r = get_token(&sso, ask);
	if (r == 0)
		r = ask_portal(keys, ask, &sso);
	if (r < 0)
		return r;
	keys->can_refresh = true;
	if (asprintf(&keys->source, "SSO via profile %s", profile) < 0) {
		keys->source = NULL;
		return -ENOMEM;
	}
	return 0;
}
