/* SPDX-License-Identifier: MIT */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#include "common/cleanup.h"
#include "common/text.h"

/* The only mutable globals of the program: set once by log_init(). */
static int log_max_level = LOG_INFO;
static bool log_to_journal;

/* $JOURNAL_STREAM is "device:inode" of the stderr that systemd gave us; we may have another. */
static bool stderr_is_journal(void)
{
	const char *given = getenv("JOURNAL_STREAM");
	char have[48];
	struct stat st;

	if (!given || fstat(STDERR_FILENO, &st) < 0)
		return false;

	(void)snprintf(have, sizeof(have), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(given, have) == 0;
}

void log_init(int max_level)
{
	log_max_level = max_level;
	log_to_journal = stderr_is_journal();
}

void log_set_level(int max_level)
{
	log_max_level = max_level;
}

bool log_is_wanted(int level)
{
	return level <= log_max_level;
}

bool log_goes_to_journal(void)
{
	return log_to_journal;
}

int log_write(int level, int error, const char *file, const char *line, const char *func,
	      const char *fmt, ...)
{
	AUTO_FREE char *message = NULL;
	const int errnum = error < 0 ? -error : error;
	const int saved_errno = errno;
	va_list ap;
	int n;

	if (level > log_max_level)
		return -errnum;

	errno = errnum; /* for %m */
	va_start(ap, fmt);
	n = vasprintf(&message, fmt, ap);
	va_end(ap);

	if (n >= 0) /* a path or a name in it may be anybody's */
		(void)text_printable(message, (size_t)n + 1, message);
	if (n < 0) {
		message = NULL;
		(void)fprintf(stderr, "Out of memory while logging\n");
	} else if (log_to_journal) {
		(void)sd_journal_send_with_location(file, line, func, "MESSAGE=%s", message,
						    "PRIORITY=%d", level, "ERRNO=%d", errnum, NULL);
	} else {
		(void)fprintf(stderr, "%s\n", message);
	}

	errno = saved_errno;
	return -errnum;
}
