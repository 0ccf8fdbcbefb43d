/* SPDX-License-Identifier: MIT */
#include "daemon/daemon.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/log.h"
#include "daemon/daemon_parts.h"
#include "daemon/journal.h"

/* --- what the scheduler tells ---------------------------------------------------------------- */

static void on_changed(const struct job *job, void *userdata)
{
	const struct daemon *daemon = userdata;

	request_tell_watchers(&daemon->requests, job);
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

static void on_commit(uint64_t number, void *userdata)
{
	struct daemon *daemon = userdata;

	scheduler_kept(daemon->scheduler, number);
	request_kept(&daemon->requests, number);
}

static void on_trouble(uint64_t number, const char *why, void *userdata)
{
	struct daemon *daemon = userdata;

	request_unkept(&daemon->requests, number, why);
	scheduler_unkept(daemon->scheduler, number, why);
}

static void on_stopped(void *userdata)
{
	struct daemon *daemon = userdata;

	(void)sd_event_exit(daemon->event, 0);
}

/* --- signals --------------------------------------------------------------------------------- */

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
		journal_tell(JOURNAL_STOPPING, NULL,
			     "Stopping; %" PRIu64
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
	daemon_reload(userdata);
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

/* --- making one ------------------------------------------------------------------------------ */

/* With all that there was before a restart. */
static int make_scheduler(struct daemon *daemon)
{
	static const struct scheduler_callbacks callbacks = { on_changed, on_counts, on_stopped };
	int r;

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
				  .launcher = daemon->launcher,
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
		.user_name = daemon_user_name,
		.userdata = daemon,
	};
	LIST_INIT(&daemon->requests.listeners);
	TAILQ_INIT(&daemon->requests.waiting);
	r = scheduler_restore(daemon->scheduler);
	return r < 0 ? log_error(r, "Failed to bring back what was queued before: %m") : 0;
}

static int make_parts(struct daemon *daemon, char *const *env)
{
	static const struct store_callbacks memory = { on_commit, on_trouble };
	int r;

	r = server_socket_open(&daemon->socket, daemon->config->socket,
			       access_socket_group(&daemon->access));
	if (r < 0)
		return r;
	r = daemon_open_memory(daemon, &memory);
	if (r < 0)
		return r;
	r = http_new(&daemon->http, daemon->event);
	if (r < 0)
		return log_error(r, "Failed to set up libcurl: %m");
	r = daemon_make_launcher(daemon);
	if (r < 0)
		return r;
	r = identities_new(&daemon->identities, &(struct identities_setup){
							.event = daemon->event,
							.runner = daemon->runner,
							.launcher = daemon->launcher,
							.env = env,
							.config = daemon->config,
						});
	if (r < 0)
		return log_error(r, "Failed to set up the look for credentials: %m");
	r = lock_probes_new(&daemon->probes, daemon->event);
	if (r < 0)
		return log_error(r, "Failed to set up the probes of stores: %m");
	r = make_scheduler(daemon);
	if (r < 0)
		return r;
	r = listener_new(&daemon->listener, daemon->event, daemon->socket.fd, daemon_accept,
			 daemon);
	return r < 0 ? log_error(r, "Failed to listen: %m") : 0;
}

int daemon_new(struct daemon **ret, struct config *config, const struct config_options *options,
	       char *const *env)
{
	CLEANUP(daemon_freep) struct daemon *daemon = NULL;
	int r;

	daemon = calloc(1, sizeof(*daemon));
	if (!daemon)
		return log_oom();
	daemon->config = config;
	daemon->options = options;
	daemon->socket.fd = daemon->state_lock = -1;
	TAILQ_INIT(&daemon->peers);
	daemon_raise_limits(daemon);
	daemon_set_host(daemon);

	r = daemon_resolve_access(&daemon->access, config);
	if (r >= 0)
		r = daemon_make_dirs(daemon);
	if (r >= 0)
		r = daemon_find_runner(daemon);
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
	daemon_forget_users(daemon);
	listener_free(daemon->listener);
	server_socket_close(&daemon->socket);
	store_free(daemon->store); /* its callbacks are for the scheduler */
	scheduler_free(daemon->scheduler);
	vault_free(daemon->vault);
	identities_free(daemon->identities);
	launcher_free(daemon->launcher);
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

	journal_tell(JOURNAL_READY, NULL, "tfqd %s serves %s", VERSION, daemon->socket.path);
	(void)sd_notify(0, "READY=1\nSTATUS=Nothing is queued.");
	r = sd_event_loop(daemon->event);
	return r < 0 ? log_error(r, "Event loop failed: %m") : 0;
}
