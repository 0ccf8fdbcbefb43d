/* SPDX-License-Identifier: MIT */
/* Shared by launcher*.c alone. */
#pragma once

#include <systemd/sd-bus.h>

#include "daemon/launcher.h"

#define SYSTEMD_NAME    "org.freedesktop.systemd1"
#define SYSTEMD_PATH    "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

struct launcher {
	struct launcher_setup setup;
	bool has_units;
	sd_bus *bus;           /* NULL: not connected */
	uint64_t helper_count; /* for their names */
};

/* Connect to the system bus, if that is not done: never waits for an answer. Return: 0, or a
 * negative errno. */
int launcher_connect(struct launcher *launcher);

/* What is in the message that starts a unit. */
struct launcher_order {
	const char *name, *description;
	const struct job_owner *owner;
	char *const *argv;
	const struct job *job;                /* NULL: a helper's */
	const struct launcher_helper *helper; /* NULL: a job's */
};

/* The call of StartTransientUnit. Return: 0, or a negative errno. */
int launcher_compose(sd_bus_message **ret, const struct launcher *launcher,
		     const struct launcher_order *order);
