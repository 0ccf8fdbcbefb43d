/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "common/parse.h"
#include "daemon/config.h"
#include "daemon/config_table.h"
#include "tests/unit/unit.h"

#define COUNT(rows)   ((int)(sizeof(rows) / sizeof((rows)[0])))
#define CONF_FILE     "conf/tfqd.conf"
#define MAN_FILE      "man/tfqd.conf.5"
#define TEXT_MAX      ((size_t)64 * 1024)
#define NO_EFFECT     "Checked, but without effect in this version."
#define AFTER_RESTART "Counts after a restart."

static struct config *config;
static char *error;
static char path[] = "/tmp/test_config.XXXXXX";

static void start(void)
{
	const int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(config_new(&config), 0);
}

static void stop(void)
{
	config = config_free(config);
	free(TAKE_PTR(error));
	(void)unlink(path);
}

static void write_file(const char *text, size_t len)
{
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static int read_text(const char *text)
{
	write_file(text, strlen(text));
	return config_read(config, path, &error);
}

static void expect_good(const char *text)
{
	const int r = read_text(text);

	ck_assert_msg(r == 0, "%s: %d %s", text, r, error);
	ck_assert_ptr_null(error);
}

/* The message says where, and has @part in it. */
static void expect_refused(int r, unsigned int line, const char *part)
{
	char where[64];

	ck_assert_int_eq(r, -EINVAL);
	ck_assert_ptr_nonnull(error);
	(void)snprintf(where, sizeof(where), "%s:%u: ", path, line);
	ck_assert_msg(strncmp(error, where, strlen(where)) == 0, "\"%s\" is not at line %u", error,
		      line);
	ck_assert_msg(strstr(error, part) != NULL, "\"%s\" lacks \"%s\"", error, part);
}

/* --- values ---------------------------------------------------------------------------- */

START_TEST(defaults_are_as_designed)
{
	ck_assert_ptr_null(config->socket);
	ck_assert_ptr_null(config->state_dir);
	ck_assert_ptr_null(config->runtime_dir);
	ck_assert_uint_eq(config->max_running, 16);
	ck_assert_int_eq(config->log_level, LOG_INFO);
	ck_assert_str_eq(config->binary, "terraform");
	ck_assert_uint_eq(config->max_queued, 10000);
	ck_assert_uint_eq(config->max_queued_per_user, 1000);
	ck_assert_uint_eq(config->max_running_per_user, 16);
	ck_assert_uint_eq(config->handover_jobs, 0);
	ck_assert_uint_eq(config->handover_usec, 15 * USEC_PER_MIN);
	ck_assert(config->require_lock);
	ck_assert_uint_eq(config->approval_timeout_usec, USEC_PER_HOUR);
	ck_assert_uint_eq(config->lease_usec, 15 * USEC_PER_MIN);
	ck_assert_uint_eq(config->renew_usec, 60 * USEC_PER_SEC);
	ck_assert_uint_eq(config->stop_grace_usec, 5 * USEC_PER_MIN);
	ck_assert_uint_eq(config->drift_percent, 10);
	ck_assert_int_eq(config->takeover, CONFIG_TAKEOVER_AUTO);
	ck_assert_uint_eq(config->poll_min_usec, USEC_PER_SEC);
	ck_assert_uint_eq(config->poll_max_usec, 5 * USEC_PER_SEC);
	ck_assert_int_eq(config->credentials, CONFIG_CREDENTIALS_AUTO);
	ck_assert_ptr_null(config->region);
	ck_assert_uint_eq(config->connect_timeout_usec, 5 * USEC_PER_SEC);
	ck_assert_uint_eq(config->request_timeout_usec, 10 * USEC_PER_SEC);
	ck_assert_int_eq(config->launcher, CONFIG_LAUNCHER_AUTO);
	ck_assert_str_eq(config->slice, "tfq.slice");
	ck_assert_uint_eq(config->memory_high_bytes, 0);
	ck_assert_uint_eq(config->cpu_weight, 0);
	ck_assert_uint_eq(config->tasks_max, 0);
	ck_assert_ptr_null(config->submitters);
	ck_assert_ptr_null(config->operators);
	ck_assert_ptr_null(config->viewers);
	ck_assert_uint_eq(config->keep_usec, UINT64_C(2160) * USEC_PER_HOUR);
	ck_assert_uint_eq(config->keep_bytes, UINT64_C(1) << 30);
	ck_assert(!config->output);
	ck_assert_uint_eq(config->state_count, 0);
}
END_TEST

START_TEST(defaults_pass_the_check)
{
	ck_assert_int_eq(config_check(config, &error), 0);
}
END_TEST

START_TEST(every_key_is_read)
{
	expect_good("[daemon]\nsocket = /s\nstate_dir = /d\nruntime_dir = /r\nmax_running = 4\n"
		    "log_level = debug\n"
		    "[terraform]\nbinary = /opt/tofu\n"
		    "[queue]\nmax_queued = 20\nmax_queued_per_user = 10\nmax_running_per_user = 2\n"
		    "handover_limit = 20\nrequire_lock = no\napproval_timeout = 2h\n"
		    "[lock]\nlease = 1h\nrenew = 30s\nstop_grace = 1min\ndrift = 5%\n"
		    "takeover = never\npoll_min = 500ms\npoll_max = 10s\n"
		    "[aws]\ncredentials = job\nprofile = p\nregion = eu-west-1\n"
		    "endpoint_s3 = http://127.0.0.1:9000\nendpoint_dynamodb = https://d.example\n"
		    "endpoint_sts = https://s.example\nca_bundle = /ca.pem\nconnect_timeout = 1s\n"
		    "request_timeout = 2s\n");
	expect_good("[runner]\nlauncher = direct\nslice = jobs.slice\nmemory_high = 2G\n"
		    "cpu_weight = 50\ntasks_max = 4096\n"
		    "[access]\nsubmitters = dev\noperators = sre-team\nviewers = *\n"
		    "[history]\nkeep = 7d\nkeep_bytes = 16M\n"
		    "[journal]\noutput = yes\n");

	ck_assert_str_eq(config->socket, "/s");
	ck_assert_str_eq(config->state_dir, "/d");
	ck_assert_str_eq(config->runtime_dir, "/r");
	ck_assert_uint_eq(config->max_running, 4);
	ck_assert_int_eq(config->log_level, LOG_DEBUG);
	ck_assert_str_eq(config->binary, "/opt/tofu");
	ck_assert_uint_eq(config->max_queued, 20);
	ck_assert_uint_eq(config->max_queued_per_user, 10);
	ck_assert_uint_eq(config->max_running_per_user, 2);
	ck_assert_uint_eq(config->handover_jobs, 20);
	ck_assert_uint_eq(config->handover_usec, 0);
	ck_assert(!config->require_lock);
	ck_assert_uint_eq(config->approval_timeout_usec, 2 * USEC_PER_HOUR);
	ck_assert_uint_eq(config->lease_usec, USEC_PER_HOUR);
	ck_assert_uint_eq(config->renew_usec, 30 * USEC_PER_SEC);
	ck_assert_uint_eq(config->stop_grace_usec, USEC_PER_MIN);
	ck_assert_uint_eq(config->drift_percent, 5);
	ck_assert_int_eq(config->takeover, CONFIG_TAKEOVER_NEVER);
	ck_assert_uint_eq(config->poll_min_usec, 500 * USEC_PER_MSEC);
	ck_assert_uint_eq(config->poll_max_usec, 10 * USEC_PER_SEC);
	ck_assert_int_eq(config->credentials, CONFIG_CREDENTIALS_JOB);
	ck_assert_str_eq(config->profile, "p");
	ck_assert_str_eq(config->region, "eu-west-1");
	ck_assert_str_eq(config->endpoint_s3, "http://127.0.0.1:9000");
	ck_assert_str_eq(config->endpoint_dynamodb, "https://d.example");
	ck_assert_str_eq(config->endpoint_sts, "https://s.example");
	ck_assert_str_eq(config->ca_bundle, "/ca.pem");
	ck_assert_uint_eq(config->connect_timeout_usec, USEC_PER_SEC);
	ck_assert_uint_eq(config->request_timeout_usec, 2 * USEC_PER_SEC);
	ck_assert_int_eq(config->launcher, CONFIG_LAUNCHER_DIRECT);
	ck_assert_str_eq(config->slice, "jobs.slice");
	ck_assert_uint_eq(config->memory_high_bytes, UINT64_C(2) << 30);
	ck_assert_uint_eq(config->cpu_weight, 50);
	ck_assert_uint_eq(config->tasks_max, 4096);
	ck_assert_str_eq(config->submitters, "dev");
	ck_assert_str_eq(config->operators, "sre-team");
	ck_assert_str_eq(config->viewers, "*");
	ck_assert_uint_eq(config->keep_usec, UINT64_C(168) * USEC_PER_HOUR);
	ck_assert_uint_eq(config->keep_bytes, 16 << 20);
	ck_assert(config->output);
}
END_TEST

static const struct {
	const char *name;
	const char *text;
} good[] = {
	/* clang-format off */
	{ "an empty file", "" },
	{ "comments and blank lines", "# a\n; b\n\n   # c\n\t; d\n \t \n[lock]\n" },
	{ "no line feed at the end", "[lock]\nlease = 10min" },
	{ "line ends of another system", "[lock]\r\nlease = 10min\r\n\r\n" },
	{ "a byte order mark", "\xef\xbb\xbf[lock]\nlease = 10min\n" },
	{ "a comment behind a value", "[lock]\nlease = 10min ; ten\n" },
	{ "a comment behind a section", "[lock] # of ours\nlease = 10min\n" },
	{ "no blanks", "[lock]\nlease=10min\n" },
	{ "a key in two files", "[lock]\nlease = 10min\n" },
	/* clang-format on */
};

START_TEST(harmless_file_is_read)
{
	expect_good("[lock]\nlease = 20min\n");
	expect_good(good[_i].text);
	ck_assert_msg(config->lease_usec == 10 * USEC_PER_MIN || !strstr(good[_i].text, "lease"),
		      "%s", good[_i].name);
}
END_TEST

START_TEST(handover_is_a_count_or_a_time)
{
	expect_good("[queue]\nhandover_limit = 0\n");
	ck_assert_uint_eq(config->handover_jobs, 0);
	ck_assert_uint_eq(config->handover_usec, 0);
	expect_good("[queue]\nhandover_limit = 30min\n");
	ck_assert_uint_eq(config->handover_usec, 30 * USEC_PER_MIN);
}
END_TEST

/* --- refused --------------------------------------------------------------------------- */

#define FILL50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define FILL150 FILL50 FILL50 FILL50

static const struct {
	const char *name;
	const char *text;
	unsigned int line;
	const char *part;
} bad[] = {
	/* clang-format off */
	{ "key before a section", "\nlease = 1h\n", 2, "before the first [section]" },
	{ "unknown section", "[locks]\n", 1, "did you mean [lock]?" },
	{ "section like none", "[elephants]\n", 1, "see tfqd.conf(5)" },
	{ "section in capitals", "[LOCK]\n", 1, "no section is called [LOCK]" },
	{ "empty section", "[]\n", 1, "no section is called []" },
	{ "section twice", "[lock]\n[aws]\n[lock]\n", 3, "[lock] is there twice" },
	{ "open section", "[lock\n", 1, "written as [NAME]" },
	{ "text behind a section", "[lock] lease = 1h\n", 1, "alone on its line" },
	{ "unknown key", "[lock]\nlaese = 1h\n", 2, "did you mean \"lease\"?" },
	{ "key like none", "[lock]\nelephants = 1\n", 2, "see tfqd.conf(5)" },
	{ "key of another section", "[lock]\nmax_queued = 1\n", 2, "belongs to [queue]" },
	{ "key twice", "[lock]\nlease = 1h\n\nlease = 1h\n", 4, "lease is there twice" },
	{ "no value", "[aws]\nregion =\n", 2, "region has no value" },
	{ "no equals sign", "[lock]\n\nlease 1h\n", 3, "KEY = VALUE" },
	{ "no equals sign, then a bad key", "[lock]\nlease 1h\nlaese = 1h\n", 2, "KEY = VALUE" },
	{ "continued value", "[aws]\nregion = a\n b\n", 3, "indented" },
	{ "continued by a tab", "[aws]\nregion = a\n\tb\n", 3, "indented" },
	{ "indented key", "[aws]\n  region = a\n", 2, "indented" },
	{ "control character", "[aws]\nregion = a\033b\n", 2, "control character" },
	{ "long line", "[aws]\nregion = " FILL150 FILL50 "\n", 2, "the line has 209 bytes; 190" },
	{ "long comment", "\n#" FILL150 FILL50 FILL150 "\n", 2, "351 bytes" },
	{ "time without unit", "[lock]\nlease = 900\n", 2, "a time with its unit" },
	{ "time that is too short", "[lock]\nlease = 9s\n", 2, "between 10 s and 1 d" },
	{ "time that is too long", "[lock]\nlease = 25h\n", 2, "between 10 s and 1 d" },
	{ "number with a unit", "[daemon]\nmax_running = 4K\n", 2, "is not a number" },
	{ "number that is too small", "[daemon]\nmax_running = 0\n", 2, "between 1 and 10000" },
	{ "negative number", "[daemon]\nmax_running = -1\n", 2, "is not a number" },
	{ "percentage", "[lock]\ndrift = 60%\n", 2, "between 0% and 50%" },
	{ "size", "[history]\nkeep_bytes = 1gb\n", 2, "64K, 16M or 2G" },
	{ "switch", "[journal]\noutput = maybe\n", 2, "yes or no" },
	{ "word", "[lock]\ntakeover = always\n", 2, "one of auto, ask, never" },
	{ "level", "[daemon]\nlog_level = INFO\n", 2, "one of err, warning, notice, info, debug" },
	{ "relative path", "[daemon]\nstate_dir = var\n", 2, "an absolute path" },
	{ "path too long for a socket", "[daemon]\nsocket = /" FILL150 "\n", 2, "107 bytes" },
	{ "relative binary", "[terraform]\nbinary = bin/terraform\n", 2, "absolute path" },
	{ "URL", "[aws]\nendpoint_s3 = s3.example.com\n", 2, "https://HOST" },
	{ "URL without host", "[aws]\nendpoint_s3 = https:///\n", 2, "https://HOST" },
	{ "slice", "[runner]\nslice = jobs\n", 2, ".slice" },
	{ "two groups", "[access]\noperators = a b\n", 2, "the name of a group" },
	{ "comment of the other kind", "[lock]\nlease = 1h # one\n", 2, "starts with \" ;\"" },
	{ "handover", "[queue]\nhandover_limit = 15 jobs\n", 2, "a number of jobs, as 20" },
	{ "handover of too many", "[queue]\nhandover_limit = 1000001\n", 2, "at most 1000000 jobs" },
	{ "state without pattern", "[state]\n", 1, "needs a pattern" },
	{ "state without quotes", "[state s3://b/*]\n", 1, "written as [state \"s3://BUCKET/*\"]" },
	{ "state with an empty pattern", "[state \"\"]\n", 1, "written as [state" },
	{ "state without end", "[state \"s3://b/*\n", 1, "written as [state" },
	{ "state without bracket", "[state \"s3://b/*\"\n", 1, "written as [state" },
	{ "state twice", "[state \"a\"]\n[state \"b\"]\n[state \"a\"]\n", 3, "[state \"a\"] is there twice" },
	{ "key of states twice", "[state \"a\"]\npriority = low\npriority = low\n", 3, "twice" },
	{ "key of states elsewhere", "[lock]\npriority = low\n", 2, "belongs to [state]" },
	{ "priority", "[state \"a\"]\npriority = urgent\n", 2, "one of high, normal, low" },
	/* clang-format on */
};

START_TEST(broken_file_is_refused_with_its_line)
{
	expect_refused(read_text(bad[_i].text), bad[_i].line, bad[_i].part);
}
END_TEST

/* inih cuts at 199 bytes: what we let through must arrive whole. */
START_TEST(longest_line_arrives_whole)
{
	char text[512], want[CONFIG_LINE_MAX + 1] = "";
	const size_t len = CONFIG_LINE_MAX - strlen("region = ");

	memset(want, 'r', len);
	(void)snprintf(text, sizeof(text), "[aws]\nregion = %s\ncredentials = job\n", want);
	expect_good(text);
	ck_assert_str_eq(config->region, want);
	ck_assert_int_eq(config->credentials, CONFIG_CREDENTIALS_JOB);

	(void)snprintf(text, sizeof(text), "[aws]\nregion = %sr\n", want);
	expect_refused(read_text(text), 2, "the line has 191 bytes");
}
END_TEST

START_TEST(other_files_are_refused)
{
	static const char with_nul[] = "[aws]\nregion = a\0b\n";

	write_file(with_nul, sizeof(with_nul) - 1);
	ck_assert_int_eq(config_read(config, path, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "NUL"));
	free(TAKE_PTR(error));

	ck_assert_int_eq(truncate(path, 256 * 1024 + 1), 0);
	ck_assert_int_eq(config_read(config, path, &error), -EFBIG);
	ck_assert_ptr_nonnull(strstr(error, "256 KiB"));
	free(TAKE_PTR(error));

	ck_assert_int_eq(config_read(config, "/tmp", &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "/tmp: is not a regular file"));
	free(TAKE_PTR(error));

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(config_read(config, path, &error), -ENOENT);
	ck_assert_ptr_nonnull(strstr(error, path));
	free(TAKE_PTR(error));

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(config_read(config, path, &error), -EINVAL);
}
END_TEST

/* --- states ---------------------------------------------------------------------------- */

START_TEST(first_matching_state_counts)
{
	const struct config_state *state;

	expect_good("[state \"s3://b/prod/*\"]\npriority = high\noperators = sre\n"
		    "[state \"s3://b/[dt]*\"] ; not production\nrequire_lock = no\nmax_queued = 3\n"
		    "[lock]\nlease = 20min\n"
		    "[state \"s3://b/*\"]\npriority = low\ntakeover = ask\n");
	ck_assert_uint_eq(config->state_count, 3);
	ck_assert_uint_eq(config->lease_usec, 20 * USEC_PER_MIN);
	ck_assert(config->require_lock);

	state = config_state_match(config, "s3://b/prod/net/terraform.tfstate");
	ck_assert_ptr_eq(state, &config->states[0]);
	ck_assert(state->has_priority && state->priority == CONFIG_PRIORITY_HIGH);
	ck_assert_str_eq(state->operators, "sre");
	ck_assert(!state->has_require_lock && !state->has_max_queued && !state->has_takeover);

	state = config_state_match(config, "s3://b/test/x");
	ck_assert_str_eq(state->pattern, "s3://b/[dt]*");
	ck_assert(state->has_require_lock && !state->require_lock);
	ck_assert(state->has_max_queued && state->max_queued == 3);

	state = config_state_match(config, "s3://b/x");
	ck_assert(state->has_priority && state->priority == CONFIG_PRIORITY_LOW);
	ck_assert(state->has_takeover && state->takeover == CONFIG_TAKEOVER_ASK);

	ck_assert_ptr_null(config_state_match(config, "s3://bucket/x"));
}
END_TEST

/* inih keeps 49 bytes of a section's name. */
START_TEST(long_pattern_is_kept_whole)
{
	expect_good("[state \"s3://" FILL150 "/a\"]\n[state \"s3://" FILL150
		    "/b\"]\npriority = low\n");
	ck_assert_uint_eq(config->state_count, 2);
	ck_assert(!config_state_match(config, "s3://" FILL150 "/a")->has_priority);
	ck_assert(config_state_match(config, "s3://" FILL150 "/b")->has_priority);
}
END_TEST

START_TEST(later_file_goes_on_with_a_state)
{
	expect_good("[state \"a\"]\npriority = low\noperators = x\n[state \"b\"]\n");
	expect_good("[state \"a\"]\npriority = high\n");
	ck_assert_uint_eq(config->state_count, 2);
	ck_assert_int_eq(config->states[0].priority, CONFIG_PRIORITY_HIGH);
	ck_assert_str_eq(config->states[0].operators, "x");
}
END_TEST

START_TEST(states_are_limited)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	for (int i = 0; i < CONFIG_STATES_MAX; i++)
		(void)fprintf(file, "[state \"s3://b/%d\"]\n", i);
	ck_assert_int_eq(fclose(file), 0);
	expect_good(text);
	ck_assert_uint_eq(config->state_count, CONFIG_STATES_MAX);
	expect_good("[state \"s3://b/255\"]\npriority = low\n");

	ck_assert_int_eq(read_text("[state \"one too many\"]\n"), -E2BIG);
	ck_assert_ptr_nonnull(strstr(error, "more than 256"));
}
END_TEST

