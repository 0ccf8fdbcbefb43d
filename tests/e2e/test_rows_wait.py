#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rows of tests/SCENARIOS.md in which a lease has to run out: crashes, several who wait, what is never taken.

The shortest lease has 10 s and is waited out for 10 s * 1.1 / 0.9 + 30 s. All cases begin with the first one, each
with a store and hosts of its own; a host is a World.
"""
import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUCKET, World, check, children_of, contains, is_alive, lacks, main, same, wait_for  # noqa: E402
from rows import (WAITS, arrived, boottime, directory, kill_daemon, lock_of, parallel, renewed,  # noqa: E402
                  requests, rule, start, tfqd)

LEASE = 10.0
WATCH = LEASE * 1.1 / 0.9 + 30
CONFIG = "[lock]\nlease = 10s\nrenew = 1s\nstop_grace = 1s\npoll_min = 100ms\npoll_max = 300ms\n" \
         "[aws]\nrequest_timeout = 1200ms\nconnect_timeout = 500ms\n"
OTHER_KEYS = {"AWS_ACCESS_KEY_ID": "tmpkey", "AWS_SECRET_ACCESS_KEY": "tmpsecret", "AWS_SESSION_TOKEN": "tmptoken"}
SHARED = """\
echo "start $(cut -d" " -f1 /proc/uptime)" >> {0}
echo started
sleep 1
echo "end $(cut -d" " -f1 /proc/uptime)" >> {0}
"""
# Will not end by itself; writes down when it lived last. So does a grandchild in a session of its own.
STUBBORN = """\
echo $$ > pid
trap 'echo INT >> interrupts' INT
setsid sh -c 'trap "" INT TERM; echo $$ > pid2
    while :; do sleep 0.1; cut -d" " -f1 /proc/uptime >> last2; done' &
while [ ! -e pid2 ]; do sleep 0.01; done
echo started
while :; do sleep 0.1; cut -d" " -f1 /proc/uptime >> last; done
"""

@contextlib.contextmanager
def hosts(count, takeover="auto"):
    """So many hosts on one store, which is the first one's."""
    config = CONFIG.replace("[aws]", f"takeover = {takeover}\n[aws]")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(World(config, terraform=False))
        yield [first] + [stack.enter_context(World(config, terraform=False, url=first.url)) for _ in range(count - 1)]


def written(world, store):
    """When the last write that was done had arrived."""
    done = [entry for entry in requests(world, store) if entry["applied"] == 200 and
            entry["op"] in ("PutObject", "PutItem")]
    return arrived(done[-1])


def queue_behind(world, store, shared, name="waiter", **env):
    work = directory(world, store, name)
    program = work.spawn("apply", env=dict(world.fake_terraform(SHARED.format(shared)), **env))
    wait_for(lambda: "locked by" in program.err, f"the wait ({program.err})")
    return program


def marks(shared):
    with open(shared, encoding="ascii") as file:
        return [(word, float(when)) for word, when in map(str.split, file)]


def check_one_at_a_time(shared, count):
    words = [word for word, _ in marks(shared)]
    same(words, ["start", "end"] * count, "who ran when")


def check_dead_before(work, moment):
    """All of a stubborn terraform."""
    for name in ("pid", "pid2"):
        wait_for(lambda n=name: not is_alive(int(work.read(n))), f"the end of {name}")
    died = max(float(work.read(name).split()[-1]) for name in ("last", "last2"))
    check(died < moment, f"a process lived {died - moment:.2f} s too long")


def check_taken_in_time(shared, last_write):
    began = marks(shared)[0][1]
    check(began > last_write + WATCH - 0.1, f"taken over {last_write + WATCH - began:.2f} s too early")
    check(began < last_write + WATCH + 10, f"taken over {began - last_write - WATCH:.2f} s late")


# --- rows 8 to 10, 12: crashes, and a network that is gone ---------------------------------

