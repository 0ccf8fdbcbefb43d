/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/backend.h"
#include "common/backend_parts.h"
#include "tests/unit/unit.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static const char capture[] = "{\"version\":3,\"terraform_version\":\"1.11.4\",\"backend\":"
			      "{\"type\":\"s3\",\"config\":{\"secret_key\":\"SECRET\"}}}";

/* --- the disk ----------------------------------------------------------------------------- */

static char root[PATH_MAX];

static void make_root(void)
{
	char template[] = "/tmp/test_backend.XXXXXX";
	AUTO_FREE char *real = NULL;

	ck_assert_ptr_nonnull(mkdtemp(template));
	real = realpath(template, NULL);
	snprintf(root, sizeof(root), "%s", real);
}

static void drop_root(void)
{
	char command[PATH_MAX + 16];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own folder */
}

static const char *in_root(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static void write_bytes(const char *name, const char *text, size_t len)
{
	FILE *file = fopen(in_root(name), "we");

	ck_assert_msg(file, "%s", name);
	ck_assert_uint_eq(fwrite(text, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

static void make_dir(const char *name)
{
	ck_assert_int_eq(mkdir(in_root(name), 0700), 0);
}

/* Read @root under one variable; @says is in the error, if that is not 0. */
static struct backend_source *read_root(const char *variable, int expect, const char *says)
{
	AUTO_FREE char *copy = variable ? strdup(variable) : NULL;
	struct backend_source *source = NULL;
	AUTO_FREE char *error = NULL;
	char *env[] = { copy, NULL };
	int r;

	alarm(10); /* nothing here may wait */
	r = backend_source_read(&source, root, env, &error);
	alarm(0);
	ck_assert_msg(r == expect, "%d %s", r, error);
	ck_assert((r == 0) == (source != NULL));
	if (r == 0)
		return source;

	ck_assert_ptr_nonnull(error);
	ck_assert_msg(strstr(error, root), "no path: %s", error);
	ck_assert_msg(strstr(error, says), "%s", error);
	ck_assert_msg(!strstr(error, "SECRET"), "%s", error);
	return NULL;
}

START_TEST(initialised_directory_is_read)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	make_dir(".terraform");
	write_text(".terraform/terraform.tfstate", capture);
	source = read_root(NULL, 0, NULL);
	ck_assert_str_eq(source->directory, root);
	ck_assert_str_eq(source->file, capture);
	ck_assert_str_eq(source->workspace, "default");
}
END_TEST

START_TEST(directory_is_a_real_path)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	AUTO_FREE char *error = NULL;
	char link[PATH_MAX + 8];
	char *env[] = { NULL };

	write_text("main.tf", "");
	snprintf(link, sizeof(link), "%s.link", root);
	ck_assert_int_eq(symlink(root, link), 0);
	ck_assert_int_eq(backend_source_read(&source, link, env, &error), 0);
	ck_assert_int_eq(unlink(link), 0);
	ck_assert_str_eq(source->directory, root);
}
END_TEST

START_TEST(data_dir_may_be_relative)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	make_dir("dd");
	write_text("dd/terraform.tfstate", capture);
	write_text("dd/environment", "w1");
	source = read_root("TF_DATA_DIR=dd", 0, NULL);
	ck_assert_str_eq(source->file, capture);
	ck_assert_str_eq(source->workspace, "w1");
}
END_TEST

START_TEST(data_dir_may_be_absolute)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	char variable[PATH_MAX + 20];

	make_dir("dd");
	write_text("dd/terraform.tfstate", capture);
	snprintf(variable, sizeof(variable), "TF_DATA_DIR=%s/dd", root);
	source = read_root(variable, 0, NULL);
	ck_assert_str_eq(source->file, capture);
}
END_TEST

START_TEST(empty_data_dir_means_the_usual_one)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	make_dir(".terraform");
	write_text(".terraform/terraform.tfstate", capture);
	source = read_root("TF_DATA_DIR=", 0, NULL);
	ck_assert_str_eq(source->file, capture);
}
END_TEST

