/* SPDX-License-Identifier: MIT */
/*
 * A unit's life: asked for (StartTransientUnit) -> started (JobRemoved) -> its cgroup is looked up
 * and watched -> nothing is in it any more. A runner may say hello before we have heard that it is
 * started: launcher_unit_claim() takes it from there. From then on the kernel tells of its end,
 * whether the bus works or not.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "daemon/cgroup.h"
#include "daemon/launcher_parts.h"

#define NAME_MAX_LEN 64
#define RETRY_USEC   (100 * USEC_PER_MSEC)
#define LOOK_USEC    USEC_PER_SEC
#define RETRY_MAX    100 /* 10 s: what of the same name is in the way is gone by then */

struct launcher_unit {
	struct launcher *launcher; /* NULL: none, so that it can only be watched */
	sd_event *event;
	const struct job *job; /* NULL: a helper */
	char name[NAME_MAX_LEN];
	char *cgroup;   /* NULL: not known yet */
	char *bus_job;  /* systemd's job that starts it; NULL: not known, or done */
	char *systemd;  /* who has answered, on the bus */
	unsigned tries; /* to start it */
	sd_bus_slot *match, *call;
	struct cgroup_watch watch;
	sd_event_source *retry;
	launcher_end_fn end;
	void *userdata;
};

struct launcher_unit *launcher_unit_free(struct launcher_unit *unit)
{
	if (!unit)
		return NULL;
	sd_bus_slot_unref(unit->match);
	sd_bus_slot_unref(unit->call);
	cgroup_unwatch(&unit->watch);
	sd_event_source_disable_unref(unit->retry);
	sd_event_unref(unit->event);
	free(unit->cgroup);
	free(unit->bus_job);
	free(unit->systemd);
	free(unit);
	return NULL;
}

/* The last that is done with @unit. */
__attribute__((format(printf, 2, 3))) static void fail(struct launcher_unit *unit,
						       const char *format, ...)
{
	AUTO_FREE char *why = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&why, format, args) < 0)
		why = NULL;
	va_end(args);
	unit->end(unit, why ? text_printable(why, strlen(why) + 1, why) : "out of memory",
		  unit->userdata);
}

/* --- what lives in it ------------------------------------------------------------------------ */

static int on_cgroup_event(sd_event_source *source, const struct inotify_event *event,
			   void *userdata)
{
	struct launcher_unit *unit = userdata;

	(void)source;
	if (event && event->mask & IN_DELETE && strcmp(event->name, unit->name) != 0)
		return 0; /* another's, in the same slice */
	if (!cgroup_is_populated(unit->cgroup))
		unit->end(unit, NULL, unit->userdata);
	return 0;
}

static int set_timer(struct launcher_unit *unit, uint64_t usec, sd_event_time_handler_t handler)
{
	unit->retry = sd_event_source_disable_unref(unit->retry);
	return sd_event_add_time_relative(unit->event, &unit->retry, CLOCK_MONOTONIC, usec,
					  10 * USEC_PER_MSEC, handler, unit);
}

/* It may have become empty before we looked, and must not end in the middle of a call. */
static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct launcher_unit *unit = userdata;

	(void)usec;
	if (!unit->watch.removed) /* the kernel has no watch to give */
		(void)set_timer(unit, LOOK_USEC, on_look);
	return on_cgroup_event(source, NULL, unit);
}

/* Return: 0, or -ENOMEM. A cgroup that is gone already is told of from the loop. */
static int watch(struct launcher_unit *unit, const char *cgroup)
{
	int r;

	unit->match = sd_bus_slot_unref(unit->match);
	unit->cgroup = strdup(cgroup);
	if (!unit->cgroup)
		return -ENOMEM;
	r = cgroup_watch(&unit->watch, unit->event, cgroup, on_cgroup_event, unit);
	if (r < 0)
		log_warning(r, "Cannot watch what lives in %s, looks every second: %m", unit->name);
	return set_timer(unit, 0, on_look);
}

/* --- its start ------------------------------------------------------------------------------- */

