/* SPDX-License-Identifier: MIT */
#include "client/lines.h"

#include <string.h>

bool lines_note(struct lines *lines, uint64_t at_usec)
{
	if (at_usec < lines->since_usec)
		return false;
	lines->count++;
	return lines->count > lines->skip;
}

bool lines_next(struct lines *lines, bool is_stderr, uint64_t at_usec, const char **data,
		size_t *len, struct lines_piece *ret)
{
	__auto_type stream = &lines->streams[is_stderr];
	const char *end;

	if (*len == 0)
		return false;
	end = memchr(*data, '\n', *len);
	*ret = (struct lines_piece){
		.data = *data,
		.len = end ? (size_t)(end - *data) + 1 : *len,
		.is_start = !stream->is_open,
	};
	if (ret->is_start)
		stream->is_shown = lines_note(lines, at_usec);
	ret->is_shown = stream->is_shown;
	stream->is_open = !end;
	*data += ret->len;
	*len -= ret->len;
	return true;
}
