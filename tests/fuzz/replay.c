/* SPDX-License-Identifier: MIT */
/* main() for a target without libFuzzer: takes the files it is given, each an input. */
#include <errno.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 1048576 /* bytes */

int main(int argc, char **argv)
{
	static char input[INPUT_MAX];

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "re");
		const size_t len = file ? fread(input, 1, sizeof(input), file) : 0;
		uint8_t *exact =
			malloc(len ? len : 1); /* so that a sanitizer sees what reads beyond */

		if (!file || !exact) {
			(void)fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return EXIT_FAILURE;
		}
		(void)fclose(file);
		memcpy(exact, input, len);
		(void)fprintf(stderr, "%s\n", argv[i]);
		(void)LLVMFuzzerTestOneInput(exact, len);
		free(exact);
	}
	(void)printf("%d passed, 0 failed, 0 skipped\n", argc - 1);
	return EXIT_SUCCESS;
}
