/* SPDX-License-Identifier: MIT */
/* A store whose process is killed, and what that process shares with others. */
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

static uint64_t told;
static int tell_fd;

static void tell(uint64_t number, void *userdata)
{
	(void)userdata;
	ck_assert_int_eq(write(tell_fd, &number, sizeof(number)), sizeof(number));
	for (size_t i = 0; i < 7; i++)
		(void)put(store_noted(store) + 1, "-");
}

/* Put jobs, each with the number of its write, and say what is on disk, until killed. */
_Noreturn static void child(int fd)
{
	static const struct store_callbacks telling = { tell, on_trouble };
	char *error;

	tell_fd = fd;
	ck_assert_int_eq(store_open(&store, event, path, &telling, dir, &error), 0);
	(void)put(1, "-");
	for (;;)
		(void)sd_event_run(event, WAIT_USEC);
}

START_TEST(a_kill_loses_nothing_that_was_named)
{
	uint64_t number, last;
	char jobs[64];
	pid_t pid;
	int fds[2];

	close_store();
	event = sd_event_unref(event);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		ck_assert_int_ge(sd_event_new(&event), 0);
		child(fds[1]);
	}
	(void)close(fds[1]);
	while (read(fds[0], &number, sizeof(number)) == sizeof(number)) {
		told = number;
		if (told >= 100U * (unsigned)_i + 1)
			(void)kill(pid, SIGKILL);
	}
	(void)close(fds[0]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_ge(sd_event_new(&event), 0);
	open_store();
	ck_assert_int_eq(store_read_last_id(store, &last), 0);
	ck_assert_uint_ge(last, told);
	/* What was not named may be there, but without a gap. */
	(void)snprintf(jobs, sizeof(jobs), "%lu;", last);
	ck_assert_str_eq(sql_rows("SELECT count(*) FROM job"), jobs);
}
END_TEST

/* Calls @fn with what is in /proc/self/@folder. */
static void each_entry(const char *folder, void (*fn)(const char *name))
{
	DIR *proc = opendir(folder);
	const struct dirent *entry;

	ck_assert_ptr_nonnull(proc);
	while ((entry = readdir(proc)))
		if (*entry->d_name != '.')
			fn(entry->d_name);
	(void)closedir(proc);
}

static size_t found;

static void check_fd(const char *name)
{
	char link[64], to[256] = "";

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%s", name);
	if (readlink(link, to, sizeof(to) - 1) < 0 || (!strstr(to, dir) && !strstr(to, "event")))
		return;
	found++;
	ck_assert_msg(fcntl((int)strtol(name, NULL, 10), F_GETFD) & FD_CLOEXEC, "%s", to);
}

static void check_thread(const char *name)
{
	char file[64], line[256], thread[64] = "";
	unsigned long blocked = 0;
	FILE *status;

	(void)snprintf(file, sizeof(file), "/proc/self/task/%s/status", name);
	status = fopen(file, "re");
	ck_assert_ptr_nonnull(status);
	while (fgets(line, sizeof(line), status)) {
		(void)sscanf(line, "Name:\t%63s", thread);
		if (strncmp(line, "SigBlk:", 7) == 0)
			blocked = strtoul(line + 7, NULL, 16);
	}
	(void)fclose(status);
	if (strcmp(thread, "store") != 0)
		return;
	found++;
	for (int i = 1; i <= 31; i++)
		ck_assert(i == SIGKILL || i == SIGSTOP || (blocked >> (i - 1) & 1));
}

START_TEST(nothing_of_it_is_inherited_and_no_signal_goes_there)
{
	wait_commit(put(1, "-"));
	found = 0;
	each_entry("/proc/self/fd", check_fd);
	ck_assert_uint_ge(found, 5); /* twice the file, its log, its index, and the eventfd */
	found = 0;
	each_entry("/proc/self/task", check_thread);
	ck_assert_uint_eq(found, 1);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, a_kill_loses_nothing_that_was_named, 0, 5);
	tcase_add_test(tcase, nothing_of_it_is_inherited_and_no_signal_goes_there);
}

int main(void)
{
	return unit_main("store_process", add_tests);
}
