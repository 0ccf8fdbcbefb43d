# SPDX-License-Identifier: MIT
"""Many applies on one state, run in one way or another: how long they take, in which order, and how many fail."""
import collections
import itertools
import os
import shutil
import statistics
import time

from harness import TERRAFORM, wait_for
from report import percentile

AT_ONCE = (10, 20)
SHORT_STAGGER = 0.3
LONG_STAGGER, LONG_WORK = 2.0, 5.0  # seconds between two starts, and of each apply's work
CROWD, CROWD_TIMEOUT = 30, 45       # so many at once, each of which waits so long at most
WITHOUT_FULL = 4
LATENCIES_MS = (0, 20, 80)
PROGRAM_SECONDS = 900

# @kind: "floor", "tfqd" or "today"; @work: seconds of each apply; @start: a function of a name and @work, that starts
# one of them, each @stagger seconds; None: one after the other.
Way = collections.namedtuple("Way", "title kind count work stagger start")


class Bench:
    def __init__(self, world):
        self.world = world
        self.work = world.directory()
        self.run_number = 0
        world.env.update(TS_SOCKET=os.path.join(world.path, "tsp"), NQDIR=os.path.join(world.path, "nq"))
        os.mkdir(world.env["NQDIR"])
        if shutil.which("tsp"):  # two that begin its server at the same moment fail
            world.run("tsp", "-f", "true")

    # Ways to start one

    def with_tfq(self, *options):
        return lambda name, work: self.work.spawn("--label", name, *options, *self.work.apply_argv(name, work))

    def wrapped(self, *wrapper):
        """Something that queues commands, around a terraform that takes no lock."""
        return lambda name, work: self.world.spawn(
            *wrapper, TERRAFORM, *self.work.apply_argv(name, work, "-lock=false"), cwd=self.work.path)

    def with_timeout(self, seconds):
        return lambda name, work: self.world.spawn(
            TERRAFORM, *self.work.apply_argv(name, work, f"-lock-timeout={seconds}s"), cwd=self.work.path)

    # Runs

    def together(self, way, names):
        began = time.monotonic()
        programs = []
        for i, name in enumerate(names):
            if way.stagger:
                time.sleep(max(0.0, began + i * way.stagger - time.monotonic()))
            programs.append(way.start(name, way.work))
        return sum(program.wait(PROGRAM_SECONDS).code != 0 for program in programs)

    def one_by_one(self, way, names):
        return sum(self.work.terraform(*self.work.apply_argv(name, way.work, "-lock=false")).code != 0
                   for name in names)

    def run(self, way):
        """One result of it. Names are fresh for each run, in the order of the starts."""
        self.run_number += 1
        names = [f"r{self.run_number}-{i:03}" for i in range(way.count)]
        began = time.monotonic()
        failed = (self.together if way.start else self.one_by_one)(way, names)
        wall = time.monotonic() - began
        wanted = set(names)
        place = {name: i for i, name in enumerate(name for name in self.work.order() if name in wanted)}
        pairs = itertools.combinations([name for name in names if name in place], 2)
        handovers = sorted(job["handover"] / 1000 for job in self.world.jobs()
                           if "handover" in job and job.get("label") in wanted)
        self.settle()
        return {"wall": wall, "failed": failed, "inversions": sum(place[a] > place[b] for a, b in pairs),
                "handover_ms": handovers}

    def settle(self):
        """Between two ways: nothing runs, and nobody holds the lock."""
        self.world.wait_unlocked()
        wait_for(lambda: not self.world.jobs(everything=False), "an empty queue")


def ways_of_a_round(bench, work):
    """The first one is the floor."""
    few = AT_ONCE[0]
    ways = [Way("serial loop, -lock=false (floor)", "floor", few, work, 0, None)]
    ways += [Way(f"tfq, {count} at once", "tfqd", count, work, 0, bench.with_tfq()) for count in AT_ONCE]
    ways.append(Way(f"tfq, {few}, one each {SHORT_STAGGER} s", "tfqd", few, work, SHORT_STAGGER, bench.with_tfq()))
    lock = os.path.join(bench.world.path, "flock")
    peers = (("flock", "flock", ("flock", lock)), ("task-spooler", "tsp", ("tsp", "-f")),
             ("nq", "nq", ("sh", "-c", 'id=$(nq "$@") && nq -w "$id"', "sh")))
    ways += [Way(f"{title}, {few} at once", "today", few, work, 0, bench.wrapped(*wrapper))
             for title, program, wrapper in peers if shutil.which(program)]
    return ways


