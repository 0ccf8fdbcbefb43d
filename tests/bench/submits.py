# SPDX-License-Identifier: MIT
"""How long it takes until a job is queued, and on disk: by the command, by a request, by many requests at once.

Nothing runs meanwhile: the queue is paused."""
import contextlib
import json
import selectors
import shutil
import socket
import statistics
import subprocess
import time

from harness import TFQ, Varlink, World
from probe import seconds, submission
from report import percentile

COMMANDS = 50
ALONE = 300
CLIENTS, TOGETHER = 64, 6000
STATES = 100  # among which they are spread
TIMEOUT_SECONDS = 60
LIMITS = "[queue]\nmax_queued = 20000\nmax_queued_per_user = 20000\n"


def measure_commands(world, work):
    """Of a command that only queues another one. [{title, p50_ms, p99_ms}]"""
    def time_of(*argv):
        began = time.monotonic()
        subprocess.run(argv, cwd=work.path, env=world.env, check=True, stdout=subprocess.DEVNULL,
                       stdin=subprocess.DEVNULL)
        return (time.monotonic() - began) * 1000
    ways = {"tfq -d (on disk)": (TFQ, "-d", "apply"), "true (a process that does nothing)": ("true",)}
    if shutil.which("tsp"):
        ways["tsp (in memory)"] = ("tsp", "true")
    if shutil.which("nq"):
        ways["nq (a file, not synced)"] = ("nq", "true")
    times = {title: [] for title in ways}
    if shutil.which("tsp"):
        time_of("tsp", "sleep", "600")  # what is queued behind it waits
    for _ in range(COMMANDS):
        for title, argv in ways.items():
            times[title].append(time_of(*argv))
    if shutil.which("tsp"):
        subprocess.run(["tsp", "-K"], env=world.env, check=False, stdout=subprocess.DEVNULL)
    return [{"title": title, "p50_ms": statistics.median(of), "p99_ms": percentile(sorted(of), 99)}
            for title, of in times.items()]


def measure_alone(world, calls):
    """One request after the other, on one connection. Milliseconds."""
    times = []
    with Varlink(world.socket) as link:
        for i in range(ALONE):
            began = time.monotonic()
            link.send_bytes(calls[i % STATES])
            link.answer()
            times.append((time.monotonic() - began) * 1000)
    return {"title": "a request on an open connection (on disk)", "p50_ms": statistics.median(times),
            "p99_ms": percentile(sorted(times), 99)}


class Load:
    """As many requests as can be, each connection with one at a time."""

    def __init__(self, path, calls, total):
        self.calls, self.total = calls, total
        self.sent = self.answered = 0
        self.times, self.began = [], {}
        self.selector = selectors.DefaultSelector()
        self.links = []
        for _ in range(CLIENTS):
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.connect(path)
            link.setblocking(False)
            self.selector.register(link, selectors.EVENT_READ)
            self.links.append(link)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for link in self.links:
            link.close()
        self.selector.close()

    def send(self, link):
        if self.sent < self.total:
            call = self.calls[self.sent % len(self.calls)]
            self.began[link] = time.monotonic()
            if link.send(call) != len(call):
                raise AssertionError("a request does not fit into the socket's buffer")
            self.sent += 1

    def take(self, link):
        data = link.recv(65536)
        if not data.endswith(b"\0") or b'"error"' in data:
            raise AssertionError(f"an answer that is none: {data[:300]}")
        self.times.append((time.monotonic() - self.began[link]) * 1000)
        self.answered += 1

    def run(self):
        """Return how long it took."""
        began = time.monotonic()
        for link in self.links:
            self.send(link)
        while self.answered < self.total:
            ready = self.selector.select(TIMEOUT_SECONDS)
            if not ready:
                raise AssertionError("tfqd does not answer")
            for key, _ in ready:
                self.take(key.fileobj)
                self.send(key.fileobj)
        return time.monotonic() - began


def measure_together(world, calls):
    pid = world.daemon.pid
    with Load(world.socket, calls, TOGETHER) as load:
        used, own = seconds(pid), time.process_time()
        took = load.run()
        used, own = seconds(pid) - used, time.process_time() - own
    times = sorted(load.times)
    return {"clients": CLIENTS, "submits": TOGETHER, "per_second": TOGETHER / took, "p50_ms": percentile(times, 50),
            "p99_ms": percentile(times, 99), "tfqd_percent": used / took * 100, "load_percent": own / took * 100}


@contextlib.contextmanager
def stage(env):
    """A tfqd of its own, so that what is queued here is in nobody's way."""
    with World(LIMITS, terraform=False) as world:
        world.env.update(env)
        work = world.directory(init="by hand")
        world.call("Pause")
        yield world, work


def measure(env, progress):
    """@env: where the peers keep their queues."""
    progress("submits")
    with stage(env) as (world, work):
        calls = [json.dumps({"method": "io.tfqd.Submit",
                             "parameters": submission(world, work, f"state-{i}/terraform.tfstate")}).encode() + b"\0"
                 for i in range(STATES)]
        commands = measure_commands(world, work)
        alone = measure_alone(world, calls)
        together = measure_together(world, calls)
    return {"one": [alone] + commands, "together": together}
