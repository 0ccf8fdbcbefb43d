/* SPDX-License-Identifier: MIT */
/*
 * Hosts whose clocks run as wrongly as the lease allows, with daemons that stop, crash and
 * start again, runners that end a child at its deadline and not before, and a network that
 * loses, delays and repeats. The lease machine of each is the real one. A daemon that is started
 * again regains what it had written, for the child that lives on or when there is none. Whatever
 * happens: no two children at once, and no version goes but by its writer's hand or after its
 * deadline.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/lock/lease.h"
#include "tests/unit/lease_random.h"
#include "tests/unit/unit.h"

#define SEC           UINT64_C(1000000)
#define HOSTS         3
#define FLIGHTS_MAX   48
#define VERSIONS_MAX  4096
#define EPISODES      10000
#define STEPS         1000
#define HEAL_STEPS    3000
#define DRIFT_PERCENT 10

struct version {
	int writer; /* host */
	char nonce[LEASE_NONCE_LEN];
	unsigned life;          /* ... and its daemon */
	uint64_t lease_usec;    /* as it says; 0: not to be taken over */
	uint64_t deadline_usec; /* on its writer's clock; UINT64_MAX: never */
};

/* A request, from its sending until it can have no effect any more. */
struct flight {
	bool is_used, is_ghost, is_executed;
	bool is_regain;
	int host;
	unsigned life;
	struct lease_request request;
	uint64_t sent_usec;
	struct lease_answer answer;
};

struct host {
	uint64_t clock_usec; /* its own */
	uint64_t rate;       /* percent */
	struct lease lease;
	struct flight *flight; /* under way, as its daemon believes */
	unsigned lives;        /* starts of its daemon */
	bool is_paused;
	bool is_dead;   /* for good */
	uint64_t job;   /* that the lock is wanted for */
	uint64_t child; /* the job whose child is alive; 0: none */
	uint64_t child_deadline_usec;
	bool is_told_to_end; /* the child has had its SIGINT */
	bool is_kept;        /* the job wanted is one that ran when its daemon was started again */
	bool has_runner;     /* the child's runner is connected to the daemon */
	uint64_t won_usec;   /* sending of its latest write that was executed */
	uint64_t seen_usec[VERSIONS_MAX]; /* when this daemon first received each version; 0: never
					   */
};

struct world {
	uint64_t random, seed, steps;
	struct host hosts[HOSTS];
	unsigned host_count;
	struct flight flights[FLIGHTS_MAX];
	struct version versions[VERSIONS_MAX];
	unsigned version_count;
	unsigned there; /* the version in the store; 0: none */
	unsigned nonces;
	uint64_t jobs;
	bool is_healthy;
	/* so that it is seen to happen at all */
	uint64_t children, takeovers, early, expiries, regains, kept;
};

static struct host *writer_of(struct world *world, unsigned version)
{
	return &world->hosts[world->versions[version].writer];
}

/* --- the store ------------------------------------------------------------------------ */

static void put_version(struct world *world, const struct flight *flight)
{
	struct host *host = &world->hosts[flight->host];
	const struct lease_config *config = &host->lease.config;
	struct version *version;

	CHECK(world, ++world->version_count < VERSIONS_MAX, "too many versions");
	version = &world->versions[world->version_count];
	*version = (struct version){
		.writer = flight->host,
		.life = flight->life,
		.lease_usec = config->takes_over ? config->lease_usec : 0,
		.deadline_usec =
			config->takes_over ? flight->sent_usec + config->lease_usec : UINT64_MAX,
	};
	memcpy(version->nonce, flight->request.nonce, LEASE_NONCE_LEN);
	if (flight->sent_usec > host->won_usec)
		host->won_usec = flight->sent_usec;
	world->there = world->version_count;
}

