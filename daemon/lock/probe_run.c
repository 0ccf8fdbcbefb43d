/* SPDX-License-Identifier: MIT */
#include "daemon/lock/probe_run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/parse.h"
#include "common/text.h"
#include "daemon/lock/lockinfo.h"

#define PAUSE_USEC (250 * USEC_PER_MSEC) /* before the second try; then twice that, ... */
#define ETAG_MAX   128
#define NO_ETAG    "\"00000000000000000000000000000000\"" /* of no object here */

/* In this order; each is one request, but for the race. */
enum step {
	STEP_CREATE,
	STEP_CREATE_AGAIN, /* must be refused */
	STEP_SWAP_WRONG,   /* with another's ETag: must be refused */
	STEP_SWAP,
	STEP_DELETE_STALE, /* with the ETag of before: is refused where that is looked at */
	STEP_DELETE,
	STEP_DELETE_PLAIN, /* where no condition is taken */
	STEP_RECREATE,     /* a lock is taken where one was released */
	STEP_RACE,         /* several at the same moment: exactly one wins */
	STEP_CLEAN_FIRST,  /* of the one object, and of the race's */
	STEP_CLEAN_SECOND,
};

struct racer {
	struct probe_run *run;
	struct aws_transfer *transfer;
};

/* What an answer says of the object. */
enum outcome { OUT_DONE, OUT_REFUSED, OUT_DENIED, OUT_UNCLEAR };

struct probe_run {
	struct s3_bucket *bucket;
	char *key; /* of the state */
	sd_event_source *pause;
	probe_run_done_fn done;
	void *userdata;

	enum step step;
	unsigned tries;
	char *path[2];                          /* scratch objects: of the steps, and of the race */
	bool is_dirty[2];                       /* may be there */
	char first[ETAG_MAX], second[ETAG_MAX]; /* versions of the first */
	struct aws_transfer *transfer;
	struct racer racers[PROBE_RACERS];
	unsigned racing, wins, bodies;
	bool is_unclear; /* not all of the race were told how it ended */

	struct probe_traits traits;
	enum probe_verdict verdict;
	bool is_again; /* to be tried once more */
	char why[LOCK_ERROR_MAX];
};

static void go(struct probe_run *run, enum step step);

/* --- verdicts -------------------------------------------------------------------------------- */

static __attribute__((format(printf, 3, 4))) void end(struct probe_run *run,
						      enum probe_verdict verdict, const char *fmt,
						      ...)
{
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(run->why, sizeof(run->why), fmt, args) >= (int)sizeof(run->why))
		memcpy(run->why + sizeof(run->why) - 4, "...", 4);
	va_end(args);
	run->verdict = verdict;
	run->is_again = verdict == PROBE_SILENT && run->tries < PROBE_TRIES;
	go(run, STEP_CLEAN_FIRST);
}

static void end_bad(struct probe_run *run, const char *fault)
{
	end(run, PROBE_BAD,
	    "the store at %s %s, so there is no lock in it that anybody could rely on; keep the "
	    "lock in a DynamoDB table (dynamodb_table), or the state in a store that honours "
	    "conditional writes (AWS S3, current MinIO or Ceph)",
	    run->bucket->name, fault);
}

static void end_unclear(struct probe_run *run, const char *why)
{
	end(run, PROBE_SILENT, "cannot try out whether the store at %s can keep a lock: %s",
	    run->bucket->name, *why ? why : "it does not answer as S3 does");
}

/* A refusal may be our own success, come back twice: so not at the first time. */
static void end_bad_at_last(struct probe_run *run, const char *fault)
{
	if (run->tries < PROBE_TRIES)
		end_unclear(run, fault);
	else
		end_bad(run, fault);
}

static void end_denied(struct probe_run *run, const struct aws_answer *answer, const char *rights)
{
	if (answer->http->status == 403) {
		end(run, PROBE_DENIED,
		    "cannot try out whether the store at %s can keep a lock: these credentials "
		    "lack the right %s on %.300s.tfq-probe-*, or are not valid (%.200s)",
		    run->bucket->name, rights, run->key, answer->why);
	} else {
		end(run, PROBE_DENIED,
		    "cannot try out whether the store at %s can keep a lock: %.400s",
		    run->bucket->name, answer->why);
	}
}

