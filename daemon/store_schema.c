/* SPDX-License-Identifier: MIT */
/* The database's file and form: made, looked through, brought up to date; and its errors in words.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store_parts.h"

/* Script n leads from schema n to n + 1. What was released is never changed, only added to. */
static const char *const migrations[STORE_SCHEMA_VERSION] = {
	/* AUTOINCREMENT remembers the highest id, also of rows that are gone. */
	"CREATE TABLE job ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" is_over INTEGER NOT NULL CHECK (is_over IN (0, 1)),"
	" ended INTEGER NOT NULL," /* microseconds since 1970, as all times here */
	" output_bytes INTEGER NOT NULL,"
	" record TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX job_over ON job (ended, id, output_bytes) WHERE is_over = 1;"
	"CREATE TABLE line (identity TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;"
	"CREATE TABLE lock (identity TEXT PRIMARY KEY, job INTEGER NOT NULL) STRICT;"
	"CREATE TABLE event ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" at INTEGER NOT NULL,"
	" kind TEXT NOT NULL,"
	" job INTEGER,"    /* NULL: of none */
	" \"by\" INTEGER," /* a uid; NULL: tfqd itself */
	" text TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX event_job ON event (job);"
	"CREATE TRIGGER event_stays BEFORE DELETE ON event"
	" BEGIN SELECT RAISE(ABORT, 'events are append only'); END;"
	"CREATE TRIGGER event_is BEFORE UPDATE ON event"
	" BEGIN SELECT RAISE(ABORT, 'events are append only'); END;",
};

/* --- errors in words ------------------------------------------------------------------ */

#define LOST                                                                                      \
	"restore it from a backup, or move it away with its -wal and -shm; lost with it are the " \
	"queue, the history, the audit, and which locks may still be in a store"

int store_schema_errno(sqlite3 *db, int rc)
{
	const int error = db ? sqlite3_system_errno(db) : 0;

	switch (rc & 0xff) {
	case SQLITE_OK: return 0;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_ERROR: /* no such table: of another program */
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EUCLEAN;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return -EBUSY;
	case SQLITE_READONLY: return -EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR: return error > 0 ? -error : -EIO;
	default: return -EIO;
	}
}

static const char *io_advice(int error)
{
	if (error == ENOSPC || error == EDQUOT || error == EFBIG)
		return "free some space there, or raise the limit";
	return "see whether the disk is full or a quota reached, and for its errors in the "
	       "kernel's log (dmesg)";
}

static const char *advice(sqlite3 *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL: return "free some space there";
	case SQLITE_IOERR: return io_advice(sqlite3_system_errno(db));
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return "end the other program that has it locked (sqlite3, a backup)";
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN: return "see to it that tfqd may write that file and its directory";
	case SQLITE_NOMEM: return "free some memory";
	case SQLITE_ERROR:
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return "stop tfqd, then " LOST;
	default: return "start tfqd again; if it stays so, " LOST;
	}
}

void store_schema_explain(char *buf, size_t size, const char *verb, sqlite3 *db, int rc)
{
	const char *path = sqlite3_db_filename(db, "main");
	const int error = sqlite3_system_errno(db);
	const char *cause = sqlite3_errstr(rc);

	/* The message of the last call says more than its code, if it is of this error. */
	if (sqlite3_extended_errcode(db) == rc)
		cause = sqlite3_errmsg(db);
	if (rc == SQLITE_READONLY_DBMOVED) {
		(void)snprintf(buf, size,
			       "tfqd cannot %s its database %s: the file was moved or deleted; put "
			       "it back, or start tfqd again to begin with an empty one",
			       verb, path ? path : "");
		return;
	}
	if ((rc & 0xff) == SQLITE_FULL)
		cause = "the disk is full";
	else if ((rc & 0xff) == SQLITE_IOERR && error > 0)
		cause = strerror(error);
	(void)snprintf(buf, size, "tfqd cannot %s its database %s: %s; %s", verb, path ? path : "",
		       cause, advice(db, rc));
}

/* --- the file ------------------------------------------------------------------------- */

/*
 * So that it is a file, ours and nobody else's to read, before SQLite makes others beside it with
 * the same mode. Closed before SQLite opens it: a close() drops all POSIX locks of the process.
 */
static int make_file(const char *path, char *why, size_t why_size)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;

	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0 && errno == ELOOP) {
		(void)snprintf(why, why_size,
			       "tfqd's database %s is a symbolic link; put the file itself there, "
			       "or set state_dir to where it is",
			       path);
		return -ELOOP;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		const int error = errno;

		(void)snprintf(
			why, why_size,
			"tfqd cannot open its database %s: %s; see to it that tfqd may write "
			"that file and its directory",
			path, strerror(error));
		return -error;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)snprintf(why, why_size, "tfqd's database %s is no file; move it away", path);
		return -EUCLEAN;
	}
	if (st.st_uid != geteuid() || ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0)) {
		(void)snprintf(
			why, why_size,
			"tfqd's database %s belongs to uid %u and tfqd runs as %u; chown it, "
			"or move it away",
			path, st.st_uid, geteuid());
		return -EPERM;
	}
	return 0;
}

