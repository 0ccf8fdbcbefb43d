#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The judge of the crash test: it finds nothing in a record where all is well, and each thing that can be wrong."""
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "support")]
from harness import case, check, main, same  # noqa: E402
import judge  # noqa: E402


def frame(kind, stream, body):
    return judge.FRAME.pack(kind, stream, 0, len(body), 7) + body


def recorded(asked, end=True):
    """A recording of that job, in frames that do not respect lines."""
    output = b"".join(judge.wanted_lines(asked))
    parts = [output[at:at + 1000] for at in range(0, len(output), 1000)]
    return frame(judge.START, 0, b"1") + frame(judge.OUTPUT, 2, b"a warning\n") + \
        b"".join(frame(judge.OUTPUT, judge.STDOUT, part) for part in parts) + \
        (frame(judge.EXIT, 0, b"\0\0\0\0") if end else b"")


def story():
    """Four jobs on one state: a pipe's, a terminal's, one that was detached (a plan), and one that was lost."""
    asked = [judge.Asked("a", "s", "apply", "normal", 3, "pipe"), judge.Asked("b", "s", "apply", "high", 3, "terminal"),
             judge.Asked("c", "s", "plan", "normal", 3, "detached", code=0, number=3),
             judge.Asked("d", "s", "apply", "normal", 3, "pipe", is_killed=True)]
    jobs = [{"id": at + 1, "label": one.label, "status": "done", "exit_code": 0} for at, one in enumerate(asked)]
    jobs[3] = {"id": 4, "label": "d", "status": "lost", "message": "its runner died"}
    words = ["exec b", "begin b", "end b", "exec a", "begin a", "end a", "exec c", "exec d", "begin d"]
    ledger = [(*word.split(), 100 * at) for at, word in enumerate(words)]
    recordings = {at + 1: recorded(one, one.label != "d") for at, one in enumerate(asked)}
    for one, number in ((asked[0], 1), (asked[1], 2)):
        one.code, one.out = 0, judge.stdout_of(recordings[number])
    asked[1].out = b"\r\x1b[K" + asked[1].out.replace(b"\n", b"\r\n")
    return {"asked": asked, "jobs": jobs, "states": {"s": judge.State(ledger, 2, ("l",))}, "recordings": recordings,
            "logs": {number: judge.stdout_of(recording) for number, recording in recordings.items()},
            "seen": {1: "a", 2: "b", 3: "c", 4: "d"}, "killed": {4},
            "watchers": [judge.Watcher("wait", 3, 0), judge.Watcher("attach", 1, 0, judge.stdout_of(recordings[1])),
                         judge.Watcher("wait", 4, 125)]}


def verdict(change=None):
    made = story()
    if change:
        change(made)
    return judge.judge(judge.Record(**made))


@case("where all is well it finds nothing")
def well():
    same(verdict(), [], "the verdict")


VIOLATIONS = {}


def violation(*sentences):
    """Each of these is found, whatever else is."""
    def add(function):
        VIOLATIONS[function.__name__] = function, sentences
        return function
    return add


def ledger(made):
    return made["states"]["s"].ledger


@violation("#3 (c) was accepted, and is gone")
def gone(made):
    del made["jobs"][2]


@violation("#5 (e) was accepted, and is gone")
def gone_after_it_was_seen(made):
    made["seen"][5] = "e"


@violation("#3 was c, and is a now", "a was queued 2 times")
def renumbered(made):
    made["jobs"][2]["label"] = "a"


@violation("ghost ran, and is not in the list")
def ghost(made):
    ledger(made).append(("exec", "ghost", 5000))


@violation("#1 (a, running) has not ended: None")
def still_runs(made):
    made["jobs"][0]["status"] = "running"


@violation("#1 (a, cancelled) was cancelled by nobody: None")
def cancelled(made):
    made["jobs"][0]["status"] = "cancelled"


@violation("#1 (a, lost) was lost, and nobody has killed its runner: oh")
def lost(made):
    made["jobs"][0].update(status="lost", message="oh")


