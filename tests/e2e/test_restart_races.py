#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the crash test has found, each made to happen: locks that nobody would have removed any more."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import World, case, check, main, same, wait_for  # noqa: E402
from rows import ITEM, LOCK, QUICK, STORES, directory, kill_daemon, lock_of, met, start  # noqa: E402


def slow_read(store):
    """The next time the lock is read it takes a while."""
    which = {"service": "s3", "op": "GetObject", "suffix": LOCK} if store == "S3" else \
        {"service": "dynamodb", "op": "GetItem", "suffix": ITEM}
    return {**which, "do": "delay", "ms": 500}


def slow_removal(store):
    which = {"service": "s3", "op": "DeleteObject"} if store == "S3" else {"service": "dynamodb", "op": "DeleteItem"}
    return {**which, "do": "hang", "count": -1}


@case("a job that ends while its lock is regained after a restart: the lock goes all the same")
def ends_while_regained():
    for store in STORES:
        with World(QUICK, terraform=False) as world:
            work = directory(world, store)
            program = start(world, work)
            kill_daemon(world)
            world.server.set_faults([slow_read(store)])
            world.start_daemon()
            wait_for(lambda w=world: met(w) == 1, "the look at the lock")
            work.write("end", "")
            same(program.wait(30).code, 0, f"{store}: the client's exit code")
            check(lock_of(world, store) is not None, f"{store}: the lock was gone before; this proves nothing")
            wait_for(lambda w=world, s=store: lock_of(w, s) is None, f"{store}: the end of the lock", 10)


@case("a tfqd that is stopped while it removes a lock of before: the next one does")
def stopped_while_swept():
    for store in STORES:
        with World(QUICK, terraform=False) as world:
            work = directory(world, store)
            program = start(world, work)
            world.server.set_faults([slow_removal(store)])
            work.write("end", "")
            same(program.wait(30).code, 0, f"{store}: the client's exit code")
            wait_for(lambda w=world: met(w) == 1, "the removal")
            kill_daemon(world)
            world.server.set_faults([slow_read(store)])
            world.start_daemon()
            wait_for(lambda w=world: met(w) == 2, "the look at the lock")
            world.daemon.send(signal.SIGTERM)
            same(world.daemon.process.wait(30), 0, f"{store}: the end of tfqd")
            check(lock_of(world, store) is not None, f"{store}: the lock was gone before; this proves nothing")
            world.start_daemon()
            wait_for(lambda w=world, s=store: lock_of(w, s) is None, f"{store}: the end of the lock", 10)


if __name__ == "__main__":
    main()
