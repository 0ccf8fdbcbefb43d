/* SPDX-License-Identifier: MIT */
/* terraform asks: tfqd is told, and does not wait for ever if nobody is there to answer. */
#include <stdio.h>

#include "runner/runner_parts.h"

#define SETTLE (50 * USEC_PER_MSEC) /* a question is what nothing follows so soon */

/* The patience begins when there is nobody, and ends when somebody comes. */
void runner_watch_question(struct runner *runner)
{
	if (!runner->is_asking || runner->writer || runner->spec->approval_usec == 0)
		(void)sd_event_source_set_enabled(runner->approval, SD_EVENT_OFF);
	else
		runner_set_timer(runner->approval, runner->spec->approval_usec);
}

static void end_question(struct runner *runner)
{
	if (!runner->is_asking)
		return;
	runner->is_asking = false;
	runner_watch_question(runner);
	if (!runner->is_exited)
		runner_tell(runner, "answered", NULL);
}

void runner_see_output(struct runner *runner, const char *output, size_t len)
{
	prompt_feed(&runner->prompt, output, len);
	if (!prompt_asks(&runner->prompt) || runner->prompt.asked != runner->asked)
		end_question(runner);
	if (prompt_asks(&runner->prompt) && !runner->is_asking)
		runner_set_timer(runner->settle, SETTLE);
}

void runner_see_answer(struct runner *runner)
{
	prompt_answer(&runner->prompt);
	end_question(runner);
}

int runner_on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct runner *runner = userdata;

	(void)source;
	(void)usec;

	if (!prompt_asks(&runner->prompt) || runner->is_asking || runner->is_exited)
		return 0;
	runner->is_asking = true;
	runner->asked = runner->prompt.asked;
	runner_tell(runner, "prompt", NULL);
	runner_watch_question(runner);
	return 0;
}

int runner_on_unanswered(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct runner *runner = userdata;
	char text[256], patience[32];

	(void)source;
	(void)usec;

	if (!runner->is_asking || !runner_interrupt(runner, 1))
		return 0;
	runner->is_unanswered = true;
	(void)snprintf(text, sizeof(text),
		       "terraform asks, and for %s nobody was attached who could answer: it is "
		       "interrupted, so that others get their turn",
		       parse_format_usec(patience, runner->spec->approval_usec));
	runner_note(runner, text);
	return 0;
}
