/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/which.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/tfq-which-XXXXXX";

static void make_file(const char *path, mode_t mode)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	(void)close(fd);
}

/* Each test has a folder of its own, and is in it. */
static void setup(void)
{
	memcpy(dir, "/tmp/tfq-which-XXXXXX", sizeof(dir));
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(mkdir("good", 0755), 0);
	ck_assert_int_eq(mkdir("other", 0755), 0);
	ck_assert_int_eq(mkdir("bad", 0755), 0);
	ck_assert_int_eq(mkdir("bad/folder", 0755), 0);
	make_file("good/terraform", 0755);
	make_file("other/terraform", 0755);
	make_file("bad/terraform", 0644);
	make_file("tfq", 0755);
	ck_assert_int_eq(symlink("../tfq", "bad/linked"), 0);
	ck_assert_int_eq(link("good/terraform", "same"), 0);
	make_file("here", 0755);
	ck_assert_int_eq(symlink("nowhere", "bad/dangling"), 0);
}

static void teardown(void)
{
	static const char *const files[] = { "good/terraform", "other/terraform",
					     "bad/terraform",  "bad/linked",
					     "bad/dangling",   "tfq",
					     "same",           "here" };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void)unlink(files[i]);
	(void)rmdir("bad/folder");
	(void)rmdir("bad");
	(void)rmdir("good");
	(void)rmdir("other");
	ck_assert_int_eq(chdir("/"), 0);
	(void)rmdir(dir);
}

static const struct {
	const char *name, *path;
	const char *skip[3];
	int r;
	const char *found;
} cases[] = {
	/* clang-format off */
	{ "terraform", "good:other", { NULL }, 0, "good/terraform" },
	{ "terraform", "nowhere:other:good", { NULL }, 0, "other/terraform" },
	{ "terraform", "bad:good", { NULL }, 0, "good/terraform" },
	{ "terraform", "bad", { NULL }, -EACCES, NULL },
	{ "terraform", "bad:nowhere", { NULL }, -EACCES, NULL },
	{ "folder", "bad", { NULL }, -ENOENT, NULL },
	{ "dangling", "bad", { NULL }, -ENOENT, NULL },
	{ "terraform", "nowhere", { NULL }, -ENOENT, NULL },
	{ "here", "", { NULL }, 0, "./here" },
	{ "here", "nowhere:", { NULL }, 0, "./here" },
	{ "here", ":nowhere", { NULL }, 0, "./here" },
	{ "here", "nowhere::good", { NULL }, 0, "./here" },
	{ "sh", NULL, { NULL }, 0, "/usr/bin/sh" },

	/* ourselves under another name */
	{ "linked", "bad", { NULL }, 0, "bad/linked" },
	{ "linked", "bad", { "tfq" }, -ELOOP, NULL },
	{ "linked", "bad", { "", "tfq" }, -ELOOP, NULL },
	{ "terraform", "good:other", { "same" }, 0, "other/terraform" },
	{ "terraform", "good:other", { "same", "other/terraform" }, -ELOOP, NULL },
	{ "terraform", "good:other", { "nowhere" }, 0, "good/terraform" },

	/* with a slash: just there */
	{ "good/terraform", "other", { NULL }, 0, "good/terraform" },
	{ "./here", NULL, { NULL }, 0, "./here" },
	{ "nowhere/terraform", "good", { NULL }, -ENOENT, NULL },
	{ "bad/terraform", "good", { NULL }, -EACCES, NULL },
	{ "bad/linked", "good", { "tfq" }, -ELOOP, NULL },
	{ "bad/folder", "good", { NULL }, -ENOENT, NULL },
	/* clang-format on */
};
#define CASE_COUNT ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(program_is_found_as_a_shell_would_but_never_ourselves)
{
	AUTO_FREE char *found = NULL;
	int r;

	r = which_program(&found, cases[_i].name, cases[_i].path, cases[_i].skip);
	ck_assert_msg(r == cases[_i].r, "%s in %s: %d", cases[_i].name, cases[_i].path, r);
	ck_assert_pstr_eq(found, cases[_i].found);
}
END_TEST

START_TEST(nothing_need_be_skipped)
{
	AUTO_FREE char *found = NULL;

	ck_assert_int_eq(which_program(&found, "terraform", "good", NULL), 0);
	ck_assert_str_eq(found, "good/terraform");
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, program_is_found_as_a_shell_would_but_never_ourselves, 0,
			    CASE_COUNT);
	tcase_add_test(tcase, nothing_need_be_skipped);
}

int main(void)
{
	return unit_main("which", add_tests);
}
