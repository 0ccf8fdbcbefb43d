/* SPDX-License-Identifier: MIT */
/* Commands about locks that somebody else holds: who, unlock. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/command.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/rpc.h"
#include "client/subject.h"
#include "common/backend.h"
#include "common/cleanup.h"
#include "common/wire.h"

#define UNLOCK_WAIT_SEC 15 /* for the daemon's next look at the store */

/* --- who ----------------------------------------------------------------------------------- */

/* The state of the directory we are in. Return: 0, or the exit code. */
static int here(json_t **ret)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	AUTO_FREE char *cwd = getcwd(NULL, 0);
	AUTO_FREE char *error = NULL;
	int r;

	if (!cwd) {
		print_error("cannot tell the current directory");
		return EXIT_BAD_STATE;
	}
	r = backend_source_read(&source, cwd, environ, &error);
	if (r < 0) {
		print_error("%s", error ? error : strerror(-r));
		return EXIT_BAD_STATE;
	}
	*ret = subject_json(source);
	return 0;
}

static void print_line(const char *name, const char *value)
{
	if (*value)
		(void)printf("  %-10s %s\n", name, value);
}

/* @is_ours: of a job of the tfqd that answers. */
static void print_lease(const json_t *holder, bool is_ours)
{
	const uint64_t lease = print_number(holder, "lease"),
		       left = print_number(holder, "dead_in");

	if (is_ours && lease == 0) {
		(void)printf("  %-10s %s\n",
			     "Lease:", "none: this tfqd's, which keeps it until it lets go");
	} else if (is_ours) {
		(void)printf("  %-10s %" PRIu64 " s, of this tfqd, which renews it\n",
			     "Lease:", lease);
	} else if (!json_is_true(json_object_get(holder, "is_tfqd"))) {
		(void)printf(
			"  %-10s %s\n", "Lease:",
			"none: a terraform by hand, or the like. Nobody can tell whether it lives");
	} else if (lease == 0) {
		(void)printf("  %-10s %s\n",
			     "Lease:", "none: another tfqd, which keeps it until it lets go");
	} else if (json_is_true(json_object_get(holder, "dead"))) {
		(void)printf(
			"  %-10s %s\n", "Lease:",
			json_is_true(json_object_get(holder, "taken_over"))
				? "run out: its tfqd is dead, the lock is being taken over"
				: "run out: its tfqd is dead. An operator can 'tfq unlock' it");
	} else if (json_object_get(holder, "dead")) {
		(void)printf("  %-10s %" PRIu64 " s, of another tfqd; dead in %" PRIu64
			     " s if it is not renewed\n",
			     "Lease:", lease, left);
	} else {
		(void)printf("  %-10s %" PRIu64
			     " s, of another tfqd, which renews it while it lives\n",
			     "Lease:", lease);
	}
}

/* @job: of this tfqd, that is at work on the state; or NULL. */
static void print_lock(const json_t *lock, const json_t *job)
{
	const json_t *holder = json_object_get(lock, "holder");
	const json_t *id = json_object_get(holder, "id"), *ours = json_object_get(job, "lock_id");
	char text[1024];

	if (json_object_get(lock, "kind"))
		(void)printf("%s:", print_text(text, sizeof(text), lock, "kind"));
	else
		(void)printf("Held:");
	if (!holder) {
		(void)print_text(text, sizeof(text), lock, "message");
		(void)printf(" %s\n", *text ? text : "free");
		return;
	}
	(void)printf("\n");
	print_line("Who:", print_text(text, sizeof(text), holder, "who"));
	print_line("ID:", print_text(text, sizeof(text), holder, "id"));
	print_line("Since:", print_text(text, sizeof(text), holder, "since"));
	print_line("For:", print_text(text, sizeof(text), holder, "operation"));
	print_line("Info:", print_text(text, sizeof(text), holder, "info"));
	print_lease(holder, id && json_equal(id, ours));
}

static void print_who(const json_t *answer)
{
	const json_t *job = json_object_get(answer, "job");
	const json_t *locks = json_object_get(answer, "locks"), *lock;
	char text[1024], command[256];
	size_t index;

	(void)printf("%s\n", print_text(text, sizeof(text), answer, "state"));
	if (job) {
		const char *status = json_string_value(json_object_get(job, "status"));

		(void)printf("Here: job %" PRIu64 " of %s, %s: %s\n", print_number(job, "id"),
			     print_text(text, sizeof(text), job, "user"),
			     print_text(command, sizeof(command), job, "command"),
			     status && strcmp(status, "locking") == 0 ? "waits for the lock"
								      : "runs, and holds the lock");
	}
	json_array_foreach(locks, index, lock) print_lock(lock, job);
	if (!job && json_array_size(locks) == 0)
		(void)printf("Nothing of this tfqd runs or waits for it now.\n");
	(void)print_text(text, sizeof(text), answer, "message");
	if (*text)
		(void)printf("%s\n", text);
}

