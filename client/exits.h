/* SPDX-License-Identifier: MIT */
/* What tfq's exit codes mean. A job's own code is passed through; these are tfq's. */
#pragma once

enum {
	EXIT_USAGE = 64,       /* sysexits: EX_USAGE */
	EXIT_NO_DAEMON = 69,   /* EX_UNAVAILABLE */
	EXIT_BUSY = 75,        /* EX_TEMPFAIL: --no-wait, and it would have had to */
	EXIT_NOT_ALLOWED = 77, /* EX_NOPERM */
	EXIT_BAD_STATE = 78,   /* EX_CONFIG: the state cannot be told, or has no lock */
	EXIT_TIMED_OUT = 124,  /* timeout(1) */
	EXIT_OURS = 125,       /* tfq or tfqd failed, or the job never ran */
	EXIT_NOT_EXEC = 126,   /* shells */
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNAL = 128, /* and the signal's number */
};