START_TEST(data_dir_that_is_a_file_is_refused)
{
	write_text("main.tf", "");
	write_text("dd", "");
	(void)read_root("TF_DATA_DIR=dd", -ENOTDIR, "dd/terraform.tfstate");
}
END_TEST

START_TEST(data_dir_too_long_is_refused)
{
	char variable[PATH_MAX + 20];

	write_text("main.tf", "");
	snprintf(variable, sizeof(variable), "TF_DATA_DIR=%0*d", PATH_MAX - 5, 1);
	(void)read_root(variable, -ENAMETOOLONG, "TF_DATA_DIR");
}
END_TEST

START_TEST(missing_directory_is_refused)
{
	struct backend_source *source = NULL;
	AUTO_FREE char *error = NULL;
	char *env[] = { NULL };

	ck_assert_int_eq(backend_source_read(&source, "/nonexistent/x", env, &error), -ENOENT);
	ck_assert_ptr_nonnull(strstr(error, "/nonexistent/x"));
	free(TAKE_PTR(error));
	ck_assert_int_eq(backend_source_read(&source, "/dev/null", env, &error), -ENOTDIR);
	ck_assert_ptr_nonnull(strstr(error, "/dev/null"));
}
END_TEST

START_TEST(fifo_does_not_hang)
{
	make_dir(".terraform");
	ck_assert_int_eq(mkfifo(in_root(".terraform/terraform.tfstate"), 0600), 0);
	(void)read_root(NULL, -EINVAL, "not a regular file");
}
END_TEST

START_TEST(directory_in_place_of_the_file_is_refused)
{
	make_dir(".terraform");
	make_dir(".terraform/terraform.tfstate");
	(void)read_root(NULL, -EISDIR, ".terraform/terraform.tfstate");
}
END_TEST

START_TEST(link_to_itself_is_refused)
{
	make_dir(".terraform");
	ck_assert_int_eq(symlink("terraform.tfstate", in_root(".terraform/terraform.tfstate")), 0);
	(void)read_root(NULL, -ELOOP, ".terraform/terraform.tfstate");
}
END_TEST

START_TEST(file_of_another_user_is_refused)
{
	if (geteuid() == 0 && setegid(65534) == 0 && seteuid(65534) == 0) {
		(void)read_root(NULL, -EACCES, "");
		ck_assert_int_eq(seteuid(0), 0);
	}
}
END_TEST

START_TEST(large_file_is_refused)
{
	const size_t size = (size_t)BACKEND_FILE_MAX;
	AUTO_FREE char *text = malloc(size + 2);
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	memset(text, ' ', size + 1);
	make_dir(".terraform");
	write_bytes(".terraform/terraform.tfstate", text, size + 1);
	(void)read_root(NULL, -EFBIG, "too large");
	write_bytes(".terraform/terraform.tfstate", text, size);
	source = read_root(NULL, 0, NULL);
	ck_assert_uint_eq(strlen(source->file), size);
}
END_TEST

START_TEST(nul_in_the_file_is_refused)
{
	make_dir(".terraform");
	write_bytes(".terraform/terraform.tfstate", "{\"version\":3}\0SECRET", 20);
	(void)read_root(NULL, -EBADMSG, "NUL");
}
END_TEST