static int ask(struct launcher_unit *unit, const struct launcher_helper *helper);

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct launcher_unit *unit = userdata;
	int r;

	(void)source;
	(void)usec;
	r = ask(unit, NULL);
	if (r < 0 && (unit->tries >= RETRY_MAX || set_timer(unit, RETRY_USEC, on_retry) < 0))
		fail(unit, "the system bus does not answer: %s", strerror(-r));
	return 0;
}

/* Errors after which another try may do better. */
static bool is_passing(const sd_bus_error *error)
{
	static const char *const names[] = {
		"org.freedesktop.systemd1.UnitExists",
		SD_BUS_ERROR_NO_REPLY,
		SD_BUS_ERROR_TIMEOUT,
		SD_BUS_ERROR_DISCONNECTED,
		SD_BUS_ERROR_SERVICE_UNKNOWN,
		SD_BUS_ERROR_NAME_HAS_NO_OWNER,
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (sd_bus_error_has_name(error, names[i]))
			return true;
	return false;
}

static void take_refusal(struct launcher_unit *unit, const sd_bus_error *error)
{
	if (unit->job && is_passing(error) && unit->tries < RETRY_MAX &&
	    set_timer(unit, RETRY_USEC, on_retry) >= 0) {
		if (unit->tries == 1)
			log_info("%s cannot be started yet, is tried again: %s", unit->name,
				 error->message);
		return;
	}
	if (sd_bus_error_has_name(error, "org.freedesktop.systemd1.TransactionIsDestructive") ||
	    sd_bus_error_has_name(error, "org.freedesktop.systemd1.ShuttingDown")) {
		fail(unit, "the machine is going down: terraform was not run; queue it again");
	} else if (sd_bus_error_has_name(error, "org.freedesktop.systemd1.UnitExists")) {
		fail(unit,
		     "another %s is there, perhaps of another tfqd: see 'systemctl status %s'",
		     unit->name, unit->name);
	} else {
		fail(unit, "systemd does not start %s: %s", unit->name,
		     error->message ? error->message : error->name);
	}
}

static int on_asked(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct launcher_unit *unit = userdata;
	const char *sender = sd_bus_message_get_sender(reply);
	const char *path = NULL;

	(void)ret_error;
	unit->call = sd_bus_slot_unref(unit->call);
	if (unit->cgroup)
		return 0; /* its runner was faster */
	if (sd_bus_message_is_method_error(reply, NULL)) {
		take_refusal(unit, sd_bus_message_get_error(reply));
		return 0;
	}
	if (sd_bus_message_read(reply, "o", &path) >= 0 && text_replace(&unit->bus_job, path) >= 0)
		(void)text_replace(&unit->systemd, sender ? sender : "");
	return 0;
}

static int on_cgroup_name(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct launcher_unit *unit = userdata;
	const char *cgroup = NULL;
	int r;

	(void)ret_error;
	unit->call = sd_bus_slot_unref(unit->call);
	if (unit->cgroup)
		return 0;
	if (sd_bus_message_is_method_error(reply, NULL) ||
	    sd_bus_message_read(reply, "v", "s", &cgroup) < 0 || !*cgroup) {
		unit->end(unit, NULL, unit->userdata); /* it was short, and is gone */
		return 0;
	}
	r = watch(unit, cgroup);
	if (r < 0)
		fail(unit, "what lives in %s cannot be watched: %s", unit->name, strerror(-r));
	return 0;
}

static int look_up_cgroup(struct launcher_unit *unit)
{
	AUTO_FREE char *path = NULL;
	int r;

	r = sd_bus_path_encode(SYSTEMD_PATH "/unit", unit->name, &path);
	if (r < 0)
		return r;
	unit->call = sd_bus_slot_unref(unit->call);
	return sd_bus_call_method_async(unit->launcher->bus, &unit->call, SYSTEMD_NAME, path,
					"org.freedesktop.DBus.Properties", "Get", on_cgroup_name,
					unit, "ss", SYSTEMD_NAME ".Service", "ControlGroup");
}

/* systemd is done with one of its jobs. Anybody may send us a signal that says so. */
static int on_bus_job(sd_bus_message *signal, void *userdata, sd_bus_error *ret_error)
{
	struct launcher_unit *unit = userdata;
	const char *path = NULL, *name = NULL, *result = NULL;
	const char *sender = sd_bus_message_get_sender(signal);
	uint32_t id;
	int r;

	(void)ret_error;
	if (sd_bus_message_read(signal, "uoss", &id, &path, &name, &result) < 0 || unit->cgroup ||
	    !unit->bus_job || strcmp(unit->bus_job, path) != 0 || !sender || !unit->systemd ||
	    strcmp(unit->systemd, sender) != 0)
		return 0;
	free(TAKE_PTR(unit->bus_job));
	unit->match = sd_bus_slot_unref(unit->match);
	if (strcmp(result, "done") != 0) {
		fail(unit, "systemd could not start %s (%s): see 'journalctl -u %s'", unit->name,
		     result, unit->name);
		return 0;
	}
	r = look_up_cgroup(unit);
	if (r < 0)
		fail(unit, "the system bus does not answer: %s", strerror(-r));
	return 0;
}

/* Before the call, so that nothing is missed. Of all units, because sd-bus cannot match strings
 * behind a number; but only for as long as ours starts. */
static int add_match(struct launcher_unit *unit)
{
	static const char rule[] = "type='signal',sender='" SYSTEMD_NAME "',path='" SYSTEMD_PATH
				   "',interface='" SYSTEMD_MANAGER "',member='JobRemoved'";

	unit->match = sd_bus_slot_unref(unit->match);
	return sd_bus_add_match_async(unit->launcher->bus, &unit->match, rule, on_bus_job, NULL,
				      unit);
}

static int compose_runner(sd_bus_message **ret, const struct launcher_unit *unit, char *groups)
{
	const struct launcher_setup *setup = &unit->launcher->setup;
	const struct job *job = unit->job;
	AUTO_FREE char *program = strdup(setup->runner);
	AUTO_FREE char *socket = strdup(setup->socket);
	AUTO_FREE char *description = NULL;
	char number[24], job_option[] = "--job", socket_option[] = "--socket",
			 groups_option[] = "--groups";
	char *argv[] = { program, groups_option, groups, job_option,
			 number,  socket_option, socket, NULL };

	if (asprintf(&description, "tfq job %" PRIu64 " of %s", job->id, job->owner.name) < 0)
		description = NULL;
	if (!program || !socket || !description)
		return -ENOMEM;
	(void)snprintf(number, sizeof(number), "%" PRIu64, job->id);
	return launcher_compose(ret, unit->launcher,
				&(struct launcher_order){
					.name = unit->name,
					.description = description,
					.owner = &job->owner,
					.argv = argv,
					.job = job,
				});
}

static int compose_helper(sd_bus_message **ret, const struct launcher_unit *unit,
			  const struct launcher_helper *helper, char *groups)
{
	AUTO_FREE char *program = strdup(unit->launcher->setup.runner);
	char groups_option[] = "--groups", option[] = "--credentials";
	char *argv[] = { program, groups_option, groups, option, NULL };

	if (!program)
		return -ENOMEM;
	return launcher_compose(ret, unit->launcher,
				&(struct launcher_order){
					.name = unit->name,
					.description = "AWS credentials for tfqd",
					.owner = helper->owner,
					.argv = argv,
					.helper = helper,
				});
}

/* "4,27": the groups of who asked, for the runner to set. Return: the caller's to free, or NULL. */
static char *list_groups(const struct job_owner *owner)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; out && i < owner->group_count; i++)
		(void)fprintf(out, "%s%u", i > 0 ? "," : "", (unsigned)owner->groups[i]);
	if (!out || fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* @helper: NULL for a job's. */
static int ask(struct launcher_unit *unit, const struct launcher_helper *helper)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	AUTO_FREE char *groups = list_groups(helper ? helper->owner : &unit->job->owner);
	int r;

	unit->tries++;
	if (!groups)
		return -ENOMEM;
	r = launcher_connect(unit->launcher);
	if (r >= 0)
		r = add_match(unit);
	if (r >= 0) {
		r = helper ? compose_helper(&message, unit, helper, groups)
			   : compose_runner(&message, unit, groups);
	}
	if (r < 0)
		return r;
	unit->call = sd_bus_slot_unref(unit->call);
	return sd_bus_call_async(unit->launcher->bus, &unit->call, message, on_asked, unit, 0);
}

