/* SPDX-License-Identifier: MIT */
/* A store in a folder of its own, with a loop, for the tests of it. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/parse.h"
#include "daemon/store_parts.h"
#include "tests/unit/unit.h"

#define WAIT_USEC (60 * USEC_PER_SEC)

static char dir[64], path[128];
static sd_event *event;
static struct store *store;

static size_t commits, troubles;
static uint64_t committed, troubled;
static char trouble[STORE_WHY_MAX];

static void on_commit(uint64_t number, void *userdata)
{
	ck_assert_ptr_eq(userdata, dir);
	ck_assert_uint_gt(number, committed);
	commits++;
	committed = number;
}

static void on_trouble(uint64_t number, const char *why, void *userdata)
{
	ck_assert_ptr_eq(userdata, dir);
	ck_assert_str_eq(store_trouble(store), why);
	troubles++;
	troubled = number;
	(void)snprintf(trouble, sizeof(trouble), "%s", why);
}

static const struct store_callbacks callbacks = { on_commit, on_trouble };

static void open_store(void)
{
	char *error;

	committed = 0;
	ck_assert_msg(store_open(&store, event, path, &callbacks, dir, &error) == 0, "%s", error);
	ck_assert_ptr_null(error);
}

static void close_store(void)
{
	store = store_free(store);
}

static void setup_folder(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/test-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/tfqd.db", dir);
	ck_assert_int_ge(sd_event_new(&event), 0);
	commits = troubles = 0;
}

static inline void setup(void)
{
	setup_folder();
	open_store();
}

static void teardown(void)
{
	static const char *const names[] = { "tfqd.db", "tfqd.db-wal", "tfqd.db-shm", "other" };
	char name[256];

	close_store();
	sd_event_unref(event);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", dir, names[i]);
		(void)unlink(name);
	}
	(void)rmdir(dir);
}

/* Run the loop until @number is on disk, or so often was trouble told. */
static void wait_commit(uint64_t number)
{
	const uint64_t limit = clock_usec(CLOCK_MONOTONIC) + WAIT_USEC;

	while (committed < number) {
		ck_assert_int_ge(sd_event_run(event, WAIT_USEC), 0);
		ck_assert_uint_lt(clock_usec(CLOCK_MONOTONIC), limit);
	}
	ck_assert_uint_eq(store_committed(store), committed);
}

static inline void wait_trouble(size_t count)
{
	const uint64_t limit = clock_usec(CLOCK_MONOTONIC) + WAIT_USEC;

	while (troubles < count) {
		ck_assert_int_ge(sd_event_run(event, WAIT_USEC), 0);
		ck_assert_uint_lt(clock_usec(CLOCK_MONOTONIC), limit);
	}
}

static uint64_t put(uint64_t id, const char *word)
{
	const struct store_job job = { .id = id };

	return store_put_job(store, &job, json_pack("{s:s}", "word", word));
}

/* As another program would see it; a statement that must fail says so. */
static inline int sql_exec(const char *sql)
{
	sqlite3 *db;
	int rc;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	(void)sqlite3_close(db);
	return rc;
}

static inline int append_row(void *userdata, int count, char **values, char **names)
{
	char *text = userdata;

	(void)names;
	for (int i = 0; i < count; i++) {
		const size_t len = strlen(text);

		(void)snprintf(text + len, 4096 - len, "%s%s", values[i] ? values[i] : "NULL",
			       i + 1 < count ? "," : ";");
	}
	return 0;
}

/* All rows of @sql: "a,b;c,d;" */
static inline const char *sql_rows(const char *sql)
{
	static char text[4096];
	sqlite3 *db;

	*text = '\0';
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, append_row, text, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
	return text;
}
