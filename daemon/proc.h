/* SPDX-License-Identifier: MIT */
/* Processes that are not ours to wait for, seen through proc(5). */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* When process @pid was started, in clock ticks since boot: with the number it tells one process
 * from all others of this boot. 0: there is none, or it has ended. */
uint64_t proc_start(pid_t pid);

/* A process of the session that @session was the leader of; 0: none. */
pid_t proc_survivor(pid_t session);

/* A descriptor that becomes readable when process @pid, started at @start, has ended. Return: it,
 * the caller's; -ESRCH if it has; or another negative errno. */
int proc_watch(pid_t pid, uint64_t start);
