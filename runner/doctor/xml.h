/* SPDX-License-Identifier: MIT */
/* What stands in an answer of S3. Pure; hostile input: bounded, no entities. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#define XML_ANSWER_MAX 65536U /* bytes */

/*
 * The texts of @body by the names of their elements, the first of each that is not empty; what does
 * not parse gives what stood before it. Return: a new object, or NULL if out of memory.
 */
json_t *xml_texts(const void *body, size_t len);
