/* SPDX-License-Identifier: MIT */
/* The helper is a shell script here: what it answers is its caller's, what it was asked is kept. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/env.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/timestamp.h"
#include "daemon/aws/identity.h"
#include "tests/unit/unit.h"

#define LIMIT_SECONDS 20
#define KEYS          "\"AccessKeyId\":\"K'$n'\",\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\""
#define FOREVER       "echo '{" KEYS ",\"Source\":\"profile p\",\"Refreshable\":true}'"

/* Each run has a number $n, from 1, and leaves its question in question.$n. */
#define SCRIPT \
	"#!/bin/sh\ncd ${0%%/*} || exit 9\necho x >>runs\nn=$(wc -l <runs)\ncat >question.$n\n"

struct told {
	int count, result;
	struct identity *identity;
	char error[512];
};

static char folder[64], runner[80];
static sd_event *event;
static struct identities *identities;
static struct config *config;
static char *daemon_env[4];
static struct backend backend;
static char *job_env[8];
static struct job job;

static void lend(char **to, const char *from)
{
	memcpy(to, &from, sizeof(*to)); /* nothing is written there */
}

static void write_script(const char *commands)
{
	FILE *file = fopen(runner, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fprintf(file, SCRIPT "%s\n", commands), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(runner, 0755), 0);
}

static void set_up(void)
{
	struct identities_setup setup = { .runner = runner, .env = daemon_env };
	sigset_t children;

	log_init(LOG_CRIT);
	ck_assert_int_eq(sigemptyset(&children), 0);
	ck_assert_int_eq(sigaddset(&children, SIGCHLD), 0);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &children, NULL), 0); /* sd-event wants it */
	ck_assert_int_eq(snprintf(folder, sizeof(folder), "/tmp/tfq-identity.XXXXXX"), 24);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0777), 0);
	(void)snprintf(runner, sizeof(runner), "%s/runner", folder);
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_eq(config_new(&config), 0);
	setup.event = event;
	setup.config = config;
	ck_assert_int_eq(identities_new(&identities, &setup), 0);

	lend(&backend.region, "eu-west-1");
	lend(&backend.credentials_json, "{\"profile\":\"p\"}");
	lend(&backend.profile, "p");
	lend(&job_env[0], "HOME=/home/u");
	lend(&job.state_directory, "/work");
	job.id = 42;
	job.env = job_env;
	job.backend = &backend;
	job.owner.uid = geteuid();
	job.owner.gid = getegid();
}

static void tear_down(void)
{
	char command[128];

	identities = identities_free(identities);
	event = sd_event_unref(event);
	config = config_free(config);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own folder */
}

static void on_done(int result, struct identity *identity, const char *error, void *userdata)
{
	struct told *told = userdata;

	told->count++;
	told->result = result;
	told->identity = identity;
	(void)snprintf(told->error, sizeof(told->error), "%s", error ? error : "");
}

/* Return: 1 with @told, 0 with *@ret_lookup. */
static int find(struct told *told, struct identity_lookup **ret_lookup)
{
	AUTO_FREE char *error = NULL;
	int r;

	*told = (struct told){ 0 };
	r = identity_find(ret_lookup, &told->identity, identities, &job, on_done, told, &error);
	ck_assert_msg(r >= 0, "%d: %s", r, error ? error : "");
	return r;
}

#define RUN_UNTIL(condition)                                                           \
	do {                                                                           \
		const time_t end_ = time(NULL) + LIMIT_SECONDS;                        \
		while (!(condition)) {                                                 \
			ck_assert_msg(time(NULL) < end_, "in vain: %s", #condition);   \
			ck_assert_int_ge(sd_event_run(event, 100 * USEC_PER_MSEC), 0); \
		}                                                                      \
	} while (0)

static struct told find_and_wait(void)
{
	struct identity_lookup *lookup = NULL;
	struct told told;

	ck_assert_int_eq(find(&told, &lookup), 0);
	ck_assert_ptr_nonnull(lookup);
	ck_assert_int_eq(told.count, 0); /* never from within the call */
	RUN_UNTIL(told.count > 0);
	ck_assert_int_eq(told.count, 1);
	return told;
}

static void read_file(char *buf, size_t size, const char *name)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	buf[file ? fread(buf, 1, size - 1, file) : 0] = '\0';
	if (file)
		ck_assert_int_eq(fclose(file), 0);
}

