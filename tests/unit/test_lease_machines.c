/* SPDX-License-Identifier: MIT */
/* Machines against one object, and a network that does its worst, at random. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/lock/lease.h"
#include "tests/unit/lease_random.h"
#include "tests/unit/unit.h"

#define SEC UINT64_C(1000000)

static const struct lease_config config = {
	.lease_usec = 900 * SEC,
	.renew_usec = 60 * SEC,
	.poll_min_usec = 1 * SEC,
	.poll_max_usec = 5 * SEC,
	.acquire_tries = 4,
};

static void nonce_of(char nonce[static LEASE_NONCE_LEN], unsigned number)
{
	(void)snprintf(nonce, LEASE_NONCE_LEN, "%032x", number);
}

#define MACHINES    3
#define FLIGHTS_MAX 64
#define EPISODES    12000
#define STEPS       1000 /* of mischief in an episode */
#define HEAL_STEPS  400  /* within which a healthy network must bring everybody to rest */
#define HOLD_STEPS  60   /* ... and whoever wants a free lock to have it */
#define ETAGS_MAX   8192

struct version {
	bool is_there;
	int writer; /* machine, or -1: raw terraform */
	unsigned etag;
	char nonce[LEASE_NONCE_LEN];
	uint64_t owner;
};

/* A request, from its sending until it can have no effect any more. */
struct flight {
	bool is_used, is_ghost, is_executed;
	int machine;
	uint64_t write_number;
	struct lease_request request;
	uint64_t sent_usec;
	struct lease_answer answer;
};

struct machine {
	struct lease lease;
	struct flight *flight; /* under way, as it believes */
	uint64_t writes;
	uint64_t next_owner;
	uint64_t won_usec;     /* sending of its latest write that won */
	bool is_interfered;    /* its version was taken away by another */
	unsigned taken_etag;   /* the last that was taken away */
	bool has_looked;       /* the last answer showed its own version ... */
	unsigned looked_etag;  /* ... which was this one */
	bool may_leave_orphan; /* a write of its landed while it was idle */
	bool is_restarted;     /* ... or one of before lands whenever it likes */
};

struct world {
	uint64_t random, seed, now, steps;
	unsigned machine_count;
	struct machine machines[MACHINES];
	struct flight flights[FLIGHTS_MAX];
	struct version store;
	unsigned etag_count;
	signed char writer_of[ETAGS_MAX]; /* etag -> machine, -1 for raw terraform */
	unsigned nonces;
	uint64_t regains;
	bool is_healthy;
	bool wants_unquoted, has_outsiders, has_denials; /* of this episode */
};

/* Its machine's version disappears by the hand of another. */
static void take_away(struct world *world)
{
	if (world->store.is_there && world->store.writer >= 0) {
		world->machines[world->store.writer].is_interfered = true;
		world->machines[world->store.writer].taken_etag = world->store.etag;
	}
	world->store.is_there = false;
}

static void put_version(struct world *world, int writer, const char *nonce, uint64_t owner)
{
	world->store = (struct version){ .is_there = true, .writer = writer, .owner = owner };
	world->store.etag = ++world->etag_count;
	CHECK(world, world->etag_count < ETAGS_MAX, "too many versions");
	world->writer_of[world->store.etag] = (signed char)writer;
	if (nonce)
		memcpy(world->store.nonce, nonce, LEASE_NONCE_LEN);
}

static bool is_condition_met(const struct world *world, const struct lease_request *request)
{
	return world->store.is_there && random_version(request->etag) == world->store.etag &&
	       request->etag_unquoted == world->wants_unquoted;
}

static enum lease_result execute_write(struct world *world, const struct flight *flight)
{
	const struct lease_request *request = &flight->request;
	struct machine *machine = &world->machines[flight->machine];

	if (request->op == LEASE_CREATE) {
		if (world->store.is_there)
			return LEASE_R_REFUSED;
	} else {
		if (!world->store.is_there)
			return LEASE_R_ABSENT;
		if (!is_condition_met(world, request))
			return LEASE_R_REFUSED;
		CHECK(world, world->store.writer == flight->machine,
		      "machine %d overwrites what %d wrote", flight->machine, world->store.writer);
	}
	put_version(world, flight->machine, request->nonce, request->owner);
	if (flight->sent_usec > machine->won_usec)
		machine->won_usec = flight->sent_usec;
	machine->is_interfered = false;
	if (lease_is_idle(&machine->lease))
		machine->may_leave_orphan = true;
	return LEASE_R_DONE;
}

