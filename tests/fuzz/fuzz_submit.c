/* SPDX-License-Identifier: MIT */
/* Submit's parameters to a job; what is kept of it on disk and told of it; what is asked for it. */
#include "daemon/submit.h"

#include <errno.h>

#include "daemon/aws/identity_question.h"
#include "daemon/job_json.h"
#include "daemon/job_record.h"
#include "tests/fuzz/fuzz.h"

static char user[] = "alice";
static const struct job_owner owner = { .pid = 7, .uid = 1000, .gid = 1000, .name = user };

/* Other people see these. */
static void check_public(const struct job *job)
{
	FUZZ_CHECK(job->argv && job->env && job->directory && job->state_directory);
	FUZZ_CHECK(job->subcommand && job->operation && job->client);
	FUZZ_CHECK(job->directory[0] == '/' && job->state_directory[0] == '/');
	fuzz_check_printable(job->command);
	if (job->label)
		fuzz_check_printable(job->label);
	if (job->reason)
		fuzz_check_printable(job->reason);
}

/* It is read from the disk as it was written. */
static void keep(struct job *job)
{
	CLEANUP(job_freep) struct job *back = NULL;
	json_t *record, *again;

	job->id = 42;
	record = job_record_make(job, "boot");
	if (!record) /* a path that is no UTF-8 cannot come by JSON */
		abort();
	FUZZ_CHECK(job_record_parse(&back, record) == 0);
	again = job_record_make(back, "boot");
	FUZZ_CHECK(again &&
		   json_equal(json_object_get(record, "owner"), json_object_get(again, "owner")));
	(void)json_object_del(record, "argv");
	(void)json_object_del(again, "argv");
	FUZZ_CHECK(json_equal(record, again));
	json_decref(record);
	json_decref(again);
}

static void show(const struct job *job)
{
	json_t *object = job_json(job, NULL);

	FUZZ_CHECK(object);
	json_decref(object);
}

static void ask(const struct job *job, const struct config *config)
{
	struct identity_question question = { 0 };
	char *const env[] = { NULL };

	FUZZ_CHECK(identity_question_make(&question, job, env, config) == 0);
	identity_question_clear(&question);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config *config;
	const struct submit_source source = { .owner = &owner };
	CLEANUP(job_freep) struct job *job = NULL;
	AUTO_FREE char *error = NULL;
	json_t *parameters;
	int r;

	if (!config)
		FUZZ_CHECK(config_new(&config) == 0);
	parameters = json_loadb((const char *)data, size, 0, NULL);
	r = submit_parse(&job, parameters, &source, config, &error);
	FUZZ_CHECK((r < 0) == (error != NULL) && (r < 0) == (job == NULL));
	FUZZ_CHECK(!error || text_is_utf8(error)); /* or it could not be sent */
	if (job) {
		check_public(job);
		keep(job);
		show(job);
		ask(job, config);
	}
	json_decref(parameters);
	return 0;
}