static int run_count(void)
{
	char text[64];

	read_file(text, sizeof(text), "runs");
	return (int)strlen(text) / 2;
}

/* --- at once --------------------------------------------------------------------------------- */

START_TEST(what_stands_there_needs_no_asking)
{
	struct identity_lookup *lookup = NULL;
	struct told told;

	write_script("exit 1");
	lend(&backend.credentials_json, NULL);
	lend(&backend.profile, NULL);
	lend(&job_env[1], "AWS_ACCESS_KEY_ID=E");
	lend(&job_env[2], "AWS_SECRET_ACCESS_KEY=s");
	lend(&job_env[3], "AWS_CREDENTIAL_EXPIRATION=2001-09-09T01:46:40Z");
	ck_assert_int_eq(find(&told, &lookup), 1);
	ck_assert_str_eq(told.identity->access_key, "E");
	ck_assert_str_eq(told.identity->source, "environment");
	ck_assert_uint_eq(told.identity->expires_usec, UINT64_C(1000000000) * USEC_PER_SEC);
	ck_assert(!told.identity->can_refresh);
	identity_renew(told.identity); /* nothing to be done, and no harm */
	ck_assert_ptr_null(identity_unref(told.identity));

	lend(&backend.access_key, "B");
	lend(&backend.secret_key, "s");
	ck_assert_int_eq(find(&told, &lookup), 1);
	ck_assert_str_eq(told.identity->access_key, "B");
	ck_assert_uint_eq(told.identity->expires_usec, 0);
	identity_unref(told.identity);
	ck_assert_int_eq(run_count(), 0);
}
END_TEST

/* --- asked ----------------------------------------------------------------------------------- */

START_TEST(answer_becomes_an_identity_that_is_shared)
{
	struct identity_lookup *lookup = NULL;
	struct told first, second, other;

	write_script(FOREVER);
	lend(&job_env[1], "TERM=xterm");
	first = find_and_wait();
	ck_assert_int_eq(first.result, 0);
	ck_assert_str_eq(first.identity->access_key, "K1");
	ck_assert_str_eq(first.identity->secret_key, "s");
	ck_assert_str_eq(first.identity->token, "t");
	ck_assert_str_eq(first.identity->source, "profile p");
	ck_assert_uint_eq(first.identity->expires_usec, 0);
	ck_assert(first.identity->can_refresh);

	lend(&job_env[1], "TERM=vt100"); /* the same question from elsewhere */
	job.id = 43;
	ck_assert_int_eq(find(&second, &lookup), 1);
	ck_assert_ptr_eq(second.identity, first.identity);
	lend(&job_env[1], "AWS_CONFIG_FILE=/x");
	other = find_and_wait();
	ck_assert_str_eq(other.identity->access_key, "K2");
	ck_assert(!identity_is_same(other.identity, first.identity));
	ck_assert_int_eq(run_count(), 2);

	identity_unref(other.identity);
	identity_unref(second.identity);
	ck_assert_str_eq(first.identity->access_key, "K1");
	identity_unref(first.identity);
	lend(&job_env[1], "TERM=xterm"); /* nobody held it */
	first = find_and_wait();
	ck_assert_str_eq(first.identity->access_key, "K3");
	identity_unref(first.identity);
}
END_TEST

START_TEST(those_who_ask_at_once_share_one_helper)
{
	struct identity_lookup *lookups[3];
	struct told told[3];

	write_script("sleep 0.1;" FOREVER);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(find(&told[i], &lookups[i]), 0);
	ck_assert_ptr_null(identity_lookup_cancel(lookups[0]));
	RUN_UNTIL(told[1].count > 0 && told[2].count > 0);
	ck_assert_int_eq(told[0].count, 0);
	ck_assert_ptr_eq(told[1].identity, told[2].identity);
	ck_assert_int_eq(run_count(), 1);
	identity_unref(told[1].identity);
	identity_unref(told[2].identity);
}
END_TEST

static void contains(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "%s is not in %s", part, text);
}

