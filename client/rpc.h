/* SPDX-License-Identifier: MIT */
/* One question to tfqd and its answer, with words for the user where it fails. */
#pragma once

#include <jansson.h>

#include "common/varlink.h"

/* Connect to tfqd. Return: 0 and *@ret, or the exit code; then the user has been told. */
int rpc_connect(struct varlink **ret);

/*
 * Connect, and let @ask, which returns 0 or a negative errno, do the rest. It is called again, on
 * a new connection, if one is lost, for up to 10 s, where @method only reads: a restart of tfqd is
 * nobody's failure.
 * Return: 0, or the exit code; then the user has been told.
 */
int rpc_talk(const char *method, int (*ask)(struct varlink *varlink, void *userdata),
	     void *userdata);

/*
 * Call @method with @parameters, which are stolen, on a connection of its own.
 * Return: 0 and the answer, which may be an error, in *@ret, the caller's; or the exit code,
 * and the user has been told.
 */
int rpc_ask(const char *method, json_t *parameters, json_t **ret);

/* The same; *@ret_fd is a descriptor that came with it, the caller's; negative: none. */
int rpc_ask_fd(const char *method, json_t *parameters, json_t **ret, int *ret_fd);

/*
 * As rpc_ask(), but *@ret is the answer's parameters, and an error is told to the user, too.
 */
int rpc_call(const char *method, json_t *parameters, json_t **ret);

/* Tell the user of an error that @message, an answer, carries. Return: its exit code; 0 if it is
 * none. */
int rpc_check(const json_t *message);

/* Wait for the next message, at most @timeout_ms (-1: for ever). Return: 1, 0 on a time-out, or a
 * negative errno. */
int rpc_wait(struct varlink *varlink, json_t **ret, int timeout_ms);
