/* SPDX-License-Identifier: MIT */
/* What is noted, when it is handed to the store's thread, and what is told of it. */
#include "daemon/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "daemon/store_parts.h"

/* After all else that a turn brings, and after the scheduler, which notes what came of it. */
#define FLUSH_PRIORITY (SD_EVENT_PRIORITY_IDLE + 10)
/* ... but not for ever, however busy the loop is. */
#define FLUSH_LATE_USEC (1 * USEC_PER_MSEC)
/* What nobody waits for: a hand-over wants the processor more. */
#define FLUSH_LAZY_USEC (5 * USEC_PER_MSEC)

#define LOSS                                                                                 \
	"tfqd was out of memory, and what it noted since is not in its database; free some " \
	"memory, then start tfqd again"

/* --- handing over --------------------------------------------------------------------- */

/* Without its sources the store would keep silent for ever: better no tfqd than that. */
static void give_up(struct store *store, int error)
{
	(void)sd_event_exit(store->event, log_error(error, "Cannot have the database written: %m"));
}

static void wake(struct store *store)
{
	int r;

	if (sd_event_source_get_enabled(store->flush, NULL) != 0)
		return; /* it is under way */
	r = sd_event_source_set_enabled(store->flush, SD_EVENT_ONESHOT);
	if (r >= 0)
		r = sd_event_source_set_time_relative(store->flush_late, FLUSH_LATE_USEC);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->flush_late, SD_EVENT_ONESHOT);
	if (r < 0)
		give_up(store, r);
}

/* Not while the thread is busy, or waits for a retry: what is noted goes with the next try. */
static void flush_soon(struct store *store)
{
	if (!store->is_busy && !store->is_failing)
		wake(store);
}

/* From the first lost write on nothing is written: what is on disk has no gaps. */
static uint64_t writable(const struct store *store)
{
	return store->lost ? store->lost - 1 : store->noted;
}

/* What is noted is written in a while, by itself. */
static void flush_later(struct store *store)
{
	int is_on = SD_EVENT_OFF;
	int r;

	if (store->is_busy || store->is_failing ||
	    sd_event_source_get_enabled(store->flush_late, &is_on) > 0)
		return;
	r = sd_event_source_set_time_relative(store->flush_late, FLUSH_LAZY_USEC);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->flush_late, SD_EVENT_ONESHOT);
	if (r < 0)
		give_up(store, r);
}

void store_hurry(struct store *store)
{
	if (writable(store) == store->committed)
		return;
	store->is_hurried = true;
	flush_soon(store);
}

static void hand_over(struct store *store)
{
	if (store->is_busy || writable(store) == store->committed)
		return;

	store->handed_over = writable(store);
	store->is_hurried = false;
	memset(store->buckets, 0, sizeof(store->buckets));
	store->is_busy = true;
	store_writer_start(store->writer, &store->writes);
}

static int on_flush(sd_event_source *source, void *userdata)
{
	struct store *store = userdata;

	(void)source;

	(void)sd_event_source_set_enabled(store->flush, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(store->flush_late, SD_EVENT_OFF);
	if (!store->is_failing)
		hand_over(store);
	if (store->lost && !store->is_loss_told) {
		store->is_loss_told = true;
		store->callbacks->on_trouble(store->noted, LOSS, store->userdata);
	}
	return 0;
}

static int on_flush_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;

	return on_flush(source, userdata);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;

	hand_over(userdata);
	return 0;
}

/* --- what came of it ------------------------------------------------------------------ */

