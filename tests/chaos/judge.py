# SPDX-License-Identifier: MIT
"""Whether what happened in a crash test is what was promised. Knows no process, no file and no clock.

A Record says what was seen; judge() returns a sentence for each promise that was broken.
"""
import dataclasses
import re
import struct

from child import line_of

FINAL = ("done", "failed", "cancelled", "lost")
FRAME = struct.Struct("<BBHIQ")
START, OUTPUT, EXIT = 1, 2, 3
STDOUT = 1
LINE = re.compile(rb"([WC]) (\S+) (\d{5}) ([0-9a-f]{64,})\r*\n")
NOTE = re.compile(rb"tfq: [^\r\n]*\r*\n")  # tfq's own; on a terminal it may come in the middle of a line
EX_UNAVAILABLE, EX_OURS = 69, 125


@dataclasses.dataclass
class Asked:
    """One command that was given to tfq. label: its own, of the job that it may have made."""
    label: str
    state: str
    command: str  # "apply" or "plan"
    priority: str
    lines: int
    kind: str  # "pipe", "terminal" or "detached"
    is_killed: bool = False
    code: int = None
    out: bytes = b""
    err: str = ""
    number: int = None  # that tfq -d has printed


@dataclasses.dataclass
class Watcher:
    """A tfq wait, or a tfq attach, that nobody has killed."""
    command: str
    number: int
    code: int
    out: bytes = b""
    err: str = ""


@dataclasses.dataclass
class State:
    ledger: list  # of (word, label, nanoseconds), in the order in which they were written
    serial: int = 0
    lineages: tuple = ()  # all that were ever seen


@dataclasses.dataclass
class Record:
    asked: list
    jobs: list  # the final List, as tfqd says it
    states: dict  # name: State
    recordings: dict  # number: bytes, or None
    logs: dict = dataclasses.field(default_factory=dict)  # number: what tfq logs has printed
    seen: dict = dataclasses.field(default_factory=dict)  # number: label, of all that was ever listed
    watchers: list = dataclasses.field(default_factory=list)
    killed: set = dataclasses.field(default_factory=set)  # numbers of the jobs whose runner was killed
    locks: list = dataclasses.field(default_factory=list)  # left in the stores
    processes: list = dataclasses.field(default_factory=list)  # left on the machine
    trouble: list = dataclasses.field(default_factory=list)  # what went wrong on the way

    def __post_init__(self):
        self.by_label = {asked.label: asked for asked in self.asked}
        self.numbers = {job.get("label"): job["id"] for job in self.jobs}
        self.job = {job["id"]: job for job in self.jobs}
        self.words = {}  # label: [word]
        for state in self.states.values():
            for word, label, _ in state.ledger:
                self.words.setdefault(label, []).append(word)

    def status(self, label):
        number = self.numbers.get(label)
        return number and self.job[number]["status"]


def name_of(job):
    return f"#{job['id']} ({job.get('label')}, {job['status']})"


# --- nothing is lost, nothing runs twice ------------------------------------------------

def check_accepted(record):
    """What was accepted is there, and is what it was."""
    promised = {asked.number: asked.label for asked in record.asked if asked.number}
    for number, label in {**record.seen, **promised}.items():
        job = record.job.get(number)
        if job is None:
            yield f"#{number} ({label}) was accepted, and is gone"
        elif job.get("label") != label:
            yield f"#{number} was {label}, and is {job.get('label')} now"
    labels = [job.get("label") for job in record.jobs]
    for label in sorted({label for label in labels if labels.count(label) > 1}, key=str):
        yield f"{label} was queued {labels.count(label)} times"
    for label in record.words:
        if label not in labels:
            yield f"{label} ran, and is not in the list"


