#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rows of tests/SCENARIOS.md, on either store: writes that fail, and what lies where the lock belongs.

The variants of a case run at the same time, each in a world of its own.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from credserver import CredServer  # noqa: E402
from harness import BUCKET, World, case, check, contains, lacks, main, same, wait_for  # noqa: E402
from rows import (LOCK, QUICK, RAW, STORES, WAITS, directory, finish, lock_of, met, parallel, put_raw,  # noqa: E402
                  remove, renewed, requests, rule, side_by_side, start)
from s3server import Key, Version  # noqa: E402


def write_fails(store, write, rules):
    with World(QUICK, terraform=False) as world:
        work = directory(world, store)
        rules = [rule(store, write, **fields) for fields in rules]
        if write == "create":
            world.server.set_faults(rules)
        program = start(world, work)
        if write == "swap":
            world.server.set_faults(rules)
        elif write == "remove":
            renewed(world, store)
            world.server.set_faults(rules)
            work.write("end", "")
        wait_for(lambda: met(world) >= len(rules), f"the fault {rules}")
        if write == "swap":
            renewed(world, store, 2)
        finish(world, work, program, store)
        lacks(world.log(), "replaced by", "removed by somebody", "run out")


def variants(*rules):
    return [(store, write, list(rules)) for store in STORES for write in ("create", "swap", "remove")]


# --- rows 1 to 6, 27 -----------------------------------------------------------------------

@case("1, 2: a request or an answer that is lost, once or three times, to each write of each store")
def lost():
    side_by_side(write_fails, variants({"do": "drop-before"}) + variants({"do": "drop-after"}) +
                 variants({"do": "drop-after", "count": 3}))


@case("3, 4: an answer that comes too late, and a write that is carried out after it was given up")
def late():
    side_by_side(write_fails, variants({"do": "delay-after", "ms": 1500}) + variants({"do": "delay", "ms": 900}) +
                 variants({"do": "delay", "ms": 2500}))


def conflict(store):
    if store == "S3":
        return {"do": "error", "status": 409, "code": "ConditionalRequestConflict"}
    return {"do": "error", "status": 400, "code": "TransactionConflictException"}


def refusal(store):
    if store == "S3":
        return {"do": "error-after", "status": 412, "code": "PreconditionFailed"}
    return {"do": "error-after", "status": 400, "code": "ConditionalCheckFailedException"}


@case("5, 6: a conflict, and a refusal of what was carried out: each write of each store")
def refused():
    side_by_side(write_fails, [(store, write, [make(store)]) for make in (conflict, refusal) for store in STORES
                               for write in ("create", "swap", "remove")])


def resent(store, write):
    """libcurl sends a request again by itself if a connection that it has used before dies without an answer."""
    with World(QUICK, terraform=False) as world:
        work = directory(world, store)
        if write == "create":  # on a connection that is used already
            same(work.tfq("apply", env=world.fake_terraform("true\n")).code, 0, "the job before")
            wait_for(lambda: lock_of(world, store) is None, "the end of its lock")
            world.server.set_faults([rule(store, write, "drop-after")])
        program = start(world, work)
        if write == "swap":
            renewed(world, store)
            world.server.set_faults([rule(store, write, "drop-after")])
            renewed(world, store, 2)
        elif write == "remove":
            renewed(world, store)
            world.server.set_faults([rule(store, write, "drop-after")])
        work.write("end", "")
        same(program.wait(30).code, 0, "the exit code")
        wait_for(lambda: lock_of(world, store) is None, "the end of the lock")
        log = requests(world, store)
        at = [entry["fault"] for entry in log].index("drop-after")
        again = wait_for(lambda: next((entry for entry in requests(world, store)[at + 1:]
                                       if entry["op"] == log[at]["op"]), None), "that it is sent again")
        same(log[at]["applied"] in (200, 204), True, "that it was carried out the first time")
        if write != "remove":  # the same nonce: it was not tfqd that sent it again
            same(again["body"], log[at]["body"], "what was sent again")
            check(again["applied"] in (400, 412), f"the second one was answered {again['applied']}")
        same(work.read("runs"), "ran\n", "who ran")
        lacks(world.log(), "replaced by", "removed by somebody")


@case("27: a kept-alive connection that dies after the write: what libcurl sends again by itself is known as ours")
def resends():
    side_by_side(resent, [(store, write) for store in STORES for write in ("create", "swap", "remove")])


# --- rows 7, 13, 14, 21 to 24 --------------------------------------------------------------

def vanished(store, versioned):
    with World(QUICK, terraform=False, server={"versioned": versioned}) as world:
        work = directory(world, store)
        program = start(world, work)
        if versioned:  # a DELETE leaves a marker
            with world.server.lock:
                bucket = world.server.s3.buckets[BUCKET]
                bucket.add(LOCK, Version(b"", {}, world.server.now(), bucket.new_version_id(), marker=True))
        else:
            remove(world, store)
        wait_for(lambda: lock_of(world, store), "the lock is back")
        world.wait_log("removed by somebody")
        finish(world, work, program, store)