static int unit_new(struct launcher_unit **ret, sd_event *event, launcher_end_fn end,
		    void *userdata)
{
	struct launcher_unit *unit = calloc(1, sizeof(*unit));

	if (!unit)
		return -ENOMEM;
	unit->event = sd_event_ref(event);
	unit->end = end;
	unit->userdata = userdata;
	*ret = unit;
	return 0;
}

/* @unit is the caller's, or gone if @r says that something has failed. */
static int keep(struct launcher_unit **ret, struct launcher_unit *unit, int r)
{
	if (r < 0) {
		launcher_unit_free(unit);
		return r;
	}
	*ret = unit;
	return 0;
}

static void name_of_runner(char name[NAME_MAX_LEN], uint64_t id)
{
	(void)snprintf(name, NAME_MAX_LEN, "tfq-job-%" PRIu64 ".service", id);
}

int launcher_unit_start_runner(struct launcher_unit **ret, struct launcher *launcher,
			       const struct job *job, launcher_end_fn end, void *userdata)
{
	struct launcher_unit *unit;
	int r;

	r = unit_new(&unit, launcher->setup.event, end, userdata);
	if (r < 0)
		return r;
	unit->launcher = launcher;
	unit->job = job;
	name_of_runner(unit->name, job->id);
	r = ask(unit, NULL);
	if (r < 0) /* the bus is being restarted, say */
		r = set_timer(unit, RETRY_USEC, on_retry);
	return keep(ret, unit, r);
}

