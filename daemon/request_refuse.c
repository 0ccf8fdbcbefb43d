/* SPDX-License-Identifier: MIT */
/* Who was told no: the answer, the log, the audit. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/wire.h"
#include "daemon/journal.h"
#include "daemon/request_parts.h"

#define REFUSED_MAX 60 /* of one user in a minute are written down */

/* The user's counter, or else the one that has rested longest. */
static struct request_refused *counter_of(struct request_context *context, uid_t uid)
{
	struct request_refused *oldest = &context->refused[0];

	for (size_t i = 0; i < REQUEST_REFUSED_USERS; i++) {
		struct request_refused *refused = &context->refused[i];

		if (refused->since_usec > 0 && refused->uid == uid)
			return refused;
		if (refused->since_usec < oldest->since_usec)
			oldest = refused;
	}
	*oldest = (struct request_refused){ .uid = uid };
	return oldest;
}

/* Return: how many it is within a minute. */
static unsigned count_refused(struct request_context *context, uid_t uid)
{
	struct request_refused *refused = counter_of(context, uid);
	const uint64_t now = clock_usec(CLOCK_BOOTTIME);

	if (refused->since_usec == 0 || now - refused->since_usec >= USEC_PER_MIN) {
		refused->since_usec = now;
		refused->count = 0;
	}
	return ++refused->count;
}

static void write_down(const struct call *call, const struct job *job, const char *reason)
{
	const char *name = strrchr(call->method, '.') + 1;
	const unsigned count = count_refused(call->context, call->peer->owner.uid);
	char text[WIRE_TEXT_MAX + 128];

	if (count > REFUSED_MAX)
		return;
	(void)snprintf(text, sizeof(text), "%s: %s%s", name, reason,
		       count == REFUSED_MAX ? " (further ones of this minute are not listed)" : "");
	scheduler_audit(call->context->scheduler, "refused", job, call->peer->owner.uid, text);
	journal_tell(JOURNAL_REFUSED, &(struct journal_about){ .who = &call->peer->owner },
		     "Refused %s (UID %u, PID %d): %s", call->peer->owner.name,
		     (unsigned)call->peer->owner.uid, (int)call->peer->owner.pid, text);
}

void request_refuse(const struct call *call, const struct job *job, const char *format, ...)
{
	char reason[WIRE_TEXT_MAX];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(reason, sizeof(reason), format, ap);
	va_end(ap);
	(void)text_printable(reason, sizeof(reason), reason);
	write_down(call, job, reason);
	peer_send_error(call->peer, WIRE_E_NOT_ALLOWED, "%s", reason);
}
