/* SPDX-License-Identifier: MIT */
/* A store that cannot be written for a while, and files that are none of it. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/unit/store_fixture.h"

static void mentions(const char *text, const char *part)
{
	ck_assert_msg(text && strstr(text, part), "\"%s\" is not in: %s", part, text);
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	(void)fclose(file);
}

/* In place of libc's, also for SQLite: a disk that we can ask, and break. */
static atomic_uint syncs, sync_error;

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved
int fdatasync(int fd)
{
	syncs++;
	if (sync_error) {
		errno = (int)sync_error;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

/* --- trouble while it runs ------------------------------------------------------------ */

static void refuse_writes(void)
{
	ck_assert_int_eq(sql_exec("CREATE TRIGGER t BEFORE INSERT ON lock"
				  " BEGIN SELECT RAISE(ABORT, 'told to fail'); END"),
			 SQLITE_OK);
}

static void allow_writes(void)
{
	ck_assert_int_eq(sql_exec("DROP TRIGGER t"), SQLITE_OK);
}

START_TEST(a_failed_batch_stays_and_is_written_first)
{
	refuse_writes();
	(void)put(1, "old");
	(void)store_add_event(store, "a", 0, 0, "");
	(void)store_put_lock(store, "x", 1);
	wait_trouble(1);
	ck_assert_uint_eq(troubled, 3);
	mentions(trouble, "tfqd cannot write its database /tmp/test-store");
	mentions(trouble, "told to fail");
	mentions(trouble, "goes on trying");
	ck_assert_str_eq(store_trouble(store), trouble);
	ck_assert_str_eq(sql_rows("SELECT id FROM job UNION SELECT seq FROM event"), "");

	/* What is noted meanwhile comes after, in one transaction with it. */
	(void)store_add_event(store, "b", 0, 0, "");
	(void)put(1, "new");
	ck_assert_int_eq(sd_event_run(event, 0), 0);
	ck_assert_uint_eq(troubles, 1);
	wait_trouble(2);
	ck_assert_uint_eq(troubled, 5);
	allow_writes();
	wait_commit(5);
	ck_assert_ptr_null(store_trouble(store));
	ck_assert_uint_eq(commits, 1);
	ck_assert_str_eq(sql_rows("SELECT record FROM job"), "{\"word\":\"new\"};");
	ck_assert_str_eq(sql_rows("SELECT kind FROM event ORDER BY seq"), "a;b;");

	/* The next trouble begins with the shortest wait again. */
	ck_assert_uint_eq(store->retry_usec, 0);
}
END_TEST

START_TEST(tries_are_further_and_further_apart)
{
	const uint64_t before = clock_usec(CLOCK_MONOTONIC);
	uint64_t wait = STORE_RETRY_MIN_USEC;

	refuse_writes();
	(void)store_put_lock(store, "x", 1);
	wait_trouble(1);
	wait_trouble(2);
	ck_assert_uint_ge(clock_usec(CLOCK_MONOTONIC) - before, STORE_RETRY_MIN_USEC);
	for (size_t count = 2; count < 10; count++) {
		wait = 2 * wait < STORE_RETRY_MAX_USEC ? 2 * wait : STORE_RETRY_MAX_USEC;
		ck_assert_uint_eq(store->retry_usec, wait);
		ck_assert_int_ge(sd_event_source_set_time_relative(store->retry, 0), 0);
		wait_trouble(count + 1);
	}
	allow_writes();
	ck_assert_int_ge(sd_event_source_set_time_relative(store->retry, 0), 0);
	wait_commit(1);
}
END_TEST

START_TEST(what_is_named_was_synced)
{
	for (uint64_t id = 1; id <= 3; id++) {
		syncs = 0;
		wait_commit(put(id, "-"));
		ck_assert_uint_ge(syncs, 1);
	}
	sync_error = EIO;
	(void)put(4, "-");
	wait_trouble(1);
	mentions(store_trouble(store), "and for its errors in the kernel's log");
	ck_assert_uint_eq(committed, 3);
	ck_assert_str_eq(sql_rows("SELECT id FROM job"), "1;2;3;");
	sync_error = 0;
	wait_commit(4);
}
END_TEST

START_TEST(closing_tries_once_and_leaves)
{
	uint64_t before;

	refuse_writes();
	(void)store_put_lock(store, "x", 1);
	wait_trouble(1);
	before = clock_usec(CLOCK_MONOTONIC);
	close_store();
	ck_assert_uint_lt(clock_usec(CLOCK_MONOTONIC) - before, 10 * USEC_PER_SEC);
	allow_writes();
	ck_assert_str_eq(sql_rows("SELECT * FROM lock"), "");
}
END_TEST

START_TEST(closing_after_the_trouble_is_over_loses_nothing)
{
	refuse_writes();
	(void)store_put_lock(store, "x", 1);
	wait_trouble(1);
	(void)put(1, "later");
	allow_writes();
	close_store();
	ck_assert_str_eq(sql_rows("SELECT * FROM lock"), "x,1;");
	ck_assert_str_eq(sql_rows("SELECT id FROM job"), "1;");
}
END_TEST

START_TEST(another_program_may_lock_it_for_a_while)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	(void)put(1, "-");
	wait_trouble(1);
	mentions(store_trouble(store), "locked; end the other program");
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	wait_commit(1);
}
END_TEST

START_TEST(a_file_that_is_moved_away_is_no_place_to_write_to)
{
	char other[256];

	(void)snprintf(other, sizeof(other), "%s/other", dir);
	ck_assert_int_eq(rename(path, other), 0);
	(void)put(1, "-");
	wait_trouble(1);
	mentions(store_trouble(store), "was moved or deleted; put it back");
	ck_assert_int_eq(rename(other, path), 0);
	wait_commit(1);
}
END_TEST

START_TEST(too_large_a_file_is_trouble)
{
	struct rlimit limit = { 65536, RLIM_INFINITY };
	char text[100000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	(void)put(1, text);
	wait_trouble(1);
	mentions(store_trouble(store), "disk I/O error; see whether the disk is full or a quota");
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	wait_commit(1);
}
END_TEST

static void write_map(const char *name, unsigned id)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "0 %u 1", id);
	write_file(name, text);
}

