/* SPDX-License-Identifier: MIT */
/* What is kept of a job over a restart: its record, its secrets, its files, its processes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/job_files.h"
#include "daemon/job_record.h"
#include "daemon/proc.h"
#include "daemon/vault.h"
#include "tests/unit/unit.h"

static char folder[64];

static void setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/tfq-keeping-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe)
}

/* --- records --------------------------------------------------------------------------------- */

static struct job *make_job(void)
{
	static const gid_t groups[] = { 7, 4000000000 };
	struct job *job = NULL;

	ck_assert_int_eq(job_new(&job), 0);
	job->id = 42;
	job->status = JOB_STOPPING;
	job->priority = JOB_LOW;
	job->owner = (struct job_owner){ .pid = 5, .uid = 1000, .gid = 100, .group_count = 2 };
	job->owner.groups = malloc(sizeof(groups));
	ck_assert_ptr_nonnull(job->owner.groups);
	memcpy(job->owner.groups, groups, sizeof(groups));
	job->owner.name = strdup("alice");
	job->backend = calloc(1, sizeof(*job->backend));
	ck_assert_ptr_nonnull(job->backend);
	job->backend->identity = strdup("s3 eu b k");
	job->backend->name = strdup("s3://b/k");
	job->backend->workspace = strdup("default");
	job->backend->secret_key = strdup("hush");
	job->argv = calloc(2, sizeof(*job->argv));
	job->env = calloc(2, sizeof(*job->env));
	ck_assert(job->argv && job->env);
	job->argv[0] = strdup("-var=password=hush");
	job->env[0] = strdup("TOKEN=hush");
	job->command = strdup("apply -var=password=...");
	job->subcommand = "apply";
	job->operation = "OperationTypeApply";
	job->directory = strdup("/work");
	job->state_directory = strdup("/work/net");
	job->reason = strdup("db \"resize\"");
	job->submitted_usec = 1700000000000000;
	job->started_usec = 1700000001000000;
	job->runner_pid = 77;
	job->runner_start = UINT64_C(1) << 40;
	job->session = 77;
	job->cgroup = strdup("/tfq.slice/tfq-job-5.service");
	job->pid = 78;
	job->interrupts = 1;
	job->is_cancelled = true;
	job_set_message(job, "by %s", "bob");
	(void)snprintf(job->lock_id, sizeof(job->lock_id), "11111111-2222-4333-8444-555555555555");
	return job;
}

static void same_run(const struct job *a, const struct job *b)
{
	ck_assert_int_eq(a->runner_pid, b->runner_pid);
	ck_assert_uint_eq(a->runner_start, b->runner_start);
	ck_assert_int_eq(a->session, b->session);
	ck_assert_str_eq(a->cgroup, b->cgroup);
	ck_assert_int_eq(a->pid, b->pid);
	ck_assert_int_eq(a->interrupts, b->interrupts);
	ck_assert_int_eq(a->is_cancelled, b->is_cancelled);
	ck_assert_int_eq(a->exit_code, b->exit_code);
	ck_assert_uint_eq(a->handover_usec, b->handover_usec);
	ck_assert_uint_eq(a->submitted_usec, b->submitted_usec);
	ck_assert_uint_eq(a->started_usec, b->started_usec);
	ck_assert_uint_eq(a->ended_usec, b->ended_usec);
}

