/* SPDX-License-Identifier: MIT */
/* Who is connected: taken in, up to a limit for each user, named, and let go. */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/wire.h"
#include "daemon/daemon_parts.h"
#include "daemon/journal.h"

#define PEERS_MAX      20000 /* connections; each waiting tfq has one */
#define PEERS_RESERVED 16    /* more of root and of the daemon's own user, who may have to help */
#define FDS_PER_PEER   4     /* its own, what it may have sent with a Submit, and some for us */
#define SAID_USEC      USEC_PER_MIN /* so often, at most, the log says that somebody has too many */

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

char *daemon_user_name(uid_t uid, void *userdata)
{
	struct daemon *daemon = userdata;
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

/* --- limits ---------------------------------------------------------------------------------- */

static uint64_t count_peers(const struct daemon *daemon, uid_t uid)
{
	const struct peer *peer;
	uint64_t count = 0;

	TAILQ_FOREACH(peer, &daemon->peers, link)
	count += peer->owner.uid == uid;
	return count;
}

/* Of all. The system may allow us few descriptors, and locks need some, too. */
static uint64_t total_limit(const struct daemon *daemon)
{
	const uint64_t by_fds = daemon->nofile.rlim_max / FDS_PER_PEER;

	return by_fds < PEERS_MAX ? by_fds : PEERS_MAX;
}

/* Of one user; so that they cannot keep the others out. */
static uint64_t user_limit(const struct daemon *daemon)
{
	const struct config *config = daemon->config;
	const uint64_t most = total_limit(daemon) * 3 / 4;
	const uint64_t wanted = config->max_connections_per_user > 0
					? config->max_connections_per_user
					: 2 * config->max_queued_per_user;

	return wanted < most ? wanted : most;
}

/* @peer is counted already. Return: is there one too many? Then it is told so. */
static bool is_over_limit(const struct daemon *daemon, struct peer *peer)
{
	const struct job_owner *owner = &peer->owner;
	const bool is_master = owner->uid == 0 || owner->uid == daemon->access.daemon_uid;
	const uint64_t total = total_limit(daemon) + (is_master ? PEERS_RESERVED : 0);
	const uint64_t most = user_limit(daemon);

	if (daemon->peer_count > total) {
		peer_send_error(peer, WIRE_E_FULL,
				"tfqd has %" PRIu64 " connections, as many as it may; try later",
				total);
		return true;
	}
	if (is_master || daemon->peer_count <= most || count_peers(daemon, owner->uid) <= most ||
	    scheduler_has_runner(daemon->scheduler, owner))
		return false;
	peer_send_error(
		peer, WIRE_E_FULL,
		"you have %" PRIu64
		" connections to tfqd, as many as one user may: end some of your waiting tfq "
		"([daemon] max_connections_per_user)",
		most);
	return true;
}

static void say_limit(struct daemon *daemon, const struct job_owner *owner)
{
	const uint64_t now = clock_usec(CLOCK_BOOTTIME);

	if (daemon->limit_said_usec > 0 && now - daemon->limit_said_usec < SAID_USEC)
		return;
	daemon->limit_said_usec = now;
	journal_tell(JOURNAL_CONNECTIONS, &(struct journal_about){ .who = owner },
		     "Refusing connections of %s (UID %u, PID %d): too many, %" PRIu64
		     " of that user, %zu of all",
		     owner->name, (unsigned)owner->uid, (int)owner->pid,
		     count_peers(daemon, owner->uid) - 1, daemon->peer_count - 1);
	scheduler_audit(daemon->scheduler, "refused", NULL, owner->uid, "too many connections");
}

int daemon_accept(int fd, void *userdata)
{
	static const struct peer_callbacks callbacks = { on_message, on_closed };
	struct daemon *daemon = userdata;
	struct peer *peer = NULL;
	int r;

	r = peer_new(&peer, daemon->event, fd, &callbacks, daemon);
	if (r < 0)
		return r;
	peer->owner.name = daemon_user_name(peer->owner.uid, daemon);
	if (!peer->owner.name) {
		peer_free(peer);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&daemon->peers, peer, link);
	daemon->peer_count++;
	if (is_over_limit(daemon, peer)) {
		say_limit(daemon, &peer->owner);
		peer_close(peer);
	}
	return 0;
}
