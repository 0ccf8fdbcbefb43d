/* SPDX-License-Identifier: MIT */
#include "runner/recording.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"

static int append(struct recording *recording, enum frame_type type, uint8_t stream,
		  const void *body, size_t len)
{
	unsigned char header[FRAME_HEADER_LEN];
	struct iovec iov[2] = { { header, sizeof(header) }, { .iov_len = len } };
	ssize_t n;

	frame_encode_header(header, &(struct frame){
					    .type = (uint8_t)type,
					    .stream = stream,
					    .len = (uint32_t)len,
					    .at_usec = clock_usec(CLOCK_REALTIME),
				    });
	memcpy(&iov[1].iov_base, &body, sizeof(body)); /* writev() does not write there */

	do
		n = writev(recording->fd, iov, len > 0 ? 2 : 1);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)(sizeof(header) + len)) {
		recording->size += (uint64_t)n;
		return 0;
	}
	if (n > 0) /* half a frame would end the recording for every reader */
		(void)!ftruncate(recording->fd, (off_t)recording->size);
	return -ENOSPC;
}

void recording_add(struct recording *recording, enum frame_type type, uint8_t stream,
		   const void *body, size_t len)
{
	char note[96];
	int n;

	if (recording->lost_bytes > 0) {
		n = snprintf(note, sizeof(note),
			     "%" PRIu64 " bytes of output are missing here: no room to record them",
			     recording->lost_bytes);
		if (append(recording, FRAME_NOTE, FRAME_STREAM_NONE, note, (size_t)n) == 0)
			recording->lost_bytes = 0;
	}
	if (append(recording, type, stream, body, len) < 0)
		recording->lost_bytes += len;
}
