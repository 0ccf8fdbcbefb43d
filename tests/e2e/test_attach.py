#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attach, logs and wait, and what becomes of a client whose tfqd goes away: against a tfqd that does as it is told."""
import contextlib
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import TFQ, World, case, check, contains, lacks, main, same, wait_for  # noqa: E402
from terminal import (BEGIN, BEGIN_TTY, INPUT, NOTE, FakeTfqd, Terminal, ended, err, frame, out)  # noqa: E402

SOMEBODY = 54321  # a user that is not us
FIRST = 1_767_323_045_000_000  # 2026-01-02T03:04:05Z


@contextlib.contextmanager
def fake():
    with World(terraform=False, daemon=False) as world, FakeTfqd(world) as tfqd:
        yield world, tfqd


def submit(world, tfqd, *options, **how):
    """tfq apply, accepted: the program, the link, the runner's end."""
    work = world.directories = getattr(world, "directories", None) or world.directory(init="by hand")
    program = work.spawn(*options, "apply", **how)
    link = tfqd.accept("Submit")
    link.job("queued", position=1, of=1)
    return program, link, link.runner()


def wait_out(program, text):
    wait_for(lambda: text in program.out, f"{text!r} on stdout; it has {program.out[-200:]!r}")


def wait_err(program, text):
    wait_for(lambda: text in program.err, f"{text!r} on stderr; it has {program.err[-300:]!r}")


# --- attach -----------------------------------------------------------------------------

@case("attach shows a job's output from its start and as it comes, and exits with its code")
def attach():
    with fake() as (world, tfqd):
        program = world.spawn(TFQ, "attach", "#7")
        link = tfqd.accept("Attach")
        same(link.more, True, "more")
        same(link.parameters, {"id": 7, "attach": True, "offset": 0, "input": True, "stdin": False}, "the question")
        runner = link.runner()
        link.job("running")
        runner.send(BEGIN + out("before\n") + err("trouble\n"))
        wait_out(program, "before")
        runner.send(out("after\n") + frame(NOTE, 0, b"a note", 5) + ended(3))
        runner.close()
        link.job("failed", more=False, exit_code=3)
        result = program.wait()
        same((result.code, result.out, result.err), (3, "before\nafter\n", "trouble\ntfq: a note\n"), "the end")


@case("attach --no-stdin says so; one of a job that is over shows its recording and gives its code")
def attach_over():
    with fake() as (world, tfqd):
        program = world.spawn(TFQ, "attach", "--no-stdin", "7")
        link = tfqd.accept("Attach")
        same(link.parameters["input"], False, "input")
        link.job("failed", more=False, exit_code=2, message="terraform says no", ended=5)
        tfqd.logs(BEGIN + out("all of it\n") + ended(2), "failed")
        result = program.wait()
        same((result.code, result.out), (2, "all of it\n"), "code and output")
        contains(result.err, "#7 failed: terraform says no")


@case("a question is asked again if tfqd restarts before it answers; what changes something is not")
def ask_again():
    job = {"id": 7, "status": "done", "uid": os.getuid(), "state": "s3://b/k", "user": "u", "command": "apply"}
    with fake() as (world, tfqd):
        program = world.spawn(TFQ, "info", "7")
        tfqd.accept("Info")
        tfqd.stop()
        tfqd.start()
        tfqd.accept("Info").close()
        tfqd.accept("Info").send({"parameters": {"job": job}})
        result = program.wait()
        same((result.code, result.err), (0, ""), "info")
        contains(result.out, "done")

        program = world.spawn(TFQ, "queue")
        link = tfqd.accept("List")
        link.send({"parameters": {"jobs": [job], "more": True}})
        tfqd.stop()
        tfqd.start()
        link = tfqd.accept("List")
        same(link.parameters["after"], 7, "where it goes on")
        link.send({"parameters": {"jobs": [{**job, "id": 8}], "more": False}})
        result = program.wait()
        same((result.code, result.err, result.out.count("done")), (0, "", 2), "queue")

        program = world.spawn(TFQ, "cancel", "7")
        tfqd.accept("Cancel").close()
        result = program.wait()
        same(result.code, 69, "cancel")
        contains(result.err, "whether it has done it is not known")


