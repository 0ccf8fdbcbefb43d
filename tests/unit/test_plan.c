/* SPDX-License-Identifier: MIT */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zip.h>

#include "common/backend.h"
#include "common/plan/plan.h"
#include "tests/unit/unit.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BYTES(text)  (text), sizeof(text) - 1
#define ZIP_SIZE_MAX ((size_t)128 << 10)

/* Plan{version = 3, backend{"s3", {"key": "SECRET"}, "w1"}, terraform_version = "1.11.4"}. */
/* clang-format off */
static const char plan[] =
	"\x08\x03"
	"\x6a\x19" "\x0a\x02s3" "\x12\x0f\x0a\x0d" "\x81\xa3key\xa7SECRET." "\x1a\x02w1"
	"\x72\x06" "1.11.4";
/* clang-format on */
static const char wanted[] =
	"{\"version\":3,\"terraform_version\":\"1.11.4\",\"backend\":{\"type\":\"s3\",\"config\":"
	"{\"key\":\"SECRET.\"},\"hash\":0}}";

static char dir[] = "/tmp/tfq-plan-XXXXXX";

static void setup(void)
{
	memcpy(dir, "/tmp/tfq-plan-XXXXXX", sizeof(dir));
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void teardown(void)
{
	char command[64];

	ck_assert_int_eq(chdir("/"), 0);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own folder */
}

static void write_file(const char *name, const void *data, size_t len)
{
	const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

static size_t read_file(const char *name, unsigned char *buf)
{
	const int fd = open(name, O_RDONLY | O_CLOEXEC);
	const ssize_t len = read(fd, buf, ZIP_SIZE_MAX);

	ck_assert_int_gt(len, 0);
	ck_assert_int_lt(len, (ssize_t)ZIP_SIZE_MAX);
	ck_assert_int_eq(close(fd), 0);
	return (size_t)len;
}

static void add_member(zip_t *zip, const char *name, const void *data, size_t len, int method)
{
	zip_source_t *source = zip_source_buffer(zip, data, len, 0);
	const zip_int64_t index = zip_file_add(zip, name, source, 0);

	ck_assert_int_ge(index, 0);
	ck_assert_int_eq(zip_set_file_compression(zip, (zip_uint64_t)index, method, 0), 0);
}

/* A zip file called @file with the member @name, between two others as in terraform's. */
static void make_zip(const char *file, const char *name, const void *data, size_t len, int method)
{
	zip_t *zip = zip_open(file, ZIP_CREATE | ZIP_TRUNCATE, NULL);

	ck_assert_ptr_nonnull(zip);
	add_member(zip, "tfstate", BYTES("{}"), ZIP_CM_DEFLATE);
	if (name)
		add_member(zip, name, data, len, method);
	add_member(zip, "tfconfig/m-/main.tf", BYTES("# tfplan"), ZIP_CM_DEFLATE);
	ck_assert_int_eq(zip_close(zip), 0);
}

static void make_plan(const char *file)
{
	make_zip(file, "tfplan", BYTES(plan), ZIP_CM_DEFLATE);
}

/* Read @file; @says is in the error, if @expect is not 0. */
static struct backend_source *read_plan(const char *file, int expect, const char *says)
{
	struct backend_source *source = NULL;
	AUTO_FREE char *error = NULL;
	char *env[] = { NULL };
	int r;

	alarm(20); /* nothing here may wait */
	r = plan_source_read(&source, dir, file, env, &error);
	alarm(0);
	ck_assert_msg(r == expect, "%s: %d %s", file, r, error);
	ck_assert((r == 0) == (source != NULL) && (r == 0) == (error == NULL));
	if (r == 0)
		return source;
	ck_assert_msg(strstr(error, file), "no path: %s", error);
	ck_assert_msg(strstr(error, says), "%s", error);
	ck_assert_msg(!strstr(error, "SECRET"), "%s", error);
	return NULL;
}

START_TEST(plan_is_read)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	make_zip("p", "tfplan", BYTES(plan), _i ? ZIP_CM_STORE : ZIP_CM_DEFLATE);
	source = read_plan("p", 0, NULL); /* no .terraform, no *.tf: terraform needs none either */
	ck_assert_str_eq(source->file, wanted);
	ck_assert_str_eq(source->workspace, "default"); /* not the plan's */
	ck_assert_str_eq(source->directory, dir);
}
END_TEST

START_TEST(plan_wins_over_the_directory)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	ck_assert_int_eq(mkdir(".terraform", 0700), 0);
	write_file(".terraform/terraform.tfstate", BYTES("{}"));
	write_file(".terraform/environment", BYTES("w2"));
	make_plan("p");
	source = read_plan("p", 0, NULL);
	ck_assert_str_eq(source->file, wanted);
	ck_assert_str_eq(source->workspace, "w2");
}
END_TEST

