/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/paths.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/tfq-paths-XXXXXX";

static void setup(void)
{
	memcpy(dir, "/tmp/tfq-paths-XXXXXX", sizeof(dir));
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	(void)umask(022);
}

static void teardown(void)
{
	static const char *const made[] = { "a/b/c", "a/b", "a", "open", "target" };

	(void)unlink("file");
	(void)unlink("link");
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		(void)rmdir(made[i]);
	ck_assert_int_eq(chdir("/"), 0);
	(void)rmdir(dir);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static const char *const spellings[] = { "a/b/c", "a/b/c/", "a//b/c//", "./a/b/c" };

START_TEST(folder_is_made_with_its_parents)
{
	ck_assert_int_eq(paths_make_dir(spellings[_i], 0700), 0);
	ck_assert_uint_eq(mode_of("a/b/c"), 0700);
	ck_assert_uint_eq(mode_of("a/b"), 0755);
	ck_assert_int_eq(paths_make_dir(spellings[_i], 0700), 0); /* again */
}
END_TEST

START_TEST(folder_that_others_may_write_to_is_refused)
{
	ck_assert_int_eq(mkdir("open", 0700), 0);
	ck_assert_int_eq(chmod("open", _i == 0 ? 0770 : _i == 1 ? 0702 : 01777), 0);
	ck_assert_int_eq(paths_make_dir("open", 0700), -EPERM);
	ck_assert_int_eq(paths_make_dir("open/", 0700), -EPERM);
}
END_TEST

START_TEST(folder_of_somebody_else_is_refused)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(mkdir("open", 0700), 0);
		ck_assert_int_eq(chown("open", 12345, 12345), 0);
		ck_assert_int_eq(paths_make_dir("open", 0700), -EPERM);
	} else {
		ck_assert_int_eq(paths_make_dir("/usr", 0700), -EPERM);
	}
}
END_TEST

START_TEST(link_and_file_are_no_folder)
{
	static const char *const spelled[] = { "link", "link/" };
	const int fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	ck_assert_int_eq(mkdir("target", 0700), 0);
	ck_assert_int_eq(symlink("target", "link"), 0);
	ck_assert_int_eq(paths_make_dir(spelled[_i], 0700), -ENOTDIR);
	ck_assert_int_eq(paths_make_dir("file", 0700), -ENOTDIR);
	ck_assert_int_eq(paths_make_dir("file/below", 0700), -ENOTDIR);
}
END_TEST

START_TEST(folders_come_from_the_environment)
{
	AUTO_FREE char *runtime = NULL, *state = NULL, *config = NULL, *socket = NULL;

	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/user/5", 1), 0);
	ck_assert_int_eq(setenv("XDG_STATE_HOME", "/s", 1), 0);
	ck_assert_int_eq(setenv("XDG_CONFIG_HOME", "/c", 1), 0);
	ck_assert_int_eq(setenv("TFQ_SOCKET", "/somewhere/sock", 1), 0);
	runtime = paths_user_runtime_dir(5);
	state = paths_user_state_dir(5);
	config = paths_user_config_dir(5);
	socket = paths_client_socket();
	ck_assert_str_eq(runtime, "/run/user/5/tfqd");
	ck_assert_str_eq(state, "/s/tfqd");
	ck_assert_str_eq(config, "/c/tfqd");
	ck_assert_str_eq(socket, "/somewhere/sock");
}
END_TEST

START_TEST(relative_variable_counts_as_none)
{
	const char *value = _i == 0 ? "relative" : "";
	AUTO_FREE char *runtime = NULL, *state = NULL, *config = NULL;

	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", value, 1), 0);
	ck_assert_int_eq(setenv("XDG_STATE_HOME", value, 1), 0);
	ck_assert_int_eq(setenv("XDG_CONFIG_HOME", value, 1), 0);
	ck_assert_int_eq(setenv("HOME", "/home/x", 1), 0);
	runtime = paths_user_runtime_dir(4000000000u);
	state = paths_user_state_dir(5);
	config = paths_user_config_dir(5);
	ck_assert_str_eq(runtime, "/tmp/tfqd-4000000000");
	ck_assert_str_eq(state, "/home/x/.local/state/tfqd");
	ck_assert_str_eq(config, "/home/x/.config/tfqd");
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, folder_is_made_with_its_parents, 0, 4);
	tcase_add_loop_test(tcase, folder_that_others_may_write_to_is_refused, 0, 3);
	tcase_add_test(tcase, folder_of_somebody_else_is_refused);
	tcase_add_loop_test(tcase, link_and_file_are_no_folder, 0, 2);
	tcase_add_test(tcase, folders_come_from_the_environment);
	tcase_add_loop_test(tcase, relative_variable_counts_as_none, 0, 2);
}

int main(void)
{
	return unit_main("paths", add_tests);
}
