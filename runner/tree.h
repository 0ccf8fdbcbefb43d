/* SPDX-License-Identifier: MIT */
/*
 * The processes below this one. What leaves its session or loses its parent stays below it,
 * because a runner is a subreaper (PR_SET_CHILD_SUBREAPER).
 *
 * Linux lists them in /proc/<pid>/task/<tid>/children if it has CONFIG_PROC_CHILDREN, as those of
 * the distributions do. The number of a direct child stays its own: nobody but us, who have one
 * thread, reaps it. One further down may be reaped by its own parent between being read and being
 * killed; a stranger would have to be given that number in this moment, after all others.
 */
#pragma once

/*
 * Send @signal_number to every direct child, also to those that wait to be reaped.
 * Return: how many there are, or -errno of opening /proc: -ENOENT where it lists none.
 */
int tree_signal_children(int signal_number);

/*
 * Send SIGKILL to every process below this one, one pass. A process that forks meanwhile may get
 * a child past it, and what may not be killed (set-user-ID) or cannot die now (uninterruptible
 * sleep) lives on: so again, until waitpid(2) says ECHILD. Return: how many it has found, those
 * that wait to be reaped included, or -errno of opening /proc.
 */
int tree_kill(void);
