#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq on a terminal: the waiting line, approvals that are typed, and what Ctrl-C does."""
import contextlib
import functools
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import TFQ, World, case, check, children_of, contains, lacks, main, same, wait_for  # noqa: E402
from terminal import (BEGIN, BEGIN_TTY, COOKED, INPUT, KEYS, RESIZE, FakeTfqd, Terminal, ended, frame,  # noqa: E402
                      out)

WAITS = "echo started; trap 'echo interrupt; touch end' INT\nwhile [ ! -e end ]; do sleep 0.05; done\nexit ${CODE:-0}\n"


@case("an approval that is typed on the terminal reaches terraform")
def approval():
    with World() as world:
        work = world.directory()
        terminal = Terminal(world, work, "apply", "-no-color")
        terminal.wait_shown("Enter a value:")
        terminal.type("yes\n")
        same(terminal.wait(), 0, "the exit code")
        contains(terminal.shown, "Apply complete!")
        terminal = Terminal(world, work, "apply", "-no-color")
        terminal.wait_shown("Enter a value:")
        terminal.type("no\n")
        same(terminal.wait(), 1, "the exit code")
        contains(terminal.shown, "Apply cancelled")
        world.wait_unlocked()


@case("the waiting line is redrawn in place, cut to the width, and gone when terraform runs")
def waiting_line():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        first = work.spawn("-m", "a long reason that does not fit into sixty columns at all", "apply", env=env)
        wait_for(lambda: "started" in first.out, "the start")
        terminal = Terminal(world, work, "apply", env=env)
        terminal.wait_shown("#2 queued on s3://tfbucket")
        lacks(terminal.shown, "\n")
        check(all(len(line) < 60 for line in re.split(r"\r\x1b\[K", terminal.shown)), f"too wide: {terminal.shown!r}")
        work.write("end", "")
        same(terminal.wait(), 0, "the exit code")
        contains(terminal.shown, "started")
        check("\r\x1b[Kstarted" in terminal.shown, f"the line is not wiped: {terminal.shown!r}")
        first.wait()


@case("Ctrl-C while waiting leaves the queue")
def leave_queue():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        first = work.spawn("apply", env=env)
        wait_for(lambda: "started" in first.out, "the start")
        terminal = Terminal(world, work, "apply", env=env)
        terminal.wait_shown("#2 queued on")
        terminal.type("\x03")
        same(terminal.wait(), 130, "the exit code")
        contains(terminal.shown, "#2 leaves the queue")
        same(world.job(2)["status"], "cancelled", "the status")
        same(world.job(1)["status"], "running", "the first one's status")
        work.write("end", "")
        first.wait()


@case("Ctrl-C while terraform runs asks; Enter goes on, d leaves it running, i interrupts it")
def menu():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        terminal = Terminal(world, work, "apply", env=env)
        terminal.wait_shown("started")
        terminal.type("\x03")
        terminal.wait_shown("[d] leave it running, [i] interrupt it")
        terminal.type_and_wait("\n")
        terminal.type("\x03")
        wait_for(lambda: terminal.shown.count("[d] leave it running") == 2, "the second question")
        terminal.type("d\n")
        same(terminal.wait(), 0, "the exit code after d")
        contains(terminal.shown, "goes on without you")
        lacks(terminal.shown, "interrupt\r")
        same(world.job(1)["status"], "running", "the status")
        work.write("end", "")
        wait_for(lambda: world.job(1)["status"] == "done", "the end")
        os.unlink(os.path.join(work.path, "end"))

        terminal = Terminal(world, work, "apply", env=dict(env, CODE="1"))
        terminal.wait_shown("started")
        terminal.type("\x03")
        terminal.wait_shown("[i] interrupt it")
        terminal.type("i\n")
        same(terminal.wait(), 1, "the exit code after i")
        same(terminal.shown.count("interrupt\r"), 1, "the number of SIGINTs")
        same(world.job(2)["status"], "cancelled", "the status")
        world.wait_unlocked()