@case("attach refuses nonsense, and says what tfqd says of rights and of jobs that are not there")
def attach_bad():
    with fake() as (world, tfqd):
        for words in (["attach", "0"], ["attach", "1", "2"], ["attach", "--what", "1"],
                      ["attach", "--detach-keys", "ctrl-", "1"], ["logs", "-n", "x", "1"], ["logs", "-1", "1"],
                      ["logs", "--since", "never", "1"], ["wait", "--timeout", "5", "1"], ["wait", "0"]):
            result = world.tfq(*words)
            same(result.code, 64, f"the exit code of {words}")
            check(result.err.startswith("tfq"), f"{words} says {result.err!r}")
        for command in ("attach", "logs"):
            for error, code in (("NotAllowed", 77), ("NoSuchJob", 64)):
                program = world.spawn(TFQ, command, "7")
                tfqd.accept().error(error, "because of this")
                result = program.wait()
                same((result.code, result.err), (code, "tfq: because of this\n"), f"{command}, {error}")


@case("ctrl-p ctrl-q leaves a job that one is attached to, keys before them are typed, other keys can be set")
def detach_keys():
    with fake() as (world, tfqd):
        for options, typed, passed in ((["attach"], "a\x10b\r\x10\x11", b"a\x10b\r"),
                                       (["attach", "--detach-keys", "ctrl-],q"], "\x10\x11\x1dq", b"\x10\x11")):
            terminal = Terminal(world, world, TFQ, *options, "7")
            link = tfqd.accept("Attach")
            runner = link.runner()
            link.job("running")
            runner.send(BEGIN_TTY + out("started\r\n"))
            terminal.wait_shown("started")
            wait_for(lambda: not terminal.modes()["echo"], "keys at once")  # pylint: disable=cell-var-from-loop
            terminal.type(typed)
            same(terminal.wait(), 0, "the exit code")
            contains(terminal.shown, "tfq: #7 goes on without you; tfq attach 7")
            got = b""
            while (typed_frame := runner.receive()) is not None:
                same(typed_frame[0], INPUT, "the frame's kind")
                got += typed_frame[1]
            same(got, passed, "what was typed")
            runner.close()
            link.close()


@case("Ctrl-C and SIGTERM leave a job that is only watched, or that waits: it is not cancelled")
def attach_leave():
    with fake() as (world, tfqd):
        for status, number, words in (("running", signal.SIGTERM, "#7 goes on"),
                                      ("queued", signal.SIGINT, "#7 stays queued")):
            program = world.spawn(TFQ, "attach", "7")
            link = tfqd.accept("Attach")
            runner = link.runner()
            link.job(status, position=2, of=2)
            runner.send(BEGIN + out("started\n") if status == "running" else b"")
            if status == "running":
                wait_out(program, "started")
            else:
                wait_err(program, "#7 queued")
            program.send(number)
            result = program.wait()
            same(result.code, 128 + number, "the exit code")
            contains(result.err, words)
            tfqd.listener.settimeout(0.05)
            try:
                tfqd.accept()
                raise AssertionError("the job was cancelled")
            except TimeoutError:
                tfqd.listener.settimeout(30)


@case("another user's output keeps its colours on our terminal, and nothing else that moves it")
def foreign():
    evil = "\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x1b]52;c;aGk=\x07\x08\x1b[6nend\r\n"
    with fake() as (world, tfqd):
        for uid, shown in ((SOMEBODY, "\x1b[31mred\x1b[0mend\r\n"), (os.getuid(), evil)):
            terminal = Terminal(world, world, TFQ, "logs", "7")
            tfqd.logs(BEGIN + out(evil), uid=uid)
            same((terminal.wait(), terminal.shown), (0, shown), "logs on a terminal")
            terminal = Terminal(world, world, TFQ, "attach", "7")
            link = tfqd.accept("Attach")
            runner = link.runner()
            runner.send(BEGIN + out(evil) + ended(0))
            runner.close()
            link.job("running", uid=uid)
            link.job("done", more=False, uid=uid, exit_code=0)
            same((terminal.wait(), terminal.shown), (0, shown), "attach on a terminal")
        program = world.spawn(TFQ, "logs", "7")
        tfqd.logs(BEGIN + out(evil), uid=SOMEBODY)
        same(program.wait().code, 0, "the exit code")
        same(program.out_bytes.decode(), evil, "logs in a file")


