/* SPDX-License-Identifier: MIT */
/* What tfqd stands on: groups, folders, its runner, its database, who it is. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/paths.h"
#include "common/text.h"
#include "daemon/daemon_parts.h"

/* @section, @key: where it is named. */
static int resolve_group(gid_t *ret, const char *name, const char *section, const char *key)
{
	const struct group *entry;

	*ret = ACCESS_DEFAULT;
	if (!name)
		return 0;
	if (strcmp(name, "*") == 0) {
		*ret = ACCESS_ANYBODY;
		return 0;
	}
	entry = getgrnam(name);
	if (!entry) {
		return log_error(-ENOENT,
				 "[%s] %s = %s: there is no such group; make it with: groupadd "
				 "--system %s",
				 section, key, name, name);
	}
	*ret = entry->gr_gid;
	return 0;
}

int daemon_resolve_access(struct access *ret, const struct config *config)
{
	char section[CONFIG_LINE_MAX + sizeof("state \"\"")];
	int r;

	ret->daemon_uid = geteuid();
	ret->config = config;
	r = resolve_group(&ret->submitters, config->submitters, "access", "submitters");
	if (r >= 0)
		r = resolve_group(&ret->operators, config->operators, "access", "operators");
	if (r >= 0)
		r = resolve_group(&ret->viewers, config->viewers, "access", "viewers");
	for (size_t i = 0; r >= 0 && i < config->state_count; i++) {
		(void)snprintf(section, sizeof(section), "state \"%s\"", config->states[i].pattern);
		r = resolve_group(&ret->state_operators[i], config->states[i].operators, section,
				  "operators");
	}
	return r;
}

int daemon_make_dirs(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	AUTO_FREE char *lock_path = NULL;
	int r;

	r = paths_make_dir(config->runtime_dir, geteuid() == 0 ? 0755 : 0700);
	if (r < 0) {
		return log_error(
			r,
			"Failed to make the runtime directory %s (it must be this user's, and "
			"writable by nobody else): %m",
			config->runtime_dir);
	}
	r = paths_make_dir(config->state_dir, 0700);
	if (r < 0) {
		return log_error(
			r,
			"Failed to make the state directory %s (it must be this user's, and "
			"writable by nobody else): %m",
			config->state_dir);
	}
	if (asprintf(&daemon->jobs_dir, "%s/jobs", config->state_dir) < 0) {
		daemon->jobs_dir = NULL;
		return log_oom();
	}
	r = paths_make_dir(daemon->jobs_dir, 0700);
	if (r < 0)
		return log_error(r, "Failed to make %s: %m", daemon->jobs_dir);

	if (asprintf(&lock_path, "%s/lock", config->state_dir) < 0) {
		lock_path = NULL;
		return log_oom();
	}
	daemon->state_lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (daemon->state_lock < 0)
		return log_error(errno, "Failed to open %s: %m", lock_path);
	/* Not flock(): what a tfqd that was killed has just forked would still hold that. */
	if (fcntl(daemon->state_lock, F_SETLK, &(struct flock){ .l_type = F_WRLCK }) < 0) {
		return log_error(errno,
				 "Another tfqd uses %s already; give each its own --state-dir",
				 config->state_dir);
	}
	return 0;
}

/* tfq-runner lies beside tfqd where it was built, and in libexec where it was installed. */
int daemon_find_runner(struct daemon *daemon)
{
	char self[PATH_MAX];
	const ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len < 0)
		return log_error(errno, "Failed to read /proc/self/exe: %m");
	self[len] = '\0';
	slash = strrchr(self, '/');
	if (asprintf(&daemon->runner, "%.*s/tfq-runner", (int)(slash - self), self) < 0) {
		daemon->runner = NULL;
		return log_oom();
	}
	if (access(daemon->runner, X_OK) == 0)
		return 0;
	free(daemon->runner);
	daemon->runner = strdup(LIBEXECDIR "/tfq-runner");
	if (!daemon->runner)
		return log_oom();
	if (access(daemon->runner, X_OK) < 0)
		return log_error(errno, "Found tfq-runner neither beside tfqd nor as %s: %m",
				 daemon->runner);
	return 0;
}

int daemon_make_launcher(struct daemon *daemon)
{
	const int r = launcher_new(&daemon->launcher, &(struct launcher_setup){
							      .event = daemon->event,
							      .config = daemon->config,
							      .runner = daemon->runner,
							      .socket = daemon->socket.path,
							      .nofile = &daemon->nofile,
						      });

	return r == -ENOMEM ? log_oom() : r;
}

/* Who we are, as our locks tell other tfqds. */
void daemon_set_host(struct daemon *daemon)
{
	char name[HOST_NAME_MAX + 1] = "localhost";
	sd_id128_t id;

	if (gethostname(name, sizeof(name) - 1) < 0)
		(void)snprintf(name, sizeof(name), "localhost");
	(void)text_printable(daemon->hostname, sizeof(daemon->hostname), name);
	if (sd_id128_get_machine(&id) >= 0)
		(void)sd_id128_to_string(id, daemon->machine);
	if (sd_id128_get_boot(&id) >= 0)
		(void)sd_id128_to_string(id, daemon->boot);
	daemon->host = (struct lock_host){ .machine = daemon->machine, .boot = daemon->boot };
}

/* Each waiting client is a descriptor. */
void daemon_raise_limits(struct daemon *daemon)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	daemon->nofile = limit;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* What was there before a restart, and will be after the next. */
int daemon_open_memory(struct daemon *daemon, const struct store_callbacks *callbacks)
{
	const struct config *config = daemon->config;
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *error = NULL;
	int r;

	if (asprintf(&path, "%s/tfqd.db", config->state_dir) < 0) {
		path = NULL;
		return log_oom();
	}
	r = store_open(&daemon->store, daemon->event, path, callbacks, daemon, &error);
	if (r < 0)
		return log_error(r, "%s", error ? error : strerror(-r));
	r = vault_new(&daemon->vault, config->runtime_dir, config->state_dir);
	if (r == -EOPNOTSUPP) {
		log_warning(0,
			    "Neither %s nor /dev/shm is a tmpfs of ours: environments of queued "
			    "jobs are in this process alone, and jobs that wait when it is "
			    "restarted will not be run",
			    config->runtime_dir);
		r = 0;
	}
	return r < 0 ? log_error(r, "Failed to make room for environments: %m") : 0;
}