START_TEST(a_record_gives_the_job_back)
{
	CLEANUP(job_freep) struct job *job = make_job();
	CLEANUP(job_freep) struct job *back = NULL;
	json_t *record = job_record_make(job, "boot");

	ck_assert_ptr_nonnull(record);
	ck_assert_int_eq(job_record_parse(&back, record), 0);
	ck_assert_uint_eq(back->id, 42);
	ck_assert_int_eq(back->status, JOB_STOPPING);
	ck_assert_int_eq(back->priority, JOB_LOW);
	ck_assert_uint_eq(back->owner.uid, 1000);
	ck_assert_uint_eq(back->owner.group_count, 2);
	ck_assert_uint_eq(back->owner.groups[1], 4000000000);
	ck_assert_str_eq(back->owner.name, "alice");
	ck_assert_str_eq(back->backend->identity, "s3 eu b k");
	ck_assert_str_eq(back->backend->name, "s3://b/k");
	ck_assert_str_eq(back->subcommand, "apply");
	ck_assert_str_eq(back->operation, "OperationTypeApply");
	ck_assert_str_eq(back->state_directory, "/work/net");
	ck_assert_str_eq(back->reason, "db \"resize\"");
	ck_assert_ptr_null(back->label);
	ck_assert_str_eq(back->message, "by bob");
	ck_assert_str_eq(back->lock_id, job->lock_id);
	ck_assert_ptr_null(back->why_child);
	same_run(back, job);
	ck_assert(job_record_is_of_boot(record, "boot"));
	ck_assert(!job_record_is_of_boot(record, "another"));
	json_decref(record);
}
END_TEST

START_TEST(a_record_has_no_secrets)
{
	CLEANUP(job_freep) struct job *job = make_job();
	json_t *record = job_record_make(job, "boot");
	char *text = json_dumps(record, 0);

	ck_assert_ptr_nonnull(text);
	ck_assert_ptr_null(strstr(text, "hush"));
	free(text);
	json_decref(record);
}
END_TEST

START_TEST(why_terraform_locks_is_kept)
{
	CLEANUP(job_freep) struct job *job = make_job();
	CLEANUP(job_freep) struct job *back = NULL;
	json_t *record;

	job_leave_to_child(job, "because");
	record = job_record_make(job, "boot");
	ck_assert_int_eq(job_record_parse(&back, record), 0);
	ck_assert_str_eq(back->why_child, "because");
	json_decref(record);
}
END_TEST

START_TEST(what_is_no_record_is_refused)
{
	static const char *const needed[] = { "id",       "status",  "priority", "owner",
					      "identity", "command", "state",    "operation" };
	CLEANUP(job_freep) struct job *job = make_job();

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		struct job *back = NULL;
		json_t *record = job_record_make(job, "boot");

		ck_assert_int_eq(json_object_del(record, needed[i]), 0);
		ck_assert_int_eq(job_record_parse(&back, record), -EBADMSG);
		json_decref(record);
	}
}
END_TEST

START_TEST(numbers_that_no_job_has_are_refused)
{
	static const struct {
		const char *name;
		json_int_t value;
	} numbers[] = { { "id", 0 },
			{ "id", -42 },
			{ "id", INT64_MAX },
			{ "rank", INT64_MAX },
			{ "rank", INT64_MIN } };
	CLEANUP(job_freep) struct job *job = make_job();
	struct job *back = NULL;
	json_t *record = job_record_make(job, "boot");

	(void)json_object_del(record, "rank");
	(void)json_object_set_new(record, numbers[_i].name, json_integer(numbers[_i].value));
	ck_assert_int_eq(job_record_parse(&back, record), -EBADMSG);
	json_decref(record);
}
END_TEST

/* --- the vault ------------------------------------------------------------------------------- */

static bool is_seven(uint64_t id, void *userdata)
{
	(void)userdata;
	return id == 7;
}