/* A small disk at dir, which this process alone sees. Return: false if it may not have that. */
static bool mount_disk(void)
{
	const uid_t uid = geteuid();
	const gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	write_map("/proc/self/uid_map", uid);
	write_file("/proc/self/setgroups", "deny");
	write_map("/proc/self/gid_map", gid);
	return mount("tmpfs", dir, "tmpfs", 0, "size=400k") == 0;
}

START_TEST(a_full_disk_is_trouble_until_there_is_space)
{
	char other[256], ballast[16384];
	size_t size = 0;
	ssize_t len;
	int fd;

	close_store();
	if (!mount_disk()) {
		(void)fprintf(stderr, "no small disk may be mounted here: not tried\n");
		return;
	}
	open_store();
	wait_commit(put(1, "-"));
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	memset(ballast, 'x', sizeof(ballast));
	while ((len = write(fd, ballast, sizeof(ballast))) > 0)
		size += (size_t)len;
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_uint_gt(size, 0);
	(void)close(fd);

	for (uint64_t id = 2; id <= 100; id++)
		(void)put(id, "-");
	wait_trouble(1);
	mentions(store_trouble(store), "the disk is full; free some space there; tfqd goes on");
	ck_assert_str_eq(sql_rows("SELECT id FROM job"), "1;");
	ck_assert_int_eq(unlink(other), 0);
	wait_commit(100);
	ck_assert_str_eq(sql_rows("SELECT count(*) FROM job"), "100;");
	close_store();
	ck_assert_int_eq(umount(dir), 0);
}
END_TEST

