/* SPDX-License-Identifier: MIT */
/* Reading the store, in the loop's thread: what is on disk, never what is only noted. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "daemon/store_parts.h"

enum {
	READ_JOBS,
	READ_LINES,
	READ_LOCKS,
	READ_JOB,
	READ_LAST_ID,
	READ_EXPIRED,
	READ_OVER,
	READ_EVENTS,
	READ_LAST_EVENT,
	READ_COUNT
};

static const char *const sql[READ_COUNT] = {
	[READ_JOBS] = "SELECT id, is_over, ended, output_bytes, record FROM job WHERE is_over = 0"
		      " OR id IN (SELECT id FROM job WHERE is_over = 1 ORDER BY id DESC LIMIT ?1)"
		      " ORDER BY id",
	[READ_LINES] = "SELECT identity, record FROM line ORDER BY identity",
	[READ_LOCKS] = "SELECT identity, job FROM lock ORDER BY identity",
	[READ_JOB] = "SELECT record FROM job WHERE id = ?1",
	[READ_LAST_ID] = "SELECT seq FROM sqlite_sequence WHERE name = 'job'",
	[READ_EXPIRED] = "SELECT id, ended, output_bytes,"
			 " (SELECT sum(output_bytes) FROM job WHERE is_over = 1)"
			 " FROM job WHERE is_over = 1 ORDER BY ended, id",
	[READ_OVER] = "SELECT id, is_over, ended, output_bytes, record FROM job"
		      " WHERE is_over = 1 AND id < ?1 AND ended >= ?2 AND ended <= ?3"
		      " ORDER BY id DESC",
	[READ_EVENTS] = "SELECT seq, at, kind, job, \"by\", text FROM event WHERE seq > ?1"
			" ORDER BY seq",
	[READ_LAST_EVENT] = "SELECT max(seq) FROM event",
};

struct store_reader {
	sqlite3 *db;
	sqlite3_stmt *stmts[READ_COUNT];
};

/* A statement that is not reset would keep the log from being taken up into the database. */
static void resetp(sqlite3_stmt **stmt)
{
	(void)sqlite3_reset(*stmt);
}

int store_reader_new(struct store_reader **ret, const char *path, char *why, size_t why_size)
{
	CLEANUP(store_reader_freep) struct store_reader *reader = NULL;
	int rc;

	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	rc = sqlite3_open_v2(path, &reader->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			     NULL);
	if (!reader->db)
		return -ENOMEM;
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(reader->db, STORE_BUSY_READ_MS);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(reader->db, "PRAGMA query_only = ON; PRAGMA cache_size = -256",
				  NULL, NULL, NULL);
	for (size_t i = 0; i < READ_COUNT && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(reader->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
					&reader->stmts[i], NULL);
	if (rc != SQLITE_OK) {
		store_schema_explain(why, why_size, "read", reader->db, rc);
		return store_schema_errno(reader->db, rc);
	}
	*ret = TAKE_PTR(reader);
	return 0;
}

struct store_reader *store_reader_free(struct store_reader *reader)
{
	if (!reader)
		return NULL;

	for (size_t i = 0; i < READ_COUNT; i++)
		(void)sqlite3_finalize(reader->stmts[i]);
	(void)sqlite3_close(reader->db);
	free(reader);
	return NULL;
}

/* --- what is shared ------------------------------------------------------------------- */

/* Return: 1 for a row, 0 after the last one, or a negative errno. */
static int step(sqlite3_stmt *stmt)
{
	const int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : store_schema_errno(sqlite3_db_handle(stmt), rc);
}

static const char *column_text(sqlite3_stmt *stmt, int column)
{
	return (const char *)sqlite3_column_text(stmt, column);
}

static uint64_t column_uint(sqlite3_stmt *stmt, int column)
{
	return (uint64_t)sqlite3_column_int64(stmt, column);
}

static int column_json(sqlite3_stmt *stmt, int column, json_t **ret)
{
	const char *text = column_text(stmt, column);
	json_error_t error;
	json_t *json;

	if (!text)
		return -ENOMEM;
	json = json_loads(text, JSON_ALLOW_NUL, &error);
	if (!json)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EUCLEAN;
	*ret = json;
	return 0;
}

static inline void json_freep(json_t **json)
{
	json_decref(*json);
}

/* --- the contract's functions --------------------------------------------------------- */

/* Hand the rows of @stmt to @fn. */
static int read_jobs(sqlite3_stmt *stmt, store_job_fn fn, void *userdata)
{
	int r;

	while ((r = step(stmt)) > 0) {
		CLEANUP(json_freep) json_t *record = NULL;
		const struct store_job job = {
			.id = column_uint(stmt, 0),
			.is_over = sqlite3_column_int(stmt, 1) != 0,
			.ended_usec = column_uint(stmt, 2),
			.output_bytes = column_uint(stmt, 3),
		};

		r = column_json(stmt, 4, &record);
		if (r == 0)
			r = fn(&job, record, userdata);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return r;
}

/* SQLite's numbers are signed. */
static int bind_uint(sqlite3_stmt *stmt, int index, uint64_t value)
{
	if (value > INT64_MAX)
		value = INT64_MAX;
	return sqlite3_bind_int64(stmt, index, (sqlite3_int64)value) == SQLITE_OK ? 0 : -ENOMEM;
}

int store_read_jobs(struct store *store, uint64_t recent, store_job_fn fn, void *userdata)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_JOBS];
	const int r = bind_uint(stmt, 1, recent);

	return r < 0 ? r : read_jobs(stmt, fn, userdata);
}

