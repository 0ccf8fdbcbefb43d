/* SPDX-License-Identifier: MIT */
/* What a process does between fork and exec. */
#pragma once

/* Every signal as it is by default, none blocked. Only system calls: fit for a child of a process
 * with threads. */
void process_reset_signals(void);