# --- logs -------------------------------------------------------------------------------

RECORDING = (BEGIN + out("one\ntwo", FIRST) + err("oops\n", FIRST + 1_000_000) +
             out("\nthree\n", FIRST + 2_500_000) + frame(NOTE, 0, b"a note", FIRST + 3_000_000) +
             out("four\nfive", FIRST + 60_000_000) + ended(0))


@case("logs shows the recording: stdout, stderr and notes apart, the last lines, since a time, with times")
def logs():
    with fake() as (world, tfqd):
        for words, shown, errors in (
                ([], "one\ntwo\nthree\nfour\nfive", "oops\ntfq: a note\n"),
                (["-n", "2"], "four\nfive", ""),
                (["-n0"], "", ""),
                (["--lines=4"], "three\nfour\nfive", "tfq: a note\n"),
                (["-n", "100000"], "one\ntwo\nthree\nfour\nfive", "oops\ntfq: a note\n"),
                (["--since", "2026-01-02T03:04:06Z"], "three\nfour\nfive", "oops\ntfq: a note\n"),
                (["--since", "2026-01-02T03:04:06Z", "-n", "3"], "four\nfive", "tfq: a note\n"),
                (["--since", "1s"], "", ""),
                (["--timestamps", "-n", "3"],
                 "2026-01-02T03:05:05.000+00:00 four\n2026-01-02T03:05:05.000+00:00 five",
                 "tfq: 2026-01-02T03:04:08.000+00:00 a note\n"),
        ):
            program = world.spawn(TFQ, "logs", *words, "7")
            tfqd.logs(RECORDING)
            result = program.wait()
            same((result.code, result.out, result.err), (0, shown, errors), f"logs {words}")
        program = world.spawn(TFQ, "logs", "--timestamps", "7", env={"TZ": "XXX-05:30"})
        tfqd.logs(RECORDING)
        result = program.wait()
        same(result.out.splitlines()[1], "2026-01-02T08:34:05.000+05:30 two", "a line that came in two pieces")


@case("logs of a job without output says why; of a damaged or cut recording, what there is and that it is so")
def logs_bad():
    with fake() as (world, tfqd):
        for recording, members, code, shown, errors in (
                (None, {"status": "failed", "message": "the lock cannot be taken"}, 0, "",
                 "#7 has no output: failed: the lock cannot be taken"),
                (None, {"status": "queued"}, 0, "", "#7 has no output: it has not begun"),
                (BEGIN + ended(125, 2, "it never ran"), {}, 0, "", "tfq: it never ran"),
                (BEGIN + out("good\n") + b"garbage" * 10, {}, 125, "good\n", "is damaged: at byte 38"),
                (BEGIN + out("good\n") + b"\2\1\0\0\xff\xff\xff\xff" + bytes(8), {}, 125, "good\n", "is damaged"),
                (BEGIN + out("good\n") + out("half")[:-2], {}, 0, "good\n", "in the middle of a frame"),
                (b"", {}, 0, "", ""),
        ):
            for options in ([], ["-n5"]):
                program = world.spawn(TFQ, "logs", *options, "7")
                tfqd.logs(recording, **members)
                result = program.wait()
                same((result.code, result.out if not options or code == 0 else shown), (code, shown), f"{errors!r}")
                contains(result.err, errors)