static void on_failure(struct store *store, const char *why)
{
	int r;

	store->is_failing = true;
	store->retry_usec *= 2;
	if (store->retry_usec < STORE_RETRY_MIN_USEC)
		store->retry_usec = STORE_RETRY_MIN_USEC;
	if (store->retry_usec > STORE_RETRY_MAX_USEC)
		store->retry_usec = STORE_RETRY_MAX_USEC;
	(void)snprintf(store->why, sizeof(store->why), "%s; tfqd goes on trying", why);
	r = sd_event_source_set_time_relative(store->retry, store->retry_usec);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->retry, SD_EVENT_ONESHOT);
	if (r < 0)
		give_up(store, r);
	store->callbacks->on_trouble(store->handed_over, store->why, store->userdata);
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct store *store = userdata;
	const char *why;
	eventfd_t count;

	(void)source;
	(void)revents;

	if (eventfd_read(fd, &count) < 0)
		return 0;
	why = store_writer_why(store->writer);
	store->is_busy = false;
	if (why) {
		on_failure(store, why);
		return 0;
	}
	store->is_failing = false;
	store->retry_usec = 0;
	store->committed = store->handed_over;
	if (writable(store) != store->committed)
		store->is_hurried ? flush_soon(store) : flush_later(store);
	store->callbacks->on_commit(store->committed, store->userdata);
	return 0;
}

/* --- noting --------------------------------------------------------------------------- */

static struct store_write *write_free(struct store_write *write)
{
	if (!write)
		return NULL;

	free(write->key);
	free(write->text);
	free(write);
	return NULL;
}

static inline void write_freep(struct store_write **p)
{
	write_free(*p);
}

static struct store_write *write_new(enum store_kind kind, const char *key, const char *text)
{
	CLEANUP(write_freep) struct store_write *write = NULL;

	write = calloc(1, sizeof(*write));
	if (!write)
		return NULL;
	write->kind = kind;
	write->key = key ? strdup(key) : NULL;
	write->text = text ? strdup(text) : NULL;
	if ((key && !write->key) || (text && !write->text))
		return NULL;
	return TAKE_PTR(write);
}

/* A put that the same batch replaces need not be written. Not so before a drop: the store would
 * never hear of that id. */
static void replace_put(struct store *store, struct store_write *write)
{
	struct store_bucket *bucket = &store->buckets[write->job.id % STORE_BUCKETS];
	struct store_write *old;

	LIST_FOREACH(old, bucket, in_bucket)
	{
		if (old->job.id == write->job.id)
			break;
	}
	if (old) {
		LIST_REMOVE(old, in_bucket);
		TAILQ_REMOVE(&store->writes, old, link);
		write_free(old);
	}
	LIST_INSERT_HEAD(bucket, write, in_bucket);
}

/* Take over @write; NULL: there was no memory for it. */
static uint64_t note(struct store *store, struct store_write *write)
{
	store->noted++;
	if (!write && !store->lost) {
		store->lost = store->noted;
		wake(store); /* to tell of it */
	}
	if (!write || store->lost) {
		write_free(write);
		return store->noted;
	}
	flush_later(store);
	if (write->kind == STORE_PUT_JOB)
		replace_put(store, write);
	TAILQ_INSERT_TAIL(&store->writes, write, link);
	return store->noted;
}

/* With a record, which is NULL too if there was no memory for it. */
static struct store_write *write_record(enum store_kind kind, const char *key, json_t *record)
{
	AUTO_FREE char *text = NULL;
	struct store_write *write;

	text = record ? json_dumps(record, JSON_COMPACT) : NULL;
	json_decref(record);
	write = text ? write_new(kind, key, NULL) : NULL;
	if (write)
		write->text = TAKE_PTR(text);
	return write;
}

uint64_t store_put_job(struct store *store, const struct store_job *job, json_t *record)
{
	struct store_write *write = write_record(STORE_PUT_JOB, NULL, record);

	if (write) {
		write->job = *job;
		write->at_usec = job->ended_usec;
	}
	return note(store, write);
}

uint64_t store_drop_job(struct store *store, uint64_t id)
{
	struct store_write *write = write_new(STORE_DROP_JOB, NULL, NULL);

	if (write)
		write->job.id = id;
	return note(store, write);
}

uint64_t store_put_line(struct store *store, const char *identity, json_t *record)
{
	return note(store, write_record(STORE_PUT_LINE, identity, record));
}

