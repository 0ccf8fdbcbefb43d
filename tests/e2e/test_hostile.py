#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Users who mean harm: nobody else is held up, nothing is left behind, and nothing of theirs runs as somebody else or
reaches another's terminal as it is."""
import array
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (KEY, TFQ, Skip, Varlink, VarlinkError, case, check, contains, lacks, main, ran, same,  # noqa: E402
                     wait_for)
from users import ALL, Users  # noqa: E402

STATE = f"s3://tfbucket/{KEY}"
REST = "echo started; while [ ! -e end ]; do sleep 0.05; done\n"
STARTS = 7        # of the other user, in each measurement
SLOWER = 20       # so many times slower may a start be beside an attack: the socket lets 4096 wait, and it is one of them
MIB = 1 << 20
MEMORY_MAX = 450 * MIB  # of tfqd, whatever one user sends; its limit for what a user's connections hold is 256 MiB
ATTACK_SECONDS = 60
FD_FLOOD = 253    # the kernel's SCM_MAX_FD


# --- attacks, each in a process of the user's, until it is killed -----------------------------

def link(path):
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(10)
    found.connect(path)
    return found


def swallow(found):
    with contextlib.suppress(OSError):
        while found.recv(MIB):
            pass


def garbage(path, draw):
    while True:
        with contextlib.suppress(OSError), link(path) as peer:
            peer.sendall(draw.randbytes(draw.randrange(1, 5000)) + draw.choice((b"", b"\0")))


def half_messages(path, _draw):
    """More and more connections, each with the most that a message may have, and no end."""
    kept = []
    while True:
        with contextlib.suppress(OSError):
            peer = link(path)
            kept.append(peer)
            peer.sendall(b'{"method":"' + b"x" * (MIB - 100))
        if len(kept) > 600:
            kept.clear()


def descriptors(path, _draw):
    """The kernel's most with one message; what a message may have, often; and with messages that never end."""
    null = os.open("/dev/null", os.O_RDONLY)
    kept = []

    def send(peer, data, count):
        peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * count))])
    while True:
        with contextlib.suppress(OSError), link(path) as peer:
            send(peer, b'{"method":"io.tfqd.List"}\0', FD_FLOOD)
        with contextlib.suppress(OSError), link(path) as peer:
            for _ in range(50):
                send(peer, b'{"method":"io.tfqd.Info"}\0', 4)
            swallow(peer)
        with contextlib.suppress(OSError):
            peer = link(path)
            kept.append(peer)
            for _ in range(16):
                send(peer, b"{", 4)
        if len(kept) > 2000:
            kept.clear()


def connections(path, _draw):
    """2 000 that stay, and then one after the other."""
    kept = []
    while True:
        with contextlib.suppress(OSError):
            kept.append(link(path))
        if len(kept) > 2000:
            kept.pop().close()


def slow_readers(path, _draw):
    """They ask for much, and never read it."""
    kept = []
    while True:
        with contextlib.suppress(OSError):
            peer = link(path)
            kept.append(peer)
            peer.setblocking(False)
            peer.send(b'{"method":"io.tfqd.List","parameters":{"all":true}}\0' * 200)
        if len(kept) > 1000:
            kept.clear()


def slow_writers(path, _draw):
    """A byte now and then, on many connections."""
    kept = []
    while True:
        if len(kept) < 500:
            with contextlib.suppress(OSError):
                kept.append(link(path))
        for peer in kept:
            with contextlib.suppress(OSError):
                peer.send(b"{")
        time.sleep(0.01)


def many_calls(path, _draw):
    """Small calls, as many as go into the socket, and all answers read."""
    while True:
        with contextlib.suppress(OSError), link(path) as peer:
            peer.setblocking(False)
            rest = b""
            while True:
                with contextlib.suppress(BlockingIOError):
                    rest = rest or b'{"method":"io.tfqd.List","parameters":{"all":true}}\0' * 20000
                    rest = rest[peer.send(rest):]
                with contextlib.suppress(BlockingIOError):
                    if not peer.recv(MIB):
                        break


ATTACKS = (garbage, half_messages, descriptors, connections, slow_readers, slow_writers, many_calls)


class Hostile(Users):
    def attack(self, how, seed):
        """Return the process in which @how goes on as the user nobody."""
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.alarm(ATTACK_SECONDS)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self.become(self.nobody)["preexec"]()
            how(self.socket, random.Random(seed))
        finally:
            os._exit(1)

    @contextlib.contextmanager
    def attacked(self, how, seed):
        pid = self.attack(how, seed)
        try:
            yield
            same(os.waitpid(pid, os.WNOHANG), (0, 0), "the attacker's end")
        finally:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def memory(self):
        with open(f"/proc/{self.daemon.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()


def start_time(work, env, become):
    """How long it takes a user from tfq to the first words of their terraform, by the middle one of some."""
    seconds = []
    for _ in range(STARTS):
        result = ran(work.tfq("apply", env=env, **become))
        same(result.out, "ran\n", "what it printed")
        seconds.append(result.seconds)
    return statistics.median(seconds)


def flooded(how):
    seed = random.randrange(1 << 32)
    with Hostile(ALL, terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env, become = world.fake_terraform("echo ran\n"), world.become(world.other)
        for _ in range(60):  # so that there is something to list
            ran(work.tfq("-d", "apply", env=env))
        wait_for(lambda: {job["status"] for job in world.jobs()} == {"done"}, "the end of those")
        world.wait_unlocked()
        before, quiet, most = world.descriptors(), start_time(work, env, become), 0
        with world.attacked(how, seed):
            loud = []
            end = time.monotonic() + 4
            while time.monotonic() < end or not loud:
                loud.append(start_time(work, env, become))
                most = max(most, world.memory())
        loud = statistics.median(loud)
        print(f"  {how.__name__}: {quiet * 1000:.0f} ms quiet, {loud * 1000:.0f} ms beside it, {most / MIB:.0f} MiB (seed {seed})",
              flush=True)
        check(loud < quiet * SLOWER, f"{how.__name__}, seed {seed}: a start takes {loud:.3f} s, {quiet:.3f} s without")
        check(most < MEMORY_MAX, f"{how.__name__}, seed {seed}: tfqd has {most / MIB:.0f} MiB")
        wait_for(lambda: world.descriptors() <= before, f"no descriptor is left, {how.__name__}, seed {seed}")
        check(start_time(work, env, become) < quiet * SLOWER, f"{how.__name__}, seed {seed}: it is slow afterwards")


for attack in ATTACKS:
    case(f"{attack.__doc__.split('.')[0].lower() if attack.__doc__ else 'garbage'}: "
         "another user's job starts as fast, and nothing is left", seconds=150)(lambda how=attack: flooded(how))

if __name__ == "__main__":
    main()