int store_read_over(struct store *store, const struct store_span *span, store_job_fn fn,
		    void *userdata)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_OVER];
	int r;

	r = bind_uint(stmt, 1, span->before > 0 ? span->before : UINT64_MAX);
	if (r >= 0)
		r = bind_uint(stmt, 2, span->since_usec);
	if (r >= 0)
		r = bind_uint(stmt, 3, span->until_usec > 0 ? span->until_usec : UINT64_MAX);
	return r < 0 ? r : read_jobs(stmt, fn, userdata);
}

int store_read_events(struct store *store, uint64_t after, store_event_fn fn, void *userdata)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_EVENTS];
	int r;

	r = bind_uint(stmt, 1, after);
	while (r >= 0 && (r = step(stmt)) > 0) {
		const bool is_ours = sqlite3_column_type(stmt, 4) == SQLITE_NULL;
		const struct store_event event = {
			.id = column_uint(stmt, 0),
			.at_usec = column_uint(stmt, 1),
			.kind = column_text(stmt, 2),
			.job = column_uint(stmt, 3),
			.by = is_ours ? (uid_t)-1 : (uid_t)column_uint(stmt, 4),
			.text = column_text(stmt, 5),
		};

		r = event.kind && event.text ? fn(&event, userdata) : -ENOMEM;
		if (r > 0)
			return 0;
	}
	return r;
}

int store_read_last_event(struct store *store, uint64_t *ret)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_LAST_EVENT];
	const int r = step(stmt);

	*ret = r > 0 ? column_uint(stmt, 0) : 0;
	return r < 0 ? r : 0;
}

int store_read_lines(struct store *store, store_line_fn fn, void *userdata)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_LINES];
	int r;

	while ((r = step(stmt)) > 0) {
		CLEANUP(json_freep) json_t *record = NULL;
		const char *identity = column_text(stmt, 0);

		r = identity ? column_json(stmt, 1, &record) : -ENOMEM;
		if (r == 0)
			r = fn(identity, record, userdata);
		if (r < 0)
			return r;
	}
	return r;
}

int store_read_locks(struct store *store, store_lock_fn fn, void *userdata)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_LOCKS];
	int r;

	while ((r = step(stmt)) > 0) {
		const char *identity = column_text(stmt, 0);

		r = identity ? fn(identity, column_uint(stmt, 1), userdata) : -ENOMEM;
		if (r < 0)
			return r;
	}
	return r;
}

int store_read_job(struct store *store, uint64_t id, json_t **ret)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_JOB];
	int r;

	if (sqlite3_bind_int64(stmt, 1, (sqlite3_int64)id) != SQLITE_OK)
		return -ENOMEM;
	r = step(stmt);
	if (r == 0)
		return -ENOENT;
	return r < 0 ? r : column_json(stmt, 0, ret);
}

int store_read_last_id(struct store *store, uint64_t *ret)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_LAST_ID];
	const int r = step(stmt);

	if (r < 0)
		return r;
	*ret = r > 0 ? column_uint(stmt, 0) : 0;
	return 0;
}

int store_read_expired(struct store *store, uint64_t before_usec, uint64_t keep_bytes,
		       uint64_t *ret, size_t max)
{
	CLEANUP(resetp) sqlite3_stmt *stmt = store->reader->stmts[READ_EXPIRED];
	size_t count = 0;
	uint64_t left = 0; /* bytes of all that are not in @ret */
	int r = 0;

	if (max > INT_MAX)
		max = INT_MAX;
	while (count < max && (r = step(stmt)) > 0) {
		if (count == 0)
			left = column_uint(stmt, 3);
		if (column_uint(stmt, 1) >= before_usec && (keep_bytes == 0 || left <= keep_bytes))
			return (int)count;
		left -= column_uint(stmt, 2);
		ret[count++] = column_uint(stmt, 0);
	}
	return r < 0 ? r : (int)count;
}
