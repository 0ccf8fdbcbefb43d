/* SPDX-License-Identifier: MIT */
#include "common/process.h"

#include <signal.h>
#include <stddef.h>

void process_reset_signals(void)
{
	sigset_t none;

	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		(void)signal(signal_number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}