int launcher_unit_start_helper(struct launcher_unit **ret, struct launcher *launcher,
			       const struct launcher_helper *helper, launcher_end_fn end,
			       void *userdata)
{
	struct launcher_unit *unit;
	int r;

	r = unit_new(&unit, launcher->setup.event, end, userdata);
	if (r < 0)
		return r;
	unit->launcher = launcher;
	(void)snprintf(unit->name, sizeof(unit->name), "tfq-credentials-%d-%" PRIu64 ".service",
		       (int)getpid(), ++launcher->helper_count);
	return keep(ret, unit, ask(unit, helper));
}

/* --- one that runs --------------------------------------------------------------------------- */

int launcher_unit_find(struct launcher_unit **ret, struct launcher *launcher, sd_event *event,
		       const char *cgroup, launcher_end_fn end, void *userdata)
{
	const char *slash = strrchr(cgroup, '/');
	struct launcher_unit *unit;
	int r;

	if (!cgroup_is_populated(cgroup))
		return -ESRCH;
	r = unit_new(&unit, event, end, userdata);
	if (r < 0)
		return r;
	unit->launcher = launcher;
	(void)snprintf(unit->name, sizeof(unit->name), "%s", slash ? slash + 1 : cgroup);
	return keep(ret, unit, watch(unit, cgroup));
}

static bool is_in(pid_t pid, const char *unit)
{
	AUTO_FREE char *name = NULL;

	return sd_pid_get_unit(pid, &name) >= 0 && strcmp(name, unit) == 0;
}

bool launcher_unit_has(uint64_t id, pid_t pid)
{
	char name[NAME_MAX_LEN];

	name_of_runner(name, id);
	return is_in(pid, name);
}

int launcher_unit_claim(struct launcher_unit *unit, pid_t pid, char **ret_cgroup)
{
	AUTO_FREE char *cgroup = NULL;
	int r;

	if (!is_in(pid, unit->name) || sd_pid_get_cgroup(pid, &cgroup) < 0)
		return -EPERM;
	if (unit->cgroup && strcmp(unit->cgroup, cgroup) != 0)
		return -EPERM;
	if (!unit->cgroup) {
		unit->retry = sd_event_source_disable_unref(unit->retry);
		r = watch(unit, cgroup);
		if (r < 0)
			return r;
	}
	*ret_cgroup = TAKE_PTR(cgroup);
	return 0;
}

void launcher_unit_kill(struct launcher_unit *unit)
{
	if (!unit->launcher || launcher_connect(unit->launcher) < 0)
		return;
	(void)sd_bus_call_method_async(unit->launcher->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH,
				       SYSTEMD_MANAGER, "KillUnit", NULL, NULL, "ssi", unit->name,
				       "all", SIGKILL);
}
