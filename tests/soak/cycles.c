/* SPDX-License-Identifier: MIT */
/*
 * cycles MODE URL CYCLES STATES SEED - many daemons in one process, at the same states' locks.
 *
 * MODE is s3, dynamodb or both. On each state HOSTS contenders go round and round until CYCLES
 * cycles have been completed in all: take the lock, work, hand it over to another job, work,
 * release. Some are killed in between (what they hold stays), some are cut off from the store.
 * Everything below is tfqd's own: struct lock, the stores, the HTTP.
 *
 * stdout says, a line each, when (CLOCK_BOOTTIME, microseconds), who, and what:
 *   hold JOB DEADLINE   believes to hold it for JOB until then (0: for good); told at each change
 *   end WHY             believes that no longer
 *   idle MAY_APPEAR     nothing of it is in the store; 1: but an unanswered write may still land
 *   cut                 wants to be cut off from the store for a while
 *   crash               is gone
 *   cycle OUTCOME       done, refused, lost or crashed
 *   two-hold NAME       believes to hold it, and so does NAME
 *   stuck PHASE WHY     has not got on for too long
 *   ready               (of all) the store was found good; it may fail from now on
 *   done, swept         (of all) CYCLES are completed; on "calm", each state's lock was taken and
 *                       released once more. Then "end" is waited for.
 *   left FDS HEAP       (of all) descriptors and bytes that are left over when all is freed
 */
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "tests/soak/soak.h"

#define STEP_BOUND_USEC (90 * USEC_PER_SEC)  /* a hand-over, a release; longer than any cut */
#define TURN_BOUND_USEC (120 * USEC_PER_SEC) /* until somebody gets the lock of a state */
#define HEAP_LEFT_MAX   98304                /* OpenSSL and libcurl keep 70 KB for the next time */

static const char *const phase_names[] = { "pause", "want", "work", "pass", "stop", "release" };

struct soak soak;

/* --- small things --------------------------------------------------------------------------- */

_Noreturn void die(const char *what, int r)
{
	(void)fprintf(stderr, "cycles: %s: %s\n", what, strerror(-r));
	exit(EXIT_FAILURE);
}

int checked(const char *what, int r)
{
	if (r < 0)
		die(what, r);
	return r;
}

uint64_t now_usec(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* xorshift64*: which paths are taken follows from the seed, but for the scheduling's part. */
uint64_t chance(uint64_t limit)
{
	soak.random ^= soak.random >> 12;
	soak.random ^= soak.random << 25;
	soak.random ^= soak.random >> 27;
	return (soak.random * UINT64_C(0x2545f4914f6cdd1d) >> 16) % limit;
}

void say(uint64_t now, const char *name, const char *format, ...)
{
	va_list list;

	(void)printf("%" PRIu64 " %s ", now, name);
	va_start(list, format);
	(void)vprintf(format, list);
	va_end(list);
	(void)putchar('\n');
}

void set_timer(sd_event_source *timer, uint64_t usec)
{
	checked("timer", sd_event_source_set_time_relative(timer, usec));
	checked("timer", sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT));
}

/* --- all of them ---------------------------------------------------------------------------- */

void check_over(void)
{
	if (soak.finished < soak.cycles || soak.is_over)
		return;
	for (unsigned i = 0; i < soak.state_count; i++)
		if (soak.states[i].fate != NO_FATE)
			return;
	soak.is_over = true;
	for (unsigned i = 0; i < soak.contender_count; i++)
		if (soak.contenders[i].phase == WANT)
			contender_release(&soak.contenders[i], "refused");
}

void check_done(void)
{
	bool is_done = soak.is_over, is_swept = soak.is_calm;

	for (unsigned i = 0; i < soak.contender_count; i++)
		is_done &= soak.contenders[i].phase == PAUSE;
	for (unsigned i = 0; i < soak.state_count; i++)
		is_swept &= soak.states[i].is_swept;
	if (is_done && !soak.is_done)
		say(now_usec(), "all", "done");
	soak.is_done |= is_done;
	if (is_done && is_swept && !soak.is_swept)
		say(now_usec(), "all", "swept");
	soak.is_swept |= is_done && is_swept;
}

/* The first four: one where all but one host never take over, one of each fate, one of a fair mix.
 */
static void add_states(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct state *state = &soak.states[soak.state_count++];

		state->number = i;
		state->is_cautious = i % 4 == 0;
		state->fate = i == 1 ? KILL : i == 2 ? CUT : NO_FATE;
		state->turn_usec = now_usec();
		(void)snprintf(state->key, sizeof(state->key), "s%u/t.tfstate", i);
		for (unsigned host = 0; host < HOSTS; host++)
			contender_init(&soak.contenders[soak.contender_count++], state, host);
	}
}

static bool is_stuck(const struct contender *contender, uint64_t now)
{
	switch (contender->phase) {
	case PASS:
	case STOP:
	case RELEASE: return now - contender->phase_usec > STEP_BOUND_USEC;
	case WANT:
		return now - contender->phase_usec > TURN_BOUND_USEC &&
		       now - contender->state->turn_usec > TURN_BOUND_USEC;
	case PAUSE:
	case WORK: break;
	}
	return false;
}

