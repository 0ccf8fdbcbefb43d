/* SPDX-License-Identifier: MIT */
/* What tfqd takes from the helper that looks for credentials, which is its user's process. */
#include "daemon/aws/credentials_helper.c" // NOLINT(bugprone-suspicious-include): for tell()
#include "tests/fuzz/fuzz.h"

static unsigned told;

static void on_told(const struct helper_answer *answer, void *userdata)
{
	(void)userdata;
	told++;
	if (answer->result < 0) {
		FUZZ_CHECK(answer->error);
		fuzz_check_printable(answer->error);
		return;
	}
	FUZZ_CHECK(*answer->access_key && *answer->secret_key);
	FUZZ_CHECK(!answer->token || *answer->token);
	fuzz_check_printable(answer->source);
}

/* How it ended; then what it said. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const unsigned status = fuzz_byte(&input);
	const siginfo_t info = { .si_code = status & 0x80 ? CLD_KILLED : CLD_EXITED };
	struct helper *helper = calloc(1, sizeof(*helper));

	FUZZ_CHECK(helper);
	helper->fd = -1;
	helper->done = on_told;
	helper->is_too_long = input.left > HELPER_ANSWER_MAX;
	helper->len = helper->is_too_long ? HELPER_ANSWER_MAX : input.left;
	memcpy(helper->answer, input.at, helper->len);
	told = 0;
	tell(helper, &(struct end){ .info = &info });
	FUZZ_CHECK(told == 1);
	free(helper);
	return 0;
}
