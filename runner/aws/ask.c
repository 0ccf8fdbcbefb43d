/* SPDX-License-Identifier: MIT */
#include "runner/aws/ask.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/aws_files.h"
#include "common/backend_parts.h"
#include "common/clock.h"
#include "common/env.h"
#include "common/parse.h"
#include "common/text.h"

/* --- keys ------------------------------------------------------------------------------------ */

void keys_clear(struct keys *keys)
{
	secret_free(keys->access_key);
	secret_free(keys->secret_key);
	secret_free(keys->token);
	free(keys->source);
	*keys = (struct keys){ 0 };
}

int keys_set(struct keys *keys, const char *access_key, const char *secret_key, const char *token)
{
	if (text_replace(&keys->access_key, access_key ?: "") < 0 ||
	    text_replace(&keys->secret_key, secret_key ?: "") < 0)
		return -ENOMEM;
	return token && *token ? text_replace(&keys->token, token) : 0;
}

/* --- clocks ---------------------------------------------------------------------------------- */

uint64_t ask_now(void)
{
	return clock_usec(CLOCK_REALTIME);
}

uint64_t ask_clock(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

/* --- the question ---------------------------------------------------------------------------- */

int ask_fail(struct ask *ask, int error, const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		text = NULL;
		return -ENOMEM;
	}
	(void)text_printable(text, (size_t)len + 1, text);
	if (text_replace(&ask->error, text) < 0)
		return -ENOMEM;
	return error;
}

static int take_env(struct ask *ask)
{
	const json_t *list = json_object_get(ask->question, "environment");

	ask->env = calloc(json_array_size(list) + 1, sizeof(*ask->env));
	if (!ask->env)
		return -ENOMEM;
	for (size_t i = 0, used = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text) /* lent, and never written to */
			memcpy(&ask->env[used++], &text, sizeof(text));
	}
	return 0;
}

static int understand(struct ask *ask)
{
	const char *directory = json_string_value(json_object_get(ask->question, "directory"));
	const json_t *proxy = json_object_get(ask->question, "proxy");

	if (!json_is_array(json_object_get(ask->question, "environment")) || !directory ||
	    *directory != '/') {
		return ask_fail(ask, -EINVAL,
				"The question for credentials has no environment or directory: "
				"tfqd and tfq-runner are not of the same version.");
	}
	ask->backend = json_object_get(ask->question, "backend");
	ask->session_name =
		json_string_value(json_object_get(ask->question, "session_name")) ?: "tfqd";
	ask->proxy = (struct proxy_settings){
		.http = json_string_value(json_object_get(proxy, "http")),
		.https = json_string_value(json_object_get(proxy, "https")),
		.no_proxy = json_string_value(json_object_get(proxy, "no_proxy")),
	};
	if (chdir(directory) < 0)
		return ask_fail(ask, -errno, "%s: cannot go there to look for AWS credentials: %s",
				directory, strerror(errno));
	return take_env(ask);
}

int ask_new(struct ask **ret, const char *text, size_t len)
{
	struct ask *ask = calloc(1, sizeof(*ask));
	json_int_t seconds;
	int r;

	if (!ask)
		return -ENOMEM;
	ask->question = json_loadb(text, len, 0, NULL);
	seconds = json_integer_value(json_object_get(ask->question, "seconds"));
	ask->seconds = seconds >= 1 && seconds <= ASK_SECONDS ? (uint64_t)seconds : ASK_SECONDS;
	ask->deadline_usec = ask_clock() + ask->seconds * USEC_PER_SEC;
	r = understand(ask);
	*ret = ask;
	return r;
}

struct ask *ask_free(struct ask *ask)
{
	if (!ask)
		return NULL;
	free(ask->error);
	free(ask->unread);
	profiles_free(ask->profiles);
	free(ask->env);
	backend_json_free(ask->question);
	free(ask);
	return NULL;
}

const char *ask_text(const struct ask *ask, const char *member)
{
	const char *value = json_string_value(json_object_get(ask->backend, member));

	return value && *value ? value : NULL;
}

