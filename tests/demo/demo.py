#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows what tfqd is for, in ten seconds: three people apply to one state, a fourth runs terraform by hand.

Needs no root, no account and no network: an S3 server and a tfqd run on a temporary folder, with real terraform.
Exit status 0 if everything was as promised.
"""
import os
import re
import shutil
import sys
import textwrap
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import GET_TERRAFORM, TERRAFORM, TFQ, TFQD, World, wait_for  # noqa: E402

SHELLS = (("one", "bigger database"), ("two", "new DNS names"), ("three", "rotate the keys"))
RAW = "raw"
SECONDS = 2.4  # of work per apply
APPLY = {"TF_CLI_ARGS_apply": "-auto-approve -no-color"}  # keeps the commands as short as people type them
COLOURS = {"one": 36, "two": 33, "three": 35, "raw": 34, "good": 32, "bad": 31, "dim": 2, "bold": 1}

IS_TERMINAL = sys.stdout.isatty()
HAS_COLOUR = IS_TERMINAL and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
HAS_BLOCKS = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
WIDTH = min(shutil.get_terminal_size((80, 24)).columns, 100)


def paint(text, colour):
    return f"\033[{COLOURS[colour]}m{text}\033[0m" if HAS_COLOUR else text


def say(text="", colour=None):
    print(paint(text, colour) if colour else text, flush=True)


def tell(who, text):
    """One line of what a person sees on their screen."""
    for line in textwrap.wrap(text, WIDTH - 10, subsequent_indent="    ", break_on_hyphens=False) or [""]:
        print(f"  {paint(f'{who:<5}', who)} {paint('|', 'dim')} {line}", flush=True)


class Promises:
    def __init__(self):
        self.kept = []

    def check(self, sentence, is_kept):
        self.kept.append(bool(is_kept))
        mark = ("\u2713" if HAS_BLOCKS else "ok") if is_kept else ("\u2717" if HAS_BLOCKS else "NOT SO")
        say(f"  {paint(mark, 'good' if is_kept else 'bad')} {sentence}")


class Screens:
    """Shows what people's programs print on stderr, and how they end, while it happens."""

    def __init__(self):
        self.programs, self.shown, self.over = {}, {}, set()

    def add(self, who, program):
        self.programs[who] = program
        self.shown[who] = 0

    def show(self):
        for who, program in self.programs.items():
            lines = program.err.split("\n")[:-1]
            for line in lines[self.shown[who]:]:
                # The time that the job ahead has run makes each line new: once per job is enough here.
                if not any(self.key(line) == self.key(before) for before in lines[:self.shown[who]]):
                    tell(who, line)
                self.shown[who] += 1
            if who not in self.over and not program.is_running():
                self.over.add(who)
                end = re.search(r"^Apply complete!.*", program.out, re.M)
                tell(who, end[0] if end else f"exit code {program.process.returncode}")

    @staticmethod
    def key(line):
        return re.sub(r"(, [0-9][0-9a-z ]*)(?=, \"|$)", "", line)

    def until(self, condition, what):
        def look():
            self.show()
            return condition()
        return wait_for(look, what)


def chart(spans, refused, origin):
    """Who ran when: one line each, time from left to right."""
    end = max(span.end for span in spans) - origin
    columns = min(WIDTH - 14, 64)
    scale = columns / end
    full, dot, cross = ("\u2588", "\u00b7", "\u2717") if HAS_BLOCKS else ("#", ".", "x")
    ruler = "".join(f"{second:<{max(1, round(scale * 2))}}" for second in range(0, int(end) + 1, 2))
    say(f"  {'':<9}{paint(ruler[:columns] + ' seconds', 'dim')}")
    for who in [name for name, _ in SHELLS] + [RAW]:
        line = [dot] * columns
        for span in spans:
            if span.name == who:
                first, last = int((span.start - origin) * scale), int((span.end - origin) * scale)
                line[first:max(last, first + 1)] = full * (max(last, first + 1) - first)
        if who == RAW:
            line[min(int((refused - origin) * scale), columns - 1)] = cross
        text = "".join(line[:columns])
        text = re.sub(f"{re.escape(dot)}+", lambda found: paint(found[0], "dim"), text)
        text = re.sub(f"{full}+", lambda found: paint(found[0], who), text)
        text = text.replace(cross, paint(cross, "bad"))
        say(f"  {paint(f'{who:<9}', who)}{text}")


