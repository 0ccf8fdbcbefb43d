#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a job of the crash test runs: as terraform (by its name), or as the local-exec of terraform's apply (work).

Both write "WORD JOB CLOCK_MONOTONIC" into the state's ledger, whatever becomes of tfqd: exec when a terraform begins,
begin and end around what apply does. And both print lines with numbers, which the judge looks for in the output.
"""
import hashlib
import os
import sys
import time

JOB = os.environ.get("CHAOS_JOB", "")


def mark(word):
    line = f"{word} {JOB} {time.monotonic_ns()}\n".encode()
    ledger = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, line)
    os.close(ledger)


def line_of(kind, job, number):
    """No blank stands beside another: terraform would take it out."""
    digest = hashlib.sha256(f"{kind} {job} {number}".encode()).hexdigest()
    return f"{kind} {job} {number:05d} {digest * (1 + number % 7)}\n"


def show(kind, first, last):
    for number in range(first, last + 1):
        sys.stdout.write(line_of(kind, JOB, number))
        sys.stdout.flush()


def work():
    lines, seconds = int(os.environ["CHAOS_LINES"]), float(os.environ["CHAOS_SECONDS"])
    mark("begin")
    for part in range(10):
        show("C", lines * part // 10 + 1, lines * (part + 1) // 10)
        time.sleep(seconds / 10)
    mark("end")


def terraform():
    if sys.argv[1:2] in (["apply"], ["plan"]):
        mark("exec")
        show("W", 1, int(os.environ["CHAOS_LINES"]))
    os.execv(os.environ["CHAOS_TERRAFORM"], ["terraform", *sys.argv[1:]])


if __name__ == "__main__":
    work() if sys.argv[1:] == ["work"] else terraform()
