#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times tfq beside what people use today, on one directory, one state and one server, in one run.

    bench.py [--jobs N] [--seconds S] [--rounds N] [--full] [--json] [--strict]

  --jobs N      applies per way (10)
  --seconds S   that each apply works (0.5)
  --rounds N    of the serial loop and of tfq at once, in turn; the medians count (1)
  --full        terraform -lock-timeout with all jobs, too: a minute and a half; without it, with 4
  --json        the results as JSON on stdout, nothing else
  --strict      exit status 1 if a target is missed

Inversions: pairs of applies that ran in the other order than they were started. Hand-over: from the exit of one
terraform to the exec of the next, as the runners stamp it. The floor is a loop of terraform apply -lock=false.
"""
import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import GET_TERRAFORM, TERRAFORM, World, wait_for  # noqa: E402

STAGGER_SECONDS = 0.3
WITHOUT_FULL = 4
LONG_SECONDS = 600
TARGET_FACTOR, TARGET_HANDOVER_MS = 1.05, 2.0


class Bench:
    def __init__(self, world, options):
        self.world, self.options = world, options
        self.work = world.directory()
        self.run_number = 0

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

    def with_flock(self, name):
        lock = os.path.join(self.world.path, "flock")
        return self.world.spawn("flock", lock, TERRAFORM, *self.argv(name, "-lock=false"), cwd=self.work.path)

    def with_timeout(self, name):
        return self.world.spawn(TERRAFORM, *self.argv(name, "-lock-timeout=10m"), cwd=self.work.path)

    def measure(self, title, count, run):
        names = self.names(count)
        wall, failed = run(names)
        ran = [name for name in self.work.order() if name in set(names)]
        place = {name: i for i, name in enumerate(ran)}
        pairs = itertools.combinations([name for name in names if name in place], 2)
        handovers = sorted(job["handover"] / 1000 for job in self.world.jobs()
                           if "handover" in job and job.get("label") in names)
        return {"title": title, "jobs": count, "wall": wall, "failed": failed,
                "inversions": sum(place[a] > place[b] for a, b in pairs), "handover_ms": handovers}

    def settle(self):
        """Between two ways: nothing runs, and nobody holds the lock."""
        self.world.wait_unlocked()
        wait_for(lambda: not self.world.jobs(everything=False), "an empty queue")


def percentile(values, percent):
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else None


def median_of(runs):
    """The run with the median time, and with the hand-overs of all."""
    runs = sorted(runs, key=lambda run: run["wall"])
    return {**runs[(len(runs) - 1) // 2],
            "wall": statistics.median(run["wall"] for run in runs),
            "failed": sum(run["failed"] for run in runs),
            "inversions": max(run["inversions"] for run in runs),
            "handover_ms": sorted(ms for run in runs for ms in run["handover_ms"])}


def measure_all(bench, options, progress):
    count = options.jobs
    at_once = f"tfq, {count} at once"
    rounds = {"serial": [], "tfq": []}
    bench.one_by_one(bench.names(1))  # fills the caches, and makes the state
    for _ in range(options.rounds):
        progress("serial loop")
        rounds["serial"].append(bench.measure("serial loop, -lock=false (floor)", count, bench.one_by_one))
        progress(at_once)
        rounds["tfq"].append(bench.measure(at_once, count, lambda names: bench.together(names, bench.with_tfq)))
        bench.settle()
    results = [median_of(rounds["serial"]), median_of(rounds["tfq"])]

    title = f"tfq, one each {STAGGER_SECONDS} s"
    progress(title)
    results.append(bench.measure(title, count, lambda names: bench.together(names, bench.with_tfq, STAGGER_SECONDS)))
    bench.settle()
    if shutil.which("flock"):
        progress("flock")
        results.append(bench.measure(f"flock, {count} at once", count,
                                     lambda names: bench.together(names, bench.with_flock)))
    count = count if options.full else min(count, WITHOUT_FULL)
    title = f"terraform -lock-timeout, {count} at once"
    progress(title)
    results.append(bench.measure(title, count, lambda names: bench.together(names, bench.with_timeout)))

    per_apply = results[0]["wall"] / results[0]["jobs"]
    for result in results:
        result["floor"] = per_apply * result["jobs"]
        result["factor"] = result["wall"] / result["floor"]
        result["p50_ms"] = percentile(result["handover_ms"], 50)
        result["p99_ms"] = percentile(result["handover_ms"], 99)
        result["pairs"] = result["jobs"] * (result["jobs"] - 1) // 2
    return results


def verdicts(results):
    factor = results[1]["factor"]
    handovers = sorted(results[1]["handover_ms"] + results[2]["handover_ms"])
    p50 = percentile(handovers, 50)
    inversions = results[2]["inversions"]  # those at once have no order but that of their acceptance
    failed = results[1]["failed"] + results[2]["failed"]
    return [
        {"target": f"all at once, at most {TARGET_FACTOR} x floor", "is": f"{factor:.3f}",
         "met": factor <= TARGET_FACTOR},
        {"target": f"hand-over p50, at most {TARGET_HANDOVER_MS:.0f} ms",
         "is": "none" if p50 is None else f"{p50:.2f} ms", "met": p50 is not None and p50 <= TARGET_HANDOVER_MS},
        {"target": f"no inversion, one each {STAGGER_SECONDS} s", "is": str(inversions), "met": inversions == 0},
        {"target": "no failure", "is": str(failed), "met": failed == 0},
    ]


def show(results, targets):
    def cell(value):
        return "-" if value is None else f"{value:.2f}"
    rows = [("", "wall s", "x floor", "inversions", "hand-over p50 ms", "p99 ms", "failed")]
    for result in results:
        rows.append((result["title"], f"{result['wall']:.2f}", f"{result['factor']:.2f}",
                     f"{result['inversions']} of {result['pairs']}", cell(result["p50_ms"]), cell(result["p99_ms"]),
                     str(result["failed"])))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [value.rjust(width) for value, width in zip(row[1:], widths[1:])]))
    print()
    for target in targets:
        print(f"{'met   ' if target['met'] else 'MISSED'}  {target['target']}: {target['is']}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="bench.py [OPTION]...")
    parser.add_argument("--jobs", type=int, default=10, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.5, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=1, help=argparse.SUPPRESS)
    for flag in ("full", "json", "strict"):
        parser.add_argument("--" + flag, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.jobs < 2 or options.rounds < 1 or options.seconds < 0:
        parser.error("at least 2 jobs and 1 round, please")
    return options


def main():
    options = parse_arguments()
    if not TERRAFORM:
        print("The benchmark runs real terraform, and " + GET_TERRAFORM, file=sys.stderr)
        return 1

    def progress(title):
        if not options.json:
            print(f"... {title}", file=sys.stderr, flush=True)
    with World() as world:
        results = measure_all(Bench(world, options), options, progress)
    targets = verdicts(results)
    if options.json:
        json.dump({"results": results, "targets": targets}, sys.stdout, indent=2)
        print()
    else:
        show(results, targets)
    if any(result["failed"] for result in results[:3]):
        return 1
    return 1 if options.strict and not all(target["met"] for target in targets) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
