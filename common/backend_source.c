/* SPDX-License-Identifier: MIT */
/* The half of backend.h that reads the disk. */
#include "common/backend.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/backend_parts.h"
#include "common/env.h"
#include "common/explain.h"
#include "common/secret.h"

#define SCAN_FILE_MAX      ((size_t)4 << 20) /* bytes of a *.tf file */
#define SCAN_FILES_MAX     10000             /* entries of a directory */
#define WORKSPACE_FILE_MAX 1024

static void closedirp(DIR **p)
{
	if (*p)
		(void)closedir(*p);
}

static void print_path(const struct backend_reader *reader, const char *path, char *ret,
		       size_t size)
{
	if (path[0] == '/')
		(void)snprintf(ret, size, "%s", path);
	else
		(void)snprintf(ret, size, "%s/%s", reader->directory, path);
}

static int unreadable(const struct backend_reader *reader, int error, const char *path,
		      const char *what)
{
	char full[2 * PATH_MAX];

	print_path(reader, path, full, sizeof(full));
	return explain(reader->ret_error, error, "%s: %s", full, what);
}

/*
 * Open @path, a regular file, without waiting for anybody.
 * Return: the fd, or a negative errno; -ENOENT comes without a sentence.
 */
static int open_regular(const struct backend_reader *reader, const char *path)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	char what[128];
	int r;

	/* O_NONBLOCK: a FIFO in its place must not hang us. */
	fd = openat(reader->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		if (r == -ENOENT)
			return r;
		(void)snprintf(what, sizeof(what), "cannot be read as uid %u (%s): correct that",
			       geteuid(), strerrordesc_np(-r));
		return unreadable(reader, r, path, what);
	}
	if (S_ISDIR(st.st_mode))
		return unreadable(reader, -EISDIR, path,
				  "is a directory, but should be a file: move it away");
	if (!S_ISREG(st.st_mode))
		return unreadable(reader, -EINVAL, path,
				  "is not a regular file: put one in its place");
	return TAKE_FD(fd);
}

static int read_all(const struct backend_reader *reader, const char *path, int fd, size_t max,
		    char *buf)
{
	size_t size = 0;
	ssize_t n;
	int r;

	while ((n = read(fd, buf + size, max + 1 - size)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			return unreadable(reader, r, path, strerrordesc_np(-r));
		}
		size += (size_t)n;
		if (size > max)
			return unreadable(reader, -EFBIG, path,
					  "is far too large for what it is: look at what wrote it");
	}

	buf[size] = '\0';
	if (strlen(buf) != size) {
		return unreadable(
			reader, -EBADMSG, path,
			"holds a NUL byte and is damaged: restore it, or run \"terraform init "
			"-reconfigure\"");
	}
	return 0;
}

int backend_read_file(const struct backend_reader *reader, const char *path, size_t max, char **ret)
{
	CLEANUP(secret_freep) char *buf = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	fd = open_regular(reader, path);
	if (fd == -ENOENT) {
		*ret = NULL;
		return 0;
	}
	if (fd < 0)
		return fd;

	/* Never reallocated, so that no copy of a secret stays behind. Pages not touched cost
	 * nothing. */
	buf = calloc(1, max + 2);
	if (!buf)
		return -ENOMEM;
	r = read_all(reader, path, fd, max, buf);
	if (r < 0) {
		explicit_bzero(buf, max + 1);
		return r;
	}

	*ret = TAKE_PTR(buf);
	return 0;
}

static int read_data_file(const struct backend_reader *reader, const char *name, size_t max,
			  char **ret)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", reader->data_dir, name) >= (int)sizeof(path))
		return unreadable(reader, -ENAMETOOLONG, "$TF_DATA_DIR", "is too long a path");
	return backend_read_file(reader, path, max, ret);
}

/* What terraform's configs.IsIgnoredFile() and its suffixes say. */
static bool is_configuration(const char *name)
{
	if (name[0] == '.' || backend_ends_with(name, "~") ||
	    (name[0] == '#' && backend_ends_with(name, "#")))
		return false;
	return backend_ends_with(name, ".tf") || backend_ends_with(name, ".tf.json") ||
	       backend_ends_with(name, ".tofu") || backend_ends_with(name, ".tofu.json");
}

static int scan_file(const struct backend_reader *reader, const char *name)
{
	AUTO_FREE char *text = NULL;
	char type[BACKEND_TYPE_SIZE];
	int r;

	r = backend_read_file(reader, name, SCAN_FILE_MAX, &text);
	if (r == -EISDIR) {
		free(TAKE_PTR(*reader->ret_error)); /* terraform skips directories, too */
		return 0;
	}
	if (r < 0)
		return r;
	if (!text)
		return unreadable(reader, -ENOENT, name,
				  "is a link to nothing: correct or remove it");

	if (backend_ends_with(name, ".json") ? !backend_scan_json(text, type)
					     : !backend_scan_hcl(text, type))
		return 0;
	return explain(reader->ret_error, -ENOENT,
		       "%s/%s names backend \"%s\" but is not initialised: run terraform init",
		       reader->directory, name, type);
}

