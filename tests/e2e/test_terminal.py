#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq on a terminal: the waiting line, approvals that are typed, and what Ctrl-C does."""
import fcntl
import os
import pty
import re
import select
import socket
import struct
import sys
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import World, case, check, contains, lacks, main, same, wait_for  # noqa: E402

WAITS = "echo started; trap 'echo interrupt; touch end' INT\nwhile [ ! -e end ]; do sleep 0.05; done\nexit ${CODE:-0}\n"


class Terminal:
    """A program on a terminal of its own; what it prints is collected all the while."""

    def __init__(self, world, work, *argv, env=None):
        self.master, slave = pty.openpty()
        self.name = os.ttyname(slave)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        self.text = b""

        def own_it():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            os.dup2(slave, 2)
        self.out = os.fdopen(os.dup(slave), "wb")
        self.program = work.spawn(*argv, env=env, stdin=slave, stdout=self.out, preexec=own_it)
        os.close(slave)
        self.out.close()
        world.terminals = getattr(world, "terminals", []) + [self]
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            try:
                ready = select.select([self.master], [], [], 0.2)[0]
                data = os.read(self.master, 65536) if ready else None
            except OSError:  # the other end is closed
                return
            if data == b"" or (data is None and self.program.process.returncode is not None):
                return
            self.text += data or b""

    @property
    def shown(self):
        return self.text.decode(errors="replace")

    def wait_shown(self, text):
        wait_for(lambda: text in self.shown, f"{text!r} on the terminal; it shows {self.shown[-300:]!r}")

    def type(self, text):
        os.write(self.master, text.encode())

    def type_and_wait(self, text):
        """Until it was echoed and read: Ctrl-C would throw it away."""
        before = len(self.text)
        self.type(text)

        def is_read():
            if len(self.text) == before:
                return False
            line = os.open(self.name, os.O_RDWR | os.O_NOCTTY)
            try:
                return struct.unpack("i", fcntl.ioctl(line, termios.FIONREAD, b"    "))[0] == 0
            finally:
                os.close(line)
        wait_for(is_read, "what was typed is read")

    def wait(self):
        code = self.program.process.wait(30)
        self.reader.join(5)
        os.close(self.master)
        return code


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


def frame(kind, stream, body):
    return struct.pack("<BBHIQ", kind, stream, 0, len(body), 0) + body


@case("Ctrl-C asks as soon as terraform has printed something, also if tfqd has not said yet that it runs")
def asks_early():
    with World(terraform=False, daemon=False) as world, socket.socket(socket.AF_UNIX) as listener:
        work = world.directory(init="by hand")
        os.makedirs(os.path.dirname(world.socket))
        listener.bind(world.socket)
        listener.listen()
        listener.settimeout(30)
        terminal = Terminal(world, work, "apply")
        with listener.accept()[0] as tfqd:
            message, fds = b"", []
            while not message.endswith(b"\0"):
                data, more, _, _ = socket.recv_fds(tfqd, 65536, 4)
                message, fds = message + data, fds + more
            tfqd.sendall(b'{"continues":true,"parameters":{"job":{"id":1,"status":"locking"}}}\0')
            with socket.socket(fileno=fds[0]) as attach:
                attach.sendall(frame(1, 0, b"1") + frame(2, 1, b"started\r\n"))
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


main()
