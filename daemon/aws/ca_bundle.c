/* SPDX-License-Identifier: MIT */
#include "daemon/aws/ca_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

static int check(const struct stat *st, uid_t uid)
{
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	if (st->st_uid != uid && !(st->st_mode & S_IROTH))
		return -EACCES;
	return st->st_size > CA_BUNDLE_MAX ? -EFBIG : 0;
}

int ca_bundle_read(char **ret, const char *path, const char *directory, uid_t uid)
{
	AUTO_FREE char *full = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = -1;
	size_t used = 0;
	struct stat st;
	int r;

	if (asprintf(&full, "%s%s%s", path[0] == '/' ? "" : directory, path[0] == '/' ? "" : "/",
		     path) < 0) {
		full = NULL;
		return -ENOMEM;
	}
	fd = open(full, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	r = check(&st, uid);
	if (r < 0)
		return r;

	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (used < (size_t)st.st_size) {
		const ssize_t n = read(fd, text + used, (size_t)st.st_size - used);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		if (n > 0)
			used += (size_t)n;
	}
	text[used] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}