int cmd_who(int argc, char **argv)
{
	bool as_json = false;
	const struct command_value values[] = { { "json", .flag = &as_json }, { 0 } };
	json_t *parameters = NULL, *answer = NULL;
	int r = 0;

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1)
		parameters = json_pack("{s:s}", "state", argv[1]);
	else
		r = here(&parameters);
	if (r == 0)
		r = rpc_call(WIRE_WHO, parameters, &answer);
	if (r != 0)
		return r;
	if (as_json) {
		(void)json_dumpf(answer, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		print_who(answer);
	}
	json_decref(answer);
	return 0;
}

/* --- unlock -------------------------------------------------------------------------------- */

/* The holder with @id among what Who answered, or NULL. */
static const json_t *find_holder(const json_t *answer, const char *id)
{
	const json_t *lock;
	size_t index;

	json_array_foreach(json_object_get(answer, "locks"), index, lock)
	{
		const json_t *holder = json_object_get(lock, "holder");
		const char *found = json_string_value(json_object_get(holder, "id"));

		if (found && strcmp(found, id) == 0)
			return holder;
	}
	return NULL;
}

static bool confirm(const char *state, const json_t *holder)
{
	char text[512], answer[16] = "";

	if (!isatty(STDIN_FILENO)) {
		print_error(
			"unlock asks before it removes a lock, and there is no terminal to ask on; "
			"--yes says that you are sure");
		return false;
	}
	(void)printf("%s\n", state);
	print_line("Who:", print_text(text, sizeof(text), holder, "who"));
	print_line("Since:", print_text(text, sizeof(text), holder, "since"));
	print_line("Info:", print_text(text, sizeof(text), holder, "info"));
	print_lease(holder, false);
	(void)printf(
		"If its terraform still runs, two will write the state. Only 'yes' removes it: ");
	(void)fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

/* Is it still there, as far as the daemon knows? Return: 0, or the exit code. */
static int look(const char *state, const char *id, bool *ret_is_there)
{
	json_t *answer = NULL;
	const char *error;
	int r;

	r = rpc_ask(WIRE_WHO, json_pack("{s:s}", "state", state), &answer);
	if (r != 0)
		return r;
	error = json_string_value(json_object_get(answer, "error"));
	/* The job that waited for it is over: it is not told of any more. */
	if (!error || strcmp(error, WIRE_E_NO_SUCH_STATE) != 0)
		r = rpc_check(answer);
	*ret_is_there = find_holder(json_object_get(answer, "parameters"), id);
	json_decref(answer);
	return r;
}

/* The daemon has been told; wait until it has seen what came of it. */
static int wait_for_it(const char *state, const char *id)
{
	for (int i = 0; i < UNLOCK_WAIT_SEC * 5; i++) {
		const struct timespec pause = { .tv_nsec = 200000000 };
		bool is_there = true;
		const int r = look(state, id, &is_there);

		if (r != 0)
			return r;
		if (!is_there) {
			(void)printf("Lock %s of %s is gone.\n", id, state);
			return 0;
		}
		(void)nanosleep(&pause, NULL);
	}
	print_error("lock %s of %s is still there; 'tfq who' and tfqd's log say why", id, state);
	return EXIT_OURS;
}

static int unlock(const char *state, const char *id, bool is_sure)
{
	json_t *answer = NULL;
	const json_t *holder;
	int r;

	r = rpc_call(WIRE_WHO, json_pack("{s:s}", "state", state), &answer);
	if (r != 0)
		return r;
	holder = find_holder(answer, id);
	if (holder && !is_sure && !confirm(state, holder))
		r = EXIT_OURS;
	json_decref(answer);
	answer = NULL;
	if (r == 0) /* the daemon has the words for a lock that is not there */
		r = rpc_call(WIRE_UNLOCK, json_pack("{s:s, s:s}", "state", state, "id", id),
			     &answer);
	json_decref(answer);
	return r == 0 ? wait_for_it(state, id) : r;
}

int cmd_unlock(int argc, char **argv)
{
	const char *id = NULL;
	bool is_sure = false;
	const struct command_value values[] = { { "id", .text = &id },
						{ "yes", .flag = &is_sure },
						{ 0 } };

	argc = command_parse(argc, argv, values);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 2 || !id) {
		print_error("unlock takes the state's name and the lock's ID: tfq unlock "
			    "s3://bucket/key --id ID; 'tfq who' shows both");
		return EXIT_USAGE;
	}
	return unlock(argv[1], id, is_sure);
}