/* --- as a whole ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *text;
	const char *part;
} unfit[] = {
	/* clang-format off */
	{ "lease that is too short", "[lock]\nlease = 6min 25s\n",
	  "= 6 min 25 s is not less than [lock] lease (6 min 25 s)" },
	{ "grace that is too long", "[lock]\nstop_grace = 14min\n", "stop_grace (14 min)" },
	{ "poll", "[lock]\npoll_min = 6s\n", "poll_min (6 s) is over poll_max (5 s)" },
	{ "user's share", "[queue]\nmax_queued = 10\n",
	  "max_queued_per_user (1000) is over max_queued (10)" },
	/* clang-format on */
};

START_TEST(keys_that_do_not_fit_are_refused)
{
	expect_good(unfit[_i].text);
	ck_assert_int_eq(config_check(config, &error), -EINVAL);
	ck_assert_msg(strstr(error, unfit[_i].part) != NULL, "%s: \"%s\"", unfit[_i].name, error);
}
END_TEST

START_TEST(shortest_lease_that_fits_is_taken)
{
	expect_good("[lock]\nlease = 6min 25s 1ms\n");
	ck_assert_int_eq(config_check(config, &error), 0);
}
END_TEST

START_TEST(numbers_out_of_range_are_refused)
{
	config->max_running = 0;
	ck_assert_int_eq(config_check(config, &error), -EINVAL);
	ck_assert_str_eq(error, "[daemon] max_running is not between 1 and 10000");
	free(TAKE_PTR(error));

	config->max_running = 1;
	config->lease_usec = 24 * USEC_PER_HOUR + 1;
	ck_assert_int_eq(config_check(config, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "[lock] lease"));
}
END_TEST

