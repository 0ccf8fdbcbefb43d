/* SPDX-License-Identifier: MIT */
/* Shared by daemon*.c; for nobody else. */
#pragma once

#include <limits.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>

#include "daemon/access.h"
#include "daemon/aws/identity.h"
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "daemon/launcher.h"
#include "daemon/listener.h"
#include "daemon/lock/probe.h"
#include "daemon/peer.h"
#include "daemon/request.h"
#include "daemon/scheduler.h"
#include "daemon/server_socket.h"

#define NAMES_MAX    256 /* users whose names are remembered */
#define USER_BUCKETS 256 /* lists of users who have come; a bastion has tens */

struct user_name {
	uid_t uid;
	char *name;
};

struct daemon {
	struct config
		*config; /* all that is ours has this pointer; a reload changes what is there */
	const struct config_options *options;
	sd_event *event;
	struct http *http;
	struct launcher *launcher;
	struct identities *identities;
	struct lock_probes *probes;
	struct store *store;
	struct vault *vault;
	struct scheduler *scheduler;
	struct listener *listener;
	TAILQ_HEAD(, peer) peers;
	size_t peer_count;
	LIST_HEAD(, peer_user) users[USER_BUCKETS];
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

/* daemon_peers.c: who is connected */

/* For listener_new(): @userdata is the daemon. */
int daemon_accept(int fd, void *userdata);
/*
 * The name of @uid, the caller's to free. Looked up once: getpwuid(3) may ask a directory
 * server, and everything stands still meanwhile.
 */
char *daemon_user_name(uid_t uid, void *userdata);

/* Once nobody is connected any more. */
void daemon_forget_users(struct daemon *daemon);

/* daemon_reload.c: read the configuration again, and go by it; or keep to what was. */
void daemon_reload(struct daemon *daemon);

/* daemon_open.c: what it stands on. Each returns 0, or a negative errno after telling why. */

void daemon_raise_limits(struct daemon *daemon);
/* Who we are, as our locks tell other tfqds. */
void daemon_set_host(struct daemon *daemon);
/* Who is in which group, by the names in @config, which is borrowed. */
int daemon_resolve_access(struct access *ret, const struct config *config);
int daemon_make_dirs(struct daemon *daemon);
int daemon_find_runner(struct daemon *daemon);
/* How runners and helpers are started. */
int daemon_make_launcher(struct daemon *daemon);
/* What was there before a restart, and will be after the next. */
int daemon_open_memory(struct daemon *daemon, const struct store_callbacks *callbacks);
