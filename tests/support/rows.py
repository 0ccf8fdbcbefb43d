# SPDX-License-Identifier: MIT
"""What the tests of tests/SCENARIOS.md share: a lock in S3, in DynamoDB or in both, and faults for its writes."""
import concurrent.futures
import json
import os
import signal
import sys
import time

from harness import BUCKET, KEY, case, children_of, same, wait_for

LOCK, ITEM = KEY + ".tflock", f"{BUCKET}/{KEY}"
QUICK = "[lock]\nlease = 60s\nrenew = 1s\nstop_grace = 5s\npoll_min = 100ms\npoll_max = 200ms\n" \
        "[aws]\nrequest_timeout = 700ms\nconnect_timeout = 500ms\n"
TABLE = {"use_lockfile": False, "dynamodb_table": "tflocks"}
STORES = {"S3": {}, "DynamoDB": TABLE}
RAW = {"ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "",
       "Who": "tf@elsewhere", "Version": "1.11.4", "Created": "2025-01-02T03:04:05Z", "Path": ITEM}

# Ends when it is told so by a file; says that it was interrupted, and ends then, too.
WAITS = """\
echo ran >> runs
echo started
trap 'echo interrupt; touch end' INT
while [ ! -e end ]; do sleep 0.05; done
exit ${CODE:-0}
"""


def side_by_side(function, variants, workers=6):
    """Run them all; the first that fails is raised, with its name."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [(variant, pool.submit(function, *variant)) for variant in variants]
        for variant, future in futures:
            try:
                future.result()
            except AssertionError as error:
                raise AssertionError(f"{variant}: {error}") from error


def directory(world, store, name="work", **options):
    work = world.directory(name, init="by hand", **options)
    work.change_backend(**STORES[store])
    return work


def start(world, work, script=WAITS, **env):
    program = work.spawn("apply", env=dict(world.fake_terraform(script), **env))
    wait_for(lambda: "started" in program.out, f"the start ({program.err})")
    return program


def lock_of(world, store):
    """The nonce of what lies there, "" for another's, or None."""
    if store == "S3":
        lock = world.lock()
        return lock and lock.get("Tfqd", {}).get("nonce", "")
    item = world.server.items["tflocks"].get(ITEM)
    return item and item.get("LeaseRvn", {"S": ""})["S"]


def put_raw(world, store, lock=None):
    text = json.dumps(lock or RAW, separators=(",", ":"))
    if store == "S3":
        world.server.put_object(BUCKET, LOCK, text.encode())
    else:
        with world.server.lock:
            world.server.dynamodb.tables["tflocks"][ITEM] = {"LockID": {"S": ITEM}, "Info": {"S": text}}


def remove(world, store):
    if store == "S3":
        world.server.delete_object(BUCKET, LOCK)
    else:
        with world.server.lock:
            world.server.dynamodb.tables["tflocks"].pop(ITEM, None)


def rule(store, write, do, **fields):
    """A fault for the next such write of the lock."""
    if store == "S3":
        fields.update({"create": {"method": "PUT", "header": "if-none-match"},
                       "swap": {"method": "PUT", "header": "if-match"}, "remove": {"method": "DELETE"}}[write],
                      suffix=".tflock", service="s3")
    else:
        fields.update(service="dynamodb", op="DeleteItem" if write == "remove" else "PutItem")
    return {"do": do, **fields}


def entries(world, **wanted):
    with world.server.lock:
        found = [dict(entry) for entry in world.server.log]
    return [entry for entry in found if all(entry[name] == value for name, value in wanted.items())]


def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def arrived(entry):
    """When that request did, CLOCK_BOOTTIME."""
    return entry["time"] - time.time() + boottime()


def kill_daemon(world, with_runners=False):
    """At once and without warning."""
    victims = [world.daemon.pid] + (children_of(world.daemon.pid) if with_runners else [])
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    world.daemon.process.wait()
    world.daemon = None


def requests(world, store):
    key = LOCK if store == "S3" else ITEM
    return entries(world, key=key, service="s3" if store == "S3" else "dynamodb")


def met(world):
    """How often a fault was met."""
    return len([entry for entry in entries(world) if entry["fault"]])


def finish(world, work, program, store):
    """It ends well, and so does a next one; nothing is left."""
    work.write("end", "")
    result = program.wait(30)
    same((result.code, result.out), (0, "started\n"), f"how it ended ({result.err})")
    wait_for(lambda: lock_of(world, store) is None, "the end of the lock")
    result = work.tfq("apply", env=world.fake_terraform("echo ran >> runs\n"), seconds=30)
    same(result.code, 0, f"the next job's exit code ({result.err})")
    wait_for(lambda: lock_of(world, store) is None, "the end of the next job's lock")
    same(work.read("runs"), "ran\nran\n", "who ran")


def renewed(world, store, times=1):
    nonces = {lock_of(world, store)}
    wait_for(lambda: nonces.add(lock_of(world, store)) or len(nonces - {None}) > times, f"{times} renewals")


def tfqd(**fields):
    """A lock that a tfqd might have written."""
    member = dict({"v": 1, "host": "h", "boot": "b", "job": "1", "seq": 1, "nonce": "0" * 32, "lease": 10}, **fields)
    return json.dumps(dict(RAW, Tfqd=member)).encode()


FUTURES = {}


def parallel(sentence, *arguments):
    """A case that runs beside the others; all begin with the first one that main() wants."""
    def add(function):
        FUTURES[sentence] = function, arguments

        @case(sentence)
        def wait():
            if isinstance(FUTURES[sentence], tuple):
                words = sys.argv[1:]
                pool = concurrent.futures.ThreadPoolExecutor(len(FUTURES))
                for other, (start_it, its) in FUTURES.items():
                    if not words or any(word in other for word in words):
                        FUTURES[other] = pool.submit(start_it, *its)
            FUTURES[sentence].result()
        return function
    return add