/* What @flight is about to replace or remove is its own, or was taken over late enough. */
static void check_victim(struct world *world, const struct flight *flight)
{
	const int writer = world->versions[world->there].writer;

	if (flight->request.is_takeover && !flight->is_regain) {
		CHECK(world,
		      writer_of(world, world->there)->clock_usec >=
			      world->versions[world->there].deadline_usec,
		      "host %d takes over from %d too early", flight->host, writer);
	} else {
		CHECK(world, writer == flight->host, "host %d overwrites what %d wrote",
		      flight->host, writer);
	}
	CHECK(world, !flight->request.is_takeover || flight->request.op == LEASE_SWAP,
	      "host %d removes as a takeover", flight->host);
}

static enum lease_result execute_write(struct world *world, const struct flight *flight)
{
	const struct lease_request *request = &flight->request;

	if (request->op == LEASE_CREATE) {
		if (world->there != 0)
			return LEASE_R_REFUSED;
		put_version(world, flight);
		return LEASE_R_DONE;
	}
	if (world->there == 0)
		return LEASE_R_ABSENT;
	if (random_version(request->etag) != world->there)
		return LEASE_R_REFUSED;
	check_victim(world, flight);
	if (request->op == LEASE_REMOVE) {
		world->there = 0;
		return LEASE_R_DONE;
	}
	world->takeovers += request->is_takeover && !flight->is_regain;
	put_version(world, flight);
	return LEASE_R_DONE;
}

static void execute(struct world *world, struct flight *flight)
{
	struct lease_answer *answer = &flight->answer;

	*answer = (struct lease_answer){ .result = LEASE_R_ABSENT };
	flight->is_executed = true;
	if (flight->request.op != LEASE_READ) {
		answer->result = execute_write(world, flight);
	} else if (world->there != 0) {
		const struct version *version = &world->versions[world->there];

		answer->result = LEASE_R_DONE;
		answer->lease_usec = version->lease_usec;
		memcpy(answer->nonce, version->nonce, LEASE_NONCE_LEN);
		memcpy(answer->id, "id", sizeof("id"));
	}
	if (answer->result == LEASE_R_DONE && flight->request.op != LEASE_REMOVE)
		(void)snprintf(answer->etag, sizeof(answer->etag), "\"%u\"", world->there);
}

/* --- runners -------------------------------------------------------------------------- */

static void check_children(struct world *world)
{
	unsigned children = 0;

	for (unsigned i = 0; i < world->host_count; i++)
		children += world->hosts[i].child != 0;
	CHECK(world, children <= 1, "%u children", children);
}

static void start_child(struct world *world, struct host *host)
{
	CHECK(world, host->child == 0, "the next child beside the old one");
	CHECK(world, lease_expiry(&host->lease) > host->clock_usec, "a child without time");
	host->child = host->job;
	host->child_deadline_usec = lease_expiry(&host->lease);
	host->is_told_to_end = false;
	host->is_kept = false;
	host->has_runner = true;
	world->children++;
	check_children(world);
}

/* A rate of a host's clock, in percent: as often at an end of what drift allows as anywhere. */
static uint64_t slewed_rate(struct world *world)
{
	if (random_dice(&world->random, 2))
		return random_dice(&world->random, 2) ? 100 + DRIFT_PERCENT : 100 - DRIFT_PERCENT;
	return 100 - DRIFT_PERCENT + random_dice(&world->random, 2 * DRIFT_PERCENT + 1);
}

/* Time passes: the worst runner ends its child just at the deadline. */
static void pass(struct world *world, uint64_t usec)
{
	for (unsigned i = 0; i < world->host_count; i++) {
		struct host *host = &world->hosts[i];

		host->clock_usec += usec / 100 * host->rate;
		if (host->clock_usec >= host->child_deadline_usec)
			host->child = 0;
		if (random_dice(&world->random, 50) == 0)
			host->rate = slewed_rate(world);
	}
}

/* --- daemons -------------------------------------------------------------------------- */

static void want(struct host *host, uint64_t job)
{
	host->job = job;
	lease_want(&host->lease, job);
}