static const struct {
	const char *name;
	const char *variable;
	const char *file;
	const char *expect; /* NULL: refused */
} workspaces[] = {
	/* clang-format off */
	{ "no file", NULL, NULL, "default" },
	{ "empty file", NULL, "", "default" },
	{ "blank file", NULL, " \n", "default" },
	{ "file", NULL, "w1", "w1" },
	{ "file with white space", NULL, "\t w1 \r\n", "w1" },
	{ "variable wins", "TF_WORKSPACE=w2", "w1", "w2" },
	{ "empty variable", "TF_WORKSPACE=", "w1", "w1" },
	{ "default by variable", "TF_WORKSPACE=default", "w1", "default" },
	{ "all that may be", "TF_WORKSPACE=aZ0-_.~$&+:=@", NULL, "aZ0-_.~$&+:=@" },
	{ "three dots", "TF_WORKSPACE=...", NULL, "..." },
	{ "90 bytes", "TF_WORKSPACE=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii",
	  NULL, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii" },
	{ "91 bytes", "TF_WORKSPACE=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiiij",
	  NULL, NULL },
	{ "slash", "TF_WORKSPACE=a/b", NULL, NULL },
	{ "blank", "TF_WORKSPACE=bad name", NULL, NULL },
	{ "blank in front is not trimmed", "TF_WORKSPACE= w1", NULL, NULL },
	{ "percent", "TF_WORKSPACE=a%2Fb", NULL, NULL },
	{ "semicolon", "TF_WORKSPACE=a;b", NULL, NULL },
	{ "comma", "TF_WORKSPACE=a,b", NULL, NULL },
	{ "question mark", "TF_WORKSPACE=a?b", NULL, NULL },
	{ "star", "TF_WORKSPACE=a*", NULL, NULL },
	{ "UTF-8", "TF_WORKSPACE=\xc3\xbc", NULL, NULL },
	{ "one dot", "TF_WORKSPACE=.", NULL, NULL },
	{ "two dots", "TF_WORKSPACE=..", NULL, NULL },
	{ "slash in the file", NULL, "../x", NULL },
	{ "two dots in the file", NULL, "..", NULL },
	{ "two lines in the file", NULL, "a\nb", NULL },
	/* clang-format on */
};

START_TEST(workspace_is_selected)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	write_text("main.tf", "");
	make_dir(".terraform");
	if (workspaces[_i].file)
		write_text(".terraform/environment", workspaces[_i].file);
	source = read_root(workspaces[_i].variable, workspaces[_i].expect ? 0 : -EINVAL,
			   "workspace");
	if (source)
		ck_assert_msg(strcmp(source->workspace, workspaces[_i].expect) == 0, "%s: %s",
			      workspaces[_i].name, source->workspace);
}
END_TEST

START_TEST(odd_workspace_file_is_refused)
{
	write_text("main.tf", "");
	make_dir(".terraform");
	ck_assert_int_eq(mkfifo(in_root(".terraform/environment"), 0600), 0);
	(void)read_root(NULL, -EINVAL, ".terraform/environment");
	(void)unlink(in_root(".terraform/environment"));
	make_dir(".terraform/environment");
	(void)read_root(NULL, -EISDIR, ".terraform/environment");
}
END_TEST

/* --- without a file: is it the local backend? ------------------------------------------- */

