/* SPDX-License-Identifier: MIT */
/*
 * The fence (fence.h) put to work. It needs no tfqd: it is for when there is none, or when there
 * is no way to the store. What is done comes before what is said of it, because the disk that
 * the recording is on may hang.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "runner/runner_parts.h"
#include "runner/tree.h"

/* Before terraform's exit and its output. */
#define FENCE_PRIORITY (SD_EVENT_PRIORITY_IMPORTANT - 10)

static struct fence_time read_clocks(void)
{
	return (struct fence_time){
		.boot_usec = clock_usec(CLOCK_BOOTTIME),
		.real_usec = clock_usec(CLOCK_REALTIME),
	};
}

__attribute__((format(printf, 2, 3))) static void note(struct runner *runner, const char *format,
						       ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	runner_note(runner, text);
}

/* To whole seconds: it is for people. @buf as parse_format_usec() wants it. */
static const char *in_words(char *buf, uint64_t usec)
{
	const uint64_t seconds = (usec + USEC_PER_SEC / 2) / USEC_PER_SEC;

	return parse_format_usec(buf, (seconds > 0 ? seconds : 1) * USEC_PER_SEC);
}

static void stop(struct runner *runner, const struct fence_time *now)
{
	char silence[32], left[32];
	bool is_sent;

	if (runner->is_exited)
		return; /* what it has left behind is being ended as it is */
	is_sent = runner_interrupt(runner, 1);
	runner->is_fenced = runner->is_fenced || is_sent;
	note(runner,
	     "tfqd has not renewed the lease of the state's lock for %s; terraform %s; it will be "
	     "killed in %s if it has not ended and the lease is not renewed by then, because "
	     "somebody else may take the lock after that",
	     in_words(silence, fence_silence(&runner->fence, now)),
	     is_sent ? "is asked to stop" : "was asked to stop before",
	     in_words(left, fence_left(&runner->fence, now)));
}

static void end_all(struct runner *runner, const struct fence_time *now)
{
	char silence[32];

	runner->is_fenced = true;
	runner_kill_all(runner);
	note(runner,
	     "tfqd has not renewed the lease of the state's lock for %s; terraform and all that it "
	     "started are killed, before somebody else may take the lock; what it did last may be "
	     "missing in the state: look at a plan before the next apply",
	     in_words(silence, fence_silence(&runner->fence, now)));
}

static void look(struct runner *runner)
{
	const struct fence_time now = read_clocks();
	uint64_t next;

	switch (fence_check(&runner->fence, &now, &next)) {
	case FENCE_NOTHING: break;
	case FENCE_STOP: stop(runner, &now); break;
	case FENCE_KILL: end_all(runner, &now); return; /* and it goes on by itself */
	}
	(void)sd_event_source_set_time(runner->fence_timer, next);
	(void)sd_event_source_set_enabled(runner->fence_timer, SD_EVENT_ONESHOT);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;

	look(userdata);
	return 0;
}

int runner_fence_begin(struct runner *runner, uint64_t deadline_usec, uint64_t stop_grace_usec)
{
	const struct fence_time now = read_clocks();
	uint64_t next;
	int r;

	fence_begin(&runner->fence, deadline_usec, stop_grace_usec, &now);
	if (deadline_usec == 0)
		return 0;
	r = tree_signal_children(0); /* nobody hears that: could they be found? */
	if (r < 0)
		return r == -ENOENT ? -EOPNOTSUPP : r;
	if (fence_check(&runner->fence, &now, &next) != FENCE_NOTHING)
		return -ETIME;
	r = sd_event_add_time(runner->event, &runner->fence_timer, CLOCK_BOOTTIME, next,
			      USEC_PER_MSEC, on_time, runner);
	return r < 0 ? r : sd_event_source_set_priority(runner->fence_timer, FENCE_PRIORITY);
}

void runner_fence_move(struct runner *runner, uint64_t deadline_usec)
{
	const struct fence_time now = read_clocks();

	if (!runner->fence_timer || !fence_move(&runner->fence, deadline_usec, &now))
		return;
	if (runner->fence.is_stopping && !runner->is_reprieved && !runner->is_exited) {
		runner->is_reprieved = true;
		note(runner, "the lease of the state's lock is renewed again: terraform, which was "
			     "asked to stop, has more time for that");
	}
	look(runner);
}

void runner_fence_end(struct runner *runner)
{
	runner->fence_timer = sd_event_source_disable_unref(runner->fence_timer);
}