START_TEST(variable_selects_the_workspace)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	char variable[] = "TF_WORKSPACE=w3";
	char *env[] = { variable, NULL };
	AUTO_FREE char *error = NULL;

	make_plan("p");
	ck_assert_int_eq(plan_source_read(&source, dir, "p", env, &error), 0);
	ck_assert_str_eq(source->workspace, "w3");
}
END_TEST

START_TEST(path_may_lead_elsewhere)
{
	char path[PATH_MAX];

	ck_assert_int_eq(mkdir("sub", 0700), 0);
	make_plan("sub/p");
	ck_assert_int_eq(symlink("sub/p", "link"), 0);
	(void)snprintf(path, sizeof(path), "%s/sub/p", dir);
	backend_source_free(read_plan("sub/p", 0, NULL));
	backend_source_free(read_plan("sub/../link", 0, NULL));
	backend_source_free(read_plan(path, 0, NULL));
}
END_TEST

START_TEST(bad_workspace_is_refused)
{
	struct backend_source *source = NULL;
	char variable[] = "TF_WORKSPACE=a/b";
	char *env[] = { variable, NULL };
	AUTO_FREE char *error = NULL;

	make_plan("p");
	ck_assert_int_eq(plan_source_read(&source, dir, "p", env, &error), -EINVAL);
	ck_assert_ptr_null(source);
	ck_assert_msg(strstr(error, "TF_WORKSPACE"), "%s", error);
}
END_TEST

/* --- what is no plan ------------------------------------------------------------------------- */

START_TEST(what_cannot_be_opened_is_told)
{
	make_plan("p");
	read_plan("nowhere", -ENOENT, "-OPTION=VALUE");
	read_plan("p/p", -ENOTDIR, "cannot be read");
	read_plan("/dev/null", -EINVAL, "no regular file");
	ck_assert_int_eq(mkdir("d", 0700), 0);
	read_plan("d", -EISDIR, "-chdir=DIR");
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	read_plan("fifo", -EINVAL, "no regular file");
	if (geteuid() == 0)
		return; /* root may read everything */
	ck_assert_int_eq(chmod("p", 0), 0);
	read_plan("p", -EACCES, "cannot be read as uid");
}
END_TEST

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	int expect;
	const char *says;
} others[] = {
	/* clang-format off */
	{ "empty", BYTES(""), -EBADMSG, "is no saved plan: make it again" },
	{ "text", BYTES("hello\n"), -EBADMSG, "is no saved plan: make it again" },
	{ "old plan", BYTES("tfplan\x02\x00\x00\x00"), -EBADMSG, "is no saved plan" },
	{ "JSON", BYTES("{\"format_version\":\"1.2\"}"), -EBADMSG, "is no saved plan" },
	{ "cut JSON", BYTES("{\"remote_plan_format\":"), -EBADMSG, "is no saved plan" },
	{ "list", BYTES("[\"remote_plan_format\"]"), -EBADMSG, "is no saved plan" },
	{ "cloud", BYTES("{\"remote_plan_format\":1,\"run_id\":\"run-x\",\"hostname\":\"app.terraform.io\"}\n"),
	  -EOPNOTSUPP, "HCP Terraform" },
	{ "head", BYTES("PK\x03\x04\x14"), -EBADMSG, "is no saved plan" },
	{ "no directory", BYTES("PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0"),
	  -EBADMSG, "" },
	/* clang-format on */
};

