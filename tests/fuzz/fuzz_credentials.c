/* SPDX-License-Identifier: MIT */
/* What metadata services, STS and IAM Identity Center answer when they are asked for credentials.
 */
#include <errno.h>
#include <sys/stat.h>

#include "runner/aws/fetch.h"
#include "runner/aws/sources.h"
#include "runner/aws/sts_answer.h"
#include "tests/fuzz/fuzz.h"

#define CACHE "a0f1490a20d0211c997b44bc357e1972deab8ae3.json" /* the SHA-1 of "s" */

enum source { CONTAINER, INSTANCE, SSO, STS_ROLE, STS_WEB, SOURCES };

static struct fuzz_input answers;
static unsigned asked;

/* --- in the place of the network and of the disk --------------------------------------------- */

void fetch_answer_clear(struct fetch_answer *answer)
{
	free(answer->body);
	*answer = (struct fetch_answer){ 0 };
}

int fetch(struct fetch_answer *answer, struct ask *ask, const struct fetch *fetch)
{
	unsigned hundreds;

	FUZZ_CHECK(ask && fetch->url && fetch->method);
	fetch_answer_clear(answer);
	if (++asked > 8)
		return -EIO;
	hundreds = fuzz_byte(&answers);
	answer->status = (int)(hundreds % 6 * 100 + fuzz_byte(&answers) % 100);
	answer->body = fuzz_part(&answers, &answer->len);
	answer->is_connected = answer->status > 0 || hundreds & 0x80;
	answer->is_timeout = hundreds & 0x40;
	answer->date = hundreds & 0x20 ? 0 : -1;
	(void)snprintf(answer->error, sizeof(answer->error), "connection refused");
	return answer->status > 0 ? 0 : -EIO;
}

bool fetch_is_loopback(const char *host)
{
	return strcmp(host, "127.0.0.1") == 0;
}

/* --- the question ----------------------------------------------------------------------------- */

static char home[] = "/dev/shm/tfq-fuzz-XXXXXX";
static char cache[sizeof(home) + sizeof("/.aws/sso/cache/" CACHE)];
static char question[8192];

static const char config[] =
	"[profile p]\nsso_session = s\nsso_account_id = 111122223333\n"
	"sso_role_name = r\n[sso-session s]\n"
	"sso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n";

static int find(struct keys *keys, struct ask *ask, enum source source)
{
	static const struct sts_role role = { .arn = "arn:aws:iam::111122223333:role/deploy" };
	static char id[] = "AKIDEXAMPLE", secret[] = "hush", token[] = "token";
	const struct keys with = { .access_key = id, .secret_key = secret, .token = token };

	switch (source) {
	case CONTAINER: return container_find(keys, ask);
	case INSTANCE: return instance_find(keys, ask, "the environment");
	case SSO: return sso_find(keys, ask, "p");
	case STS_ROLE: return sts_assume(keys, ask, &role, &with);
	case STS_WEB: return sts_web_identity(keys, ask, &role, "a.b.c", NULL);
	default: abort();
	}
}

static void check(const struct keys *keys, const struct ask *ask, int r)
{
	if (r == 0) {
		FUZZ_CHECK(keys->access_key && *keys->access_key);
		FUZZ_CHECK(keys->secret_key && *keys->secret_key);
	} else {
		FUZZ_CHECK(ask->error && *ask->error);
		fuzz_check_printable(ask->error);
	}
}

/* As it lies in the cache of IAM Identity Center. */
static void write_cache(void)
{
	AUTO_FREE char *text = fuzz_part(&answers, NULL);
	FILE *file = fopen(cache, "we");

	FUZZ_CHECK(file);
	(void)fputs(text, file);
	FUZZ_CHECK(fclose(file) == 0);
}

/* Of the cache, and the directories that lead to it. */
static void remove_home(void)
{
	for (char *end; (end = strrchr(cache, '/')) && end != strstr(cache, "/tfq-fuzz-"); *end = 0)
		(void)remove(cache);
	(void)remove(cache);
}

static void make_home(void)
{
	char here[4096]; /* where it goes to: libFuzzer has to find its files */
	static const char *const parts[] = { "/.aws", "/.aws/sso", "/.aws/sso/cache" };

	FUZZ_CHECK(mkdtemp(home));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		(void)snprintf(cache, sizeof(cache), "%s%s", home, parts[i]);
		FUZZ_CHECK(mkdir(cache, 0700) == 0);
	}
	(void)snprintf(cache, sizeof(cache), "%s/.aws/sso/cache/" CACHE, home);
	FUZZ_CHECK(getcwd(here, sizeof(here)));
	(void)snprintf(question, sizeof(question),
		       "{\"environment\":[\"HOME=%s\","
		       "\"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/x\"],"
		       "\"directory\":\"%s\",\"backend\":{\"region\":\"eu-west-1\"}}",
		       home, here);
	(void)atexit(remove_home);
}

static void read_directly(const uint8_t *data, size_t size)
{
	CLEANUP(sts_answer_freep) struct sts_answer *answer = NULL;

	if (sts_answer_parse(&answer, "AssumeRole", data, size) == 0)
		FUZZ_CHECK(answer->access_key && answer->secret_key && answer->token);
}

/* The first byte: who is asked. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(ask_freep) struct ask *ask = NULL;
	CLEANUP(keys_clear) struct keys keys = { 0 };
	enum source source;

	if (!*question)
		make_home();
	read_directly(data, size);
	answers = (struct fuzz_input){ data, size };
	asked = 0;
	source = (enum source)(fuzz_byte(&answers) % SOURCES);
	if (source == SSO)
		write_cache();
	FUZZ_CHECK(ask_new(&ask, question, strlen(question)) == 0);
	FUZZ_CHECK(profiles_new(&ask->profiles) == 0);
	FUZZ_CHECK(profiles_add(ask->profiles, PROFILE_CONFIG, config) == 0);
	check(&keys, ask, find(&keys, ask, source));
	return 0;
}
