/* SPDX-License-Identifier: MIT */
/* What is written into a lock for one job, and with whose rights. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/lock/lock_parts.h"

struct lock_store *lock_store_free(struct lock_store *store)
{
	return store ? store->ops->free(store) : NULL;
}

int lock_claim_new(struct lock_claim **ret, uint64_t job, const struct lock_claim_words *words)
{
	CLEANUP(lock_claim_freep) struct lock_claim *claim = NULL;
	struct timespec now;

	assert(job > 0);

	claim = calloc(1, sizeof(*claim));
	if (!claim)
		return -ENOMEM;

	claim->job = job;
	claim->operation = strdup(words->operation);
	claim->who = strdup(words->who);
	claim->version = strdup(words->version);
	claim->path = strdup(words->path);
	if (!claim->operation || !claim->who || !claim->version || !claim->path)
		return -ENOMEM;
	(void)snprintf(claim->id, sizeof(claim->id), "%s", words->id);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)lockinfo_time(claim->created, &now);
	*ret = TAKE_PTR(claim);
	return 0;
}

struct lock_claim *lock_claim_free(struct lock_claim *claim)
{
	if (!claim)
		return NULL;
	for (int i = 0; i < LOCK_KIND_COUNT; i++)
		lock_store_free(claim->stores[i]);
	free(claim->operation);
	free(claim->who);
	free(claim->version);
	free(claim->path);
	free(claim);
	return NULL;
}

static struct lock_claim *find_claim(const struct lock *lock, uint64_t job)
{
	for (struct lock_claim *claim = lock->claims; claim; claim = claim->next)
		if (claim->job == job)
			return claim;
	return NULL;
}

static struct lock_claim *first_claim(const struct lock_side *side)
{
	for (struct lock_claim *claim = side->lock->claims; claim; claim = claim->next)
		if (claim->stores[side->kind])
			return claim;
	return NULL;
}

static bool is_needed_by(const struct lock_side *side, const struct lock_claim *claim)
{
	const struct lease *lease = &side->lease;

	if (!claim->stores[side->kind])
		return false;
	/* Whatever is still to be asked, somebody's rights must be there to ask with. */
	if (claim == first_claim(side) &&
	    (lease->must_settle || lease->in_flight != LEASE_NONE || lease->open_count > 0))
		return true;
	if (claim->job == lease->wanted || claim->stores[side->kind] == side->busy ||
	    (lease->state == LEASE_HELD && claim->job == lease->owner))
		return true;
	for (unsigned i = 0; i < lease->open_count; i++)
		if (lease->open[i].owner == claim->job)
			return true;
	return false;
}

void lock_prune_claims(struct lock *lock)
{
	for (struct lock_claim **at = &lock->claims; *at;) {
		struct lock_claim *claim = *at;
		bool is_needed = claim->job == lock->wanted;

		for (int i = 0; i < LOCK_KIND_COUNT; i++)
			is_needed |= is_needed_by(&lock->sides[i], claim);
		if (is_needed) {
			at = &claim->next;
			continue;
		}
		*at = claim->next;
		lock_claim_free(claim);
	}
}

struct lock_claim *lock_claim_for(const struct lock_side *side, const struct lease_request *request)
{
	struct lock_claim *claim = NULL;

	if (request->op == LEASE_CREATE || request->op == LEASE_SWAP)
		return find_claim(side->lock, request->owner);
	/* The owner's keys may have died with his session: whoever comes next tries his in turn. */
	if (side->lease.state == LEASE_HELD && side->lease.wanted != 0 &&
	    side->lease.failures % 2 == 1)
		claim = find_claim(side->lock, side->lease.wanted);
	else if (side->lease.state == LEASE_HELD)
		claim = find_claim(side->lock, side->lease.owner);
	return claim && claim->stores[side->kind] ? claim : first_claim(side);
}