START_TEST(only_what_was_changed_in_vain_is_told)
{
	size_t index = 0;

	ck_assert_ptr_null(config_next_unused(config, &index));
	ck_assert_ptr_null(config_next_unused(config, &index));

	expect_good(
		"[queue]\napproval_timeout = 60min\nmax_queued = 5000\n"
		"[lock]\ndrift = 20%\n[history]\nkeep_bytes = 2G\n"
		"[runner]\ncpu_weight = 5\n"
		"[aws]\nprofile = x\nregion = r\n[access]\nviewers = y\n[journal]\noutput = no\n"
		"[state \"a\"]\npriority = low\n[state \"b\"]\noperators = z\n");
	index = 0;
	ck_assert_str_eq(config_next_unused(config, &index), "aws.region");
	ck_assert_ptr_null(config_next_unused(config, &index));
}
END_TEST

/* --- another one at run time ------------------------------------------------------------ */

/* Make @config, which has @before, what @after says. */
static int adopt(const char *before, const char *after, char **ret_error)
{
	CLEANUP(config_freep) struct config *fresh = NULL;
	struct config *present;

	expect_good(before);
	present = TAKE_PTR(config);
	ck_assert_int_eq(config_new(&config), 0);
	expect_good(after);
	fresh = TAKE_PTR(config);
	config = present;
	return config_adopt(config, fresh, ret_error);
}

