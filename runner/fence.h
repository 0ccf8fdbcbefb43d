/* SPDX-License-Identifier: MIT */
/*
 * When a terraform must end because the lease of its state's lock may: somebody else may take
 * the lock from the deadline on, so nothing of the job may live by then. Pure: says what is to
 * be done, does nothing; time is an argument.
 *
 *   go ... D - margin - stop_grace: one SIGINT ... D - margin: SIGKILL ... D: all are gone
 *
 * The margin is WIRE_KILL_MARGIN_USEC. CLOCK_BOOTTIME counts suspends but not the pauses of a
 * virtual machine. Where CLOCK_REALTIME says that more time has passed since the deadline was
 * heard of (somebody has put the clock right), it is believed. (aws.md 7.2, 7.3)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A step of CLOCK_REALTIME wakes nobody: it is looked at so often. */
#define FENCE_LOOK_USEC UINT64_C(1000000)

struct fence_time {
	uint64_t boot_usec; /* CLOCK_BOOTTIME */
	uint64_t real_usec; /* CLOCK_REALTIME */
};

struct fence {
	uint64_t deadline_usec; /* CLOCK_BOOTTIME; 0: no lease, nobody is ever killed */
	uint64_t stop_grace_usec;
	struct fence_time heard;      /* when the deadline was */
	bool is_stopping, is_killing; /* what fence_check() has said */
};

enum fence_action {
	FENCE_NOTHING,
	FENCE_STOP, /* one SIGINT; said once */
	FENCE_KILL, /* everything, until nothing is left; for good */
};

/* A job begins under a lease until @deadline_usec; 0: none. */
void fence_begin(struct fence *ret, uint64_t deadline_usec, uint64_t stop_grace_usec,
		 const struct fence_time *now);

/*
 * The lease was renewed. Return: false, and nothing has changed, if that is no later than what is
 * known, if there is no lease, or if the time to kill has come: what is lost stays lost.
 */
bool fence_move(struct fence *fence, uint64_t deadline_usec, const struct fence_time *now);

/* What is to be done at @now. *@ret_next: when to ask again, CLOCK_BOOTTIME; UINT64_MAX: never. */
enum fence_action fence_check(struct fence *fence, const struct fence_time *now,
			      uint64_t *ret_next);

/* When the killing begins, CLOCK_BOOTTIME; 0: never. */
uint64_t fence_kill_usec(const struct fence *fence);

/* Time that is left until then; time since the last deadline was heard of. By the clock that says
 * it is later. */
uint64_t fence_left(const struct fence *fence, const struct fence_time *now);
uint64_t fence_silence(const struct fence *fence, const struct fence_time *now);