static int on_watch(sd_event_source *source, uint64_t usec, void *userdata)
{
	const uint64_t now = now_usec();
	bool has_failed = false;

	(void)usec;
	(void)userdata;

	for (unsigned i = 0; i < soak.contender_count; i++) {
		const struct contender *contender = &soak.contenders[i];

		if (is_stuck(contender, now)) {
			say(now, contender->name, "stuck %s %s", phase_names[contender->phase],
			    lock_error(contender->lock));
			has_failed = true;
		}
	}
	if (has_failed)
		return sd_event_exit(soak.event, EXIT_FAILURE);
	set_timer(source, USEC_PER_SEC);
	return 0;
}

static int on_stdin(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	char text[16] = "";
	const ssize_t len = read(fd, text, sizeof(text) - 1);

	(void)source;
	(void)revents;
	(void)userdata;

	if (len <= 0 || strcmp(text, "end\n") == 0)
		return sd_event_exit(soak.event,
				     len > 0 && soak.is_swept ? EXIT_SUCCESS : EXIT_FAILURE);
	if (strcmp(text, "calm\n") == 0 && soak.is_done) {
		soak.is_calm = true;
		for (unsigned i = 0; i < soak.contender_count; i++)
			checked("timer",
				sd_event_source_set_enabled(soak.contenders[i].doom, SD_EVENT_OFF));
		for (unsigned i = 0; i < soak.state_count; i++)
			set_timer(soak.contenders[(size_t)i * HOSTS].timer, 0);
	}
	return 0;
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!dir)
		die("/proc/self/fd", -errno);
	while (readdir(dir))
		count++;
	(void)closedir(dir);
	return count;
}

static void on_probe(bool is_usable, const char *error, void *userdata)
{
	bool *is_done = userdata;

	*is_done = true;
	if (!is_usable)
		die(error, -ENOTSUP);
}

/* Each host finds out what the store can do, as a daemon does before its first lock there. */
static void probe(unsigned host)
{
	struct contender *contender = &soak.contenders[host];
	CLEANUP(lock_claim_freep) struct lock_claim *claim = NULL;
	const struct lock_claim_words words = { "", "", "", "", "" };
	struct lock_store *store;
	bool is_done = false;

	checked("claim", lock_claim_new(&claim, 1, &words));
	contender_stores(contender, claim);
	store = claim->stores[LOCK_S3];
	if (!store || checked("probe", store->ops->probe(store, on_probe, &is_done)) == 1)
		return;
	while (!is_done)
		checked("loop", sd_event_run(soak.event, UINT64_MAX));
}

static int run(unsigned states)
{
	sd_event_source *watch = NULL, *input = NULL;
	int r;

	checked("loop", sd_event_new(&soak.event));
	for (unsigned i = 0; i < HOSTS; i++) {
		checked("http", http_new(&soak.http[i], soak.event));
		checked("probes", lock_probes_new(&soak.probes[i], soak.event));
	}
	checked("watch",
		sd_event_add_time(soak.event, &watch, CLOCK_BOOTTIME, 0, 1000, on_watch, NULL));
	checked("stdin",
		sd_event_add_io(soak.event, &input, STDIN_FILENO, EPOLLIN, on_stdin, NULL));
	add_states(states);
	for (unsigned i = 0; i < HOSTS; i++)
		probe(i);
	say(now_usec(), "all", "ready");
	for (unsigned i = 0; i < soak.contender_count; i++)
		set_timer(soak.contenders[i].timer, (100 + chance(500)) * USEC_PER_MSEC);

	r = sd_event_loop(soak.event);

	for (unsigned i = 0; i < soak.contender_count; i++)
		contender_clear(&soak.contenders[i]);
	for (unsigned i = 0; i < HOSTS; i++) {
		soak.probes[i] = lock_probes_free(soak.probes[i]);
		soak.http[i] = http_free(soak.http[i]);
	}
	sd_event_source_disable_unref(watch);
	sd_event_source_disable_unref(input);
	soak.event = sd_event_unref(soak.event);
	return r;
}

int main(int argc, char **argv)
{
	uint64_t states = 0;
	unsigned fds;
	size_t heap;
	int r;

	if (argc != 6 || parse_u64(argv[3], UINT32_MAX, &soak.cycles) < 0 ||
	    parse_u64(argv[4], STATES_MAX, &states) < 0 ||
	    parse_u64(argv[5], UINT64_MAX, &soak.random) < 0) {
		(void)fprintf(stderr, "usage: cycles s3|dynamodb|both URL CYCLES STATES SEED\n");
		return EXIT_FAILURE;
	}
	soak.with_s3 = strcmp(argv[1], "dynamodb") != 0;
	soak.with_dynamodb = strcmp(argv[1], "s3") != 0;
	soak.url = argv[2];
	soak.random |= 1; /* not zero */
	(void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	fds = count_fds();
	heap = mallinfo2().uordblks;

	r = run((unsigned)states);

	fds = count_fds() - fds;
	heap = mallinfo2().uordblks - heap;
	say(now_usec(), "all", "left %d %zd", (int)fds, (ssize_t)heap);
	if (fds != 0 || (heap > HEAP_LEFT_MAX && heap <= SSIZE_MAX))
		r = EXIT_FAILURE;
	curl_global_cleanup();
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
