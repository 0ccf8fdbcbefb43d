/* SPDX-License-Identifier: MIT */
/* HTTP for the sources of credentials: one request after the other, blocking, within the time left.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "common/cleanup.h"
#include "runner/aws/ask.h"

#define FETCH_BODY_MAX  65536U /* bytes of an answer; more is a failure */
#define FETCH_ERROR_MAX 256

struct fetch {
	const char *method;
	const char *url;            /* http or https */
	const char *const *headers; /* "Name: value", NULL-ended */
	const char *body;           /* NULL: none */
	bool is_local; /* the machine's or container's own service: no proxy, a second to connect */
};

struct fetch_answer {
	int status; /* 0: no answer came; error says why */
	char *body; /* NUL-ended, of any bytes; wiped by fetch_answer_clear() */
	size_t len;
	time_t date;       /* by the server's clock; -1: it did not say */
	bool is_connected; /* a connection stood, so somebody is there */
	bool is_timeout;
	char error[FETCH_ERROR_MAX]; /* a phrase, printable */
};
void fetch_answer_clear(struct fetch_answer *answer);

/*
 * Ask, up to three times while no answer or one of a passing trouble (429, 5xx but 501) comes.
 * Redirects are not followed. Clears *@answer first.
 *
 * Return: 0 if there is an answer, of whatever status; -EIO if not; -EINVAL for a proxy that is
 * none, with the sentence set; -ENOMEM.
 */
int fetch(struct fetch_answer *answer, struct ask *ask, const struct fetch *fetch);

/* Was @host (no brackets, no port) written as this machine's own address, or localhost? */
bool fetch_is_loopback(const char *host);
