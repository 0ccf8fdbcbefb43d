# SPDX-License-Identifier: MIT
"""A terminal for tfq, and a tfqd that does what a test says."""
import array
import fcntl
import json
import os
import pty
import select
import socket
import struct
import termios
import threading

from harness import wait_for

START, OUTPUT, EXIT, NOTE, RESIZE, INPUT, INPUT_END = 1, 2, 3, 4, 5, 16, 17
OUT, ERR = 1, 2


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

    def modes(self):
        """What the terminal's modes are: True for each that is on."""
        line = os.open(self.name, os.O_RDWR | os.O_NOCTTY)
        try:
            flags = termios.tcgetattr(line)
        finally:
            os.close(line)
        return {"lines": bool(flags[3] & termios.ICANON), "echo": bool(flags[3] & termios.ECHO),
                "signals": bool(flags[3] & termios.ISIG)}

    def cook(self):
        """Lines and echo, as a shell sets them."""
        line = os.open(self.name, os.O_RDWR | os.O_NOCTTY)
        try:
            flags = termios.tcgetattr(line)
            flags[3] |= termios.ICANON | termios.ECHO
            termios.tcsetattr(line, termios.TCSANOW, flags)
        finally:
            os.close(line)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


COOKED = {"lines": True, "echo": True, "signals": True}
KEYS = {"lines": False, "echo": False, "signals": True}


# --- a runner ---------------------------------------------------------------------------

def frame(kind, stream, body, at=0):
    return struct.pack("<BBHIQ", kind, stream, 0, len(body), at) + body


def out(text, at=0):
    return frame(OUTPUT, OUT, text.encode(), at)


def err(text, at=0):
    return frame(OUTPUT, ERR, text.encode(), at)


def ended(code, kind=0, words=""):
    return frame(EXIT, kind, struct.pack("<I", code) + words.encode())


BEGIN = frame(START, 0, b"1")
BEGIN_TTY = BEGIN + frame(RESIZE, 0, struct.pack("<HH", 24, 60))


class Runner:
    """The other end of an attach channel."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.socket.settimeout(30)
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, skip=(RESIZE,)):
        """The next frame: (kind, body); None at the end."""
        while True:
            if len(self.rest) >= 16:
                kind, _, _, size, _ = struct.unpack("<BBHIQ", self.rest[:16])
                if len(self.rest) >= 16 + size:
                    body, self.rest = self.rest[16:16 + size], self.rest[16 + size:]
                    if kind in skip:
                        continue
                    return kind, body
            data = self.socket.recv(65536)
            if not data:
                return None
            self.rest += data

    def close(self):
        self.socket.close()


class Link:
    """One connection of a client, whose question was read."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(30)
        data, self.fds = b"", []
        while b"\0" not in data:
            more, fds, _, _ = socket.recv_fds(self.socket, 65536, 4)
            if not more:
                raise EOFError("the client has hung up")
            data, self.fds = data + more, self.fds + fds
        question = json.loads(data.rstrip(b"\0"))
        self.method, self.more = question["method"].rpartition(".")[2], question.get("more", False)
        self.parameters = question.get("parameters", {})

    def runner(self):
        return Runner(self.fds.pop(0))

    def send(self, message, fds=()):
        data = json.dumps(message).encode() + b"\0"
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], ancillary)

    def job(self, status, more=True, **members):
        job = {"id": 7, "status": status, "uid": os.getuid(), "submitted": 1000, **members}
        self.send({"continues": more, "parameters": {"job": job}})

    def error(self, name, message="no"):
        self.send({"error": "io.tfqd." + name, "parameters": {"message": message}})

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.socket.close()


class FakeTfqd:
    """Listens in tfqd's place in a World without one."""

    def __init__(self, world):
        self.path = world.socket
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.listener = None
        self.links = []
        self.start()

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(30)

    def stop(self):
        """All connections end; nobody listens."""
        for link in self.links:
            link.close()
        self.links = []
        if self.listener:
            self.listener.close()
            self.listener = None
            os.unlink(self.path)

    def accept(self, method=None):
        link = Link(self.listener.accept()[0])
        self.links.append(link)
        if method and link.method != method:
            raise AssertionError(f"the client asks for {link.method}, not {method}: {link.parameters}")
        return link

    def logs(self, recording, status="done", **members):
        """Answer a question for the recording, which is bytes; None: there is none."""
        link = self.accept("Logs")
        job = {"id": 7, "status": status, "uid": os.getuid(), "ended": 5 if status in ("done", "failed") else 0,
               **members}
        fds = []
        if recording is not None:
            fds = [os.memfd_create("recording")]
            with os.fdopen(os.dup(fds[0]), "wb") as file:
                file.write(recording)
        link.send({"parameters": {"job": job, "has_output": bool(fds)}}, fds)
        for fd in fds:
            os.close(fd)
        return link

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
