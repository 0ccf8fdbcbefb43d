/* SPDX-License-Identifier: MIT */
/* How many columns of a terminal a text takes: wide characters two, combining ones none. Texts are
 * printable UTF-8, as print_text() makes them. Pure, but for the locale's wcwidth(3). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

size_t cells_width(const char *text);

/*
 * Copy @text to @buf of @size bytes, cut to @width columns, with an ellipsis where something is
 * left out: at its end, or, with @from_left, at its start. Return: @buf.
 */
char *cells_cut(char *buf, size_t size, const char *text, size_t width, bool from_left);