/* --- requests -------------------------------------------------------------------------------- */

/* New scratch objects, of which nothing from before can land. */
static int new_paths(struct probe_run *run)
{
	/* What stands behind the key must fit too. */
	char cut[PROBE_KEY_MAX - sizeof(".tfq-probe-a") - LOCKINFO_NONCE_LEN];
	char nonce[LOCKINFO_NONCE_LEN];
	unsigned char random[16];
	int r = 0;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	lockinfo_nonce(nonce, random);
	(void)text_printable(cut, sizeof(cut), run->key);
	for (int i = 0; i < 2 && r >= 0; i++) {
		AUTO_FREE char *key = NULL;

		free(TAKE_PTR(run->path[i]));
		if (asprintf(&key, "%s.tfq-probe-%s%c", cut, nonce, 'a' + i) < 0) {
			key = NULL;
			return -ENOMEM;
		}
		r = s3_bucket_path(&run->path[i], run->bucket, key);
	}
	return r;
}

/* Return: @etag, or its copy without quotes in @buf, as the store wants it. */
static const char *form(const struct probe_run *run, char buf[static ETAG_MAX], const char *etag)
{
	const size_t len = strlen(etag);

	if (!run->traits.etag_unquoted || len < 3 || etag[0] != '"' || etag[len - 1] != '"')
		return etag;
	memcpy(buf, etag + 1, len - 2);
	buf[len - 2] = '\0';
	return buf;
}

static int send(struct probe_run *run, struct aws_transfer **ret, struct s3_request *request,
		unsigned object, aws_done_fn done, void *userdata)
{
	char body[128];

	request->path = run->path[object];
	if (strcmp(request->method, "PUT") == 0) { /* no two alike: their ETags would be */
		(void)snprintf(body, sizeof(body),
			       "{\"ID\":\"tfqd-probe-%u\",\"Info\":\"tfqd tries this store out; "
			       "it may be deleted\"}",
			       ++run->bodies);
		request->body = body;
		run->is_dirty[object] = true;
	} else {
		request->fresh = !request->if_match;
	}
	return s3_bucket_send(ret, run->bucket, request, done, userdata);
}

static void on_step(const struct aws_answer *answer, void *userdata);
static void on_racer(const struct aws_answer *answer, void *userdata);

static int send_step(struct probe_run *run)
{
	struct s3_request request = { .method = "PUT" };
	char buf[ETAG_MAX];

	switch (run->step) {
	case STEP_CREATE:
	case STEP_CREATE_AGAIN:
	case STEP_RECREATE:
	case STEP_RACE: request.if_none_match = "*"; break;
	case STEP_SWAP_WRONG: request.if_match = form(run, buf, NO_ETAG); break;
	case STEP_SWAP: request.if_match = form(run, buf, run->first); break;
	case STEP_DELETE_STALE:
		request.method = "DELETE";
		request.if_match = form(run, buf, run->first);
		break;
	case STEP_DELETE:
		request.method = "DELETE";
		request.if_match = form(run, buf, run->second);
		break;
	case STEP_DELETE_PLAIN:
	case STEP_CLEAN_FIRST:
	case STEP_CLEAN_SECOND: request.method = "DELETE"; break;
	}
	if (run->step != STEP_RACE)
		return send(run, &run->transfer, &request, run->step == STEP_CLEAN_SECOND, on_step,
			    run);
	run->racing = run->wins = 0;
	run->is_unclear = false;
	for (unsigned i = 0; i < PROBE_RACERS; i++) {
		if (send(run, &run->racers[i].transfer, &request, 1, on_racer, &run->racers[i]) < 0)
			run->is_unclear = true;
		else
			run->racing++;
	}
	return run->racing > 0 ? 0 : -ENOMEM;
}

static void finish(struct probe_run *run)
{
	if (run->is_again) {
		(void)sd_event_source_set_time_relative(run->pause, PAUSE_USEC << (run->tries - 1));
		(void)sd_event_source_set_enabled(run->pause, SD_EVENT_ONESHOT);
		return;
	}
	run->done(run, run->verdict, &run->traits, run->why, run->userdata);
}