@case("7, 24: a lock that is gone at its renewal is taken again, also where a delete marker lies")
def gone():
    side_by_side(vanished, [("S3", False), ("DynamoDB", False), ("S3", True)])


def outage(store):
    busy = {"do": "error", "count": -1, "service": "s3" if store == "S3" else "dynamodb"}
    busy.update({"status": 503, "code": "SlowDown"} if store == "S3" else
                {"status": 400, "code": "ThrottlingException"})
    with World(QUICK, terraform=False) as world:
        work = directory(world, store)
        program = start(world, work)
        before = lock_of(world, store)
        world.server.set_faults([busy])
        behind = work.spawn("apply", env=world.fake_terraform("echo ran >> runs\n"))
        refusals = lambda: [each["time"] for each in requests(world, store) if each["fault"]]  # noqa: E731
        times = wait_for(lambda: len(refusals()) > 3 and refusals(), "four refusals")
        check(program.is_running() and behind.is_running(), "somebody was not patient")
        same(lock_of(world, store), before, "the lock's version")
        contains(world.log(), busy["code"])
        pauses = [after - before for before, after in zip(times, times[1:])][:3]
        check(all(pause >= least for pause, least in zip(pauses, (0.5, 1, 2))), f"left alone for {pauses} s")
        world.server.set_faults([])
        wait_for(lambda: lock_of(world, store) != before, "a renewal")
        work.write("end", "")
        same([each.wait(40).code for each in (program, behind)], [0, 0], f"the exit codes ({behind.err})")
        same(work.read("runs"), "ran\nran\n", "who ran")
        wait_for(lambda: lock_of(world, store) is None, "the end of the lock")


@parallel("13: a store that answers 503 for longer than many renewals: nobody loses anything, and it is left alone")
def outages():
    side_by_side(outage, [(store,) for store in STORES])


def clock_jumps(store):
    with World(QUICK, terraform=False) as world:
        work = directory(world, store)
        program = start(world, work)
        for offset in (3600.0, -3600.0, 0.0):
            world.server.offset = offset
            renewed(world, store, 2)
        finish(world, work, program, store)
        lacks(world.log(), "run out", "Trouble")


@parallel("14: the wall clocks of store and host come apart by an hour, either way, while a job runs")
def clocks():
    side_by_side(clock_jumps, [(store,) for store in STORES])


def keys_expire(store, recovers):
    env = {"AWS_ACCESS_KEY_ID": "tmpkey", "AWS_SECRET_ACCESS_KEY": "tmpsecret", "AWS_SESSION_TOKEN": "tmptoken",
           "CODE": "0" if recovers else "1"}
    config = QUICK if recovers else QUICK.replace("60s", "10s").replace("5s", "1s")
    with World(config, terraform=False) as world:
        work = directory(world, store)
        program = start(world, work, **env)
        world.server.keys["tmpkey"] = Key("tmpsecret", token="tmptoken", expired=True)
        world.wait_log("ExpiredToken")
        contains(world.log(), "Trouble with the lock of", "log in again")
        lacks(world.log(), "tmpsecret", "tmptoken")
        if recovers:
            before = lock_of(world, store)
            world.server.keys["tmpkey"] = Key("tmpsecret", token="tmptoken")
            wait_for(lambda: lock_of(world, store) != before, "a renewal")
            finish(world, work, program, store)
            return
        result = program.wait(30)
        contains(result.out, "interrupt")
        same(result.code, 1, "the exit code")
        contains(result.err, "the lock could not be renewed, so terraform was stopped", "ExpiredToken", "log in again")
        check(lock_of(world, store), "a lock was removed with keys that are not valid")
        world.server.keys["tmpkey"] = Key("tmpsecret", token="tmptoken")
        wait_for(lambda: lock_of(world, store) is None, "the end of the lock")


@parallel("21: keys that expire while a job runs: said, with what to do; the job runs as long as its lease")
def expiry():
    side_by_side(keys_expire, [(store, recovers) for store in STORES for recovers in (True, False)])