static void choose_job(struct world *world, struct host *host)
{
	if (host->child != 0)
		return;
	host->is_kept = false;
	want(host, random_dice(&world->random, 4) || world->is_healthy ? ++world->jobs : 0);
}

/* The job is over, by itself or by force: hand the lock on, beside the next child or before it. */
static void end_job(struct world *world, struct host *host)
{
	const uint64_t old = host->lease.owner;

	host->child = 0;
	choose_job(world, host);
	if (host->job == 0 || random_dice(&world->random, 2) == 0 || old == 0 ||
	    !lease_is_held_by(&host->lease, old) || lease_expiry(&host->lease) <= host->clock_usec)
		return;
	world->early++;
	start_child(world, host);
}

/* Only a confirmed write moves the runner's deadline, and only to a later one. */
static void tell_deadline(struct host *host)
{
	const struct lease *lease = &host->lease;

	if (host->child != 0 && host->has_runner && lease_is_held_by(lease, lease->owner) &&
	    lease_expiry(lease) > host->child_deadline_usec)
		host->child_deadline_usec = lease_expiry(lease);
}

/* A runner of before comes back; or the daemon sees that it is gone. */
static void hear_of_runner(struct world *world, struct host *host)
{
	if (host->is_kept && host->child == 0)
		choose_job(world, host);
	if (host->has_runner || random_dice(&world->random, 3) != 0)
		return;
	host->has_runner = true;
	tell_deadline(host);
}

static void heed(struct world *world, struct host *host, unsigned events)
{
	struct lease *lease = &host->lease;

	if (events & LEASE_EV_REGAINED) {
		world->regains++;
		world->kept += host->child != 0;
	}

	if (events & LEASE_EV_EXPIRED) {
		world->expiries++;
		CHECK(world, host->child == 0, "a child lives after its deadline");
		choose_job(world, host);
	}
	if (events & (LEASE_EV_LOST | LEASE_EV_DENIED))
		host->is_told_to_end = true;
	if (events & (LEASE_EV_FAILED | LEASE_EV_LOST | LEASE_EV_DENIED))
		choose_job(world, host);
	if (events & (LEASE_EV_RENEWED | LEASE_EV_HELD))
		tell_deadline(host);
	if (events & LEASE_EV_HELD && host->child != host->job && lease->owner == host->job &&
	    host->job != 0) {
		CHECK(world, lease_is_held_by(lease, host->job), "held, and not held");
		start_child(world, host);
	}
}

static void check_takeover(struct world *world, const struct host *host,
			   const struct lease_request *request)
{
	const unsigned version = random_version(request->etag);

	if (host->lease.foreign_is_own) {
		CHECK(world, writer_of(world, version) == host, "what another wrote is regained");
		CHECK(world, host->child == 0 || host->child == request->owner,
		      "regained for another job than the one that runs");
		return;
	}
	CHECK(world, host->lease.config.takes_over, "a takeover against the policy");
	CHECK(world, world->versions[version].lease_usec != 0, "a takeover of what has no lease");
	CHECK(world, host->seen_usec[version] != 0, "a takeover of what was not seen");
	CHECK(world,
	      host->clock_usec - host->seen_usec[version] >= world->versions[version].lease_usec *
								     (100 + DRIFT_PERCENT) /
								     (100 - DRIFT_PERCENT),
	      "a takeover of what was not watched");
	CHECK(world,
	      writer_of(world, version)->clock_usec >= world->versions[version].deadline_usec,
	      "a takeover before the deadline");
}