uint64_t store_drop_line(struct store *store, const char *identity)
{
	return note(store, write_new(STORE_DROP_LINE, identity, NULL));
}

uint64_t store_put_lock(struct store *store, const char *identity, uint64_t job)
{
	struct store_write *write = write_new(STORE_PUT_LOCK, identity, NULL);

	if (write)
		write->job.id = job;
	return note(store, write);
}

uint64_t store_drop_lock(struct store *store, const char *identity)
{
	return note(store, write_new(STORE_DROP_LOCK, identity, NULL));
}

uint64_t store_add_event(struct store *store, const char *kind, uint64_t job, uid_t by,
			 const char *text)
{
	struct store_write *write = write_new(STORE_ADD_EVENT, kind, text);

	if (write) {
		write->job.id = job;
		write->by = by;
		write->at_usec = clock_usec(CLOCK_REALTIME);
	}
	return note(store, write);
}

uint64_t store_committed(const struct store *store)
{
	return store->committed;
}

uint64_t store_noted(const struct store *store)
{
	return store->noted;
}

const char *store_trouble(const struct store *store)
{
	if (store->lost)
		return LOSS;
	return store->is_failing ? store->why : NULL;
}

/* --- opening and closing -------------------------------------------------------------- */

static int add_sources(struct store *store)
{
	int r;

	r = sd_event_add_defer(store->event, &store->flush, on_flush, store);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->flush, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_priority(store->flush, FLUSH_PRIORITY);
	if (r >= 0)
		r = sd_event_add_time(store->event, &store->flush_late, CLOCK_MONOTONIC, 0, 1,
				      on_flush_late, store);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->flush_late, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(store->event, &store->retry, CLOCK_MONOTONIC, 0, 0, on_retry,
				      store);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->retry, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(store->event, &store->done, store->done_fd, EPOLLIN, on_done,
				    store);
	return r < 0 ? r : 0;
}

static int set_up(struct store *store, const char *path, char *why, size_t why_size)
{
	sqlite3 *db = NULL;
	int r;

	store->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (store->done_fd < 0)
		return -errno;
	r = add_sources(store);
	if (r < 0)
		return r;
	r = store_schema_open(&db, path, why, why_size);
	if (r < 0)
		return r;
	r = store_writer_new(&store->writer, db, store->done_fd, why, why_size);
	if (r < 0)
		return r;
	return store_reader_new(&store->reader, path, why, why_size);
}

int store_open(struct store **ret, sd_event *event, const char *path,
	       const struct store_callbacks *callbacks, void *userdata, char **ret_error)
{
	CLEANUP(store_freep) struct store *store = NULL;
	char why[STORE_WHY_MAX] = "";
	int r;

	assert(ret);
	assert(ret_error);

	*ret_error = NULL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->event = sd_event_ref(event);
	store->callbacks = callbacks;
	store->userdata = userdata;
	store->done_fd = -1;
	TAILQ_INIT(&store->writes);
	r = set_up(store, path, why, sizeof(why));
	if (r < 0) {
		if (!*why) {
			(void)snprintf(why, sizeof(why),
				       "tfqd cannot open its database %s: %s; start tfqd again",
				       path, strerror(-r));
		}
		*ret_error = strdup(why);
		return r;
	}
	*ret = TAKE_PTR(store);
	return 0;
}

struct store *store_free(struct store *store)
{
	const char *why;

	if (!store)
		return NULL;

	sd_event_source_disable_unref(store->retry);
	sd_event_source_disable_unref(store->flush);
	sd_event_source_disable_unref(store->flush_late);
	sd_event_source_disable_unref(store->done);
	why = store->writer ? store_writer_finish(store->writer, &store->writes) : NULL;
	if (why || store->lost)
		log_error(0, "Not all is in the database: %s", why ? why : LOSS);
	store_reader_free(store->reader);
	store_writer_free(store->writer);
	store_writes_free(&store->writes);
	if (store->done_fd >= 0)
		(void)close(store->done_fd);
	sd_event_unref(store->event);
	free(store);
	return NULL;
}