@violation("#4 (d, lost) gives no reason")
def lost_without_reason(made):
    del made["jobs"][3]["message"]


@violation("#1 (a, done) has the exit code 1")
def done_badly(made):
    made["jobs"][0]["exit_code"] = 1


@violation("#1 (a, failed) gives no reason")
def failed_without_reason(made):
    made["jobs"][0].update(status="failed", exit_code=None)


@violation("#1 (a, failed) was fenced: the lock could not be renewed, so")
def fenced(made):
    made["jobs"][0].update(status="failed", message="the lock could not be renewed, so")


@violation("a ran 2 times (begin)", "a ran 2 times (exec)")
def twice(made):
    ledger(made)[6:6] = [("exec", "a", 510), ("begin", "a", 511)]


@violation("c is done, and its ledger says []")
def never_ran(made):
    del ledger(made)[6]


@violation("a is done, and its ledger says ['exec', 'begin']")
def not_finished(made):
    del ledger(made)[5]


@violation("s: #1 (a) ran after #3 (c)")
def inversion(made):
    words = ledger(made)
    words.insert(3, (*words.pop(6)[:2], 250))


@violation("s: b says end when another one had begun")
def overlap(made):
    words = ledger(made)
    words[2:4] = [("exec", "a", 200), ("end", "b", 300)]


@violation("s: end of d is older than the word before")
def clock(made):
    ledger(made).append(("end", "d", 5))


@violation("s: a says ['exec', 'end', 'begin']")
def wrong_order(made):
    words = ledger(made)
    words[4], words[5] = ("end", "a", 400), ("begin", "a", 500)


@violation("s: the serial is 1 after 2 applies, and 1 that did not end well")
def lost_update(made):
    made["states"]["s"].serial = 1


@violation("s: the serial is 5 after 2 applies, and 1 that did not end well")
def hidden_apply(made):
    made["states"]["s"].serial = 5


@violation("s: the lineage has changed: ['l', 'm']")
def lineage(made):
    made["states"]["s"].lineages = ("l", "m")


@violation("the recording of #1 (a, done) is not there")
def no_recording(made):
    made["recordings"][1] = None


@violation("the recording of #1 (a, done) ends after 2 of 6 lines")
def cut_recording(made):
    lines = b"".join(judge.wanted_lines(made["asked"][0])[:2])
    made["recordings"][1] = frame(1, 0, b"1") + frame(2, 1, lines) + frame(3, 0, b"\0\0\0\0")


@violation("the recording of #1 (a, done): its line 2 is")
def doubled_line(made):
    lines = judge.wanted_lines(made["asked"][0])
    lines.insert(1, lines[0])
    made["recordings"][1] = frame(1, 0, b"1") + frame(2, 1, b"".join(lines)) + frame(3, 0, b"\0\0\0\0")


@violation("the recording of #1 (a, done): its line 4 is")
def gap(made):
    lines = judge.wanted_lines(made["asked"][0])
    del lines[3]
    made["recordings"][1] = frame(1, 0, b"1") + frame(2, 1, b"".join(lines)) + frame(3, 0, b"\0\0\0\0")


@violation("the recording of #4 (d, lost): its line 1 is")
def lost_ones_gap(made):
    made["recordings"][4] = frame(1, 0, b"1") + frame(2, 1, judge.wanted_lines(made["asked"][3])[1])


@violation("the recording of #1 (a, done) has 1 lines too many")
def once_more(made):
    made["recordings"][1] = made["recordings"][1][:-20] + \
        frame(2, 1, judge.wanted_lines(made["asked"][0])[0]) + frame(3, 0, b"\0\0\0\0")


@violation("the recording of #1 (a, done) has 2 beginnings")
def two_starts(made):
    made["recordings"][1] = frame(1, 0, b"1") + made["recordings"][1]


@violation("the recording of #1 (a, done) goes on after its end")
def after_the_end(made):
    made["recordings"][1] += frame(2, 1, b"x")