def ways_once(bench, work, full):
    """Those that take too long to be repeated."""
    few, waits = AT_ONCE[0], bench.with_timeout(600)
    name = "terraform -lock-timeout"
    if not full:
        return [Way(f"{name}=600s, {WITHOUT_FULL} at once", "today", WITHOUT_FULL, work, 0, waits)]
    ways = [Way(f"{name}=600s, {count} at once", "today", count, work, 0, waits) for count in AT_ONCE]
    ways.append(Way(f"{name}=600s, {few}, one each {SHORT_STAGGER} s", "today", few, work, SHORT_STAGGER, waits))
    long = f"{few}, one each {LONG_STAGGER:.0f} s, {LONG_WORK:.0f} s of work"
    ways += [Way(f"tfq, {long}", "tfqd", few, LONG_WORK, LONG_STAGGER, bench.with_tfq()),
             Way(f"{name}=600s, {long}", "today", few, LONG_WORK, LONG_STAGGER, waits)]
    ways += [Way(f"tfq --wait-timeout={CROWD_TIMEOUT}s, {CROWD} at once", "tfqd", CROWD, work, 0,
                 bench.with_tfq(f"--wait-timeout={CROWD_TIMEOUT}s")),
             Way(f"{name}={CROWD_TIMEOUT}s, {CROWD} at once", "today", CROWD, work, 0,
                 bench.with_timeout(CROWD_TIMEOUT))]
    return ways


def measure(bench, rounds, work, full, progress):
    """[a summary of each way]; a factor is by the floor of the same round, or by the median of all."""
    ways, floors = ways_of_a_round(bench, work), []
    results = {way: [] for way in ways}
    bench.run(ways[0]._replace(count=1))  # fills the caches, and makes the state
    for number in range(rounds):
        for way in ways:
            progress(f"{way.title} (round {number + 1} of {rounds})")
            result = bench.run(way)
            if way.kind == "floor":
                floors.append(result["wall"] / way.count)
            results[way].append({**result, "factor": result["wall"] / (way.count * floors[-1])})
    for way in ways_once(bench, work, full):
        progress(way.title)
        result = bench.run(way)
        floor = way.count * (statistics.median(floors) + way.work - work)
        results[way] = [{**result, "factor": result["wall"] / floor}]
    return [summary(way, runs) for way, runs in results.items()]


def summary(way, runs):
    handovers = sorted(ms for run in runs for ms in run["handover_ms"])
    factors = [run["factor"] for run in runs]
    return {"title": way.title, "kind": way.kind, "jobs": way.count, "stagger": way.stagger, "runs": len(runs),
            "wall": statistics.median(run["wall"] for run in runs), "factor": statistics.median(factors),
            "spread": [min(factors), max(factors)], "inversions": max(run["inversions"] for run in runs),
            "pairs": way.count * (way.count - 1) // 2, "failed": sum(run["failed"] for run in runs),
            "handover_ms": handovers, "p50_ms": percentile(handovers, 50), "p99_ms": percentile(handovers, 99)}


def measure_latencies(bench, work, progress):
    """What a slow store does to the hand-over: nothing, it should be."""
    results = []
    for latency in LATENCIES_MS:
        title = f"the store answers after {latency} ms"
        progress("tfq, " + title)
        bench.world.server.set_faults([{"do": "delay", "ms": latency}] if latency else [])
        run = bench.run(Way(title, "tfqd", AT_ONCE[0], work, 0, bench.with_tfq()))
        results.append({"latency_ms": latency, "handover_ms": run["handover_ms"], "failed": run["failed"],
                        "p50_ms": percentile(run["handover_ms"], 50), "p99_ms": percentile(run["handover_ms"], 99)})
    bench.world.server.set_faults([])
    return results
