/* SPDX-License-Identifier: MIT */
/* One run of tfq-doctor, which asks the stores: see common/doctor.h. */
#pragma once

#include <jansson.h>

/*
 * Ask @question, which is stolen and wiped. Its complaints go to stderr. Return: 0 and the facts in
 * *@ret, the caller's; or the exit code, and the user has been told.
 */
int helper_ask(json_t *question, json_t **ret);