@violation("the recording of #1 (a, done) has no end, and 0 bytes too many")
def no_end(made):
    made["recordings"][1] = recorded(made["asked"][0], end=False)


@violation("the recording of #1 (a, done) has no end, and 9 bytes too many")
def torn_frame(made):
    made["recordings"][1] += b"\x02\x01\x00\x00\xff\x00\x00\x00x"


@violation("tfq logs of #1 (a, done) is not what the recording holds")
def other_log(made):
    made["logs"][1] = made["logs"][1][1:]


@violation("tfq of a (pipe, exit code 1): #1 (a, done) has ended with 0: ''")
def wrong_code(made):
    made["asked"][0].code = 1


@violation("tfq of a (pipe, exit code 69): #1 (a, done) has ended with 0: 'went away'")
def gave_up(made):
    made["asked"][0].code, made["asked"][0].err = 69, "went away"


@violation("tfq of a (pipe, exit code None) does not end: ''")
def hangs(made):
    made["asked"][0].code = None


@violation("the output of tfq of a (pipe, exit code 0): its line 1 is", "tfq of a (pipe, exit code 0) has printed")
def client_lost_a_line(made):
    made["asked"][0].out = b"".join(judge.wanted_lines(made["asked"][0])[1:])


@violation("tfq of a (pipe, exit code 0) has printed")
def client_lost_a_byte(made):
    made["recordings"][1] = made["recordings"][1][:-20] + frame(2, 1, b"x") + frame(3, 0, b"\0\0\0\0")


@violation("the output of tfq of b (terminal, exit code 0) has 6 lines too many")
def terminal_saw_it_twice(made):
    made["asked"][1].out *= 2


@violation("tfq of c (detached, exit code 0) has printed 4, not 3: ''")
def wrong_number(made):
    made["asked"][2].number = 4


@violation("tfq of e (pipe, exit code 0): there is no such job: ''")
def said_done(made):
    made["asked"].append(judge.Asked("e", "s", "apply", "normal", 3, "pipe", code=0))


@violation("tfq wait 3 ended with 1, #3 (c, done) with 0: ''")
def wrong_wait(made):
    made["watchers"][0].code = 1


@violation("the output of tfq attach 1: its line 1 is")
def attach_lost_a_line(made):
    made["watchers"][1].out = b"".join(judge.wanted_lines(made["asked"][0])[1:])


@violation("the lock of x is left")
def lock_left(made):
    made["left"] = ["the lock of x"]


@violation("a process is left: tfq-runner")
def process_left(made):
    made["processes"] = ["tfq-runner"]


@violation("tfqd ended by itself")
def trouble(made):
    made["trouble"] = ["tfqd ended by itself"]


for name, (change, sentences) in VIOLATIONS.items():
    @case(f"it finds what is wrong: {name.replace('_', ' ')}")
    def found(change=change, sentences=sentences):
        verdicts = verdict(change)
        for sentence in sentences:
            check(any(one.startswith(sentence) for one in verdicts), f"{sentence!r} is not in {verdicts}")


@case("what is no violation is none: a client that heard nothing, a reason for a failure, a note on a terminal")
def allowed():
    def noted(made):
        text = made["asked"][1].out
        made["asked"][1].out = text[:99] + b"tfq: tfqd went away\r\n" + text[99:]
    same(verdict(noted), [], "the verdict of a note")

    def change(made):
        made["asked"].append(judge.Asked("e", "s", "apply", "normal", 3, "pipe", code=69, err="no daemon"))
        made["asked"][2].code, made["asked"][2].number = 69, None
        made["asked"][1].code, made["asked"][1].out = 69, b""
        made["asked"][1].err = "tfq: tfqd went away before it said whether it accepted the job"
        made["jobs"][0].update(status="failed", exit_code=1)
        made["asked"][0].code = made["watchers"][1].code = 1
        made["states"]["s"].serial = 1
    same(verdict(change), [], "the verdict")


main()
