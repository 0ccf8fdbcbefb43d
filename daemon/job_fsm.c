/* SPDX-License-Identifier: MIT */
#include "daemon/job_fsm.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

struct step {
	enum job_status next;
	enum job_action action;
};

/* clang-format off */

/* A cell that is not named is zero: an illegal step. */
static const struct step steps[JOB_STATUS_COUNT][JOB_EVENT_COUNT] = {
	[JOB_QUEUED] = {
		[JOB_EV_HEAD]         = { JOB_LOCKING,   JOB_DO_ACQUIRE },
		[JOB_EV_CANCEL]       = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_FORCE]        = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_EXPIRE]       = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_SUPERSEDE]    = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_REFUSED]      = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_VANISHED]     = { JOB_QUEUED,    JOB_DO_NOTHING }, /* another is started in time */
	},
	[JOB_LOCKING] = {
		[JOB_EV_GO]           = { JOB_RUNNING,   JOB_DO_START },
		[JOB_EV_CANCEL]       = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_FORCE]        = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_EXPIRE]       = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_SUPERSEDE]    = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_REFUSED]      = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_LOCK_LOST]    = { JOB_LOCKING,   JOB_DO_ACQUIRE },
		[JOB_EV_VANISHED]     = { JOB_FAILED,    JOB_DO_CLOSE }, /* no child ever ran */
	},
	[JOB_RUNNING] = {
		[JOB_EV_PROMPT]       = { JOB_APPROVING, JOB_DO_NOTHING },
		[JOB_EV_EXIT_OK]      = { JOB_DONE,      JOB_DO_CLOSE },
		[JOB_EV_EXIT_BAD]     = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_CANCEL]       = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_FORCE]        = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_REFUSED]      = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_LOCK_LOST]    = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_VANISHED]     = { JOB_LOST,      JOB_DO_HOLD },
	},
	[JOB_APPROVING] = {
		[JOB_EV_ANSWERED]     = { JOB_RUNNING,   JOB_DO_NOTHING },
		[JOB_EV_EXIT_OK]      = { JOB_DONE,      JOB_DO_CLOSE },
		[JOB_EV_EXIT_BAD]     = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_CANCEL]       = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_FORCE]        = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_EXPIRE]       = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_LOCK_LOST]    = { JOB_STOPPING,  JOB_DO_INTERRUPT },
		[JOB_EV_VANISHED]     = { JOB_LOST,      JOB_DO_HOLD },
	},
	[JOB_STOPPING] = {
		[JOB_EV_EXIT_OK]      = { JOB_DONE,      JOB_DO_CLOSE }, /* the interrupt came too late */
		[JOB_EV_EXIT_BAD]     = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_EXIT_STOPPED] = { JOB_CANCELLED, JOB_DO_CLOSE },
		[JOB_EV_REFUSED]      = { JOB_FAILED,    JOB_DO_CLOSE },
		[JOB_EV_PROMPT]       = { JOB_STOPPING,  JOB_DO_NOTHING },
		[JOB_EV_ANSWERED]     = { JOB_STOPPING,  JOB_DO_NOTHING },
		[JOB_EV_CANCEL]       = { JOB_STOPPING,  JOB_DO_NOTHING }, /* one SIGINT is all a cancel sends */
		[JOB_EV_FORCE]        = { JOB_STOPPING,  JOB_DO_INTERRUPT_AGAIN },
		[JOB_EV_EXPIRE]       = { JOB_STOPPING,  JOB_DO_NOTHING },
		[JOB_EV_LOCK_LOST]    = { JOB_STOPPING,  JOB_DO_NOTHING },
		[JOB_EV_VANISHED]     = { JOB_LOST,      JOB_DO_HOLD },
	},
/* A late cancel must not turn into an error; a runner goes away once its job is over. */
#define OVER(status)                                             \
	[status] = {                                             \
		[JOB_EV_CANCEL] = { status, JOB_DO_NOTHING },    \
		[JOB_EV_FORCE] = { status, JOB_DO_NOTHING },     \
		[JOB_EV_EXPIRE] = { status, JOB_DO_NOTHING },    \
		[JOB_EV_LOCK_LOST] = { status, JOB_DO_NOTHING }, \
		[JOB_EV_VANISHED] = { status, JOB_DO_NOTHING },  \
	}
	OVER(JOB_DONE),
	OVER(JOB_FAILED),
	OVER(JOB_CANCELLED),
	OVER(JOB_LOST),
#undef OVER
};
/* clang-format on */

int job_fsm_step(enum job_status *status, enum job_event event)
{
	const struct step *step;

	assert(*status < JOB_STATUS_COUNT);
	assert(event < JOB_EVENT_COUNT);

	step = &steps[*status][event];
	if (!step->action)
		return -EPROTO;

	*status = step->next;
	return (int)step->action;
}

const char *job_status_name(enum job_status status)
{
	switch (status) { /* no default: -Wswitch must catch a status without a name */
	case JOB_QUEUED: return "queued";
	case JOB_LOCKING: return "locking";
	case JOB_RUNNING: return "running";
	case JOB_APPROVING: return "approving";
	case JOB_STOPPING: return "stopping";
	case JOB_DONE: return "done";
	case JOB_FAILED: return "failed";
	case JOB_CANCELLED: return "cancelled";
	case JOB_LOST: return "lost";
	case JOB_STATUS_COUNT: break;
	}
	assert(!"not a job's status");
	return NULL;
}

bool job_status_is_final(enum job_status status)
{
	return status == JOB_DONE || status == JOB_FAILED || status == JOB_CANCELLED ||
	       status == JOB_LOST;
}

bool job_status_is_running(enum job_status status)
{
	return status == JOB_RUNNING || status == JOB_APPROVING || status == JOB_STOPPING;
}