const char *ask_env(const struct ask *ask, const char *name)
{
	return env_get_filled(ask->env, name);
}

bool ask_bool(const struct ask *ask, const char *member, const char *env_name)
{
	const json_t *value = json_object_get(ask->backend, member);

	if (json_is_boolean(value))
		return json_is_true(value);
	return env_name && ask_env(ask, env_name);
}

const char *ask_profile_text(const struct ask *ask, const char *key)
{
	if (!ask->profile || !ask->profiles)
		return NULL;
	return profiles_get(ask->profiles, PROFILE_PROFILE, ask->profile, key);
}

static bool ignores_endpoints(const struct ask *ask)
{
	const char *ignore = ask_env(ask, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");

	if (!ignore)
		ignore = ask_profile_text(ask, "ignore_configured_endpoint_urls");
	return ignore && strcasecmp(ignore, "true") == 0;
}

/* The SDK's: variables first, then what the profile says. */
static const char *sdk_endpoint(const struct ask *ask, const char *service)
{
	char name[64], key[64];
	const char *services = ask_profile_text(ask, "services");
	const char *url;

	(void)snprintf(name, sizeof(name), "AWS_ENDPOINT_URL_%s", service);
	url = ask_env(ask, name);
	if (!url)
		url = ask_env(ask, "AWS_ENDPOINT_URL");
	(void)snprintf(key, sizeof(key), "%s.endpoint_url", service);
	for (char *c = key; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (!url && services)
		url = profiles_get(ask->profiles, PROFILE_SERVICES, services, key);
	return url ? url : ask_profile_text(ask, "endpoint_url");
}

const char *ask_endpoint(const struct ask *ask, const char *member, const char *service)
{
	const char *fallback = json_string_value(json_object_get(ask->question, "endpoint_sts"));
	const bool is_sts = strcmp(service, "STS") == 0;
	const char *url = member ? ask_text(ask, member) : NULL;
	char name[64];

	/* These names are terraform's own, so that it heeds them even if the SDK's are ignored. */
	(void)snprintf(name, sizeof(name), "AWS_ENDPOINT_URL_%s", service);
	if (!url && member)
		url = ask_env(ask, name);
	if (!url && is_sts)
		url = ask_env(ask, "AWS_STS_ENDPOINT");
	if (!url && !ignores_endpoints(ask))
		url = sdk_endpoint(ask, service);
	return url || !is_sts || !fallback || !*fallback ? url : fallback;
}

/* --- files ----------------------------------------------------------------------------------- */

int ask_read_file(char **ret, const char *path)
{
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	size_t used = 0;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	text = malloc(ASK_FILE_MAX + 1);
	if (!text)
		return -ENOMEM;
	while (used <= ASK_FILE_MAX) {
		const ssize_t n = read(fd, text + used, ASK_FILE_MAX + 1 - used);

		if (n < 0 && errno != EINTR) {
			const int error = errno;

			free(text);
			return -error;
		}
		if (n == 0)
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	if (used > ASK_FILE_MAX || memchr(text, '\0', used)) {
		explicit_bzero(text, used);
		free(text);
		return used > ASK_FILE_MAX ? -EFBIG : -EINVAL;
	}
	text[used] = '\0';
	*ret = text;
	return 0;
}

/* What cannot be read holds nothing, as for the SDK. */
static int read_shared(void *context, const char *path, char **ret)
{
	struct ask *ask = context;
	const int r = ask_read_file(ret, path);

	if (r == 0 || r == -ENOMEM)
		return r;
	return r == -ENOENT ? 0 : text_replace(&ask->unread, path);
}

int ask_load_profiles(struct ask *ask)
{
	const struct aws_files files = {
		.env = ask->env,
		.config_files = json_object_get(ask->backend, "shared_config_files"),
		.credentials_files = json_object_get(ask->backend, "shared_credentials_files"),
		.read = read_shared,
		.context = ask,
	};
	int r;

	if (ask->profiles)
		return 0;
	r = profiles_new(&ask->profiles);
	return r < 0 ? r : aws_files_load(ask->profiles, &files);
}