START_TEST(question_is_the_jobs)
{
	char question[4096];
	struct told told;

	write_script(FOREVER);
	lend(&job_env[1], "TERM=xterm");
	lend(&job_env[2], "ODD=\xff");
	lend(&config->endpoint_sts, "http://sts");
	lend(&backend.ca_bundle, "/ca");
	backend.use_fips = true;
	told = find_and_wait();
	identity_unref(told.identity);
	config->endpoint_sts = NULL;
	read_file(question, sizeof(question), "question.1");
	contains(question, "\"environment\":[\"HOME=/home/u\",\"TERM=xterm\"]");
	contains(question, "\"directory\":\"/work\"");
	contains(question, "\"profile\":\"p\"");
	contains(question, "\"region\":\"eu-west-1\"");
	contains(question, "\"custom_ca_bundle\":\"/ca\"");
	contains(question, "\"use_fips\":true");
	contains(question, "\"endpoint_sts\":\"http://sts\"");
	contains(question, "\"session_name\":\"tfqd-42\"");
}
END_TEST

START_TEST(daemons_question_is_its_own)
{
	char question[4096];
	struct told told;

	write_script(FOREVER);
	lend(&daemon_env[0], "AWS_ACCESS_KEY_ID=D");
	lend(&daemon_env[1], "AWS_SECRET_ACCESS_KEY=s");
	lend(&config->profile, "tfqd");
	config->credentials = CONFIG_CREDENTIALS_DAEMON;
	told = find_and_wait();
	identity_unref(told.identity);
	config->profile = NULL;
	read_file(question, sizeof(question), "question.1");
	contains(question, "\"environment\":[\"AWS_ACCESS_KEY_ID=D\",\"AWS_SECRET_ACCESS_KEY=s\"]");
	contains(question, "\"directory\":\"/\"");
	contains(question, "\"profile\":\"tfqd\"");
	contains(question, "\"region\":\"eu-west-1\"");
}
END_TEST

START_TEST(helper_runs_as_the_owner)
{
	char wanted[64];
	struct told told;

	if (geteuid() == 0)
		job.owner.uid = job.owner.gid = 65534;
	write_script("echo '{" KEYS ",\"Source\":\"'$(id -u):$(id -G):$(pwd):$#:$1'\"}'");
	(void)snprintf(wanted, sizeof(wanted), "%lu:", (unsigned long)job.owner.uid);
	told = find_and_wait();
	ck_assert_int_eq(told.result, 0);
	ck_assert_msg(strncmp(told.identity->source, wanted, strlen(wanted)) == 0, "%s",
		      told.identity->source);
	contains(told.identity->source, ":1:--credentials");
	ck_assert(!told.identity->can_refresh);
	ck_assert_ptr_null(told.identity->refresh);
	identity_unref(told.identity);
}
END_TEST

/* --- failures -------------------------------------------------------------------------------- */

static const struct {
	const char *name, *script;
	int result;
	const char *says;
} failures[] = {
	/* clang-format off */
	{ "an error", "echo '{\"Error\":\"run aws sso login\",\"Unsupported\":false}'; exit 1", -EACCES,
	  "run aws sso login" },
	{ "unsupported", "echo '{\"Error\":\"MFA\",\"Unsupported\":true}'; exit 1", -EOPNOTSUPP, "MFA" },
	{ "not printable", "printf '{\"Error\":\"a\\\\u001bb\"}'; exit 1", -EACCES, "a?b" },
	{ "nothing", "exit 71", -EACCES, "exit code 71" },
	{ "killed", "kill -9 $$", -EACCES, "signal 9" },
	{ "no JSON", "echo no", -EACCES, "exit code 0" },
	{ "no secret", "echo '{\"AccessKeyId\":\"a\",\"Source\":\"x\"}'", -EACCES, "exit code 0" },
	{ "an expiry that is none", "echo '{" KEYS ",\"Source\":\"x\",\"Expiration\":\"soon\"}'", -EACCES,
	  "exit code 0" },
	{ "too much", "echo '{" KEYS ",\"Source\":\"x\"}'; exec cat /dev/zero", -EACCES, "said too much" },
	/* clang-format on */
};

START_TEST(failure_is_told)
{
	struct told told;

	write_script(failures[_i].script);
	told = find_and_wait();
	ck_assert_int_eq(told.result, failures[_i].result);
	ck_assert_ptr_null(told.identity);
	contains(told.error, failures[_i].says);
	(void)find_and_wait(); /* a failure is not kept */
	ck_assert_int_eq(run_count(), 2);
}
END_TEST

START_TEST(helper_that_is_not_there_is_said)
{
	AUTO_FREE char *error = NULL;
	struct identity_lookup *lookup = NULL;
	struct told told = { 0 };

	ck_assert_int_eq(identity_find(&lookup, &told.identity, identities, &job, on_done, &told,
				       &error),
			 -ENOENT);
	contains(error, "cannot be started");
}
END_TEST

