/* SPDX-License-Identifier: MIT */
/*
 * SIGHUP. Modules look at the one struct config whenever they need it, so a reload puts other
 * values there, all at once, or none. What cannot be changed under way (config_table.c, AT_START)
 * stays. A line keeps the terms of its lock, and a job what its runner was told.
 */
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/daemon_parts.h"
#include "daemon/journal.h"

static void tell_fixed(const struct config *config, const struct config *fresh)
{
	const char *key;
	size_t index = 0;

	while ((key = config_next_fixed(config, fresh, &index)))
		journal_tell(JOURNAL_FIXED_KEY, NULL,
			     "%s is another now; that counts after a restart", key);
}

/* Return: 0, or a negative errno: then it is logged why, and nothing is changed. */
static int take_up(struct daemon *daemon)
{
	CLEANUP(config_freep) struct config *fresh = NULL;
	AUTO_FREE char *error = NULL;
	struct access access = { 0 };
	int r;

	r = config_load(&fresh, daemon->options);
	if (r >= 0)
		r = daemon_resolve_access(&access, fresh);
	if (r < 0)
		return r;
	tell_fixed(daemon->config, fresh);
	r = config_adopt(daemon->config, fresh, &error);
	if (r < 0)
		return log_error(r, "With what counts after a restart only: %s",
				 error ? error : strerror(-r));
	access.config = daemon->config;
	daemon->access = access;
	return 0;
}

void daemon_reload(struct daemon *daemon)
{
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_usec(CLOCK_MONOTONIC));
	if (take_up(daemon) < 0) {
		journal_tell(JOURNAL_NOT_RELOADED, NULL,
			     "The configuration was not read again: all stays as it was");
	} else {
		log_set_level(daemon->config->log_level);
		server_socket_admit(&daemon->socket, access_socket_group(&daemon->access));
		scheduler_reconfigure(daemon->scheduler);
		journal_tell(JOURNAL_RELOADED, NULL, "The configuration was read again");
	}
	(void)sd_notify(0, "READY=1");
}
