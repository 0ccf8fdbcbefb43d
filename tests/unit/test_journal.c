/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/journal_kinds.h"
#include "runner/journal_output.h"
#include "tests/unit/unit.h"

#define CATALOG  "units/tfqd.catalog"
#define TEXT_MAX 65536

/* --- the catalog ---------------------------------------------------------------------------- */

static const struct {
	const char *name, *id;
} kinds[] = {
#define KIND(name, level, id) { #name, id },
	JOURNAL_KINDS(KIND)
#undef KIND
};

static char *catalog(void)
{
	AUTO_FREE char *text = calloc(1, TEXT_MAX);
	FILE *file = fopen(CATALOG, "re");

	ck_assert_msg(file != NULL, "%s is not there; tests run in the top folder", CATALOG);
	ck_assert_uint_lt(fread(text, 1, TEXT_MAX - 1, file), TEXT_MAX - 1);
	(void)fclose(file);
	return TAKE_PTR(text);
}

START_TEST(each_kind_has_an_id_of_its_own)
{
	for (size_t i = 0; i < JOURNAL_KIND_COUNT; i++) {
		ck_assert_msg(strlen(kinds[i].id) == 32 &&
				      strspn(kinds[i].id, "0123456789abcdef") == 32,
			      "%s: no ID", kinds[i].name);
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(strcmp(kinds[i].id, kinds[j].id) != 0, "%s and %s",
				      kinds[i].name, kinds[j].name);
	}
}
END_TEST

START_TEST(each_kind_is_explained)
{
	AUTO_FREE char *text = catalog();

	for (size_t i = 0; i < JOURNAL_KIND_COUNT; i++) {
		char heading[64];
		const char *at, *end, *body;

		(void)snprintf(heading, sizeof(heading), "\n-- %s\nSubject: ", kinds[i].id);
		at = strstr(text, heading);
		ck_assert_msg(at != NULL, "%s is not in %s", kinds[i].name, CATALOG);
		end = strstr(at + 1, "\n-- ");
		body = strstr(at, "\n\n");
		ck_assert_msg(body && (!end || body < end) && body[2] > ' ', "%s has no text",
			      kinds[i].name);
	}
}
END_TEST

START_TEST(nothing_else_is_explained)
{
	AUTO_FREE char *text = catalog();
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, "\n-- ")); at += 4)
		count++;
	ck_assert_uint_eq(count, JOURNAL_KIND_COUNT);
}
END_TEST

/* --- what terraform prints ------------------------------------------------------------------ */

static char folder[] = "/tmp/tfq-journal.XXXXXX", path[64];
static int journal = -1;
static struct journal_output output;

static void start(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)stpcpy(folder + strlen(folder) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/socket", folder);
	(void)stpcpy(address.sun_path, path);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(journal, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(journal_output_open(&output, path, 42, "s3://b/k"), 0);
}

static void stop(void)
{
	journal_output_close(&output);
	(void)close(journal);
	(void)unlink(path);
	(void)rmdir(folder);
}

static void add(uint8_t stream, const char *text)
{
	journal_output_add(&output, stream, text, strlen(text));
}

/* The next message is @text, from @stream; NULL: there is none. */
static void expect(const char *stream, const char *text)
{
	char got[8192], want[8192];
	const ssize_t n = recv(journal, got, sizeof(got) - 1, MSG_DONTWAIT);

	if (!text) {
		ck_assert_int_lt(n, 0);
		return;
	}
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	(void)snprintf(want, sizeof(want),
		       "MESSAGE=%s\nPRIORITY=6\nSYSLOG_IDENTIFIER=terraform\nMESSAGE_ID=%s\n"
		       "TFQ_JOB=42\nTFQ_STATE=s3://b/k\nTFQ_STREAM=%s\n",
		       text, kinds[JOURNAL_OUTPUT].id, stream);
	ck_assert_str_eq(got, want);
}

START_TEST(output_goes_line_by_line)
{
	add(FRAME_STDOUT, "one\ntw");
	expect("stdout", "one");
	expect(NULL, NULL);
	add(FRAME_STDERR, "trouble\n");
	expect("stderr", "trouble");
	add(FRAME_STDOUT, "o\r\n\n\nthree");
	expect("stdout", "two");
	journal_output_close(&output);
	expect("stdout", "three");
	expect(NULL, NULL);
}
END_TEST

START_TEST(nothing_in_it_can_make_a_field_or_move_a_terminal)
{
	add(FRAME_STDOUT, "\x1b[1m\x1b[31mred\x1b[0m \x1b]0;title\a\x9b\n");
	expect("stdout", "red ?]0;title??");
	journal_output_add(&output, FRAME_STDOUT, "a\0b\n", 4);
	expect("stdout", "a?b");
	add(FRAME_STDOUT, "a\rPRIORITY=0\x1b[\n");
	expect("stdout", "a?PRIORITY=0");
}
END_TEST

START_TEST(long_line_goes_in_pieces)
{
	char text[JOURNAL_OUTPUT_LINE_MAX + 11];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	add(FRAME_STDOUT, text);
	add(FRAME_STDOUT, "\n");
	text[JOURNAL_OUTPUT_LINE_MAX] = '\0';
	expect("stdout", text);
	expect("stdout", "xxxxxxxxxx");
}
END_TEST

START_TEST(a_journal_that_does_not_read_is_not_waited_for)
{
	char note[64];
	unsigned sent = 0;
	char got[8192];

	for (unsigned i = 0; i < 5000; i++)
		add(FRAME_STDOUT, "line\n");
	while (recv(journal, got, sizeof(got), MSG_DONTWAIT) > 0)
		sent++;
	ck_assert_uint_gt(sent, 0);
	ck_assert_uint_lt(sent, 5000);
	add(FRAME_STDOUT, "again\n");
	(void)snprintf(note, sizeof(note), "(%u lines are missing here)", 5000 - sent);
	expect("stdout", note);
	expect("stdout", "again");
}
END_TEST

START_TEST(where_there_is_no_journal_nothing_happens)
{
	struct journal_output other = { .fd = -1 };

	ck_assert_int_lt(journal_output_open(&other, "/nowhere/at/all", 1, "x"), 0);
	journal_output_add(&other, FRAME_STDOUT, "x\n", 2);
	journal_output_close(&other);
	expect(NULL, NULL);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, each_kind_has_an_id_of_its_own);
	tcase_add_test(tcase, each_kind_is_explained);
	tcase_add_test(tcase, nothing_else_is_explained);
	tcase_add_test(tcase, output_goes_line_by_line);
	tcase_add_test(tcase, nothing_in_it_can_make_a_field_or_move_a_terminal);
	tcase_add_test(tcase, long_line_goes_in_pieces);
	tcase_add_test(tcase, a_journal_that_does_not_read_is_not_waited_for);
	tcase_add_test(tcase, where_there_is_no_journal_nothing_happens);
}

int main(void)
{
	return unit_main("journal", add_tests);
}
