/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/parse.h"
#include "daemon/http.h"
#include "tests/unit/unit.h"

#define BOUND_USEC (20 * USEC_PER_SEC) /* what hangs is broken */

/* --- a server in a process of its own, told by the path what to do ------------------------- */

static pid_t server;
static in_port_t port;

static void say(int fd, const char *text)
{
	(void)!write(fd, text, strlen(text));
}

static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void say_many(int fd, const char *head, size_t count)
{
	static char bytes[4096];

	memset(bytes, 'x', sizeof(bytes));
	say(fd, head);
	for (; count > 0; count -= count < sizeof(bytes) ? count : sizeof(bytes)) {
		if (write(fd, bytes, count < sizeof(bytes) ? count : sizeof(bytes)) < 0)
			return;
	}
}

/* Wait until the client hangs up. */
static void hang(int fd)
{
	char byte;

	while (read(fd, &byte, 1) > 0)
		;
}

static bool has(const char *request, const char *path)
{
	const char *at = strchr(request, ' ');

	return at && strncmp(at + 1, path, strlen(path)) == 0;
}

/* Answer @request, the connection's @served-th. Return: whether the connection stays. */
static bool serve(int fd, const char *request, unsigned connection, unsigned served)
{
	char text[4096];

	if (strncmp(request, "CONNECT ", 8) == 0) {
		say(fd, "HTTP/1.1 407 Proxy Authentication Required\r\nETag: \"no\"\r\n"
			"Content-Length: 0\r\n\r\n");
	} else if (has(request, "/echo") || has(request, "http://proxied.example/echo")) {
		(void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			       strlen(request));
		say(fd, text);
		say(fd, request);
	} else if (has(request, "/connection")) {
		(void)snprintf(text, sizeof(text),
			       "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%04u", connection);
		say(fd, text);
	} else if (has(request, "/headers")) {
		say(fd, "HTTP/1.1 404 Not Found\r\nETAG:\t \"abc\" \r\nDate: today\r\n"
			"ETagX: no\r\nX-Amz-Bucket-Region: eu-west-1\r\nx-amz-crc32: 12\r\n"
			"Location: http://b.example/x\r\nContent-Length: 2\r\n\r\nno");
	} else if (has(request, "/long-etag")) {
		say_many(fd, "HTTP/1.1 200 OK\r\nETag: ", HTTP_HEADER_MAX);
		say(fd, "\r\nContent-Length: 0\r\n\r\n");
	} else if (has(request, "/redirect")) {
		say(fd, "HTTP/1.1 301 Moved\r\nLocation: /echo\r\nContent-Length: 0\r\n\r\n");
	} else if (has(request, "/largest")) {
		(void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
			       HTTP_BODY_MAX);
		say_many(fd, text, HTTP_BODY_MAX);
	} else if (has(request, "/too-large")) {
		say_many(fd, "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", HTTP_BODY_MAX + 1);
		return false;
	} else if (has(request, "/endless-headers")) {
		say(fd, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 100; i++)
			say_many(fd, "X: ", 1000), say(fd, "\r\n");
		return false;
	} else if (has(request, "/slow")) {
		hang(fd);
		return false;
	} else if (has(request, "/reset-before")) {
		reset(fd);
		return false;
	} else if (has(request, "/close-before")) {
		return false;
	} else if (has(request, "/close-kept")) { /* ... but for the first request on it */
		if (served > 1)
			return false;
		say(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
	} else if (has(request, "/close-after")) {
		say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"e\"\r\n\r\nhalf");
		return false;
	} else if (has(request, "/garbage")) {
		say(fd, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
		return false;
	}
	return true;
}

static void serve_connection(int fd, unsigned connection)
{
	char request[8192];
	unsigned served = 0;
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, request + len, sizeof(request) - 1 - len)) > 0) {
		len += (size_t)n;
		request[len] = '\0';
		if (!strstr(request, "\r\n\r\n"))
			continue;
		if (strstr(request, "Content-Length: 4\r\n") && !strstr(request, "\r\n\r\nbody"))
			continue;
		if (!serve(fd, request, connection, ++served))
			break;
		len = 0;
	}
	(void)close(fd);
}

static void serve_all(int listening)
{
	unsigned connections = 0;

	(void)signal(SIGCHLD, SIG_IGN); // NOLINT(cert-err33-c)
	for (;;) {
		const int fd = accept(listening, NULL, NULL);

		if (fd < 0)
			_exit(0);
		connections++;
		if (fork() == 0) {
			serve_connection(fd, connections);
			_exit(0);
		}
		(void)close(fd);
	}
}