/* Give the daemon the chance to send. Return: when, on its clock, it wants to be asked again. */
static uint64_t poke(struct world *world, struct host *host)
{
	struct lease_request request;
	char nonce[LEASE_NONCE_LEN];

	if (host->is_dead || host->is_paused)
		return UINT64_MAX;
	hear_of_runner(world, host);
	heed(world, host, lease_tick(&host->lease, host->clock_usec));
	if (host->is_told_to_end && host->child != 0 && random_dice(&world->random, 4) == 0)
		end_job(world, host);
	if (host->flight)
		return UINT64_MAX;
	(void)snprintf(nonce, sizeof(nonce), "%032x", ++world->nonces);
	lease_next(&host->lease, host->clock_usec, nonce, &request);
	if (request.op == LEASE_NONE)
		return request.wake_usec;
	if (request.is_takeover)
		check_takeover(world, host, &request);
	if (request.op == LEASE_REMOVE)
		CHECK(world, host->child == 0, "a removal while the child lives");

	for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
		struct flight *flight = &world->flights[i];

		if (!flight->is_used) {
			*flight = (struct flight){
				.is_used = true,
				.host = (int)(host - world->hosts),
				.life = host->lives,
				.is_regain = request.is_takeover && host->lease.foreign_is_own,
				.request = request,
				.sent_usec = host->clock_usec,
			};
			host->flight = flight;
			return host->clock_usec;
		}
	}
	CHECK(world, false, "too many requests");
	return 0;
}

/* As the database knows: a job of this host wrote @version, and none runs but the one wanted. */
static bool is_own(const struct world *world, const struct host *host, unsigned version)
{
	return &world->hosts[world->versions[version].writer] == host &&
	       (host->child == 0 || host->child == host->job);
}

static void answer(struct world *world, struct flight *flight, const struct lease_answer *what)
{
	struct host *host = &world->hosts[flight->host];
	const unsigned version = random_version(what->etag);
	struct lease_answer told = *what;

	if (flight->request.op == LEASE_READ && version != 0) {
		if (host->seen_usec[version] == 0)
			host->seen_usec[version] = host->clock_usec;
		told.is_own = is_own(world, host, version);
	}
	host->flight = NULL;
	hear_of_runner(world, host);
	heed(world, host, lease_answer(&host->lease, host->clock_usec, &told));
}

static void start_daemon(struct world *world, struct host *host)
{
	struct lease_config config = host->lease.config;

	host->lives++;
	lease_init(&host->lease, &config, random_dice(&world->random, UINT64_MAX));
	memset(host->seen_usec, 0, sizeof(host->seen_usec));
	host->flight = NULL;
	host->is_paused = false;
	host->job = 0;
	host->is_told_to_end = false;
	host->has_runner = false;
	if (host->child == 0) {
		choose_job(world, host);
		return;
	}
	/* It goes on with the child of before; or the next job asks, and must not have it yet. */
	want(host, random_dice(&world->random, 4) ? host->child : ++world->jobs);
	host->is_kept = host->job == host->child;
	host->is_told_to_end = !host->is_kept;
}

/* --- what goes wrong ------------------------------------------------------------------ */

static void forsake(struct flight *flight)
{
	flight->is_ghost = !flight->is_executed && flight->request.op != LEASE_READ;
	flight->is_used = flight->is_ghost;
}

static void crash(struct world *world, struct host *host, bool with_runner)
{
	if (host->flight)
		forsake(host->flight);
	if (with_runner)
		host->child = 0;
	start_daemon(world, host);
}

static void give_up(struct world *world, struct flight *flight)
{
	static const enum lease_result unsent[] = { LEASE_R_UNSENT, LEASE_R_CONFLICT,
						    LEASE_R_DENIED };
	struct lease_answer what = { .result = LEASE_R_UNKNOWN };

	if (!flight->is_executed && random_dice(&world->random, 5) == 0) {
		what.result =
			unsent[random_dice(&world->random, random_dice(&world->random, 8) ? 2 : 3)];
		if (flight->request.op == LEASE_READ && what.result == LEASE_R_CONFLICT)
			what.result = LEASE_R_THROTTLED;
		flight->is_used = false;
	} else {
		if (random_dice(&world->random, 4) == 0)
			what.result = LEASE_R_THROTTLED;
		forsake(flight);
	}
	answer(world, flight, &what);
}

