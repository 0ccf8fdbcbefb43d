/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "common/backend.h"
#include "common/cleanup.h"
#include "common/tfargs.h"
#include "runner/spec.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/tfq-spec-XXXXXX";

static void make_file(const char *path, mode_t mode, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

static void setup(void)
{
	memcpy(dir, "/tmp/tfq-spec-XXXXXX", sizeof(dir));
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	make_file("terraform", 0755, "");
	make_file("tfq", 0755, "");
	make_file("notexec", 0644, "");
	make_file("main.tf", 0644, "");
}

static void teardown(void)
{
	(void)unlink("terraform");
	(void)unlink("tfq");
	(void)unlink("notexec");
	(void)unlink("main.tf");
	ck_assert_int_eq(chdir("/"), 0);
	(void)rmdir(dir);
}

/* The daemon's order for "tfq apply -auto-approve" here. */
static json_t *make_order(void)
{
	char path[64];
	json_t *order;

	(void)snprintf(path, sizeof(path), "PATH=%s", dir);
	order = json_pack("{s:[s,s], s:[s,s,s], s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:b}",
			  "argv", "apply", "-auto-approve", "environment", path, "TFQ_JOB=7", "A=b",
			  "directory", dir, "state_directory", dir, "identity", "none",
			  "lock_timeout", "10m", "binary", "terraform", "client", "tfq", "umask",
			  18, "hold_lock", 1, "stdin", 1);
	ck_assert_ptr_nonnull(order);
	return order;
}

static struct spec *make_spec(void)
{
	struct spec *spec = NULL;
	json_t *order = make_order();

	ck_assert_int_eq(spec_parse(&spec, order, 42), 0);
	json_decref(order);
	return spec;
}

static void replace(char **field, const char *text)
{
	free(*field);
	*field = strdup(text);
	ck_assert_ptr_nonnull(*field);
}

START_TEST(order_is_read)
{
	struct spec *spec = make_spec();

	ck_assert_str_eq(spec->argv[0], "apply");
	ck_assert_str_eq(spec->argv[1], "-auto-approve");
	ck_assert_ptr_null(spec->argv[2]);
	ck_assert_str_eq(spec->env[1], "TFQ_JOB=42"); /* a job within a job is its own */
	ck_assert_str_eq(spec->env[2], "A=b");
	ck_assert_ptr_null(spec->env[3]);
	ck_assert_str_eq(spec->directory, dir);
	ck_assert_str_eq(spec->lock_timeout, "10m");
	ck_assert_uint_eq(spec->umask, 022);
	ck_assert(spec->hold_lock && spec->has_stdin && !spec->is_plan);
	ck_assert_ptr_null(spec_free(spec));
	ck_assert_ptr_null(spec_free(NULL));
}
END_TEST

START_TEST(job_is_named_where_nobody_did)
{
	struct spec *spec = NULL;
	json_t *order = make_order();

	ck_assert_int_eq(json_object_set_new(order, "environment", json_array()), 0);
	ck_assert_int_eq(spec_parse(&spec, order, UINT64_MAX), 0);
	ck_assert_str_eq(spec->env[0], "TFQ_JOB=18446744073709551615");
	ck_assert_ptr_null(spec->env[1]);
	json_decref(order);
	spec_free(spec);
}
END_TEST

static const char *const texts[] = { "directory",    "state_directory", "identity",
				     "lock_timeout", "binary",          "client" };

START_TEST(order_without_a_text_is_refused)
{
	struct spec *spec = NULL;
	json_t *order = make_order();

	ck_assert_int_eq(json_object_set_new(order, texts[_i], json_integer(1)), 0);
	ck_assert_int_eq(spec_parse(&spec, order, 1), -EBADMSG);
	ck_assert_int_eq(json_object_del(order, texts[_i]), 0);
	ck_assert_int_eq(spec_parse(&spec, order, 1), -EBADMSG);
	ck_assert_ptr_null(spec);
	json_decref(order);
}
END_TEST

START_TEST(word_that_is_no_text_is_refused)
{
	struct spec *spec = NULL;
	json_t *order = make_order();

	ck_assert_int_eq(json_object_set_new(order, _i ? "argv" : "environment",
					     json_pack("[s,i]", "x", 1)),
			 0);
	ck_assert_int_eq(spec_parse(&spec, order, 1), -EBADMSG);
	ck_assert_ptr_null(spec);
	json_decref(order);
}
END_TEST

static bool has_word(char *const *argv, const char *word)
{
	for (; *argv; argv++)
		if (strcmp(*argv, word) == 0)
			return true;
	return false;
}

START_TEST(command_line_is_terraforms)
{
	struct spec *spec = make_spec();
	AUTO_FREE char *program = NULL, *error = NULL, *wanted = NULL;
	char **argv = NULL;

	ck_assert_int_eq(spec_command(spec, _i, &program, &argv, &error), 0);
	ck_assert_int_gt(asprintf(&wanted, "%s/terraform", dir), 0);
	ck_assert_str_eq(program, wanted);
	ck_assert_str_eq(argv[0], "terraform");
	ck_assert_str_eq(argv[1], "apply");
	ck_assert(has_word(argv, "-auto-approve"));
	ck_assert_int_eq(has_word(argv, "-lock=false"), _i);
	ck_assert_int_eq(has_word(argv, "-lock-timeout=10m"), !_i);
	ck_assert_ptr_null(error);
	tfargs_strv_free(argv);
	spec_free(spec);
}
END_TEST

static const struct {
	const char *binary;
	int code;
	const char *says;
} programs[] = {
	{ "nowhere", SPEC_EXIT_NOT_FOUND, "nowhere" },
	{ "notexec", SPEC_EXIT_NOT_EXEC, "not executable" },
	{ "tfq", SPEC_EXIT_NOT_FOUND, "tfq" }, /* ourselves */
	{ "/nowhere/terraform", SPEC_EXIT_NOT_FOUND, "/nowhere/terraform" },
};

START_TEST(program_that_cannot_be_run_is_told)
{
	struct spec *spec = make_spec();
	AUTO_FREE char *program = NULL, *error = NULL;
	char **argv = NULL;

	replace(&spec->binary, programs[_i].binary);
	ck_assert_int_eq(spec_command(spec, true, &program, &argv, &error), programs[_i].code);
	ck_assert_ptr_nonnull(strstr(error, programs[_i].says));
	ck_assert_ptr_null(program);
	ck_assert_ptr_null(argv);
	spec_free(spec);
}
END_TEST

START_TEST(state_must_be_the_one_that_was_queued)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	CLEANUP(backend_freep) struct backend *backend = NULL;
	struct spec *spec = make_spec();
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(spec_check_state(spec, &error), SPEC_EXIT_FAILED);
	ck_assert_ptr_nonnull(strstr(error, "another state"));

	ck_assert_int_eq(backend_source_read(&source, dir, spec->env, &error), 0);
	ck_assert_int_eq(backend_parse(&backend, source, spec->env, false, &error), 0);
	replace(&spec->identity, backend->identity);
	ck_assert_int_eq(spec_check_state(spec, &error), 0);
	spec_free(spec);
}
END_TEST