static int listen_somewhere(in_port_t *ret)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*ret = ntohs(at.sin_port);
	return fd;
}

/* --- the client ------------------------------------------------------------------------------ */

static sd_event *event;
static struct http *http;

static struct result {
	struct http_response response;
	unsigned count;
	char body[HTTP_BODY_MAX + 1];
} results[8];

static void on_done(const struct http_response *response, void *userdata)
{
	struct result *result = userdata;

	result->count++;
	result->response = *response;
	memcpy(result->body, response->body, response->body_len);
	result->body[response->body_len] = '\0';
}

static const char *proxy; /* for all that is begun */
static bool fresh;

static struct http_transfer *begin(struct result *result, const char *method, const char *path,
				   const char *body, uint64_t timeout_usec)
{
	static const char *const headers[] = { "x-test: yes", NULL };
	struct http_transfer *transfer = NULL;
	char url[256];

	if (path[0] == '/')
		(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	else
		(void)snprintf(url, sizeof(url), "%s", path);
	memset(result, 0, sizeof(*result));
	ck_assert_int_eq(http_start(&transfer, http,
				    &(struct http_request){
					    .method = method,
					    .url = url,
					    .headers = headers,
					    .body = body,
					    .body_len = body ? strlen(body) : 0,
					    .proxy = proxy,
					    .fresh = fresh,
					    .connect_timeout_usec = BOUND_USEC,
					    .timeout_usec = timeout_usec,
				    },
				    on_done, result),
			 0);
	ck_assert_ptr_nonnull(transfer);
	ck_assert_uint_eq(result->count, 0); /* never from within */
	return transfer;
}

static void await(const struct result *result)
{
	while (result->count == 0)
		ck_assert_int_gt(sd_event_run(event, BOUND_USEC), 0);
	ck_assert_uint_eq(result->count, 1);
}

static struct result *ask(const char *method, const char *path, const char *body)
{
	(void)begin(&results[0], method, path, body, BOUND_USEC);
	await(&results[0]);
	return &results[0];
}

static void setup(void)
{
	const int listening = listen_somewhere(&port);

	/* Nobody is to ask for these. */
	ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	ck_assert_int_eq(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
	ck_assert_int_eq(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
	ck_assert_int_eq(setenv("NO_PROXY", "proxied.example", 1), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0)
		serve_all(listening);
	(void)close(listening);
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(http_new(&http, event), 0);
}

static void teardown(void)
{
	ck_assert_ptr_null(http_free(http));
	sd_event_unref(event);
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
}

START_TEST(request_goes_out_byte_for_byte)
{
	const struct result *result = ask("PUT", "/echo/a/../b/./%2F//c?x-id=1", "body");

	ck_assert(result->response.is_answered);
	ck_assert_int_eq(result->response.status, 200);
	ck_assert_ptr_eq(strstr(result->body, "PUT /echo/a/../b/./%2F//c?x-id=1 HTTP/1.1\r\n"),
			 result->body);
	ck_assert_ptr_nonnull(strstr(result->body, "x-test: yes\r\n"));
	ck_assert_ptr_nonnull(strstr(result->body, "Content-Length: 4\r\n"));
	ck_assert_ptr_nonnull(strstr(result->body, "\r\n\r\nbody"));
	ck_assert_ptr_null(strstr(result->body, "Expect:"));
	ck_assert_str_eq(result->response.error, "");
}
END_TEST

START_TEST(methods_are_as_asked_for)
{
	static const char *const methods[] = { "GET", "DELETE", "POST" };

	for (size_t i = 0; i < 3; i++) {
		const struct result *result = ask(methods[i], "/echo", NULL);

		ck_assert(result->response.is_answered);
		ck_assert_int_eq(strncmp(result->body, methods[i], strlen(methods[i])), 0);
	}
	(void)ask("HEAD", "/headers", NULL);
	ck_assert(results[0].response.is_answered);
	ck_assert_int_eq(results[0].response.status, 404);
	ck_assert_str_eq(results[0].body, "");
}
END_TEST

START_TEST(answer_brings_its_headers_and_body)
{
	const struct result *result = ask("GET", "/headers", NULL);

	ck_assert(result->response.is_answered);
	ck_assert(!result->response.is_unsent);
	ck_assert_int_eq(result->response.status, 404);
	ck_assert_str_eq(result->response.etag, "\"abc\"");
	ck_assert_str_eq(result->response.date, "today");
	ck_assert_str_eq(result->response.region, "eu-west-1");
	ck_assert_str_eq(result->response.crc32, "12");
	ck_assert_str_eq(result->response.location, "http://b.example/x");
	ck_assert_str_eq(result->body, "no");
	result = ask("GET", "/long-etag", NULL);
	ck_assert_int_eq(result->response.status, 200);
	ck_assert_str_eq(result->response.etag, "");
}
END_TEST

START_TEST(redirect_is_not_followed)
{
	ck_assert_int_eq(ask("GET", "/redirect", NULL)->response.status, 301);
}
END_TEST

START_TEST(largest_body_is_taken)
{
	const struct result *result = ask("GET", "/largest", NULL);

	ck_assert(result->response.is_answered);
	ck_assert_uint_eq(result->response.body_len, HTTP_BODY_MAX);
}
END_TEST

static const char *const broken[] = {
	"/too-large",    "/endless-headers", "/reset-before",
	"/close-before", "/close-after",     "/garbage",
};
#define BROKEN_COUNT ((int)(sizeof(broken) / sizeof(broken[0])))

START_TEST(broken_answer_is_none_and_may_have_been_done)
{
	const struct result *result = ask("PUT", broken[_i], "body");

	ck_assert_msg(!result->response.is_answered, "%s", broken[_i]);
	ck_assert(!result->response.is_unsent);
	ck_assert_str_ne(result->response.error, "");
	ck_assert_int_eq(result->response.is_cut, strcmp(broken[_i], "/too-large") == 0);
	ck_assert(!result->response.is_cut || result->response.status == 200);
}
END_TEST

START_TEST(slow_server_is_given_up)
{
	(void)begin(&results[0], "PUT", "/slow", "body", 100 * USEC_PER_MSEC);
	await(&results[0]);
	ck_assert(!results[0].response.is_answered);
	ck_assert(!results[0].response.is_unsent);
	ck_assert_str_ne(results[0].response.error, "");
}
END_TEST

START_TEST(refused_connection_has_sent_nothing)
{
	const int fd = listen_somewhere(&port);

	(void)close(fd); /* nobody there any more */
	(void)ask("PUT", "/echo", "body");
	ck_assert(!results[0].response.is_answered);
	ck_assert(results[0].response.is_unsent);
	ck_assert_str_ne(results[0].response.error, "");
}
END_TEST

START_TEST(connection_is_kept_alive)
{
	char first[5];

	(void)ask("GET", "/connection", NULL);
	ck_assert_uint_eq(results[0].response.body_len, 4);
	memcpy(first, results[0].body, sizeof(first));
	for (int i = 0; i < 5; i++)
		ck_assert_str_eq(ask("GET", "/connection", NULL)->body, first);
}
END_TEST

START_TEST(requests_run_side_by_side)
{
	struct http_transfer *slow = begin(&results[7], "GET", "/slow", NULL, BOUND_USEC);

	for (size_t i = 0; i < 7; i++)
		(void)begin(&results[i], "GET", "/connection", NULL, BOUND_USEC);
	for (size_t i = 0; i < 7; i++) {
		await(&results[i]);
		ck_assert_int_eq(results[i].response.status, 200);
	}
	ck_assert_uint_eq(results[7].count, 0);
	ck_assert_ptr_null(http_cancel(slow));
}
END_TEST

START_TEST(cancelled_request_is_not_answered)
{
	struct http_transfer *transfer = begin(&results[1], "GET", "/echo", NULL, BOUND_USEC);

	if (_i == 1) /* under way already */
		ck_assert_int_ge(sd_event_run(event, BOUND_USEC), 0);
	if (results[1].count == 0)
		ck_assert_ptr_null(http_cancel(transfer));
	(void)ask("GET", "/echo", NULL);
	ck_assert_uint_le(results[1].count, _i == 1);
	ck_assert_ptr_null(http_cancel(NULL));
}
END_TEST

START_TEST(url_of_another_kind_is_refused)
{
	static const char *const urls[] = { "file:///etc/passwd", "ftp://127.0.0.1/", "http://",
					    "" };
	const char *const none[] = { NULL };
	struct http_transfer *transfer = NULL;
	int r;

	memset(&results[0], 0, sizeof(results[0]));
	r = http_start(&transfer, http,
		       &(struct http_request){ .method = "GET",
					       .url = urls[_i],
					       .headers = none,
					       .connect_timeout_usec = BOUND_USEC,
					       .timeout_usec = BOUND_USEC },
		       on_done, &results[0]);
	if (r == 0) {
		await(&results[0]);
		ck_assert(!results[0].response.is_answered);
		ck_assert(results[0].response.is_unsent);
	} else {
		ck_assert_int_eq(r, -EINVAL);
	}
}
END_TEST

START_TEST(nothing_runs_when_nothing_is_asked)
{
	(void)ask("GET", "/echo", NULL);
	while (sd_event_run(event, 0) > 0)
		; /* what curl has left to do */
	ck_assert_int_eq(sd_event_run(event, 10 * USEC_PER_MSEC), 0);
}
END_TEST

START_TEST(fresh_connection_is_another_one)
{
	char first[5];

	(void)ask("GET", "/connection", NULL);
	memcpy(first, results[0].body, sizeof(first));
	fresh = true;
	ck_assert_str_ne(ask("GET", "/connection", NULL)->body, first);
}
END_TEST

/* Whoever is refused then must know that it may have been done before. */
START_TEST(request_that_went_out_twice_says_so)
{
	ck_assert_int_eq(ask("PUT", "/close-kept", "body")->response.status, 403);
	ck_assert(!results[0].response.is_repeated);
	ck_assert_int_eq(ask("PUT", "/close-kept", "body")->response.status, 403);
	ck_assert(results[0].response.is_repeated);
	fresh = true;
	ck_assert_int_eq(ask("PUT", "/close-kept", "body")->response.status, 403);
	ck_assert(!results[0].response.is_repeated);
}
END_TEST

START_TEST(proxy_is_asked_if_it_is_told)
{
	char url[64];

	(void)snprintf(url, sizeof(url), "http://al:se%%40cret@127.0.0.1:%u", port);
	proxy = url;
	(void)ask("GET", "http://proxied.example/echo", NULL);
	ck_assert_int_eq(results[0].response.status, 200);
	ck_assert_ptr_eq(strstr(results[0].body, "GET http://proxied.example/echo HTTP/1.1\r\n"),
			 results[0].body);
	/* al:se@cret */
	ck_assert_ptr_nonnull(
		strstr(results[0].body, "Proxy-Authorization: Basic YWw6c2VAY3JldA==\r\n"));
}
END_TEST

START_TEST(proxy_that_refuses_a_tunnel_has_sent_nothing_on)
{
	char url[64];

	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
	proxy = url;
	(void)ask("PUT", "https://proxied.example/echo", "body");
	ck_assert(!results[0].response.is_answered);
	ck_assert(results[0].response.is_unsent);
	ck_assert_str_eq(results[0].response.etag, "");
	ck_assert_ptr_nonnull(strstr(results[0].response.error, "407"));
}
END_TEST

START_TEST(clocks_are_kept_by_host)
{
	char host[32];

	ck_assert_int_eq(http_clock(http, "a"), 0);
	http_set_clock(http, "a", 300);
	http_set_clock(http, "b", -300);
	ck_assert_int_eq(http_clock(http, "a"), 300);
	ck_assert_int_eq(http_clock(http, "b"), -300);
	http_set_clock(http, "a", 5);
	ck_assert_int_eq(http_clock(http, "a"), 5);
	for (int i = 0; i < HTTP_CLOCKS_MAX - 1; i++) {
		(void)snprintf(host, sizeof(host), "host%d", i);
		http_set_clock(http, host, i + 1);
	}
	ck_assert_int_eq(http_clock(http, "a"), 0);
	ck_assert_int_eq(http_clock(http, "b"), -300);
	ck_assert_int_eq(http_clock(http, host), HTTP_CLOCKS_MAX - 1);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, fresh_connection_is_another_one);
	tcase_add_test(tcase, request_that_went_out_twice_says_so);
	tcase_add_test(tcase, proxy_is_asked_if_it_is_told);
	tcase_add_test(tcase, proxy_that_refuses_a_tunnel_has_sent_nothing_on);
	tcase_add_test(tcase, clocks_are_kept_by_host);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, request_goes_out_byte_for_byte);
	tcase_add_test(tcase, methods_are_as_asked_for);
	tcase_add_test(tcase, answer_brings_its_headers_and_body);
	tcase_add_test(tcase, redirect_is_not_followed);
	tcase_add_test(tcase, largest_body_is_taken);
	tcase_add_loop_test(tcase, broken_answer_is_none_and_may_have_been_done, 0, BROKEN_COUNT);
	tcase_add_test(tcase, slow_server_is_given_up);
	tcase_add_test(tcase, refused_connection_has_sent_nothing);
	tcase_add_test(tcase, connection_is_kept_alive);
	tcase_add_test(tcase, requests_run_side_by_side);
	tcase_add_loop_test(tcase, cancelled_request_is_not_answered, 0, 2);
	tcase_add_loop_test(tcase, url_of_another_kind_is_refused, 0, 4);
	tcase_add_test(tcase, nothing_runs_when_nothing_is_asked);
}

int main(void)
{
	return unit_main("http", add_tests);
}
