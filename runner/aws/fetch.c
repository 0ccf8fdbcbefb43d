/* SPDX-License-Identifier: MIT */
#include "runner/aws/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/aws_files.h"
#include "common/parse.h"
#include "common/text.h"

#define TRIES               3
#define PAUSE_MSEC          300L /* before the second try; the third waits twice as long */
#define CONNECT_MSEC        5000L
#define TRANSFER_MSEC       20000L
#define LOCAL_CONNECT_MSEC  1000L
#define LOCAL_TRANSFER_MSEC 2000L

static void curl_freep(CURL **p)
{
	curl_easy_cleanup(*p);
}

static void slist_freep(struct curl_slist **p)
{
	curl_slist_free_all(*p);
}

void fetch_answer_clear(struct fetch_answer *answer)
{
	if (answer->body)
		explicit_bzero(answer->body, answer->len);
	free(answer->body);
	*answer = (struct fetch_answer){ 0 };
}

/* What is here: the body gets its whole room at once, so that no copy of a secret stays behind. */
static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct fetch_answer *answer = userdata;
	const size_t len = size * count;

	if (len > FETCH_BODY_MAX - answer->len)
		return 0;
	memcpy(answer->body + answer->len, data, len);
	answer->len += len;
	answer->body[answer->len] = '\0';
	return len;
}

static int set_proxy(CURL *curl, struct ask *ask, const struct fetch *fetch)
{
	CLEANUP(secret_freep) char *proxy = NULL; /* may hold a password */
	AUTO_FREE char *error = NULL;
	int r;

	if (!fetch->is_local) {
		r = proxy_choose(&proxy, &ask->proxy, fetch->url, &error);
		if (r == -EINVAL)
			return ask_fail(ask, r, "%s", error ? error : "The proxy is no URL.");
		if (r < 0)
			return r;
	}
	/* "" also keeps libcurl from looking at the environment, which is not the job's. */
	if (curl_easy_setopt(curl, CURLOPT_PROXY, proxy ? proxy : "") != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_NOPROXY, "") != CURLE_OK)
		return -ENOMEM;
	return 0;
}

static int set_trust(CURL *curl, const struct ask *ask)
{
	const char *bundle = ask_text(ask, "custom_ca_bundle");
	AUTO_FREE char *path = NULL;

	if (!bundle)
		bundle = ask_env(ask, "AWS_CA_BUNDLE");
	if (!bundle)
		bundle = ask_profile_text(ask, "ca_bundle");
	if (bundle) {
		if (aws_files_expand(&path, ask->env, bundle) < 0 ||
		    curl_easy_setopt(curl, CURLOPT_CAINFO, path) != CURLE_OK)
			return -ENOMEM;
	}
	if (ask_bool(ask, "insecure", NULL)) {
		(void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	return 0;
}

static int set_headers(CURL *curl, struct curl_slist **list, const struct fetch *fetch)
{
	for (const char *const *header = fetch->headers; header && *header; header++) {
		struct curl_slist *longer = curl_slist_append(*list, *header);

		if (!longer)
			return -ENOMEM;
		*list = longer;
	}
	return curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *list) == CURLE_OK ? 0 : -ENOMEM;
}

/* Milliseconds that may still be spent; at least one, as 0 is "no limit" to libcurl. */
static long time_left(const struct ask *ask, long limit)
{
	const uint64_t now = ask_clock();
	const uint64_t left = ask->deadline_usec > now ? ask->deadline_usec - now : 0;

	if (left / USEC_PER_MSEC >= (uint64_t)limit)
		return limit;
	return left < USEC_PER_MSEC ? 1 : (long)(left / USEC_PER_MSEC);
}

static void set_plain(CURL *curl, const struct ask *ask, const struct fetch *fetch)
{
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
			       time_left(ask, fetch->is_local ? LOCAL_CONNECT_MSEC : CONNECT_MSEC));
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
			       time_left(ask,
					 fetch->is_local ? LOCAL_TRANSFER_MSEC : TRANSFER_MSEC));
}

static int set_request(CURL *curl, const struct fetch *fetch)
{
	if (curl_easy_setopt(curl, CURLOPT_URL, fetch->url) != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, fetch->method) != CURLE_OK)
		return -ENOMEM;
	if (strcmp(fetch->method, "HEAD") == 0)
		(void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	if (!fetch->body)
		return 0;
	(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(fetch->body));
	(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, fetch->body);
	return 0;
}

static time_t date_of(CURL *curl)
{
	struct curl_header *date;

	return curl_easy_header(curl, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK
		       ? curl_getdate(date->value, NULL)
		       : -1;
}

static void judge(struct fetch_answer *answer, CURL *curl, CURLcode code, const char *detail)
{
	curl_off_t connected = 0;
	long status = 0;

	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connected);
	answer->date = date_of(curl);
	answer->is_connected = connected > 0;
	answer->is_timeout = code == CURLE_OPERATION_TIMEDOUT;
	answer->status = code == CURLE_OK ? (int)status : 0;
	if (code == CURLE_WRITE_ERROR)
		detail = "the answer is too long";
	(void)text_printable(answer->error, sizeof(answer->error),
			     *detail ? detail : curl_easy_strerror(code));
}

static int try_once(struct fetch_answer *answer, struct ask *ask, const struct fetch *fetch)
{
	CLEANUP(slist_freep) struct curl_slist *headers = NULL;
	char detail[CURL_ERROR_SIZE] = "";
	CLEANUP(curl_freep) CURL *curl = curl_easy_init();
	int r;

	fetch_answer_clear(answer);
	answer->body = calloc(1, FETCH_BODY_MAX + 1);
	if (!curl || !answer->body)
		return -ENOMEM;
	set_plain(curl, ask, fetch);
	(void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	r = set_request(curl, fetch);
	if (r == 0)
		r = set_headers(curl, &headers, fetch);
	if (r == 0)
		r = set_proxy(curl, ask, fetch);
	if (r == 0)
		r = set_trust(curl, ask);
	if (r < 0)
		return r;

	judge(answer, curl, curl_easy_perform(curl), detail);
	return 0;
}

/* Nobody behind a local address now is nobody there in a second. */
static bool is_passing(const struct fetch_answer *answer, const struct fetch *fetch)
{
	if (answer->status == 0)
		return !fetch->is_local || (answer->is_connected && !answer->is_timeout);
	return answer->status == 429 || (answer->status >= 500 && answer->status != 501);
}

int fetch(struct fetch_answer *answer, struct ask *ask, const struct fetch *fetch)
{
	for (int i = 1;; i++) {
		const long msec = PAUSE_MSEC * i;
		const struct timespec pause = { .tv_nsec = msec * 1000000L };
		int r;

		r = try_once(answer, ask, fetch);
		if (r < 0)
			return r;
		if (i == TRIES || !is_passing(answer, fetch) || time_left(ask, msec + 1) <= msec)
			return answer->status ? 0 : -EIO;
		(void)nanosleep(&pause, NULL);
	}
}

bool fetch_is_loopback(const char *host)
{
	struct in6_addr six;
	struct in_addr four;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &four) == 1)
		return ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET;
	return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}
