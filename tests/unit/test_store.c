/* SPDX-License-Identifier: MIT */
/* What is put into the store, and what is found there again. */
#include <sys/epoll.h>

#include "tests/unit/store_fixture.h"

/* Transactions in the write-ahead log: frames that say how large the database is after them. */
static size_t count_transactions(void)
{
	char name[256];
	unsigned char header[32], frame[24];
	size_t count = 0, page;
	FILE *file;

	(void)snprintf(name, sizeof(name), "%s-wal", path);
	file = fopen(name, "re");
	if (!file)
		return 0;
	ck_assert_uint_eq(fread(header, 1, sizeof(header), file), sizeof(header));
	page = (size_t)header[10] << 8 | header[11];
	while (fread(frame, 1, sizeof(frame), file) == sizeof(frame)) {
		if (memcmp(frame + 8, header + 16, 8) != 0)
			break; /* of the log before */
		if (frame[4] || frame[5] || frame[6] || frame[7])
			count++;
		ck_assert_int_eq(fseek(file, (long)page, SEEK_CUR), 0);
	}
	(void)fclose(file);
	return count;
}

static char seen[4096];

static int see_job(const struct store_job *job, const json_t *record, void *userdata)
{
	const size_t len = strlen(seen);

	ck_assert_ptr_eq(userdata, seen);
	(void)snprintf(seen + len, sizeof(seen) - len, "%lu%s%s ", job->id, job->is_over ? "!" : "",
		       json_string_value(json_object_get(record, "word")));
	return job->id == 99 ? -ECANCELED : 0;
}

static int see_line(const char *identity, const json_t *record, void *userdata)
{
	const size_t len = strlen(seen);

	ck_assert_ptr_eq(userdata, seen);
	(void)snprintf(seen + len, sizeof(seen) - len, "%s=%s ", identity,
		       json_string_value(json_object_get(record, "why")));
	return 0;
}

static int see_lock(const char *identity, uint64_t job, void *userdata)
{
	const size_t len = strlen(seen);

	ck_assert_ptr_eq(userdata, seen);
	(void)snprintf(seen + len, sizeof(seen) - len, "%s=%lu ", identity, job);
	return 0;
}

static const char *read_jobs(uint64_t recent)
{
	*seen = '\0';
	ck_assert_int_eq(store_read_jobs(store, recent, see_job, seen), 0);
	return seen;
}

static const char *read_lines(void)
{
	*seen = '\0';
	ck_assert_int_eq(store_read_lines(store, see_line, seen), 0);
	return seen;
}

static const char *read_locks(void)
{
	*seen = '\0';
	ck_assert_int_eq(store_read_locks(store, see_lock, seen), 0);
	return seen;
}

static uint64_t put_over(uint64_t id, uint64_t ended_usec, uint64_t output_bytes)
{
	const struct store_job job = { id, true, ended_usec, output_bytes };

	return store_put_job(store, &job, json_pack("{s:s}", "word", "over"));
}

static uint64_t last_id(void)
{
	uint64_t id = 4711;

	ck_assert_int_eq(store_read_last_id(store, &id), 0);
	return id;
}

START_TEST(a_new_store_is_private_and_empty)
{
	struct stat st;
	uint64_t ids[1];
	json_t *record;
	char name[256];

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	(void)snprintf(name, sizeof(name), "%s-wal", path);
	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_str_eq(sql_rows("PRAGMA user_version"), "1;");
	ck_assert_str_eq(sql_rows("PRAGMA journal_mode"), "wal;");
	ck_assert_str_eq(read_jobs(UINT64_MAX), "");
	ck_assert_str_eq(read_lines(), "");
	ck_assert_str_eq(read_locks(), "");
	ck_assert_uint_eq(last_id(), 0);
	ck_assert_int_eq(store_read_expired(store, UINT64_MAX, 1, ids, 1), 0);
	ck_assert_int_eq(store_read_job(store, 1, &record), -ENOENT);
	ck_assert_ptr_null(store_trouble(store));
	ck_assert_uint_eq(store_noted(store), 0);
}
END_TEST

