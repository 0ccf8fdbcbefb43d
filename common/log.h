/* SPDX-License-Identifier: MIT */
/* Logging: to the journal with fields, or to stderr when run by hand. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <syslog.h>

/* Detect where stderr goes. Call once, first thing in main(). */
void log_init(int max_level);

/* Change what is logged: a syslog level. */
void log_set_level(int max_level);

/* Would a message at @level be logged? Does it go to the journal, with fields? */
bool log_is_wanted(int level);
bool log_goes_to_journal(void);

/*
 * Log a message at a syslog @level; "%m" prints @error (negative or positive
 * errno, 0 for none).
 *
 * Return: -abs(@error), so that a caller can log and return in one line.
 */
int log_write(int level, int error, const char *file, const char *line, const char *func,
	      const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#define LOG_STR_(x) #x
#define LOG_STR(x)  LOG_STR_(x)
#define log_full(level, error, ...)                                                        \
	log_write((level), (error), "CODE_FILE=" __FILE__, "CODE_LINE=" LOG_STR(__LINE__), \
		  __func__, __VA_ARGS__)

#define log_error(error, ...)   log_full(LOG_ERR, (error), __VA_ARGS__)
#define log_warning(error, ...) log_full(LOG_WARNING, (error), __VA_ARGS__)
#define log_info(...)           (void)log_full(LOG_INFO, 0, __VA_ARGS__)
#define log_debug(error, ...)   log_full(LOG_DEBUG, (error), __VA_ARGS__)
#define log_oom()               log_error(-ENOMEM, "Out of memory")
