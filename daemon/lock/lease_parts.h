/* SPDX-License-Identifier: MIT */
/* Shared by lease.c, which says what to send, and lease_answer.c, which says what came of it. */
#pragma once

#include "daemon/lock/lease.h"

/* Somewhere in @usec +- 1/@part. */
uint64_t lease_jitter(struct lease *lease, uint64_t usec, uint64_t part);

/* A wait that doubles with each failure in a row, between a half and the whole of it at random. */
uint64_t lease_back_off(struct lease *lease, uint64_t base, uint64_t max);

/*
 * The version that @nonce wrote is known to be, or to have been, in the store: what is
 * conditional on an earlier one of ours cannot land any more. A CREATE can, once there is nothing.
 */
void lease_close_writes(struct lease *lease, const char *nonce);