START_TEST(nothing_is_written_before_the_loop_turns)
{
	ck_assert_uint_eq(put(1, "a"), 1);
	ck_assert_uint_eq(put(2, "b"), 2);
	ck_assert_uint_eq(store_noted(store), 2);
	ck_assert_uint_eq(store_committed(store), 0);
	ck_assert_str_eq(sql_rows("SELECT id FROM job"), "");
	wait_commit(2);
	ck_assert_str_eq(sql_rows("SELECT id FROM job"), "1;2;");
}
END_TEST

START_TEST(jobs_come_back_as_they_were_put)
{
	json_t *put_in, *got;

	put_in = json_pack("{s:s%, s:[i,b,n], s:f}", "text", "\xc3\xa4\n\0end", (size_t)7, "list",
			   -5, 1, "real", 0.1);
	ck_assert_ptr_nonnull(put_in);
	ck_assert_uint_eq(store_put_job(store, &(struct store_job){ .id = 7 }, json_incref(put_in)),
			  1);
	wait_commit(1);
	close_store();
	open_store();
	ck_assert_int_eq(store_read_job(store, 7, &got), 0);
	ck_assert(json_equal(put_in, got));
	json_decref(put_in);
	json_decref(got);
	ck_assert_uint_eq(store_noted(store), 0);
}
END_TEST

START_TEST(jobs_that_are_over_are_read_up_to_a_number)
{
	for (uint64_t id = 1; id <= 6; id++)
		(void)(id % 2 ? put_over(id, id, 0) : put(id, "-"));
	wait_commit(6);
	ck_assert_str_eq(read_jobs(0), "2- 4- 6- ");
	ck_assert_str_eq(read_jobs(2), "2- 3!over 4- 5!over 6- ");
	ck_assert_str_eq(read_jobs(UINT64_MAX), "1!over 2- 3!over 4- 5!over 6- ");
	wait_commit(put(99, "stop"));
	*seen = '\0';
	ck_assert_int_eq(store_read_jobs(store, 0, see_job, seen), -ECANCELED);
	ck_assert_str_eq(read_lines(), ""); /* and what is read later is not disturbed */
}
END_TEST

START_TEST(a_batch_keeps_the_order)
{
	(void)put(1, "first");
	(void)put(2, "x");
	(void)put(1, "second");
	(void)store_drop_job(store, 2);
	(void)put(3, "a");
	(void)store_drop_job(store, 3);
	(void)put(3, "b");
	(void)put(1 + STORE_BUCKETS, "same bucket");
	(void)store_put_line(store, "s3://b/k", json_pack("{s:s}", "why", "lost"));
	(void)store_put_line(store, "s3://a/k", json_pack("{s:s}", "why", "paused"));
	(void)store_put_line(store, "s3://b/k", json_pack("{s:s}", "why", "failed"));
	(void)store_put_lock(store, "one", 1);
	(void)store_put_lock(store, "two", 2);
	(void)store_drop_lock(store, "one");
	(void)store_put_lock(store, "two", 3);
	wait_commit(store_noted(store));
	ck_assert_str_eq(read_jobs(0), "1second 3b 1025same bucket ");
	ck_assert_str_eq(read_lines(), "s3://a/k=paused s3://b/k=failed ");
	ck_assert_str_eq(read_locks(), "two=3 ");
	(void)store_drop_line(store, "s3://a/k");
	(void)store_drop_line(store, "not there");
	wait_commit(store_noted(store));
	ck_assert_str_eq(read_lines(), "s3://b/k=failed ");
}
END_TEST

