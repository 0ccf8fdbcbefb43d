/* SPDX-License-Identifier: MIT */
#include "daemon/daemon.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "common/log.h"
#include "common/paths.h"
#include "common/text.h"
#include "common/wire.h"
#include "daemon/access.h"
#include "daemon/aws/identity.h"
#include "daemon/http.h"
#include "daemon/listener.h"
#include "daemon/lock/probe.h"
#include "daemon/peer.h"
#include "daemon/request.h"
#include "daemon/scheduler.h"
#include "daemon/server_socket.h"

#define NAMES_MAX      256   /* users whose names are remembered */
#define PEERS_MAX      20000 /* connections; each waiting tfq has one */
#define PEERS_PER_USER 12000 /* so that one user cannot keep the others out */

struct user_name {
	uid_t uid;
	char *name;
};

struct daemon {
	const struct config *config;
	sd_event *event;
	struct http *http;
	struct identities *identities;
	struct lock_probes *probes;
	struct store *store;
	struct vault *vault;
	struct scheduler *scheduler;
	struct listener *listener;
	TAILQ_HEAD(, peer) peers;
	size_t peer_count;
	struct user_name names[NAMES_MAX];
	struct access access;
	struct request_context requests;
	struct lock_host host;
	char machine[SD_ID128_STRING_MAX], boot[SD_ID128_STRING_MAX];
	char hostname[HOST_NAME_MAX + 1];
	char *jobs_dir, *runner;
	struct server_socket socket;
	int state_lock;
	struct rlimit nofile; /* as it was when we came */
};

/* --- peers ------------------------------------------------------------------------------------ */

static void on_message(struct peer *peer, json_t *message)
{
	struct daemon *daemon = peer->userdata;

	request_handle(&daemon->requests, peer, message);
}

static void on_closed(struct peer *peer, int error)
{
	struct daemon *daemon = peer->userdata;

	if (error < 0 && error != -EPIPE && error != -ECONNRESET)
		log_info("Connection of %s (PID %d) broke: %s", peer->owner.name,
			 (int)peer->owner.pid, strerror(-error));
	TAILQ_REMOVE(&daemon->peers, peer, link);
	daemon->peer_count--;
	request_drop_peer(&daemon->requests, peer);
	peer_free(peer);
}

static size_t count_peers(const struct daemon *daemon, uid_t uid)
{
	const struct peer *peer;
	size_t count = 0;

	TAILQ_FOREACH(peer, &daemon->peers, link)
	count += peer->owner.uid == uid;
	return count;
}

/*
 * The name of @uid, the caller's to free. Looked up once: getpwuid(3) may ask a directory
 * server, and everything stands still meanwhile.
 */
static char *user_name(struct daemon *daemon, uid_t uid)
{
	struct user_name *known = &daemon->names[uid % NAMES_MAX];
	const struct passwd *entry;

	if (known->name && known->uid == uid)
		return strdup(known->name);
	free(known->name);
	entry = getpwuid(uid);
	known->uid = uid;
	if (entry)
		known->name = strdup(entry->pw_name);
	else if (asprintf(&known->name, "%u", (unsigned)uid) < 0)
		known->name = NULL;
	return known->name ? strdup(known->name) : NULL;
}

static int on_accept(int fd, void *userdata)
{
	static const struct peer_callbacks callbacks = { on_message, on_closed };
	struct daemon *daemon = userdata;
	struct peer *peer = NULL;
	int r;

	r = peer_new(&peer, daemon->event, fd, &callbacks, daemon);
	if (r < 0)
		return r;
	peer->owner.name = user_name(daemon, peer->owner.uid);
	if (!peer->owner.name) {
		peer_free(peer);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&daemon->peers, peer, link);
	daemon->peer_count++;
	if (daemon->peer_count <= PEERS_PER_USER ||
	    count_peers(daemon, peer->owner.uid) <= PEERS_PER_USER)
		if (daemon->peer_count <= PEERS_MAX)
			return 0;
	peer_send_error(peer, WIRE_E_FULL, "too many connections to tfqd");
	peer_close(peer);
	return 0;
}

/* --- what the scheduler tells --------------------------------------------------------------------
 */

static void on_changed(const struct job *job, void *userdata)
{
	(void)userdata;
	request_tell_watchers(job);
}