static void advance(struct world *world, struct flight *flight)
{
	if (flight->is_ghost) {
		flight->is_used = false;
		if (random_dice(&world->random, 4) != 0)
			execute(world, flight);
		return;
	}
	if (!world->is_healthy && random_dice(&world->random, 6) == 0) {
		give_up(world, flight);
	} else if (!flight->is_executed) {
		execute(world, flight);
		if (!world->is_healthy && random_dice(&world->random, 20) == 0)
			execute(world, flight); /* the transport sent it twice */
	} else {
		flight->is_used = false;
		answer(world, flight, &flight->answer);
	}
}

/* So much time that @host's clock comes to @usec, or just before. */
static void pass_until(struct world *world, const struct host *host, uint64_t usec)
{
	if (usec > host->clock_usec && usec - host->clock_usec < 200 * SEC)
		pass(world, (usec - host->clock_usec) / host->rate * 100 +
				    100 * random_dice(&world->random, 3));
}

static void some_time(struct world *world, struct host *host)
{
	switch (random_dice(&world->random, 6)) {
	case 0: pass(world, 100 * random_dice(&world->random, SEC / 10)); break;
	case 1: pass(world, 100 * random_dice(&world->random, SEC / 4)); break;
	case 2: pass_until(world, host, lease_takeover(&host->lease)); break;
	case 3: pass_until(world, host, lease_expiry(&host->lease)); break;
	case 4:
		if (host->child != 0)
			pass_until(world, host, host->child_deadline_usec);
		break;
	default: pass(world, 100 * random_dice(&world->random, SEC / 50));
	}
}

/* A human removes what is not to be taken over, when who wrote it and his child are gone. */
static void tidy_up(struct world *world)
{
	const struct host *host = writer_of(world, world->there);

	if (world->there != 0 && world->versions[world->there].lease_usec == 0 &&
	    world->versions[world->there].life != host->lives && host->child == 0)
		world->there = 0;
}

static void mischief(struct world *world)
{
	struct host *host = &world->hosts[random_dice(&world->random, world->host_count)];
	struct flight *flight = &world->flights[random_dice(&world->random, FLIGHTS_MAX)];

	world->steps++;
	switch (random_dice(&world->random, 32)) {
	case 0: some_time(world, host); break;
	case 1:
	case 2: pass(world, 100 * random_dice(&world->random, SEC / 500)); break;
	case 3:
		if (random_dice(&world->random, 12) == 0)
			crash(world, host, random_dice(&world->random, 2));
		break;
	case 4:
		if (random_dice(&world->random, 4) == 0 || host->is_paused)
			host->is_paused = !host->is_paused;
		break;
	case 5:
		if (host->child != 0 && !host->is_paused && random_dice(&world->random, 3) == 0)
			end_job(world, host);
		else if (host->job == 0)
			choose_job(world, host);
		else
			tidy_up(world);
		break;
	case 6:
	case 7:
	case 8:
		if (flight->is_used && flight->is_ghost)
			advance(world, flight);
		break;
	default:
		if (host->flight && !host->is_paused) {
			advance(world, host->flight);
		} else {
			const uint64_t wake = poke(world, host);

			if (wake > host->clock_usec && random_dice(&world->random, 4) == 0)
				pass_until(world, host, wake);
		}
	}
	check_children(world);
}

static void check_deadlines(struct world *world)
{
	for (unsigned i = 0; i < world->host_count; i++) {
		const struct host *host = &world->hosts[i];

		if (host->lease.state == LEASE_HELD) {
			CHECK(world,
			      host->lease.deadline_usec <=
				      host->won_usec + host->lease.config.lease_usec,
			      "host %u: its deadline is too late", i);
		}
	}
}

/* --- episodes ------------------------------------------------------------------------- */