START_TEST(what_may_change_is_adopted_and_the_rest_stays)
{
	ck_assert_int_eq(adopt("[daemon]\nsocket = /a\nmax_running = 2\n[access]\noperators = x\n"
			       "[queue]\nhandover_limit = 20\n[aws]\nrequest_timeout = 2s\n"
			       "[state \"a*\"]\nmax_queued = 1\n",
			       "[daemon]\nsocket = /b\nmax_running = 3\n[queue]\n"
			       "handover_limit = 1min\n[state \"b*\"]\nmax_queued = 7\n",
			       &error),
			 0);
	ck_assert_str_eq(config->socket, "/a");
	ck_assert_uint_eq(config->max_running, 3);
	ck_assert_ptr_null(config->operators);
	ck_assert_uint_eq(config->handover_jobs, 0);
	ck_assert_uint_eq(config->handover_usec, USEC_PER_MIN);
	ck_assert_uint_eq(config->request_timeout_usec, 2 * USEC_PER_SEC);
	ck_assert_ptr_null(config_state_match(config, "a"));
	ck_assert_uint_eq(config_state_match(config, "b")->max_queued, 7);
}
END_TEST

START_TEST(what_does_not_fit_with_what_stays_is_not_adopted)
{
	ck_assert_int_eq(adopt("[aws]\nrequest_timeout = 5min\n[lock]\nlease = 20min\n",
			       "[daemon]\nmax_running = 3\n", &error),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "request_timeout (5"));
	ck_assert_uint_eq(config->max_running, 16);
	ck_assert_uint_eq(config->lease_usec, 20 * USEC_PER_MIN);
	ck_assert_uint_eq(config->request_timeout_usec, 5 * USEC_PER_MIN);
}
END_TEST

