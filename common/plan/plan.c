/* SPDX-License-Identifier: MIT */
#include "common/plan/plan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "common/backend_parts.h"
#include "common/explain.h"
#include "common/plan/plan_decode.h"

#define MEMBER       "tfplan"
#define BOOKMARK_MAX 4096 /* bytes of what stands for a plan that is kept by HCP Terraform */

/* The bytes of the member; they hold secrets. */
struct member {
	unsigned char *data;
	size_t size;
};

static void member_clear(struct member *member)
{
	if (member->data)
		explicit_bzero(member->data, member->size);
	free(member->data);
}

static void zip_discardp(zip_t **p)
{
	if (*p)
		zip_discard(*p);
}

static void zip_fclosep(zip_file_t **p)
{
	if (*p)
		(void)zip_fclose(*p);
}

static int open_plan(const char *path, char **ret_error)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int r;

	/* O_NONBLOCK: a FIFO in its place must not hang us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		if (r == -ENOENT) {
			return explain(ret_error, r,
				       "%s: there is no such plan file: make it with \"plan "
				       "-out=FILE\"; if it is the value of an option, write "
				       "-OPTION=VALUE",
				       path);
		}
		return explain(ret_error, r,
			       "%s: the plan file cannot be read as uid %u (%s): correct that",
			       path, geteuid(), strerrordesc_np(-r));
	}
	if (S_ISDIR(st.st_mode)) {
		return explain(ret_error, -EISDIR,
			       "%s is a directory, not a plan file: to run in it, use -chdir=DIR",
			       path);
	}
	if (!S_ISREG(st.st_mode)) {
		return explain(ret_error, -EINVAL,
			       "%s is no regular file: name one that \"plan -out=FILE\" has made",
			       path);
	}
	if (st.st_size > PLAN_FILE_MAX)
		return explain(ret_error, -EOPNOTSUPP, "%s is too large a plan file for tfq", path);
	return TAKE_FD(fd);
}

static int damaged(const char *path, const char *what, char **ret_error)
{
	return explain(ret_error, -EBADMSG, "%s %s: make it again with \"plan -out=FILE\"", path,
		       what);
}

/* It is no zip file: a JSON object that points to a plan elsewhere? */
static bool is_bookmark(int fd)
{
	char text[BOOKMARK_MAX];
	const ssize_t len = pread(fd, text, sizeof(text), 0);
	json_t *value = len > 0 ? json_loadb(text, (size_t)len, 0, NULL) : NULL;
	const bool is_one = json_object_get(value, "remote_plan_format") != NULL;

	json_decref(value);
	return is_one;
}

static int open_zip(int fd, const char *path, zip_t **ret, char **ret_error)
{
	AUTO_CLOSE int own = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* libzip's, if it takes it */
	int error = 0;
	zip_t *zip;
	int r;

	if (own < 0) {
		r = -errno;
		return explain(ret_error, r, "%s: %s", path, strerrordesc_np(-r));
	}
	zip = zip_fdopen(own, 0, &error);
	if (zip) {
		(void)TAKE_FD(own);
		*ret = zip;
		return 0;
	}
	if (error == ZIP_ER_MEMORY)
		return -ENOMEM;
	if (error == ZIP_ER_NOZIP && is_bookmark(fd))
		return explain(ret_error, -EOPNOTSUPP, "%s is a plan of HCP Terraform", path);
	return damaged(path,
		       error == ZIP_ER_NOZIP ? "is no saved plan"
					     : "is damaged, its directory is broken",
		       ret_error);
}

static int read_member(zip_t *zip, const char *path, struct member *ret, char **ret_error)
{
	const zip_int64_t index = zip_name_locate(zip, MEMBER, ZIP_FL_ENC_RAW);
	CLEANUP(zip_fclosep) zip_file_t *file = NULL;
	zip_int64_t n = 0;
	zip_stat_t st;
	size_t got = 0;

	if (index < 0)
		return damaged(path, "is a zip file, but no saved plan", ret_error);
	if (zip_stat_index(zip, (zip_uint64_t)index, 0, &st) < 0 || !(st.valid & ZIP_STAT_SIZE))
		return damaged(path, "is damaged, its plan has no size", ret_error);
	if (st.size > PLAN_MEMBER_MAX)
		return explain(ret_error, -EOPNOTSUPP, "%s holds too large a plan for tfq", path);
	file = zip_fopen_index(zip, (zip_uint64_t)index, 0);
	if (!file)
		return damaged(path, "is damaged, its plan cannot be opened", ret_error);

	/* One byte more than it says: libzip compares the checksum at the end, and a member
	 * that does not end there is a lie. */
	ret->size = (size_t)st.size + 1;
	ret->data = malloc(ret->size);
	if (!ret->data)
		return -ENOMEM;
	while (got < ret->size && (n = zip_fread(file, ret->data + got, ret->size - got)) > 0)
		got += (size_t)n;
	if (n < 0 || got != st.size)
		return damaged(path, "is damaged, its plan is cut short or altered", ret_error);
	return 0;
}

static int read_plan(char **ret, const char *path, char **ret_error)
{
	CLEANUP(member_clear) struct member member = { 0 };
	CLEANUP(zip_discardp) zip_t *zip = NULL;
	AUTO_CLOSE int fd = -1;
	const char *why = NULL;
	int r;

	fd = open_plan(path, ret_error);
	if (fd < 0)
		return fd;
	r = open_zip(fd, path, &zip, ret_error);
	if (r < 0)
		return r;
	r = read_member(zip, path, &member, ret_error);
	if (r < 0)
		return r;
	r = plan_decode(ret, member.data, member.size - 1, &why);
	if (r == -EBADMSG)
		return damaged(path, why, ret_error);
	if (r == -EOPNOTSUPP)
		return explain(ret_error, r, "%s %s", path, why);
	return r;
}

int plan_source_read(struct backend_source **ret, const char *directory, const char *plan_file,
		     char *const *env, char **ret_error)
{
	AUTO_FREE char *path = NULL;
	char *text = NULL;
	int r;

	assert(ret && directory && plan_file && env && ret_error);

	r = *plan_file == '/' ? asprintf(&path, "%s", plan_file)
			      : asprintf(&path, "%s/%s", directory, plan_file);
	if (r < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = read_plan(&text, path, ret_error);
	return r < 0 ? r : backend_source_make(ret, directory, env, text, ret_error);
}
