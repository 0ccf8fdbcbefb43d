#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq who and tfq unlock where the lock is a file in S3, an item in DynamoDB, or both."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (BUCKET, HOLD, KEY, MODES, TABLE, TFQ, World, case, check, contains, lacks,  # noqa: E402
                     main, same, wait_for)
from rows import ITEM, RAW  # noqa: E402

STATE = f"s3://{BUCKET}/{KEY}"
STORES = {"s3": ["s3"], "dynamodb": ["dynamodb"], "both": ["s3", "dynamodb"]}
KINDS = {"s3": "lock file in S3", "dynamodb": "item in DynamoDB"}
POLL = "[lock]\npoll_min = 100ms\npoll_max = 200ms\n"
OTHER = dict(RAW, ID="22222222-2222-3333-4444-555555555555", Who="tf@somewhere")

WAITS = "echo started\ntrap 'touch end' INT\nwhile [ ! -e end ]; do sleep 0.05; done\n"
RUNS = "echo ran\n"


def text(info):
    return json.dumps(info, separators=(",", ":"))


def put_item(world, item, key=ITEM):
    with world.server.lock:
        world.server.dynamodb.tables[TABLE][key] = dict(item, LockID={"S": key})


def drop_item(world, key=ITEM):
    with world.server.lock:
        world.server.dynamodb.tables[TABLE].pop(key, None)


def put_raw(world, where, info=None):
    if where == "s3":
        world.server.put_object(BUCKET, KEY + ".tflock", text(info or RAW).encode())
    else:
        put_item(world, {"Info": {"S": text(info or RAW)}})


def waiting(world, work, who="tf@elsewhere"):
    program = work.spawn("apply", env=world.fake_terraform(RUNS))
    wait_for(lambda: f"locked by {who}" in program.err, f"the name of the holder ({program.err})")
    return program


def who(world, work=None, code=0):
    result = work.tfq("who") if work else world.tfq("who", STATE)
    same(result.code, code, f"the exit code of who ({result.err})")
    return result.out + result.err


@case("who: a free lock, in all modes")
def who_free():
    with World(terraform=False) as world:
        for mode in MODES:
            work = world.directory(mode, mode=mode, init="by hand")
            same(who(world, work), STATE + "\n" + "".join(f"{KINDS[where]}: free\n" for where in STORES[mode]), mode)
        contains(who(world, code=64), "nothing is queued on", "tfq who")


@case("who: raw terraform's lock, in all modes, asked in the directory and, while a job waits for it, by name")
def who_raw():
    for mode, stores in STORES.items():
        with World(POLL) as world:
            work = world.directory(mode=mode, command=HOLD)
            raw = work.raw_apply("raw")
            work.wait_started("raw")
            info = world.held()[stores[0]]
            out = who(world, work)
            for where in stores:
                contains(out, f"{KINDS[where]}: Who: {info['Who']} ID: {info['ID']} Since: {info['Created']} "
                              "For: OperationTypeApply Lease: none: a terraform by hand")
            lacks(out, "Here:", "free")
            contains(who(world, code=64), "nothing is queued on")

            program = work.apply("job")
            wait_for(lambda p=program, w=info["Who"]: f"locked by {w}" in p.err, "the name of the holder")
            out = who(world)
            contains(out, "Here: job 1 of", "waits for the lock", f"Who: {info['Who']} ID: {info['ID']}",
                     "a terraform by hand")
            lacks(out, "holds the lock")
            work.write("end", "")
            same([raw.wait().code, program.wait().code], [0, 0], "the exit codes")


@case("who: the lock of a job of this tfqd, in all modes, in the directory and by name")
def who_ours():
    for mode, stores in STORES.items():
        with World(terraform=False) as world:
            work = world.directory(mode=mode, init="by hand")
            program = work.spawn("apply", env=world.fake_terraform(WAITS))
            wait_for(lambda p=program: "started" in p.out, "the start")
            job = world.jobs()[0]
            out = who(world, work)
            contains(out, f"Here: job 1 of {job['user']}, apply: runs, and holds the lock")
            for where in stores:
                contains(out, f"{KINDS[where]}: Who: {world.held()[where]['Who']} ID: {job['lock_id']}")
            same(out.count("Lease:"), len(stores), f"the number of leases in {out!r}")
            lacks(out, "another tfqd", "free", "by hand")
            out = who(world)
            contains(out, "Here: job 1 of", "runs, and holds the lock")
            lacks(out, "another tfqd", "Who:")
            work.write("end", "")
            same(program.wait().code, 0, "the exit code")


@case("who: another tfqd's lock, in all modes")
def who_other_host():
    for mode, stores in STORES.items():
        with World(POLL, terraform=False) as one, World(POLL, terraform=False, url=one.server.url) as two:
            work = one.directory(mode=mode, init="by hand")
            program = work.spawn("apply", env=one.fake_terraform(WAITS))
            wait_for(lambda p=program: "started" in p.out, "the start")
            behind = two.directory(mode=mode, init="by hand")
            out = who(two, behind)
            for where in stores:
                contains(out, f"{KINDS[where]}: Who: {one.held()[where]['Who']} ID: {one.jobs()[0]['lock_id']}")
            same(out.count("another tfqd"), len(stores), "how often another tfqd is named")
            second = behind.spawn("apply", env=two.fake_terraform(RUNS))
            wait_for(lambda p=second: "(another tfqd)" in p.err, "the holder")
            work.write("end", "")
            same([program.wait().code, second.wait().code], [0, 0], "the exit codes")


