#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times tfq beside what people use today, on one directory, one state and one server, in one run.

    bench.py [--jobs N] [--seconds S] [--rounds N] [--full] [--out DIR] [--json] [--strict]

  --jobs N      applies per way (10)
  --seconds S   that each apply works (0.5)
  --rounds N    of each way, in turn; medians and spreads are of these (3)
  --full        terraform -lock-timeout with all jobs, too: a minute and a half; without it, once, with 4
  --out DIR     bench.json and bench.svg go there
  --json        the results as JSON on stdout, nothing else
  --strict      exit status 1 if a target is missed

A way's factor is its time by that of a serial loop of terraform apply -lock=false in the same round. Inversions: pairs
of applies that ran in the other order than they were started. Hand-over: from the exit of one terraform to the exec of
the next, as the runners stamp it.
"""
import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import GET_TERRAFORM, TERRAFORM, TFQ, World, wait_for  # noqa: E402
import plot  # noqa: E402

STAGGER_SECONDS = 0.3
WITHOUT_FULL = 4
LONG_SECONDS = 600
LATENCIES_MS = (0, 20, 80)
SUBMITS = 50
TARGET_FACTOR, TARGET_HANDOVER_MS, TARGET_P99_MS = 1.02, 2.0, 10.0


class Bench:
    def __init__(self, world, options):
        self.world, self.options = world, options
        self.work = world.directory()
        self.run_number = 0
        world.env.update(TS_SOCKET=os.path.join(world.path, "tsp"), NQDIR=os.path.join(world.path, "nq"))
        os.mkdir(world.env["NQDIR"])

    def argv(self, name, *more):
        return self.work.apply_argv(name, self.options.seconds, *more)

    def names(self, count):
        """Fresh ones for each run, in the order of the starts."""
        self.run_number += 1
        return [f"r{self.run_number}-{i:03}" for i in range(count)]

    def together(self, names, start, stagger=0.0):
        """Start all, one each @stagger seconds, and wait; return (seconds, how many failed)."""
        began = time.monotonic()
        programs = []
        for i, name in enumerate(names):
            if stagger:
                time.sleep(max(0.0, began + i * stagger - time.monotonic()))
            programs.append(start(name))
        codes = [program.wait(LONG_SECONDS).code for program in programs]
        return time.monotonic() - began, sum(code != 0 for code in codes)

    def one_by_one(self, names):
        began = time.monotonic()
        failed = sum(self.work.terraform(*self.argv(name, "-lock=false")).code != 0 for name in names)
        return time.monotonic() - began, failed

    def with_tfq(self, name):
        return self.work.spawn("--label", name, *self.argv(name))

    def wrapped(self, *wrapper):
        """Something that queues commands, around a terraform that takes no lock."""
        return lambda name: self.world.spawn(*wrapper, TERRAFORM, *self.argv(name, "-lock=false"), cwd=self.work.path)

    def with_timeout(self, name):
        return self.world.spawn(TERRAFORM, *self.argv(name, "-lock-timeout=10m"), cwd=self.work.path)

    def measure(self, run, count):
        names = self.names(count)
        wall, failed = run(names)
        ran = [name for name in self.work.order() if name in set(names)]
        place = {name: i for i, name in enumerate(ran)}
        pairs = itertools.combinations([name for name in names if name in place], 2)
        handovers = sorted(job["handover"] / 1000 for job in self.world.jobs()
                           if "handover" in job and job.get("label") in names)
        return {"wall": wall, "jobs": count, "failed": failed + count - len(ran),
                "inversions": sum(place[a] > place[b] for a, b in pairs), "handover_ms": handovers}

    def settle(self):
        """Between two ways: nothing runs, and nobody holds the lock."""
        self.world.wait_unlocked()
        wait_for(lambda: not self.world.jobs(everything=False), "an empty queue")


def ways_of(bench, count):
    """{title: (jobs, how they are run)}; the first one is the floor."""
    def at_once(start):
        return lambda names: bench.together(names, start)
    ways = {"serial loop, -lock=false (floor)": (count, bench.one_by_one),
            f"tfq, {count} at once": (count, at_once(bench.with_tfq)),
            f"tfq, one each {STAGGER_SECONDS} s":
                (count, lambda names: bench.together(names, bench.with_tfq, STAGGER_SECONDS))}
    lock = os.path.join(bench.world.path, "flock")
    peers = (("flock", "flock", ("flock", lock)), ("task-spooler", "tsp", ("tsp", "-f")),
             ("nq", "nq", ("sh", "-c", 'id=$(nq "$@") && nq -w "$id"', "sh")))
    for title, program, wrapper in peers:
        if shutil.which(program):
            ways[f"{title}, {count} at once"] = (count, at_once(bench.wrapped(*wrapper)))
    return ways


def measure_rounds(bench, options, progress):
    """[{title, runs: [a result of each round], with its "factor"}]"""
    ways = ways_of(bench, options.jobs)
    results = {title: [] for title in ways}
    bench.one_by_one(bench.names(1))  # fills the caches, and makes the state
    for number in range(options.rounds):
        floor = None
        for title, (count, run) in ways.items():
            progress(f"{title} (round {number + 1} of {options.rounds})")
            result = bench.measure(run, count)
            floor = floor or result["wall"] / count
            results[title].append({**result, "factor": result["wall"] / count / floor})
            bench.settle()
    count = options.jobs if options.full else min(options.jobs, WITHOUT_FULL)
    title = f"terraform -lock-timeout, {count} at once"
    progress(title)
    floor = statistics.median(run["wall"] for run in next(iter(results.values()))) / options.jobs
    result = bench.measure(lambda names: bench.together(names, bench.with_timeout), count)
    results[title] = [{**result, "factor": result["wall"] / count / floor}]
    return [summary(title, runs) for title, runs in results.items()]


def percentile(values, percent):
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else None


def summary(title, runs):
    handovers = sorted(ms for run in runs for ms in run["handover_ms"])
    factors = [run["factor"] for run in runs]
    count = runs[0]["jobs"]
    return {"title": title, "jobs": count, "wall": statistics.median(run["wall"] for run in runs),
            "factor": statistics.median(factors), "spread": [min(factors), max(factors)],
            "inversions": max(run["inversions"] for run in runs), "pairs": count * (count - 1) // 2,
            "failed": sum(run["failed"] for run in runs), "handovers": len(handovers),
            "p50_ms": percentile(handovers, 50), "p99_ms": percentile(handovers, 99)}


def measure_latencies(bench, options, progress):
    """What a slow store does to the hand-over: nothing, it should be."""
    results = []
    for latency in LATENCIES_MS:
        progress(f"tfq, the store answers after {latency} ms")
        bench.world.server.set_faults([{"do": "delay", "ms": latency}] if latency else [])
        run = bench.measure(lambda names: bench.together(names, bench.with_tfq), options.jobs)
        bench.settle()
        results.append({"latency_ms": latency, "p50_ms": percentile(run["handover_ms"], 50),
                        "p99_ms": percentile(run["handover_ms"], 99), "failed": run["failed"]})
    bench.world.server.set_faults([])
    return results


def measure_submits(bench, progress):
    """How long the command takes that only queues another one; nothing runs meanwhile. Milliseconds."""
    def time_of(*argv):
        began = time.monotonic()
        subprocess.run(argv, cwd=bench.work.path, env=bench.world.env, check=True, stdout=subprocess.DEVNULL,
                       stdin=subprocess.DEVNULL)
        return (time.monotonic() - began) * 1000
    progress("submits")
    ways = {"tfq -d (on disk)": (TFQ, "-d", "apply"), "true (a process that does nothing)": ("true",)}
    if shutil.which("tsp"):
        ways["tsp (in memory)"] = ("tsp", "true")
    if shutil.which("nq"):
        ways["nq (a file, not synced)"] = ("nq", "true")
    bench.world.call("Pause")
    times = {title: [] for title in ways}
    if shutil.which("tsp"):
        time_of("tsp", "sleep", "600")  # what is queued behind it waits
    for _ in range(SUBMITS):
        for title, argv in ways.items():
            times[title].append(time_of(*argv))
    if shutil.which("tsp"):
        subprocess.run(["tsp", "-K"], env=bench.world.env, check=False, stdout=subprocess.DEVNULL)
    for job in bench.world.jobs(everything=False):
        bench.world.call("Cancel", id=job["id"])
    bench.world.call("Resume")
    return [{"title": title, "p50_ms": statistics.median(of), "p99_ms": percentile(sorted(of), 99)}
            for title, of in times.items()]


def verdicts(results, latencies):
    at_once, staggered = results[1], results[2]
    p50s = [run["p50_ms"] for run in (at_once, staggered, *latencies) if run["p50_ms"] is not None]
    p99s = [run["p99_ms"] for run in (at_once, staggered, *latencies) if run["p99_ms"] is not None]
    failed = sum(run["failed"] for run in (at_once, staggered, *latencies))

    def at_most(what, values, limit, unit):
        worst = max(values, default=None)
        return {"target": f"{what}, at most {limit:g}{unit}", "is": "none" if worst is None else f"{worst:.3f}{unit}",
                "met": worst is not None and worst <= limit}
    return [
        at_most("all at once, by the floor", [at_once["factor"]], TARGET_FACTOR, ""),
        at_most("hand-over p50, at any latency", p50s, TARGET_HANDOVER_MS, " ms"),
        at_most("hand-over p99, at any latency", p99s, TARGET_P99_MS, " ms"),
        at_most(f"inversions, one each {STAGGER_SECONDS} s", [staggered["inversions"]], 0, ""),
        at_most("failures", [failed], 0, ""),
    ]


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [value.rjust(width) for value, width in zip(row[1:], widths[1:])]))
    print()


def show(report):
    def cell(value):
        return "-" if value is None else f"{value:.2f}"
    print(report["machine"])
    print()
    rows = [("", "wall s", "x floor", "of", "inversions", "hand-over p50 ms", "p99 ms", "failed")]
    for result in report["ways"]:
        rows.append((result["title"], cell(result["wall"]), cell(result["factor"]),
                     "-".join(map(cell, result["spread"])), f"{result['inversions']} of {result['pairs']}",
                     cell(result["p50_ms"]), cell(result["p99_ms"]), str(result["failed"])))
    print_table(rows)
    print_table([("the store answers after", "hand-over p50 ms", "p99 ms", "failed")] + [
        (f"{one['latency_ms']} ms", cell(one["p50_ms"]), cell(one["p99_ms"]), str(one["failed"]))
        for one in report["latencies"]])
    print_table([("to queue one", "p50 ms", "p99 ms")] + [
        (one["title"], cell(one["p50_ms"]), cell(one["p99_ms"])) for one in report["submits"]])
    for target in report["targets"]:
        print(f"{'met   ' if target['met'] else 'MISSED'}  {target['target']}: {target['is']}")


def write(report, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "bench.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    bars = [(result["title"], result["factor"], result["spread"]) for result in report["ways"]]
    with open(os.path.join(folder, "bench.svg"), "w", encoding="utf-8") as file:
        file.write(plot.bars("Time of all applies, by that of a serial loop", bars, "x floor"))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="bench.py [OPTION]...")
    parser.add_argument("--jobs", type=int, default=10, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.5, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    for flag in ("full", "json", "strict"):
        parser.add_argument("--" + flag, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.jobs < 2 or options.rounds < 1 or options.seconds < 0:
        parser.error("at least 2 jobs and 1 round, please")
    return options


def machine(env):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    version = subprocess.run([TERRAFORM, "version"], env=env, check=True,
                             stdout=subprocess.PIPE).stdout.decode().split("\n", maxsplit=1)[0]
    return (f"{time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} CPUs ({models[0] if models else '?'}), "
            f"Linux {platform.release()}, {version}")


def main():
    options = parse_arguments()
    if not TERRAFORM:
        print("The benchmark runs real terraform, and " + GET_TERRAFORM, file=sys.stderr)
        return 1

    def progress(title):
        if not options.json:
            print(f"... {title}", file=sys.stderr, flush=True)
    with World("[queue]\nmax_queued_per_user = 1000\n") as world:
        bench = Bench(world, options)
        ways = measure_rounds(bench, options, progress)
        latencies = measure_latencies(bench, options, progress)
        submits = measure_submits(bench, progress)
    report = {"machine": machine(bench.world.env), "ways": ways, "latencies": latencies, "submits": submits,
              "targets": verdicts(ways, latencies)}
    if options.out:
        write(report, options.out)
    if options.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        show(report)
    if any(result["failed"] for result in ways[:3]):
        return 1
    return 1 if options.strict and not all(target["met"] for target in report["targets"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
