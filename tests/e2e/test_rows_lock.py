#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rows of tests/SCENARIOS.md in which others have a hand in the lock: raw terraform, people, other programs; a
lock in both stores; and answers that are meant to do harm.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUCKET, HOLD, World, case, check, contains, lacks, main, same, wait_for  # noqa: E402
from rows import (ITEM, LOCK, QUICK, RAW, STORES, WAITS, directory, finish, lock_of, met, put_raw,  # noqa: E402
                  remove, renewed, requests, rule, side_by_side, start, tfqd)
from s3server import Answer  # noqa: E402

LINE = {"S3": "use_lockfile   = true", "DynamoDB": 'dynamodb_table = "tflocks"',
        "both": 'use_lockfile   = true\n    dynamodb_table = "tflocks"'}
STORES["both"] = {"dynamodb_table": "tflocks"}


# --- rows 18 to 20 -------------------------------------------------------------------------

def lock_id(world, store):
    if store == "S3":
        return world.lock()["ID"]
    return json.loads(world.server.items["tflocks"][ITEM]["Info"]["S"])["ID"]


def unlocked_by_force(store, raw_between):
    config = QUICK.replace("renew = 1s", "renew = 8s") if raw_between else QUICK  # raw has it before a renewal
    with World(config) as world:
        real = world.directory("real", lock=LINE[store], command=HOLD)
        work = directory(world, store)
        program = start(world, work, CODE="1" if raw_between else "0")
        done = real.terraform("force-unlock", "-force", lock_id(world, store))
        same(done.code, 0, f"force-unlock's exit code ({done.err})")
        if not raw_between:
            wait_for(lambda: lock_of(world, store), "the lock is back")
            world.wait_log("removed by somebody")
            finish(world, work, program, store)
            return
        raw = real.raw_apply("raw")
        wait_for(lambda: lock_of(world, store) == "", "raw terraform's lock")
        result = program.wait(30)
        same((result.code, result.out), (1, "started\ninterrupt\n"), f"how the job ended ({result.err})")
        contains(result.err, "the lock was replaced by", "while terraform ran; terraform was interrupted")
        same(lock_of(world, store), "", "raw terraform's lock")
        real.write("end", "")
        same(raw.wait(30).code, 0, f"raw terraform's exit code ({raw.err})")
        same(lock_of(world, store), None, "the lock at the end")


@case("18: terraform force-unlock while a job runs: taken again; with a raw terraform in between: interrupted")
def force_unlock():
    side_by_side(unlocked_by_force, [(store, raw) for store in ("S3", "DynamoDB") for raw in (False, True)], 4)


def deleted_twice(store):
    """Raw terraform's release has no condition, and its SDK repeats it when the answer is lost."""
    with World("[lock]\npoll_min = 100ms\npoll_max = 200ms\n", terraform=False) as world:  # renewed once a minute
        put_raw(world, store)
        work = directory(world, store)
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        wait_for(lambda: "tf@elsewhere" in program.err, "the name of the holder")
        remove(world, store)
        wait_for(lambda: "started" in program.out, "the start")
        remove(world, store)
        wait_for(lambda: lock_of(world, store), "the lock is back", 4)
        world.wait_log("removed by somebody")
        finish(world, work, program, store)


@case("19: raw terraform's removal comes a second time, right after the lock was acquired: back within seconds")
def repeated_delete():
    side_by_side(deleted_twice, [("S3",), ("DynamoDB",)])


def one_of_two(store):
    with World(QUICK) as world:
        real = world.directory("real", lock=LINE[store], command="sleep 0.3")
        work = world.directory("ours", lock=LINE[store], command="sleep 0.3")
        put_raw(world, store)
        ours = work.apply("ours")
        wait_for(lambda: "tf@elsewhere" in ours.err, "the name of the holder")
        raw = real.raw_apply("raw", 0, "-lock-timeout=60s")
        agents = lambda: {entry["headers"].get("user-agent") for entry in requests(world, store)}  # noqa: E731
        wait_for(lambda: len(agents()) > 1, "raw terraform's try")
        remove(world, store)
        # terraform gives up where the lock goes between its try and its look (terraform-locking.md 14.2): again, then.
        while raw.wait(60).code != 0 and ("unexpected end of JSON input" in raw.err or "NoSuchKey" in raw.err):
            raw = real.raw_apply("raw", 0, "-lock-timeout=60s")
        same([program.wait(60).code for program in (ours, raw)], [0, 0], f"the exit codes ({ours.err} {raw.err})")
        same(sorted(real.order()), ["ours", "raw"], "who ran")
        real.check_no_overlap()
        wait_for(lambda: lock_of(world, store) is None, "the end of the lock")