START_TEST(table_must_be_where_it_was_when_queued)
{
	struct spec *spec = make_spec();

	replace(&spec->identity, "s3|http://s|r|b|k");
	ck_assert_int_eq(mkdir(".terraform", 0700), 0);
	for (int i = 0; i < 4; i++) {
		static const char *const endpoints[] = { "http://d", "http://other", NULL,
							 "http://d" };
		AUTO_FREE char *error = NULL;

		make_file(
			".terraform/terraform.tfstate", 0644,
			i < 3 ? "{\"version\":3,\"backend\":{\"type\":\"s3\",\"config\":{\"bucket\":"
				"\"b\",\"key\":\"k\",\"region\":\"r\",\"dynamodb_table\":\"t\","
				"\"endpoints\":{\"s3\":\"http://s\",\"dynamodb\":\"http://d\"}}}}"
			      : "{\"version\":3,\"backend\":{\"type\":\"s3\",\"config\":{\"bucket\":"
				"\"b\",\"key\":\"k\",\"region\":\"r\",\"endpoint\":\"http://s\"}}}");
		free(TAKE_PTR(spec->endpoint_dynamodb));
		if (endpoints[i])
			spec->endpoint_dynamodb = strdup(endpoints[i]);
		ck_assert_int_eq(spec_check_state(spec, &error),
				 i == 0 || i == 3 ? 0 : SPEC_EXIT_FAILED);
		ck_assert(i == 0 || i == 3 || strstr(error, "DynamoDB endpoint"));
	}
	(void)unlink(".terraform/terraform.tfstate");
	(void)rmdir(".terraform");
	spec_free(spec);
}
END_TEST

/* A plan that names a local backend whose state is @path. */
static void make_plan(const char *file, const char *path)
{
	const unsigned char len = (unsigned char)strlen(path);
	zip_t *zip = zip_open(file, ZIP_CREATE | ZIP_TRUNCATE, NULL);
	AUTO_FREE char *plan = NULL;
	zip_source_t *source;
	int size;

	ck_assert_ptr_nonnull(zip);
	ck_assert_uint_lt(len, 32);
	size = asprintf(&plan, "\x08\x03\x6a%c\x0a\x05local\x12%c\x0a%c\x81\xa4path%c%s", len + 18,
			len + 9, len + 7, 0xa0 | len, path);
	ck_assert_int_gt(size, 0);
	source = zip_source_buffer(zip, plan, (zip_uint64_t)size, 0);
	ck_assert_int_ge(zip_file_add(zip, "tfplan", source, 0), 0);
	ck_assert_int_eq(zip_close(zip), 0);
}

