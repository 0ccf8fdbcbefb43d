/* SPDX-License-Identifier: MIT */
/* The stores against tests/support/s3server.py, which verifies what they sign. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "daemon/lock/lock_dynamodb.h"
#include "daemon/lock/lock_s3.h"
#include "daemon/lock/probe.h"
#include "tests/unit/unit.h"

#define BOUND_USEC (20 * USEC_PER_SEC) /* what hangs is broken */

/* --- the server ------------------------------------------------------------------------------ */

static pid_t server;
static int server_stdin = -1;
static char url[64];

static void start_server_with(const char *option)
{
	int in[2], out[2];
	char line[16] = "";
	FILE *stream;

	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)close(in[1]);
		(void)close(out[0]);
		(void)execlp("python3", "python3", "tests/support/s3server.py",
			     "--until-stdin-closes", option, (char *)NULL);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	server_stdin = in[1];
	stream = fdopen(out[0], "r");
	ck_assert_ptr_nonnull(stream);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), stream));
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", atoi(line)); // NOLINT(cert-err34-c)
	(void)fclose(stream);
}

static void start_server(void)
{
	start_server_with(NULL);
}

static void stop_server(void)
{
	(void)close(server_stdin);
	(void)kill(server, SIGTERM);
	(void)waitpid(server, NULL, 0);
}

/* --- asking ---------------------------------------------------------------------------------- */

static sd_event *event;
static struct http *http;
static bool is_done;
static char control_body[HTTP_BODY_MAX + 1];

static void await(void)
{
	while (!is_done)
		ck_assert_int_gt(sd_event_run(event, BOUND_USEC), 0);
	is_done = false;
}

static void on_control(const struct http_response *response, void *userdata)
{
	(void)userdata;
	ck_assert_msg(response->status == 200 || response->status == 204, "%d %s %s",
		      response->status, response->error, response->body);
	memcpy(control_body, response->body, response->body_len);
	control_body[response->body_len] = '\0';
	is_done = true;
}

static const char *control(const char *method, const char *path, const char *body)
{
	const char *const headers[] = { "Content-Type: application/json", NULL };
	struct http_transfer *transfer;
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/_tfq/%s", url, path);
	ck_assert_int_eq(http_start(&transfer, http,
				    &(struct http_request){
					    .method = method,
					    .url = full,
					    .headers = headers,
					    .body = body,
					    .body_len = body ? strlen(body) : 0,
					    .connect_timeout_usec = BOUND_USEC,
					    .timeout_usec = BOUND_USEC,
				    },
				    on_control, NULL),
			 0);
	await();
	return control_body;
}

static struct lock_store_config config;
static char word_bucket[] = "tfbucket", word_key[] = "app/env:/t.tfstate";
static char word_region[] = "us-east-1", word_table[] = "tflocks";

static struct backend backend;

static void set_key(const char *access_key, const char *secret_key, const char *token)
{
	identity_unref(config.identity);
	ck_assert_int_eq(identity_new(&config.identity, access_key, secret_key, token,
				      "environment", 0),
			 0);
}

static void setup(void)
{
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(http_new(&http, event), 0);
	backend = (struct backend){
		.kind = BACKEND_S3,
		.bucket = word_bucket,
		.key = word_key,
		.region = word_region,
		.dynamodb_table = word_table,
		.endpoint_s3 = url,
		.endpoint_dynamodb = url,
		.path_style = true,
	};
	config = (struct lock_store_config){ .connect_timeout_usec = BOUND_USEC,
					     .request_timeout_usec = BOUND_USEC };
	ck_assert_int_eq(lock_probes_new(&config.probes, event), 0);
	set_key("testkey", "testsecret", NULL);
	(void)control("POST", "reset", "");
}

static void teardown(void)
{
	ck_assert_ptr_null(lock_probes_free(config.probes));
	ck_assert_ptr_null(identity_unref(config.identity));
	ck_assert_ptr_null(http_free(http));
	sd_event_unref(event);
}

static struct lease_answer answered;
static struct lockinfo_seen holder;
static char why[LOCK_ERROR_MAX];

static void on_answer(const struct lease_answer *answer, const struct lockinfo_seen *seen,
		      const char *error, void *userdata)
{
	(void)userdata;
	answered = *answer;
	if (seen)
		holder = *seen;
	(void)snprintf(why, sizeof(why), "%s", error ? error : "");
	is_done = true;
}

#define NONCE(n) "0011223344556677889900aabbccdd" n

