# SPDX-License-Identifier: MIT
"""How bench.py and scale.py say what they have found: figures, tables, verdicts."""
import os
import platform
import time

FLOOR_ROWS = (("message", "a message there and back"), ("exec", "a forked child that waits, told to exec"),
              ("handover", "both: the floor of a hand-over"),
              ("rested-message", "a message there and back, to a CPU that sleeps"),
              ("rested-exec", "a forked child on a CPU that sleeps, told to exec"),
              ("rested-handover", "both"), ("spawn", "fork and exec"),
              ("fsync", "fsync of 4 KiB written over others"), ("grow", "fsync of 4 KiB added to a file"))


def percentile(values, percent):
    """Of sorted @values; None of none."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else None


def number(value, unit=""):
    if value is None:
        return "-"
    digits = 0 if isinstance(value, int) or value >= 1000 else 2
    return f"{value:.{digits}f}{unit}"


def target(what, value, limit, unit="", today="-", at_least=False):
    """A row of print_targets(); @today: what others need."""
    met = value is not None and (value >= limit if at_least else value <= limit)
    return {"what": what, "target": f"{'>=' if at_least else '<='} {limit:g}{unit}", "is": number(value, unit),
            "value": value, "today": today, "met": met}


def print_table(rows):
    """The first row is the head, the first column text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        line = [row[0].ljust(widths[0])] + [value.rjust(width) for value, width in zip(row[1:], widths[1:])]
        print("  ".join(line).rstrip())
    print()


def print_targets(targets, beside="today"):
    print_table([("", "target", "tfqd", "", beside)] + [
        (one["what"], one["target"], one["is"], "met" if one["met"] else "MISSED", one["today"]) for one in targets])


def print_floor(found):
    print_table([(f"what this machine needs at least; its disk: {found['file_system']}", "p50 ms", "p99 ms")] + [
        (title, f"{found['parts'][name]['p50_ms']:.3f}", f"{found['parts'][name]['p99_ms']:.3f}")
        for name, title in FLOOR_ROWS])


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return (f"{time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} CPUs ({models[0] if models else '?'}), "
            f"Linux {platform.release()}")
