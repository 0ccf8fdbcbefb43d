/* SPDX-License-Identifier: MIT */
/* Where terraform's output goes: stdout or stderr, gathered into few writes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "client/filter.h"

#define OUTLET_SIZE 65536

struct outlet {
	int fd;
	bool is_filtered;
	bool adds_returns; /* it is a terminal that shows a newline as CR LF */
	int error;         /* of the first write that failed; then all is dropped */
	struct filter filter;
	size_t len;
	char buf[OUTLET_SIZE];
};

/* @is_foreign: what another user printed is filtered for a terminal. */
void outlet_init(struct outlet *ret, int fd, bool is_foreign);

void outlet_write(struct outlet *outlet, const char *data, size_t len);

/* Return: 0, or the negative errno of a write: nobody can see it any more. */
int outlet_flush(struct outlet *outlet);
