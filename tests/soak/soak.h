/* SPDX-License-Identifier: MIT */
/* What cycles.c (all of them) and contender.c (each) share: one soak, in one process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/parse.h"
#include "daemon/lock/lock.h"
#include "daemon/lock/probe.h"

#define HOSTS      4 /* contenders for each state */
#define STATES_MAX 64
#define NAME_SIZE  32

enum phase { PAUSE, WANT, WORK, PASS, STOP, RELEASE };

enum fate { NO_FATE, KILL, CUT };

struct state {
	unsigned number;
	bool is_cautious;   /* all but one of its hosts neither take over nor let others */
	bool is_swept;      /* taken and released since all is calm */
	enum fate fate;     /* of each holder, until one is taken over */
	uint64_t turn_usec; /* somebody got the lock, or ended with it */
	char key[NAME_SIZE];
};

struct contender {
	struct state *state;
	bool takes_over;
	unsigned host, life;  /* the life goes up with each death */
	char name[NAME_SIZE]; /* also the access key */
	struct lock_host lock_host;
	struct identity *identity;
	struct lock *lock;
	sd_event_source *timer, *doom;

	enum phase phase;
	uint64_t phase_usec; /* since when */
	uint64_t job, job_before;
	bool is_second; /* job of the cycle */
	bool has_taken; /* over a dead holder's lock, in this cycle */
	const char *outcome;

	bool is_holder; /* as it was told last, with these: */
	uint64_t told_job, told_deadline_usec;
};

struct soak {
	sd_event *event;
	struct http *http[HOSTS];
	struct lock_probes *probes[HOSTS];
	struct state states[STATES_MAX];
	struct contender contenders[STATES_MAX * HOSTS]; /* HOSTS of each state in turn */
	unsigned state_count, contender_count;
	bool with_s3, with_dynamodb;
	char *url;
	uint64_t cycles, finished, jobs, random;
	bool is_over, is_done, is_calm, is_swept;
};
extern struct soak soak;

/* cycles.c */

_Noreturn void die(const char *what, int r);
int checked(const char *what, int r); /* dies of an error */
uint64_t now_usec(void);              /* CLOCK_BOOTTIME */
uint64_t chance(uint64_t limit);      /* less than @limit, by the seed */
__attribute__((format(printf, 3, 4))) void say(uint64_t now, const char *name, const char *format,
					       ...);
void set_timer(sd_event_source *timer, uint64_t usec);
/* Something has ended: was it the last? */
void check_over(void);
void check_done(void);

/* contender.c */

void contender_init(struct contender *contender, struct state *state, unsigned host);
void contender_clear(struct contender *contender);
void contender_stores(const struct contender *contender, struct lock_claim *claim);
void contender_release(struct contender *contender, const char *outcome);
