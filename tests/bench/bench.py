#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times tfq beside what people use today, on one directory, one state and one server, in one run.

    bench.py [--full] [--rounds N] [--seconds S] [--out DIR] [--json] [--strict]

  --full        terraform -lock-timeout with 10, 20 and 30 applies, too: a quarter of an hour more; without it, with
                4 alone, and all is done in 5 minutes
  --rounds N    of each way, in turn; medians and spreads are of these (3)
  --seconds S   that each apply works (0.5)
  --out DIR     bench.json and bench.svg go there
  --json        the results as JSON on stdout, nothing else
  --strict      exit status 1 if a target is missed

A way's factor is its time by that of a serial loop of terraform apply -lock=false in the same round. Inversions: pairs
of applies that ran in the other order than they were started, where that is some time apart. Hand-over: from the exit
of one terraform, as its runner sees it, to the execve(2) of the next, as that is stamped just before. In between lie
two messages (the exit to tfqd, "go" to the next runner), what the three programs do meanwhile, among it a line in each
runner's reports, and the word to a child that was forked before; no fork, no fsync and no answer of the store. The
floor is that of the messages and the exec; "rested" of both on CPUs that sleep, as they do while terraform waits.
"""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import GET_TERRAFORM, TERRAFORM, World  # noqa: E402
import plot  # noqa: E402
import probe  # noqa: E402
import submits  # noqa: E402
import ways  # noqa: E402
from report import machine, number, percentile, print_floor, print_table, print_targets, target  # noqa: E402

FACTOR = 1.02
HANDOVER_P50_MS, HANDOVER_P99_MS = 2, 10
SUBMIT_MS, SUBMITS_PER_SECOND = 2, 2000


def of_today(results, what, jobs=None, stagger=0):
    """What others need for the same, as text."""
    found = [(result["title"].partition(",")[0], result) for result in results if result["kind"] == "today"
             and result["stagger"] == stagger and jobs in (None, result["jobs"])]
    return "; ".join(f"{name} {what(result)}" for name, result in found) or "-"


def targets_of_ways(results, latencies):
    ours = [result for result in results if result["kind"] == "tfqd"]
    rows = []
    for result in ours:
        if result["stagger"]:
            rows.append(target("inversions: " + result["title"], result["inversions"], 0, today=of_today(
                results, lambda one: f"{one['inversions']} of {one['pairs']}", stagger=result["stagger"])))
        elif result["jobs"] in ways.AT_ONCE:
            rows.append(target("time by the floor: " + result["title"], result["factor"], FACTOR, " x", of_today(
                results, lambda one: f"{one['factor']:.2f} x", result["jobs"])))
        else:
            rows.append(target("failures: " + result["title"], result["failed"], 0, today=of_today(
                results, lambda one: f"{one['failed']}", result["jobs"])))
    rows.append(target("failures of all applies with tfq", sum(one["failed"] for one in ours + latencies), 0))
    handovers = sorted(ms for one in ours + latencies for ms in one["handover_ms"])
    rows.append(target("hand-over, p50 at the worst latency", max(one["p50_ms"] for one in latencies), HANDOVER_P50_MS,
                       " ms"))
    rows.append(target(f"hand-over, p99 of all {len(handovers)}", percentile(handovers, 99), HANDOVER_P99_MS, " ms"))
    return rows


def targets_of_submits(found):
    one, together = {row["title"]: row["p50_ms"] for row in found["one"]}, found["together"]
    today = "; ".join(f"{title} {ms:.2f} ms" for title, ms in one.items() if title.startswith(("tsp", "nq"))) or "-"
    return [target("submit alone, on disk, p50", found["one"][0]["p50_ms"], SUBMIT_MS, " ms", today),
            target(f"submits of {together['clients']} at once", together["per_second"], SUBMITS_PER_SECOND, "/s",
                   at_least=True)]


def show(report):
    print(report["machine"])
    print()
    rows = [("", "wall s", "x floor", "of", "inversions", "hand-over p50 ms", "p99 ms", "failed")]
    for result in report["ways"]:
        rows.append((result["title"], number(result["wall"]), number(result["factor"]),
                     "-".join(map(number, result["spread"])),
                     f"{result['inversions']} of {result['pairs']}" if result["stagger"] else "-",
                     number(result["p50_ms"]), number(result["p99_ms"]), str(result["failed"])))
    print_table(rows)
    print_table([("the store answers after", "hand-over p50 ms", "p99 ms", "failed")] + [
        (f"{one['latency_ms']} ms", number(one["p50_ms"]), number(one["p99_ms"]), str(one["failed"]))
        for one in report["latencies"]])
    print_floor(report["floor"])
    print_table([("to queue one", "p50 ms", "p99 ms")] + [
        (one["title"], number(one["p50_ms"]), number(one["p99_ms"])) for one in report["submits"]["one"]])
    together = report["submits"]["together"]
    print(f"{together['submits']} requests of {together['clients']} connections: {together['per_second']:.0f} jobs a "
          f"second, each after {together['p50_ms']:.1f} ms (p99 {together['p99_ms']:.1f}); of one CPU tfqd used "
          f"{together['tfqd_percent']:.0f} %, and what sent them {together['load_percent']:.0f} %\n")
    print_targets(report["targets"])


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
    parser.add_argument("--seconds", type=float, default=0.5, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    for flag in ("full", "json", "strict"):
        parser.add_argument("--" + flag, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 0:
        parser.error("at least 1 round, please, and no less than 0 seconds")
    return options


def terraform_version(env):
    shown = subprocess.run([TERRAFORM, "version"], env=env, check=True, stdout=subprocess.PIPE).stdout
    return shown.decode().split("\n", maxsplit=1)[0]


def main():
    options = parse_arguments()
    if not TERRAFORM:
        print("The benchmark runs real terraform, and " + GET_TERRAFORM, file=sys.stderr)
        return 1

    def progress(title):
        if not options.json:
            print(f"... {title}", file=sys.stderr, flush=True)
    with World("[queue]\nmax_queued_per_user = 1000\n") as world:
        bench = ways.Bench(world)
        progress("the floor")
        report = {"machine": f"{machine()}, {terraform_version(world.env)}",
                  "floor": probe.floor(world.path, TERRAFORM)}
        report["ways"] = ways.measure(bench, options.rounds, options.seconds, options.full, progress)
        report["latencies"] = ways.measure_latencies(bench, options.seconds, progress)
        report["submits"] = submits.measure({name: world.env[name] for name in ("TS_SOCKET", "NQDIR")}, progress)
    report["targets"] = targets_of_ways(report["ways"], report["latencies"]) + targets_of_submits(report["submits"])
    if options.out:
        write(report, options.out)
    if options.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        show(report)
    if any(result["failed"] for result in report["ways"] if result["kind"] != "today"):
        return 1
    return 1 if options.strict and not all(one["met"] for one in report["targets"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