@case("Ctrl-C asks as soon as terraform has printed something, also if tfqd has not said yet that it runs")
def asks_early():
    with World(terraform=False, daemon=False) as world, FakeTfqd(world) as tfqd:
        terminal = Terminal(world, world.directory(init="by hand"), "apply")
        link = tfqd.accept("Submit")
        link.job("locking")
        link.runner().send(BEGIN + out("started\r\n"))
        terminal.wait_shown("started")
        terminal.type("\x03")
        terminal.wait_shown("[d] leave it running, [i] interrupt it")
        terminal.type("d\n")
        same(terminal.wait(), 0, "the exit code")


@case("Ctrl-C twice while terraform runs sends one SIGINT, not two")
def twice():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = dict(world.fake_terraform("echo started; trap 'echo interrupt' INT\n"
                                        "while [ ! -e end ]; do sleep 0.05; done\nexit 1\n"))
        terminal = Terminal(world, work, "apply", env=env)
        terminal.wait_shown("started")
        terminal.type("\x03")
        terminal.wait_shown("[i] interrupt it")
        terminal.type("\x03")
        terminal.wait_shown("interrupt\r")
        terminal.type("\x03")
        terminal.wait_shown("--force")
        same(terminal.shown.count("interrupt\r"), 1, "the number of SIGINTs")
        work.write("end", "")
        same(terminal.wait(), 1, "the exit code")
        world.wait_unlocked()


@case("a terminal that hangs up detaches")
def hang_up():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        terminal = Terminal(world, work, "apply", env=world.fake_terraform(WAITS))
        terminal.wait_shown("started")
        os.close(terminal.master)
        check(terminal.program.process.wait(10) != 0, "the client ends with 0")
        same(world.job(1)["status"], "running", "the status")
        work.write("end", "")
        wait_for(lambda: world.job(1)["status"] == "done", "the end of the job")
        world.wait_unlocked()


# --- terraform with a terminal of its own -----------------------------------------------


@contextlib.contextmanager
def watched(*options, status="running", shell=None):
    """tfq on a terminal, and its job, which has one, too: the terminal, the link, the runner's end. @shell: what runs
    tfq, which is its $0."""
    with World(terraform=False, daemon=False) as world, FakeTfqd(world) as tfqd:
        work = world.directory(init="by hand")
        if shell:
            terminal = Terminal(world, types.SimpleNamespace(spawn=functools.partial(world.spawn, cwd=work.path)),
                                "sh", "-mc", shell, TFQ)
        else:
            terminal = Terminal(world, work, *options, "apply")
        link = tfqd.accept("Submit")
        same([link.parameters.get(name) for name in ("tty", "rows", "columns", "stdin")], [True, 24, 60, False],
             "what was submitted")
        link.tfqd = tfqd
        runner = None if "-d" in options else link.runner()
        link.job(status, more="-d" not in options, position=2, of=2)
        yield terminal, link, runner


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


def runner_got(runner):
    frames = []
    while (one := runner.receive()) is not None:
        frames.append(one)
    return frames


def started(terminal, runner):
    runner.send(BEGIN_TTY + out("started\r\n"))
    terminal.wait_shown("started\r\n")
    wait_for(lambda: terminal.modes() == KEYS, "keys at once")


def end(terminal, link, runner, code=0):
    runner.send(ended(code))
    runner.close()
    link.job("done", more=False, exit_code=code)
    same(terminal.wait(), code, "the exit code")


@case("a terminal is told of when one submits, also with -d; without one, or with one half, it is not")
def submits_tty():
    with watched("-d") as (terminal, _, _):
        same(terminal.wait(), 0, "the exit code")
        same(terminal.shown, "7\r\n", "what is shown")
    with World(terraform=False, daemon=False) as world, FakeTfqd(world) as tfqd:
        work = world.directory(init="by hand")
        program = work.spawn("-d", "apply")
        check("tty" not in tfqd.accept("Submit").parameters, "it says that there is a terminal")
        program.end()


