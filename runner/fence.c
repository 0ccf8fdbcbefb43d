/* SPDX-License-Identifier: MIT */
#include "runner/fence.h"

#include "common/wire.h"

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

uint64_t fence_silence(const struct fence *fence, const struct fence_time *now)
{
	const uint64_t boot = minus(now->boot_usec, fence->heard.boot_usec);
	const uint64_t real = minus(now->real_usec, fence->heard.real_usec);

	return boot > real ? boot : real;
}

/* On CLOCK_BOOTTIME, as late as any clock says that it is. */
static uint64_t latest(const struct fence *fence, const struct fence_time *now)
{
	return fence->heard.boot_usec + fence_silence(fence, now);
}

uint64_t fence_kill_usec(const struct fence *fence)
{
	if (fence->deadline_usec == 0)
		return 0;
	/* 0 would mean never. */
	return fence->deadline_usec > WIRE_KILL_MARGIN_USEC
		       ? fence->deadline_usec - WIRE_KILL_MARGIN_USEC
		       : 1;
}

uint64_t fence_left(const struct fence *fence, const struct fence_time *now)
{
	return minus(fence_kill_usec(fence), latest(fence, now));
}

void fence_begin(struct fence *ret, uint64_t deadline_usec, uint64_t stop_grace_usec,
		 const struct fence_time *now)
{
	*ret = (struct fence){
		.deadline_usec = deadline_usec,
		.stop_grace_usec = stop_grace_usec,
		.heard = *now,
	};
}

bool fence_move(struct fence *fence, uint64_t deadline_usec, const struct fence_time *now)
{
	if (fence->deadline_usec == 0 || deadline_usec <= fence->deadline_usec ||
	    fence->is_killing || fence_left(fence, now) == 0)
		return false;
	fence->deadline_usec = deadline_usec;
	fence->heard = *now;
	return true;
}

enum fence_action fence_check(struct fence *fence, const struct fence_time *now, uint64_t *ret_next)
{
	const uint64_t left = fence_left(fence, now);
	enum fence_action action = FENCE_NOTHING;
	uint64_t wait = left;

	*ret_next = UINT64_MAX;
	if (fence->deadline_usec == 0)
		return FENCE_NOTHING;
	if (fence->is_killing || left == 0) {
		fence->is_killing = true;
		return FENCE_KILL;
	}
	if (!fence->is_stopping) {
		wait = minus(left, fence->stop_grace_usec);
		if (wait == 0) {
			fence->is_stopping = true;
			action = FENCE_STOP;
			wait = left;
		}
	}
	*ret_next = now->boot_usec + (wait < FENCE_LOOK_USEC ? wait : FENCE_LOOK_USEC);
	return action;
}