def check_ends(record):
    """Each job has ended, and if not well, with a reason."""
    for job in record.jobs:
        status, code = job["status"], job.get("exit_code")
        if status not in FINAL:
            yield f"{name_of(job)} has not ended: {job.get('message')}"
        elif status == "cancelled":
            yield f"{name_of(job)} was cancelled by nobody: {job.get('message')}"
        elif status == "lost" and job["id"] not in record.killed:
            yield f"{name_of(job)} was lost, and nobody has killed its runner: {job.get('message')}"
        elif status == "lost" and not job.get("message"):
            yield f"{name_of(job)} gives no reason"
        elif status == "done" and code != 0:
            yield f"{name_of(job)} has the exit code {code}"
        elif status == "failed" and not job.get("message") and not code and not job.get("exit_signal"):
            yield f"{name_of(job)} gives no reason"
        elif status == "failed" and "could not be renewed" in (job.get("message") or ""):
            yield f"{name_of(job)} was fenced: {job.get('message')}"


def check_once(record):
    for asked in record.asked:
        words = record.words.get(asked.label, [])
        for word in ("exec", "begin", "end"):
            if words.count(word) > 1:
                yield f"{asked.label} ran {words.count(word)} times ({word})"
        wanted = ["exec", "begin", "end"] if asked.command == "apply" else ["exec"]
        if record.status(asked.label) == "done" and words != wanted:
            yield f"{asked.label} is done, and its ledger says {words}"


# --- one at a time, in order ------------------------------------------------------------

def check_order(record):
    for name, state in record.states.items():
        last = {}  # priority: (number, label) that began last
        for word, label, _ in state.ledger:
            number = record.numbers.get(label)
            if word != "exec" or number is None:
                continue
            priority = record.by_label[label].priority
            if last.get(priority, (0,))[0] > number:
                yield f"{name}: #{number} ({label}) ran after #{last[priority][0]} ({last[priority][1]})"
            last[priority] = max(last.get(priority, (0, "")), (number, label))


def check_overlap(record):
    """In a ledger the words of a job stand together, and in their order."""
    for name, state in record.states.items():
        over, now, before = set(), None, 0
        for word, label, when in state.ledger:
            if label != now:
                over.add(now)
                now = label
            if label in over:
                yield f"{name}: {label} says {word} when another one had begun"
            if when < before:
                yield f"{name}: {word} of {label} is older than the word before"
            before = when
        for label in {label for _, label, _ in state.ledger}:
            words = [word for word, other, _ in state.ledger if other == label]
            if sorted(words, key=["exec", "begin", "end"].index) != words:
                yield f"{name}: {label} says {words}"


def check_states(record):
    """Each apply that went well counts one up. One that failed may have written nothing, or twice: when it is told to
    stop, terraform saves at once, and again at its end."""
    for name, state in record.states.items():
        applies = [asked.label for asked in record.asked if asked.state == name and asked.command == "apply"]
        done = sum(record.status(label) == "done" for label in applies)
        unsure = sum(record.status(label) != "done" and label in record.words for label in applies)
        if not done <= state.serial <= done + 2 * unsure:
            yield f"{name}: the serial is {state.serial} after {done} applies, and {unsure} that did not end well"
        if len(set(state.lineages)) > 1:
            yield f"{name}: the lineage has changed: {sorted(set(state.lineages))}"


# --- no output is lost ------------------------------------------------------------------

def wanted_lines(asked):
    lines = [line_of("W", asked.label, number) for number in range(1, asked.lines + 1)]
    if asked.command == "apply":
        lines += [line_of("C", asked.label, number) for number in range(1, asked.lines + 1)]
    return [line.encode() for line in lines]


def check_lines(what, output, asked, is_whole):
    wanted = wanted_lines(asked)
    got = [match[0].replace(b"\r", b"") for match in LINE.finditer(output)]
    for at, (one, other) in enumerate(zip(got, wanted)):
        if one != other:
            yield f"{what}: its line {at + 1} is {one[:40]!r}, not {other[:40]!r}"
            return
    if len(got) > len(wanted):
        yield f"{what} has {len(got) - len(wanted)} lines too many"
    elif is_whole and len(got) < len(wanted):
        yield f"{what} ends after {len(got)} of {len(wanted)} lines"


def frames(recording):
    """[(type, stream, body)], and how many bytes at the end are none."""
    found, at = [], 0
    while at + FRAME.size <= len(recording):
        kind, stream, zero, length, _ = FRAME.unpack_from(recording, at)
        if zero or at + FRAME.size + length > len(recording):
            break
        found.append((kind, stream, recording[at + FRAME.size:at + FRAME.size + length]))
        at += FRAME.size + length
    return found, len(recording) - at


