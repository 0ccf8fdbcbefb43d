/* SPDX-License-Identifier: MIT */
/* doctor: look at this directory's backend, and say what is wrong with it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/doctor/findings.h"
#include "client/doctor/helper.h"
#include "client/doctor/machine.h"
#include "client/exits.h"
#include "client/print.h"
#include "client/subject.h"
#include "common/backend.h"
#include "common/cleanup.h"
#include "common/text.h"

#define LINE_SIZE 1024
#define COLUMNS   79

static inline void json_freep(json_t **p)
{
	json_decref(*p);
}

/* --- what is found out ----------------------------------------------------------------------- */

static json_t *backend_facts(const struct backend *backend)
{
	return json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:b, s:s?}", "type", backend->type,
			 "name", backend->name, "terraform_version", backend->terraform_version,
			 "bucket", backend->bucket, "key", backend->key, "region", backend->region,
			 "lockfile", backend->use_lockfile, "table", backend->dynamodb_table);
}

/* The state of the directory we are in. Return: 0, or the exit code. */
static int here(struct backend_source **ret_source, struct backend **ret_backend)
{
	AUTO_FREE char *cwd = getcwd(NULL, 0);
	AUTO_FREE char *error = NULL;
	int r;

	if (!cwd) {
		print_error("cannot tell the current directory");
		return EXIT_BAD_STATE;
	}
	r = backend_source_read(ret_source, cwd, environ, &error);
	if (r >= 0)
		r = backend_parse(ret_backend, *ret_source, environ, false, &error);
	if (r < 0) {
		print_error("%s", error ? error : strerror(-r));
		return EXIT_BAD_STATE;
	}
	return 0;
}

/* Return: 0, or the exit code. */
static int find_facts(json_t **ret, const struct backend_source *source,
		      const struct backend *backend, bool probe)
{
	CLEANUP(json_freep) json_t *facts = NULL;
	json_t *question;
	int r = 0;

	if (backend->kind == BACKEND_S3) {
		question = subject_json(source);
		if (question)
			(void)json_object_set_new(question, "probe", json_boolean(probe));
		r = helper_ask(question, &facts);
	} else {
		facts = json_object();
	}
	if (r != 0)
		return r;
	if (json_object_set_new(facts, "backend", backend_facts(backend)) < 0) {
		print_error("out of memory");
		return EXIT_OURS;
	}
	machine_look(facts, backend->name, source->directory);
	*ret = TAKE_PTR(facts);
	return 0;
}

/* --- what is said ---------------------------------------------------------------------------- */

/* As it stands, each line made printable. */
static void print_lines(const char *indent, const char *text)
{
	AUTO_FREE char *copy = strdup(text);
	char *rest = copy, *line, clean[LINE_SIZE];

	while (rest && (line = strsep(&rest, "\n")))
		(void)printf("%s%s\n", indent, text_printable(clean, sizeof(clean), line));
}

/* A sentence or two, made printable, in lines of at most COLUMNS, after @used ones of the first. */
static void print_words(size_t used, const char *text)
{
	char clean[LINE_SIZE];
	char *rest = text_printable(clean, sizeof(clean), text), *word;

	while ((word = strsep(&rest, " "))) {
		if (used + 1 + strlen(word) > COLUMNS) {
			(void)printf("\n ");
			used = 1;
		}
		(void)printf(" %s", word);
		used += 1 + strlen(word);
	}
	(void)printf("\n");
}

static const char *text_of(const json_t *finding, const char *name)
{
	const char *text = json_string_value(json_object_get(finding, name));

	return text ? text : "";
}

static void print_finding(const json_t *finding)
{
	const char *level = text_of(finding, "level"), *why = text_of(finding, "why"),
		   *fix = text_of(finding, "fix");

	(void)printf("%s:", level);
	print_words(strlen(level) + 1, text_of(finding, "what"));
	if (*why) {
		(void)printf(" ");
		print_words(1, why);
	}
	if (*fix) {
		(void)printf("  What to do:\n");
		print_lines("    ", fix);
	}
	(void)printf("\n");
}

static void print_findings(const json_t *findings, const char *state)
{
	static const struct {
		const char *level, *many;
	} levels[] = { { "error", "errors" }, { "warning", "warnings" }, { "note", "notes" } };
	const char *before = ": ";
	char clean[LINE_SIZE];

	for (size_t i = 0; i < json_array_size(findings); i++)
		print_finding(json_array_get(findings, i));
	(void)printf("%s", text_printable(clean, sizeof(clean), state));
	if (findings_worst(findings) == FINDING_NOTE) {
		(void)printf(": nothing is wrong.\n");
		return;
	}
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		size_t count = 0;

		for (size_t j = 0; j < json_array_size(findings); j++)
			count += strcmp(text_of(json_array_get(findings, j), "level"),
					levels[i].level) == 0;
		if (count > 0) {
			(void)printf("%s%zu %s", before, count,
				     count == 1 ? levels[i].level : levels[i].many);
			before = ", ";
		}
	}
	(void)printf("\n");
}

static int print_json(const json_t *findings, const char *state)
{
	CLEANUP(json_freep)
	json_t *object = json_pack("{s:s, s:O}", "state", state, "findings", findings);

	if (!object || json_dumpf(object, stdout, JSON_INDENT(2)) < 0)
		return EXIT_OURS;
	(void)printf("\n");
	return 0;
}

int cmd_doctor(int argc, char **argv)
{
	bool as_json = false, probe = false;
	const struct command_value values[] = { { "json", .flag = &as_json },
						{ "probe", .flag = &probe },
						{ 0 } };
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	CLEANUP(backend_freep) struct backend *backend = NULL;
	CLEANUP(json_freep) json_t *facts = NULL;
	CLEANUP(json_freep) json_t *findings = NULL;
	int r;

	if (command_parse(argc, argv, values) < 0)
		return EXIT_USAGE;
	r = here(&source, &backend);
	if (r == 0)
		r = find_facts(&facts, source, backend, probe);
	if (r != 0)
		return r;
	findings = findings_judge(facts);
	if (!findings) {
		print_error("out of memory");
		return EXIT_OURS;
	}
	if (as_json)
		r = print_json(findings, backend->name);
	else
		print_findings(findings, backend->name);
	return r != 0 ? r : (int)findings_worst(findings);
}