@case("20: a raw lock vanishes while tfqd and raw terraform both wait for it: one at a time, and both get it")
def vanishes():
    side_by_side(one_of_two, [("S3",), ("DynamoDB",)])


# --- row 25: what lies there is no lock that can be read -----------------------------------

HOW_S3 = f"aws s3 rm 's3://{BUCKET}/{LOCK}'"
HOW_DYNAMODB = "aws dynamodb delete-item --region us-east-1 --table-name 'tflocks' --key " \
               f"'{{\"LockID\":{{\"S\":\"{ITEM}\"}}}}'"
READ_BY = f"locked by {RAW['Who']} since {RAW['Created']}, lock ID {RAW['ID']}"
BODIES = {  # what lies there, what is said of it
    "empty": (b"", "is no JSON object"),
    "text": (b"locked!", "is no JSON object"),
    "no ID": (b'{"Who":"x"}', "has no ID"),
    "trailing bytes": (json.dumps(RAW).encode() + b"x", "nothing behind it"),
    "10 MiB": (b" " * (10 << 20), "far too long"),
    "10 MiB of JSON": (b'{"ID":"' + b"x" * (10 << 20) + b'"}', "far too long"),
    "another version": (tfqd(v=2), READ_BY),
    "a lease that is none": (tfqd(lease="10"), READ_BY),
    "an ID and nothing else": (b'{"ID":"x"}', "locked by somebody, lock ID x"),
}
ITEMS = {
    "no Info": ({}, "has no Info"),
    "an Info of another type": ({"Info": {"N": "1"}}, "has no Info"),
    "text": ({"Info": {"S": "locked!"}}, "an Info that is no JSON object"),
    "no ID": ({"Info": {"S": "{}"}}, "an Info that has no ID"),
    "trailing bytes": ({"Info": {"S": json.dumps(RAW) + "x"}}, "nothing behind it"),
    "300 KiB": ({"Info": {"S": "[" * (300 << 10)}}, "an Info that"),
    "another version": ({"Info": {"S": json.dumps(RAW)}, "LeaseV": {"N": "2"}, "LeaseRvn": {"S": "0" * 32},
                         "LeaseMs": {"N": "10000"}}, READ_BY),
}


def lies_there(store, name):
    with World(QUICK, terraform=False) as world:
        if store == "S3":
            body, words = BODIES[name]
            world.server.put_object(BUCKET, LOCK, body)
        else:
            item, words = ITEMS[name]
            with world.server.lock:
                world.server.dynamodb.tables["tflocks"][ITEM] = dict(item, LockID={"S": ITEM})
        work = directory(world, store)
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        wait_for(lambda: words in program.err, f"{words!r} in what is said ({program.err})", 10)
        if "lock ID" not in words:
            contains(program.err, HOW_S3 if store == "S3" else HOW_DYNAMODB,
                     "once you know that nobody needs it, remove it")
            lacks(program.err, "locked by")
        before = len(requests(world, store))
        wait_for(lambda: len(requests(world, store)) > before + 3, "more looks")
        if store == "S3":
            same(world.objects()[LOCK].body == body, True, "that it is untouched")
        else:
            same(world.server.items["tflocks"][ITEM], dict(item, LockID={"S": ITEM}), "what lies there")
        # An orderly one in its place is named, and nothing is said any more of the one before.
        put_raw(world, store)
        wait_for(lambda: READ_BY in program.err.splitlines()[-1], f"the new holder's name ({program.err})")
        lacks(program.err.splitlines()[-1], "remove it")
        remove(world, store)
        wait_for(lambda: "started" in program.out, "the start")
        finish(world, work, program, store)


