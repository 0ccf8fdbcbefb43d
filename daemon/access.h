/* SPDX-License-Identifier: MIT */
/* Who may do what: roles by group, rights by method. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

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

struct access {
	uid_t daemon_uid; /* 0: jobs of everybody; else of this user alone */
	gid_t submitters, operators, viewers;
};

/* The roles of a peer. Root and the daemon's own user have all of them. */
unsigned access_roles(const struct access *access, const struct job_owner *peer);

/* May somebody with @roles call @method? Unknown methods: yes; they are answered with an error. */
bool access_may_call(unsigned roles, const char *method);

/* May @peer end or see the inside of a job of @owner? */
bool access_may_touch(unsigned roles, const struct job_owner *peer, const struct job_owner *owner);