/* What came of it. Writes write @nonce. */
static enum lease_result ask(struct lock_store *store, enum lease_op op, const char *etag,
			     const char *nonce)
{
	struct lease_request request = { .op = op };
	const struct lockinfo info = {
		.id = "a-b",
		.operation = "OperationTypeApply",
		.info = "<&>",
		.who = "al\xc3\xads@h",
		.version = "1.11.4",
		.created = "2026-11-22T17:46:51.2Z",
		.path = "tfbucket/app/env:/t.tfstate",
		.host = "machine",
		.boot = "boot",
		.job = 42,
		.seq = 1,
		.epoch = 3,
		.nonce = nonce,
		.lease_sec = 900,
	};

	(void)snprintf(request.etag, sizeof(request.etag), "%s", etag);
	ck_assert_int_eq(store->ops->send(store, &request, nonce ? &info : NULL, on_answer, NULL),
			 0);
	await();
	return answered.result;
}

static struct lock_store *make_store(bool is_s3)
{
	struct lock_store *store = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(is_s3 ? lock_s3_new(&store, http, &backend, &config, &error)
			       : lock_dynamodb_new(&store, http, &backend, &config, &error),
			 0);
	return store;
}

/* --- a lock's life --------------------------------------------------------------------------- */

START_TEST(lock_lives_in_either_store)
{
	CLEANUP(lock_store_freep) struct lock_store *store = make_store(_i == 1);
	char first[LEASE_ETAG_MAX], second[LEASE_ETAG_MAX];

	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_ABSENT);
	ck_assert_msg(ask(store, LEASE_CREATE, "", NONCE("01")) == LEASE_R_DONE, "%s", why);
	memcpy(first, answered.etag, sizeof(first));
	ck_assert_str_ne(first, "");
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("02")), LEASE_R_REFUSED);
	ck_assert_msg(ask(store, LEASE_READ, "", NULL) == LEASE_R_DONE, "%s", why);
	ck_assert_str_eq(answered.nonce, NONCE("01"));
	ck_assert_str_eq(answered.etag, first);
	ck_assert_str_eq(answered.id, "a-b");
	ck_assert_uint_eq(answered.lease_usec, 900000000);
	ck_assert_str_eq(holder.info, "<&>");
	ck_assert_uint_eq(holder.job, 42);

	ck_assert_int_eq(ask(store, LEASE_SWAP, first, NONCE("03")), LEASE_R_DONE);
	memcpy(second, answered.etag, sizeof(second));
	ck_assert_str_ne(second, first);
	ck_assert_int_eq(ask(store, LEASE_SWAP, first, NONCE("04")), LEASE_R_REFUSED);
	ck_assert_int_eq(ask(store, LEASE_REMOVE, first, NULL), LEASE_R_REFUSED);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_DONE);
	ck_assert_str_eq(answered.etag, second);
	ck_assert_str_eq(answered.nonce, NONCE("03"));
	ck_assert_int_eq(ask(store, LEASE_REMOVE, second, NULL), LEASE_R_DONE);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_ABSENT);
	/* A late renewal brings nothing back. */
	ck_assert_int_ne(ask(store, LEASE_SWAP, second, NONCE("05")), LEASE_R_DONE);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_ABSENT);
}
END_TEST

static void put_raw(const char *who)
{
	char item[256];

	(void)snprintf(item, sizeof(item),
		       "{\"LockID\":{\"S\":\"tfbucket/app/env:/t.tfstate\"},"
		       "\"Info\":{\"S\":\"{\\\"ID\\\":\\\"raw\\\",\\\"Who\\\":\\\"%s\\\"}\"}}",
		       who);
	(void)control("PUT", "item/tflocks/tfbucket/app/env:/t.tfstate", item);
}

