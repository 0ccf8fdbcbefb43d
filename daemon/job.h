/* SPDX-License-Identifier: MIT */
/* A job: one terraform command that somebody asked for. Plain data; what happens to it is the
 * scheduler's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/backend.h"
#include "common/cleanup.h"
#include "daemon/job_fsm.h"

struct line;
struct peer;
struct sd_event_source;
struct preflight;
struct launcher_unit;

enum job_priority { JOB_HIGH, JOB_NORMAL, JOB_LOW, JOB_PRIORITY_COUNT };

/* Who asked, as the kernel says. */
struct job_owner {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary */
	size_t group_count;
	char *name; /* login name, or the uid in digits */
};

/* Somebody who wants to see its output, and waits for the runner that shows it. */
struct job_viewer {
	int fd;          /* a stream socket; the job's own */
	uint64_t offset; /* bytes of the recording that he has seen */
	bool has_input;  /* and may type */
};

#define JOB_RANK(id)    ((int64_t)(id) << 20) /* room for others to be moved between */
#define JOB_VIEWERS_MAX 512                   /* that wait at once for one job */

/* Strings are the job's own; NULL where optional. Times are microseconds since 1970, 0 if not yet.
 */
struct job {
	uint64_t id;
	enum job_status status;
	enum job_priority priority;
	struct job_owner owner;

	/* what is to be run */
	char **argv;           /* as typed after "tfq", without tfq's own options */
	char **env;            /* secrets: only ever in memory; NULL while it dozes */
	char *directory;       /* where it was typed */
	char *state_directory; /* where terraform runs, after -chdir */
	char *client;          /* path of the tfq that asked: never to be taken for terraform */
	char *command;         /* argv for people: printable, bounded */
	char *label, *reason;  /* printable; NULL: none */
	mode_t umask;
	struct backend *backend; /* no more than backend_outline() once it dozes, or is over */
	const char *subcommand;  /* static, or one of the texts */
	const char *operation;
	char *subcommand_text, *operation_text; /* of a job that was read from the store */
	const char *why_child; /* why terraform locks for itself; NULL: tfqd does */
	char *why_child_text;  /* ... where that is no static text */
	struct preflight
		*preflight;  /* what is known for its lock; the scheduler's; NULL: nothing */
	bool is_state_known; /* the state object is there, so terraform makes no lock of its own */
	bool is_argv_plain;  /* no value in it was hidden */
	bool supersedes;     /* its owner's jobs that wait for the same */
	bool is_plan; /* the backend is the one that a saved plan names, not the directory's */
	bool no_wait;
	bool is_inquiry;        /* not to be run: somebody asks who holds its state */
	bool is_priority_asked; /* by the submitter, not by the configuration */
	bool passes_hold;       /* it is what a held line waits for: terraform state push */

	/* what waits for the runner */
	struct job_viewer *viewers;
	size_t viewer_count;
	int stdin_fd;     /* -1: none */
	bool wants_stdin; /* it came with one, which is gone if there is none any more */
	bool is_awaited;  /* ... whose tfq may come back with it in a moment */

	bool has_tty; /* terraform gets a terminal, of this size */
	unsigned rows, columns;

	size_t secret_bytes; /* of its words and its environment, when it was submitted */
	bool is_in_vault;    /* what it takes to run it can be read back */
	bool is_considered;  /* whether it may doze: scheduler_doze() */
	bool is_dozing;      /* it is read back before it is run: scheduler_wake() */

	/* the store */
	uint64_t submitted; /* number of its first write; 0 once it is known to be on disk */
	uint64_t armed;     /* ... of the one that names its runner */
	uint64_t go_after;  /* its runner is to be let go when that is on disk; 0: is not waiting */
	bool is_undecided;  /* a runner of before a restart lives, and may yet say that it runs */

	/* its run */
	pid_t runner_pid;      /* 0: none */
	uint64_t runner_start; /* process_start()'s: tells it from another with its number */
	struct sd_event_source *runner_watch; /* on one that is no child of this process; the
						 scheduler's */
	struct launcher_unit *unit; /* of systemd, that runs it; the scheduler's; NULL: none */
	char *cgroup;               /* ... its cgroup, since its runner said hello; or NULL */
	struct peer *runner;        /* NULL: not connected */
	pid_t session;              /* of its runner, the last one; 0: never had one */
	bool is_runner_ready;
	bool has_lost_runner; /* one died before its turn: no other is started ahead */
	pid_t pid;            /* of terraform */
	uint64_t submitted_usec, started_usec, ended_usec;
	uint64_t handover_usec; /* exit of the job before to our exec; UINT64_MAX: no hand-over */
	char *message;          /* why it ended as it did */
	char lock_id[40];
	int exit_code;     /* -1: did not exit by itself */
	int exit_signal;   /* 0: was not killed */
	bool is_cancelled; /* somebody asked for its end */
	bool is_refused;   /* it cannot be run: the pump ends it, message says why */
	bool is_lock_lost; /* somebody replaced it while terraform ran */
	bool is_fenced; /* its runner ends it when the lease does: only then may others have it */
	int interrupts; /* SIGINTs that its runner was told to send */
	bool is_busy;   /* did not want to wait, and would have had to */

	TAILQ_ENTRY(job) in_line;   /* line::waiting */
	TAILQ_ENTRY(job) in_unkept; /* scheduler::unkept, while job::submitted is not 0 */
	TAILQ_ENTRY(job) in_all;    /* scheduler::all, in order of acceptance */
	struct line *line;          /* NULL once it is over */
	int64_t rank;        /* its place among those of its priority: JOB_RANK(id), unless moved */
	uint64_t eta_usec;   /* when its turn may come, microseconds since 1970; 0: unknown */
	uint64_t usual_usec; /* how long jobs like it take; 0: unknown */
	uint64_t position;   /* queue_position()'s */
	TAILQ_HEAD(, job_watch) watches;
};

/* A peer that wants to hear of every change. */
struct job_watch {
	TAILQ_ENTRY(job_watch) link; /* job::watches */
	struct job *job;
	struct peer *peer;
};

/* An empty job, queued, without descriptors. Return: 0 or -ENOMEM. */
int job_new(struct job **ret);

/* Closes, wipes, frees. No peer may watch it any more. */
struct job *job_free(struct job *job);
DEFINE_FREEP(job);

/*
 * Let @fd, which is taken, see its output once there is a runner. Return: 0; -EMFILE for the one
 * above JOB_VIEWERS_MAX; -ENOMEM.
 */
int job_add_viewer(struct job *job, int fd, uint64_t offset, bool has_input);

/* Close the descriptors that wait for the runner. */
void job_close_fds(struct job *job);

/* Forget what only a run needs, once there can be none any more: environment, credentials,
 * descriptors. */
void job_forget_secrets(struct job *job);

/* Forget the environment; @backend, which is the job's from now on, is all that it knows of its
 * own. */
void job_reduce(struct job *job, struct backend *backend);

/* Does tfqd hold the lock for it? Otherwise terraform does. */
bool job_is_locked_by_us(const struct job *job);
/* It is terraform that locks; @why is copied. */
void job_leave_to_child(struct job *job, const char *why);

/* Replace the job's message. Out of memory leaves none. */
void job_set_message(struct job *job, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

const char *job_priority_name(enum job_priority priority);
/* Return: 0, or -EINVAL. */
int job_priority_parse(enum job_priority *ret, const char *name);
