/* SPDX-License-Identifier: MIT */
/* The store's thread: it writes one batch after the other, each in one transaction. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "daemon/store_parts.h"

/* ?1: job, ?2: key, ?3: text, ?4: time, ?5: is over, ?6: bytes of output, ?7: uid */
static const char *const sql[STORE_KIND_COUNT] = {
	[STORE_PUT_JOB] = "INSERT INTO job (id, record, ended, is_over, output_bytes)"
			  " VALUES (?1, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET"
			  " record = ?3, ended = ?4, is_over = ?5, output_bytes = ?6",
	[STORE_DROP_JOB] = "DELETE FROM job WHERE id = ?1",
	[STORE_PUT_LINE] = "INSERT INTO line (identity, record) VALUES (?2, ?3)"
			   " ON CONFLICT (identity) DO UPDATE SET record = ?3",
	[STORE_DROP_LINE] = "DELETE FROM line WHERE identity = ?2",
	[STORE_PUT_LOCK] = "INSERT INTO lock (identity, job) VALUES (?2, ?1)"
			   " ON CONFLICT (identity) DO UPDATE SET job = ?1",
	[STORE_DROP_LOCK] = "DELETE FROM lock WHERE identity = ?2",
	[STORE_ADD_EVENT] = "INSERT INTO event (at, kind, job, \"by\", text)"
			    " VALUES (?4, ?2, nullif(?1, 0), ?7, ?3)",
};

struct store_writer {
	sqlite3 *db;
	sqlite3_stmt *stmts[STORE_KIND_COUNT];
	dev_t dev; /* of the file that was opened */
	ino_t ino;
	int done_fd;
	pthread_t thread;
	bool is_started;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	/* Guarded by the mutex. */
	bool has_work, must_end;
	/* The thread's while it has work, else the loop's. */
	struct store_writes writes;
	bool has_failed;
	char why[STORE_WHY_MAX];
};

void store_writes_free(struct store_writes *writes)
{
	struct store_write *next;

	for (struct store_write *write = TAILQ_FIRST(writes); write; write = next) {
		next = TAILQ_NEXT(write, link);
		free(write->key);
		free(write->text);
		free(write);
	}
	TAILQ_INIT(writes);
}

/* --- one try -------------------------------------------------------------------------- */

static int bind_one(sqlite3_stmt *stmt, int column, const struct store_write *write)
{
	switch (column) {
	case 1: return sqlite3_bind_int64(stmt, column, (sqlite3_int64)write->job.id);
	case 2: return sqlite3_bind_text(stmt, column, write->key, -1, SQLITE_STATIC);
	case 3: return sqlite3_bind_text(stmt, column, write->text, -1, SQLITE_STATIC);
	case 4: return sqlite3_bind_int64(stmt, column, (sqlite3_int64)write->at_usec);
	case 5: return sqlite3_bind_int(stmt, column, write->job.is_over);
	case 6: return sqlite3_bind_int64(stmt, column, (sqlite3_int64)write->job.output_bytes);
	default:
		if (write->by == (uid_t)-1)
			return sqlite3_bind_null(stmt, column);
		return sqlite3_bind_int64(stmt, column, write->by);
	}
}

static int write_one(sqlite3_stmt *stmt, const struct store_write *write)
{
	int rc;

	for (int column = 1; column <= sqlite3_bind_parameter_count(stmt); column++) {
		rc = bind_one(stmt, column, write);
		if (rc != SQLITE_OK)
			return rc;
	}
	rc = sqlite3_step(stmt);
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt); /* they point into @write */
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* What is written to a deleted file is on no disk, although every call succeeds. */
static bool is_moved(const struct store_writer *writer)
{
	struct stat st;

	return stat(sqlite3_db_filename(writer->db, "main"), &st) < 0 || st.st_dev != writer->dev ||
	       st.st_ino != writer->ino;
}

