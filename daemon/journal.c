/* SPDX-License-Identifier: MIT */
#include "daemon/journal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <systemd/sd-journal.h>

#include "common/log.h"
#include "common/text.h"

void journal_job(int level, const struct job *job, const char *format, ...)
{
	AUTO_FREE char *message = NULL;
	va_list ap;
	int n;

	if (!log_is_wanted(level))
		return;
	va_start(ap, format);
	n = vasprintf(&message, format, ap);
	va_end(ap);
	if (n < 0) {
		message = NULL;
		return;
	}
	(void)text_printable(message, (size_t)n + 1, message);
	if (!log_goes_to_journal()) {
		log_full(level, 0, "Job %" PRIu64 ": %s", job->id, message);
		return;
	}
	(void)sd_journal_send("MESSAGE=Job %" PRIu64 ": %s", job->id, message, "PRIORITY=%d", level,
			      "TFQ_JOB=%" PRIu64, job->id, "TFQ_STATUS=%s",
			      job_status_name(job->status), "TFQ_STATE=%s", job->backend->name,
			      "TFQ_USER=%s", job->owner.name, "TFQ_UID=%u",
			      (unsigned)job->owner.uid, "TFQ_COMMAND=%s", job->command,
			      "TFQ_LOCK_ID=%s", job->lock_id, "TFQ_EXIT=%d", job->exit_code, NULL);
}
