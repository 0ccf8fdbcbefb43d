/* SPDX-License-Identifier: MIT */
/*
 * MessagePack as go-cty writes it, turned into JSON. Pure; the bytes may be anybody's: unlike
 * msgpack-c's, this reader allocates for what is there, not for what a length says will come.
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

/*
 * Turn the one value that the @len bytes at @data are into *@ret, the caller's to give up
 * with backend_json_free(): it may hold secrets. @depth_max: maps and lists in one another.
 *
 * Return: 0; -EOPNOTSUPP for bytes that end too early or too late, a map whose names are no
 * strings, deeper nesting, and what JSON does not have: bytes, extensions (go-cty's values
 * that are not known yet), unsigned numbers over INT64_MAX, numbers that are none, strings
 * that are no UTF-8; -ENOMEM.
 */
int msgpack_to_json(json_t **ret, const void *data, size_t len, unsigned int depth_max);
