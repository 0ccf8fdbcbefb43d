/* SPDX-License-Identifier: MIT */
#include "daemon/lock/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "daemon/lock/probe_run.h"

struct entry;

struct lock_probe {
	struct lock_probe *next; /* in the order of asking */
	struct entry *entry;
	struct s3_bucket *bucket;
	char *key;
	lock_probe_done_fn done;
	void *userdata;
};

/* One bucket. */
struct entry {
	struct entry *next;
	struct lock_probes *probes;
	char *name;
	struct lock_probe *waiting; /* the first one's keys are asked with */
	struct probe_run *run;
	const struct lock_probe *starter; /* whose keys that run uses; NULL: cancelled */
	uint64_t until_usec;              /* what follows is known until then; CLOCK_BOOTTIME */
	bool is_good;
	struct probe_traits traits;
	char why[LOCK_ERROR_MAX];
};

struct lock_probes {
	sd_event *event;
	sd_event_source *soon;
	struct entry *entries;
	unsigned telling; /* > 0: an entry is in use, so none is freed */
};

static struct lock_probe *probe_free(struct lock_probe *probe)
{
	if (!probe)
		return NULL;
	s3_bucket_unref(probe->bucket);
	free(probe->key);
	free(probe);
	return NULL;
}

static inline void probe_freep(struct lock_probe **p)
{
	probe_free(*p);
}

/* Take @probe out of those who wait. */
static void unlink_probe(struct lock_probe *probe)
{
	struct lock_probe **at = &probe->entry->waiting;

	while (*at && *at != probe)
		at = &(*at)->next;
	if (*at)
		*at = probe->next;
	if (probe->entry->starter == probe)
		probe->entry->starter = NULL;
}

static void tell(struct lock_probe *probe, bool is_good, const struct probe_traits *traits,
		 const char *why)
{
	const lock_probe_done_fn done = probe->done;
	void *const userdata = probe->userdata;
	struct lock_probes *probes = probe->entry->probes;

	unlink_probe(probe);
	probe_free(probe);
	probes->telling++;
	done(is_good ? traits : NULL, is_good ? NULL : why, userdata);
	probes->telling--;
}

/* --- runs ------------------------------------------------------------------------------------ */

static void wake(struct lock_probes *probes)
{
	(void)sd_event_source_set_enabled(probes->soon, SD_EVENT_ONESHOT);
}

/*
 * What is the store's fault, or nobody could find out, is everybody's answer; what these
 * credentials may not do is the answer of one, and the next one tries with his.
 */
static void on_run(struct probe_run *run, enum probe_verdict verdict,
		   const struct probe_traits *traits, const char *error, void *userdata)
{
	struct entry *entry = userdata;
	const bool is_good = verdict == PROBE_GOOD;
	const struct lock_probe *starter = entry->starter;
	struct lock_probe *last = entry->waiting;

	entry->traits = *traits;
	entry->is_good = is_good;
	(void)snprintf(entry->why, sizeof(entry->why), "%s", error);
	if (is_good || verdict == PROBE_BAD)
		entry->until_usec =
			clock_usec(CLOCK_BOOTTIME) + (is_good ? PROBE_GOOD_USEC : PROBE_BAD_USEC);
	log_debug(0, "Tried out %s: %s", entry->name, is_good ? "it can keep locks" : error);
	entry->starter = NULL;
	entry->run = probe_run_free(run);
	wake(entry->probes); /* for whoever asks from now on */

	while (last && last->next)
		last = last->next;
	if (verdict == PROBE_DENIED) {
		if (starter && starter == entry->waiting)
			tell(entry->waiting, false, NULL, entry->why);
		return;
	}
	while (entry->waiting && last) {
		struct lock_probe *probe = entry->waiting;

		if (probe == last)
			last = NULL;
		tell(probe, is_good, &entry->traits, entry->why);
	}
}