@case("logs into a pipe that is closed, or a full disk, ends at once; a long one takes little memory")
def logs_out():
    with fake() as (world, tfqd):
        many = BEGIN + out("x" * 60000 + "\n") * 300
        readable, writable = os.pipe()
        program = world.spawn(TFQ, "logs", "7", stdout=os.fdopen(writable, "wb"))
        program.out_file.close()
        program.out_file = None
        os.close(readable)
        tfqd.logs(many)
        same((program.process.wait(20), program.err), (-signal.SIGPIPE, ""), "the end")
        program.out_file = program.err_file
        with open("/dev/full", "wb") as full:
            program = world.spawn(TFQ, "logs", "7", stdout=full)
            tfqd.logs(many)
            same(program.process.wait(20), 125, "the exit code")
            contains(program.err, "No space left")
            program.out_file = program.err_file
        line = out("0123456789" * 100 + "\n") * 64
        with subprocess.Popen([TFQ, "logs", "-n", "2", "7"], env=world.env, stdout=subprocess.PIPE) as process:
            link = tfqd.accept("Logs")
            with open(os.path.join(world.path, "big"), "wb+") as file:
                file.write(BEGIN)
                for _ in range(4096):
                    file.write(line)
                file.flush()
                link.send({"parameters": {"job": {"id": 7, "status": "done", "ended": 5, "uid": os.getuid()},
                                          "has_output": True}}, [file.fileno()])
            peak = 0
            while process.poll() is None and peak == 0 or len(process.stdout.peek()) == 0 and process.poll() is None:
                with contextlib.suppress(OSError), open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                    peak = max([peak] + [int(text.split()[1]) for text in status if text.startswith("VmHWM")])
            same(process.stdout.read().decode(), ("0123456789" * 100 + "\n") * 2, "the last lines")
            check(0 < peak < 40000, f"it took {peak} KiB")


@case("logs -f goes on with what comes, from where the recording ended, until the job is over")
def follow():
    with fake() as (world, tfqd):
        recorded = BEGIN + out("one\ntwo\n", FIRST)
        program = world.spawn(TFQ, "logs", "-f", "-n1", "7")
        tfqd.logs(recorded, "running")
        link = tfqd.accept("Attach")
        same(link.parameters, {"id": 7, "attach": True, "offset": len(recorded), "input": False, "stdin": False},
             "the question")
        runner = link.runner()
        link.job("running")
        runner.send(out("three\n", FIRST))
        wait_out(program, "two\nthree\n")
        runner.send(ended(1))
        runner.close()
        link.job("failed", more=False, exit_code=1, message="no")
        result = program.wait()
        same((result.code, result.out, result.err), (0, "two\nthree\n", ""), "the end")

        program = world.spawn(TFQ, "logs", "-f", "7")  # nothing yet
        tfqd.logs(None, "queued")
        link = tfqd.accept("Attach")
        same(link.parameters["offset"], 0, "the offset")
        link.job("queued", position=2, of=2)
        wait_err(program, "#7 queued")
        program.send(signal.SIGINT)
        same(program.process.wait(20), -signal.SIGINT, "Ctrl-C")


# --- wait -------------------------------------------------------------------------------

def known(tfqd, count):
    for _ in range(count):
        link = tfqd.accept("Info")
        link.send({"parameters": {"job": {"id": 7, "status": "running"}}})


@case("wait says nothing of jobs that are done, one line of each other, and exits as the last that failed")
def wait():
    with fake() as (world, tfqd):
        program = world.spawn(TFQ, "wait", "7", "8", "#9")
        known(tfqd, 3)
        first = tfqd.accept("Attach")
        same((first.parameters, first.more, first.fds), ({"id": 7}, True, []), "the question")
        first.job("running")
        first.job("failed", more=False, exit_code=3, message="terraform ended with 3")
        tfqd.accept("Attach").job("failed", more=False, id=8, exit_signal=9)
        tfqd.accept("Attach").job("done", more=False, id=9, exit_code=0)
        result = program.wait()
        same((result.code, result.out), (137, ""), "code and output")
        same(result.err, "tfq: #7 failed: exit code 3: terraform ended with 3\ntfq: #8 failed: signal 9\n", "stderr")
        program = world.spawn(TFQ, "wait", "7")
        known(tfqd, 1)
        link = tfqd.accept("Attach")
        link.job("running")
        tfqd.stop()
        tfqd.start()
        link = tfqd.accept("Attach")
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out, result.err), (0, "", ""), "one that is done, over a restart")


@case("wait gives up after its time with 124, and refuses a job that is not there before it waits for others")
def wait_limits():
    with fake() as (world, tfqd):
        program = world.spawn(TFQ, "wait", "--timeout", "300ms", "7")
        known(tfqd, 1)
        tfqd.accept("Attach").job("running")
        result = program.wait()
        same(result.code, 124, "the exit code")
        contains(result.err, "#7 is not over yet")
        program = world.spawn(TFQ, "wait", "7", "99")
        known(tfqd, 1)
        tfqd.accept("Info").error("NoSuchJob", "there is no job 99")
        result = program.wait()
        same((result.code, result.err), (64, "tfq: there is no job 99\n"), "the end")