START_TEST(what_there_was_no_memory_for_leaves_no_gap)
{
	const struct store_job job = { .id = 2 };

	(void)put(1, "-");
	ck_assert_uint_eq(store_put_job(store, &job, NULL), 2);
	(void)put(3, "-");
	mentions(store_trouble(store), "out of memory");
	wait_trouble(1);
	ck_assert_uint_eq(troubled, 3);
	wait_commit(1);
	ck_assert_uint_eq(put(4, "-"), 4);
	mentions(store_trouble(store), "start tfqd again");
	close_store();
	ck_assert_str_eq(sql_rows("SELECT id FROM job"), "1;");
	ck_assert_uint_eq(troubles, 1);
	ck_assert_uint_eq(committed, 1);
}
END_TEST

START_TEST(no_memory_in_the_midst_of_other_trouble_is_told_too)
{
	refuse_writes();
	(void)store_put_lock(store, "x", 1);
	wait_trouble(1);
	(void)store_put_line(store, "x", NULL);
	wait_trouble(2);
	mentions(trouble, "out of memory");
	allow_writes();
	wait_commit(1);
	mentions(store_trouble(store), "out of memory");
}
END_TEST

/* --- what is found when it starts ----------------------------------------------------- */

static void open_fails(int error, const char *why, const char *todo)
{
	char *text;

	ck_assert_int_eq(store_open(&store, event, path, &callbacks, dir, &text), error);
	ck_assert_ptr_null(store);
	mentions(text, path);
	mentions(text, why);
	mentions(text, todo);
	free(text);
}

START_TEST(a_newer_schema_is_left_alone)
{
	close_store();
	ck_assert_int_eq(sql_exec("PRAGMA user_version = 2; DROP TABLE lock"), SQLITE_OK);
	open_fails(-EPROTONOSUPPORT, "of a newer tfqd (schema 2, this one knows 1)",
		   "install that one again, or restore it from a backup, or move it away");
	ck_assert_str_eq(sql_rows("PRAGMA user_version"), "2;");
}
END_TEST

START_TEST(what_is_no_database_is_told)
{
	close_store();
	write_file(path, "Dear diary, today I was a text and no database at all.\n");
	open_fails(-EUCLEAN, "not a database", "move it away");
	ck_assert_int_eq(truncate(path, 0), 0);
	open_store(); /* an empty file is the beginning of one */
	wait_commit(put(1, "-"));
}
END_TEST

START_TEST(damage_is_found_before_anything_is_written)
{
	char page[4096];
	struct stat st;
	int fd;

	for (uint64_t id = 1; id <= 300; id++)
		(void)put(id, "a record of some length, so that there are some pages");
	wait_commit(300);
	close_store();
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, 3 * 4096L);
	memset(page, 0x5a, sizeof(page));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), st.st_size - 4096), sizeof(page));
	(void)close(fd);
	open_fails(-EUCLEAN, "is damaged", "lost with it are the queue");
	ck_assert_int_eq(truncate(path, 4096 + 17), 0);
	open_fails(-EUCLEAN, "malformed", "restore it from a backup, or move it away");
}
END_TEST

START_TEST(damage_while_it_runs_is_trouble)
{
	char page[4096];
	int fd;

	for (uint64_t id = 1; id <= 300; id++)
		(void)put(id, "a record of some length, so that there are some pages");
	wait_commit(300);
	close_store();
	open_store();
	memset(page, 0x5a, sizeof(page));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	for (off_t at = 4096; at < 20 * 4096L; at += 4096)
		ck_assert_int_eq(pwrite(fd, page, sizeof(page), at), sizeof(page));
	(void)close(fd);
	/* So that the store no longer trusts the pages that it has in memory. */
	ck_assert_int_eq(sql_exec("PRAGMA user_version = 1"), SQLITE_OK);
	(void)put(7, "new");
	wait_trouble(1);
	mentions(store_trouble(store), "stop tfqd, then restore it from a backup");
	ck_assert_uint_eq(committed, 0);
}
END_TEST

START_TEST(a_database_of_another_program_is_left_alone)
{
	close_store();
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(sql_exec("CREATE TABLE job (x)"), SQLITE_OK);
	open_fails(-EUCLEAN, "of another program", "move it away");
	ck_assert_int_eq(sql_exec("PRAGMA user_version = 1"), SQLITE_OK);
	open_fails(-EUCLEAN, "table job has no column named id", "move it away");
}
END_TEST

