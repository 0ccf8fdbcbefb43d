/* SPDX-License-Identifier: MIT */
/* What the files of identity share. */
#pragma once

#include "daemon/aws/identity.h"

struct identity_refresh;

/* The last reference to its identity goes: nobody is asked any more, and it is freed. */
void identity_refresh_end(struct identity_refresh *refresh);