START_TEST(puts_of_one_job_are_written_once)
{
	ck_assert_int_eq(sql_exec("CREATE TABLE log (word TEXT);"
				  "CREATE TRIGGER t AFTER INSERT ON job BEGIN INSERT INTO log"
				  " VALUES (new.record); END;"
				  "CREATE TRIGGER u AFTER UPDATE ON job BEGIN INSERT INTO log"
				  " VALUES (new.record); END;"),
			 SQLITE_OK);
	(void)put(1, "a");
	(void)put(1, "b");
	(void)put(1, "c");
	wait_commit(3);
	(void)put(1, "d");
	wait_commit(4);
	ck_assert_str_eq(sql_rows("SELECT word FROM log"), "{\"word\":\"c\"};{\"word\":\"d\"};");
}
END_TEST

START_TEST(what_one_turn_notes_is_one_transaction)
{
	const size_t before = count_transactions();

	for (uint64_t id = 1; id <= 1000; id++)
		(void)put(id, "-");
	wait_commit(1000);
	ck_assert_uint_eq(count_transactions(), before + 1);
	ck_assert_uint_eq(commits, 1);
	wait_commit(put(1001, "-"));
	ck_assert_uint_eq(count_transactions(), before + 2);
}
END_TEST

/* Notes one write in each turn, five times: a loop that always has something to do. */
static int put_in_turns(sd_event_source *source, void *userdata)
{
	size_t *turns = userdata;

	(void)put(++*turns, "-");
	return sd_event_source_set_enabled(source, *turns < 5 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

START_TEST(what_is_at_hand_comes_before_a_transaction)
{
	sd_event_source *source;
	size_t turns = 0;

	ck_assert_int_ge(sd_event_add_defer(event, &source, put_in_turns, &turns), 0);
	ck_assert_int_ge(sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IDLE), 0);
	wait_commit(5);
	ck_assert_uint_eq(commits, 1);
	sd_event_source_disable_unref(source);
}
END_TEST

static int keep_busy(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	size_t *turns = userdata;

	(void)source;
	(void)fd;
	(void)revents;
	(*turns)++;
	return 0;
}

START_TEST(a_loop_that_is_never_idle_is_no_hindrance)
{
	sd_event_source *source;
	size_t turns = 0;
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "", 1), 1); /* and nobody reads it */
	ck_assert_int_ge(sd_event_add_io(event, &source, fds[0], EPOLLIN, keep_busy, &turns), 0);
	wait_commit(put(1, "-"));
	ck_assert_uint_gt(turns, 0);
	sd_event_source_disable_unref(source);
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

START_TEST(events_stand_in_order_and_stay)
{
	const uint64_t before = clock_usec(CLOCK_REALTIME);
	uint64_t at;

	(void)store_add_event(store, "start", 0, (uid_t)-1, "tfqd 1");
	(void)store_add_event(store, "submit", 7, 1000, "plan");
	(void)store_add_event(store, "cancel", 7, 0, "");
	wait_commit(3);
	ck_assert_str_eq(sql_rows("SELECT seq, kind, job, \"by\", text FROM event ORDER BY seq"),
			 "1,start,NULL,NULL,tfqd 1;2,submit,7,1000,plan;3,cancel,7,0,;");
	at = strtoull(sql_rows("SELECT at FROM event"), NULL, 10);
	ck_assert(at >= before && at <= clock_usec(CLOCK_REALTIME));
	ck_assert_int_eq(sql_exec("DELETE FROM event"), SQLITE_CONSTRAINT);
	ck_assert_int_eq(sql_exec("UPDATE event SET text = ''"), SQLITE_CONSTRAINT);
	ck_assert_str_eq(sql_rows("SELECT count(*) FROM event WHERE text <> ''"), "2;");
}
END_TEST

