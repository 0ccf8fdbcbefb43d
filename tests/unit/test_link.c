/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/link.h"
#include "common/parse.h"
#include "tests/unit/unit.h"

#define BEGIN (1000 * USEC_PER_SEC)

static char folder[] = "/tmp/tfq-link.XXXXXX";
static char path[64];

static int serve(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, strlen(path) + 1);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

static void make_folder(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/socket", folder);
	(void)setenv("TFQ_SOCKET", path, 1);
}

static void remove_folder(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

START_TEST(tries_are_ever_more_seldom_and_never_stop)
{
	struct link link = { .path = strdup(path) };
	uint64_t now = BEGIN, delay = 0;

	link_lose(&link, now);
	ck_assert_uint_eq(link.away_usec, BEGIN);
	ck_assert_uint_eq(link.next_usec, BEGIN + 100 * USEC_PER_MSEC);
	for (int i = 0; i < 20; i++) {
		const uint64_t next = link.next_usec;

		ck_assert_int_eq(link_retry(&link, next - 1), 0);
		ck_assert_uint_eq(link.next_usec, next);
		ck_assert_uint_ge(next - now, delay);
		delay = next - now;
		now = next;
		ck_assert_int_eq(link_retry(&link, now), 0);
	}
	ck_assert_uint_eq(delay, 2 * USEC_PER_SEC);
	ck_assert_uint_eq(link.away_usec, BEGIN);
	link_clear(&link);
}
END_TEST

START_TEST(connection_ends_the_tries_and_an_answer_the_absence)
{
	struct link link = { 0 };
	const int fd = serve();

	ck_assert_int_eq(link_open(&link), 0);
	ck_assert_int_eq(link_retry(&link, BEGIN), 0); /* it is there */
	link_lose(&link, BEGIN);
	ck_assert_ptr_null(link.varlink);
	ck_assert_int_eq(link_retry(&link, BEGIN + USEC_PER_SEC), 1);
	ck_assert_ptr_nonnull(link.varlink);
	ck_assert_uint_eq(link.next_usec, 0);
	ck_assert_uint_eq(link.away_usec, BEGIN);

	link_lose(&link, BEGIN + 2 * USEC_PER_SEC); /* without an answer: it is still away */
	ck_assert_uint_eq(link.away_usec, BEGIN);
	ck_assert_uint_eq(link.next_usec, BEGIN + 2 * USEC_PER_SEC + 150 * USEC_PER_MSEC);
	ck_assert_int_eq(link_retry(&link, BEGIN + 3 * USEC_PER_SEC), 1);
	link_found(&link);
	ck_assert_uint_eq(link.away_usec, 0);
	link_lose(&link, BEGIN + 4 * USEC_PER_SEC);
	ck_assert_uint_eq(link.next_usec, BEGIN + 4 * USEC_PER_SEC + 100 * USEC_PER_MSEC);
	link_close(&link);
	ck_assert_int_eq(link_retry(&link, BEGIN + 9 * USEC_PER_SEC), 0);
	link_clear(&link);
	(void)close(fd);
}
END_TEST

/* Another tfqd's jobs have the same numbers. */
START_TEST(same_socket_is_tried_whatever_the_environment_says_now)
{
	struct link link = { 0 };
	const int fd = serve();

	ck_assert_int_eq(link_open(&link), 0);
	(void)setenv("TFQ_SOCKET", "/nowhere/at/all", 1);
	link_lose(&link, BEGIN);
	ck_assert_int_eq(link_retry(&link, BEGIN + USEC_PER_SEC), 1);
	link_clear(&link);
	(void)close(fd);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, make_folder, remove_folder);
	tcase_add_test(tcase, tries_are_ever_more_seldom_and_never_stop);
	tcase_add_test(tcase, connection_ends_the_tries_and_an_answer_the_absence);
	tcase_add_test(tcase, same_socket_is_tried_whatever_the_environment_says_now);
}

int main(void)
{
	return unit_main("link", add_tests);
}