static void begin_episode(struct world *world)
{
	const bool has_unwilling = random_dice(&world->random, 8) == 0;

	world->is_healthy = false;
	world->host_count = 2 + (unsigned)random_dice(&world->random, HOSTS - 1);
	world->version_count = 0;
	world->there = 0;
	world->jobs = 0;
	memset(world->flights, 0, sizeof(world->flights));
	for (unsigned i = 0; i < world->host_count; i++) {
		struct host *host = &world->hosts[i];
		const uint64_t lease = (10 + random_dice(&world->random, 30)) * SEC +
				       random_dice(&world->random, 1000);

		memset(host, 0, offsetof(struct host, seen_usec));
		host->clock_usec = (1000 + random_dice(&world->random, 100000)) * SEC +
				   random_dice(&world->random, SEC);
		host->rate =
			100 - DRIFT_PERCENT + random_dice(&world->random, 2 * DRIFT_PERCENT + 1);
		host->lease.config = (struct lease_config){
			.lease_usec = lease,
			.renew_usec = lease / 5,
			.poll_min_usec = SEC / 2,
			.poll_max_usec = 2 * SEC,
			.acquire_tries = 4,
			.takes_over = !(has_unwilling && i == 0),
			.drift_percent = DRIFT_PERCENT,
		};
		start_daemon(world, host);
	}
}

/* All daemons but one are dead, with or without their runners; ghosts land or do not. */
static void one_must_get_it(struct world *world)
{
	struct host *survivor =
		&world->hosts[world->host_count == 2 || !world->hosts[0].lease.config.takes_over
				      ? 1
				      : random_dice(&world->random, world->host_count)];
	unsigned rounds = 0;

	world->is_healthy = true;
	for (unsigned i = 0; i < world->host_count; i++) {
		struct host *host = &world->hosts[i];

		host->is_paused = false;
		if (host == survivor)
			continue;
		crash(world, host,
		      !host->lease.config.takes_over || random_dice(&world->random, 2));
		host->is_dead = true;
	}
	if (survivor->child == 0)
		end_job(world, survivor);
	while (survivor->child == 0) {
		uint64_t wake;

		world->steps++;
		CHECK(world, rounds++ < HEAL_STEPS, "host %d gets nothing",
		      (int)(survivor - world->hosts));
		for (unsigned i = 0; i < FLIGHTS_MAX; i++)
			if (world->flights[i].is_used && random_dice(&world->random, 4) == 0)
				advance(world, &world->flights[i]);
		wake = poke(world, survivor);
		if (wake != UINT64_MAX && wake > survivor->clock_usec)
			pass_until(world, survivor, wake);
		tidy_up(world);
		check_children(world);
	}
}

START_TEST(never_two_children_and_never_a_version_too_early)
{
	struct world *world = calloc(1, sizeof(*world));
	const uint64_t seed = random_seed();
	uint64_t steps = 0;

	ck_assert_ptr_nonnull(world);
	(void)printf("TFQ_SEED=%" PRIu64 "\n", seed);
	(void)fflush(stdout);
	for (uint64_t episode = 0; episode < EPISODES; episode++) {
		world->seed = seed + episode;
		world->random = world->seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
		world->steps = 0;
		begin_episode(world);
		for (unsigned i = 0; i < STEPS; i++) {
			mischief(world);
			check_deadlines(world);
		}
		one_must_get_it(world);
		steps += world->steps;
	}
	(void)printf("%" PRIu64 " steps, %" PRIu64 " children, %" PRIu64
		     " beside the hand-over, %" PRIu64 " takeovers, %" PRIu64 " expiries, %" PRIu64
		     " regained, %" PRIu64 " of them under a child\n",
		     steps, world->children, world->early, world->takeovers, world->expiries,
		     world->regains, world->kept);
	ck_assert_uint_gt(world->early, EPISODES / 4);
	ck_assert_uint_gt(world->takeovers, EPISODES / 4);
	ck_assert_uint_gt(world->expiries, EPISODES / 4);
	ck_assert_uint_gt(world->regains, EPISODES / 4);
	ck_assert_uint_gt(world->kept, EPISODES / 16);
	free(world);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, never_two_children_and_never_a_version_too_early);
}

int main(void)
{
	return unit_main("lease_takeover", add_tests);
}
