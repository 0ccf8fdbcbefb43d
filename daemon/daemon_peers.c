/* SPDX-License-Identifier: MIT */
/* Who is connected: taken in, up to a limit for each user, named, and let go. */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "common/wire.h"
#include "daemon/daemon_parts.h"
#include "daemon/journal.h"

#define PEERS_MAX      20000 /* connections; each waiting tfq has one */
#define PEERS_RESERVED 16    /* more of root and of the daemon's own user, who may have to help */
#define FDS_PER_PEER   10    /* its own, and what may come before the rest of a message */

static void on_message(struct peer *peer, json_t *message)
{
	struct daemon *daemon = peer->userdata;

	request_handle(&daemon->requests, peer, message);
}

static void on_closed(struct peer *peer, int error)
{
	struct daemon *daemon = peer->userdata;

	if (error < 0 && error != -EPIPE && error != -ECONNRESET &&
	    peer_user_may_be_told(peer->user))
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
	if (known->name) /* it goes into locks, and from there to terminals */
		(void)text_printable(known->name, strlen(known->name) + 1, known->name);
	return known->name ? strdup(known->name) : NULL;
}

/* --- limits ---------------------------------------------------------------------------------- */

/* Return: the user's, made if need be; NULL when out of memory. They are as many as there are
 * users. */
static struct peer_user *user_of(struct daemon *daemon, uid_t uid)
{
	struct peer_user *user;

	LIST_FOREACH(user, &daemon->users[uid % USER_BUCKETS], link)
	if (user->uid == uid)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	LIST_INSERT_HEAD(&daemon->users[uid % USER_BUCKETS], user, link);
	return user;
}

void daemon_forget_users(struct daemon *daemon)
{
	struct peer_user *user;

	for (size_t i = 0; i < USER_BUCKETS; i++) {
		while ((user = LIST_FIRST(&daemon->users[i]))) {
			LIST_REMOVE(user, link);
			free(user);
		}
	}
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

/* Who may not have one more connection: @ret_why gets a sentence. */
static bool is_over_limit(const struct daemon *daemon, const struct ucred *cred, uint64_t count,
			  char *ret_why, size_t size)
{
	const bool is_master = cred->uid == 0 || cred->uid == daemon->access.daemon_uid;
	const uint64_t total = total_limit(daemon) + (is_master ? PEERS_RESERVED : 0);
	const uint64_t most = user_limit(daemon);

	if (daemon->peer_count >= total) {
		(void)snprintf(ret_why, size,
			       "tfqd has %" PRIu64 " connections, as many as it may; try later",
			       total);
		return true;
	}
	if (is_master || count < most ||
	    scheduler_has_runner(daemon->scheduler, cred->uid, cred->pid))
		return false;
	(void)snprintf(
		ret_why, size,
		"you have %" PRIu64
		" connections to tfqd, as many as one user may: end some of your waiting tfq "
		"([daemon] max_connections_per_user)",
		most);
	return true;
}

/* At once, and without all that a connection needs: who is refused may come very often. */
static void turn_away(int fd, const char *why)
{
	char text[512];
	const int len = snprintf(text, sizeof(text),
				 "{\"error\":\"%s\",\"parameters\":{\"message\":\"%s\"}}",
				 WIRE_E_FULL, why);

	(void)!send(fd, text, (size_t)len + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void tell_of_limit(struct daemon *daemon, struct peer_user *user, pid_t pid)
{
	AUTO_FREE char *name = NULL;

	if (!peer_user_may_be_told(user))
		return;
	name = daemon_user_name(user->uid, daemon);
	journal_tell(JOURNAL_CONNECTIONS,
		     &(struct journal_about){
			     .who = &(struct job_owner){ .uid = user->uid, .name = name },
		     },
		     "Refusing a connection of %s (UID %u, PID %d): there are too many, %" PRIu64
		     " of that user, %zu of all",
		     name ? name : "?", (unsigned)user->uid, (int)pid, user->count,
		     daemon->peer_count);
	scheduler_audit(daemon->scheduler, "refused", NULL, user->uid, "too many connections");
}

int daemon_accept(int fd, void *userdata)
{
	static const struct peer_callbacks callbacks = { on_message, on_closed };
	struct daemon *daemon = userdata;
	AUTO_CLOSE int owned = fd;
	struct peer_user *user;
	struct peer *peer = NULL;
	struct ucred cred;
	socklen_t size = sizeof(cred);
	char why[256];
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	user = user_of(daemon, cred.uid);
	if (!user)
		return -ENOMEM;
	if (is_over_limit(daemon, &cred, user->count, why, sizeof(why))) {
		tell_of_limit(daemon, user, cred.pid);
		turn_away(fd, why);
		return 0;
	}
	r = peer_new(&peer, daemon->event, TAKE_FD(owned), &callbacks, daemon);
	if (r < 0)
		return r;
	peer->owner.name = daemon_user_name(peer->owner.uid, daemon);
	if (!peer->owner.name) {
		peer_free(peer);
		return -ENOMEM;
	}
	peer_count(peer, user);
	TAILQ_INSERT_TAIL(&daemon->peers, peer, link);
	daemon->peer_count++;
	return 0;
}
