#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check the model of the lease protocol (lease.pml) with spin: every state of it, and that it can fail.

    test_lease.py [--full] [WORD]...    only the runs whose names contain one of the words

Prints PASS, FAIL or SKIP, the name, the states and the seconds of each run, then the sums; exit
status 1 if one failed.  --full: the larger runs too, one at a time; they need 5 GiB and ten minutes.
README.md says what each run is for.
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lease.pml")
JOBS = 2
TWO = "assertion violated  !((child[0]&&child[1]))"
ONE = "assertion violated ((child[0]!=3)&&(child[1]!=3))"
NONE = "assertion violated (steps<="
STUCK = "invalid end state"


def holds(name, *flags, depth=2000000, megabytes=2000, full=False):
    """The whole of it is searched, and nothing is found."""
    return name, flags, None, depth, megabytes, full


def falls(name, *flags, expect=TWO):
    """There is a counter-example, to this assertion."""
    return name, flags, expect, 3000000, 2000, False


# The longest first, so that two at a time end together.
RUNS = [
    holds("both stores, H=1 T=2", "BOTH", "PROMPT", "H=1", "T=2"),
    holds("child outlives its daemon, which is restarted, H=2 T=3", "RESTART"),
    holds("one store, H=3 T=4", "H=3", "T=4"),
    holds("a store that swaps what is absent: M_GHOSTPUT", "M_GHOSTPUT", "PROMPT"),
    holds("a dead daemon's lock is taken in the end, H=2 T=3", "HEAL", "WITHIN=28"),
    falls("both, D is the later one: M_LATER", "BOTH", "PROMPT", "H=1", "T=2", "M_LATER"),
    falls("both, a child with one held: M_ONEHELD", "BOTH", "PROMPT", "H=1", "T=2", "M_ONEHELD"),
    holds("a restarted daemon's own lock is regained without a wait, H=1 T=2", "HEAL", "RESTART", "WITHIN=11",
          "H=1", "T=2"),
    holds("one store, H=1 T=2", "H=1", "T=2"),
    falls("T = H", "T=2"),
    falls("T < H", "H=3", "T=2"),
    falls("swap without condition: M_BLINDPUT", "M_BLINDPUT"),
    falls("removal without condition: M_BLINDDEL", "M_BLINDDEL"),
    falls("deadline from the answer: M_RESPTIME", "M_RESPTIME"),
    falls("wait from the sending: M_OBSSEND", "M_OBSSEND"),
    falls("unknown outcome extends: M_EXTEND", "M_EXTEND"),
    falls("renewal writes the same bytes: M_ABA", "M_ABA"),
    falls("child without a runner: M_NOKILL", "M_NOKILL"),
    falls("nobody kills in a pause: M_PAUSE", "M_PAUSE"),
    falls("somebody removes it: M_FORCE", "M_FORCE"),
    falls("next child beside the old one: M_TWOCHILDREN", "M_TWOCHILDREN", expect=ONE),
    falls("next child without enough left: M_EARLY", "M_EARLY"),
    falls("expired owner counts again: M_RESURRECT", "M_RESURRECT"),
    falls("a take of what was not watched: M_TAKEOTHER", "M_TAKEOTHER"),
    falls("regain for another job than the one that runs: M_REGAINLIVE", "RESTART", "M_REGAINLIVE", expect=ONE),
    falls("regain without condition: M_REGAINBLIND", "RESTART", "M_REGAINBLIND"),
    falls("the regain's READ moves the deadline: M_REGAINFRESH", "RESTART", "M_REGAINFRESH"),
    falls("the regain's deadline is told at its sending: M_REGAINTOLD", "RESTART", "M_REGAINTOLD"),
    falls("own lock is not regained: M_NOREGAIN", "HEAL", "RESTART", "WITHIN=100", "M_NOREGAIN", expect=STUCK),
    holds("one store, H=4 T=5", "H=4", "T=5", full=True),
    holds("child outlives its daemon, which is restarted, H=3 T=4", "RESTART", "H=3", "T=4", full=True),
    holds("a dead daemon's lock is taken in the end, H=4 T=5", "HEAL", "WITHIN=40", "H=4", "T=5", full=True),
    holds("both stores, H=2 T=3", "BOTH", "PROMPT", depth=6000000, megabytes=8000, full=True),
    falls("what settling showed is forgotten: M_FORGETSEEN", "HEAL", "WITHIN=100", "M_FORGETSEEN", expect=NONE),
]