static int write_all(struct store_writer *writer)
{
	const struct store_write *write;
	int rc;

	if (is_moved(writer))
		return SQLITE_READONLY_DBMOVED;
	rc = sqlite3_exec(writer->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	TAILQ_FOREACH(write, &writer->writes, link)
	{
		rc = write_one(writer->stmts[write->kind], write);
		if (rc != SQLITE_OK)
			return rc;
	}
	return sqlite3_exec(writer->db, "COMMIT", NULL, NULL, NULL);
}

static void try_once(struct store_writer *writer)
{
	const int rc = write_all(writer);

	writer->has_failed = rc != SQLITE_OK;
	if (!writer->has_failed) {
		store_writes_free(&writer->writes);
		return;
	}
	store_schema_explain(writer->why, sizeof(writer->why), "write", writer->db, rc);
	if (!sqlite3_get_autocommit(writer->db))
		(void)sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
}

/* --- the thread ----------------------------------------------------------------------- */

static void *run(void *userdata)
{
	struct store_writer *writer = userdata;

	(void)pthread_setname_np(pthread_self(), "store");
	(void)pthread_mutex_lock(&writer->mutex);
	for (;;) {
		while (!writer->has_work && !writer->must_end)
			(void)pthread_cond_wait(&writer->wake, &writer->mutex);
		if (!writer->has_work)
			break;
		(void)pthread_mutex_unlock(&writer->mutex);
		try_once(writer);
		(void)pthread_mutex_lock(&writer->mutex);
		writer->has_work = false;
		(void)eventfd_write(writer->done_fd, 1);
	}
	(void)pthread_mutex_unlock(&writer->mutex);
	return NULL;
}

/* Signals are the loop's: the thread has them all blocked from its first instruction. */
static int start(struct store_writer *writer)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r != 0)
		return -r;
	r = pthread_create(&writer->thread, NULL, run, writer);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	writer->is_started = r == 0;
	return -r;
}

static void stop(struct store_writer *writer)
{
	if (!writer->is_started)
		return;
	(void)pthread_mutex_lock(&writer->mutex);
	writer->must_end = true;
	(void)pthread_cond_signal(&writer->wake);
	(void)pthread_mutex_unlock(&writer->mutex);
	(void)pthread_join(writer->thread, NULL);
	writer->is_started = false;
}

/* --- what the loop's thread calls ------------------------------------------------------ */

static int prepare(struct store_writer *writer, char *why, size_t why_size)
{
	struct stat st;

	if (stat(sqlite3_db_filename(writer->db, "main"), &st) < 0)
		return -errno;
	writer->dev = st.st_dev;
	writer->ino = st.st_ino;
	for (size_t i = 0; i < STORE_KIND_COUNT; i++) {
		const int rc = sqlite3_prepare_v3(writer->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
						  &writer->stmts[i], NULL);

		if (rc != SQLITE_OK) {
			store_schema_explain(why, why_size, "use", writer->db, rc);
			return store_schema_errno(writer->db, rc);
		}
	}
	return 0;
}

int store_writer_new(struct store_writer **ret, sqlite3 *db, int done_fd, char *why,
		     size_t why_size)
{
	CLEANUP(store_writer_freep) struct store_writer *writer = NULL;
	int r;

	writer = calloc(1, sizeof(*writer));
	if (!writer) {
		(void)sqlite3_close(db);
		return -ENOMEM;
	}
	writer->db = db;
	writer->done_fd = done_fd;
	(void)pthread_mutex_init(&writer->mutex, NULL);
	(void)pthread_cond_init(&writer->wake, NULL);
	TAILQ_INIT(&writer->writes);
	r = prepare(writer, why, why_size);
	if (r < 0)
		return r;
	r = start(writer);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(writer);
	return 0;
}

struct store_writer *store_writer_free(struct store_writer *writer)
{
	if (!writer)
		return NULL;

	stop(writer);
	store_writes_free(&writer->writes);
	for (size_t i = 0; i < STORE_KIND_COUNT; i++)
		(void)sqlite3_finalize(writer->stmts[i]);
	(void)sqlite3_close(writer->db);
	(void)pthread_cond_destroy(&writer->wake);
	(void)pthread_mutex_destroy(&writer->mutex);
	free(writer);
	return NULL;
}

void store_writer_start(struct store_writer *writer, struct store_writes *writes)
{
	(void)pthread_mutex_lock(&writer->mutex);
	assert(!writer->has_work);
	TAILQ_CONCAT(&writer->writes, writes, link);
	writer->has_work = true;
	(void)pthread_cond_signal(&writer->wake);
	(void)pthread_mutex_unlock(&writer->mutex);
}

const char *store_writer_why(struct store_writer *writer)
{
	bool has_failed;

	(void)pthread_mutex_lock(&writer->mutex);
	assert(!writer->has_work);
	has_failed = writer->has_failed;
	(void)pthread_mutex_unlock(&writer->mutex);
	return has_failed ? writer->why : NULL;
}

const char *store_writer_finish(struct store_writer *writer, struct store_writes *writes)
{
	stop(writer);
	TAILQ_CONCAT(&writer->writes, writes, link);
	if (TAILQ_EMPTY(&writer->writes))
		return NULL;
	try_once(writer);
	return writer->has_failed ? writer->why : NULL;
}
