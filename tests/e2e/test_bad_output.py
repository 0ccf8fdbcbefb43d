#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Output, viewers and runners as bad as they get: terraform is never held up, nothing grows, nobody is fooled.

TFQ_FULL=1: a whole GiB of output in place of 128 MiB.
"""
import fcntl
import hashlib
import os
import pty
import random
import selectors
import signal
import socket
import struct
import sys
import termios
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (TFQ, Varlink, VarlinkError, World, case, check, contains, is_alive, main, same,  # noqa: E402
                     wait_for)
from rows import kill_daemon  # noqa: E402

MIB = 1 << 20
MEMORY = 16 * MIB  # tfqd's, and a runner's, at their highest
FULL = bool(os.environ.get("TFQ_FULL"))
MUCH, MUCH_SECONDS = (1 << 30, 60) if FULL else (128 * MIB, 20)
VIEWERS = 500
HEADER = struct.Struct("<BBHIQ")
OUTPUT, EXIT, RESIZE = 2, 3, 5

WAITS = "echo started\nwhile [ ! -e end ]; do sleep 0.05; done\necho ended\n"
# Prints what is in the file, once it is told to.
PRINTS = "echo started\nwhile [ ! -e go ]; do sleep 0.02; done\ncat data\n"


def frames(data):
    """[(type, stream, body)] of a recording or of what a viewer was sent."""
    found, at = [], 0
    while at + HEADER.size <= len(data):
        kind, stream, _, length, _ = HEADER.unpack_from(data, at)
        found.append((kind, stream, data[at + HEADER.size:at + HEADER.size + length]))
        at += HEADER.size + length
    return found


def stdout_of(data):
    return b"".join(body for kind, stream, body in frames(data) if (kind, stream) == (OUTPUT, 1))


def recording(world, number):
    with open(os.path.join(world.path, "state", "jobs", str(number), "output"), "rb") as file:
        return file.read()


def runners(world):
    return [pid for pid, command in world.leftovers() if "tfq-runner --job" in command]


class Memory:
    """How much tfqd and its runners need at most, inside the with; looks while they live."""

    def __init__(self, world):
        self.world, self.peaks, self.over = world, {}, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        if kind is None:
            self.check()

    def look(self):
        tfqd = self.world.daemon.pid
        while not self.over.wait(0.1):
            for pid in [tfqd, *runners(self.world)]:
                try:
                    with open(f"/proc/{pid}/status", encoding="ascii") as file:
                        peak = max(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
                    self.peaks["tfqd" if pid == tfqd else f"runner {pid}"] = peak
                except (OSError, ValueError):
                    pass  # it has just ended

    def check(self):
        check(len(self.peaks) > 1, "no runner was seen")
        with open(f"/proc/{self.world.daemon.pid}/maps", encoding="utf-8") as file:
            is_watched = "/libasan." in file.read()  # and needs more
        for name, peak in self.peaks.items():
            check(peak < MEMORY or is_watched, f"{name} needed {peak >> 10} KiB")


class Viewer:
    """Attaches to a job, and reads when it is told to."""

    def __init__(self, world, number, **parameters):
        self.socket, theirs = socket.socketpair()
        self.link = Varlink(world.socket)
        self.link.send("io.tfqd.Attach", {"id": number, "attach": True, "offset": 0, **parameters},
                       [theirs.fileno()], more=True)
        theirs.close()
        self.job = self.link.answer()["job"]
        self.data = b""

    def read_all(self, seconds=60):
        self.socket.settimeout(seconds)
        while data := self.socket.recv(1 << 16):
            self.data += data
        return self.data

    def close(self):
        self.socket.close()
        self.link.close()


def start(world, script, *options, name="work", **how):
    """A detached job of a shell script, which has printed its first word."""
    work = world.directory(name, key=f"{name}/terraform.tfstate", init="by hand")
    result = work.tfq("-d", *options, "apply", env=world.fake_terraform(script), **how)
    same(result.code, 0, f"tfq -d ({result.err})")
    number = int(result.out)
    wait_for(lambda: world.job(number)["status"] == "running", "the start")
    return work, number


def wait_over(world, number, seconds=60):
    return wait_for(lambda: world.job(number)["ended"] and world.job(number), f"the end of #{number}", seconds)


@case("a client that attaches and never reads holds up nobody, neither its job nor the next one")
def never_reads():
    with World(terraform=False) as world, Memory(world):
        work, number = start(world, PRINTS)
        data = random.Random(1).randbytes(32 * MIB)
        with open(os.path.join(work.path, "data"), "wb") as file:
            file.write(data)
        viewer = Viewer(world, number)
        work.write("go", "")
        same(wait_over(world, number)["status"], "done", "the status")
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), f"the next job ({result.err})")
        world.wait_unlocked(work.key)
        same(stdout_of(recording(world, number)) == b"started\n" + data, True, "that the recording is whole")
        # It may still read what it has missed, or be told that it comes too late; but never half a truth as a whole.
        seen = viewer.read_all()
        check(stdout_of(seen) == b"started\n" + data or frames(seen)[-1][0] != EXIT, "it was shown half as a whole")
        viewer.close()
        wait_for(lambda: not runners(world), "the end of the runner")


def read_side_by_side(viewers, seconds):
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for viewer in viewers:
            viewer.digest, viewer.count = hashlib.sha256(), 0
            selector.register(viewer.socket, selectors.EVENT_READ, viewer)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(1):
                data = key.fileobj.recv(1 << 18)
                key.data.digest.update(data)
                key.data.count += len(data)
                if not data:
                    selector.unregister(key.fileobj)
        same(len(selector.get_map()), 0, "the number of viewers that wait for more")


@case(f"{VIEWERS} viewers of one job, of which half never read: each reader sees all of it, and nothing grows")
def many_viewers():
    with World(terraform=False) as world, Memory(world):
        work, number = start(world, PRINTS)
        with open(os.path.join(work.path, "data"), "wb") as file:
            file.write(random.Random(2).randbytes(MIB))
        viewers = [Viewer(world, number) for _ in range(VIEWERS)]
        work.write("go", "")
        same(wait_over(world, number)["status"], "done", "the status, while nobody reads")
        for viewer in viewers[::2]:
            viewer.close()
        read_side_by_side(viewers[1::2], 60)
        whole = recording(world, number)
        for viewer in viewers[1::2]:
            same((viewer.count, viewer.digest.digest()), (len(whole), hashlib.sha256(whole).digest()), "what was seen")
            viewer.close()
        same(world.call("Info")["daemon"]["running"], 0, "the jobs that run")
        wait_for(lambda: not runners(world), "the end of the runner")


class Pipe:
    """Hashes what is written into it: much is not to be kept."""

    def __init__(self):
        self.hash, self.count = hashlib.sha256(), 0
        self.fd, write = os.pipe()
        self.writer = os.fdopen(write, "wb")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while data := os.read(self.fd, 1 << 18):
            self.hash.update(data)
            self.count += len(data)
        os.close(self.fd)

    def result(self):
        self.reader.join(10)
        return self.count, self.hash.hexdigest()


def pass_through(work, *argv, env=None):
    """(bytes, hash) of what tfq prints, and how long it takes."""
    begun, pipe = time.monotonic(), Pipe()
    program = work.spawn(*argv, env=env, stdout=pipe.writer)
    pipe.writer.close()
    same(program.process.wait(2 * MUCH_SECONDS), 0, f"the exit code of tfq {argv[0]} ({program.err})")
    return pipe.result(), time.monotonic() - begun


@case(f"{MUCH // MIB} MiB of output: no byte is lost, in the client, in the recording, in tfq logs")
def much():
    line = "0123456789abcdef" * 63 + "0123456789abcde"
    wanted = hashlib.sha256()
    for _ in range(MUCH // MIB):
        wanted.update(f"{line}\n".encode() * 1024)
    with World(terraform=False) as world, Memory(world):
        work = world.directory(init="by hand")
        result, seconds = pass_through(work, "apply",
                                       env=world.fake_terraform(f"yes {line} | head -c {MUCH}\nsleep 0.3\n"))
        same(result, (MUCH, wanted.hexdigest()), "what the client printed")
        check(seconds < MUCH_SECONDS, f"it took {seconds:.0f} s")
        same(pass_through(work, "logs", "1")[0], (MUCH, wanted.hexdigest()), "what tfq logs printed")


def check_passes(data):
    """It comes out of tfq, and of tfq logs, as terraform has written it."""
    with World(terraform=False) as world, Memory(world):
        work = world.directory(init="by hand")
        with open(os.path.join(work.path, "data"), "wb") as file:
            file.write(data)
        program = work.spawn("apply", env=world.fake_terraform("cat data\nsleep 0.3\ncat data >&2\n"))
        same(program.wait().code, 0, "the exit code")
        check(program.out_bytes == data, f"stdout has {len(program.out_bytes)} bytes, not the same {len(data)}")
        check(program.text_of(program.err_file) == data, "stderr is not what was written")
        program = work.spawn("logs", "1")
        same(program.wait().code, 0, f"the exit code of tfq logs ({program.err[:300]})")
        check(program.out_bytes == data, f"tfq logs has {len(program.out_bytes)} bytes, not the same {len(data)}")


@case("a line of 10 MiB passes")
def long_line():
    check_passes(b"x" * (10 * MIB) + b"\n")


@case("binary output passes: every byte, NULs, what is no UTF-8")
def binary():
    check_passes(bytes(range(256)) * 64 + random.Random(3).randbytes(MIB) + b"\0" * 4096)


SIZES = "echo started\ntrap 'stty size' WINCH\nwhile [ ! -e end ]; do sleep 0.05; done\necho \"last $(stty size)\"\n"


class Terminal:
    """tfq on a terminal that it controls, so that the kernel tells it of each new size."""

    def __init__(self, world, work, *argv, env):
        self.text = b""
        env = {**world.env, **env}
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(work.path)
                os.execve(TFQ, [TFQ, *argv], env)
            finally:
                os._exit(127)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            while data := os.read(self.master, 65536):
                self.text += data
        except OSError:
            pass

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        self.reader.join(5)
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)


@case("a terminal that is resized 1 000 times a second: the last size holds, and terraform goes on")
def resized():
    with World(terraform=False) as world, Memory(world):
        work = world.directory(init="by hand")
        terminal = Terminal(world, work, "apply", env=world.fake_terraform(SIZES))
        wait_for(lambda: b"started" in terminal.text, f"the start: {terminal.text!r}")
        begun = time.monotonic()
        for count in range(3000):
            terminal.resize(20 + count % 50, 60 + count % 100)
            time.sleep(max(0, begun + count / 1000 - time.monotonic()))
        terminal.resize(33, 99)
        wait_for(lambda: terminal.text.rstrip().endswith(b"33 99"), "the last size")
        work.write("end", "")
        same(terminal.wait(), 0, "the exit code")
        check(b"last 33 99" in terminal.text, f"the last size is {terminal.text[-40:]!r}")


@case("a viewer that sends sizes and keys as fast as it can holds up nobody")
def flooded():
    with World(terraform=False) as world, Memory(world):
        work, number = start(world, WAITS)
        viewer = Viewer(world, number, input=True)
        flood = b"".join(HEADER.pack(RESIZE, 0, 0, 4, 0) + struct.pack("<HH", 1 + i % 500, 1 + i % 300) +
                         HEADER.pack(16, 0, 0, 1, 0) + b"x" for i in range(1000))
        viewer.socket.settimeout(0.2)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                viewer.socket.sendall(flood)
            except TimeoutError:
                pass  # it need not take them all
        work.write("end", "")
        same(wait_over(world, number)["status"], "done", "the status")
        viewer.close()


# --- runners that are none --------------------------------------------------------------

def hello(world, number, phase, **parameters):
    """What tfqd answers to a runner of our own."""
    with Varlink(world.socket) as varlink:
        varlink.send("io.tfqd.Hello", {"protocol": 1, "job": number, "phase": phase, **parameters}, more=True)
        try:
            return varlink.answer()
        except VarlinkError as error:
            return error.name
        except EOFError:
            return "closed"


@case("who is not a job's runner is refused, and the log says so: of a running job, of a queued one, after a restart")
def impostor():
    with World(terraform=False) as world:
        work, running = start(world, WAITS)
        queued = int(work.tfq("-d", "apply", env=world.fake_terraform(WAITS)).out)

        def refused(how):
            for number, pid in ((running, world.job(running)["pid"]), (queued, os.getpid())):
                for phase in ("new", "running", "exited"):
                    same(hello(world, number, phase, pid=pid, deadline=0), "io.tfqd.NotAllowed",
                         f"hello of #{number}, {phase}, {how}")
            same(hello(world, 4711, "running", pid=1), "io.tfqd.NoSuchJob", "hello of no job")
            contains(world.log(), *(f"Job {number}: process {os.getpid()} of root says that it is its runner, and is "
                                    "not: refused" for number in (running, queued)))

        refused("at first")
        same(world.job(running)["status"], "running", "the status")
        runner = runners(world)[0]
        os.kill(runner, signal.SIGSTOP)  # so that the impostor comes first
        try:
            kill_daemon(world)
            world.start_daemon()
            refused("after a restart, before the runner")
        finally:
            os.kill(runner, signal.SIGCONT)
        with Varlink(world.socket) as varlink:
            varlink.send("io.tfqd.Report", {"job": running, "event": "exited", "exit_code": 0}, oneway=True)
            check(varlink.is_closed(), "a report of nobody's is taken")
        check(is_alive(runner), "the runner was ended")
        work.write("end", "")
        same(wait_over(world, running)["exit_code"], 0, "the exit code")
        same(wait_over(world, queued)["status"], "done", "the next one")
        world.wait_unlocked(work.key)


if __name__ == "__main__":
    main()