def stdout_of(recording):
    return b"".join(body for kind, stream, body in frames(recording)[0] if (kind, stream) == (OUTPUT, STDOUT))


def check_recording(record, job, asked):
    recording, what = record.recordings.get(job["id"]), f"the recording of {name_of(job)}"
    if not recording:
        if asked.label in record.words:
            yield f"{what} is not there"
        return
    found, rest = frames(recording)
    kinds = [kind for kind, _, _ in found]
    if kinds.count(START) != 1 or kinds[0] != START:
        yield f"{what} has {kinds.count(START)} beginnings"
    if kinds.count(EXIT) > 1 or (EXIT in kinds and kinds[-1] != EXIT):
        yield f"{what} goes on after its end"
    if job["status"] == "done" and (EXIT not in kinds or rest):
        yield f"{what} has no end, and {rest} bytes too many"
    yield from check_lines(what, stdout_of(recording), asked, job["status"] == "done")


def check_output(record):
    for job in record.jobs:
        asked = record.by_label.get(job.get("label"))
        if asked is None:
            continue
        yield from check_recording(record, job, asked)
        recording = record.recordings.get(job["id"])
        if job["id"] in record.logs and record.logs[job["id"]] != stdout_of(recording or b""):
            yield f"tfq logs of {name_of(job)} is not what the recording holds"


# --- clients ----------------------------------------------------------------------------

def wanted_code(job):
    if job.get("exit_code") is not None:
        return job["exit_code"] & 0xff
    return 128 + job["exit_signal"] if job.get("exit_signal") else EX_OURS


def is_unheard(asked):
    """tfqd was not there, or died before it could say that the job is queued; then tfq must say just that."""
    return asked.code == EX_UNAVAILABLE


def check_client(record, asked):
    number, who = record.numbers.get(asked.label), f"tfq of {asked.label} ({asked.kind}, exit code {asked.code})"
    if asked.code is None:
        yield f"{who} does not end: {asked.err[-300:]!r}"
    elif number is None:
        if not is_unheard(asked):
            yield f"{who}: there is no such job: {asked.err[-300:]!r}"
    elif asked.kind == "detached":
        if not is_unheard(asked) and (asked.code != 0 or asked.number != number):
            yield f"{who} has printed {asked.number}, not {number}: {asked.err[-300:]!r}"
    elif not (is_unheard(asked) and "whether it accepted" in asked.err):
        job = record.job[number]
        if asked.code != wanted_code(job):
            yield f"{who}: {name_of(job)} has ended with {wanted_code(job)}: {asked.err[-300:]!r}"
        recorded = stdout_of(record.recordings.get(number) or b"")
        shown = NOTE.sub(b"", asked.out) if asked.kind == "terminal" else asked.out
        yield from check_lines(f"the output of {who}", shown, asked, job["status"] == "done")
        if asked.kind == "pipe" and asked.out != recorded:
            yield f"{who} has printed {len(asked.out)} bytes that are not the {len(recorded)} of the recording"


def check_clients(record):
    for asked in record.asked:
        if not asked.is_killed:
            yield from check_client(record, asked)
    for watcher in record.watchers:
        job, who = record.job.get(watcher.number), f"tfq {watcher.command} {watcher.number}"
        if job and watcher.code != wanted_code(job):
            yield f"{who} ended with {watcher.code}, {name_of(job)} with {wanted_code(job)}: {watcher.err[-300:]!r}"
        if watcher.command == "attach" and job and job.get("label") in record.by_label:
            yield from check_lines(f"the output of {who}", watcher.out, record.by_label[job["label"]],
                                   job["status"] == "done")


# --- all of it --------------------------------------------------------------------------

def check_left(record):
    for lock in record.locks:
        yield f"the lock {lock} is left"
    for process in record.processes:
        yield f"a process is left: {process}"
    yield from record.trouble


CHECKS = (check_accepted, check_ends, check_once, check_order, check_overlap, check_states, check_output,
          check_clients, check_left)


def judge(record):
    return [sentence for check in CHECKS for sentence in check(record)]
