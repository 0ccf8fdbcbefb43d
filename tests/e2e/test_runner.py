#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The runner without tfqd: this file is tfqd. What outlives it, terminals, viewers, questions, memory, nonsense."""
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (BUILD, RUNNER, SANITIZER, Varlink, World, case, check, children_of, contains,  # noqa: E402
                     is_alive, lacks, main, parallel, same, wait_for)

START, OUTPUT, EXIT, NOTE, RESIZE, INPUT, INPUT_END = 1, 2, 3, 4, 5, 16, 17
HEADER = struct.Struct("<BBHIQ")
SECONDS = 30
IS_SANITIZED = "address" in BUILD  # which needs memory of its own

PYTHON = "#!" + sys.executable + " -SE\nimport os, sys, time, signal, fcntl, termios, struct\n"
# Lasts until the file "end" is there.
BIG = "dd if=/dev/zero bs=65536 count=64 2>/dev/null\n"  # more than a socket takes
WAITS = 'echo started\nwhile [ ! -e "$DIR/end" ]; do sleep 0.02; done\n'


def frame(kind, body=b"", stream=0):
    return HEADER.pack(kind, stream, 0, len(body), 0) + body


def frames_of(data):
    """[(type, stream, body)]; there must be nothing behind the last."""
    found, at = [], 0
    while at < len(data):
        kind, stream, zero, length, _ = HEADER.unpack_from(data, at)
        check(zero == 0 and at + 16 + length <= len(data), f"no frame at {at} of {len(data)}")
        found.append((kind, stream, data[at + 16:at + 16 + length]))
        at += 16 + length
    return found


def whole_frames_of(data):
    """The last may still be on its way."""
    at = 0
    while len(data) - at >= 16 and len(data) - at - 16 >= HEADER.unpack_from(data, at)[3]:
        at += 16 + HEADER.unpack_from(data, at)[3]
    return frames_of(data[:at])


def notes_of(frames):
    return [body.decode() for kind, _, body in frames if kind == NOTE]


def output_of(frames, stream=None):
    return b"".join(body for kind, which, body in frames if kind == OUTPUT and stream in (None, which))


class Seat:
    """A viewer; what it reads is collected when it is asked for."""

    def __init__(self, stage, **parameters):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(SECONDS)
        with theirs:
            stage.order("attach", [theirs.fileno()], **parameters)
        self.data = b""

    def close(self):
        self.socket.close()

    def send(self, kind, body=b""):
        self.socket.sendall(frame(kind, body))

    def type(self, text):
        self.send(INPUT, text if isinstance(text, bytes) else text.encode())

    def frames(self):
        return whole_frames_of(self.data)

    def wait(self, condition, what):
        while not condition(self.frames()):
            data = self.socket.recv(1 << 20)
            check(data, f"the runner hung up before this: {what}; it has shown {self.data[-300:]!r}")
            self.data += data

    def wait_text(self, text):
        self.wait(lambda frames: text.encode() in output_of(frames), f"{text!r} in the output")

    def wait_note(self, text):
        self.wait(lambda frames: any(text in note for note in notes_of(frames)), f"the note {text!r}")

    def wait_end(self):
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                return self.frames()
            self.data += data