START_TEST(other_files_are_told)
{
	write_file("p", others[_i].bytes, others[_i].len);
	read_plan("p", others[_i].expect, others[_i].says);
}
END_TEST

START_TEST(zip_without_a_plan_is_refused)
{
	make_zip("p", NULL, NULL, 0, 0);
	read_plan("p", -EBADMSG, "a zip file, but no saved plan");
	make_zip("p", "TFPLAN", BYTES(plan), ZIP_CM_STORE);
	read_plan("p", -EBADMSG, "a zip file, but no saved plan");
	make_zip("p", "d/tfplan", BYTES(plan), ZIP_CM_STORE);
	read_plan("p", -EBADMSG, "a zip file, but no saved plan");
	make_zip("p", "tfplan", BYTES(""), ZIP_CM_STORE);
	read_plan("p", -EOPNOTSUPP, "format");
	make_zip("p", "tfplan", BYTES("\x08\x03\x6a\x80"), ZIP_CM_STORE);
	read_plan("p", -EBADMSG, "is damaged: make it again");
	make_zip("p", "tfplan", BYTES("\x08\x03"), ZIP_CM_STORE);
	read_plan("p", -EBADMSG, "names no backend");
	make_zip("p", "tfplan", BYTES("\x08\x04"), ZIP_CM_STORE);
	read_plan("p", -EOPNOTSUPP, "format");
}
END_TEST

/* Cut anywhere, its directory, which is at the end, is gone. */
START_TEST(cut_zip_is_refused)
{
	unsigned char buf[ZIP_SIZE_MAX];
	size_t len;

	make_plan("p");
	len = read_file("p", buf);
	for (size_t i = 0; i < len; i++) {
		write_file("p", buf, i);
		read_plan("p", -EBADMSG, "make it again");
	}
}
END_TEST

/* Where in @buf the header with @signature is whose name is "tfplan". */
static size_t find_header(const unsigned char *buf, size_t len, const char *signature,
			  size_t name_at)
{
	for (size_t i = 0; i + name_at + 6 <= len; i++) {
		if (memcmp(buf + i, signature, 4) == 0 &&
		    memcmp(buf + i + name_at, "tfplan", 6) == 0)
			return i;
	}
	ck_abort_msg("no header");
	return 0;
}