@case("who: a holder that another kind of job waited for is not named any more")
def who_stale():
    with World(POLL, terraform=False) as world:
        put_raw(world, "s3")
        first = waiting(world, world.directory("one", mode="s3", init="by hand"))
        same(world.tfq("cancel", "1").code, 0, "the exit code of cancel")
        first.wait()
        # The line and what it knows outlive the first one if there is a second one in it.
        for i in range(2):
            put_raw(world, "s3")
            program = waiting(world, world.directory(f"again{i}", mode="s3", init="by hand"))
            work = world.directory(f"two{i}", mode="dynamodb", init="by hand")
            second = work.spawn("apply", env=world.fake_terraform(WAITS))
            wait_for(lambda p=second: "queued on" in p.err, "its place")
            same(world.tfq("cancel", str(world.jobs()[-2]["id"])).code, 0, "the exit code of cancel")
            program.wait()
            wait_for(lambda p=second: "started" in p.out, "the start")
            lacks(who(world), "tf@elsewhere")
            result = world.tfq("unlock", STATE, "--id", RAW["ID"], "--yes")
            check(result.code != 0, "a lock was removed that nobody waits for")
            contains(result.err, "a job of this tfqd holds it")
            check(world.lock(), "the lock file is gone")
            work.write("end", "")
            same(second.wait().code, 0, "the exit code")


# --- unlock -----------------------------------------------------------------------------

@case("unlock removes raw terraform's lock that a job waits for, wherever it is; then the job runs")
def unlock_raw():
    for mode, stores in STORES.items():
        with World(POLL, terraform=False) as world:
            work = world.directory(mode=mode, init="by hand")
            put_raw(world, stores[-1])
            program = waiting(world, work)
            result = world.tfq("unlock", STATE, "--id", OTHER["ID"], "--yes")
            check(result.code != 0, "unlock took another ID")
            contains(result.err, "has another ID by now")
            check(world.tfq("unlock", STATE, "--id", RAW["ID"]).code != 0, "unlock did not ask")
            same(world.held()[stores[-1]], RAW, "the raw lock before")
            result = world.tfq("unlock", STATE, "--id", RAW["ID"], "--yes")
            same(result.code, 0, f"the exit code of unlock ({result.err})")
            contains(result.out, f"Lock {RAW['ID']} of {STATE} is gone.")
            same(program.wait().code, 0, "the exit code")
            world.wait_log(f"orders that lock {RAW['ID']}")
            removal = next(entry for entry in world.requests()
                           if entry["by"] == "tfqd" and entry["op"] in ("DeleteObject", "DeleteItem"))
            check("if-match" in removal["headers"] or ":info" in removal["body"], f"a blind removal: {removal}")
            world.wait_unlocked()


@case("unlock removes raw terraform's two locks one after the other: each by its own order")
def unlock_both():
    with World(POLL, terraform=False) as world:
        work = world.directory(mode="both", init="by hand")
        put_raw(world, "s3")
        put_raw(world, "dynamodb", OTHER)
        program = waiting(world, work)
        same(world.tfq("unlock", STATE, "--id", RAW["ID"], "--yes").code, 0, "the exit code of the first unlock")
        wait_for(lambda: "tf@somewhere" in program.err, "the name of the second holder")
        same(world.held()["dynamodb"], OTHER, "the second lock")
        same(world.tfq("unlock", STATE, "--id", OTHER["ID"], "--yes").code, 0, "the exit code of the second unlock")
        same(program.wait().code, 0, "the exit code")
        world.wait_unlocked()


@case("unlock leaves what has been replaced by another's lock since it was ordered")
def unlock_replaced():
    for where, op in (("s3", "DeleteObject"), ("dynamodb", "DeleteItem")):
        with World(POLL, terraform=False) as world:
            put_raw(world, where)
            program = waiting(world, world.directory(mode=where, init="by hand"))
            world.server.set_faults([{"service": where, "op": op, "do": "delay", "ms": 600}])
            order = world.spawn(TFQ, "unlock", STATE, "--id", RAW["ID"], "--yes")
            wait_for(lambda w=world, o=op: any(e["op"] == o for e in w.requests(applied=False)), "the removal")
            put_raw(world, where, OTHER)
            same(order.wait().code, 0, "the exit code of unlock: that lock is gone")
            wait_for(lambda p=program: "tf@somewhere" in p.err, "the name of the new holder")
            same(world.held()[where], OTHER, "the other's lock")
            program.end()


@case("unlock removes an item that nobody can read, on condition that it is still that one")
def unlock_unreadable():
    for item in ({}, {"Info": {"N": "5"}}, {"Info": {"S": "no JSON"}}, {"Info": {"S": ""}, "Other": {"BOOL": True}},
                 {"Info": {"S": text(RAW)}, "LeaseRvn": {"S": "0" * 32}, "LeaseV": {"N": "2"}}):
        with World(POLL, terraform=False) as world:
            put_item(world, item)
            work = world.directory(mode="dynamodb", init="by hand")
            program = work.spawn("apply", env=world.fake_terraform(RUNS))
            number = wait_for(lambda w=world: w.jobs() and w.jobs()[0].get("holder"), "the holder")["id"]
            same(program.out, "", "the output")
            result = world.tfq("unlock", STATE, "--id", number, "--yes")
            same(result.code, 0, f"the exit code of unlock ({result.err})")
            same(program.wait().code, 0, "the exit code")
            world.wait_unlocked()


if __name__ == "__main__":
    main()
