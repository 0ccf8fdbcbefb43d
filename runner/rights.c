/* SPDX-License-Identifier: MIT */
#include "runner/rights.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"

/* Return: how many, or a negative errno. */
static int parse_groups(gid_t **ret, const char *list)
{
	AUTO_FREE char *copy = strdup(list);
	AUTO_FREE gid_t *groups = calloc(strlen(list) + 1, sizeof(*groups));
	char *rest = copy, *word;
	int count = 0;

	if (!copy || !groups)
		return -ENOMEM;
	while (*list && (word = strsep(&rest, ","))) {
		uint64_t gid;

		if (parse_u64(word, UINT32_MAX - 1, &gid) < 0)
			return -EINVAL;
		groups[count++] = (gid_t)gid;
	}
	*ret = TAKE_PTR(groups);
	return count;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &header, none) < 0)
		return -errno;
	return 0;
}

int rights_settle(const char *list)
{
	AUTO_FREE gid_t *groups = NULL;
	const int count = parse_groups(&groups, list);

	if (count < 0)
		return count;
	if (setgroups((size_t)count, groups) < 0)
		return -errno;
	return geteuid() == 0 ? 0 : drop_capabilities();
}