static void go(struct probe_run *run, enum step step)
{
	run->step = step;
	if (step == STEP_CLEAN_FIRST && !run->is_dirty[0])
		run->step = STEP_CLEAN_SECOND;
	if (run->step == STEP_CLEAN_SECOND && !run->is_dirty[1]) {
		finish(run);
		return;
	}
	if (send_step(run) >= 0)
		return;
	if (run->step < STEP_CLEAN_FIRST)
		end_unclear(run, "out of memory");
	else if (run->step == STEP_CLEAN_FIRST)
		go(run, STEP_CLEAN_SECOND);
	else
		finish(run);
}

/* --- answers --------------------------------------------------------------------------------- */

static enum outcome outcome_of(const struct aws_answer *answer)
{
	const int status = answer->http->status;

	/* S3 answers these without a body; whoever sends one is somebody else. */
	if (answer->result == AWS_DONE)
		return status <= 204 && answer->http->body_len == 0 ? OUT_DONE : OUT_UNCLEAR;
	if (answer->result != AWS_REFUSED)
		return OUT_UNCLEAR;
	if (strcmp(answer->error.code, "NoSuchBucket") == 0)
		return OUT_DENIED;
	return status == 412 || status == 409 || status == 404 ? OUT_REFUSED : OUT_DENIED;
}

/* A version that a condition can be built on. Return: false, and the run is ended. */
static bool take_etag(struct probe_run *run, char ret[static ETAG_MAX],
		      const struct aws_answer *answer)
{
	const char *etag = answer->http->etag;
	char clean[HTTP_HEADER_MAX];

	(void)text_printable(clean, sizeof(clean), etag);
	if (*etag && strncmp(etag, "W/", 2) != 0 && strlen(etag) < ETAG_MAX &&
	    strcmp(clean, etag) == 0) {
		memcpy(ret, etag, strlen(etag) + 1);
		return true;
	}
	end_bad(run, "answers a write without a usable ETag");
	return false;
}

static void after_create(struct probe_run *run, enum outcome outcome,
			 const struct aws_answer *answer)
{
	switch (run->step) {
	case STEP_CREATE:
		if (outcome == OUT_REFUSED)
			end_bad_at_last(run, "refuses to create an object that is not there");
		else if (take_etag(run, run->first, answer))
			go(run, STEP_CREATE_AGAIN);
		return;
	case STEP_CREATE_AGAIN:
		if (outcome == OUT_REFUSED)
			go(run, STEP_SWAP_WRONG);
		else
			end_bad(run, "ignores If-None-Match");
		return;
	default: /* STEP_RECREATE */
		if (outcome == OUT_DONE)
			go(run, STEP_RACE);
		else
			end_bad_at_last(run, "does not create an object again that was deleted (in "
					     "a versioned bucket)");
		return;
	}
}

static void after_swap(struct probe_run *run, enum outcome outcome, const struct aws_answer *answer)
{
	if (run->step == STEP_SWAP_WRONG) {
		if (outcome == OUT_REFUSED)
			go(run, STEP_SWAP);
		else
			end_bad(run, "ignores If-Match");
	} else if (outcome == OUT_DONE) {
		if (!take_etag(run, run->second, answer))
			return;
		if (strcmp(run->first, run->second) != 0)
			go(run, STEP_DELETE_STALE);
		else
			end_bad(run, "gives different objects the same ETag");
	} else if (!run->traits.etag_unquoted) {
		run->traits.etag_unquoted = true;
		go(run, STEP_SWAP);
	} else {
		run->traits.etag_unquoted = false;
		end_bad_at_last(run, "refuses If-Match with its own ETag");
	}
}

static void after_delete(struct probe_run *run, enum outcome outcome,
			 const struct aws_answer *answer)
{
	const bool is_gone = outcome == OUT_DONE || answer->http->status == 404;

	if (run->step == STEP_DELETE_STALE) {
		run->traits.delete = outcome == OUT_DONE      ? PROBE_DELETE_IGNORES
				     : outcome == OUT_REFUSED ? PROBE_DELETE_CONDITIONAL
							      : PROBE_DELETE_REFUSES;
		go(run, outcome == OUT_DONE      ? STEP_RECREATE
			: outcome == OUT_REFUSED ? STEP_DELETE
						 : STEP_DELETE_PLAIN);
	} else if (run->step == STEP_DELETE && !is_gone) {
		run->traits.delete = PROBE_DELETE_REFUSES;
		go(run, STEP_DELETE_PLAIN);
	} else if (!is_gone) {
		end_denied(run, answer, "s3:DeleteObject");
	} else {
		run->is_dirty[0] = false;
		go(run, STEP_RECREATE);
	}
}