START_TEST(ids_are_remembered_when_jobs_are_gone)
{
	(void)put(5, "-");
	(void)put(9, "-");
	wait_commit(2);
	ck_assert_uint_eq(last_id(), 9);
	(void)store_drop_job(store, 9);
	(void)put(12, "-");
	(void)store_drop_job(store, 12); /* of the same batch */
	(void)store_drop_job(store, 5);
	wait_commit(store_noted(store));
	ck_assert_str_eq(read_jobs(0), "");
	ck_assert_uint_eq(last_id(), 12);
	(void)put(3, "-");
	wait_commit(store_noted(store));
	close_store();
	open_store();
	ck_assert_uint_eq(last_id(), 12);
}
END_TEST

static const struct {
	const char *name;
	uint64_t before, keep;
	size_t max;
	const char *ids;
} expiries[] = {
	{ "no limit", 0, 0, 9, "" },
	{ "none is that old", 10, 0, 9, "" },
	{ "older than", 30, 0, 9, "4 2 " },
	{ "all", 1000, 0, 9, "4 2 1 3 " },
	{ "the oldest only", 1000, 0, 2, "4 2 " },
	{ "fewer bytes than allowed", 0, 1111, 9, "" },
	{ "one byte too many", 0, 1110, 9, "4 " },
	{ "all but the newest", 0, 999, 9, "4 2 1 3 " },
	{ "the newest is just as large", 0, 1000, 9, "4 2 1 " },
	{ "the older limit counts", 20, 1010, 9, "4 2 " },
	{ "the other way round", 40, 1111, 9, "4 2 1 " },
};

START_TEST(expired_by_age_and_by_bytes)
{
	uint64_t ids[9];
	int count;

	(void)put_over(4, 10, 1);
	(void)put_over(2, 20, 100);
	(void)put_over(1, 30, 10);
	(void)put_over(3, 40, 1000);
	(void)store_put_job(store, &(struct store_job){ 5, false, 0, 0 },
			    json_pack("{s:s}", "word", "runs"));
	wait_commit(5);
	*seen = '\0';
	count = store_read_expired(store, expiries[_i].before, expiries[_i].keep, ids,
				   expiries[_i].max);
	for (int i = 0; i < count; i++) {
		const size_t len = strlen(seen);

		(void)snprintf(seen + len, sizeof(seen) - len, "%lu ", ids[i]);
	}
	ck_assert_msg(strcmp(seen, expiries[_i].ids) == 0, "%s: %d: %s", expiries[_i].name, count,
		      seen);
}
END_TEST

START_TEST(closing_writes_what_is_noted)
{
	for (uint64_t id = 1; id <= 100; id++) {
		(void)put(id, "-");
		if (id == 50)
			ck_assert_int_ge(sd_event_run(event, 0), 0); /* the thread has these */
	}
	close_store();
	ck_assert_str_eq(sql_rows("SELECT count(*) FROM job"), "100;");
	open_store();
	ck_assert_uint_eq(last_id(), 100);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_new_store_is_private_and_empty);
	tcase_add_test(tcase, nothing_is_written_before_the_loop_turns);
	tcase_add_test(tcase, jobs_come_back_as_they_were_put);
	tcase_add_test(tcase, jobs_that_are_over_are_read_up_to_a_number);
	tcase_add_test(tcase, a_batch_keeps_the_order);
	tcase_add_test(tcase, puts_of_one_job_are_written_once);
	tcase_add_test(tcase, what_one_turn_notes_is_one_transaction);
	tcase_add_test(tcase, what_is_at_hand_comes_before_a_transaction);
	tcase_add_test(tcase, a_loop_that_is_never_idle_is_no_hindrance);
	tcase_add_test(tcase, events_stand_in_order_and_stay);
	tcase_add_test(tcase, ids_are_remembered_when_jobs_are_gone);
	tcase_add_loop_test(tcase, expired_by_age_and_by_bytes, 0,
			    sizeof(expiries) / sizeof(*expiries));
	tcase_add_test(tcase, closing_writes_what_is_noted);
}

int main(void)
{
	return unit_main("store", add_tests);
}