/* Without an initialised backend: is it the local one, or was terraform init forgotten? */
static int scan_configuration(const struct backend_reader *reader)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	AUTO_CLOSE int fd = -1;
	struct dirent *entry;
	bool is_empty = true;
	int r;

	fd = openat(reader->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		r = -errno;
		return unreadable(reader, r, ".", strerrordesc_np(-r));
	}
	(void)TAKE_FD(fd);

	for (size_t i = 0; (errno = 0, entry = readdir(dir)); i++) {
		if (i >= SCAN_FILES_MAX) {
			return unreadable(reader, -EFBIG, ".",
					  "has too many entries: run terraform "
					  "init, so that they need not be looked at");
		}
		if (!is_configuration(entry->d_name))
			continue;
		is_empty = false;
		r = scan_file(reader, entry->d_name);
		if (r < 0)
			return r;
	}
	if (errno)
		return unreadable(reader, -errno, ".", "cannot be listed");
	if (is_empty) {
		return explain(reader->ret_error, -ENOENT,
			       "%s: no terraform configuration here (no *.tf file): change to its "
			       "directory, or name it with -chdir=DIR",
			       reader->directory);
	}
	return 0;
}

static int read_workspace(const struct backend_reader *reader, char *const *env, char **ret)
{
	const char *name = env_get_filled(env, "TF_WORKSPACE");
	const char *from = "TF_WORKSPACE";
	AUTO_FREE char *text = NULL;
	size_t len;
	int r;

	if (!name) {
		r = read_data_file(reader, "environment", WORKSPACE_FILE_MAX, &text);
		if (r < 0)
			return r;
		name = text ? text + strspn(text, " \t\r\n\v\f") : "";
		for (len = strlen(name); len > 0 && isspace((unsigned char)name[len - 1]); len--)
			text[name - text + (ptrdiff_t)len - 1] = '\0';
		if (!*name)
			name = "default";
		from = "terraform workspace select";
	}
	if (!backend_is_workspace(name)) {
		return explain(
			reader->ret_error, -EINVAL,
			"%s: the selected workspace has no valid name: it must have 1 to %d of "
			"the characters A-Z a-z 0-9 - _ . ~ $ & + : = @ and not be \"..\"; choose "
			"another with %s",
			reader->directory, BACKEND_WORKSPACE_MAX, from);
	}

	*ret = strdup(name);
	return *ret ? 0 : -ENOMEM;
}

/* All of @source but its directory, which is open as @dir_fd, and a text that it has. */
static int read_directory(struct backend_source *source, int dir_fd, char *const *env,
			  char **ret_error)
{
	const char *data_dir = env_get_filled(env, "TF_DATA_DIR");
	const struct backend_reader reader = {
		.dir_fd = dir_fd,
		.directory = source->directory,
		.data_dir = data_dir ? data_dir : ".terraform",
		.ret_error = ret_error,
	};
	int r;

	if (!source->file) {
		r = read_data_file(&reader, "terraform.tfstate", (size_t)BACKEND_FILE_MAX,
				   &source->file);
		if (r < 0)
			return r;
	}
	if (!source->file) {
		r = scan_configuration(&reader);
		if (r < 0)
			return r;
	}
	if (source->file) {
		r = backend_read_profile(&source->profile_endpoints, &reader, source->file, env);
		if (r < 0)
			return r;
	}
	return read_workspace(&reader, env, &source->workspace);
}

int backend_source_make(struct backend_source **ret, const char *directory, char *const *env,
			char *file, char **ret_error)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	AUTO_CLOSE int dir_fd = -1;
	int r;

	assert(ret && directory && ret_error);

	source = calloc(1, sizeof(*source));
	if (!source) {
		secret_freep(&file);
		return -ENOMEM;
	}
	source->file = file;

	source->directory = realpath(directory, NULL);
	if (source->directory)
		dir_fd = open(source->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		r = -errno;
		return r == -ENOMEM
			       ? r
			       : explain(ret_error, r, "%s: cannot be used as a directory (%s)",
					 directory, strerrordesc_np(-r));
	}

	r = read_directory(source, dir_fd, env, ret_error);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(source);
	return 0;
}

int backend_source_read(struct backend_source **ret, const char *directory, char *const *env,
			char **ret_error)
{
	return backend_source_make(ret, directory, env, NULL, ret_error);
}

struct backend_source *backend_source_free(struct backend_source *source)
{
	if (!source)
		return NULL;

	free(source->profile_endpoints);
	free(source->workspace);
	secret_free(source->file);
	free(source->directory);
	free(source);
	return NULL;
}