static void on_counts(void *userdata)
{
	struct daemon *daemon = userdata;
	const struct queue *queue = scheduler_queue(daemon->scheduler);

	(void)sd_notifyf(0,
			 "STATUS=%s%" PRIu64 " running, %" PRIu64 " waiting, on %" PRIu64
			 " states.",
			 scheduler_is_stopping(daemon->scheduler) ? "Stopping: " : "",
			 queue_active_count(queue), queue_waiting_count(queue),
			 queue_line_count(queue));
}

static void on_commit(uint64_t upto, void *userdata)
{
	struct daemon *daemon = userdata;

	scheduler_kept(daemon->scheduler, upto);
	request_kept(&daemon->requests, upto);
}

static void on_trouble(uint64_t upto, const char *why, void *userdata)
{
	struct daemon *daemon = userdata;

	request_unkept(&daemon->requests, upto, why);
	scheduler_unkept(daemon->scheduler, upto, why);
}

static void on_stopped(void *userdata)
{
	struct daemon *daemon = userdata;

	(void)sd_event_exit(daemon->event, 0);
}

/* --- signals
 * ---------------------------------------------------------------------------------------- */

static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info,
			  void *userdata)
{
	struct daemon *daemon = userdata;
	uint64_t running;

	(void)source;
	(void)info;

	if (scheduler_is_stopping(daemon->scheduler)) {
		log_warning(0, "Told to stop again: leaving at once");
		return sd_event_exit(daemon->event, 0);
	}
	(void)sd_notify(0, "STOPPING=1");
	running = scheduler_running_count(daemon->scheduler);
	if (running > 0) {
		log_info("Stopping; %" PRIu64
			 " running jobs go on without tfqd, for as long as the leases of their "
			 "locks last: start tfqd again before that",
			 running);
	}
	scheduler_stop(daemon->scheduler);
	return 0;
}

static int on_hangup_signal(sd_event_source *source, const struct signalfd_siginfo *info,
			    void *userdata)
{
	(void)source;
	(void)info;
	(void)userdata;

	log_info("SIGHUP changes nothing: the configuration is read at the start only");
	return 0;
}

static int watch_signals(struct daemon *daemon)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t mask;
	int r;

	(void)sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)sigaddset(&mask, numbers[i]);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);

	r = sd_event_add_signal(daemon->event, NULL, SIGTERM, on_stop_signal, daemon);
	if (r >= 0)
		r = sd_event_add_signal(daemon->event, NULL, SIGINT, on_stop_signal, daemon);
	if (r >= 0)
		r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_hangup_signal, daemon);
	return r;
}

/* --- making one
 * --------------------------------------------------------------------------------------- */

static int resolve_group(gid_t *ret, const char *name, const char *key)
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
				 "[access] %s = %s: there is no such group; make it with: groupadd "
				 "--system %s",
				 key, name, name);
	}
	*ret = entry->gr_gid;
	return 0;
}

static int set_access(struct daemon *daemon)
{
	int r;

	daemon->access.daemon_uid = geteuid();
	r = resolve_group(&daemon->access.submitters, daemon->config->submitters, "submitters");
	if (r >= 0)
		r = resolve_group(&daemon->access.operators, daemon->config->operators,
				  "operators");
	if (r >= 0)
		r = resolve_group(&daemon->access.viewers, daemon->config->viewers, "viewers");
	return r;
}

static int make_dirs(struct daemon *daemon)
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
static int find_runner(struct daemon *daemon)
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