def show_refusal(raw):
    """terraform's own words, but for the advice that it gives at their end."""
    text = "\n".join(line.lstrip("\u2502\u2577\u2575| ").rstrip() for line in raw.err.strip().splitlines())
    head, _, lock = text.partition("Terraform acquires a state lock")[0].partition("Lock Info:")
    for paragraph in head.split("\n\n"):
        if paragraph.strip():
            tell(RAW, " ".join(paragraph.split()))
    for line in ("Lock Info:" + lock).splitlines():
        if line.strip():
            tell(RAW, line)


def directory(world, who, seconds):
    work = world.directory(who)
    work.write("terraform.tfvars", f'name = "{who}"\nseconds = "{seconds}"\n')
    return work


def play(world):
    promises, screens = Promises(), Screens()
    works = {who: directory(world, who, SECONDS) for who, _ in SHELLS}
    works[RAW] = directory(world, RAW, 0.3)

    say(f"{', '.join(who for who, _ in SHELLS)} type 'tfq apply' at the same moment, on one S3 state:\n", "bold")
    origin = time.time()
    for who, reason in SHELLS:
        tell(who, f"$ tfq -m '{reason}' apply")
        screens.add(who, works[who].spawn("-m", f"{who}: {reason}", "apply", env=APPLY))
    screens.until(lambda: works["one"].marks() and len(world.jobs()) == len(SHELLS), "the first to run")
    screens.until(lambda: time.time() > origin + 0.7, "a moment")

    say(f"\nMeanwhile {RAW}, somewhere else, runs plain 'terraform apply', which knows nothing of tfqd:\n", "bold")
    refused = time.time()
    tell(RAW, "$ terraform apply")
    raw = works[RAW].terraform("apply", env=APPLY)
    holder = next(job for job in world.jobs() if job["status"] == "running")
    show_refusal(raw)
    say()

    screens.until(lambda: len(screens.over) == len(SHELLS), "the end of all three")
    world.wait_unlocked()
    say(f"\nThe queue is empty and the lock is gone. {RAW} tries again:\n", "bold")
    tell(RAW, "$ terraform apply")
    again = works[RAW].terraform("apply", env=APPLY)
    tell(RAW, (re.search(r"^Apply complete!.*", again.out, re.M) or [f"exit code {again.code}"])[0])

    say("\nWho ran when:\n", "bold")
    spans = works["one"].spans()
    chart(spans, refused, origin)
    jobs = sorted(world.jobs(), key=lambda job: job["started"])
    times = [(job["id"], job["handover"]) for job in jobs if "handover" in job]
    say("\nFrom the end of one terraform to the start of the next: " +
        ", ".join(f"{micro / 1000:.1f} ms" for _, micro in times))

    say("\nSo:\n", "bold")
    ran = [span.name for span in spans]
    accepted = [job["reason"].partition(":")[0] for job in sorted(jobs, key=lambda job: job["id"])]
    promises.check("all three applies succeeded",
                   all(program.process.returncode == 0 for program in screens.programs.values()))
    promises.check("they ran one at a time", all(a.end <= b.start for a, b in zip(spans, spans[1:])))
    promises.check("in the order in which they were queued", ran[:3] == accepted)
    promises.check("terraform by hand was refused, and read which tfqd job holds the lock, and why",
                   raw.code == 1 and "Error acquiring the state lock" in raw.err and
                   holder.get("lock_id", "?") in raw.err and f"tfqd job {holder['id']}" in " ".join(raw.err.split()))
    writes = world.lock_requests()[:len(SHELLS) + 1]
    promises.check("the lock went from job to job without being let go in between",
                   [entry["method"] for entry in writes if entry["method"] != "GET"][:3] == ["PUT"] * 3)
    promises.check("afterwards the lock was gone, and terraform by hand worked",
                   again.code == 0 and world.lock() is None)
    return all(promises.kept)


def main():
    if not TERRAFORM:
        say("This demonstration runs real terraform, and " + GET_TERRAFORM, "bad")
        return 1
    for program in (TFQD, TFQ):
        if not os.access(program, os.X_OK):
            say(f"{program} is not there: run 'make' first", "bad")
            return 1
    say("tfqd queues terraform runs, and holds terraform's own lock for them.\n", "bold")
    try:
        with World() as world:
            say(f"  S3 server  {world.url}, on this machine\n"
                f"  tfqd       {world.socket}\n"
                f"  terraform  {TERRAFORM}\n", "dim")
            good = play(world)
    except AssertionError as error:
        say(f"\nThat was not as promised: {error}", "bad")
        return 1
    except KeyboardInterrupt:
        say("\nStopped; everything is cleaned up.")
        return 130
    say("\nEverything is stopped and removed again." if good else "\nThat was not as promised.",
        "good" if good else "bad")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
