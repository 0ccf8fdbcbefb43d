/* SPDX-License-Identifier: MIT */
#include "daemon/journal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <systemd/sd-journal.h>

#include "common/log.h"
#include "common/text.h"

#define FIELDS_MAX 16

static const struct {
	int level;
	const char *id;
} kinds[] = {
#define JOURNAL_ROW(name, level, id) [JOURNAL_##name] = { level, id },
	JOURNAL_KINDS(JOURNAL_ROW)
#undef JOURNAL_ROW
};

/* The fields of one message, each "NAME=value". */
struct entry {
	struct iovec fields[FIELDS_MAX];
	size_t count;
};

/* A field that there is no memory for is left out. */
__attribute__((format(printf, 2, 3))) static void add(struct entry *entry, const char *format, ...)
{
	va_list ap;
	char *text;
	int n;

	assert(entry->count < FIELDS_MAX);
	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	(void)text_printable(text, (size_t)n + 1, text);
	entry->fields[entry->count++] = (struct iovec){ .iov_base = text, .iov_len = strlen(text) };
}

static void add_text(struct entry *entry, const char *name, const char *value)
{
	if (value && *value)
		add(entry, "%s=%s", name, value);
}

static void add_owner(struct entry *entry, const struct job_owner *owner)
{
	add_text(entry, "TFQ_USER", owner->name);
	add(entry, "TFQ_UID=%u", (unsigned)owner->uid);
}

static void send_entry(struct entry *entry)
{
	(void)sd_journal_sendv(entry->fields, (int)entry->count);
	for (size_t i = 0; i < entry->count; i++)
		free(entry->fields[i].iov_base);
}

static void begin(struct entry *entry, enum journal_kind kind, const char *before,
		  const char *message)
{
	add(entry, "MESSAGE=%s%s", before, message);
	add(entry, "PRIORITY=%d", kinds[kind].level);
	add(entry, "MESSAGE_ID=%s", kinds[kind].id);
}

/* Return: the sentence, the caller's, or NULL when out of memory. */
__attribute__((format(printf, 1, 0))) static char *compose(const char *format, va_list ap)
{
	char *message;

	return vasprintf(&message, format, ap) < 0 ? NULL : message;
}

void journal_job(enum journal_kind kind, const struct job *job, const char *format, ...)
{
	AUTO_FREE char *message = NULL;
	struct entry entry = { 0 };
	char before[32];
	va_list ap;

	if (!log_is_wanted(kinds[kind].level))
		return;
	va_start(ap, format);
	message = compose(format, ap);
	va_end(ap);
	if (!message)
		return;
	(void)snprintf(before, sizeof(before), "Job %" PRIu64 ": ", job->id);
	if (!log_goes_to_journal()) {
		(void)log_full(kinds[kind].level, 0, "%s%s", before, message);
		return;
	}
	begin(&entry, kind, before, message);
	add(&entry, "TFQ_JOB=%" PRIu64, job->id);
	add_text(&entry, "TFQ_STATUS", job_status_name(job->status));
	add_text(&entry, "TFQ_STATE", job->backend ? job->backend->name : NULL);
	add_owner(&entry, &job->owner);
	add_text(&entry, "TFQ_COMMAND", job->command);
	add_text(&entry, "TFQ_LOCK_ID", job->lock_id);
	if (job->exit_code >= 0)
		add(&entry, "TFQ_EXIT=%d", job->exit_code);
	send_entry(&entry);
}

void journal_tell(enum journal_kind kind, const struct journal_about *about, const char *format,
		  ...)
{
	AUTO_FREE char *message = NULL;
	struct entry entry = { 0 };
	va_list ap;

	if (!log_is_wanted(kinds[kind].level))
		return;
	va_start(ap, format);
	message = compose(format, ap);
	va_end(ap);
	if (!message)
		return;
	if (!log_goes_to_journal()) {
		(void)log_full(kinds[kind].level, 0, "%s", message);
		return;
	}
	begin(&entry, kind, "", message);
	if (about) {
		add_text(&entry, "TFQ_STATE", about->state);
		add_text(&entry, "TFQ_LOCK_ID", about->lock_id);
		if (about->who)
			add_owner(&entry, about->who);
	}
	send_entry(&entry);
}