def create_hangs(store, do):
    with hosts(2) as (one, two):
        shared = os.path.join(one.path, "shared")
        one.server.set_faults([rule(store, "create", do)])
        work = directory(one, store)
        work.spawn("apply", env=one.fake_terraform("echo ran >> runs\n"))
        wait_for(lambda: [entry for entry in requests(one, store) if entry["fault"]], "the request")
        if do == "hang-after":
            wait_for(lambda: lock_of(one, store), "that it was carried out")
        kill_daemon(one, with_runners=True)
        one.server.set_faults([])
        if do == "hang":
            program = directory(two, store).spawn("apply", env=two.fake_terraform(SHARED.format(shared)))
            same(program.wait(20).code, 0, f"the other host's exit code ({program.err})")
        else:
            seen = boottime()
            program = queue_behind(two, store, shared)
            same(program.wait(70).code, 0, f"the other host's exit code ({program.err})")
            check_taken_in_time(shared, seen)
        check(not work.has("runs"), "terraform ran without a lock")
        wait_for(lambda: lock_of(one, store) is None, "the end of the lock")


@parallel("8: a tfqd that is killed while its request for the lock is under way: the request was not carried out")
def crash_before():
    for store in ("S3", "DynamoDB"):
        create_hangs(store, "hang")


for name in ("S3", "DynamoDB"):
    parallel(f"8: ... it was carried out, and the answer found nobody: another host takes it after the wait ({name})",
             name, "hang-after")(create_hangs)


@parallel("8: a tfqd that is killed while a renewal is under way, which is carried out: fenced, then taken over")
def crash_in_renewal():
    with hosts(2) as (one, two):
        shared = os.path.join(one.path, "shared")
        work = directory(one, "S3")
        start(one, work, STUBBORN)
        renewed(one, "S3")
        heard = written(one, "S3")  # what the runner knows of is this one, not the one that is answered to nobody
        before = lock_of(one, "S3")
        one.server.set_faults([rule("S3", "swap", "hang-after")])
        wait_for(lambda: lock_of(one, "S3") != before and
                 [entry for entry in requests(one, "S3") if entry["fault"]], "the renewal that hangs")
        last = written(one, "S3")
        kill_daemon(one)
        one.server.set_faults([])
        program = queue_behind(two, "S3", shared)
        wait_for(lambda: not is_alive(int(work.read("pid2"))), "the end of all that ran", 20)
        check_dead_before(work, heard + 1.5 + LEASE)
        same(program.wait(70).code, 0, f"the other host's exit code ({program.err})")
        check_taken_in_time(shared, last)


@parallel("9: a tfqd that is killed and comes back while terraform runs: its lock is renewed again, nobody is stopped")
def daemon_comes_back():
    with hosts(2) as (one, two):
        shared = os.path.join(one.path, "shared")
        work = directory(one, "S3")
        start(one, work, STUBBORN)
        renewed(one, "S3")
        other = queue_behind(two, "S3", shared, "other")
        one.kill_daemon()
        last = written(one, "S3")
        one.start_daemon()
        wait_for(lambda: written(one, "S3") > last + LEASE, "renewals after the lease of before")
        check(is_alive(int(work.read("pid"))), "terraform was stopped")
        same(os.path.exists(os.path.join(work.path, "interrupts")), False, "an interrupt")
        contains(one.log(), "is regained")
        os.kill(int(work.read("pid")), signal.SIGKILL)
        same(other.wait(70).code, 0, f"the other host's exit code ({other.err})")
        check(not is_alive(int(work.read("pid2"))), "the other one ran beside what was left")
        same(one.jobs()[0]["exit_signal"], signal.SIGKILL, "how it ended")


@parallel("9: a tfqd that comes back when its terraform has been stopped: that is known, and the next job goes on soon")
def daemon_comes_late():
    with hosts(1) as (world,):
        shared = os.path.join(world.path, "shared")
        work = directory(world, "S3")
        start(world, work, STUBBORN)
        renewed(world, "S3")
        world.kill_daemon()
        last = written(world, "S3")
        wait_for(lambda: not is_alive(int(work.read("pid2"))), "the end of all that ran", 20)
        check_dead_before(work, last + LEASE)
        same(work.read("interrupts"), "INT\n", "the interrupts")
        world.start_daemon()
        job = world.jobs()[0]
        same((job["status"], job["exit_signal"]), ("failed", signal.SIGKILL), "how it ended")
        contains(job["message"], "the lock could not be renewed, so terraform was stopped")
        program = directory(world, "S3", "next").spawn("apply", env=world.fake_terraform(SHARED.format(shared)))
        same(program.wait(70).code, 0, f"the next job's exit code ({program.err})")
        check(marks(shared)[0][1] > last + 30, "what it had sent last may have landed after that")
        world.wait_unlocked()


