/* SPDX-License-Identifier: MIT */
#include "client/waiting.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cells.h"
#include "client/print.h"
#include "client/view.h"
#include "common/clock.h"

/* 2nd, 3rd, 11th */
static const char *ordinal(uint64_t n)
{
	if (n % 100 >= 11 && n % 100 <= 13)
		return "th";
	switch (n % 10) {
	case 1: return "st";
	case 2: return "nd";
	case 3: return "rd";
	default: return "th";
	}
}

/* Who it waits for: a job here, or a holder elsewhere. "" if nobody is known. @ran: for how long
 * that one has run. */
static void describe_cause(char *buf, size_t size, const json_t *job, const char *ran)
{
	const json_t *ahead = json_object_get(job, "ahead"),
		     *holder = json_object_get(job, "holder");
	char who[128], command[128], reason[256], since[64], id[64];

	buf[0] = '\0';
	if (holder) {
		(void)print_text(who, sizeof(who), holder, "who");
		(void)print_text(since, sizeof(since), holder, "since");
		(void)print_text(id, sizeof(id), holder, "id");
		if (!*who && json_object_get(job, "message"))
			return; /* that one says more */
		(void)snprintf(buf, size, ": locked by %s%s%s, lock ID %s%s",
			       *who ? who : "somebody", *since ? " since " : "", since, id,
			       json_is_true(json_object_get(holder, "is_tfqd")) ? " (another tfqd)"
										: "");
	} else if (ahead) {
		(void)print_text(reason, sizeof(reason), ahead, "reason");
		(void)snprintf(buf, size, ": %s #%" PRIu64 " %s%s%s%s%s%s",
			       print_text(who, sizeof(who), ahead, "user"),
			       print_number(ahead, "id"),
			       print_text(command, sizeof(command), ahead, "command"),
			       *ran ? ", " : "", ran, *reason ? ", \"" : "", reason,
			       *reason ? "\"" : "");
	}
}

/* @eta: when its turn may come, "" if that is not to be told. */
static void describe(char *buf, size_t size, const json_t *job, const char *ran, const char *eta)
{
	const uint64_t position = print_number(job, "position"), of = print_number(job, "of");
	char state[256], cause[512], message[1024];

	describe_cause(cause, sizeof(cause), job, ran);
	(void)print_text(message, sizeof(message), job, "message");
	(void)snprintf(buf, size,
		       "tfq: #%" PRIu64 " queued on %s (%" PRIu64 "%s of %" PRIu64 "%s%s)%s%s%s",
		       print_number(job, "id"), print_text(state, sizeof(state), job, "state"),
		       position, ordinal(position), of, *eta ? ", " : "", eta, cause,
		       *message ? "; " : "", message);
}

/* Is there anything that a person should hear of? Alone, first, and nobody in the way: no. */
static bool is_worth_it(const json_t *job)
{
	return print_number(job, "position") > 1 || json_object_get(job, "holder") ||
	       json_object_get(job, "ahead") || json_object_get(job, "message");
}

static unsigned terminal_width(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 8 ? size.ws_col : 80;
}

/* Over the one before, cut to the terminal's width. */
static void draw(struct waiting *waiting, const char *line)
{
	char cut[sizeof(waiting->last)];

	(void)fprintf(stderr, "\r\033[K%s",
		      cells_cut(cut, sizeof(cut), line, terminal_width() - 1, false));
	(void)fflush(stderr);
	waiting->is_drawn = true;
}

void waiting_update(struct waiting *waiting, const json_t *job)
{
	const uint64_t started = print_number(json_object_get(job, "ahead"), "started");
	const bool is_terminal = isatty(STDERR_FILENO);
	const bool has_message = json_object_get(job, "message");
	char line[sizeof(waiting->last)], ran[32] = "", eta[32];
	bool is_news;

	if (waiting->is_quiet || !is_worth_it(job))
		return;
	describe(line, sizeof(line), job, started ? "running" : "", ""); /* time is no news */
	is_news = strcmp(line, waiting->last) != 0;
	if (!is_news && (!is_terminal || has_message))
		return;
	(void)snprintf(waiting->last, sizeof(waiting->last), "%s", line);
	if (started)
		(void)print_duration(ran, started, 0);
	(void)view_estimate(eta, print_number(job, "eta"), clock_usec(CLOCK_REALTIME));
	describe(line, sizeof(line), job, ran, eta);
	if (is_terminal && !has_message) {
		draw(waiting, line);
		return;
	}
	waiting_clear(waiting); /* what is to be done must not be cut off */
	(void)fprintf(stderr, "%s\n", line);
}

void waiting_clear(struct waiting *waiting)
{
	if (!waiting->is_drawn)
		return;
	(void)fprintf(stderr, "\r\033[K");
	(void)fflush(stderr);
	waiting->is_drawn = false;
}