START_TEST(keys_that_need_a_restart_are_named)
{
	CLEANUP(config_freep) struct config *fresh = NULL;
	size_t index = 0;

	ck_assert_int_eq(config_new(&fresh), 0);
	ck_assert_ptr_null(config_next_fixed(config, fresh, &index));
	expect_good("[daemon]\nstate_dir = /a\nmax_running = 2\n[aws]\nendpoint_s3 = http://a\n");
	index = 0;
	ck_assert_str_eq(config_next_fixed(config, fresh, &index), "daemon.state_dir");
	ck_assert_str_eq(config_next_fixed(config, fresh, &index), "aws.endpoint_s3");
	ck_assert_ptr_null(config_next_fixed(config, fresh, &index));
	ck_assert_ptr_null(config_next_fixed(config, fresh, &index));
}
END_TEST

/* --- what is written about it ---------------------------------------------------------- */

static char *slurp(const char *name)
{
	AUTO_FREE char *text = calloc(1, TEXT_MAX);
	FILE *file = fopen(name, "re");

	ck_assert_msg(file != NULL, "%s is not there; tests run in the top folder", name);
	text[0] = '\n'; /* so that each line can be looked for with the line feed before it */
	ck_assert_uint_gt(fread(text + 1, 1, TEXT_MAX - 2, file), 0);
	(void)fclose(file);
	return TAKE_PTR(text);
}