@case("25: garbage, huge things and other versions in the lock's place are named, with what to do, and left alone")
def garbage():
    side_by_side(lies_there, [("S3", name) for name in BODIES] + [("DynamoDB", name) for name in ITEMS], 4)


# --- row 26: both stores -------------------------------------------------------------------

def writes(world):
    """What was done to the lock, in its order: "+S3", "-DynamoDB", ..."""
    done = {"PutObject": "+S3", "DeleteObject": "-S3", "PutItem": "+DynamoDB", "DeleteItem": "-DynamoDB"}
    entries = requests(world, "S3") + requests(world, "DynamoDB")
    entries = sorted((entry for entry in entries if entry["applied"] in (200, 204) and entry["op"] in done),
                     key=lambda entry: entry["applied_at"])
    return [done[entry["op"]] for entry in entries]


def nothing_left(world):
    wait_for(lambda: lock_of(world, "S3") is None and lock_of(world, "DynamoDB") is None, "the end of both locks")


def both_orderly(world, work):
    program = start(world, work)
    renewed(world, "S3", 2)
    renewed(world, "DynamoDB", 2)
    same(lock_id(world, "S3"), lock_id(world, "DynamoDB"), "the two IDs")
    finish(world, work, program, "S3")
    nothing_left(world)
    done = writes(world)
    same((done[:2], done[-2:]), (["+S3", "+DynamoDB"], ["-DynamoDB", "-S3"]), "the order of what was done")


def both_second_is_anothers(world, work):
    put_raw(world, "DynamoDB")
    program = work.spawn("apply", env=world.fake_terraform(WAITS))
    wait_for(lambda: "tf@elsewhere" in program.err, "the name of the holder")
    renewed(world, "S3", 2)  # the first is held meanwhile
    same(program.out, "", "the output")
    same(world.tfq("cancel", "1").code, 0, "the exit code of cancel")
    same(program.wait(10).code, 125, "the exit code")
    wait_for(lambda: lock_of(world, "S3") is None, "the end of the first lock")
    same(lock_of(world, "DynamoDB"), "", "the other's lock")
    program = work.spawn("apply", env=world.fake_terraform(WAITS))
    wait_for(lambda: lock_of(world, "S3"), "the first lock")
    remove(world, "DynamoDB")
    wait_for(lambda: "started" in program.out, "the start")
    finish(world, work, program, "S3")
    nothing_left(world)


def both_second_is_not_renewed(world, work):
    world.stop_daemon()
    world.config = QUICK.replace("60s", "10s").replace("stop_grace = 5s", "stop_grace = 1s")
    world.start_daemon()
    program = start(world, work, CODE="1")
    world.server.set_faults([{"service": "dynamodb", "do": "error", "status": 500, "count": -1}])
    renewed(world, "S3", 3)
    result = program.wait(20)
    same((result.code, result.out), (1, "started\ninterrupt\n"), "how it ended")
    contains(result.err, "the lock could not be renewed, so terraform was stopped", 'DynamoDB table "tflocks"')
    wait_for(lambda: lock_of(world, "S3") is None, "the end of the first lock")
    world.server.set_faults([])
    nothing_left(world)


def both_replaced(world, work, store):
    program = start(world, work, CODE="1")
    put_raw(world, store)
    result = program.wait(20)
    same((result.code, result.out), (1, "started\ninterrupt\n"), f"how it ended ({result.err})")
    contains(result.err, "the lock was replaced by tf@elsewhere")
    other = "S3" if store == "DynamoDB" else "DynamoDB"
    wait_for(lambda: lock_of(world, other) is None, "the end of the lock that was not replaced")
    same(lock_of(world, store), "", "the other's lock")


def both_release_fails(world, work):
    program = start(world, work)
    world.server.set_faults([{"service": "dynamodb", "op": "DeleteItem", "do": "error", "status": 400,
                              "code": "AccessDeniedException", "count": -1}])
    work.write("end", "")
    same(program.wait(20).code, 0, "the exit code")
    wait_for(lambda: lock_of(world, "S3") is None, "the end of the first lock")
    check(lock_of(world, "DynamoDB"), "the second lock has gone")
    world.wait_log("dynamodb:GetItem, PutItem and DeleteItem")
    world.server.set_faults([])
    nothing_left(world)