class Stage:
    """What a runner sees of tfqd."""
    leftovers, end_leftovers = World.leftovers, World.end_leftovers

    def __init__(self, script=WAITS, prepare=True, fds=None, env=None, **spec):
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="tfq-e2e."))
        self.address = os.path.join(self.path, "sock")
        with open(os.path.join(self.path, "terraform"), "w", encoding="utf-8") as file:
            file.write(script if script.startswith("#!") else "#!/bin/sh\n" + script)
        os.chmod(os.path.join(self.path, "terraform"), 0o755)
        self.recording, self.reports = self.open("output"), self.open("reports")
        self.fds, self.wants_prepare, self.listener, self.link = fds, prepare, None, None
        env = dict({"PATH": self.path + ":" + os.environ.get("PATH", "/usr/bin:/bin"), "DIR": self.path}, **(env or {}))
        self.spec = dict({
            "argv": ["apply"], "environment": [f"{name}={value}" for name, value in env.items()],
            "directory": self.path, "state_directory": self.path, "identity": "x", "hold_lock": False,
            "lock_timeout": "1h", "binary": "terraform", "client": "/nonexistent", "umask": 18, "stdin": False}, **spec)
        self.err = self.open("err")
        self.listen()
        self.runner = subprocess.Popen(
            [RUNNER, "--job", "7", "--socket", self.address], stdin=subprocess.DEVNULL, stderr=self.err,
            env={name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")})

    def open(self, name):
        return open(os.path.join(self.path, name), "w+b", buffering=0,
                    opener=lambda path, flags: os.open(path, flags | os.O_APPEND, 0o600))

    def listen(self, backlog=16):
        if os.path.exists(self.address):
            os.unlink(self.address)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.settimeout(SECONDS)
        self.listener.bind(self.address)
        self.listener.listen(backlog)

    def __enter__(self):
        try:
            same(self.accept(), {"protocol": 1, "job": 7, "phase": "new"}, "the hello")
            if self.wants_prepare:
                self.prepare()
                self.report("ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.runner.kill()
        self.runner.wait()
        self.end_leftovers()
        for thing in (self.listener, self.recording, self.reports, self.err, self.link and self.link.socket):
            if thing:
                thing.close()
        with open(os.path.join(self.path, "err"), encoding="utf-8", errors="replace") as file:
            text = file.read()
        shutil.rmtree(self.path, ignore_errors=True)
        check(not SANITIZER.search(text), f"a sanitizer has found something: {text}")

    # tfqd's side of the link

    def accept(self):
        """Return the parameters of the hello."""
        connection = self.listener.accept()[0]
        self.link = Varlink.__new__(Varlink)
        self.link.socket, self.link.rest = connection, b""
        self.link.socket.settimeout(SECONDS)
        hello = self.link.receive()
        same((hello["method"], hello.get("more")), ("io.tfqd.Hello", True), "the call")
        return hello["parameters"]

    def die(self):
        """As a tfqd that is killed: nobody listens any more."""
        self.listener.close()
        os.unlink(self.address)
        self.link.close()

    def restart(self):
        self.listen()
        return self.accept()

    def order(self, order, fds=(), **parameters):
        message = {"continues": True, "parameters": dict(parameters, order=order)}
        socket.send_fds(self.link.socket, [json.dumps(message).encode() + b"\0"], fds)

    def prepare(self):
        fds = [self.recording.fileno(), self.reports.fileno()] if self.fds is None else self.fds
        self.order("prepare", fds, spec=self.spec)

    def report(self, event):
        """Wait for that one; it must be the next."""
        message = self.link.receive()
        check(message, f"the runner hung up before it said {event!r}")
        same((message["method"], message.get("oneway")), ("io.tfqd.Report", True), "the call")
        same(message["parameters"]["event"], event, f"the report {message}")
        return message["parameters"]

    def has_no_report(self, seconds=0.3):
        """Only that often is time all that there is to wait for."""
        self.link.socket.settimeout(seconds)
        try:
            raise AssertionError(f"the runner says {self.link.receive()}")
        except TimeoutError:
            self.link.socket.settimeout(SECONDS)

    def go(self, **more):
        self.order("go", hold_lock=False, **more)
        return self.report("started")["pid"]

    def leave(self, code=0):
        same(self.runner.wait(SECONDS), code, "the runner's exit code")

    # what it leaves behind

    def write(self, name, text=""):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def has(self, name):
        return os.path.exists(os.path.join(self.path, name))

    def frames(self):
        return frames_of(self.read("output"))

    def wait_end(self):
        """Its last words are recorded after the report of its end."""
        wait_for(lambda: [kind for kind, _, _ in whole_frames_of(self.read("output"))][-1:] == [EXIT], "the last frame")
        return self.frames()

    def output(self, stream=None):
        return output_of(self.wait_end(), stream)

    def notes(self):
        return notes_of(self.frames())

    def wait_output(self, text):
        wait_for(lambda: text in self.read("output"), f"{text!r} in the recording; it has {self.read('output')[-300:]!r}")

    def lines(self):
        """The reports file."""
        return [json.loads(line) for line in self.read("reports").splitlines()]

    def events(self):
        return [line["event"] for line in self.lines()]

    def memory(self):
        """The most that it ever had, in KiB."""
        with open(f"/proc/{self.runner.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("VmHWM:")).split()[1])


# --- the reports file -------------------------------------------------------------------------

@case("what tfqd is told stands in the reports file, too, and before terraform begins that it will")
def reports():
    with Stage('cp "$DIR/reports" "$DIR/before"\nexit 3\n') as stage:
        stage.order("go", hold_lock=False)
        told = [stage.report("started"), stage.report("exited")]
        same(told[1]["exit_code"], 3, "the exit code")
        stage.leave()
        same(stage.lines()[0], {"job": 7, "event": "going"}, "the first line")
        same(stage.lines()[1:], told, "the others")
        same(json.loads(stage.read("before").splitlines()[0])["event"], "going", "what terraform found there")


@case("a job that is refused says so in the file, too")
def refused():
    with Stage(binary="no-such-program", prepare=False) as stage:
        stage.prepare()
        told = stage.report("refused")
        same(told["exit_code"], 127, "the exit code")
        stage.leave()
        same(stage.lines(), [told], "the file")
    with Stage("#!/no/such/interpreter\n") as stage:
        stage.order("go", hold_lock=False)
        told = stage.report("refused")
        stage.leave()
        same(stage.events(), ["going", "refused"], "the events")


@case("a prepare without a reports file makes no sense")
def no_reports():
    with Stage(prepare=False) as stage:
        stage.fds = [stage.recording.fileno()]
        stage.prepare()
        stage.leave(1)
        contains(stage.read("err").decode(), "makes no sense")


@case("where it cannot be written down that terraform goes, it does not")
def full_before():
    with open("/dev/full", "r+b", buffering=0) as full, Stage(prepare=False) as stage:
        stage.fds = [stage.recording.fileno(), full.fileno()]
        stage.prepare()
        stage.report("ready")
        stage.order("go", hold_lock=False)
        told = stage.report("refused")
        contains(told["message"], "no room", "make room")
        stage.leave()
        same(stage.output(), b"", "the output")


@case("a report for which the disk has no room is told all the same, and written when there is room again")
def full_later():
    read, write = os.pipe()  # in the file's place: it can be filled, and emptied
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    with Stage(BIG + WAITS, prepare=False) as stage, open(read, "rb", buffering=0) as reader, open(write, "wb", buffering=0) as writer:
        stage.fds = [stage.recording.fileno(), write]
        stage.prepare()
        stage.report("ready")
        stage.go()
        same([json.loads(line)["event"] for line in reader.read(65536).splitlines()], ["going", "started"], "the file")
        seat = Seat(stage)  # it does not read, and so keeps the runner
        while writer.write(b"x" * 4096):
            pass
        stage.write("end")
        told = stage.report("exited")
        while reader.read(65536):
            pass
        stage.die()
        hello = stage.restart()
        check(hello["phase"] in ("running", "exited"), f"the hello {hello}")
        same(json.loads(reader.read(65536)), told, "the file")
        seat.close()
        stage.leave()


# --- tfqd that goes ------------------------------------------------------------------------------

@case("before terraform is let go, the runner ends with its tfqd, and nobody hears of it")
def lost_before():
    for prepared in (False, True):
        with Stage(prepare=prepared) as stage:
            seat = Seat(stage, input=True) if prepared else None
            if seat:
                seat.wait(lambda frames: frames, "the begin")
            waiting = children_of(stage.runner.pid)
            same(len(waiting), int(prepared), "the number of children")
            stage.die()
            stage.leave()
            wait_for(lambda pids=waiting: not any(map(is_alive, pids)), "the end of the child that waited")
            same([kind for kind, _, _ in stage.frames()], [START] if prepared else [], "the recording")
            same(stage.lines(), [], "the reports")
            if seat:
                same([kind for kind, _, _ in seat.wait_end()], [START], "what the viewer saw")


@case("orders that tfqd gave before it died count: a go starts terraform")
def unread_orders():
    with Stage(prepare=False) as stage:
        os.kill(stage.runner.pid, signal.SIGSTOP)
        stage.prepare()
        seat = Seat(stage, input=True)
        stage.order("go", hold_lock=False)
        stage.die()
        os.kill(stage.runner.pid, signal.SIGCONT)
        hello = stage.restart()
        same((hello["phase"], hello["deadline"]), ("running", 0), "the hello")
        seat.wait_text("started")
        same(stage.events(), ["going", "started"], "the reports")
        same(stage.lines()[1]["pid"], hello["pid"], "the PID")
        stage.write("end")
        stage.report("exited")
        same(seat.wait_end()[-1][0], EXIT, "the last frame")
        stage.leave()


@case("terraform outlives tfqd; a new one is found, and is obeyed as the first was")
def restarts():
    with Stage("trap 'echo interrupted' INT\n" + WAITS) as stage:
        deadline = round((time.clock_gettime(time.CLOCK_BOOTTIME) + 600) * 1e6)
        pid = stage.go(deadline=deadline, stop_grace=1000000)
        for turn in range(3):
            stage.die()
            same(stage.restart(), {"protocol": 1, "job": 7, "phase": "running", "pid": pid, "deadline": deadline},
                 "the hello")
            deadline += 1000000
            stage.order("deadline", deadline=deadline)
            seat = Seat(stage)
            seat.wait_text("started")  # and so the deadline is heard, too
            check(is_alive(pid), f"terraform is dead after {turn + 1}")
        stage.order("stop", level=1)
        stage.order("stop", level=1)
        seat.wait_text("interrupted")
        stage.write("end")
        stage.report("exited")
        stage.leave()
        same(stage.output().count(b"interrupted"), 1, "the number of SIGINTs")
        same(stage.events(), ["going", "started", "exited"], "the reports")


@case("tfqd that hangs up as soon as it is called is called more and more seldom, and never given up")
def backs_off():
    with Stage() as stage:
        stage.go()
        stage.link.close()
        times = []
        for _ in range(6):
            stage.accept()
            times.append(time.monotonic())
            stage.link.close()
        gaps = [after - before for before, after in zip(times, times[1:])]
        check(gaps[-1] > 0.5 and sum(gaps) > 1, f"the pauses are {gaps}")
        check(max(gaps) < 2.5, f"the pauses are {gaps}")
        same(stage.accept()["phase"], "running", "the phase")


@parallel("tfqd that does not want the runner does not end terraform, and is asked again half a minute later")
def not_wanted():
    with Stage() as stage:
        pid = stage.go()
        stage.die()
        stage.restart()
        refused_at = time.monotonic()
        stage.link.send_bytes(b'{"error":"io.tfqd.NotAllowed","parameters":{"message":"who are you?"}}\0')
        check(stage.link.is_closed(), "the runner stays")
        wait_for(lambda: b"NotAllowed" in stage.read("err"), "the runner's log")
        stage.listener.settimeout(40)
        same(stage.accept()["phase"], "running", "the phase")
        check(25 < time.monotonic() - refused_at < 35, f"asked again after {time.monotonic() - refused_at} s")
        check(is_alive(pid), "terraform is dead")
        stage.order("stop", level=1)
        same(stage.report("exited")["exit_signal"], 2, "the signal")
        stage.leave()


@case("terraform that ends while there is no tfqd: the file has it, its viewers see the end, the runner leaves")
def exits_alone():
    with Stage(WAITS + "echo last\nexit 5\n") as stage:
        stage.go()
        seat = Seat(stage)
        seat.wait_text("started")
        stage.die()
        stage.write("end")
        frames = seat.wait_end()
        same(output_of(frames), b"started\nlast\n", "the output")
        same(frames[-1], (EXIT, 0, struct.pack("<I", 5)), "the last frame")
        stage.leave()
        same(stage.lines()[-1]["exit_code"], 5, "the last report")


@case("a runner whose terraform has ended says so to a new tfqd; sent away, it calls no more")
def exited_hello():
    with Stage(BIG) as stage:
        pid = stage.go()
        seat = Seat(stage)  # it does not read
        stage.report("exited")
        stage.die()
        hello = stage.restart()
        same((hello["phase"], hello["pid"]), ("exited", pid), "the hello")
        stage.link.send_bytes(b'{"parameters":{"order":"end"}}\0')
        check(stage.link.is_closed(), "the runner stays")
        stage.listener.settimeout(1)
        try:
            stage.accept()
            raise AssertionError("the runner calls again")
        except TimeoutError:
            pass
        same(len(output_of(seat.wait_end())), 4 << 20, "the output")
        stage.leave()


@parallel("tfqd that hangs, with all who call it waiting, does not keep the fence from its work")
def hanging_tfqd():
    with Stage("trap '' INT\n" + WAITS) as stage:
        end = time.clock_gettime(time.CLOCK_BOOTTIME) + 8
        pid = stage.go(deadline=round(end * 1e6), stop_grace=500000)
        stage.listener.close()
        stage.listen(0)
        others = []
        try:
            while True:  # until it is as full as it gets
                others.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                others[-1].connect(stage.address)
        except BlockingIOError:
            pass
        stage.link.close()
        wait_for(lambda: not is_alive(pid), "terraform's end")
        check(time.clock_gettime(time.CLOCK_BOOTTIME) < end - 4, "it was killed too late")
        stage.leave()
        for other in others:
            other.close()
        same(stage.lines()[-1]["fenced"], True, "fenced")


# --- a terminal ------------------------------------------------------------------------------

LOOK = PYTHON + """
size = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]
modes = termios.tcgetattr(0)
tty = os.open("/dev/tty", os.O_RDWR)
print([os.isatty(fd) for fd in range(3)], size, os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(),
      os.tcgetpgrp(tty) == os.getpid(), bool(modes[3] & termios.ISIG), bool(modes[3] & termios.ECHO),
      bool(modes[3] & termios.ICANON), bool(modes[1] & termios.OPOST), len({os.fstat(fd).st_rdev for fd in range(3)}))
print("on stderr", file=sys.stderr)
"""


@case("with a terminal terraform leads a session on it, of the size that was asked for")
def terminal():
    for asked, size in (({"rows": 33, "columns": 101}, (33, 101)), ({}, (24, 80)), ({"rows": 0, "columns": 80}, (24, 80)),
                        ({"rows": -1, "columns": 1 << 40}, (24, 80)), ({"rows": "x", "columns": None}, (24, 80))):
        with Stage(LOOK, tty=True, **asked) as stage:
            stage.go()
            same(stage.report("exited")["exit_code"], 0, f"the exit code ({stage.output()})")
            stage.leave()
            same(stage.output(1), f"[True, True, True] {size} True True True False True True True 1\r\non stderr\r\n".encode(),
                 "what it found")
            same(stage.output(2), b"", "its stderr, apart")
            same(stage.frames()[1], (RESIZE, 0, struct.pack("<HH", *size)), "the size in the recording")


@case("without a terminal it has pipes, in a group of its own")
def pipes():
    with Stage(PYTHON + "print(*map(os.isatty, range(3)), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid())\n"
               "print('apart', file=sys.stderr)\n") as stage:
        stage.go()
        stage.report("exited")
        stage.leave()
        same((stage.output(1), stage.output(2)), (b"False False False True False\n", b"apart\n"), "the streams")


KEYS = PYTHON + """
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
    signal.signal(number, lambda number, _: print("signal", number, flush=True))
modes = termios.tcgetattr(0)
modes[3] &= ~(termios.ICANON | termios.ECHO)
if "isig" in os.environ.get("MODES", ""):
    modes[3] |= termios.ISIG
termios.tcsetattr(0, termios.TCSANOW, modes)
print("started", flush=True)
text = b""
while not text.endswith(b"."):
    text += os.read(0, 100)
print(text, flush=True)
"""


@case("nothing that is typed on it sends a signal or stops the output, not even if terraform switches that on")
def keys():
    for modes in ("", "isig"):
        with Stage(KEYS, tty=True, env={"MODES": modes}) as stage:
            stage.go()
            seat = Seat(stage, input=True)
            seat.wait_text("started")
            seat.type("\x03\x1c\x1a\x13.")
            stage.report("exited")
            same(output_of(seat.wait_end()), b"started\r\nb'\\x03\\x1c\\x1a\\x13.'\r\n", "the output")
            stage.leave()


@case("one SIGINT reaches terraform on a terminal, and nobody else of its group")
def interrupt_on_terminal():
    with Stage("(trap 'echo provider' INT; while [ ! -e \"$DIR/end\" ]; do sleep 0.02; done) &\n"
               "trap 'echo terraform; touch \"$DIR/end\"; wait; exit 1' INT\necho started\n"
               "while :; do sleep 0.02; done\n", tty=True) as stage:
        stage.go()
        seat = Seat(stage)
        seat.wait_text("started")
        stage.order("stop", level=1)
        same(stage.report("exited")["exit_code"], 1, "the exit code")
        same(output_of(seat.wait_end()), b"started\r\nterraform\r\n", "the output")


@case("a terminal follows its writer's: the last size wins, hundreds cost little, nonsense is none")
def resizes():
    with Stage(PYTHON + """
def look(*_):  # a print() may be interrupted by itself
    os.write(1, (str(struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]) + "\\n").encode())
signal.signal(signal.SIGWINCH, look)
os.write(1, b"started\\n")
while not os.path.exists(os.environ["DIR"] + "/end"):
    time.sleep(0.02)
look()
""", tty=True) as stage:
        stage.go()
        seat = Seat(stage, input=True)
        seat.wait_text("started")
        reader = Seat(stage)
        reader.send(RESIZE, struct.pack("<HH", 11, 11))  # it does not type
        before = time.monotonic()
        for count in range(1, 1001):
            seat.send(RESIZE, struct.pack("<HH", count, 2 * count))
        seat.wait_text("(1000, 2000)")
        most = (time.monotonic() - before) / 0.05 + 3
        time.sleep(0.1)  # a size that is set at once cannot be hidden by the next one
        for bad in ((0, 0), (65535, 65535), (0, 80), (24, 0), (1, 65535)):
            seat.send(RESIZE, struct.pack("<HH", *bad))
        seat.send(RESIZE, b"\x18\0\x50")
        seat.send(RESIZE, struct.pack("<HH", 40, 120))
        seat.wait_text("(40, 120)")
        stage.write("end")
        frames = seat.wait_end()
        sizes = [struct.unpack("<HH", body) for kind, _, body in frames if kind == RESIZE]
        check(len(sizes) <= most, f"{len(sizes)} sizes are recorded, at most {most} were to be")
        same(sizes[-2:], [(1000, 2000), (40, 120)], "the last sizes")
        same(len(sizes), len(set(sizes)), "the number of different ones")
        check((11, 11) not in sizes, "the reader's size counts")


@case("nothing of what was printed on a terminal is lost at the end, nor what others print on it later")
def drained():
    text = "".join(f"{i:07}\r\n" for i in range(20000)).encode()
    later = ("export TERRAFORM=$$\nsetsid sh -c 'trap \"\" TERM; touch \"$DIR/ready\"\n"
             "while kill -0 $TERRAFORM 2>/dev/null; do sleep 0.02; done; echo later' &\n"
             "while [ ! -e \"$DIR/ready\" ]; do sleep 0.02; done\n")
    for last in ("", later):
        with Stage("seq -f %07.0f 0 19999\n" + last, tty=True) as stage:
            stage.go()
            same(stage.report("exited")["exit_code"], 0, "the exit code")
            stage.leave()
            check(stage.output() == text + (b"later\r\n" if last else b""), f"{len(stage.output())} bytes of {len(text)} came")
            same(stage.frames()[-1][0], EXIT, "the last frame")


@case("a terminal that all have closed is not hung up, and may be opened again")
def reopened():
    with Stage("echo before\nexec <&- >&- 2>&-\nsleep 0.2\nexec >/dev/tty\necho after\n", tty=True) as stage:
        stage.go()
        same(stage.report("exited")["exit_code"], 0, "the exit code")
        stage.leave()
        same(stage.output(), b"before\r\nafter\r\n", "the output")


SINK = PYTHON + """
import hashlib
if os.isatty(0):
    modes = termios.tcgetattr(0)
    modes[0] = 0
    modes[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(0, termios.TCSANOW, modes)
print("started", flush=True)
while not os.path.exists(os.environ["DIR"] + "/begin"):
    time.sleep(0.02)
left, digest = int(os.environ["BYTES"]), hashlib.sha256()
while left > 0:
    data = os.read(0, left)
    if not data:
        break
    left -= len(data)
    digest.update(data)
print(left, digest.hexdigest())
"""


@case("what is typed waits for a terraform that does not read, as much as it may be, and all of it comes")
def typed_much():
    data = os.urandom(1 << 22)
    for tty in (False, True):
        with Stage(SINK, tty=tty, env={"BYTES": len(data)}) as stage:
            seat = Seat(stage, input=True)
            stage.go()
            seat.wait_text("started")
            before, sent = stage.memory(), 0
            stream = b"".join(frame(INPUT, data[at:at + 50000]) for at in range(0, len(data), 50000))
            seat.socket.setblocking(False)
            blocked_at = None
            while sent < len(stream) and (blocked_at is None or time.monotonic() < blocked_at + 0.3):
                try:
                    sent += seat.socket.send(stream[sent:sent + 65536])
                    blocked_at = None
                except BlockingIOError:
                    blocked_at = blocked_at or time.monotonic()
                    time.sleep(0.02)
            check(sent < len(stream) // 2, f"{sent} bytes were taken by nobody")
            check(stage.memory() < before + 512, f"the runner grew from {before} to {stage.memory()} KiB")
            stage.write("begin")
            seat.socket.settimeout(SECONDS)
            seat.socket.sendall(stream[sent:])
            same(stage.report("exited")["exit_code"], 0, "the exit code")
            contains(stage.output().decode(), f"0 {hashlib.sha256(data).hexdigest()}")


@case("the last who leaves ends terraform's input on pipes, not on a terminal")
def last_leaves():
    for tty in (False, True):
        with Stage("echo started\nread line && echo \"got $line\" || echo end of input\n", tty=tty) as stage:
            seat, reader = Seat(stage, input=True), Seat(stage)  # who only watches does not count
            stage.go()
            seat.wait_text("started")
            reader.wait_text("started")
            seat.close()
            if not tty:
                stage.report("exited")
                same(stage.output(), b"started\nend of input\n", "the output")
                continue
            reader.close()
            stage.has_no_report()
            seat = Seat(stage, input=True)
            seat.send(INPUT_END)  # means nothing there
            seat.type("hello\n")
            stage.report("exited")
            same(stage.output(), b"started\r\nhello\r\ngot hello\r\n", "the output")


@case("a runner that is killed does not take terraform with it by its terminal's end")
def killed_with_terminal():
    with Stage('while [ ! -e "$DIR/end" ]; do sleep 0.02; done\ntouch "$DIR/done"\n', tty=True) as stage:
        pid = stage.go()
        stage.runner.kill()
        stage.runner.wait()
        stage.write("end")
        wait_for(lambda: stage.has("done"), "terraform's own end")
        wait_for(lambda: not is_alive(pid), "its death")


@case("how it ends is told from a terminal as from pipes: codes, signals, errored.tfstate, leftovers")
def ends():
    for tty in (False, True):
        with Stage("kill -9 $$\n", tty=tty) as stage:
            stage.go()
            told = stage.report("exited")
            same((told["exit_signal"], told["errored_state"]), (9, False), "the report")
            stage.leave()
            same(stage.frames()[-1], (EXIT, 1, struct.pack("<I", 9)), "the last frame")
        with Stage('echo x >"$DIR/errored.tfstate"\nexit 1\n', tty=tty) as stage:
            stage.go()
            told = stage.report("exited")
            same((told["exit_code"], told["errored_state"], "message" in told), (1, True, False), "the report")
        with Stage("sleep 1000 & echo $!\n", tty=tty) as stage:
            stage.go()
            stage.report("exited")
            check(not is_alive(int(stage.output())), "what it left lives")
            contains(stage.notes()[0], "left processes behind")


# --- viewers ----------------------------------------------------------------------------------

@case("a viewer begins where it is told; nowhere else than in the recording")
def offsets():
    with Stage() as stage:
        stage.go()
        stage.wait_output(b"started")
        size = len(stage.read("output"))
        for bad in (size + 1, -1, 1 << 62, "0", 1.5, None, {}):
            seat = Seat(stage, offset=bad)
            same(seat.wait_end(), [], f"what is seen from {bad!r}")
        seats = [Seat(stage), Seat(stage, offset=0), Seat(stage, offset=17), Seat(stage, offset=size)]
        stage.write("end")
        seen = [seat.wait_end() for seat in seats]
        everything = stage.frames()
        same(seen[:2], [everything] * 2, "what is seen from 0")
        same(seen[2], everything[1:], "what is seen from the second frame on")
        same([kind for kind, _, _ in seen[3]], [EXIT], "what is seen from the end")


@case("the last who came with input types; who typed before is told, is not heard, and is heard again later")
def writers():
    with Stage('echo started\nwhile read line && [ "$line" != end ]; do echo "got $line"; done\n') as stage:
        first = Seat(stage, input=True)
        stage.go()
        first.wait_text("started")
        first.type("one\n")
        first.wait_text("got one")
        reader = Seat(stage, input=False)
        reader.type("reader\n")
        first.type("two\n")
        first.wait_text("got two")
        second = Seat(stage, input=True)
        first.wait_note("somebody else has attached")
        first.type("unheard\n")
        first.send(INPUT_END)
        second.type("three\n")
        second.wait_text("got three")
        second.socket.sendall(b"\xff" * 16)  # who talks nonsense is not heard any more
        first.wait_note("heard again")
        second.close()
        first.type("four\nend\n")
        stage.report("exited")
        same(output_of(first.wait_end()), b"started\ngot one\ngot two\ngot three\ngot four\n", "the output")
        same(notes_of(reader.wait_end()), [], "the reader's notes")
        same(stage.notes(), [], "the recorded notes")


@case("a thousand may watch; one more is told that it is too many")
def thousand():
    with Stage() as stage:
        stage.go()
        stage.wait_output(b"started")
        seats = [Seat(stage) for _ in range(1000)]
        for seat in seats:
            seat.wait_text("started")
        late = Seat(stage, input=True)
        same([(kind, "too many" in body.decode()) for kind, _, body in late.wait_end()], [(NOTE, True)], "what one more sees")
        seats.pop().close()
        wait_for(lambda: Seat(stage).socket.recv(1)[0] == START, "a place")
        check(IS_SANITIZED or stage.memory() < 16 << 10, f"the runner had {stage.memory()} KiB")
        stage.write("end")
        stage.report("exited")
        for seat in seats:
            same(seat.wait_end(), stage.frames(), "what is seen")


PRINTER = PYTHON + """
import hashlib
digest, block = hashlib.sha256(), os.urandom(1 << 20).replace(b"\\n", b"\\0")
began = time.monotonic()
for i in range(int(os.environ["MEGABYTES"])):
    data = block[i:] + block[:i]
    digest.update(data)
    done = 0
    while done < len(data):
        done += os.write(1, data[done:])
with open(os.environ["DIR"] + "/digest", "w") as file:
    file.write(digest.hexdigest() + " " + str(time.monotonic() - began))
"""


@case("hundreds of viewers, of whom some never read, hold up nothing and cost no memory")
def hundreds():
    with Stage(PRINTER, env={"MEGABYTES": 32}) as stage:
        deaf = [Seat(stage) for _ in range(300)]
        rest = [Seat(stage) for _ in range(200)]
        stage.go()
        stage.report("exited")
        digest, seconds = stage.read("digest").decode().split()
        print(f"  32 MiB before 500 viewers: {float(seconds):.1f} s, {stage.memory()} KiB", flush=True)
        check(float(seconds) < 20, f"terraform needed {seconds} s")
        check(IS_SANITIZED or stage.memory() < 16 << 10, f"the runner had {stage.memory()} KiB")
        same(hashlib.sha256(output_of(rest[0].wait_end())).hexdigest(), digest, "the output that one sees")
        for seat in deaf + rest[1:]:
            seat.close()
        stage.leave()


@case("256 MiB in one line, of any bytes, come through as they are; the runner stays small")
def much():
    for tty in (False, True):
        with Stage(("" if not tty else PYTHON + "import tty; tty.setraw(0)\n") + PRINTER, tty=tty,
                   env={"MEGABYTES": 32 if tty else 256}) as stage:
            seat = Seat(stage)  # it does not read, so that the runner stays
            stage.go()
            stage.link.socket.settimeout(90)
            stage.report("exited")
            check(IS_SANITIZED or stage.memory() < 16 << 10, f"the runner had {stage.memory()} KiB")
            print(f"  the runner had {stage.memory()} KiB", flush=True)
            seat.close()
            stage.leave()
            data, seconds = hashlib.sha256(stage.output()).hexdigest(), stage.read("digest").decode().split()
            same(data, seconds[0], "the digest")


@parallel("who does not read holds the runner up for a minute after the end, and no longer")
def lingers():
    with Stage(BIG) as stage:
        seat, late = Seat(stage), Seat(stage)
        stage.go()
        stage.report("exited")
        before = time.monotonic()
        time.sleep(20)
        late.socket.recv(1 << 20)  # reads on, a little
        wait_for(lambda: stage.runner.poll() is not None, "the runner's end", 80)
        check(75 < time.monotonic() - before < 85, f"it left after {time.monotonic() - before} s")
        seat.close()
        stage.leave()


# --- questions ---------------------------------------------------------------------------------

ASKS = ("trap 'echo interrupted; exit 1' INT\n"
        "printf 'Do you want to?\\n\\n  \\033[1mEnter a value:\\033[0m \\033[0m'\n"
        "read line\necho \"got $line\"\n" + WAITS)


@case("tfqd hears when terraform asks, and when that is over; the file has none of it")
def asks():
    for tty in (False, True):
        with Stage(ASKS, tty=tty) as stage:
            seat = Seat(stage, input=True)
            stage.go()
            stage.report("prompt")
            seat.type("yes\n")
            stage.report("answered")
            seat.wait_text("got yes")
            stage.write("end")
            stage.report("exited")
            seat.close()
            stage.leave()
            same(stage.events(), ["going", "started", "exited"], "the reports")


@case("what only looks like a question, or is over at once, is none")
def no_question():
    with Stage("printf 'Enter a value: \\nEnter a value:x Enter a  value: Enter a valu'\nsleep 0.3\n"
               "printf 'Enter a value: ' >&2\nsleep 0.3\nprintf 'Enter a value: '; echo at once\n") as stage:
        stage.go()
        stage.report("exited")


@case("output after a question answers it, and the next one is a new one")
def asks_again():
    with Stage("for i in 1 2; do printf 'Enter a value: '; while [ ! -e \"$DIR/$i\" ]; do sleep 0.02; done; echo no; done\n"
               + WAITS) as stage:
        stage.go()
        for number in ("1", "2"):
            stage.report("prompt")
            stage.write(number)
            stage.report("answered")
        stage.write("end")
        stage.report("exited")


@parallel("a question that nobody can answer ends terraform in time: one SIGINT, and the report says why")
def unanswered():
    with Stage(ASKS.replace("exit 1", "sleep 0.3; exit 1"), tty=True, approval_timeout=700000) as stage:
        reader = Seat(stage)  # who only watches does not count
        stage.go()
        stage.report("prompt")
        began = time.monotonic()
        stage.report("answered")  # by "interrupted"
        check(0.6 < time.monotonic() - began < 5, f"after {time.monotonic() - began} s")
        told = stage.report("exited")
        same(told["exit_code"], 1, "the exit code")
        contains(told["message"], "nobody was attached who could answer", "approval_timeout")
        frames = reader.wait_end()
        same(output_of(frames).count(b"interrupted"), 1, "the number of SIGINTs")
        contains(notes_of(frames)[0], "700 ms", "nobody was attached")


@parallel("who could answer stops that clock; it starts anew when they leave")
def clock_stops():
    with Stage(ASKS.replace("exit 1", "sleep 0.3; exit 1"), tty=True, approval_timeout=1000000) as stage:
        seat = Seat(stage, input=True)
        stage.go()
        stage.report("prompt")
        stage.has_no_report(1.5)
        seat.close()
        stage.has_no_report(0.6)
        seat = Seat(stage, input=True)
        stage.has_no_report(1.2)
        seat.close()
        left = time.monotonic()
        stage.report("answered")
        check(time.monotonic() - left > 0.9, f"it ends after {time.monotonic() - left} s")
        stage.report("exited")


@parallel("an answer stops that clock for good; and without a timeout there is none")
def clock_off():
    with Stage(ASKS, tty=True, approval_timeout=700000) as stage, Stage(ASKS, tty=True, approval_timeout=0) as other:
        other.go()
        other.report("prompt")
        seat = Seat(stage, input=True)
        stage.go()
        stage.report("prompt")
        seat.type("yes\n")
        stage.report("answered")
        seat.wait_text("got yes")
        seat.close()
        stage.has_no_report(1.5)
        other.has_no_report(0.1)
        stage.write("end")
        same(stage.report("exited")["exit_code"], 0, "the exit code")


# --- nonsense ----------------------------------------------------------------------------------

@case("a viewer that talks nonsense is not heard any more, and sees all")
def nonsense_typed():
    bad = [b"\x10\0\1\0" + bytes(12) + b"x", b"\x10\0\0\0\xff\xff\xff\xff" + bytes(8), b"\xff" * 100000, frame(INPUT, b"ha")[:17],
           bytes(15), frame(OUTPUT, b"forged", 1) + frame(EXIT, bytes(4)) + frame(START, b"1"), frame(200, os.urandom(60000))]
    for tty in (False, True):
        with Stage(tty=tty) as stage:
            seats = []
            for data in bad:
                seats.append(Seat(stage, input=True))
                seats[-1].socket.sendall(data)
            stage.go()
            stage.wait_output(b"started")
            stage.write("end")
            stage.report("exited")
            for seat in seats:
                same([item for item in seat.wait_end() if item[0] != NOTE], stage.frames(), "what it sees")
            lacks(stage.output().decode(), "forged")
            stage.leave()


@case("orders that make no sense are none: the second of their kind, unknown ones, those without what they need")
def nonsense_orders():
    with Stage() as stage:
        stage.order("dance")
        stage.order("attach")
        stage.order("stop", level=2)
        stage.prepare()
        stage.go()
        stage.order("go", hold_lock=False)
        stage.prepare()
        stage.order("end")
        stage.order("deadline", deadline="soon")
        stage.order("attach", [stage.recording.fileno()])  # no socket
        stage.order("stop", level="all")
        stage.write("end")
        same(stage.report("exited")["exit_code"], 0, "the exit code")
        stage.leave()
        same(stage.events(), ["going", "started", "exited"], "the reports")
        same(stage.output(), b"started\n", "the output")
    with Stage(prepare=False) as stage:
        stage.order("go", hold_lock=False)
        seat = Seat(stage, input=True)
        same(seat.wait_end(), [], "what is seen before there is anything")
        stage.prepare()
        stage.report("ready")
        stage.order("end", message="never mind")
        stage.leave()
        same(stage.frames()[-1], (EXIT, 2, struct.pack("<I", 125) + b"never mind"), "the last frame")


main()