START_TEST(plan_must_name_the_state_that_was_queued)
{
	AUTO_FREE char *identity = NULL, *error = NULL;
	struct spec *spec = NULL;
	json_t *order = make_order();

	ck_assert_int_eq(json_object_set_new(order, "plan", json_true()), 0);
	ck_assert_int_eq(spec_parse(&spec, order, 1), 0);
	json_decref(order);
	ck_assert_int_gt(asprintf(&identity, "local|%s/a.tfstate", dir), 0);
	replace(&spec->identity, identity);
	replace(&spec->argv[1], "p");

	make_plan("p", "a.tfstate");
	ck_assert_int_eq(spec_check_state(spec, &error), 0);

	make_plan("p", "b.tfstate");
	ck_assert_int_eq(spec_check_state(spec, &error), SPEC_EXIT_FAILED);
	ck_assert_msg(strstr(error, "the plan file p was replaced"), "%s", error);
	ck_assert_msg(strstr(error, "b.tfstate"), "%s", error);
	free(TAKE_PTR(error));

	ck_assert_int_eq(unlink("p"), 0);
	ck_assert_int_eq(spec_check_state(spec, &error), SPEC_EXIT_FAILED);
	ck_assert_msg(strstr(error, "no such plan file"), "%s", error);
	free(TAKE_PTR(error));

	make_file("p", 0644, "{\"remote_plan_format\":1}");
	ck_assert_int_eq(spec_check_state(spec, &error), SPEC_EXIT_FAILED);
	ck_assert_msg(strstr(error, "HCP Terraform"), "%s", error);
	ck_assert_int_eq(unlink("p"), 0);
	spec_free(spec);
}
END_TEST

START_TEST(folder_that_is_gone_is_told)
{
	struct spec *spec = make_spec();
	AUTO_FREE char *error = NULL;

	replace(&spec->state_directory, "/nowhere");
	ck_assert_int_eq(spec_check_state(spec, &error), SPEC_EXIT_FAILED);
	ck_assert_ptr_nonnull(strstr(error, "/nowhere"));
	spec_free(spec);
}
END_TEST

static struct spec *spec_with(const char *members)
{
	struct spec *spec = NULL;
	json_t *order = make_order(), *more = json_loads(members, 0, NULL);

	ck_assert_ptr_nonnull(more);
	ck_assert_int_eq(json_object_update(order, more), 0);
	ck_assert_int_eq(spec_parse(&spec, order, 42), 0);
	json_decref(more);
	json_decref(order);
	return spec;
}

START_TEST(terminal_has_the_size_that_is_told_if_one_can)
{
	static const struct {
		const char *members;
		bool has_terminal;
		uint16_t rows, columns;
	} cases[] = {
		{ "{}", false, 24, 80 },
		{ "{\"tty\":true}", true, 24, 80 },
		{ "{\"tty\":true,\"rows\":1,\"columns\":10000}", true, 1, 10000 },
		{ "{\"tty\":true,\"rows\":1,\"columns\":10001}", true, 24, 80 },
		{ "{\"tty\":true,\"rows\":65546,\"columns\":10}", true, 24, 80 },
		{ "{\"tty\":true,\"rows\":0,\"columns\":10}", true, 24, 80 },
		{ "{\"tty\":true,\"rows\":-5,\"columns\":\"x\"}", true, 24, 80 },
		{ "{\"tty\":1,\"rows\":5}", false, 24, 80 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spec *spec = spec_with(cases[i].members);

		ck_assert(spec->has_terminal == cases[i].has_terminal);
		ck_assert(spec->has_stdin != spec->has_terminal); /* the order had one */
		ck_assert_uint_eq(spec->size.rows, cases[i].rows);
		ck_assert_uint_eq(spec->size.columns, cases[i].columns);
		spec_free(spec);
	}
}
END_TEST

START_TEST(patience_is_endless_unless_told)
{
	static const struct {
		const char *members;
		uint64_t usec;
	} cases[] = {
		{ "{}", 0 },
		{ "{\"approval_timeout\":0}", 0 },
		{ "{\"approval_timeout\":600000000}", 600000000 },
		{ "{\"approval_timeout\":-1}", 0 },
		{ "{\"approval_timeout\":\"10 min\"}", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spec *spec = spec_with(cases[i].members);

		ck_assert_uint_eq(spec->approval_usec, cases[i].usec);
		spec_free(spec);
	}
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, order_is_read);
	tcase_add_test(tcase, job_is_named_where_nobody_did);
	tcase_add_test(tcase, terminal_has_the_size_that_is_told_if_one_can);
	tcase_add_test(tcase, patience_is_endless_unless_told);
	tcase_add_loop_test(tcase, order_without_a_text_is_refused, 0, 6);
	tcase_add_loop_test(tcase, word_that_is_no_text_is_refused, 0, 2);
	tcase_add_loop_test(tcase, command_line_is_terraforms, 0, 2);
	tcase_add_loop_test(tcase, program_that_cannot_be_run_is_told, 0, 4);
	tcase_add_test(tcase, state_must_be_the_one_that_was_queued);
	tcase_add_test(tcase, table_must_be_where_it_was_when_queued);
	tcase_add_test(tcase, plan_must_name_the_state_that_was_queued);
	tcase_add_test(tcase, folder_that_is_gone_is_told);
}

int main(void)
{
	return unit_main("spec", add_tests);
}