# --- a tfqd that goes away --------------------------------------------------------------

@case("a restart of tfqd while terraform runs: output goes on, tfqd is asked again, and nothing is lost")
def away_running():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        link.job("running")
        runner.send(BEGIN + out("one\n"))
        wait_out(program, "one")
        tfqd.stop()
        wait_err(program, "tfqd went away; #7 goes on; waiting for tfqd to come back")
        runner.send(out("two\n"))
        wait_out(program, "two")
        tfqd.start()
        link = tfqd.accept("Attach")
        same((link.parameters, link.fds), ({"id": 7}, []), "the question")
        link.job("running")
        wait_err(program, "tfqd is back")
        runner.send(out("three\n") + ended(0))
        runner.close()
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out), (0, "one\ntwo\nthree\n"), "the end")
        same(result.err.count("went away"), 1, "how often it says so")


@case("terraform ends while tfqd is away: its runner says the code")
def away_ends():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        link.job("running")
        runner.send(BEGIN + out("one\n"))
        wait_out(program, "one")
        tfqd.stop()
        wait_err(program, "went away")
        runner.send(ended(5))
        runner.close()
        same(program.wait().code, 5, "the exit code")


@case("a job that waited keeps its place over a restart: asked for anew, with its stdin, from the start")
def away_queued():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd, stdin=b"typed\n")
        same(link.parameters["stdin"], True, "stdin")
        runner.send(BEGIN)  # of a runner that was started ahead
        runner.close()
        tfqd.stop()
        wait_err(program, "tfqd went away; #7 stays queued; waiting for tfqd to come back")
        tfqd.start()
        link = tfqd.accept("Attach")
        same(link.parameters, {"id": 7, "attach": True, "offset": 0, "input": False, "stdin": True}, "the question")
        runner = link.runner()
        same(os.read(link.fds[0], 10), b"typed\n", "what its stdin gives")
        link.job("queued", position=1, of=1)
        runner.send(BEGIN + out("one\n") + ended(0))
        runner.close()
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out), (0, "one\n"), "the end")


@case("a runner that is lost with tfqd: the rest is asked for from where it ended, half a frame again")
def away_resumes():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        link.job("running")
        seen = BEGIN + out("one\n") + frame(NOTE, 0, b"recorded", FIRST)
        runner.send(seen + frame(NOTE, 0, b"to you alone") + out("half")[:-2])
        wait_err(program, "to you alone")
        runner.close()
        tfqd.stop()
        wait_err(program, "went away")
        tfqd.start()
        link = tfqd.accept("Attach")
        same((link.parameters["offset"], link.parameters["stdin"]), (len(seen), False), "offset and stdin")
        runner = link.runner()
        link.job("running")
        runner.send(out("half\n") + ended(0))
        runner.close()
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out), (0, "one\nhalf\n"), "the end")


@case("a job that ended meanwhile: the rest of its output comes from the recording")
def away_over():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        link.job("running")
        runner.send(BEGIN + out("one\n"))
        wait_out(program, "one")
        runner.close()
        tfqd.stop()
        wait_err(program, "went away")
        tfqd.start()
        tfqd.accept("Attach").job("failed", more=False, exit_code=9, message="it failed")
        tfqd.logs(BEGIN + out("one\n") + out("two\n") + ended(9), "failed")
        result = program.wait()
        same((result.code, result.out), (9, "one\ntwo\n"), "the end")
        contains(result.err, "#7 failed: it failed")


@case("a runner that goes away alone is asked for again, once tfqd has not said that the job is over")
def runner_gone():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        link.job("running")
        runner.send(BEGIN + out("one\n"))
        wait_out(program, "one")
        runner.close()
        link = tfqd.accept("Attach")
        same(link.parameters["offset"], len(BEGIN + out("one\n")), "the offset")
        runner = link.runner()
        link.job("running")
        runner.send(ended(0))
        runner.close()
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out, result.err), (0, "one\n", ""), "the end")