class Wrong(Exception):
    pass


def output_of(argv, where, seconds=3600):
    done = subprocess.run(argv, cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, check=False)
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise Wrong(f"{argv[0]}: exit status {done.returncode}: {text[-2000:]}")
    return text


def judge(text, expect):
    """pan's output: is it what is wanted, and of a whole search?"""
    violated = re.search(r"^pan:\d+: ((?:assertion violated|invalid end state).*?)(?: \(at depth \d+\))?$", text, re.M)
    if expect is not None:
        if violated is None:
            raise Wrong("nothing was found")
        if not violated[1].startswith(expect):
            raise Wrong(f"{violated[1]}, not {expect}")
        return
    if violated is not None:
        raise Wrong(violated[1])
    for trouble in ("max search depth too small", "Search not completed", "out of memory", "MEMLIM"):
        if trouble in text:
            raise Wrong(f"the search is not complete: {trouble}")
    if not re.search(r", errors: 0$", text, re.M):
        raise Wrong(f"no verdict: {text[-2000:]}")
    # What is never reached was never checked.
    unreached = [line.strip() for line in text.splitlines() if ", state " in line and '"-end-"' not in line]
    if unreached:
        raise Wrong(f"never reached: {'; '.join(unreached)[:500]}")


def run(entry):
    name, flags, expect, depth, megabytes, _full = entry
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tfq-model.") as where:
        try:
            output_of(["spin", "-a", *("-D" + flag for flag in flags), MODEL], where)
            # Safety: assertions. No reduction: there is one process, whose steps all matter.
            output_of([os.environ.get("CC", "cc"), "-O1" if expect else "-O2", "-w", "-DSAFETY", "-DNOREDUCE",
                       f"-DMEMLIM={megabytes}", "-o", "pan", "pan.c"], where)
            # Nothing may get stuck; but a mutant that breaks an assertion may (-E).
            ends = [] if expect in (None, STUCK) else ["-E"]
            text = output_of(["./pan", *ends, f"-m{depth}", "-w22"], where)
            judge(text, expect)
        except (Wrong, subprocess.TimeoutExpired) as why:
            print(f"FAIL {name}: {why}", flush=True)
            return "failed"
    states = re.search(r"(\S+) states, stored", text)[1]
    memory = re.search(r"(\S+)\s+total actual memory usage", text)[1]
    found = "counter-example in" if expect else "holds in"
    print(f"PASS {name}: {found} {float(states):.0f} states ({time.monotonic() - started:.1f} s, "
          f"{float(memory):.0f} MB)", flush=True)
    return "passed"


def main():
    words = sys.argv[1:]
    full = "--full" in words
    words = [word for word in words if word != "--full"]
    runs = [entry for entry in RUNS if not words or any(word in entry[0] for word in words)]
    small = [entry for entry in runs if not entry[-1]]
    large = [entry for entry in runs if entry[-1] and full]

    if shutil.which("spin") is None:
        print("SKIP the model of the lease protocol: spin is not installed (Debian: spin)")
        results = ["skipped"]
    else:
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            results = list(pool.map(run, small))
        results += [run(entry) for entry in large]
    print(", ".join(f"{results.count(kind)} {kind}" for kind in ("passed", "failed", "skipped")), flush=True)
    return 1 if "failed" in results else 0


if __name__ == "__main__":
    sys.exit(main())