START_TEST(a_link_is_not_followed)
{
	char other[256];

	close_store();
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	ck_assert_int_eq(rename(path, other), 0);
	ck_assert_int_eq(symlink(other, path), 0);
	open_fails(-ELOOP, "is a symbolic link", "set state_dir");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	open_fails(-EUCLEAN, "is no file", "move it away");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	open_fails(-EISDIR, "Is a directory", "may write");
	ck_assert_int_eq(rmdir(path), 0);
	(void)snprintf(path, sizeof(path), "%s/no/tfqd.db", dir);
	open_fails(-ENOENT, "No such file", "may write");
}
END_TEST

START_TEST(others_lose_the_right_to_read_it)
{
	struct stat st;

	close_store();
	ck_assert_int_eq(chmod(path, 0664), 0);
	open_store();
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

/* --- migration ------------------------------------------------------------------------ */

static const char *const good[] = {
	"CREATE TABLE a (x); INSERT INTO a VALUES (1)",
	"ALTER TABLE a ADD COLUMN y DEFAULT 2",
	"CREATE TABLE b AS SELECT x + y AS z FROM a",
};
static const char *const bad[] = { NULL, "CREATE TABLE c (x)", "CREATE TABLE a (x)" };

START_TEST(an_old_schema_comes_forward_step_by_step_or_not_at_all)
{
	sqlite3 *db;

	close_store();
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(store_schema_migrate(db, good, 1), SQLITE_OK);
	ck_assert_str_eq(sql_rows("PRAGMA user_version"), "1;");
	ck_assert_str_eq(sql_rows("SELECT * FROM a"), "1;");
	ck_assert_int_eq(store_schema_migrate(db, bad, 3), SQLITE_ERROR);
	ck_assert_str_eq(sql_rows("PRAGMA user_version"), "1;");
	ck_assert_str_eq(sql_rows("SELECT name FROM sqlite_schema"), "a;");
	ck_assert_int_eq(store_schema_migrate(db, good, 3), SQLITE_OK);
	ck_assert_int_eq(store_schema_migrate(db, good, 3), SQLITE_OK);
	ck_assert_str_eq(sql_rows("PRAGMA user_version"), "3;");
	ck_assert_str_eq(sql_rows("SELECT * FROM b"), "3;");
	(void)sqlite3_close(db);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_failed_batch_stays_and_is_written_first);
	tcase_add_test(tcase, tries_are_further_and_further_apart);
	tcase_add_test(tcase, what_is_named_was_synced);
	tcase_add_test(tcase, closing_tries_once_and_leaves);
	tcase_add_test(tcase, closing_after_the_trouble_is_over_loses_nothing);
	tcase_add_test(tcase, another_program_may_lock_it_for_a_while);
	tcase_add_test(tcase, a_file_that_is_moved_away_is_no_place_to_write_to);
	tcase_add_test(tcase, too_large_a_file_is_trouble);
	tcase_add_test(tcase, a_full_disk_is_trouble_until_there_is_space);
	tcase_add_test(tcase, what_there_was_no_memory_for_leaves_no_gap);
	tcase_add_test(tcase, no_memory_in_the_midst_of_other_trouble_is_told_too);
	tcase_add_test(tcase, a_newer_schema_is_left_alone);
	tcase_add_test(tcase, what_is_no_database_is_told);
	tcase_add_test(tcase, damage_is_found_before_anything_is_written);
	tcase_add_test(tcase, damage_while_it_runs_is_trouble);
	tcase_add_test(tcase, a_database_of_another_program_is_left_alone);
	tcase_add_test(tcase, a_link_is_not_followed);
	tcase_add_test(tcase, others_lose_the_right_to_read_it);
	tcase_add_test(tcase, an_old_schema_comes_forward_step_by_step_or_not_at_all);
}

int main(void)
{
	return unit_main("store_trouble", add_tests);
}
