/* SPDX-License-Identifier: MIT */
/*
 * What outlives tfqd: jobs, lines that stand still, locks that may be in a store, and an audit of
 * who did what, in SQLite (WAL, synchronous=FULL).
 *
 * Writes are only noted here; a thread of the store's own carries them out, so that no disk stalls
 * the loop. All that was noted while it wrote the batch before is one transaction (group commit),
 * in the order in which it was noted. Every write has a number; once on_commit() has named that
 * number, or a higher one, it is on disk. What must not be said before (the answer to Submit)
 * waits for that.
 *
 * A batch that fails (disk full, say) is not lost: it stays noted, on_trouble() is called once per
 * failed try, and it is tried again, with back-off from 1 s to 30 s. Until a try succeeds
 * store_trouble() says why; nothing new should be accepted meanwhile. What is on disk has no gaps:
 * should there be no memory to note a write, then neither it nor what follows is ever written,
 * store_trouble() says so until tfqd is started again, and on_commit() names no such number.
 *
 * Records are JSON objects, opaque here. Nothing secret may be in them.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"

#define STORE_SCHEMA_VERSION 1

struct store;

/* Called with the store in a state to be written to, and not to be freed in them. */
struct store_callbacks {
	/* From the loop: every write up to number @number is on disk. */
	void (*on_commit)(uint64_t number, void *userdata);
	/* From the loop: a try to write all up to number @number has failed; it goes on trying. */
	void (*on_trouble)(uint64_t number, const char *why, void *userdata);
};

struct store_job {
	uint64_t id;
	bool is_over;
	uint64_t ended_usec;   /* microseconds since 1970; 0: not yet */
	uint64_t output_bytes; /* of its recording; 0 until it is over */
};

/*
 * Open or make @path (mode 0600); its directory is there, and the caller's. Older schemas are
 * migrated forwards, in one transaction. Nothing is written by the thread before the first turn of
 * the loop. @callbacks must stay. No other descriptor of @path may be closed in this process while
 * the store is open: that would drop its locks.
 * Return: 0; -EUCLEAN for a file that is damaged or no database of tfqd; -EPROTONOSUPPORT for one
 * of a newer tfqd; -ELOOP for a symbolic link; -EPERM if it belongs to another user; -ENOMEM; or
 * another negative errno. Then *@ret_error is a sentence for the administrator: what it is and what
 * to do; the caller's to free; NULL if there was no memory for it.
 */
int store_open(struct store **ret, sd_event *event, const char *path,
	       const struct store_callbacks *callbacks, void *userdata, char **ret_error);

/* Write what is noted, after what the thread is at, one try, and close; no callback is called. What
 * could not be written is lost, and logged. */
struct store *store_free(struct store *store);
DEFINE_FREEP(store);

/* --- writing: each returns the number of the write. Out of memory ends in on_trouble(). ------ */

/* Insert or replace a job. @record is stolen; NULL is taken for out of memory, also of lines. */
uint64_t store_put_job(struct store *store, const struct store_job *job, json_t *record);
uint64_t store_drop_job(struct store *store, uint64_t id);

/* A line that stands still, by its state's identity. @record is stolen. */
uint64_t store_put_line(struct store *store, const char *identity, json_t *record);
uint64_t store_drop_line(struct store *store, const char *identity);

/* A state whose lock may be in its store, written for job @job last. */
uint64_t store_put_lock(struct store *store, const char *identity, uint64_t job);
uint64_t store_drop_lock(struct store *store, const char *identity);

/* One line of the audit: append only. @kind: a word (submit, start, cancel, ...), @by: the uid that
 * asked, or (uid_t)-1 for tfqd itself. */
uint64_t store_add_event(struct store *store, const char *kind, uint64_t job, uid_t by,
			 const char *text);

/* Somebody waits for what is noted by now: it is written at the end of this turn of the loop, and
 * not some milliseconds later. */
void store_hurry(struct store *store);

/* The number of the last write that is on disk. */
uint64_t store_committed(const struct store *store);
/* The number of the last write that was noted. */
uint64_t store_noted(const struct store *store);
/* Why writing fails at present, or NULL: it does not. */
const char *store_trouble(const struct store *store);

/* --- reading: on a connection of its own, in the caller's thread; sees what is on disk ------- */

/* Return: 0 to go on, 1 for enough, or a negative errno to stop with. */
typedef int (*store_job_fn)(const struct store_job *job, const json_t *record, void *userdata);
typedef int (*store_line_fn)(const char *identity, const json_t *record, void *userdata);
typedef int (*store_lock_fn)(const char *identity, uint64_t job, void *userdata);

/* Jobs that are not over, and the @recent newest of those that are; by id, ascending. */
int store_read_jobs(struct store *store, uint64_t recent, store_job_fn fn, void *userdata);
int store_read_lines(struct store *store, store_line_fn fn, void *userdata);
int store_read_locks(struct store *store, store_lock_fn fn, void *userdata);

/*
 * Jobs that are over, below number @before (0: all), that ended between @since_usec and @until_usec
 * (0: without end); the latest first. @fn returns 1 for enough. Return: 0, or a negative errno.
 */
struct store_span {
	uint64_t before, since_usec, until_usec;
};
int store_read_over(struct store *store, const struct store_span *span, store_job_fn fn,
		    void *userdata);

/* Events of the audit. Texts are lent. */
struct store_event {
	uint64_t id, at_usec, job; /* job 0: of none */
	const char *kind, *text;
	uid_t by; /* (uid_t)-1: tfqd itself */
};
typedef int (*store_event_fn)(const struct store_event *event, void *userdata);

/* Those after number @after, in order; @fn returns 1 for enough. Return: 0, or a negative errno. */
int store_read_events(struct store *store, uint64_t after, store_event_fn fn, void *userdata);

/* The number of the last event; 0: none. Return: 0, or a negative errno. */
int store_read_last_event(struct store *store, uint64_t *ret);

/* One job. Return: 0 and its record, the caller's; -ENOENT; or another negative errno. */
int store_read_job(struct store *store, uint64_t id, json_t **ret);

/* The highest id that was ever given to a job, also to dropped ones; 0: none. */
int store_read_last_id(struct store *store, uint64_t *ret);

/*
 * Jobs that are over and have to go, oldest first: those that ended before @before_usec, and the
 * oldest, until the recordings of the others are no more than @keep_bytes. 0: that limit is none.
 * One whose drop is only noted is named again.
 * Return: how many were written to @ret, at most @max, or a negative errno.
 */
int store_read_expired(struct store *store, uint64_t before_usec, uint64_t keep_bytes,
		       uint64_t *ret, size_t max);
