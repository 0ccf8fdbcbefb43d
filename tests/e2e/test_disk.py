#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A state directory that is full, or whose database cannot be used: nothing is lost, and everybody is told."""
import os
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Skip, World, case, check, contains, main, same, wait_for  # noqa: E402
from rows import QUICK, renewed  # noqa: E402

WAITS = "echo started; while [ ! -e end ]; do sleep 0.05; done; seq 100\n"


def small_disk(world):
    """tfqd with a state directory of its own on two megabytes. Return a function: a path there, seen from here."""
    mount = "mount -t tmpfs -o size=2m,mode=700 none {0} && exec \"$@\""
    state = os.path.join(world.path, "state")
    os.mkdir(state, 0o700)
    world.daemon_prefix = ["unshare", "-m", "sh", "-c", mount.format(state), "sh"]
    if subprocess.run([*world.daemon_prefix, "true"], check=False, capture_output=True).returncode != 0:
        raise Skip("no right to mount a small disk")
    world.start_daemon()
    return lambda name: f"/proc/{world.daemon.pid}/root{state}/{name}"


def fill(path):
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


@case("a full disk: jobs are refused, with the reason; what runs goes on with its lock; room, and all is well again")
def full():
    with World(QUICK, terraform=False, daemon=False) as world:
        place = small_disk(world)
        work, other = world.directory(init="by hand"), world.directory("other", key="other", init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        wait_for(lambda: "started" in program.out, "the start")
        behind = work.spawn("apply", env=world.fake_terraform("echo behind\n"))
        wait_for(lambda: "queued on" in behind.err, "its place")
        fill(place("ballast"))
        env = world.fake_terraform("echo ran\n")

        def refused():
            result = other.tfq("apply", env=env)
            return result if result.code == 125 else None
        result = wait_for(refused, "a job that is refused")
        contains(result.err, "full")
        check(not result.out, "it was run")
        renewed(world, "S3")
        work.write("end", "")
        done = program.wait()
        same(done.code, 0, f"the exit code of the one that ran ({done.err})")
        os.unlink(place("ballast"))
        result = behind.wait()
        check(result.code == 0 or "room" in result.err + result.out, f"what became of the next one ({result})")
        wait_for(lambda: other.tfq("apply", env=env).code == 0, "a job that is taken again")
        world.wait_unlocked()


@case("a database that is damaged: tfqd does not start, and says how to go on")
def damaged():
    with World(terraform=False) as world:
        world.kill_daemon()
        path = os.path.join(world.path, "state", "tfqd.db")
        for name in (path + "-wal", path + "-shm"):
            if os.path.exists(name):
                os.unlink(name)
        with open(path, "r+b") as file:
            file.write(b"this is no database, whatever else it may be")
        program = world.start_daemon(wait=False)
        same(program.process.wait(10), 65, "the exit code")
        contains(program.err, path, "restore", "move it away")


@case("a database of a newer tfqd is left alone")
def newer():
    with World(terraform=False) as world:
        world.kill_daemon()
        path = os.path.join(world.path, "state", "tfqd.db")
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        program = world.start_daemon(wait=False)
        same(program.process.wait(10), 65, "the exit code")
        contains(program.err, path, "newer")


if __name__ == "__main__":
    main()