static void advance(struct entry *entry)
{
	int r;

	while (entry->waiting && !entry->run && clock_usec(CLOCK_BOOTTIME) < entry->until_usec)
		tell(entry->waiting, entry->is_good, &entry->traits, entry->why);
	while (entry->waiting && !entry->run) {
		struct lock_probe *probe = entry->waiting;

		r = probe_run_new(&entry->run, entry->probes->event, probe->bucket, probe->key,
				  on_run, entry);
		if (r >= 0)
			entry->starter = probe;
		else
			tell(probe, false, NULL,
			     "tfqd could not try the store out (out of memory?)");
	}
}

static int on_soon(sd_event_source *source, void *userdata)
{
	struct lock_probes *probes = userdata;

	(void)source;

	for (struct entry *entry = probes->entries; entry; entry = entry->next)
		advance(entry);
	return 0;
}

/* --- entries --------------------------------------------------------------------------------- */

static struct entry *entry_free(struct entry *entry)
{
	probe_run_free(entry->run);
	free(entry->name);
	free(entry);
	return NULL;
}

/* Also forgets what is not known any more. */
static struct entry *find(struct lock_probes *probes, const char *name)
{
	const uint64_t now = clock_usec(CLOCK_BOOTTIME);
	struct entry *found = NULL;

	for (struct entry **at = &probes->entries; *at;) {
		struct entry *entry = *at;

		if (strcmp(entry->name, name) == 0)
			found = entry;
		if (probes->telling > 0 || entry == found || entry->run || entry->waiting ||
		    now < entry->until_usec) {
			at = &entry->next;
			continue;
		}
		*at = entry->next;
		entry_free(entry);
	}
	if (found)
		return found;
	found = calloc(1, sizeof(*found));
	if (!found || text_replace(&found->name, name) < 0) {
		free(found);
		return NULL;
	}
	found->probes = probes;
	found->next = probes->entries;
	probes->entries = found;
	return found;
}

int lock_probes_new(struct lock_probes **ret, sd_event *event)
{
	CLEANUP(lock_probes_freep) struct lock_probes *probes = NULL;
	int r;

	probes = calloc(1, sizeof(*probes));
	if (!probes)
		return -ENOMEM;
	probes->event = sd_event_ref(event);
	r = sd_event_add_defer(event, &probes->soon, on_soon, probes);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(probes->soon, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(probes);
	return 0;
}

struct lock_probes *lock_probes_free(struct lock_probes *probes)
{
	if (!probes)
		return NULL;
	while (probes->entries) {
		struct entry *next = probes->entries->next;

		entry_free(probes->entries);
		probes->entries = next;
	}
	sd_event_source_disable_unref(probes->soon);
	sd_event_unref(probes->event);
	free(probes);
	return NULL;
}

/* --- asking ---------------------------------------------------------------------------------- */

int lock_probe_start(struct lock_probe **ret, struct probe_traits *ret_traits,
		     struct lock_probes *probes, const struct lock_probe_question *question)
{
	CLEANUP(probe_freep) struct lock_probe *probe = NULL;
	struct entry *entry = find(probes, question->bucket->name);
	struct lock_probe **at;
	int r;

	if (!entry)
		return -ENOMEM;
	if (entry->is_good && clock_usec(CLOCK_BOOTTIME) < entry->until_usec) {
		*ret_traits = entry->traits;
		return 1;
	}
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	r = text_replace(&probe->key, question->key);
	if (r < 0)
		return r;
	probe->entry = entry;
	probe->bucket = s3_bucket_ref(question->bucket);
	probe->done = question->done;
	probe->userdata = question->userdata;
	for (at = &entry->waiting; *at; at = &(*at)->next)
		;
	*at = *ret = TAKE_PTR(probe);
	wake(probes);
	return 0;
}

struct lock_probe *lock_probe_cancel(struct lock_probe *probe)
{
	if (!probe)
		return NULL;
	unlink_probe(probe);
	return probe_free(probe);
}