/* The line made of @fmt behind @from, in @name; it must be there. */
__attribute__((format(printf, 3, 4))) static const char *find_line(const char *name,
								   const char *from,
								   const char *fmt, ...)
{
	char line[256];
	const char *at;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	at = strstr(from, line);
	ck_assert_msg(at != NULL, "%s lacks the line \"%s\"", name, line + 1);
	return at;
}

static const char *equals(const char *text)
{
	return *text ? " = " : " =";
}

START_TEST(example_file_has_every_key)
{
	AUTO_FREE char *text = slurp(CONF_FILE);
	const char *fallback, *name, *at;

	for (size_t i = 0; (name = config_key(i, &fallback)); i++) {
		const struct config_row *row = config_row(i);
		const char *section =
			strcmp(row->section, "state") == 0 ? "[state \"" : row->section;
		const char *key, *about, *mark;

		at = find_line(CONF_FILE, text, *section == '[' ? "\n#%s" : "\n[%s]\n", section);
		key = find_line(CONF_FILE, at, "\n#%s%s%s\n", row->key, equals(fallback), fallback);
		for (about = key; about > text && strncmp(about, "\n\n", 2) != 0; about--)
			ck_assert_msg(about == key || strncmp(about, "\n[", 2) != 0,
				      "%s: misplaced", name);
		mark = strstr(about, "\n# " NO_EFFECT "\n");
		ck_assert_msg((mark && mark < key) == !row->is_used,
			      "%s: says the wrong thing of its effect", name);
		mark = strstr(about, "\n# " AFTER_RESTART "\n");
		ck_assert_msg((mark && mark < key) == row->needs_restart,
			      "%s: says the wrong thing of a reload", name);
	}
}
END_TEST