static pid_t read_pid(void)
{
	char text[32];

	read_file(text, sizeof(text), "child");
	return (pid_t)strtol(text, NULL, 10);
}

/* A zombie is gone, too: whoever is init here may not reap it. */
static bool is_alive(pid_t pid)
{
	char path[64], text[256] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	(void)fclose(file);
	return strstr(text, ") ") && !strstr(text, ") Z");
}

START_TEST(cancelled_look_up_ends_the_helper_and_its_children)
{
	struct identity_lookup *lookup = NULL;
	struct told told;
	pid_t pid;

	write_script("sleep 300 & echo $! >child.new; mv child.new child; sleep 300");
	ck_assert_int_eq(find(&told, &lookup), 0);
	RUN_UNTIL(read_pid() > 0);
	pid = read_pid();
	ck_assert(is_alive(pid));
	ck_assert_ptr_null(identity_lookup_cancel(lookup));
	RUN_UNTIL(!is_alive(pid));
	ck_assert_int_eq(told.count, 0);

	write_script("sleep 300");
	ck_assert_int_eq(find(&told, &lookup), 0); /* left to identities_free() */
}
END_TEST

static bool has_child(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

START_TEST(cancelled_helpers_leave_no_memory_behind)
{
	size_t before = 0;

	write_script("sleep 300");
	for (int i = 0; i < 4; i++) {
		struct identity_lookup *lookup = NULL;
		struct told told;

		if (i == 1) /* the first run makes what is kept for all */
			before = mallinfo2().uordblks;
		ck_assert_int_eq(find(&told, &lookup), 0);
		ck_assert_ptr_null(identity_lookup_cancel(lookup));
		RUN_UNTIL(!has_child());
	}
	ck_assert_uint_lt(mallinfo2().uordblks, before + 65536); /* one helper's is more */
}
END_TEST

START_TEST(helper_that_is_killed_takes_its_children_along)
{
	struct told told;
	pid_t pid;

	write_script("sleep 300 & echo $! >child.new; mv child.new child; kill -ALRM $$");
	told = find_and_wait();
	ck_assert_int_ne(told.result, 0);
	pid = read_pid();
	ck_assert_int_gt(pid, 0);
	RUN_UNTIL(!is_alive(pid));
}
END_TEST

/* --- renewal --------------------------------------------------------------------------------- */

#define UNTIL(seconds)                                                       \
	"until=$(date -u -d \"+" #seconds " seconds\" +%Y-%m-%dT%H:%M:%SZ);" \
	"echo '{" KEYS                                                       \
	",\"Source\":\"profile p\",\"Refreshable\":true,\"Expiration\":\"'$until'\"}'"

START_TEST(keys_are_renewed_in_place_before_they_expire)
{
	uint64_t expires;
	struct told told;

	write_script("if [ $n = 1 ]; then " UNTIL(4) "; else " UNTIL(3600) "; fi");
	told = find_and_wait();
	ck_assert_str_eq(told.identity->access_key, "K1");
	expires = told.identity->expires_usec;
	RUN_UNTIL(strcmp(told.identity->access_key, "K2") == 0);
	ck_assert_uint_lt((uint64_t)time(NULL) * USEC_PER_SEC, expires);
	ck_assert_uint_gt(told.identity->expires_usec, expires + 3000 * USEC_PER_SEC);
	ck_assert_int_eq(told.count, 1);
	identity_unref(told.identity);
}
END_TEST

START_TEST(failed_renewal_keeps_the_old_keys_and_is_tried_again)
{
	const char *const script =
		"case $n in 1) " UNTIL(3600) ";; 2) exit 1;; *) " UNTIL(3600) ";; esac";
	struct told told;
	const time_t started = time(NULL);

	write_script(script);
	told = find_and_wait();
	for (int i = 0; i < 5; i++) /* so soon after the first asking, all of these are one */
		identity_renew(told.identity);
	RUN_UNTIL(run_count() == 2);
	ck_assert_int_ge(time(NULL) - started, 4);
	ck_assert_str_eq(told.identity->access_key, "K1");
	RUN_UNTIL(run_count() == 3 && strcmp(told.identity->access_key, "K3") == 0);
	ck_assert_int_ge(time(NULL) - started, 9);
	identity_unref(told.identity);
}
END_TEST

START_TEST(failed_renewals_wait_longer_but_not_for_who_comes_anew)
{
	struct told told, later;
	time_t failed;

	write_script("case $n in 1|4) " UNTIL(3600) ";; *) exit 1;; esac");
	told = find_and_wait();
	identity_renew(told.identity);
	RUN_UNTIL(run_count() == 3);
	failed = time(NULL);
	RUN_UNTIL((identity_renew(told.identity), time(NULL) - failed >= 7));
	ck_assert_int_eq(run_count(), 3);
	ck_assert_ptr_nonnull(told.identity->trouble);

	later = find_and_wait();
	ck_assert_ptr_eq(later.identity, told.identity);
	ck_assert_str_eq(later.identity->access_key, "K4");
	ck_assert_ptr_null(later.identity->trouble);
	ck_assert_int_lt(time(NULL) - failed, 10);
	identity_unref(later.identity);
	identity_unref(told.identity);
}
END_TEST

START_TEST(dead_identity_that_cannot_be_renewed_is_no_answer)
{
	struct identity_lookup *lookup = NULL;
	struct told told, later;

	write_script(
		"if [ $n = 1 ]; then " UNTIL(3600) "; else echo '{\"Error\":\"no\"}'; exit 1; fi");
	told = find_and_wait();
	identity_renew(told.identity);
	RUN_UNTIL(told.identity->trouble);
	ck_assert_int_eq(find(&later, &lookup), 0);
	identity_unref(told.identity); /* it is the answer that ends it */
	RUN_UNTIL(later.count == 1);
	ck_assert_int_eq(later.result, -EACCES);
	ck_assert_ptr_null(later.identity);
}
END_TEST

START_TEST(helper_that_cannot_be_started_again_is_told_whoever_is_left)
{
	struct identity_lookup *lookup = NULL;
	struct told told, later;

	write_script("if [ $n = 1 ]; then " UNTIL(3600) "; else exit 1; fi");
	told = find_and_wait();
	identity_renew(told.identity);
	RUN_UNTIL(told.identity->trouble);
	ck_assert_int_eq(unlink(runner), 0);
	ck_assert_int_eq(find(&later, &lookup), 0);
	identity_unref(told.identity);
	RUN_UNTIL(later.count == 1);
	ck_assert_int_eq(later.result, -ENOENT);
	ck_assert_ptr_nonnull(strstr(later.error, "cannot be started: No such file"));
}
END_TEST

START_TEST(identity_outlives_those_who_found_it)
{
	struct told told;

	write_script(UNTIL(3600));
	told = find_and_wait();
	identities = identities_free(identities);
	identity_renew(told.identity);
	ck_assert_str_eq(told.identity->access_key, "K1");
	identity_unref(told.identity);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 2 * LIMIT_SECONDS);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, what_stands_there_needs_no_asking);
	tcase_add_test(tcase, answer_becomes_an_identity_that_is_shared);
	tcase_add_test(tcase, those_who_ask_at_once_share_one_helper);
	tcase_add_test(tcase, question_is_the_jobs);
	tcase_add_test(tcase, daemons_question_is_its_own);
	tcase_add_test(tcase, helper_runs_as_the_owner);
	tcase_add_loop_test(tcase, failure_is_told, 0,
			    (int)(sizeof(failures) / sizeof(failures[0])));
	tcase_add_test(tcase, helper_that_is_not_there_is_said);
	tcase_add_test(tcase, cancelled_look_up_ends_the_helper_and_its_children);
	tcase_add_test(tcase, cancelled_helpers_leave_no_memory_behind);
	tcase_add_test(tcase, helper_that_is_killed_takes_its_children_along);
	tcase_add_test(tcase, keys_are_renewed_in_place_before_they_expire);
	tcase_add_test(tcase, failed_renewal_keeps_the_old_keys_and_is_tried_again);
	tcase_add_test(tcase, failed_renewals_wait_longer_but_not_for_who_comes_anew);
	tcase_add_test(tcase, dead_identity_that_cannot_be_renewed_is_no_answer);
	tcase_add_test(tcase, helper_that_cannot_be_started_again_is_told_whoever_is_left);
	tcase_add_test(tcase, identity_outlives_those_who_found_it);
}

int main(void)
{
	return unit_main("identity_lookup", add_tests);
}