static void set_32(unsigned char *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static const struct {
	uint32_t size; /* uncompressed, as the directory says */
	int expect;
	const char *says;
} sizes[] = {
	{ sizeof(plan) - 2, -EBADMSG, "cut short or altered" },
	{ sizeof(plan), -EBADMSG, "cut short or altered" },
	{ 0, -EBADMSG, "cut short or altered" },
	{ 1, -EBADMSG, "cut short or altered" },
	{ PLAN_MEMBER_MAX, -EBADMSG, "cut short or altered" },
	{ PLAN_MEMBER_MAX + 1, -EOPNOTSUPP, "too large a plan" },
	{ UINT32_MAX - 1, -EOPNOTSUPP, "too large a plan" },
};

START_TEST(lie_about_the_size_is_refused)
{
	unsigned char buf[ZIP_SIZE_MAX];
	size_t len, at;

	make_plan("p");
	len = read_file("p", buf);
	at = find_header(buf, len, "PK\x01\x02", 46);
	set_32(buf + at + 24, sizes[_i].size);
	at = find_header(buf, len, "PK\x03\x04", 30);
	set_32(buf + at + 22, sizes[_i].size);
	write_file("p", buf, len);
	read_plan("p", sizes[_i].expect, sizes[_i].says);
}
END_TEST

START_TEST(altered_plan_is_refused)
{
	unsigned char buf[ZIP_SIZE_MAX];
	size_t len, at;

	make_zip("p", "tfplan", BYTES(plan), ZIP_CM_STORE);
	len = read_file("p", buf);
	at = find_header(buf, len, "PK\x03\x04", 30) + 36;
	at += (size_t)(buf[at - 8] | buf[at - 7] << 8); /* the extra field */
	ck_assert_int_eq(memcmp(buf + at, plan, sizeof(plan) - 1), 0);
	buf[at + sizeof(plan) - 3]++; /* "1.11.5": only the checksum tells */
	write_file("p", buf, len);
	read_plan("p", -EBADMSG, "cut short or altered");
}
END_TEST

/* Nothing is so small that it may grow to more than the limit: 65 MiB of NULs in 64 KiB. */
START_TEST(bomb_is_left_to_terraform)
{
	const size_t size = PLAN_MEMBER_MAX + ((size_t)1 << 20);
	unsigned char *zeros = calloc(1, size);
	struct stat st;

	make_zip("p", "tfplan", zeros, size, ZIP_CM_DEFLATE);
	free(zeros);
	ck_assert_int_eq(stat("p", &st), 0);
	ck_assert_int_lt(st.st_size, (off_t)ZIP_SIZE_MAX);
	read_plan("p", -EOPNOTSUPP, "too large a plan");
}
END_TEST

/* The same, but it says that it is small: no more is taken out of it than that. */
START_TEST(bomb_that_says_it_is_small_is_refused)
{
	const size_t size = PLAN_MEMBER_MAX + ((size_t)1 << 20);
	unsigned char *zeros = calloc(1, size);
	unsigned char buf[ZIP_SIZE_MAX];
	size_t len;

	make_zip("p", "tfplan", zeros, size, ZIP_CM_DEFLATE);
	free(zeros);
	len = read_file("p", buf);
	set_32(buf + find_header(buf, len, "PK\x01\x02", 46) + 24, 100);
	set_32(buf + find_header(buf, len, "PK\x03\x04", 30) + 22, 100);
	write_file("p", buf, len);
	read_plan("p", -EBADMSG, "cut short or altered");
}
END_TEST

START_TEST(huge_file_is_left_to_terraform)
{
	make_plan("p");
	ck_assert_int_eq(truncate("p", PLAN_FILE_MAX + 1), 0);
	read_plan("p", -EOPNOTSUPP, "too large a plan file");
}
END_TEST

START_TEST(random_changes_are_survived)
{
	const unsigned int seed = (unsigned int)time(NULL);
	unsigned char original[ZIP_SIZE_MAX], buf[ZIP_SIZE_MAX];
	char *env[] = { NULL };
	size_t len;

	printf("random_changes_are_survived: seed %u\n", seed);
	srandom(seed);
	make_plan("p");
	len = read_file("p", original);
	for (int i = 0; i < 3000; i++) {
		CLEANUP(backend_source_freep) struct backend_source *source = NULL;
		AUTO_FREE char *error = NULL;
		int r;

		memcpy(buf, original, len);
		for (long n = random() % 8; n >= 0; n--)
			buf[(size_t)random() % len] = (unsigned char)random();
		write_file("p", buf, len);
		r = plan_source_read(&source, dir, "p", env, &error);
		ck_assert_msg(r == 0 || ((r == -EBADMSG || r == -EOPNOTSUPP) && error), "%d %s", r,
			      error);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, plan_is_read, 0, 2);
	tcase_add_test(tcase, plan_wins_over_the_directory);
	tcase_add_test(tcase, variable_selects_the_workspace);
	tcase_add_test(tcase, path_may_lead_elsewhere);
	tcase_add_test(tcase, bad_workspace_is_refused);
	tcase_add_test(tcase, what_cannot_be_opened_is_told);
	tcase_add_loop_test(tcase, other_files_are_told, 0, COUNT(others));
	tcase_add_test(tcase, zip_without_a_plan_is_refused);
	tcase_add_test(tcase, cut_zip_is_refused);
	tcase_add_loop_test(tcase, lie_about_the_size_is_refused, 0, COUNT(sizes));
	tcase_add_test(tcase, altered_plan_is_refused);
	tcase_add_test(tcase, bomb_is_left_to_terraform);
	tcase_add_test(tcase, bomb_that_says_it_is_small_is_refused);
	tcase_add_test(tcase, huge_file_is_left_to_terraform);
	tcase_add_test(tcase, random_changes_are_survived);
}

int main(void)
{
	return unit_main("plan", add_tests);
}