START_TEST(lock_of_raw_terraform_is_somebodys)
{
	CLEANUP(lock_store_freep) struct lock_store *store = make_store(false);
	CLEANUP(lock_store_freep) struct lock_store *stranger = make_store(false);
	char bob[LEASE_ETAG_MAX];

	put_raw("bob");
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("01")), LEASE_R_REFUSED);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_DONE);
	ck_assert_str_eq(answered.id, "raw");
	ck_assert_str_eq(answered.nonce, "");
	ck_assert_uint_eq(answered.lease_usec, 0);
	memcpy(bob, answered.etag, sizeof(bob));
	/* Nobody takes it over, and who has not read it cannot remove it. */
	ck_assert_int_eq(ask(store, LEASE_SWAP, bob, NONCE("01")), LEASE_R_REFUSED);
	ck_assert_int_eq(ask(stranger, LEASE_REMOVE, bob, NULL), LEASE_R_REFUSED);
	put_raw("eve");
	ck_assert_int_eq(ask(store, LEASE_REMOVE, bob, NULL), LEASE_R_REFUSED);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_DONE);
	ck_assert_str_ne(answered.etag, bob);
	ck_assert_int_eq(ask(store, LEASE_REMOVE, bob, NULL), LEASE_R_REFUSED);
	put_raw("bob");
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_DONE);
	ck_assert_int_eq(ask(store, LEASE_REMOVE, bob, NULL), LEASE_R_DONE);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_ABSENT);
}
END_TEST

START_TEST(clock_of_the_server_is_used)
{
	CLEANUP(lock_store_freep) struct lock_store *store = make_store(_i == 1);

	(void)control("POST", "clock", "{\"offset\": -7200}");
	ck_assert_msg(ask(store, LEASE_CREATE, "", NONCE("01")) == LEASE_R_DONE, "%s", why);
	(void)control("POST", "clock", "{\"offset\": 0}");
	ck_assert_msg(ask(store, LEASE_REMOVE, answered.etag, NULL) == LEASE_R_DONE, "%s", why);
}
END_TEST

START_TEST(keys_that_expired_are_told_from_rights_that_lack)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;

	set_key("oldkey", "oldsecret", "oldtoken");
	store = make_store(_i == 1);
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("01")), LEASE_R_DENIED);
	ck_assert_msg(strstr(why, "log in again") != NULL, "%s", why);
	lock_store_free(store);
	set_key("denied", "deniedsecret", NULL);
	store = make_store(_i == 1);
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("01")), LEASE_R_DENIED);
	ck_assert_msg(strstr(why, "AccessDenied") != NULL, "%s", why);
}
END_TEST

static const struct {
	const char *rule;
	enum lease_result result;
} faults[] = {
	{ "[{\"service\":\"dynamodb\",\"do\":\"bad-crc\"}]", LEASE_R_UNKNOWN },
	{ "[{\"service\":\"dynamodb\",\"do\":\"html-after\"}]", LEASE_R_UNKNOWN },
	{ "[{\"service\":\"dynamodb\",\"do\":\"error-after\",\"status\":500}]", LEASE_R_UNKNOWN },
	/* libcurl sends again by itself on a connection that was used before */
	{ "[{\"service\":\"dynamodb\",\"do\":\"drop-after\",\"count\":-1}]", LEASE_R_UNKNOWN },
	{ "[{\"service\":\"dynamodb\",\"do\":\"truncate\"}]", LEASE_R_UNKNOWN },
	{ "[{\"service\":\"dynamodb\",\"do\":\"error\"}]", LEASE_R_THROTTLED },
};

START_TEST(write_whose_answer_is_bad_is_found_by_reading)
{
	CLEANUP(lock_store_freep) struct lock_store *store = make_store(false);

	(void)control("POST", "fault", faults[_i].rule);
	ck_assert_msg(ask(store, LEASE_CREATE, "", NONCE("01")) == faults[_i].result, "%s", why);
	(void)control("POST", "fault", "[]");
	if (faults[_i].result != LEASE_R_UNKNOWN) {
		ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_ABSENT);
		return;
	}
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_DONE);
	ck_assert_str_eq(answered.nonce, NONCE("01"));
}
END_TEST

START_TEST(table_that_is_not_there_is_named)
{
	static char other[] = "nosuchtable";
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;

	backend.dynamodb_table = other;
	store = make_store(false);
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("01")), LEASE_R_DENIED);
	ck_assert_msg(strstr(why, "no table \"nosuchtable\" in region us-east-1") != NULL, "%s",
		      why);
}
END_TEST

START_TEST(huge_object_is_somebodys_lock)
{
	const size_t size = 10 << 20;
	CLEANUP(lock_store_freep) struct lock_store *store = make_store(true);
	AUTO_FREE char *body = malloc(size + 1);

	ck_assert_ptr_nonnull(body);
	memset(body, '{', size);
	body[size] = '\0';
	(void)control("PUT", "object/tfbucket/app/env:/t.tfstate.tflock", body);
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("01")), LEASE_R_REFUSED);
	ck_assert_int_eq(ask(store, LEASE_READ, "", NULL), LEASE_R_DONE);
	ck_assert_str_eq(answered.id, "?");
	ck_assert_str_ne(answered.etag, "");
	ck_assert_str_eq(answered.nonce, "");
	ck_assert_str_eq(holder.id, "?");
	ck_assert_msg(strstr(why, "is far too long for one") &&
			      strstr(why, "aws s3 rm 's3://tfbucket/app/env:/t.tfstate.tflock'"),
		      "%s", why);
}
END_TEST

