/* SPDX-License-Identifier: MIT */
/* Facts of this machine: tfqd, its socket, and what it remembers of a state (findings.h). */
#pragma once

#include <jansson.h>

/*
 * Set "daemon" and "others" in @facts. @state: the state's name; @directory: ours, which is not one
 * of the others. What cannot be found out is left out.
 */
void machine_look(json_t *facts, const char *state, const char *directory);