@case("tfqd comes back without the job, or with another one of its number: 125, and it says so")
def away_forgotten():
    with fake() as (world, tfqd):
        for answer in (lambda link: link.error("NoSuchJob"), lambda link: link.job("running", submitted=2000)):
            program, link, runner = submit(world, tfqd)
            runner.close()
            tfqd.stop()
            wait_err(program, "went away")
            tfqd.start()
            answer(tfqd.accept("Attach"))
            result = program.wait()
            same(result.code, 125, "the exit code")
            contains(result.err, "does not know #7 any more")


@case("tfqd goes away again before it answers, and once more: it is tried until it does")
def away_again():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        runner.close()
        for i in range(3):
            tfqd.stop()
            wait_err(program, "went away")
            tfqd.start()
            link = tfqd.accept("Attach")
            same(link.parameters["attach"], True, "attach")
            if i == 1:
                link.error("Stopping", "tfqd is stopping")
        link.runner().close()
        link.job("cancelled", more=False, message="by somebody")
        tfqd.logs(None, "failed")
        result = program.wait()
        same((result.code, result.err.count("went away"), result.err.count("is back")), (125, 1, 1), "the end")


@case("a submission without an answer is not repeated: it may have been accepted")
def unanswered():
    with fake() as (world, tfqd):
        for options in ([], ["-d"]):
            program = world.directory("".join(["work", *options]), init="by hand").spawn(*options, "apply")
            tfqd.accept("Submit")
            tfqd.stop()
            tfqd.start()
            result = program.wait()
            same(result.code, 69, "the exit code")
            contains(result.err, "tfqd went away before it said whether it accepted the job; 'tfq queue' shows")


@case("a tfqd that is about to stop is asked again once it is there: one line, one job")
def stopping():
    with fake() as (world, tfqd):
        for options in ([], ["-d"]):
            program = world.directory("".join(["work", *options]), init="by hand").spawn(*options, "apply")
            for _ in range(2):
                tfqd.accept("Submit").error("Stopping", "tfqd is stopping")
            tfqd.stop()
            tfqd.start()
            link = tfqd.accept("Submit")
            if not options:
                link.runner().close()
            link.job("done", more=False, exit_code=0)
            result = program.wait()
            same((result.code, result.out), (0, "7\n" if options else ""), "the end")
            same(result.err.count("tfqd is stopping"), 1, "how often it says so")


@case("Ctrl-C while tfqd is away leaves at once and says what becomes of the job; so does the end of the wait")
def away_leave():
    with fake() as (world, tfqd):
        for number in (signal.SIGINT, signal.SIGTERM):
            program, _, runner = submit(world, tfqd)
            tfqd.stop()
            wait_err(program, "went away")
            program.send(number)
            result = program.wait()
            same(result.code, 128 + number, "the exit code")
            contains(result.err, "#7 stays queued; tfq attach 7")
            runner.close()
            tfqd.start()
        program, _, runner = submit(world, tfqd, "--wait-timeout", "700ms")
        tfqd.stop()
        result = program.wait()
        same(result.code, 124, "the exit code")
        contains(result.err, "#7 stays queued, and 'tfq cancel 7' removes it")


@case("what makes no sense from a runner ends the view; a job that ended is still told of")
def garbage():
    with fake() as (world, tfqd):
        program, link, runner = submit(world, tfqd)
        link.job("running")
        runner.send(BEGIN + out("one\n") + b"\xff" * 32)
        wait_err(program, "makes no sense")
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out), (0, "one\n"), "the end")


@case("a reader that goes away ends tfq, and not the job")
def reader_gone():
    with fake() as (world, tfqd):
        readable, writable = os.pipe()
        program, link, runner = submit(world, tfqd, stdout=os.fdopen(writable, "wb"))
        program.out_file.close()
        program.out_file = program.err_file
        link.job("running")
        runner.send(BEGIN + out("one\n"))
        same(os.read(readable, 10), b"one\n", "the output")
        os.close(readable)
        runner.send(out("two\n"))
        same(program.process.wait(20), 128 + signal.SIGPIPE, "the exit code")
        same(link.socket.recv(1), b"", "what tfqd was told")