static const struct {
	const char *name;
	const char *text;
	const char *type; /* NULL: none */
} hcl[] = {
	/* clang-format off */
	{ "nothing", "", NULL },
	{ "backend", "terraform {\n  backend \"s3\" {\n    bucket = \"b\"\n  }\n}\n", "s3" },
	{ "empty backend", "terraform {\n  backend \"s3\" {}\n}\n", "s3" },
	{ "word as a label", "terraform {\n  backend s3 {}\n}\n", "s3" },
	{ "local", "terraform {\n  backend \"local\" {}\n}\n", "local" },
	{ "cloud", "terraform {\n  cloud {\n    organization = \"o\"\n  }\n}\n", "cloud" },
	{ "on the same line", "terraform{backend\"gcs\"{}}", "gcs" },
	{ "behind others", "terraform {\n  required_version = \">= 1\"\n  required_providers {\n    aws = {\n"
	  "      source = \"hashicorp/aws\"\n    }\n  }\n  backend \"http\" {\n  }\n}\n", "http" },
	{ "second block", "terraform {\n}\nterraform {\n  backend \"s3\" {}\n}\n", "s3" },
	{ "behind a resource", "resource \"a\" \"b\" {\n  x = { y = 1 }\n}\nterraform {\n  backend \"s3\" {}\n}\n", "s3" },
	{ "line comment #", "terraform {\n  # backend \"s3\" {\n}\n", NULL },
	{ "line comment //", "terraform {\n  // backend \"s3\" {\n}\n", NULL },
	{ "block comment", "terraform {\n  /* backend \"s3\" {\n }\n */\n}\n", NULL },
	{ "comment without end", "/* terraform {\n  backend \"s3\" {}\n}\n", NULL },
	{ "comment between", "terraform /* x */ {\n  backend /* y */ \"s3\" # z\n {}\n}\n", "s3" },
	{ "slash is no comment", "locals { a = 4 / 2 }\nterraform {\n  backend \"s3\" {}\n}\n", "s3" },
	{ "string", "locals {\n  a = \"terraform { backend \\\"s3\\\" {\"\n}\n", NULL },
	{ "brace in a string", "locals {\n  a = \"{\"\n}\nterraform {\n  backend \"s3\" {}\n}\n", "s3" },
	{ "string in an expression", "locals {\n  a = \"${lookup(x, \"}\\\"{\")}\"\n}\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "expressions in expressions", "locals {\n  a = \"${b[\"${c}{\"]} %{ if x }}{\"\n}\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "object in an expression", "locals {\n  a = \"${ {a = \"}\"}[\"a\"] }{\"\n}\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "escaped expression", "locals {\n  a = \"$${\"\n b = \"%%{\"\n}\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "string without end", "locals { a = \"\nterraform {\n backend \"s3\" {}\n}\n", NULL },
	{ "heredoc", "locals {\n  a = <<EOT\nterraform {\n  backend \"s3\" {\nEOT\n}\n", NULL },
	{ "indented heredoc", "locals {\n  a = <<-EOT\n  } \" /*\n  EOT\n}\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "heredoc with a longer line", "locals {\n  a = <<A\nAB {\nA B {\nA\n}\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "heredoc with CR", "locals {\n  a = <<A\r\n{\r\nA\r\n}\r\nterraform {\r\n backend \"s3\" {}\r\n}\r\n", "s3" },
	{ "heredoc without end", "locals { a = <<A\nterraform {\n backend \"s3\" {}\n}\n", NULL },
	{ "no heredoc", "locals { a = 1 << }\nterraform {\n backend \"s3\" {}\n}\n", "s3" },
	{ "not in terraform", "module \"x\" {\n  backend \"s3\" {}\n}\n", NULL },
	{ "cloud, not in terraform", "module \"x\" {\n  cloud {}\n}\n", NULL },
	{ "not at the top", "x {\n  terraform {\n    backend \"s3\" {}\n  }\n}\n", NULL },
	{ "too deep", "terraform {\n  x {\n    backend \"s3\" {}\n    cloud {}\n  }\n}\n", NULL },
	{ "terraform with a label", "terraform \"x\" {\n  backend \"s3\" {}\n}\n", NULL },
	{ "no block", "terraform {\n  backend = \"s3\"\n  cloud = 1\n}\n", NULL },
	{ "other word", "terraform {\n  backends \"s3\" {}\n  my_backend \"s3\" {}\n  my-cloud {}\n}\n", NULL },
	{ "more closed than open", "}}} terraform {\n  backend \"s3\" {}\n}\n", "s3" },
	{ "odd label", "terraform {\n  backend \"a\\u001b[2J\" {}\n}\n", "a" },
	/* clang-format on */
};

START_TEST(backend_block_is_seen)
{
	char type[BACKEND_TYPE_SIZE] = "";
	const bool found = backend_scan_hcl(hcl[_i].text, type);

	ck_assert_msg(found == (hcl[_i].type != NULL), "%s", hcl[_i].name);
	if (found)
		ck_assert_msg(strcmp(type, hcl[_i].type) == 0, "%s: %s", hcl[_i].name, type);

	for (size_t len = 0; len < strlen(hcl[_i].text); len++) {
		AUTO_FREE char *prefix = strndup(hcl[_i].text, len);

		(void)backend_scan_hcl(prefix, type);
	}
}
END_TEST

START_TEST(deep_expressions_are_survived)
{
	char text[3 * 100 + 1];
	char type[BACKEND_TYPE_SIZE];

	for (size_t i = 0; i < 100; i++)
		memcpy(text + 3 * i, "\"${", 3);
	text[sizeof(text) - 1] = '\0';
	ck_assert(!backend_scan_hcl(text, type));
}
END_TEST

static const struct {
	const char *name;
	const char *text;
	const char *type;
} json[] = {
	/* clang-format off */
	{ "not JSON", "{", NULL },
	{ "empty", "{}", NULL },
	{ "backend", "{\"terraform\":{\"backend\":{\"s3\":{\"bucket\":\"b\"}}}}", "s3" },
	{ "lists", "{\"terraform\":[{\"required_version\":\"1\"},{\"backend\":[{\"gcs\":{}}]}]}", "gcs" },
	{ "list at the top", "[{},{\"terraform\":{\"backend\":{\"s3\":{}}}}]", "s3" },
	{ "cloud", "{\"terraform\":{\"cloud\":{\"organization\":\"o\"}}}", "cloud" },
	{ "null cloud", "{\"terraform\":{\"cloud\":null}}", NULL },
	{ "elsewhere", "{\"locals\":{\"terraform\":{\"backend\":{\"s3\":{}}}}}", NULL },
	{ "empty backend", "{\"terraform\":{\"backend\":{}}}", NULL },
	{ "odd types", "{\"terraform\":\"x\",\"backend\":1}", NULL },
	/* clang-format on */
};

START_TEST(backend_member_is_seen)
{
	char type[BACKEND_TYPE_SIZE] = "";
	const bool found = backend_scan_json(json[_i].text, type);

	ck_assert_msg(found == (json[_i].type != NULL), "%s", json[_i].name);
	if (found)
		ck_assert_msg(strcmp(type, json[_i].type) == 0, "%s: %s", json[_i].name, type);
}
END_TEST

START_TEST(directory_without_configuration_is_refused)
{
	write_text("README.md", "");
	write_text(".hidden.tf", "terraform {\n  backend \"s3\" {}\n}\n");
	write_text("main.tf~", "");
	write_text("#main.tf#", "");
	(void)read_root(NULL, -ENOENT, "no terraform configuration here");
}
END_TEST

static const struct {
	const char *file;
	const char *text;
	int error;
} configurations[] = {
	/* clang-format off */
	{ "main.tf", "resource \"a\" \"b\" {}", 0 },
	{ "main.tf.json", "{}", 0 },
	{ "main.tofu", "", 0 },
	{ "main.tf", "terraform {\n  backend \"s3\" {}\n}\n", -ENOENT },
	{ "x_override.tf", "terraform {\n  backend \"s3\" {}\n}\n", -ENOENT },
	{ "main.tofu", "terraform {\n  backend \"s3\" {}\n}\n", -ENOENT },
	{ "main.tf.json", "{\"terraform\":{\"backend\":{\"s3\":{}}}}", -ENOENT },
	{ "override.tf.json", "{\"terraform\":{\"backend\":{\"s3\":{}}}}", -ENOENT },
	/* clang-format on */
};

START_TEST(uninitialised_backend_is_refused)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	write_text("outputs.tf", "");
	make_dir("modules.tf"); /* terraform skips directories */
	write_text(configurations[_i].file, configurations[_i].text);
	source = read_root(NULL, configurations[_i].error, "names backend \"s3\"");
	if (source)
		ck_assert_ptr_null(source->file);
}
END_TEST

START_TEST(initialised_backend_is_not_scanned_for)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;

	write_text("main.tf", "terraform {\n  backend \"s3\" {}\n}\n");
	make_dir(".terraform");
	write_text(".terraform/terraform.tfstate", capture);
	source = read_root(NULL, 0, NULL);
	ck_assert_str_eq(source->file, capture);
}
END_TEST

START_TEST(odd_configuration_file_is_refused)
{
	ck_assert_int_eq(mkfifo(in_root("main.tf"), 0600), 0);
	(void)read_root(NULL, -EINVAL, "main.tf");
	(void)unlink(in_root("main.tf"));
	ck_assert_int_eq(symlink("nowhere", in_root("main.tf")), 0);
	(void)read_root(NULL, -ENOENT, "main.tf");
}
END_TEST

/* --- the profile's endpoints ------------------------------------------------------------- */

#define PROFILE_ENV_MAX 5
#define S3_FILE(config) \
	"{\"version\":3,\"backend\":{\"type\":\"s3\",\"config\":{\"bucket\":\"b\"" config "}}}"
#define URL(name)  "endpoint_url = http://" name "\n"
#define BOTH(name) "{\"dynamodb\":\"http://" name "\",\"s3\":\"http://" name "\"}"
#define SERVICES   "[services a]\ns3 =\n  " URL("s") "[services z]\ns3 =\n  " URL("z")

/* All as terraform 1.11.4 was seen to do it. */
static const struct {
	const char *name;
	const char *config, *credentials; /* NULL: not there */
	const char *file;                 /* NULL: S3_FILE("") */
	const char *env[PROFILE_ENV_MAX];
	const char *says; /* NULL: nothing */
} profile_cases[] = {
	/* clang-format off */
	{ "no files", NULL, NULL, NULL, { NULL }, NULL },
	{ "plain", "[default]\n" URL("a"), NULL, NULL, { NULL }, BOTH("a") },
	{ "keys of the environment", "[default]\n" URL("a"), NULL, NULL,
	  { "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y" }, BOTH("a") },
	{ "no endpoint", "[default]\nregion = x\n", NULL, NULL, { NULL }, NULL },
	{ "another profile's", "[profile p]\n" URL("a"), NULL, NULL, { NULL }, NULL },
	{ "AWS_PROFILE", "[profile p]\n" URL("a"), NULL, NULL, { "AWS_PROFILE=p", "AWS_DEFAULT_PROFILE=q" }, BOTH("a") },
	{ "AWS_DEFAULT_PROFILE", "[profile p]\n" URL("a"), NULL, NULL, { "AWS_DEFAULT_PROFILE=p" }, BOTH("a") },
	{ "the block's profile", "[profile p]\n" URL("a") "[profile q]\n" URL("b"), NULL, S3_FILE(",\"profile\":\"p\""),
	  { "AWS_PROFILE=q" }, BOTH("a") },
	{ "services", "[default]\n" URL("a") "services = a\n" SERVICES, NULL, NULL, { NULL },
	  "{\"dynamodb\":\"http://a\",\"s3\":\"http://s\"}" },
	{ "services alone", "[default]\nservices = a\n[services a]\ndynamodb =\n  " URL("d"), NULL, NULL, { NULL },
	  "{\"dynamodb\":\"http://d\"}" },
	{ "services that are not named", "[default]\nregion = x\n" SERVICES, NULL, NULL, { NULL }, NULL },
	{ "AWS_ENDPOINT_URL hides services", "[default]\n" URL("a") "services = a\n" SERVICES, NULL, NULL,
	  { "AWS_ENDPOINT_URL=" }, BOTH("a") },
	{ "credentials alone", NULL, "[default]\n" URL("a"), NULL, { NULL }, BOTH("a") },
	{ "the first file with the profile", "[default]\nregion = x\n", "[default]\n" URL("a"), NULL, { NULL }, NULL },
	{ "even if that is empty", "[default]\n", "[default]\n" URL("a"), NULL, { NULL }, NULL },
	{ "and under its other name", "[profile default]\n", "[default]\n" URL("a"), NULL, { NULL }, NULL },
	{ "ignored", "[default]\nignore_configured_endpoint_urls = true\n" URL("a"), NULL, NULL, { NULL },
	  "{\"ignore\":true}" },
	{ "not ignored", "[default]\nignore_configured_endpoint_urls = true\n" URL("a"), NULL, NULL,
	  { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false" }, BOTH("a") },
	{ "ignored by the environment", "[default]\n" URL("a"), NULL, NULL,
	  { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=TRUE" }, NULL },
	{ "the block's own", "[default]\n" URL("a"), NULL, S3_FILE(",\"endpoints\":{\"s3\":\"http://o\"}"), { NULL }, NULL },
	{ "the block's older one", "[default]\n" URL("a"), NULL, S3_FILE(",\"endpoint\":\"http://o\""), { NULL }, NULL },
	{ "the variable's own", "[default]\n" URL("a"), NULL, NULL, { "AWS_ENDPOINT_URL_S3=http://o" }, NULL },
	{ "a table's is open", "[default]\n" URL("a"), NULL,
	  S3_FILE(",\"dynamodb_table\":\"t\",\"endpoints\":{\"s3\":\"http://o\"}"), { NULL }, BOTH("a") },
	{ "another backend", "[default]\n" URL("a"), NULL,
	  "{\"version\":3,\"backend\":{\"type\":\"gcs\",\"config\":{\"bucket\":\"b\"}}}", { NULL }, NULL },
	{ "AWS_CONFIG_FILE", "[default]\n" URL("a"), NULL, NULL, { "AWS_CONFIG_FILE=other" }, BOTH("other") },
	{ "AWS_CONFIG_FILE as it is", "[default]\n" URL("a"), NULL, NULL, { "AWS_CONFIG_FILE=~/other" }, NULL },
	{ "AWS_SHARED_CONFIG_FILE", "[default]\n" URL("a"), NULL, NULL,
	  { "AWS_SHARED_CONFIG_FILE=~/other", "AWS_CONFIG_FILE=none" }, BOTH("other") },
	{ "the block's files", "[default]\n" URL("a"), NULL, S3_FILE(",\"shared_config_files\":[\"none\",\"$HOME/other\"]"),
	  { "AWS_CONFIG_FILE=none" }, BOTH("other") },
	{ "the block's credentials", NULL, "[default]\n" URL("a"), S3_FILE(",\"shared_credentials_files\":[\"other\"]"),
	  { NULL }, BOTH("other") },
	{ "the block's older credentials", NULL, NULL, S3_FILE(",\"shared_credentials_file\":\"other\""), { NULL },
	  BOTH("other") },
	{ "no file by intent", "[default]\n" URL("a"), NULL, NULL, { "AWS_CONFIG_FILE=/dev/null" }, NULL },
	{ "no home", "[default]\n" URL("a"), NULL, NULL, { "HOME=/dev/null" }, NULL },
	/* clang-format on */
};

/* As backend_source_read() of @root, which is $HOME, too, if @variables do not say another. */
static int read_with_profile(struct backend_source **ret, const char *const *variables,
			     char **ret_error)
{
	char home[PATH_MAX + 8];
	char *env[PROFILE_ENV_MAX + 2] = { NULL };
	size_t count = 0;
	int r;

	for (size_t i = 0; i < PROFILE_ENV_MAX && variables[i]; i++)
		env[count++] = strdup(variables[i]);
	(void)snprintf(home, sizeof(home), "HOME=%s", root);
	env[count] = strdup(home); /* the first one counts */
	alarm(10);
	r = backend_source_read(ret, root, env, ret_error);
	alarm(0);
	for (char **variable = env; *variable; variable++)
		free(*variable);
	return r;
}

START_TEST(endpoints_of_the_profile_are_found)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	const char *file = profile_cases[_i].file;
	AUTO_FREE char *error = NULL;
	int r;

	make_dir(".terraform");
	make_dir(".aws");
	write_text(".terraform/terraform.tfstate", file ? file : S3_FILE(""));
	write_text("other", "[default]\n" URL("other"));
	if (profile_cases[_i].config)
		write_text(".aws/config", profile_cases[_i].config);
	if (profile_cases[_i].credentials)
		write_text(".aws/credentials", profile_cases[_i].credentials);
	r = read_with_profile(&source, profile_cases[_i].env, &error);
	ck_assert_msg(r == 0, "%s: %d %s", profile_cases[_i].name, r, error);
	ck_assert_msg((!source->profile_endpoints && !profile_cases[_i].says) ||
			      (source->profile_endpoints && profile_cases[_i].says &&
			       strcmp(source->profile_endpoints, profile_cases[_i].says) == 0),
		      "%s: %s", profile_cases[_i].name, source->profile_endpoints);
}
END_TEST

/* Read with @path in the place of ~/.aws/config; must be refused. */
static void refuse_shared_file(int expect, const char *path)
{
	static const char *const none[PROFILE_ENV_MAX] = { NULL };
	struct backend_source *source = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(read_with_profile(&source, none, &error), expect);
	ck_assert_ptr_null(source);
	ck_assert_msg(strstr(error, path), "%s", error);
}

START_TEST(shared_file_that_cannot_be_read_is_refused)
{
	AUTO_FREE char *large = malloc(1048577);

	ck_assert_ptr_nonnull(large);
	memset(large, '\n', 1048577);
	make_dir(".terraform");
	make_dir(".aws");
	write_text(".terraform/terraform.tfstate", S3_FILE(""));
	make_dir(".aws/config");
	refuse_shared_file(-EISDIR, "/.aws/config");
	ck_assert_int_eq(rmdir(in_root(".aws/config")), 0);
	ck_assert_int_eq(mkfifo(in_root(".aws/config"), 0600), 0);
	refuse_shared_file(-EINVAL, "/.aws/config");
	ck_assert_int_eq(unlink(in_root(".aws/config")), 0);
	write_bytes(".aws/config", large, 1048577);
	refuse_shared_file(-EFBIG, "/.aws/config");
	write_bytes(".aws/config", "a\0b", 3);
	refuse_shared_file(-EBADMSG, "/.aws/config");
	ck_assert_int_eq(unlink(in_root(".aws/config")), 0);
	make_dir(".aws/credentials");
	refuse_shared_file(-EISDIR, "/.aws/credentials");
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, make_root, drop_root);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, backend_block_is_seen, 0, COUNT(hcl));
	tcase_add_test(tcase, deep_expressions_are_survived);
	tcase_add_loop_test(tcase, backend_member_is_seen, 0, COUNT(json));
	tcase_add_test(tcase, initialised_directory_is_read);
	tcase_add_test(tcase, directory_is_a_real_path);
	tcase_add_test(tcase, data_dir_may_be_relative);
	tcase_add_test(tcase, data_dir_may_be_absolute);
	tcase_add_test(tcase, empty_data_dir_means_the_usual_one);
	tcase_add_test(tcase, data_dir_that_is_a_file_is_refused);
	tcase_add_test(tcase, data_dir_too_long_is_refused);
	tcase_add_test(tcase, missing_directory_is_refused);
	tcase_add_test(tcase, fifo_does_not_hang);
	tcase_add_test(tcase, directory_in_place_of_the_file_is_refused);
	tcase_add_test(tcase, link_to_itself_is_refused);
	tcase_add_test(tcase, file_of_another_user_is_refused);
	tcase_add_test(tcase, large_file_is_refused);
	tcase_add_test(tcase, nul_in_the_file_is_refused);
	tcase_add_loop_test(tcase, workspace_is_selected, 0, COUNT(workspaces));
	tcase_add_test(tcase, odd_workspace_file_is_refused);
	tcase_add_test(tcase, directory_without_configuration_is_refused);
	tcase_add_loop_test(tcase, uninitialised_backend_is_refused, 0, COUNT(configurations));
	tcase_add_test(tcase, initialised_backend_is_not_scanned_for);
	tcase_add_test(tcase, odd_configuration_file_is_refused);
	tcase_add_loop_test(tcase, endpoints_of_the_profile_are_found, 0, COUNT(profile_cases));
	tcase_add_test(tcase, shared_file_that_cannot_be_read_is_refused);
}

int main(void)
{
	return unit_main("backend_source", add_tests);
}