/* May a refusal that is none of the condition's be taken as one? */
static bool is_denied(const struct probe_run *run, const struct aws_answer *answer)
{
	if (run->step == STEP_DELETE_STALE || run->step == STEP_DELETE)
		return answer->http->status == 403;
	return true;
}

static void judge(struct probe_run *run, const struct aws_answer *answer)
{
	const enum outcome outcome = outcome_of(answer);
	const bool creates = run->step == STEP_CREATE || run->step == STEP_CREATE_AGAIN ||
			     run->step == STEP_RECREATE;
	const bool swaps = run->step == STEP_SWAP_WRONG || run->step == STEP_SWAP;

	if (outcome == OUT_UNCLEAR)
		end_unclear(run, answer->why);
	else if (outcome == OUT_DENIED && (creates || swaps) && answer->http->status == 501)
		end_bad(run, creates ? "knows no If-None-Match" : "knows no If-Match");
	else if (outcome == OUT_DENIED && is_denied(run, answer)) {
		end_denied(run, answer,
			   creates ? "s3:PutObject"
			   : swaps ? "s3:PutObject or s3:GetObject"
				   : "s3:DeleteObject");
	} else if (creates) {
		after_create(run, outcome, answer);
	} else if (swaps) {
		after_swap(run, outcome, answer);
	} else {
		after_delete(run, outcome, answer);
	}
}

static void on_step(const struct aws_answer *answer, void *userdata)
{
	struct probe_run *run = userdata;

	run->transfer = NULL;
	if (run->step == STEP_CLEAN_FIRST) {
		go(run, STEP_CLEAN_SECOND);
	} else if (run->step == STEP_CLEAN_SECOND) {
		finish(run);
	} else {
		judge(run, answer);
	}
}

static void on_racer(const struct aws_answer *answer, void *userdata)
{
	struct racer *racer = userdata;
	struct probe_run *run = racer->run;
	const enum outcome outcome = outcome_of(answer);

	racer->transfer = NULL;
	run->racing--;
	run->wins += outcome == OUT_DONE;
	if (outcome == OUT_UNCLEAR || outcome == OUT_DENIED)
		run->is_unclear = true;
	if (run->racing > 0)
		return;
	if (run->wins > 1)
		end_bad(run, "lets several win who create an object at the same moment");
	else if (run->is_unclear || run->wins == 0) {
		end_unclear(run, "of several who create an object at the same moment, not all "
				 "were told who won");
	} else {
		end(run, PROBE_GOOD, "%s", "");
	}
}

/* --- a run ----------------------------------------------------------------------------------- */

static int on_pause(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct probe_run *run = userdata;

	(void)source;
	(void)usec;

	run->tries++;
	run->is_dirty[0] = run->is_dirty[1] = false;
	run->traits = (struct probe_traits){ 0 };
	if (new_paths(run) < 0)
		end_unclear(run, "out of memory");
	else
		go(run, STEP_CREATE);
	return 0;
}

int probe_run_new(struct probe_run **ret, sd_event *event, struct s3_bucket *bucket,
		  const char *key, probe_run_done_fn done, void *userdata)
{
	CLEANUP(probe_run_freep) struct probe_run *run = NULL;
	int r;

	run = calloc(1, sizeof(*run));
	if (!run)
		return -ENOMEM;
	run->bucket = s3_bucket_ref(bucket);
	run->done = done;
	run->userdata = userdata;
	for (unsigned i = 0; i < PROBE_RACERS; i++)
		run->racers[i].run = run;
	r = text_replace(&run->key, key);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(event, &run->pause, CLOCK_MONOTONIC, 0, 1, on_pause, run);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(run);
	return 0;
}

struct probe_run *probe_run_free(struct probe_run *run)
{
	if (!run)
		return NULL;
	aws_cancel(run->transfer);
	for (unsigned i = 0; i < PROBE_RACERS; i++)
		aws_cancel(run->racers[i].transfer);
	sd_event_source_disable_unref(run->pause);
	s3_bucket_unref(run->bucket);
	free(run->key);
	free(run->path[0]);
	free(run->path[1]);
	free(run);
	return NULL;
}