@parallel("10: a host that dies with its runners, its lock in DynamoDB: another one takes it after the wait")
def host_dies():
    with hosts(2) as (one, two):
        shared = os.path.join(one.path, "shared")
        work = directory(one, "DynamoDB")
        start(one, work, STUBBORN)
        renewed(one, "DynamoDB")
        program = queue_behind(two, "DynamoDB", shared)
        kill_daemon(one, with_runners=True)
        last = written(one, "DynamoDB")
        os.kill(int(work.read("pid2")), signal.SIGKILL)  # what a dead host takes with it
        same(program.wait(70).code, 0, f"the other host's exit code ({program.err})")
        check_taken_in_time(shared, last)
        contains(two.log(), "was taken over")
        wait_for(lambda: lock_of(one, "DynamoDB") is None, "the end of the lock")


@parallel("12: a host without network: terraform is dead before the lease ends, and another host goes on after it")
def no_network():
    with hosts(2) as (one, two):
        shared = os.path.join(one.path, "shared")
        work = directory(one, "S3")
        program = start(one, work, STUBBORN, **OTHER_KEYS)
        renewed(one, "S3")
        other = queue_behind(two, "S3", shared)
        one.server.set_faults([{"do": "drop-before", "key_id": "tmpkey", "count": -1}])
        last = written(one, "S3")
        result = program.wait(30)
        check_dead_before(work, last + LEASE)
        contains(result.err, "the lock could not be renewed, so terraform was stopped")
        same(other.wait(70).code, 0, f"the other host's exit code ({other.err})")
        check_taken_in_time(shared, last)
        one.server.set_faults([])
        two.wait_unlocked()


# --- rows 16, 17 ---------------------------------------------------------------------------

def swaps(world, applied):
    return [entry for entry in requests(world, "S3") if entry["method"] == "PUT" and
            "if-match" in entry["headers"] and entry["key_id"] == "tmpkey" and entry["applied"] == applied]


@parallel("16: three hosts wait for the same dead lease, and reach for it at the same moment: one gets it at a time")
def three_watchers():
    with hosts(4) as (dead, *watchers):
        shared = os.path.join(dead.path, "shared")
        work = directory(dead, "S3")
        start(dead, work, STUBBORN)
        programs = [queue_behind(world, "S3", shared, **OTHER_KEYS) for world in watchers]
        kill_daemon(dead, with_runners=True)
        os.kill(int(work.read("pid2")), signal.SIGKILL)
        last = written(dead, "S3")
        dead.server.set_faults([dict(rule("S3", "swap", "delay"), key_id="tmpkey", ms=900, count=3)])
        same([program.wait(80).code for program in programs], [0] * 3, "the exit codes")
        check_taken_in_time(shared, last)
        check_one_at_a_time(shared, 3)
        check(swaps(dead, 412), "nobody reached for it together with another: this shows nothing")
        same(sum(world.log().count("was taken over") for world in watchers), 1, "takeovers")
        watchers[0].wait_unlocked()


