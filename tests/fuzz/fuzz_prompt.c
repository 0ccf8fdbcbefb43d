/* SPDX-License-Identifier: MIT */
/* Does terraform ask? The answer is the same however its output is cut. */
#include "runner/prompt.h"

#include "tests/fuzz/fuzz.h"

/* The first byte: how many come at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	const size_t step = fuzz_byte(&input) + 1;
	struct prompt whole = { 0 }, cut = { 0 };

	prompt_feed(&whole, (const char *)input.at, input.left);
	for (size_t at = 0; at < input.left; at += step) {
		const size_t left = input.left - at;

		prompt_feed(&cut, (const char *)input.at + at, left < step ? left : step);
	}
	FUZZ_CHECK(prompt_asks(&whole) == prompt_asks(&cut));
	FUZZ_CHECK(whole.asked == cut.asked && whole.escape == cut.escape);
	prompt_answer(&whole);
	FUZZ_CHECK(!prompt_asks(&whole));
	return 0;
}