/* --- the probe ------------------------------------------------------------------------------- */

static bool is_usable;
static unsigned told, told_usable;

static void on_probed(bool usable, const char *error, void *userdata)
{
	(void)userdata;
	is_usable = usable;
	told++;
	told_usable += usable;
	(void)snprintf(why, sizeof(why), "%s", error ? error : "");
	is_done = true;
}

static int probe(struct lock_store *store)
{
	const int r = store->ops->probe(store, on_probed, NULL);

	if (r == 0)
		await();
	return r;
}

static void quirk(const char *name)
{
	char body[64];

	(void)snprintf(body, sizeof(body), "{\"%s\": %s}", name,
		       strcmp(name, "racy") == 0 ? "30" : "true");
	(void)control("POST", "quirks", body);
}

static const struct {
	const char *quirk;
	const char *fault; /* in the sentence; NULL: usable */
} quirks[] = {
	{ "ignore_if_none_match", "ignores If-None-Match" },
	{ "ignore_if_match", "ignores If-Match" },
	{ "racy", "at the same moment" },
	{ "unquoted_etag_only", NULL },
	{ "no_conditional_delete", NULL },
	{ "conflict_409", NULL },
	{ "resurrects", NULL },
	{ "absent_412", NULL },
	{ "absent_delete_204", NULL },
	{ "bare_errors", NULL },
};
#define QUIRK_COUNT ((int)(sizeof(quirks) / sizeof(quirks[0])))

START_TEST(store_that_lies_is_found_out)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL, *second = NULL;
	char named[128];

	store = make_store(true);
	quirk(quirks[_i].quirk);
	ck_assert_int_eq(probe(store), 0);
	ck_assert_msg(is_usable == !quirks[_i].fault, "%s", why);
	/* Nothing is left behind. */
	ck_assert_msg(!strstr(control("GET", "objects", NULL), "tfq-probe"), "%s", control_body);
	second = make_store(true);
	if (!quirks[_i].fault) {
		ck_assert_str_eq(why, "");
		(void)control("DELETE", "log", NULL);
		ck_assert_int_eq(probe(second), 1); /* remembered */
		ck_assert_ptr_null(strstr(control("GET", "log", NULL), "tfq-probe"));
		return;
	}
	(void)snprintf(named, sizeof(named), "the store at %s/tfbucket ", url);
	ck_assert_msg(strstr(why, named) && strstr(why, quirks[_i].fault) &&
			      strstr(why, "so there is no lock in it"),
		      "%s", why);
	(void)control("DELETE", "log", NULL);
	ck_assert_int_eq(probe(second), 0); /* told again, not tried again */
	ck_assert(!is_usable);
	ck_assert_ptr_null(strstr(control("GET", "log", NULL), "tfq-probe"));
}
END_TEST

START_TEST(versioned_bucket_must_take_a_lock_again)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;
	const pid_t shared = server;
	const int shared_stdin = server_stdin;

	start_server_with("--versioned");
	store = make_store(true);
	if (_i == 1)
		quirk("marker_412");
	ck_assert_int_eq(probe(store), 0);
	ck_assert_int_eq(is_usable, _i == 0);
	ck_assert_msg(_i == 0 || strstr(why, "that was deleted (in a versioned bucket)"), "%s",
		      why);
	stop_server();
	server = shared;
	server_stdin = shared_stdin;
}
END_TEST

START_TEST(traits_that_were_learnt_are_used)
{
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;

	store = make_store(true);
	quirk("unquoted_etag_only");
	ck_assert_int_eq(probe(store), 0);
	ck_assert_int_eq(ask(store, LEASE_CREATE, "", NONCE("01")), LEASE_R_DONE);
	ck_assert_int_eq(ask(store, LEASE_SWAP, answered.etag, NONCE("02")), LEASE_R_DONE);
	ck_assert_int_eq(ask(store, LEASE_REMOVE, answered.etag, NULL), LEASE_R_DONE);
}
END_TEST

