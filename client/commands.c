/* SPDX-License-Identifier: MIT */
/* The table of commands. A new one is a row here, a section in tfq(1), and its function. */
#include <string.h>

#include "client/command.h"

#define OPTIONS(...)                               \
	.options = (const struct command_option[]) \
	{                                          \
		__VA_ARGS__,                       \
		{                                  \
			0                          \
		}                                  \
	}
#define NO_OPTIONS                                 \
	.options = (const struct command_option[]) \
	{                                          \
		{                                  \
			0                          \
		}                                  \
	}
#define JSON                                       \
	{                                          \
		"json", 'j', NULL, "as JSON", NULL \
	}

/* clang-format off */
#define RUN_OPTIONS \
	{ "detach", 'd', NULL, "queue it, print its number, and leave", NULL }, \
	{ "label", 0, "TEXT", "a name for it, shown in the queue", NULL }, \
	{ "reason", 'm', "TEXT", "why; everybody who waits for it reads this", NULL }, \
	{ "priority", 0, "WHICH", "high, normal or low", "high normal low" }, \
	{ "no-wait", 0, NULL, "exit with 75 if it would have to wait", NULL }, \
	{ "wait-timeout", 0, "TIME", "give up after waiting that long (15min, 2h): exit code 124", NULL }, \
	{ "supersede", 0, NULL, "cancel one's own that wait there to do the same", NULL }, \
	{ "json", 0, NULL, "tell what becomes of it as JSON, a line each; with -d its acceptance", NULL }, \
	{ "quiet", 'q', NULL, "do not show what it waits for", NULL }

#define FILTERS \
	{ "user", 'u', "USER", "that user's alone", NULL }, \
	{ "state", 's', "STATE", "of states whose names contain that", NULL }, \
	{ "columns", 0, "LIST", "which columns: id,status,label", NULL }, \
	{ "no-legend", 0, NULL, "without the titles of the columns", NULL }

const struct command command_run = {
	.name = "", .usage = "[-chdir=DIR] SUBCOMMAND [terraform's arguments]",
	OPTIONS(RUN_OPTIONS),
};

static const struct command commands[] = {
	{ "queue", "ls ps", "", "who waits for what, and what runs (also without a command)", TAKES_NOTHING, cmd_queue,
	  OPTIONS({ "all", 'a', NULL, "those that have ended, too", NULL }, FILTERS,
		  { "watch", 'w', NULL, "go on showing it", NULL }, JSON) },
	{ "info", NULL, "[ID]", "one job; without an ID, the daemon", TAKES_OVER, cmd_info, OPTIONS(JSON) },
	{ "attach", NULL, "[ID]", "watch a job and type for it; ctrl-p ctrl-q leaves", TAKES_JOB, cmd_attach,
	  OPTIONS({ "no-stdin", 0, NULL, "watch only", NULL },
		  { "detach-keys", 0, "KEYS", "what leaves the job running, in place of ctrl-p,ctrl-q", NULL }) },
	{ "logs", NULL, "[ID]", "what a job has printed", TAKES_OVER, cmd_logs,
	  OPTIONS({ "follow", 'f', NULL, "and what it prints until it has ended", NULL },
		  { "lines", 'n', "N", "the last ones only", NULL },
		  { "since", 0, "TIME", "lines that began since then: 14:30, or an age as 10min", NULL },
		  { "timestamps", 0, NULL, "each line with the time at which it began", NULL }) },
	{ "wait", NULL, "[ID...]", "until jobs are over; exits as the last that failed", TAKES_JOBS, cmd_wait,
	  OPTIONS({ "timeout", 0, "TIME", "give up after that long (15min, 2h): exit code 124", NULL }) },
	{ "cancel", NULL, "[ID...]", "leave the queue, or send terraform its one SIGINT", TAKES_JOBS, cmd_cancel,
	  OPTIONS({ "force", 'f', NULL, "after a cancel: the second SIGINT; the state may be lost", NULL }) },
	{ "retry", NULL, "ID", "queue the words of a job that has ended again", TAKES_OVER, cmd_retry,
	  OPTIONS(RUN_OPTIONS) },
	{ "up", NULL, "ID", "make a job the next one in its line (operators; before one's own: anybody)", TAKES_JOB,
	  cmd_up, NO_OPTIONS },
	{ "pause", NULL, "[STATE]", "start nothing new there, or anywhere, until resume (operators)", TAKES_STATE,
	  cmd_pause, OPTIONS({ "reason", 'm', "WHY", "for those who wait", NULL }) },
	{ "resume", NULL, "[STATE]", "let a queue go on that a lost job, or pause, has stopped (operators)",
	  TAKES_STATE, cmd_resume, NO_OPTIONS },
	{ "who", NULL, "[STATE]", "who holds the lock; without a name, of this directory's state", TAKES_STATE,
	  cmd_who, OPTIONS(JSON) },
	{ "unlock", NULL, "STATE", "remove a lock whose holder is dead (operators)", TAKES_STATE, cmd_unlock,
	  OPTIONS({ "id", 'i', "LOCK-ID", "of the lock, as who shows it", NULL },
		  { "yes", 'y', NULL, "do not ask", NULL }) },
	{ "history", NULL, "", "jobs that have ended, the latest first", TAKES_NOTHING, cmd_history,
	  OPTIONS({ "since", 0, "TIME", "that ended since then: 14:30, or an age as 7d", NULL },
		  { "until", 0, "TIME", "that ended before then", NULL }, FILTERS,
		  { "failed", 0, NULL, "that failed or were lost", NULL },
		  { "lines", 'n', "N", "so many", NULL }, JSON) },
	{ "events", NULL, "", "who has done what", TAKES_NOTHING, cmd_events,
	  OPTIONS({ "follow", 'f', NULL, "and what happens from now on", NULL },
		  { "lines", 'n', "N", "the last ones only", NULL },
		  { "json", 'j', NULL, "as JSON, an object a line", NULL }) },
	{ "metrics", NULL, "", "counters and gauges as OpenMetrics text", TAKES_NOTHING, cmd_metrics, NO_OPTIONS },
	{ "timeline", NULL, "[STATE]", "who has waited for whom, as a chart", TAKES_STATE, cmd_timeline,
	  OPTIONS({ "since", 0, "TIME", "since then: 14:30, or an age as 7d", NULL },
		  { "output", 'o', "FILE", "as a picture: .svg or .html", NULL }) },
	{ "top", NULL, "", "the queue as it changes, with keys", TAKES_NOTHING, cmd_top, NO_OPTIONS },
	{ "doctor", NULL, "", "what is wrong with this directory's backend, and what mends it", TAKES_NOTHING,
	  cmd_doctor,
	  OPTIONS({ "probe", 0, NULL, "write a small object beside the state, and remove it", NULL }, JSON) },
	{ "completion", NULL, "SHELL", "print what completes tfq's words: for bash, zsh or fish", TAKES_SHELL,
	  cmd_completion, NO_OPTIONS },
	{ "help", NULL, "[COMMAND]", "what there is; or all about one command", TAKES_COMMAND, cmd_help, NO_OPTIONS },
};
/* clang-format on */
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

const struct command *command_at(size_t index)
{
	return index < COMMAND_COUNT ? &commands[index] : NULL;
}

static bool is_word_of(const char *list, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = list; at && *at;
	     at += strcspn(at, " ") + (at[strcspn(at, " ")] == ' '))
		if (strncmp(at, word, len) == 0 && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

const struct command *command_find(const char *name)
{
	if (!*name)
		return NULL;
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0 || is_word_of(commands[i].aliases, name))
			return &commands[i];
	return NULL;
}
