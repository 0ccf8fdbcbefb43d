/* SPDX-License-Identifier: MIT */
/*
 * By the journal's own protocol (a datagram of NAME=value lines), because sd_journal_send() waits
 * for a journal that does not read, and the fence of a lease must not.
 */
#include "runner/journal_output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/journal_kinds.h"
#include "common/text.h"

#define STATE_MAX                  2048
#define DATAGRAM_MAX               (JOURNAL_OUTPUT_LINE_MAX + STATE_MAX + 512)

#define OUTPUT_ID(name, level, id) [JOURNAL_##name] = (id),
static const char *const ids[] = { JOURNAL_KINDS(OUTPUT_ID) };
#undef OUTPUT_ID

int journal_output_open(struct journal_output *output, const char *socket_path, uint64_t job,
			const char *state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_CLOSE int fd = -1;

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	(void)stpcpy(address.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*output = (struct journal_output){ .fd = TAKE_FD(fd), .job = job, .state = state };
	return 0;
}

static bool send_text(const struct journal_output *output, const char *stream, const char *text)
{
	char datagram[DATAGRAM_MAX], state[STATE_MAX];
	const int len =
		snprintf(datagram, sizeof(datagram),
			 "MESSAGE=%s\nPRIORITY=6\nSYSLOG_IDENTIFIER=terraform\n"
			 "MESSAGE_ID=%s\nTFQ_JOB=%" PRIu64 "\nTFQ_STATE=%s\nTFQ_STREAM=%s\n",
			 text, ids[JOURNAL_OUTPUT], output->job,
			 text_printable(state, sizeof(state), output->state), stream);

	return len > 0 && (size_t)len < sizeof(datagram) &&
	       send(output->fd, datagram, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

/* Take colours and the like away: ESC [ ... letter; and what a terminal would go back over. */
static void drop_sequences(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] != '\x1b' || from[1] != '[') {
			*to++ = *from;
			continue;
		}
		from += 2;
		while (*from && !(*from >= '@' && *from <= '~'))
			from++;
		if (*from == '\0')
			break;
	}
	*to = '\0';
}

static void end_line(struct journal_output *output, struct journal_line *line)
{
	const char *stream = line == &output->err ? "stderr" : "stdout";
	char note[64];

	for (size_t i = 0; i < line->len; i++)
		if (line->text[i] == '\0')
			line->text[i] = '?';
	while (line->len > 0 && line->text[line->len - 1] == '\r')
		line->len--;
	line->text[line->len] = '\0';
	line->len = 0;
	drop_sequences(line->text);
	(void)text_printable(line->text, sizeof(line->text), line->text);
	if (*line->text == '\0')
		return;
	if (output->lost > 0) {
		(void)snprintf(note, sizeof(note), "(%" PRIu64 " lines are missing here)",
			       output->lost);
		if (send_text(output, stream, note))
			output->lost = 0;
	}
	if (output->lost > 0 || !send_text(output, stream, line->text))
		output->lost++;
}

void journal_output_add(struct journal_output *output, uint8_t stream, const char *data, size_t len)
{
	struct journal_line *line = stream == FRAME_STDERR ? &output->err : &output->out;

	if (output->fd < 0)
		return;
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n' || line->len == JOURNAL_OUTPUT_LINE_MAX)
			end_line(output, line);
		if (data[i] != '\n')
			line->text[line->len++] = data[i];
	}
}

void journal_output_close(struct journal_output *output)
{
	if (output->fd < 0)
		return;
	end_line(output, &output->out);
	end_line(output, &output->err);
	(void)close(TAKE_FD(output->fd));
}
