/* SPDX-License-Identifier: MIT */
#include "daemon/vault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/io.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/paths.h"
#include "common/secret.h"

#define SHARED_MEMORY "/dev/shm"
#define FOLDER        "environments"
#define NAME_BYTES    8                /* of a digest: enough to tell one user's daemons apart */
#define SECRET_MAX    INT64_C(4194304) /* bytes */

struct vault {
	int dir; /* -1: keeps nothing */
	char path[PATH_MAX];
};

static bool is_in_memory(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 &&
	       (fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC);
}

/* A folder in shared memory that is this user's and this daemon's alone. */
static int choose_shared(char *path, const char *state_dir)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int n, r;

	if (!is_in_memory(SHARED_MEMORY))
		return -EOPNOTSUPP;
	if (!EVP_Digest(state_dir, strlen(state_dir), digest, &len, EVP_sha256(), NULL))
		return -EIO;
	n = snprintf(path, PATH_MAX, SHARED_MEMORY "/tfqd-%u", (unsigned)geteuid());
	r = paths_make_dir(path, 0700);
	if (r < 0)
		return -EOPNOTSUPP; /* somebody else was there before */
	path[n++] = '/';
	for (unsigned i = 0; i < NAME_BYTES; i++)
		n += snprintf(path + n, PATH_MAX - (size_t)n, "%02x", digest[i]);
	return 0;
}

static int choose(char *path, const char *runtime_dir, const char *state_dir)
{
	const int n = snprintf(path, PATH_MAX, "%s/" FOLDER, runtime_dir);

	if (n < 0 || n >= PATH_MAX)
		return -ENAMETOOLONG;
	return is_in_memory(runtime_dir) ? 0 : choose_shared(path, state_dir);
}

int vault_new(struct vault **ret, const char *runtime_dir, const char *state_dir)
{
	CLEANUP(vault_freep) struct vault *vault = calloc(1, sizeof(*vault));
	int r;

	if (!vault)
		return -ENOMEM;
	vault->dir = -1;
	r = choose(vault->path, runtime_dir, state_dir);
	if (r >= 0)
		r = paths_make_dir(vault->path, 0700);
	if (r >= 0) {
		vault->dir = open(vault->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = vault->dir < 0 ? -errno : 0;
	}
	if (r == -EOPNOTSUPP)
		vault->path[0] = '\0';
	else if (r < 0)
		return r;
	*ret = TAKE_PTR(vault);
	return r;
}

struct vault *vault_free(struct vault *vault)
{
	if (!vault)
		return NULL;
	if (vault->dir >= 0)
		(void)close(vault->dir);
	free(vault);
	return NULL;
}

const char *vault_dir(const struct vault *vault)
{
	return vault->path;
}

static const char *name_of(char buf[static 32], uint64_t id, const char *suffix)
{
	(void)snprintf(buf, 32, "%" PRIu64 "%s", id, suffix);
	return buf;
}

/* Under another name first: half a file must not be taken for a whole one. */
int vault_put(const struct vault *vault, uint64_t id, const json_t *secret)
{
	CLEANUP(secret_freep) char *text = NULL;
	AUTO_CLOSE int fd = -1;
	char half[32], name[32];
	int r;

	if (vault->dir < 0)
		return -EOPNOTSUPP;
	text = json_dumps(secret, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	fd = openat(vault->dir, name_of(half, id, ".new"),
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, text, strlen(text));
	if (r >= 0 && renameat(vault->dir, half, vault->dir, name_of(name, id, "")) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(vault->dir, half, 0);
	return r;
}

int vault_get(const struct vault *vault, uint64_t id, json_t **ret)
{
	CLEANUP(secret_freep) char *text = NULL;
	AUTO_CLOSE int fd = -1;
	struct stat st;
	char name[32];
	size_t len = 0;
	int r;

	fd = vault->dir < 0
		     ? -1
		     : openat(vault->dir, name_of(name, id, ""), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return vault->dir < 0 ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > SECRET_MAX)
		return -EBADMSG;
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	r = io_read_all(fd, text, (size_t)st.st_size, &len);
	if (r < 0)
		return r;
	*ret = json_loadb(text, len, 0, NULL);
	return *ret ? 0 : -EBADMSG;
}

void vault_drop(const struct vault *vault, uint64_t id)
{
	char name[32];

	if (vault->dir >= 0)
		(void)unlinkat(vault->dir, name_of(name, id, ""), 0);
}

void vault_sweep(const struct vault *vault, bool (*is_needed)(uint64_t id, void *userdata),
		 void *userdata)
{
	const struct dirent *entry;
	DIR *dir;
	int fd;

	if (vault->dir < 0)
		return;
	fd = openat(vault->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		uint64_t id;

		if (entry->d_name[0] == '.')
			continue;
		if (parse_u64(entry->d_name, INT64_MAX, &id) < 0 || !is_needed(id, userdata))
			(void)unlinkat(vault->dir, entry->d_name, 0);
	}
	(void)closedir(dir);
}
