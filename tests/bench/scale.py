#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How tfqd's cost grows: with jobs that wait, states, clients that watch, and locks that are held.

    scale.py [--most N] [--only PART]... [--out DIR] [--json] [--strict]

  --most N      the largest number of jobs that wait (10000); of states, clients and locks a tenth of it
  --only PART   queue, handovers, states, clients, handshakes or locks
  --out DIR     scale.json and scale.svg go there
  --json        the results as JSON on stdout, nothing else
  --strict      exit status 1 if a target is missed or a cost grows

terraform is replaced by a stub that does nothing: what is measured is tfqd, with its runners and its client. A cost is
flat if it is at most 1.5 times that at a hundred, log if it grows by no more than its number has digits more.
It takes a quarter of an hour.
"""
import argparse
import json
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import growth  # noqa: E402
import plot  # noqa: E402
import probe  # noqa: E402
from report import machine, number, print_floor, print_table, print_targets, target  # noqa: E402

BASE = 100  # what lies below is too small to be compared with
FLAT = 1.5
RSS_IDLE_MIB, RSS_FULL_MIB, FULL = 8, 24, 10000
LOCKS_PERCENT, MANY_LOCKS = 2, 1000
PARTS = ("queue", "handovers", "states", "clients", "handshakes", "locks")
TITLES = {"queue": f"Jobs that wait, on {growth.STATES} states", "handovers": "Jobs that wait in one line, and run",
          "states": "States with a job each", "clients": "Clients that watch a job each",
          "locks": f"Locks held over TLS, renewed every {growth.RENEW_SECONDS} s"}
# What must not grow with the first column.
JUDGED = {"queue": ("submit_ms", "submit_cpu_us", "cancel_ms", "cancel_cpu_us", "page_cpu_us_a_row", "info_cpu_us",
                    "tfq_queue_us_a_row"),
          "handovers": ("handover_p50_ms", "job_cpu_us"),
          "states": ("submit_ms", "submit_cpu_us", "cancel_cpu_us", "page_cpu_us_a_row", "info_cpu_us", "job_cpu_us",
                     "anonymous_kib_each"),
          "clients": ("submit_ms", "submit_cpu_us", "cancel_cpu_us", "anonymous_kib_each"),
          "locks": ("cpu_us_a_lock",)}


def growth_of(part, results):
    """[what a cost at the largest number is by that at BASE, and what that means]"""
    across = next(iter(results[0]))
    found = []
    for key in JUDGED[part]:
        points = [(one[across], one[key]) for one in results if key in one and one[across] >= BASE]
        if len(points) < 2:
            continue
        (least, first), (most, last) = points[0], points[-1]
        times = last / first if first > 0 else 1
        digits = 1 + math.log10(most / least)
        verdict = "flat" if times <= FLAT else "log" if times <= digits else "GROWS"
        found.append({"part": part, "cost": key, "from": least, "to": most, "at_first": first, "at_last": last,
                      "times": times, "verdict": verdict})
    return found


def targets_of(report):
    rows = []
    if "idle" in report:
        idle, last = report["idle"], report["queue"][-1]
        libraries = f"libraries alone {idle['libraries_mib']:.1f} MiB"
        rows += [target("RSS, nothing to do", idle["rss_mib"], RSS_IDLE_MIB, " MiB", libraries),
                 target(f"RSS, {last['jobs']} jobs wait", last["rss_mib"], RSS_FULL_MIB, " MiB", libraries),
                 target(f"wake-ups in {idle['seconds']} s, {idle['jobs']} jobs wait, none runs", idle["switches"], 0)]
    if "handshakes" in report:
        found = report["handshakes"]
        rows.append(target(f"TLS handshakes of {found['handovers']} hand-overs", found["handshakes"], 0))
    if "locks" in report:
        last = report["locks"][-1]
        rows += [target(f"of a CPU, {last['locks']} locks renewed", last["cpu_percent"], LOCKS_PERCENT, " %"),
                 target("of these, renewed within the minute", last["renewed"], last["locks"], at_least=True)]
    return rows


def show_part(part, results):
    names = list(results[-1])
    rows = [[""] + [name.replace("_", " ") for name in names]]
    rows += [[""] + [number(one.get(name)) for name in names] for one in results]
    print(TITLES[part])
    print_table(rows)


def show(report):
    print(report["machine"] + "; terraform is replaced by a stub")
    print()
    for part in TITLES:
        if part in report:
            show_part(part, report[part])
    print_table([("cost", "of", "at", "is", "at", "is", "times", "")] + [
        (one["cost"].replace("_", " "), one["part"], number(one["from"]), number(one["at_first"]), number(one["to"]),
         number(one["at_last"]), number(one["times"]), one["verdict"]) for one in report["growth"]])
    print_floor(report["floor"])
    print_targets(report["targets"], "beside")


def write(report, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "scale.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    if "queue" not in report:
        return
    series = {name: [(one["jobs"], one[key]) for one in report["queue"]] for name, key in
              (("submit", "submit_ms"), ("cancel", "cancel_ms"), ("tfq queue", "tfq_queue_ms"))}
    if "handovers" in report:
        series["hand-over"] = [(one["behind"], one["handover_p50_ms"]) for one in report["handovers"]]
    with open(os.path.join(folder, "scale.svg"), "w", encoding="utf-8") as file:
        file.write(plot.curves("What one costs, by how many jobs wait", series, "jobs that wait", "ms"))


def measure(options, progress):
    most, few = options.most, options.most // 10
    report = {"machine": machine()}
    progress("the floor")
    report["floor"] = probe.floor("/tmp", "/bin/sh")
    parts = {"handovers": lambda: growth.handovers(most, progress), "states": lambda: growth.states(few, progress),
             "clients": lambda: growth.clients(few, progress), "handshakes": lambda: growth.handshakes(progress),
             "locks": lambda: growth.locks(few, progress)}
    if "queue" in options.only:
        report["queue"], report["idle"] = growth.queue(most, progress)
    report.update((part, work()) for part, work in parts.items() if part in options.only)
    report["growth"] = [one for part in JUDGED if part in report for one in growth_of(part, report[part])]
    report["targets"] = targets_of(report)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="scale.py [OPTION]...")
    parser.add_argument("--most", type=int, default=FULL, help=argparse.SUPPRESS)
    parser.add_argument("--only", action="append", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    for flag in ("json", "strict"):
        parser.add_argument("--" + flag, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.only = options.only or PARTS
    if options.most < 1000:
        parser.error("at least 1000 jobs, please")

    def progress(title):
        if not options.json:
            print(f"... {title}", file=sys.stderr, flush=True)
    report = measure(options, progress)
    if options.out:
        write(report, options.out)
    if options.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        show(report)
    missed = [one for one in report["targets"] if not one["met"]]
    missed += [one for one in report["growth"] if one["verdict"] == "GROWS"]
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
