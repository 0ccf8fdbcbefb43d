/* SPDX-License-Identifier: MIT */
/* A job's record in the database, and what its runner has left in its reports. */
#include "daemon/job_record.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/job_files.h"
#include "daemon/job_json.h"
#include "daemon/scheduler.h"
#include "tests/fuzz/fuzz.h"

static char folder[] = "/dev/shm/tfq-fuzz-XXXXXX";

static void remove_folder(void)
{
	job_files_remove(folder, 1);
	(void)rmdir(folder);
}

static void read_record(const char *text, size_t len)
{
	CLEANUP(job_freep) struct job *job = NULL;
	json_t *record = json_loadb(text, len, 0, NULL), *shown;
	const int r = job_record_parse(&job, record);

	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	(void)job_record_is_of_boot(record, "boot");
	if (job) {
		FUZZ_CHECK(job->id > 0 && job->command && job->backend->name);
		shown = job_json(job, NULL);
		FUZZ_CHECK(shown);
		json_decref(shown);
		json_decref(job_record_make(job, "boot"));
		job_forget_secrets(job);
	}
	json_decref(record);
}

static void write_reports(const char *text, size_t len)
{
	int recording = -1, reports = -1;

	FUZZ_CHECK(job_files_begin(folder, 1, &recording, &reports) == 0);
	FUZZ_CHECK(len == 0 || write(reports, text, len) == (ssize_t)len);
	(void)close(recording);
	(void)close(reports);
}

static void read_reports(void)
{
	json_t *reports = job_files_read_reports(folder, 1);

	FUZZ_CHECK(reports);
	for (size_t i = 0; i < json_array_size(reports); i++) {
		const json_t *object = json_array_get(reports, i);

		FUZZ_CHECK(json_is_object(object));
		(void)scheduler_report_read(object);
	}
	json_decref(reports);
}

/* The record; the reports. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool has_folder;
	struct fuzz_input input = { data, size };
	size_t len, reports_len;
	AUTO_FREE char *record = fuzz_part(&input, &len);
	AUTO_FREE char *reports = fuzz_part(&input, &reports_len);

	if (!has_folder) {
		has_folder = true;
		FUZZ_CHECK(mkdtemp(folder) && job_files_reserve(folder, 1) == 0);
		(void)atexit(remove_folder);
	}
	read_record(record, len);
	write_reports(reports, reports_len);
	read_reports();
	return 0;
}