static enum lease_result execute_remove(struct world *world, const struct flight *flight)
{
	if (!world->store.is_there)
		return LEASE_R_ABSENT;
	if (!is_condition_met(world, &flight->request))
		return LEASE_R_REFUSED;
	CHECK(world, world->store.writer == flight->machine, "machine %d removes what %d wrote",
	      flight->machine, world->store.writer);
	world->store.is_there = false;
	return LEASE_R_DONE;
}

/* What the store does, and would answer. */
static void execute(struct world *world, struct flight *flight)
{
	struct lease_answer *answer = &flight->answer;

	*answer = (struct lease_answer){ .result = LEASE_R_ABSENT };
	flight->is_executed = true;
	switch (flight->request.op) {
	case LEASE_NONE: break;
	case LEASE_CREATE:
	case LEASE_SWAP: answer->result = execute_write(world, flight); break;
	case LEASE_REMOVE: answer->result = execute_remove(world, flight); break;
	case LEASE_READ:
		if (!world->store.is_there)
			return;
		answer->result = LEASE_R_DONE;
		memcpy(answer->nonce, world->store.nonce, LEASE_NONCE_LEN);
		(void)snprintf(answer->id, sizeof(answer->id), "id");
		break;
	}
	if (answer->result == LEASE_R_DONE && flight->request.op != LEASE_REMOVE)
		(void)snprintf(answer->etag, sizeof(answer->etag), "\"%u\"", world->store.etag);
}

static void check_request(struct world *world, int index, const struct lease_request *request)
{
	const struct machine *machine = &world->machines[index];

	if (request->op == LEASE_SWAP || request->op == LEASE_REMOVE) {
		CHECK(world, world->writer_of[random_version(request->etag)] == index,
		      "machine %d names a version of %d", index,
		      world->writer_of[random_version(request->etag)]);
	}
	if (request->op == LEASE_REMOVE) {
		CHECK(world,
		      machine->has_looked && machine->looked_etag == random_version(request->etag),
		      "machine %d removes unread", index);
		CHECK(world, machine->lease.wanted == 0, "machine %d removes what is wanted",
		      index);
	}
}

/* Give machine @index the chance to send. Return: when it wants to be asked again. */
static uint64_t poke(struct world *world, int index)
{
	struct machine *machine = &world->machines[index];
	struct lease_request request;
	char nonce[LEASE_NONCE_LEN];

	if (machine->flight)
		return UINT64_MAX;
	nonce_of(nonce, ++world->nonces);
	lease_next(&machine->lease, world->now, nonce, &request);
	if (request.op == LEASE_NONE) {
		CHECK(world, request.wake_usec > world->now, "machine %d wakes in the past", index);
		return request.wake_usec;
	}
	check_request(world, index, &request);
	machine->writes += request.op == LEASE_CREATE || request.op == LEASE_SWAP;

	for (struct flight *flight = world->flights; flight < world->flights + FLIGHTS_MAX;
	     flight++) {
		if (!flight->is_used) {
			*flight = (struct flight){
				.is_used = true,
				.machine = index,
				.write_number = machine->writes,
				.request = request,
				.sent_usec = world->now,
			};
			machine->flight = flight;
			return world->now;
		}
	}
	CHECK(world, false, "too many requests");
	return 0;
}

static void check_events(struct world *world, int index, unsigned held_etag, unsigned events)
{
	const struct machine *machine = &world->machines[index];
	const struct lease *lease = &machine->lease;

	if (events & (LEASE_EV_LOST | LEASE_EV_GONE))
		CHECK(world, machine->taken_etag >= held_etag, "machine %d loses what nobody took",
		      index);
	if (events & LEASE_EV_HELD && lease->wanted != 0 && lease->owner == lease->wanted)
		CHECK(world, lease_is_held_by(lease, lease->wanted), "machine %d holds not", index);
	if (events & LEASE_EV_RELEASED)
		CHECK(world, lease->wanted == 0 && lease->state == LEASE_FREE,
		      "machine %d releases what is wanted", index);
	if (events & LEASE_EV_FAILED)
		CHECK(world, events & LEASE_EV_TROUBLE, "machine %d fails without trouble", index);
}