# --- with the real tfqd and runner ------------------------------------------------------

ASKS = """\
test -t 0 && test -t 1 && test -t 2 && echo "a terminal of $(stty size)"
trap 'echo "resized to $(stty size)"' WINCH
printf 'Enter a value: '
read answer
echo "answered <$answer>"
while [ ! -e end ]; do sleep 0.05; done
exit ${CODE:-0}
"""


@case("terraform has a terminal of the size of ours, which it is told of; what is typed is shown once")
def real_terminal():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        terminal = Terminal(world, work, "apply", env=dict(world.fake_terraform(ASKS), CODE="3"))
        terminal.wait_shown("a terminal of 24 60\r\nEnter a value: ")
        wait_for(lambda: not terminal.modes()["lines"], "keys at once")
        terminal.type("maybe\x7f\x7fx\r")
        terminal.wait_shown("answered <mayx>\r\n")
        contains(terminal.shown, "Enter a value: maybe\b \b\b \bx\r\nanswered")
        terminal.resize(30, 70)
        terminal.wait_shown("resized to 30 70\r\n")
        work.write("end", "")
        same(terminal.wait(), 3, "the exit code")
        lacks(terminal.shown, "\r\r\n")
        logs = world.tfq("logs", "1")
        same(logs.code, 0, "the exit code of logs")
        same(world.tfq("attach", "1").code, 3, "the exit code of attach, afterwards")
        contains(logs.out, "a terminal of 24 60", "answered <mayx>")
        world.wait_unlocked()


@case("a job is watched from two terminals: the last one types, and its size counts, until it leaves")
def real_attach():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        first = Terminal(world, work, "apply", env=world.fake_terraform(ASKS))
        first.wait_shown("Enter a value: ")
        second = Terminal(world, work, "attach", "1")
        second.wait_shown("Enter a value: ")
        wait_for(lambda: not second.modes()["lines"], "keys at once")
        second.type("from the second\r")
        second.wait_shown("answered <from the second>\r\n")
        first.wait_shown("answered <from the second>\r\n")
        second.resize(50, 100)
        first.wait_shown("resized to 50 100\r\n")
        second.type("\x10\x11")
        same(second.wait(), 0, "the exit code after the keys")
        first.wait_shown("who typed has left")
        first.wait_shown("resized to 24 60\r\n")
        contains(second.shown, "tfq: #1 goes on without you; tfq attach 1")
        waits = work.spawn("wait", "1")
        follows = work.spawn("logs", "-f", "1")
        work.write("end", "")
        same((first.wait(), waits.wait().code, follows.wait().code), (0, 0, 0), "the exit codes")
        contains(follows.out, "answered <from the second>")
        world.wait_unlocked()


PRINTS = "i=0\nwhile [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; [ ! -e slow ] || sleep 0.02; done\nexit 5\n"


@case("tfqd is killed and started again while terraform prints: no line is lost or doubled, the code comes through")
def real_restart():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        work.write("slow", "")
        env = world.fake_terraform(PRINTS)
        program = work.spawn("apply", env=env)
        wait_out(program, "line 1\n")
        waiting = work.spawn("apply", env=env)
        watches = work.spawn("attach", "--no-stdin", "1")
        for one in (program, watches):
            wait_out(one, "line 20\n")
        wait_for(lambda: len(world.jobs()) == 2, "the second job")
        for _ in range(2):
            count = program.err.count("tfqd is back")
            world.daemon.process.kill()
            world.daemon.process.wait()
            for one in (program, waiting, watches):
                wait_err(one, "tfqd went away")
            world.start_daemon()
            wait_for(lambda: program.err.count("tfqd is back") > count, "tfqd is back")  # pylint: disable=W0640
        os.unlink(os.path.join(work.path, "slow"))
        want = "".join(f"line {i}\n" for i in range(1, 2001))
        for one in (program, watches, waiting):
            result = one.wait()
            same((result.code, result.out == want), (5, True), f"the end ({result.err}; {len(result.out)} bytes)")
        same(world.tfq("logs", "-n", "3", "1").out, "line 1998\nline 1999\nline 2000\n", "the last lines")
        world.wait_unlocked()


main()