/* Who we are, as our locks tell other tfqds. */
static void set_host(struct daemon *daemon)
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
static void raise_limits(struct daemon *daemon)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	daemon->nofile = limit;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* What was there before a restart, and will be after the next. */
static int open_memory(struct daemon *daemon)
{
	static const struct store_callbacks callbacks = { on_commit, on_trouble };
	const struct config *config = daemon->config;
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *error = NULL;
	int r;

	if (asprintf(&path, "%s/tfqd.db", config->state_dir) < 0) {
		path = NULL;
		return log_oom();
	}
	r = store_open(&daemon->store, daemon->event, path, &callbacks, daemon, &error);
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

static int make_parts(struct daemon *daemon, char *const *env)
{
	static const struct scheduler_callbacks callbacks = { on_changed, on_counts, on_stopped };
	int r;

	r = server_socket_open(&daemon->socket, daemon->config->socket, daemon->access.submitters);
	if (r < 0)
		return r;
	r = open_memory(daemon);
	if (r < 0)
		return r;
	r = http_new(&daemon->http, daemon->event);
	if (r < 0)
		return log_error(r, "Failed to set up libcurl: %m");
	r = identities_new(&daemon->identities, &(struct identities_setup){
							.event = daemon->event,
							.runner = daemon->runner,
							.env = env,
							.config = daemon->config,
						});
	if (r < 0)
		return log_error(r, "Failed to set up the look for credentials: %m");
	r = lock_probes_new(&daemon->probes, daemon->event);
	if (r < 0)
		return log_error(r, "Failed to set up the probes of stores: %m");
	r = scheduler_new(&daemon->scheduler,
			  &(struct scheduler_setup){
				  .event = daemon->event,
				  .http = daemon->http,
				  .config = daemon->config,
				  .host = &daemon->host,
				  .hostname = daemon->hostname,
				  .jobs_dir = daemon->jobs_dir,
				  .runner = daemon->runner,
				  .socket = daemon->socket.path,
				  .nofile = &daemon->nofile,
				  .identities = daemon->identities,
				  .probes = daemon->probes,
				  .store = daemon->store,
				  .vault = daemon->vault,
			  },
			  &callbacks, daemon);
	if (r < 0)
		return log_error(r, "Failed to set up the queue: %m");
	daemon->requests = (struct request_context){
		.scheduler = daemon->scheduler,
		.config = daemon->config,
		.access = &daemon->access,
		.hostname = daemon->hostname,
		.store = daemon->store,
		.jobs_dir = daemon->jobs_dir,
	};
	TAILQ_INIT(&daemon->requests.waiting);
	r = scheduler_restore(daemon->scheduler);
	if (r < 0)
		return log_error(r, "Failed to bring back what was queued before: %m");
	r = listener_new(&daemon->listener, daemon->event, daemon->socket.fd, on_accept, daemon);
	return r < 0 ? log_error(r, "Failed to listen: %m") : 0;
}

int daemon_new(struct daemon **ret, const struct config *config, char *const *env)
{
	CLEANUP(daemon_freep) struct daemon *daemon = NULL;
	int r;

	daemon = calloc(1, sizeof(*daemon));
	if (!daemon)
		return log_oom();
	daemon->config = config;
	daemon->socket.fd = daemon->state_lock = -1;
	TAILQ_INIT(&daemon->peers);
	raise_limits(daemon);
	set_host(daemon);

	r = set_access(daemon);
	if (r >= 0)
		r = make_dirs(daemon);
	if (r >= 0)
		r = find_runner(daemon);
	if (r < 0)
		return r;
	r = sd_event_default(&daemon->event);
	if (r >= 0)
		r = watch_signals(daemon); /* before libcurl: its resolver has threads */
	if (r >= 0)
		r = sd_event_set_watchdog(daemon->event, true);
	if (r < 0)
		return log_error(r, "Failed to set up the event loop: %m");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return log_error(-EIO, "Failed to initialise libcurl");
	r = make_parts(daemon, env);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(daemon);
	return 0;
}

struct daemon *daemon_free(struct daemon *daemon)
{
	struct peer *peer;

	if (!daemon)
		return NULL;

	while ((peer = TAILQ_FIRST(&daemon->peers))) {
		TAILQ_REMOVE(&daemon->peers, peer, link);
		peer->runs = NULL; /* the runner goes on without us */
		if (daemon->scheduler)
			request_drop_peer(&daemon->requests, peer);
		peer_free(peer);
	}
	listener_free(daemon->listener);
	server_socket_close(&daemon->socket);
	store_free(daemon->store); /* its callbacks are for the scheduler */
	scheduler_free(daemon->scheduler);
	vault_free(daemon->vault);
	identities_free(daemon->identities);
	lock_probes_free(daemon->probes);
	http_free(daemon->http);
	sd_event_unref(daemon->event);
	if (daemon->state_lock >= 0)
		(void)close(daemon->state_lock);
	for (size_t i = 0; i < NAMES_MAX; i++)
		free(daemon->names[i].name);
	free(daemon->jobs_dir);
	free(daemon->runner);
	free(daemon);
	return NULL;
}

int daemon_run(struct daemon *daemon)
{
	int r;

	log_info("tfqd %s serves %s", VERSION, daemon->socket.path);
	(void)sd_notify(0, "READY=1\nSTATUS=Nothing is queued.");
	r = sd_event_loop(daemon->event);
	return r < 0 ? log_error(r, "Event loop failed: %m") : 0;
}