static void answer(struct world *world, struct flight *flight, const struct lease_answer *what)
{
	const int index = flight->machine;
	struct machine *machine = &world->machines[index];
	const bool shows_own = flight->request.op == LEASE_READ && what->result == LEASE_R_DONE &&
			       what->etag[0] == '"' &&
			       world->writer_of[random_version(what->etag)] == index;
	const unsigned held_etag = random_version(machine->lease.etag);
	struct lease_answer told = *what;
	unsigned events;

	machine->has_looked = shows_own;
	if (shows_own)
		machine->looked_etag = random_version(what->etag);
	machine->flight = NULL;
	told.is_own = shows_own;
	events = lease_answer(&machine->lease, world->now, &told);
	world->regains += (events & LEASE_EV_REGAINED) != 0;
	check_events(world, index, held_etag, events);
	if (events & LEASE_EV_LOST && machine->lease.wanted != 0)
		lease_want(&machine->lease,
			   random_dice(&world->random, 2) ? 0 : ++machine->next_owner);
	if (lease_is_idle(&machine->lease) && machine->lease.wanted == 0 && world->store.is_there &&
	    world->store.writer == index)
		machine->may_leave_orphan = true; /* landed after it had looked: see below */
}

/* The sender gives up: what it sent may still be executed, or not. */
static void give_up(struct world *world, struct flight *flight, enum lease_result result)
{
	const bool is_write = flight->request.op != LEASE_READ;

	if (flight->is_executed || !is_write || result == LEASE_R_UNSENT ||
	    result == LEASE_R_CONFLICT || result == LEASE_R_DENIED ||
	    random_dice(&world->random, 2))
		flight->is_used = false;
	else
		flight->is_ghost = true;
	answer(world, flight, &(struct lease_answer){ .result = result });
}

static enum lease_result some_failure(struct world *world, const struct flight *flight)
{
	const bool is_write = flight->request.op != LEASE_READ;

	if (flight->is_executed)
		return random_dice(&world->random, 4) ? LEASE_R_UNKNOWN : LEASE_R_THROTTLED;
	switch (random_dice(&world->random, 8)) {
	case 0: return LEASE_R_UNSENT;
	case 1: return LEASE_R_THROTTLED;
	case 2: return is_write ? LEASE_R_CONFLICT : LEASE_R_UNKNOWN;
	case 3: return world->has_denials ? LEASE_R_DENIED : LEASE_R_UNKNOWN;
	default: return LEASE_R_UNKNOWN;
	}
}

/* Spoil an answer in a way that a store or a proxy does. */
static void spoil(struct world *world, const struct flight *flight, struct lease_answer *what)
{
	const struct machine *machine = &world->machines[flight->machine];

	if (what->result != LEASE_R_DONE || flight->request.op == LEASE_REMOVE)
		return;
	switch (random_dice(&world->random, 40)) {
	case 0: what->etag[0] = '\0'; break;
	case 1: (void)snprintf(what->etag, sizeof(what->etag), "W/\"x\""); break;
	case 2:
		if (flight->request.op == LEASE_READ && machine->lease.state == LEASE_HELD) {
			*what = (struct lease_answer){ .result = LEASE_R_DONE };
			(void)snprintf(what->etag, sizeof(what->etag), "html");
		}
		break;
	default: break;
	}
}

static void advance(struct world *world, struct flight *flight)
{
	if (flight->is_ghost) {
		struct machine *machine = &world->machines[flight->machine];

		/* No signature is good for ever, and no memory endless. */
		flight->is_used = false;
		if (machine->writes - flight->write_number >= LEASE_OPEN_MAX - 1 ||
		    random_dice(&world->random, 4) == 0)
			return;
		execute(world, flight);
		return;
	}
	if (!world->is_healthy && random_dice(&world->random, 6) == 0) {
		give_up(world, flight, some_failure(world, flight));
		return;
	}
	if (!flight->is_executed) {
		execute(world, flight);
		if (!world->is_healthy && random_dice(&world->random, 20) == 0)
			execute(world, flight); /* the transport sent it twice */
		return;
	}
	flight->is_used = false;
	if (!world->is_healthy)
		spoil(world, flight, &flight->answer);
	answer(world, flight, &flight->answer);
}

