/* SPDX-License-Identifier: MIT */
/*
 * What the store's files share. The loop's thread notes writes and reads (store.c, store_read.c);
 * one other thread writes them (store_write.c). Each has a connection that the other never touches
 * while the thread lives; a batch belongs to the thread from store_writer_start() until it reports.
 */
#pragma once

#include <sqlite3.h>
#include <sys/queue.h>

#include "daemon/store.h"

#define STORE_WHY_MAX        1024
#define STORE_BUSY_WRITE_MS  2000 /* only the thread waits, and the end of tfqd */
#define STORE_BUSY_READ_MS   100  /* the loop waits */
#define STORE_BUCKETS        1024
#define STORE_RETRY_MIN_USEC (1 * USEC_PER_SEC)
#define STORE_RETRY_MAX_USEC (30 * USEC_PER_SEC)

enum store_kind {
	STORE_PUT_JOB,
	STORE_DROP_JOB,
	STORE_PUT_LINE,
	STORE_DROP_LINE,
	STORE_PUT_LOCK,
	STORE_DROP_LOCK,
	STORE_ADD_EVENT,
	STORE_KIND_COUNT
};

/* One write that is noted. What a kind has no use for is 0 or NULL. */
struct store_write {
	TAILQ_ENTRY(store_write) link;
	LIST_ENTRY(store_write) in_bucket; /* of a job's put that was not handed over yet */
	enum store_kind kind;
	struct store_job job;
	uint64_t at_usec;
	uid_t by;
	char *key;  /* an identity, or an event's kind */
	char *text; /* a record, or an event's text */
};
TAILQ_HEAD(store_writes, store_write);
LIST_HEAD(store_bucket, store_write);

void store_writes_free(struct store_writes *writes);

/* --- store_schema.c ------------------------------------------------------------------- */

/* Open, or make, what is at @path, look it through and migrate it. For errors see store_open(). */
int store_schema_open(sqlite3 **ret, const char *path, char *why, size_t why_size);

/* Carry out those of @scripts that @db does not have yet, in one transaction: script n leads from
 * version n to n + 1. Return: SQLITE_OK, or what SQLite says; then nothing has changed. */
int store_schema_migrate(sqlite3 *db, const char *const *scripts, int count);

/* SQLite's @rc as a negative errno. */
int store_schema_errno(sqlite3 *db, int rc);

/* A sentence on @rc, which came of trying to @verb the database: why, and what to do. */
void store_schema_explain(char *buf, size_t size, const char *verb, sqlite3 *db, int rc);

static inline void store_schema_closep(sqlite3 **db)
{
	(void)sqlite3_close(*db);
}

/* --- store_write.c -------------------------------------------------------------------- */

struct store_writer;

/* Take over @db, and start a thread that adds 1 to the eventfd @done_fd after each try. */
int store_writer_new(struct store_writer **ret, sqlite3 *db, int done_fd, char *why,
		     size_t why_size);

/* End the thread, after the try it is at, and close. */
struct store_writer *store_writer_free(struct store_writer *writer);
DEFINE_FREEP(store_writer);

/* Have the thread, which is idle, write @writes, and after those the thread had no success with. */
void store_writer_start(struct store_writer *writer, struct store_writes *writes);

/* Of the last try: NULL if all is on disk, else why it is not; until the next store_writer_start().
 */
const char *store_writer_why(struct store_writer *writer);

/* End the thread, and if anything is unwritten, of @writes too, try once here. Return: as above. */
const char *store_writer_finish(struct store_writer *writer, struct store_writes *writes);

/* --- store_read.c --------------------------------------------------------------------- */

struct store_reader;

int store_reader_new(struct store_reader **ret, const char *path, char *why, size_t why_size);
struct store_reader *store_reader_free(struct store_reader *reader);
DEFINE_FREEP(store_reader);

/* --- store.c -------------------------------------------------------------------------- */

struct store {
	sd_event *event;
	sd_event_source *flush, *flush_late; /* hand over what is noted */
	sd_event_source *done, *retry;
	const struct store_callbacks *callbacks;
	void *userdata;
	struct store_writer *writer;
	struct store_reader *reader;
	int done_fd;
	struct store_writes writes; /* noted and not handed over */
	struct store_bucket buckets[STORE_BUCKETS];
	uint64_t noted, handed_over, committed;
	uint64_t lost; /* the first write that there was no memory for, or 0 */
	bool is_loss_told;
	bool is_busy;    /* the thread is */
	bool is_failing; /* ... or waits for a retry */
	bool is_hurried; /* what is noted since then is waited for */
	uint64_t retry_usec;
	char why[STORE_WHY_MAX];
};