/* --- the schema ----------------------------------------------------------------------- */

/* The first column of the first row of @sql. */
static int query_text(sqlite3 *db, const char *sql, char *buf, size_t size)
{
	sqlite3_stmt *stmt;
	const char *text;
	int rc;

	rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW) {
		(void)sqlite3_finalize(stmt);
		return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
	}
	text = (const char *)sqlite3_column_text(stmt, 0);
	(void)snprintf(buf, size, "%s", text ? text : "");
	return sqlite3_finalize(stmt);
}

static int query_int(sqlite3 *db, const char *sql, int *ret)
{
	char text[32];
	const int rc = query_text(db, sql, text, sizeof(text));

	if (rc == SQLITE_OK)
		*ret = (int)strtol(text, NULL, 10);
	return rc;
}

static int run_scripts(sqlite3 *db, const char *const *scripts, int from, int count)
{
	char pragma[64];
	int rc;

	for (int i = from; i < count; i++) {
		rc = sqlite3_exec(db, scripts[i], NULL, NULL, NULL);
		if (rc != SQLITE_OK)
			return rc;
	}
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", count);
	rc = sqlite3_exec(db, pragma, NULL, NULL, NULL);
	return rc == SQLITE_OK ? sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) : rc;
}

int store_schema_migrate(sqlite3 *db, const char *const *scripts, int count)
{
	int version = 0, rc;

	rc = query_int(db, "PRAGMA user_version", &version);
	if (rc != SQLITE_OK || version >= count)
		return rc;
	rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	rc = run_scripts(db, scripts, version, count);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* Is it what we can read, whole? Nothing is changed before that is known. */
static int look_through(sqlite3 *db, const char *path, char *why, size_t why_size)
{
	char found[128];
	int version = 0, tables = 0, rc;

	rc = query_int(db, "PRAGMA user_version", &version);
	if (rc == SQLITE_OK && version > STORE_SCHEMA_VERSION) {
		(void)snprintf(why, why_size,
			       "tfqd's database %s is of a newer tfqd (schema %d, this one knows "
			       "%d); install that one again, or " LOST,
			       path, version, STORE_SCHEMA_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (rc == SQLITE_OK)
		rc = query_int(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc == SQLITE_OK && version == 0 && tables > 0) {
		(void)snprintf(why, why_size, "%s is a database of another program; move it away",
			       path);
		return -EUCLEAN;
	}
	if (rc == SQLITE_OK)
		rc = query_text(db, "PRAGMA quick_check(1)", found, sizeof(found));
	if (rc != SQLITE_OK) {
		store_schema_explain(why, why_size, "read", db, rc);
		return store_schema_errno(db, rc);
	}
	if (strcmp(found, "ok") != 0) {
		(void)snprintf(why, why_size, "tfqd's database %s is damaged (%s); " LOST, path,
			       found);
		return -EUCLEAN;
	}
	return 0;
}

static int set_up(sqlite3 *db, const char *path, char *why, size_t why_size)
{
	char mode[16] = "";
	int rc;

	rc = query_text(db, "PRAGMA journal_mode = WAL", mode, sizeof(mode));
	if (rc == SQLITE_OK && strcmp(mode, "wal") != 0) {
		(void)snprintf(why, why_size,
			       "tfqd's database %s cannot have a write-ahead log there; set "
			       "state_dir to a local disk",
			       path);
		return -EOPNOTSUPP;
	}
	/* A log that a burst has blown up shrinks again. */
	if (rc == SQLITE_OK) {
		rc = sqlite3_exec(db,
				  "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 8388608; "
				  "PRAGMA cache_size = -512", /* KiB: what is written is small */
				  NULL, NULL, NULL);
	}
	if (rc == SQLITE_OK)
		rc = store_schema_migrate(db, migrations, STORE_SCHEMA_VERSION);
	if (rc != SQLITE_OK) {
		store_schema_explain(why, why_size, "prepare", db, rc);
		return store_schema_errno(db, rc);
	}
	return 0;
}

int store_schema_open(sqlite3 **ret, const char *path, char *why, size_t why_size)
{
	CLEANUP(store_schema_closep) sqlite3 *db = NULL;
	int r;

	r = make_file(path, why, why_size);
	if (r < 0)
		return r;
	r = sqlite3_open_v2(path, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    NULL);
	if (!db)
		return -ENOMEM;
	if (r != SQLITE_OK) {
		store_schema_explain(why, why_size, "open", db, r);
		return store_schema_errno(db, r);
	}
	(void)sqlite3_busy_timeout(db, STORE_BUSY_WRITE_MS);
	r = look_through(db, path, why, why_size);
	if (r < 0)
		return r;
	r = set_up(db, path, why, why_size);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(db);
	return 0;
}