def in_both(function, *arguments):
    with World(QUICK, terraform=False) as world:
        function(world, directory(world, "both"), *arguments)


@case("26: a lock in both stores: taken S3 first, released S3 last, and what one store does to it counts for both")
def both():
    side_by_side(in_both, [(both_orderly,), (both_second_is_anothers,), (both_second_is_not_renewed,),
                           (both_replaced, "S3"), (both_replaced, "DynamoDB"), (both_release_fails,)])


@case("26: 'drop-after' of each write to each of both stores")
def both_lost():
    def one(store, write):
        with World(QUICK, terraform=False) as world:
            work = directory(world, "both")
            fault = rule(store, write, "drop-after")
            if write == "create":
                world.server.set_faults([fault])
            program = start(world, work)
            if write != "create":
                world.server.set_faults([fault])
            renewed(world, "S3", 2)
            finish(world, work, program, "S3")
            nothing_left(world)
            same(met(world), 1, "faults that were met")
    side_by_side(one, [(store, write) for store in ("S3", "DynamoDB") for write in ("create", "swap", "remove")])


# --- bad input: answers --------------------------------------------------------------------

BOMB = '<?xml version="1.0"?><!DOCTYPE Error [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">' + \
    "".join(f'<!ENTITY {b} "{f"&{a};" * 20}">' for a, b in zip("abcdefgh", "bcdefghi")) + \
    "]><Error><Code>&i;</Code><Message>&i;</Message></Error>"
ANSWERS = {
    "an XML bomb": (500, BOMB.encode()),
    "an XML bomb under a 200": (200, BOMB.encode()),
    "an XML bomb under a 412": (412, BOMB.encode()),
    "deep XML": (500, b"<a>" * 20000),
    "10 MiB of XML": (503, b"<Error>" + b"<Code>x</Code>" * (10 << 16)),
    "an error under a 200": (200, b"<Error><Code>InternalError</Code><Message>We encountered an internal error."
                             b"</Message></Error>"),
    "no UTF-8, and escapes": (500, b"<Error><Code>\xff\xfe\x1b[31m</Code></Error>"),
    "deep JSON": (500, b"[" * 60000),
    "a code of JSON": (500, b'{"__type":"' + b"a#" * 20000 + b'","message":"\\u0000\\u001b[2J"}'),
}


def answers_so(store, write, name):
    status, body = ANSWERS[name]
    with World(QUICK, terraform=False) as world:
        service = world.server.s3 if store == "S3" else world.server.dynamodb
        bad = Answer(status, [("Content-Type", "application/xml")], body)
        regular = service.error
        service.error = lambda req, fail: Answer(bad.status, bad.headers, bad.body) if fail.code == "Bad" else \
            regular(req, fail)
        work = directory(world, store)
        fault = rule(store, write, "error", code="Bad", count=2)
        if write == "create":
            world.server.set_faults([fault])
        program = start(world, work)
        if write != "create":
            world.server.set_faults([fault])
        if write == "remove":
            work.write("end", "")
        wait_for(lambda: met(world) == 2, "both answers")
        finish(world, work, program, store)
        with open(f"/proc/{world.daemon.pid}/status", encoding="ascii") as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        with open(f"/proc/{world.daemon.pid}/maps", encoding="utf-8") as file:
            is_watched = "/libasan." in file.read()  # and needs more
        check(peak < 100 << 10 or is_watched, f"tfqd needed {peak} KiB")
        lacks(world.log() + program.err, "\x1b", "aaaaaaaaaaaaaaaa")


@case("bad answers: XML bombs, depth, length, an error under a 200: each write goes on, and tfqd stays small")
def bad_answers():
    names = list(ANSWERS)
    plan = [("S3", ("create", "swap", "remove")[i % 3], name) for i, name in enumerate(names)]
    plan += [("DynamoDB", ("swap", "remove", "create")[i % 3], name) for i, name in enumerate(names)
             if "412" not in name]
    plan += [("S3", write, "an error under a 200") for write in ("create", "swap", "remove")]
    plan += [("S3", write, "an XML bomb") for write in ("create", "swap", "remove")]
    side_by_side(answers_so, plan)


main()