static void outsider(struct world *world)
{
	if (!world->has_outsiders)
		return;
	switch (random_dice(&world->random, 12)) {
	case 0: /* force-unlock, or a raw terraform's DELETE that its SDK repeats */
		take_away(world);
		break;
	case 1:
	case 2:
		if (!world->store.is_there)
			put_version(world, -1, NULL, 0);
		break;
	default:
		if (world->store.is_there && world->store.writer < 0)
			world->store.is_there = false;
	}
}

static void change_wish(struct world *world, struct machine *machine)
{
	switch (random_dice(&world->random, 6)) {
	case 0:
	case 1: lease_want(&machine->lease, 0); break;
	case 2: /* the same job again */
		lease_want(&machine->lease, machine->next_owner ? machine->next_owner : 1);
		break;
	default: lease_want(&machine->lease, ++machine->next_owner);
	}
}

/* It forgets everything but which versions it wrote; what it had sent is under way. */
static void restart(struct world *world, struct machine *machine)
{
	if (machine->flight) {
		machine->flight->is_ghost =
			!machine->flight->is_executed && machine->flight->request.op != LEASE_READ;
		machine->flight->is_used = machine->flight->is_ghost;
	}
	machine->flight = NULL;
	machine->has_looked = false;
	machine->is_restarted = true;
	lease_init(&machine->lease, &config, random_dice(&world->random, UINT64_MAX));
	change_wish(world, machine);
}

static void check_world(struct world *world)
{
	int holders = 0;

	for (unsigned i = 0; i < world->machine_count; i++) {
		const struct machine *machine = &world->machines[i];
		const struct lease *lease = &machine->lease;

		if (lease->state == LEASE_HELD) {
			CHECK(world, lease->deadline_usec <= machine->won_usec + config.lease_usec,
			      "machine %u: its deadline is %" PRIu64 " too late", i,
			      lease->deadline_usec - machine->won_usec - config.lease_usec);
		}
		holders += lease_is_held_by(lease, lease->owner) && !machine->is_interfered;
	}
	CHECK(world, holders <= 1, "%d holders", holders);
}

static void mischief(struct world *world)
{
	const int index = (int)random_dice(&world->random, world->machine_count);
	struct machine *machine = &world->machines[index];
	struct flight *flight = &world->flights[random_dice(&world->random, FLIGHTS_MAX)];

	world->steps++;
	switch (random_dice(&world->random, 32)) {
	case 0: world->now += random_dice(&world->random, 100 * SEC); break;
	case 1:
	case 2: world->now += random_dice(&world->random, SEC); break;
	case 3: outsider(world); break;
	case 4:
		if (random_dice(&world->random, 40) == 0)
			restart(world, machine);
		else if (random_dice(&world->random, 3) == 0)
			change_wish(world, machine);
		break;
	case 5:
	case 6:
	case 7:
		if (flight->is_used && flight->is_ghost)
			advance(world, flight);
		break;
	default:
		if (machine->flight) {
			advance(world, machine->flight);
		} else {
			const uint64_t wake = poke(world, index);

			if (wake != UINT64_MAX && wake > world->now &&
			    random_dice(&world->random, 3) == 0)
				world->now = wake;
		}
	}
	check_world(world);
}

/* One healthy round: everybody's request is answered, and time passes if nobody has one. */
static void healthy_round(struct world *world)
{
	uint64_t wake = UINT64_MAX;
	bool is_busy = false;

	world->steps++;
	for (unsigned i = 0; i < world->machine_count; i++) {
		struct machine *machine = &world->machines[i];

		if (machine->flight) {
			advance(world, machine->flight);
			is_busy = true;
		} else {
			const uint64_t usec = poke(world, (int)i);

			if (usec < wake)
				wake = usec;
		}
		check_world(world);
	}
	if (!is_busy && wake != UINT64_MAX && wake > world->now)
		world->now = wake;
}