/* With each # before a key taken away, it says what holds anyhow. */
START_TEST(example_file_is_the_defaults)
{
	AUTO_FREE char *text = slurp(CONF_FILE);
	AUTO_FREE char *set = calloc(1, strlen(text) + 1);
	char *save = NULL, *to = set;
	const struct config_row *row;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const size_t len = strlen(line);

		ck_assert_uint_le(len, 100);
		if (line[0] == '[' ||
		    (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' && line[len - 1] != '='))
			to = stpcpy(stpcpy(to, line + (line[0] == '#')), "\n");
	}
	expect_good(set);
	ck_assert_ptr_nonnull(strstr(set, "poll_max = 5s\n"));
	for (size_t i = 0; (row = config_row(i)); i++)
		if (strcmp(row->section, "state") != 0)
			ck_assert_msg(config_row_is_default(row, config), "%s", row->name);
}
END_TEST

START_TEST(man_page_has_every_key)
{
	AUTO_FREE char *text = slurp(MAN_FILE);
	const char *fallback, *name;

	for (size_t i = 0; (name = config_key(i, &fallback)); i++) {
		const struct config_row *row = config_row(i);
		const char *at, *end, *mark, *next;

		at = find_line(MAN_FILE, text, "\n.Ss [%s", row->section);
		end = find_line(MAN_FILE, at, "\n.El\n");
		at = find_line(MAN_FILE, at, "\n.It Ic %s%s%s\n", row->key, equals(fallback),
			       fallback);
		ck_assert_msg(at < end, "%s: in another section", name);
		mark = strstr(at, "\n" NO_EFFECT "\n");
		next = strstr(at + 1, "\n.It ");
		if (next && next < end)
			end = next;
		ck_assert_msg((mark && mark < end) == !row->is_used,
			      "%s: says the wrong thing of its effect", name);
		mark = strstr(at, "\n" AFTER_RESTART "\n");
		ck_assert_msg((mark && mark < end) == row->needs_restart,
			      "%s: says the wrong thing of a reload", name);
	}
}
END_TEST

START_TEST(key_behind_the_last_is_none)
{
	const char *fallback = "untouched";
	size_t i = 0;

	while (config_key(i, &fallback))
		i++;
	ck_assert_uint_gt(i, 40);
	ck_assert_ptr_null(config_key(i + 1, &fallback));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, defaults_are_as_designed);
	tcase_add_test(tcase, defaults_pass_the_check);
	tcase_add_test(tcase, every_key_is_read);
	tcase_add_loop_test(tcase, harmless_file_is_read, 0, COUNT(good));
	tcase_add_test(tcase, handover_is_a_count_or_a_time);
	tcase_add_loop_test(tcase, broken_file_is_refused_with_its_line, 0, COUNT(bad));
	tcase_add_test(tcase, longest_line_arrives_whole);
	tcase_add_test(tcase, other_files_are_refused);
	tcase_add_test(tcase, first_matching_state_counts);
	tcase_add_test(tcase, long_pattern_is_kept_whole);
	tcase_add_test(tcase, later_file_goes_on_with_a_state);
	tcase_add_test(tcase, states_are_limited);
	tcase_add_loop_test(tcase, keys_that_do_not_fit_are_refused, 0, COUNT(unfit));
	tcase_add_test(tcase, shortest_lease_that_fits_is_taken);
	tcase_add_test(tcase, numbers_out_of_range_are_refused);
	tcase_add_test(tcase, only_what_was_changed_in_vain_is_told);
	tcase_add_test(tcase, what_may_change_is_adopted_and_the_rest_stays);
	tcase_add_test(tcase, what_does_not_fit_with_what_stays_is_not_adopted);
	tcase_add_test(tcase, keys_that_need_a_restart_are_named);
	tcase_add_test(tcase, example_file_has_every_key);
	tcase_add_test(tcase, example_file_is_the_defaults);
	tcase_add_test(tcase, man_page_has_every_key);
	tcase_add_test(tcase, key_behind_the_last_is_none);
}

int main(void)
{
	return unit_main("config", add_tests);
}
