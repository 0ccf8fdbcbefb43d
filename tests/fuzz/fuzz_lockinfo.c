/* SPDX-License-Identifier: MIT */
/* The body of a lock that anybody may have written. */
#include "daemon/lock/lockinfo.h"

#include <errno.h>

#include "tests/fuzz/fuzz.h"

static void check_seen(const struct lockinfo_seen *seen)
{
	const char *const texts[] = { seen->id,      seen->operation, seen->info, seen->who,
				      seen->created, seen->nonce,     seen->host };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		fuzz_check_printable(texts[i]);
	FUZZ_CHECK(seen->lease_sec <= LOCKINFO_LEASE_MAX);
	FUZZ_CHECK(!seen->is_tfqd || strlen(seen->nonce) == LOCKINFO_NONCE_LEN - 1);
	FUZZ_CHECK(seen->is_tfqd || seen->lease_sec == 0);
}

/* What was read can be written, and is read as the same again. */
static void write_again(const struct lockinfo_seen *seen)
{
	const struct lockinfo info = {
		.id = seen->id,
		.operation = seen->operation,
		.info = seen->info,
		.who = seen->who,
		.version = "1.11.4",
		.created = seen->created,
		.path = "bucket/key",
		.host = seen->host,
		.boot = "boot",
		.job = seen->job,
		.epoch = seen->epoch,
		.nonce = seen->nonce,
		.lease_sec = seen->lease_sec,
	};
	struct lockinfo_seen again;
	AUTO_FREE char *body = NULL;

	FUZZ_CHECK(lockinfo_format(&body, &info) == 0);
	FUZZ_CHECK(lockinfo_parse(&again, body, strlen(body)) == 0);
	FUZZ_CHECK(strcmp(again.id, seen->id) == 0 && strcmp(again.info, seen->info) == 0);
	FUZZ_CHECK(strcmp(again.who, seen->who) == 0);
	FUZZ_CHECK(again.is_tfqd == seen->is_tfqd && again.lease_sec == seen->lease_sec);
	/* Numbers over INT64_MAX are no JSON numbers to us, and count as not said. */
	FUZZ_CHECK(!seen->is_tfqd || again.job == seen->job);
}

/* The body; then what stands beside it in DynamoDB, a line each. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct lockinfo_seen seen;
	char *lines[7];
	size_t len;
	AUTO_FREE char *body = fuzz_part(&input, &len);
	AUTO_FREE char *beside = fuzz_part(&input, NULL);
	const int r = lockinfo_parse(&seen, body, len);

	check_seen(&seen);
	if (r < 0) {
		FUZZ_CHECK(r == -EFBIG || r == -EBADMSG || r == -ENOMSG);
		FUZZ_CHECK(!seen.is_tfqd && lockinfo_strerror(r));
		return 0;
	}
	FUZZ_CHECK(seen.id[0]);
	write_again(&seen);
	(void)lockinfo_lease_usec(&seen);

	memset(lines, 0, sizeof(lines));
	fuzz_lines(lines, 7, beside);
	lockinfo_take_lease(&seen, &(struct lockinfo_lease){ .version = lines[0],
							     .nonce = lines[0] ? lines[1] : NULL,
							     .owner = lines[2],
							     .job = lines[3],
							     .lease_ms = lines[4],
							     .epoch = lines[5] });
	check_seen(&seen);
	return 0;
}
