#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Leases that run out: whoever ran under one is stopped before, and another tfqd goes on after, never in between.

The shortest lease there is has 10 s, and is waited out for 10 s * 1.1 / 0.9 + 30 s. So everything that has to wait
for that does so at the same time, in one case, each with hosts of its own: a World is a host.
"""
import contextlib
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUCKET, World, case, check, contains, is_alive, main, same, wait_for  # noqa: E402
from rows import RAW, arrived, boottime, kill_daemon  # noqa: E402

LEASE, GRACE, MARGIN = 10.0, 2.0, 5.0
WATCH = LEASE * 1.1 / 0.9 + 30
CONFIG = "[lock]\nlease = 10s\nrenew = 1s\nstop_grace = 2s\npoll_min = 100ms\npoll_max = 200ms\n{more}" \
         "[aws]\nrequest_timeout = 400ms\nconnect_timeout = 300ms\n"

# Writes down when it lived last, and when it was interrupted; does not end by itself, nor does a grandchild in a
# session of its own.
STUBBORN = """\
echo $$ > pid
trap 'echo INT $(cut -d" " -f1 /proc/uptime) >> life.log' INT
setsid sh -c 'trap "" INT TERM; echo $$ > pid2; while [ ! -e end ]; do sleep 0.05; cut -d" " -f1 /proc/uptime >> last2; done' &
echo started
while [ ! -e end ]; do sleep 0.05; cut -d" " -f1 /proc/uptime >> last; done
"""
RUNS = "cut -d' ' -f1 /proc/uptime > began; echo ran\n"


def config(takeover="auto"):
    return CONFIG.format(more=f"takeover = {takeover}\n")


def host(stack, **options):
    return stack.enter_context(World(options.pop("config", config()), terraform=False, **options))


def last_write(world, key):
    """When the last write of the lock that was done had arrived, CLOCK_BOOTTIME."""
    return arrived([entry for entry in world.requests() if entry["op"] in ("PutObject", "PutItem") and
                    entry["key"] in (key + ".tflock", f"{BUCKET}/{key}")][-1])


def mode_of(key):
    return "dynamodb" if "item" in key else "s3"


def start_stubborn(world, key, name="holder"):
    work = world.directory(name, key=key, mode=mode_of(key), init="by hand")
    program = work.spawn("apply", env=world.fake_terraform(STUBBORN))
    wait_for(lambda: "started" in program.out and work.has("pid2"), f"the start of {key}")
    return work, program


def seen(work, name):
    return float(work.read(name).split()[-1])


def pids(work):
    return [int(work.read(name)) for name in ("pid", "pid2")]


def check_fenced(store, work, key, grace_used=True):
    """Everything was dead before the lease could end; terraform had one SIGINT, in time and not before."""
    begun = last_write(store, key)
    wait_for(lambda: not any(map(is_alive, pids(work))), f"the end of all of {key}", 30)
    deadline = begun + LEASE + 0.1  # counted from before the request was sent
    died = max(seen(work, "last"), seen(work, "last2"))
    check(died < deadline, f"a process of {key} lived {died - deadline:.2f} s too long")
    interrupts = [float(line.split()[1]) for line in work.read("life.log").splitlines()]
    same(len(interrupts), 1, f"the number of interrupts of {key}")
    early = deadline - MARGIN - GRACE - interrupts[0]
    check(-1 < early < 1.5, f"the interrupt of {key} came {early:.2f} s before its time")
    return died


@case("a stopped tfqd, and a store that is cut off: terraform is interrupted once and dead before the lease ends")
def fenced():
    with contextlib.ExitStack() as stack:
        stopped, cut = host(stack), host(stack)
        works = [start_stubborn(world, "app/a", "holder") for world in (stopped, cut)]
        for world in (stopped, cut):
            wait_for(lambda w=world: len(w.lock_requests("app/a")) >= 2, "a renewal")
        os.kill(stopped.daemon.pid, signal.SIGSTOP)
        cut.server.set_faults([{"service": "s3", "do": "drop-before", "count": -1}])
        try:
            check_fenced(stopped, works[0][0], "app/a")
        finally:
            os.kill(stopped.daemon.pid, signal.SIGCONT)
        check_fenced(cut, works[1][0], "app/a")
        cut.server.set_faults([])
        for world, (_, program) in zip((stopped, cut), works):
            result = program.wait(30)
            check(result.code not in (0, 125), f"exit code {result.code}")
            contains(result.err, "has not renewed the lease", "could not be renewed, so terraform was stopped")
            world.wait_unlocked("app/a", 60)


@case("the lease of a host that died with its runners is taken over after the wait, by policy, and nothing else is",
      seconds=180)
def takeover():
    with contextlib.ExitStack() as stack:
        store = host(stack, daemon=False)
        dead, frozen, alive = (host(stack, url=store.url) for _ in range(3))
        taker, asker = host(stack, url=store.url), host(stack, url=store.url, config=config("ask"))
        holders = {key: start_stubborn(world, key, "holder" + key[-1])[0]
                   for key, world in (("k/auto1", dead), ("k/ask2", dead), ("k/frozen3", frozen), ("k/live4", alive),
                                     ("k/item6", dead))}
        store.server.put_object(BUCKET, "k/raw5.tflock", json.dumps(dict(RAW, Path=f"{BUCKET}/k/raw5")).encode())

        waiters = {}
        for key, world in (("k/auto1", taker), ("k/frozen3", taker), ("k/live4", taker), ("k/raw5", taker),
                           ("k/item6", taker), ("k/ask2", asker)):
            work = world.directory("waiter" + key[-1], key=key, mode=mode_of(key), init="by hand")
            waiters[key] = work, work.spawn("apply", env=world.fake_terraform(RUNS))
            wait_for(lambda p=waiters[key][1]: "locked by" in p.err, f"the wait for {key}")

        begun = boottime()
        kill_daemon(dead, with_runners=True)
        os.kill(frozen.daemon.pid, signal.SIGSTOP)
        for key in ("k/auto1", "k/ask2", "k/item6"):  # terraform goes with its runner; a dead host's other processes by our hand
            wait_for(lambda k=key: not is_alive(pids(holders[k])[0]), "the end of the terraform of a dead runner")
            os.kill(pids(holders[key])[1], signal.SIGKILL)
        check(boottime() - begun < 5, "terraform outlived its runner")

        last = {key: last_write(store, key) for key in ("k/auto1", "k/frozen3", "k/item6")}
        for key, written in last.items():
            work, program = waiters[key]
            result = program.wait(90)
            same((result.code, result.out), (0, "ran\n"), f"{key} ({result.err})")
            began = seen(work, "began")
            check(began > written + WATCH - 0.1, f"{key} was taken over {written + WATCH - began:.2f} s too early")
            check(began < written + WATCH + 10, f"{key} was taken over {began - written - WATCH:.2f} s late")
            check(began > max(seen(holders[key], "last"), seen(holders[key], "last2")), f"two at once on {key}")
        contains(taker.log(), "was taken over")

        # By policy somebody has to say so, and is told how.
        work, program = waiters["k/ask2"]
        wait_for(lambda: "tfq unlock" in program.err, "the word how to go on", 30)
        lock = store.lock("k/ask2")
        check(program.is_running(), "a lock was taken over although an operator was to be asked")
        command = ["unlock", f"s3://{BUCKET}/k/ask2", "--id", lock["ID"]]
        contains(program.err, f"tfq unlock 's3://{BUCKET}/k/ask2' --id {lock['ID']}")
        check(work.tfq(*command).code != 0, "unlock removed a lock without asking")
        same(work.tfq(*command[:-1], "another", "--yes").code != 0, True, "the wrong ID was refused")
        who = work.tfq("who", command[1]).out
        contains(who, lock["ID"], lock["Who"], "run out")
        result = work.tfq(*command, "--yes")
        same(result.code, 0, f"unlock ({result.err})")
        same(program.wait(30).code, 0, "who waited for it")
        contains(asker.log(), "orders that lock " + lock["ID"])

        # Raw terraform's, and one that is renewed, stay.
        for key in ("k/raw5", "k/live4"):
            check(waiters[key][1].is_running(), f"{key} was taken over")
        same(store.lock("k/raw5")["ID"], RAW["ID"], "the raw lock")
        check(all(map(is_alive, pids(holders["k/live4"]))), "a live holder was stopped")
        for _, program in waiters.values():
            program.end()
        holders["k/live4"].write("end", "")
        store.wait_unlocked("k/live4")
        kill_daemon(frozen, with_runners=True)


if __name__ == "__main__":
    main()
