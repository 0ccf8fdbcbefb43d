/* SPDX-License-Identifier: MIT */
/*
 * The parent of one terraform: says hello to tfqd, makes the child ready, lets it go when
 * told to, records what it prints, shows it to viewers, passes on one SIGINT, waits until no
 * process of the job is left, and reports. It goes on if tfqd does not.
 */
#pragma once

#include <stdint.h>

/* Run job @id for the tfqd that listens on @socket. Return: 0, or a negative errno if there was
 * nothing to run. */
int runner_run(uint64_t id, const char *socket);