START_TEST(the_vault_is_in_memory_and_gives_back)
{
	CLEANUP(vault_freep) struct vault *vault = NULL;
	json_t *secret = json_pack("{s:s}", "environment", "TOKEN=hush"), *back = NULL;
	char path[4200], command[4300];
	struct statfs fs;
	struct stat st;
	const int r = vault_new(&vault, folder, folder);

	if (r == -EOPNOTSUPP) { /* a machine without /dev/shm */
		ck_assert_int_eq(vault_put(vault, 1, secret), -EOPNOTSUPP);
		json_decref(secret);
		return;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(statfs(vault_dir(vault), &fs), 0);
	ck_assert_int_eq(fs.f_type, TMPFS_MAGIC);
	ck_assert_int_eq(vault_put(vault, 7, secret), 0);
	ck_assert_int_eq(vault_put(vault, 8, secret), 0);
	(void)snprintf(path, sizeof(path), "%s/7", vault_dir(vault));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(vault_dir(vault), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);

	vault_sweep(vault, is_seven, NULL);
	ck_assert_int_eq(vault_get(vault, 8, &back), -ENOENT);
	ck_assert_int_eq(vault_get(vault, 7, &back), 0);
	ck_assert(json_equal(secret, back));
	json_decref(back);
	vault_drop(vault, 7);
	ck_assert_int_eq(vault_get(vault, 7, &back), -ENOENT);
	json_decref(secret);
	(void)snprintf(command, sizeof(command), "rm -rf %s", vault_dir(vault));
	ck_assert_int_eq(system(command), 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe)
}
END_TEST

/* --- files ----------------------------------------------------------------------------------- */

static void append(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(reports_are_read_as_far_as_they_make_sense)
{
	int recording, reports, again, unused;
	json_t *read;
	uint64_t last = 0;

	ck_assert_int_eq(job_files_reserve(folder, 3), 0);
	ck_assert_int_eq(job_files_reserve(folder, 3), -EEXIST);
	ck_assert_ptr_null(job_files_read_reports(folder, 3));
	ck_assert_int_eq(job_files_open_recording(folder, 3), -ENOENT);
	ck_assert_int_eq(job_files_begin(folder, 3, &recording, &reports), 0);
	append(reports, "{\"event\":\"going\"}\n{\"event\":\n[1]\n{\"event\":\"started\"}\n{\"ev");
	append(recording, "12345");
	ck_assert_uint_eq(job_files_size(folder, 3), 5);
	read = job_files_read_reports(folder, 3);
	ck_assert_uint_eq(json_array_size(read), 2);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(read, 1), "event")),
			 "started");
	json_decref(read);

	/* Another runner: what the one before still writes is nobody's. */
	ck_assert_int_eq(job_files_begin(folder, 3, &again, &unused), 0);
	append(recording, "late");
	append(reports, "{\"event\":\"going\"}\n");
	ck_assert_uint_eq(job_files_size(folder, 3), 0);
	read = job_files_read_reports(folder, 3);
	ck_assert_uint_eq(json_array_size(read), 0);
	json_decref(read);
	ck_assert_int_eq(job_files_last_id(folder, &last), 0);
	ck_assert_uint_eq(last, 3);
	job_files_remove(folder, 3);
	ck_assert_int_eq(job_files_last_id(folder, &last), 0);
	ck_assert_uint_eq(last, 0);
	(void)close(recording);
	(void)close(reports);
	(void)close(again);
	(void)close(unused);
}
END_TEST

/* --- processes ------------------------------------------------------------------------------- */

START_TEST(a_process_is_told_from_another_with_its_number)
{
	int fd;
	pid_t child;
	uint64_t start;

	ck_assert_uint_gt(proc_start(getpid()), 0);
	ck_assert_uint_eq(proc_start(0), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		/* A name that looks like the fields behind it. */
		(void)prctl(PR_SET_NAME, "a) Z 1 1 1");
		(void)setsid();
		(void)pause();
		_exit(0);
	}
	while (proc_survivor(child) != child)
		; /* until its setsid() */
	start = proc_start(child);
	ck_assert_uint_gt(start, 0);
	ck_assert_int_eq(proc_watch(child, start + 1), -ESRCH);
	fd = proc_watch(child, start);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	ck_assert_uint_eq(proc_start(child), 0); /* not reaped yet, but over */
	ck_assert_int_eq(proc_survivor(child), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	(void)close(fd);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_record_gives_the_job_back);
	tcase_add_test(tcase, a_record_has_no_secrets);
	tcase_add_test(tcase, why_terraform_locks_is_kept);
	tcase_add_test(tcase, what_is_no_record_is_refused);
	tcase_add_loop_test(tcase, numbers_that_no_job_has_are_refused, 0, 5);
	tcase_add_test(tcase, the_vault_is_in_memory_and_gives_back);
	tcase_add_test(tcase, reports_are_read_as_far_as_they_make_sense);
	tcase_add_test(tcase, a_process_is_told_from_another_with_its_number);
}

int main(void)
{
	return unit_main("keeping", add_tests);
}