START_TEST(one_probe_answers_all_who_ask)
{
	struct lock_store *stores[4];
	const char *at;
	unsigned creations = 0;

	for (size_t i = 0; i < 4; i++) {
		stores[i] = make_store(true);
		ck_assert_int_eq(stores[i]->ops->probe(stores[i], on_probed, NULL), 0);
	}
	/* The first one loses interest while its keys are at work. */
	if (_i == 1) {
		ck_assert_int_gt(sd_event_run(event, BOUND_USEC), 0);
		ck_assert_int_gt(sd_event_run(event, BOUND_USEC), 0);
		stores[0] = lock_store_free(stores[0]);
	}
	told = 0;
	while (told < (_i == 1 ? 3 : 4))
		ck_assert_int_gt(sd_event_run(event, BOUND_USEC), 0);
	is_done = false;
	ck_assert_uint_eq(told_usable, told);
	for (at = control("GET", "log", NULL); (at = strstr(at, "\"if-none-match\"")); at++)
		creations++;
	ck_assert_uint_eq(creations, 3 + PROBE_RACERS);
	for (size_t i = 0; i < 4; i++)
		lock_store_free(stores[i]);
}
END_TEST

START_TEST(probe_that_fails_is_tried_again)
{
	CLEANUP(lock_store_freep) struct lock_store *store = make_store(true);

	(void)control(
		"POST", "fault",
		_i == 0 ? "[{\"do\":\"error-after\",\"status\":500,\"count\":2,\"skip\":3}]"
			: "[{\"do\":\"error\",\"method\":\"PUT\",\"status\":503,\"skip\":6}]");
	ck_assert_int_eq(probe(store), 0);
	ck_assert_msg(is_usable, "%s", why);
	ck_assert_msg(!strstr(control("GET", "objects", NULL), "tfq-probe"), "%s", control_body);
}
END_TEST

START_TEST(right_that_lacks_is_named)
{
	CLEANUP(lock_store_freep) struct lock_store *denied = NULL, *store = NULL;

	set_key("denied", "deniedsecret", NULL);
	denied = make_store(true);
	set_key("testkey", "testsecret", NULL);
	store = make_store(true);
	/* One who may not, and one who may, wait for the same probe. */
	ck_assert_int_eq(denied->ops->probe(denied, on_probed, NULL), 0);
	ck_assert_int_eq(store->ops->probe(store, on_probed, NULL), 0);
	await();
	ck_assert(!is_usable);
	ck_assert_msg(strstr(why, "lack the right s3:PutObject on app/env:/t.tfstate.tfq-probe-*"),
		      "%s", why);
	await();
	ck_assert_msg(is_usable, "%s", why);
}
END_TEST

START_TEST(store_that_is_not_there_is_no_liar)
{
	static char nowhere[] = "http://127.0.0.1:1", nobody[] = "nosuchbucket";
	CLEANUP(lock_store_freep) struct lock_store *store = NULL;

	if (_i == 0)
		backend.endpoint_s3 = nowhere;
	else
		backend.bucket = nobody;
	store = make_store(true);
	ck_assert_int_eq(probe(store), 0);
	ck_assert(!is_usable);
	ck_assert_msg(strstr(why, "cannot try out") && strstr(why, _i ? "NoSuchBucket" : ":1"),
		      "%s", why);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, store_that_lies_is_found_out, 0, QUIRK_COUNT);
	tcase_add_loop_test(tcase, versioned_bucket_must_take_a_lock_again, 0, 2);
	tcase_add_test(tcase, traits_that_were_learnt_are_used);
	tcase_add_loop_test(tcase, one_probe_answers_all_who_ask, 0, 2);
	tcase_add_loop_test(tcase, probe_that_fails_is_tried_again, 0, 2);
	tcase_add_test(tcase, right_that_lacks_is_named);
	tcase_add_loop_test(tcase, store_that_is_not_there_is_no_liar, 0, 2);
	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, start_server, stop_server);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, lock_lives_in_either_store, 0, 2);
	tcase_add_test(tcase, lock_of_raw_terraform_is_somebodys);
	tcase_add_loop_test(tcase, clock_of_the_server_is_used, 0, 2);
	tcase_add_loop_test(tcase, keys_that_expired_are_told_from_rights_that_lack, 0, 2);
	tcase_add_loop_test(tcase, write_whose_answer_is_bad_is_found_by_reading, 0, 6);
	tcase_add_test(tcase, huge_object_is_somebodys_lock);
	tcase_add_test(tcase, table_that_is_not_there_is_named);
}

int main(void)
{
	return unit_main("stores", add_tests);
}