@case("keys go to terraform as they are typed, and the terminal is as it was once terraform is over")
def keys():
    with watched() as (terminal, link, runner):
        started(terminal, runner)
        for typed in ("y", "\r", "\x04", "\x10\x11", "\x16\x13\x12", "\x1b[A", "ä"):
            terminal.type(typed)
            got = b""
            while len(got) < len(typed.encode()):
                kind, body = runner.receive()
                same(kind, INPUT, "the frame")
                got += body
            same(got, typed.encode(), "what was typed")
        line = os.open(terminal.name, os.O_RDWR | os.O_NOCTTY)
        runner.send(ended(0))
        wait_for(lambda: terminal.modes() == COOKED, "the modes as before")
        os.close(line)
        end(terminal, link, runner)


@case("what terraform's own terminal prints is shown as it is: lines neither doubled nor staired")
def lines():
    with watched() as (terminal, link, runner):
        started(terminal, runner)
        master, slave = pty.openpty()  # as a runner has it
        with subprocess.Popen(["printf", "one\\ntwo\\rTWO\\n\\nEnter a value: "], stdout=slave) as process:
            process.wait()
        os.close(slave)
        text = os.read(master, 1000)
        same(text, b"one\r\ntwo\rTWO\r\n\r\nEnter a value: ", "what a terminal makes of it")
        os.close(master)
        runner.send(frame(2, 1, text))
        terminal.wait_shown("Enter a value: ")
        same(terminal.shown, "started\r\none\r\ntwo\rTWO\r\n\r\nEnter a value: ", "what is shown")
        end(terminal, link, runner)


@case("the window's size is told at once, and again when it changes, not more often than terraform can draw")
def resize():
    with watched() as (terminal, link, runner):
        same(runner.receive(skip=()), (RESIZE, struct.pack("<HH", 24, 60)), "the size at first")
        started(terminal, runner)
        told = []
        begin = time.monotonic()
        columns = 60
        while time.monotonic() < begin + 0.5:
            columns += 1
            terminal.resize(30, columns % 1000)
        while not told or told[-1] != (RESIZE, struct.pack("<HH", 30, columns % 1000)):
            told.append(runner.receive(skip=()))
        check(len(told) <= 2 + (time.monotonic() - begin) / 0.05, f"it was told {len(told)} times")
        end(terminal, link, runner)


@case("Ctrl-Z stops tfq alone, with the terminal as it was; fg goes on with keys")
def stop():
    script = '"$0" apply; echo "stopped $?"; read line; fg; echo "over $?"; read line'
    with watched(shell=script) as (terminal, link, runner):
        started(terminal, runner)
        terminal.type("\x1a")
        terminal.wait_shown("stopped 148\r\n")
        same(terminal.modes(), COOKED, "the modes meanwhile")
        runner.send(out("meanwhile\r\n"))
        terminal.type("\n")
        terminal.wait_shown("meanwhile\r\n")
        wait_for(lambda: terminal.modes() == KEYS, "keys again")
        terminal.type("x")
        same(runner.receive(), (INPUT, b"x"), "what is typed afterwards")
        pid = children_of(terminal.program.pid)[0]  # it is stopped behind its back, and the modes change
        os.kill(pid, signal.SIGSTOP)
        terminal.wait_shown("over 147\r\n")
        terminal.cook()
        os.kill(pid, signal.SIGCONT)  # in the background: the terminal is not ours
        runner.send(ended(0))
        runner.socket.shutdown(socket.SHUT_WR)
        link.job("done", more=False, exit_code=0)
        same(runner_got(runner), [], "what terraform is told")
        same(link.socket.recv(1), b"", "what tfqd is told")
        same(terminal.modes(), COOKED, "the modes at the end")
        terminal.type("\n")
        terminal.wait()