@parallel("21: the metadata service is gone, and the keys expire: said; the lock is renewed when there are others")
def no_metadata_service():
    def known(role, **options):
        world.server.keys["ASIA-" + role] = Key("secret-of-" + role, token=f"token-of-{role}+/=", **options)
    with CredServer() as giver, World(QUICK, terraform=False) as world:
        known("box")
        work = directory(world, "S3")
        work.change_backend(skip_metadata_api_check=False)
        program = start(world, work, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="",
                        AWS_EC2_METADATA_SERVICE_ENDPOINT=giver.url)
        renewed(world, "S3")
        same(requests(world, "S3")[-1]["key_id"], "ASIA-box", "whose key it was")
        for op in ("ImdsToken", "ImdsRole", "ImdsKeys"):
            giver.fault(op, drop=True, count=1000)
        known("box", expired=True)
        world.wait_log("(instance role box) have expired and are being renewed")
        world.wait_log("Cannot renew the AWS credentials of uid")
        check(program.is_running() and "interrupt" not in program.out, "terraform was stopped before its time")
        lacks(world.log(), "secret-of", "token-of", "log in again")
        before = lock_of(world, "S3")
        giver.role = "other"
        known("other")
        giver.faults.clear()
        wait_for(lambda: lock_of(world, "S3") != before, "a renewal")
        work.write("end", "")
        same(program.wait(20).code, 0, "the exit code")
        wait_for(lambda: lock_of(world, "S3") is None, "the end of the lock")
        same(requests(world, "S3")[-1]["key_id"], "ASIA-other", "whose key it was at the end")


def may_not_list(kind):
    env = {"AWS_ACCESS_KEY_ID": "nolist", "AWS_SECRET_ACCESS_KEY": "nolistsecret"}
    with World(QUICK, terraform=False) as world:
        work = directory(world, "S3")
        if kind == "behind another":
            put_raw(world, "S3")
            program = work.spawn("apply", env=dict(world.fake_terraform(WAITS), **env))
            wait_for(lambda: "tf@elsewhere" in program.err, "the name of the holder")
            remove(world, "S3")
            wait_for(lambda: "started" in program.out, "the start, once it is gone")
        else:
            program = start(world, work, **env)
        if kind == "removed":
            remove(world, "S3")
            wait_for(lambda: lock_of(world, "S3"), "the lock is back")
        if kind == "lost":
            world.server.set_faults([rule("S3", "swap", "drop-after", count=2)])
        renewed(world, "S3", 2)
        behind = work.spawn("apply", env=dict(world.fake_terraform("echo ran >> runs\n"), **env))
        work.write("end", "")
        same([each.wait(30).code for each in (program, behind)], [0, 0], f"the exit codes ({behind.err})")
        wait_for(lambda: lock_of(world, "S3") is None, "the end of the lock")
        same({entry["key_id"] for entry in requests(world, "S3")}, {"nolist"}, "whose key it was")
        same(work.read("runs"), "ran\nran\n", "who ran")


@parallel("22: without the right to list, where what is absent answers 403, a lock lives as usual")
def nolist():
    side_by_side(may_not_list, [("taken",), ("behind another",), ("removed",), ("lost",)])


def lies(quirk, words):
    with World(QUICK, terraform=False) as world:
        world.server.set_quirks({quirk: True})
        work = directory(world, "S3")
        if words is None:
            program = start(world, work)
            renewed(world, "S3", 2)
            finish(world, work, program, "S3")
        else:
            result = work.tfq("apply", env=world.fake_terraform("echo ran\n"), seconds=30)
            same((result.code, result.out), (125, ""), f"how it ended ({result.err})")
            contains(result.err, *words, world.url, "dynamodb_table", "AWS S3, current MinIO or Ceph")
            same(requests(world, "S3"), [], "requests for the lock")
        same([key for key in world.objects() if "probe" in key], [], "what the probe has left")


@case("23: a store that ignores conditions is refused by its name; one with manners of its own is not")
def liars():
    side_by_side(lies, [("ignore_if_none_match", ["ignores If-None-Match"]), ("ignore_if_match", ["ignores If-Match"]),
                        ("no_conditional_delete", None), ("unquoted_etag_only", None), ("resurrects", None)])


def replaced_on_such_a_store(quirk):
    """Where a DELETE looks at no condition, it is not sent if another's lock lies there."""
    with World(QUICK, terraform=False) as world:
        world.server.set_quirks({quirk: True})
        work = directory(world, "S3")
        program = start(world, work)
        put_raw(world, "S3")
        work.write("end", "")
        program.wait(30)
        world.wait_log("was replaced by tf@elsewhere")
        same(world.lock(), RAW, "the other's lock")


@case("23: on a store that deletes whatever is there another's lock is not deleted")
def replaced():
    replaced_on_such_a_store("no_conditional_delete")


@case("24: in a versioned bucket, where a delete marker lies, the lock is taken again and again")
def versioned_bucket():
    with World(QUICK, terraform=False, server={"versioned": True}) as world:
        work = directory(world, "S3")
        for count in range(1, 4):  # the second and third find a delete marker
            same(work.tfq("apply", env=world.fake_terraform("echo ran >> runs\n")).code, 0, "the exit code")
            world.wait_unlocked()
            with world.server.lock:
                check(world.server.s3.buckets[BUCKET].latest(LOCK).marker, "no marker lies there")
            same(work.read("runs"), "ran\n" * count, "who ran")


main()
