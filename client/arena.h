/* SPDX-License-Identifier: MIT */
/* Memory that is never given back, for a command that reads much once and then ends: a quarter of
 * its time would go into freeing what the kernel takes back at once. */
#pragma once

/* Give jansson such memory, before it has had any other. */
void arena_use(void);