@case("a terminal that was changed while tfq was stopped behind its back gives keys again")
def stop_unseen():
    with watched() as (terminal, link, runner):
        started(terminal, runner)
        terminal.program.send(signal.SIGSTOP)
        wait_for(lambda: is_stopped(terminal.program.pid), "tfq is stopped")
        terminal.cook()
        terminal.program.send(signal.SIGCONT)
        wait_for(lambda: terminal.modes() == KEYS, "keys again")
        end(terminal, link, runner)


@case("in the background tfq leaves the terminal alone, and is not stopped by it")
def background():
    script = '"$0" apply & echo "begun"; read line; wait $!; echo "over $?"'
    with watched(shell=script) as (terminal, link, runner):
        runner.send(BEGIN_TTY + out("started\r\n"))
        terminal.wait_shown("started\r\n")
        same(terminal.modes(), COOKED, "the modes")
        terminal.type("for the shell\n")
        runner.send(out("on\r\n") + ended(3))
        runner.socket.shutdown(socket.SHUT_WR)
        link.job("failed", more=False, exit_code=3)
        terminal.wait_shown("over 3\r\n")
        same(runner_got(runner), [], "what terraform was told")
        terminal.wait()


@case("the terminal is as it was after every way out: detaching, signals, tfqd gone, a crash of the runner")
def ways_out():
    for name, code in (("menu", 0), ("SIGTERM", 0), ("SIGHUP", 129), ("SIGQUIT", -signal.SIGQUIT), ("away", 143)):
        with watched() as (terminal, link, runner):
            started(terminal, runner)
            line = os.open(terminal.name, os.O_RDWR | os.O_NOCTTY)  # else it would be reset with its last user
            if name == "menu":
                terminal.type("\x03")
                terminal.wait_shown("[d] leave it running")
                terminal.type("d")
            elif name == "SIGTERM":
                terminal.program.send(signal.SIGTERM)
                cancel = link.tfqd.accept("Cancel")
                cancel.send({"parameters": {"job": {"id": 7, "status": "stopping"}}})
                runner.send(ended(0))
                runner.close()
                link.job("done", more=False, exit_code=0)
            elif name == "away":
                link.tfqd.stop()
                terminal.wait_shown("tfqd went away; #7 goes on")
                terminal.program.send(signal.SIGTERM)
            else:
                terminal.program.send(getattr(signal, name))
            same(terminal.program.process.wait(20), code, f"the exit code of {name}")
            same(terminal.modes(), COOKED, f"the modes after {name}")
            os.close(line)


@case("the menu works with keys: d, i and Enter at once, without the key to end a line")
def menu_keys():
    with watched() as (terminal, link, runner):
        started(terminal, runner)
        terminal.type("\x03")
        terminal.wait_shown("[d] leave it running")
        terminal.type("\r")
        wait_for(lambda: terminal.shown.endswith("watching:  \r\n"), "the answer")
        terminal.type("x")
        same(runner.receive(), (INPUT, b"x"), "what is typed afterwards")
        terminal.type("\x03")
        wait_for(lambda: terminal.shown.count("[d] leave it running") == 2, "the second question")
        terminal.type("i")
        cancel = link.tfqd.accept("Cancel")
        same(cancel.parameters, {"id": 7, "waiting": False}, "the question")
        cancel.send({"parameters": {"job": {"id": 7, "status": "stopping"}}})
        terminal.wait_shown("watching: i\r\ntfq: asking terraform to stop")
        end(terminal, link, runner, 1)


@case("a terminal that hangs up while keys go to terraform detaches: nothing is typed, nothing cancelled")
def hang_up_keys():
    with watched() as (terminal, link, runner):
        started(terminal, runner)
        os.close(terminal.master)
        check(terminal.program.process.wait(10) in (129, 125, -signal.SIGHUP), "the exit code")
        same(runner.receive(), None, "what terraform was told")
        link.tfqd.listener.settimeout(0.05)
        try:
            link.tfqd.accept()
            raise AssertionError("the job was cancelled")
        except TimeoutError:
            pass


main()