@parallel("17: a holder who was silent for too long hands over while two others take over: one at a time")
def hand_over_in_takeover():
    with hosts(3) as (holder, *watchers):
        shared = os.path.join(holder.path, "shared")
        work = directory(holder, "S3")
        first = start(holder, work, WAITS, CODE="1")
        following = work.spawn("apply", env=holder.fake_terraform(SHARED.format(shared)))
        wait_for(lambda: len(holder.jobs()) == 2, "the next job")
        programs = [queue_behind(world, "S3", shared, **OTHER_KEYS) for world in watchers]
        os.kill(holder.daemon.pid, signal.SIGSTOP)
        last = written(holder, "S3")
        holder.server.set_faults([dict(rule("S3", "swap", "delay"), key_id="tmpkey", ms=900, count=2)])
        try:
            wait_for(lambda: [entry for entry in requests(holder, "S3") if entry["fault"]], "a takeover", 70)
            check(boottime() > last + WATCH - 0.1, "a takeover before its time")
        finally:
            os.kill(holder.daemon.pid, signal.SIGCONT)
        same([program.wait(60).code for program in (*programs, following)], [0] * 3,
             f"the exit codes ({following.err})")
        check(first.wait(10).code != 0, "the job whose lease ran out has ended well")
        check_one_at_a_time(shared, 3)
        check(swaps(holder, 412), "no takeover was refused: this shows nothing")
        holder.wait_unlocked()


# --- row 25: never taken over --------------------------------------------------------------

@parallel("25: what is no lease of a version that is known is never taken over, however long it stays as it is")
def never_taken():
    bodies = {"a": b"", "b": b"locked!", "c": tfqd(v=2), "d": tfqd(lease="10"), "e": tfqd(lease=9),
              "f": tfqd(nonce="0"), "g": tfqd() + b"x"}
    with hosts(1) as (world,):
        programs = []
        for key, body in bodies.items():
            world.server.put_object(BUCKET, key + ".tflock", body)
            work = world.directory(key, key=key, init="by hand")
            programs.append(work.spawn("apply", env=world.fake_terraform("echo ran\n")))
        wait_for(lambda: all("queued on" in program.err for program in programs), "all that wait")
        end = boottime() + WATCH + 3
        wait_for(lambda: boottime() > end, "the wait", WATCH + 10)
        for (key, body), program in zip(bodies.items(), programs):
            check(program.is_running(), f"{key} was taken")
            same(world.objects()[key + ".tflock"].body, body, f"what lies at {key}")
        same([entry for entry in world.requests() if entry["method"] == "PUT" and entry["key"].endswith(".tflock")],
             [], "writes")
        for key in bodies:
            world.server.delete_object(BUCKET, key + ".tflock")
        same([program.wait(20).code for program in programs], [0] * len(bodies), "the exit codes")


# --- row 28 --------------------------------------------------------------------------------

@parallel("28: a child that cannot be killed by the end of the lease: the lock is renewed and kept until it is gone")
def will_not_die():
    with hosts(2) as (world, other):
        shared = os.path.join(world.path, "shared")
        work = directory(world, "S3")
        program = start(world, work, STUBBORN)
        renewed(world, "S3")
        following = work.spawn("apply", env=world.fake_terraform(SHARED.format(shared)))
        behind = queue_behind(other, "S3", shared, **OTHER_KEYS)
        runner = next(pid for pid in children_of(world.daemon.pid) if int(work.read("pid")) in children_of(pid))
        world.server.set_faults([{"do": "drop-before", "key_id": "testkey", "count": -1}])
        os.kill(runner, signal.SIGSTOP)  # it kills nobody and reports nothing
        try:
            world.wait_log("has run out", 20)
            check(is_alive(int(work.read("pid"))), "terraform is dead")
            world.server.set_faults([])
            renewed(world, "S3", 3)  # it is not free as long as somebody may write
            same([following.out, behind.out], ["", ""], "what ran beside it")
            check(is_alive(int(work.read("pid"))), "terraform is dead, so this shows nothing")
        finally:
            os.kill(runner, signal.SIGCONT)
        result = program.wait(20)
        check(result.code != 0, "the exit code is 0")
        contains(result.err, "the lock could not be renewed before its lease ran out")
        check(not is_alive(int(work.read("pid"))), "terraform is alive")
        same([each.wait(60).code for each in (following, behind)], [0, 0], "the exit codes")
        check_one_at_a_time(shared, 2)
        check(float(work.read("last").split()[-1]) < marks(shared)[0][1], "two at once")
        lacks(other.log(), "was taken over")
        world.wait_unlocked()


if __name__ == "__main__":
    main()
