/* SPDX-License-Identifier: MIT */
/* What tfq-doctor has found out, with what stores have said in it, to findings. */
#include "client/doctor/findings.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *facts = json_loadb((const char *)data, size, 0, NULL);
	json_t *findings = findings_judge(facts);

	FUZZ_CHECK(json_is_array(findings));
	for (size_t i = 0; i < json_array_size(findings); i++) {
		const json_t *finding = json_array_get(findings, i);

		FUZZ_CHECK(json_string_length(json_object_get(finding, "code")) > 0);
		FUZZ_CHECK(json_string_length(json_object_get(finding, "what")) > 0);
		FUZZ_CHECK(json_is_string(json_object_get(finding, "why")));
		FUZZ_CHECK(json_is_string(json_object_get(finding, "fix")));
	}
	(void)findings_worst(findings);
	json_decref(findings);
	json_decref(facts);
	return 0;
}