static bool is_all_idle(const struct world *world)
{
	for (unsigned i = 0; i < world->machine_count; i++)
		if (!lease_is_idle(&world->machines[i].lease))
			return false;
	return true;
}

/* Everything that is under way comes to its end, and the network is well. */
static void heal(struct world *world)
{
	world->is_healthy = true;
	for (unsigned i = 0; i < world->machine_count; i++)
		while (world->machines[i].flight)
			advance(world, world->machines[i].flight);
	for (unsigned i = 0; i < FLIGHTS_MAX; i++)
		if (world->flights[i].is_used)
			advance(world, &world->flights[i]);
	if (world->store.is_there && world->store.writer < 0)
		world->store.is_there = false;
}

static void all_must_come_to_rest(struct world *world)
{
	unsigned rounds = 0;

	for (unsigned i = 0; i < world->machine_count; i++) {
		struct machine *machine = &world->machines[i];

		/* Who rests already looks no more. */
		machine->may_leave_orphan = machine->lease.wanted == 0 &&
					    machine->may_leave_orphan &&
					    lease_is_idle(&machine->lease);
		machine->may_leave_orphan |= machine->is_restarted;
		lease_want(&machine->lease, 0);
	}
	while (!is_all_idle(world)) {
		CHECK(world, rounds++ < HEAL_STEPS, "no rest");
		healthy_round(world);
	}
	if (world->store.is_there && world->store.writer >= 0)
		CHECK(world, world->machines[world->store.writer].may_leave_orphan,
		      "machine %d leaves its object", world->store.writer);
}

/* Whoever wants it gets it: also if its own write, landed late, is in the way. */
static void one_must_get_it(struct world *world)
{
	const int index = (int)random_dice(&world->random, world->machine_count);
	struct machine *machine = &world->machines[index];
	unsigned rounds = 0;

	if (world->store.is_there && world->store.writer != index)
		take_away(world); /* a human tidies up */
	lease_want(&machine->lease, ++machine->next_owner);
	while (!lease_is_held_by(&machine->lease, machine->next_owner)) {
		CHECK(world, rounds++ < HOLD_STEPS, "machine %d gets nothing", index);
		healthy_round(world);
	}
	machine->may_leave_orphan = false;
	lease_want(&machine->lease, 0);
	for (rounds = 0; !is_all_idle(world); rounds++) {
		CHECK(world, rounds < HEAL_STEPS, "no rest after that");
		healthy_round(world);
	}
	CHECK(world, !world->store.is_there, "an object is left");
}

/* A write of its own that lands while it rests, and is found when it wants again. */
static void begin_episode(struct world *world)
{
	world->is_healthy = false;
	world->machine_count = 2 + (unsigned)random_dice(&world->random, MACHINES - 1);
	world->wants_unquoted = random_dice(&world->random, 8) == 0;
	world->has_outsiders = random_dice(&world->random, 3) == 0;
	world->has_denials = random_dice(&world->random, 3) == 0;
	world->etag_count = 0;
	world->store.is_there = false;
	for (int i = 0; i < MACHINES; i++) {
		struct machine *machine = &world->machines[i];

		*machine = (struct machine){ 0 };
		lease_init(&machine->lease, &config, random_dice(&world->random, UINT64_MAX));
	}
	memset(world->flights, 0, sizeof(world->flights));
}

START_TEST(machines_keep_the_rules_whatever_the_network_does)
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
		world->now = 1000 * SEC;
		begin_episode(world);
		for (unsigned i = 0; i < STEPS; i++)
			mischief(world);
		heal(world);
		all_must_come_to_rest(world);
		one_must_get_it(world);
		steps += world->steps;
	}
	(void)printf("%" PRIu64 " steps, %" PRIu64 " regained\n", steps, world->regains);
	ck_assert_uint_gt(world->regains, EPISODES / 16);
	free(world);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, machines_keep_the_rules_whatever_the_network_does);
}

int main(void)
{
	return unit_main("lease_machines", add_tests);
}
