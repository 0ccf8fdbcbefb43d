/* SPDX-License-Identifier: MIT */
/* Who may do what: roles by group, rights by method. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/job.h"

#define ACCESS_ANYBODY ((gid_t)-1) /* "*" in the configuration: everybody who can connect */
#define ACCESS_DEFAULT ((gid_t)-2) /* nothing configured */

enum access_role {
	ACCESS_NONE = 0,
	ACCESS_VIEW = 1 << 0,    /* see the queue */
	ACCESS_SUBMIT = 1 << 1,  /* have jobs run as oneself, and end them */
	ACCESS_OPERATE = 1 << 2, /* end everybody's jobs, resume a queue, unlock */
	ACCESS_RUN = 1 << 3,     /* be a job's runner: decided by its process, not by this table */
};

/* What a call is about: it decides which [state] section's operators count. */
enum access_subject {
	ACCESS_ABOUT_NOTHING, /* or about all states */
	ACCESS_ABOUT_JOB,     /* the one whose number is its id */
	ACCESS_ABOUT_STATE,   /* the one that is its state, if it has one */
};

struct access {
	uid_t daemon_uid; /* 0: jobs of everybody; else of this user alone */
	gid_t submitters, operators, viewers;
	const struct config *config;              /* its [state] sections; NULL: there are none */
	gid_t state_operators[CONFIG_STATES_MAX]; /* of each; ACCESS_DEFAULT: operators, as above */
};

/*
 * The roles of a peer where no state is concerned, or all are. Root and the daemon's own user
 * have all of them. Who operates some state may see the queue.
 */
unsigned access_roles(const struct access *access, const struct job_owner *peer);

/* Their roles on the state called @state, whose [state] section may name other operators. */
unsigned access_roles_on(const struct access *access, const struct job_owner *peer,
			 const char *state);

/*
 * Whom the socket is to let in: submitters, or everybody, if others may look and are to be told by
 * their roles. For server_socket_open().
 */
gid_t access_socket_group(const struct access *access);

/* May somebody with @roles call @method? One without a row in the table: nobody. */
bool access_may_call(unsigned roles, const char *method);

enum access_subject access_subject_of(const char *method);

/* May @peer end or see the inside of a job of @owner? */
bool access_may_touch(unsigned roles, const struct job_owner *peer, const struct job_owner *owner);
