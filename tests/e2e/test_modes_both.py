#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where the lock is in both stores, one of which fails; and jobs on one state that lock it in different ways."""
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import s3server  # noqa: E402
from harness import (BUCKET, HOLD, KEY, TABLE, Skip, World, case, check, contains, is_alive, lacks,  # noqa: E402
                     main, ran, same, wait_for)

STATE = f"s3://{BUCKET}/{KEY}"
ITEM = f"{BUCKET}/{KEY}"
LOCK = KEY + ".tflock"
QUICK = "[lock]\nlease = 30s\nrenew = 1s\nstop_grace = 5s\npoll_min = 100ms\npoll_max = 200ms\n" \
        "[aws]\nrequest_timeout = 2s\nconnect_timeout = 1s\n"
FENCED = "[lock]\nlease = 10s\nrenew = 1s\nstop_grace = 1s\npoll_min = 100ms\npoll_max = 200ms\n" \
         "takeover = auto\n[aws]\nrequest_timeout = 400ms\nconnect_timeout = 300ms\n"
LEASE, GRACE, MARGIN = 10.0, 1.0, 5.0
OTHER_STORE = {"s3": "dynamodb", "dynamodb": "s3"}
WRITE = {"s3": "PutObject", "dynamodb": "PutItem"}
REMOVE = {"s3": "DeleteObject", "dynamodb": "DeleteItem"}

WAITS = "echo $$ > pid; echo started\ntrap 'echo interrupt; touch end' INT\n" \
        "while [ ! -e end ]; do sleep 0.05; done\nsleep 0.1; exit ${CODE:-0}\n"
RUNS = "echo ran\n"


def start(world, work, **env):
    program = work.spawn("apply", env=dict(world.fake_terraform(WAITS), **env))
    wait_for(lambda: "started" in program.out, f"the start ({program.err})")
    return program


def faults(world, *rules):
    world.server.set_faults([dict({"count": None, "do": "error", "status": 500}, **rule) for rule in rules])


def lock_faults(where, **rule):
    return dict({"service": where, "prefix": KEY + ".tfl" if where == "s3" else ITEM}, **rule)


# --- taking it --------------------------------------------------------------------------

@case("the item is held by a terraform that knows DynamoDB alone: we wait with the lock file in our hands, and say so")
def second_is_held():
    with World(QUICK) as world:
        theirs = world.directory("theirs", mode="dynamodb", command=HOLD)
        ours = world.directory("ours", mode="both")
        raw = theirs.raw_apply("raw")
        theirs.wait_started("raw")
        info = world.held()["dynamodb"]
        program = ours.apply("job")
        wait_for(lambda: f"locked by {info['Who']}" in program.err, "the name of the holder")
        job = world.wait_job("job", "locking")
        same(job["holder"]["id"], info["ID"], "the holder's ID")
        same(world.held()["dynamodb"], info, "the item")
        same(world.held()["s3"]["ID"], job["lock_id"], "the lock file's ID")
        out = world.tfq("who", STATE).out
        contains(out, "waits for the lock", info["ID"])
        lacks(out, job["lock_id"])
        refused = ran(ours.terraform(*ours.apply_argv("refused")), 1)
        contains(refused.err, job["lock_id"])
        wait_for(lambda: ("tfqd", "s3", "write") in world.lock_steps(), "a renewal of the lock file, in the mean time")
        theirs.write("end", "")
        same([ran(raw.wait()).code, ran(program.wait()).code], [0, 0], "the exit codes")
        same(ours.order(), ["raw", "job"], "who ran")
        ours.check_no_overlap()
        world.wait_unlocked()


@case("a job that is cancelled, or will not wait, behind the item lets the lock file go, and leaves the item alone")
def cancel_behind_second():
    with World(QUICK, terraform=False) as world:
        info = {"ID": "raw-id", "Who": "tf@elsewhere", "Created": "2025-01-02T03:04:05Z"}
        with world.server.lock:
            world.server.dynamodb.tables[TABLE][ITEM] = {"LockID": {"S": ITEM}, "Info": {"S": json.dumps(info)}}
        work, env = world.directory(mode="both", init="by hand"), world.fake_terraform(RUNS)
        program = work.spawn("apply", env=env)
        wait_for(lambda: "locked by tf@elsewhere" in program.err and world.lock(), "the wait")
        same(world.tfq("cancel", "1").code, 0, "the exit code of cancel")
        same((program.wait().code, program.out), (125, ""), "the exit code and the output")
        wait_for(lambda: not world.lock(), "the lock file is let go")
        result = ran(work.tfq("--no-wait", "apply", env=env), 75)
        contains(result.err, "locked by tf@elsewhere, lock ID raw-id")
        wait_for(lambda: not world.lock(), "the lock file is let go")
        same(world.held(), {"dynamodb": info}, "the item")


@case("a second store that refuses for good: the job is refused, with the reason, and the lock file let go")
def second_is_refused():
    for table, code, words in ((TABLE, "AccessDeniedException", ["AccessDenied", f'table "{TABLE}"', "PutItem"]),
                               ("nothere", None, ["no table \"nothere\"", "LockID"])):
        with World(QUICK, terraform=False) as world:
            work = world.directory(mode={"use_lockfile": True, "dynamodb_table": table}, init="by hand")
            if code:
                faults(world, {"service": "dynamodb", "status": 400, "code": code})
            program = work.spawn("apply", env=world.fake_terraform(RUNS))
            result = program.wait(20)
            same((result.code, result.out), (125, ""), f"the exit code and the output ({result.err})")
            contains(result.err, *words)
            same(world.jobs()[0]["status"], "failed", "the status")
            world.wait_unlocked(seconds=10)
            same(world.lock_steps(), [("tfqd", "s3", "take"), ("tfqd", "s3", "remove")], "what was done")
            world.server.set_faults([])


@case("a first store that refuses for good: the second one is not asked")
def first_is_refused():
    with World(QUICK, terraform=False) as world:
        work = world.directory(mode="both", init="by hand")
        faults(world, {"service": "s3", "op": "PutObject", "suffix": ".tflock", "status": 403, "code": "AccessDenied"})
        result = work.spawn("apply", env=world.fake_terraform(RUNS)).wait(20)
        same((result.code, result.out), (125, ""), "the exit code and the output")
        contains(result.err, "AccessDenied", LOCK)
        same([e["op"] for e in world.requests(applied=False) if e["service"] == "dynamodb"], [], "what DynamoDB saw")


# --- keeping it -------------------------------------------------------------------------

def fence_with_one_broken(where):
    with World(FENCED, terraform=False) as world:
        work = world.directory(mode="both", init="by hand")
        program = start(world, work, CODE="1")
        steps = ("tfqd", where, "write")
        wait_for(lambda: steps in world.lock_steps(), "a renewal")
        faults(world, lock_faults(where, op=WRITE[where], status=503))
        begun = max(e["time"] for e in world.requests() if e["op"] == WRITE[where])
        result = program.wait(20)
        ended = max(e["time"] for e in world.requests() if e["op"] == WRITE[OTHER_STORE[where]])
        same(result.out, "started\ninterrupt\n", "the output")
        same(result.code, 1, "the exit code")
        contains(result.err, "has not renewed the lease", "could not be renewed")
        same(world.jobs()[0]["status"], "failed", "the status")
        check(not is_alive(int(work.read("pid"))), "terraform lives")
        took = ended - begun
        check(LEASE - MARGIN - GRACE - 1.5 < took < LEASE - MARGIN, f"it ended {took:.2f} s after the last renewal")
        world.server.set_faults([])
        world.wait_unlocked()


@case("one store's renewals fail while the other's work: the earlier deadline counts, and the lock is let go in both")
def one_fails():
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(fence_with_one_broken, where) for where in ("s3", "dynamodb")]:
            future.result()


@case("one store replaced by another's lock: one SIGINT, the other store let go, nothing foreign touched")
def one_is_replaced():
    for where in ("s3", "dynamodb"):
        with World(QUICK, terraform=False) as world:
            program = start(world, world.directory(mode="both", init="by hand"))
            info = {"ID": "raw-id", "Who": "tf@elsewhere", "Created": "2025-01-02T03:04:05Z"}
            if where == "s3":
                world.server.put_object(BUCKET, LOCK, json.dumps(info).encode())
            else:
                with world.server.lock:
                    world.server.dynamodb.tables[TABLE][ITEM] = {"LockID": {"S": ITEM},
                                                                 "Info": {"S": json.dumps(info)}}
            result = program.wait(20)
            same(result.out, "started\ninterrupt\n", "the output")
            contains(result.err, "replaced by tf@elsewhere")
            same(world.jobs()[0]["status"], "failed", "the status")
            wait_for(lambda w=world: len(w.held()) == 1, "the other one is let go")
            same(world.held(), {where: info}, "what is left")


@case("one store's lock removed by somebody: it is taken again there, and held all along in the other")
def one_is_gone():
    for where in ("s3", "dynamodb"):
        with World(QUICK, terraform=False) as world:
            work = world.directory(mode="both", init="by hand")
            program = start(world, work)
            number = world.jobs()[0]["lock_id"]
            if where == "s3":
                world.server.delete_object(BUCKET, LOCK)
            else:
                with world.server.lock:
                    world.server.dynamodb.tables[TABLE].pop(ITEM)
            wait_for(lambda w=world: len(w.held()) == 2, "it is back")
            same({info["ID"] for info in world.held().values()}, {number}, "the ID")
            world.wait_log("taking it again")
            work.write("end", "")
            same(ran(program.wait()).out, "started\n", "the output")
            world.wait_unlocked()
            takes = [step[1] for step in world.lock_steps() if step[2] == "take"]
            same(takes, ["s3", "dynamodb", where], "what was taken")


# --- letting it go ----------------------------------------------------------------------

@case("release: DynamoDB first, then S3; what one does not do keeps the other from nothing, and is done later")
def release():
    for where in ("s3", "dynamodb"):
        with World(QUICK, terraform=False) as world:
            work = world.directory(mode="both", init="by hand")
            program = start(world, work)
            faults(world, lock_faults(where, op=REMOVE[where], status=503))
            work.write("end", "")
            ran(program.wait())
            wait_for(lambda w=world: OTHER_STORE[where] not in w.held(), "the other store is let go")
            same(list(world.held()), [where], "what is left")
            world.wait_log("Trouble with the lock")
            world.server.set_faults([])
            world.wait_unlocked()
            order = [e["service"] for e in world.requests(applied=False) if e["op"] in REMOVE.values()]
            same(order[0], "dynamodb", "what was asked first")
            check("s3" in order[1:3], f"S3 was asked late: {order}")


@case("release: an item that cannot be read any more keeps the lock file from nothing")
def release_without_an_answer():
    with World(QUICK, terraform=False) as world:
        work = world.directory(mode="both", init="by hand")
        program = start(world, work)
        faults(world, {"service": "dynamodb", "do": "hang"})
        work.write("end", "")
        ran(program.wait())
        wait_for(lambda: "s3" not in world.held(), "the lock file is let go", 10)
        world.server.set_faults([])
        world.wait_unlocked()


@case("a raw terraform with both, whose lock file comes and goes while it waits, and a job: each gets its turn")
def flicker():
    with World(QUICK) as world:
        theirs = world.directory("theirs", mode="dynamodb", command=HOLD)
        ours = world.directory("ours", mode="both")
        first = theirs.raw_apply("first")
        theirs.wait_started("first")
        second = ours.raw_apply("second", 0.3, "-lock-timeout=60s")
        wait_for(lambda: ("terraform", "s3", "remove") in world.lock_steps(), "its lock file comes and goes")
        program = ours.apply("job", 0.3)
        wait_for(lambda: "locked by" in program.err, f"its wait ({program.err})")
        theirs.write("end", "")
        same([ran(p.wait()).code for p in (first, program, second)], [0, 0, 0], "the exit codes")
        same(sorted(ours.order()), ["first", "job", "second"], "who ran")
        ours.check_no_overlap()
        world.wait_unlocked()


# --- answers that are lost --------------------------------------------------------------

def two_hosts(mode, seed):
    """Two tfqds on one state, whose stores lose requests and answers."""
    rules = [dict(lock_faults(where), do=do, p=p, count=None, **more)
             for where in ("s3", "dynamodb")
             for do, p, more in (("drop-after", 0.06, {}), ("drop-before", 0.04, {}),
                                 ("error-after", 0.04, {"status": 500}),
                                 ("html-after", 0.03, {}), ("truncate", 0.03, {}))]
    rules += [{"service": "dynamodb", "do": "bad-crc", "p": 0.05, "count": None},
              {"service": "dynamodb", "op": "PutItem", "do": "drop-after"}]
    rules.reverse()  # one that surely acts first
    with World(QUICK, terraform=False, server={"seed": seed}) as one, \
            World(QUICK, terraform=False, url=one.server.url) as two:
        script = "echo start >> {0}; sleep 0.1; echo end >> {0}\n".format(os.path.join(one.path, "runs"))
        works = [world.directory(mode=mode, init="by hand") for world in (one, two)]
        envs = [world.fake_terraform(script) for world in (one, two)]
        one.server.set_faults(rules)
        programs = [work.spawn("apply", env=env) for _ in range(4) for work, env in zip(works, envs)]
        same([program.wait().code for program in programs], [0] * 8, f"the exit codes with {mode} and seed {seed}")
        with open(os.path.join(one.path, "runs"), encoding="ascii") as runs:
            same(runs.read(), "start\nend\n" * 8, f"who ran when with {mode} and seed {seed}")
        one.wait_unlocked()
        check(any(entry["fault"] for entry in one.requests(applied=False)), "no fault was met")


@case("two tfqds and stores that lose requests and answers: one job at a time, all run, and no lock is left")
def flaky():
    seed = int(os.environ.get("TFQ_SEED") or time.time_ns() % 1000000)
    print(f"TFQ_SEED={seed}", flush=True)
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(two_hosts, mode, seed) for mode in ("dynamodb", "both")]:
            future.result()


# --- two endpoints ----------------------------------------------------------------------

def openssl(folder, *argv):
    subprocess.run(["openssl", *argv], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@case("S3 without TLS and DynamoDB with a certificate that only the block's CA bundle vouches for")
def own_authority():
    if not shutil.which("openssl"):
        raise Skip("there is no openssl in PATH")
    with World(QUICK, terraform=False) as world:
        openssl(world.path, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out",
                "cert.pem")
        cert, key = (os.path.join(world.path, name) for name in ("cert.pem", "key.pem"))
        with s3server.Server(tls=(cert, key)) as tables:
            work = world.directory(mode="both", init="by hand")
            work.change_backend(endpoints={"s3": world.url, "dynamodb": tables.url}, custom_ca_bundle=cert)
            result = work.tfq("apply", env=world.fake_terraform(RUNS))
            same((result.code, result.out), (0, "ran\n"), f"the exit code and the output ({result.err})")
            wait_for(lambda: not world.lock() and not tables.items[TABLE], "the lock is let go")


# --- different locks --------------------------------------------------------------------

@case("jobs on one state that lock it in different ways: in order, one at a time, each lock gone before the next")
def different_blocks():
    with World(QUICK, terraform=False, server={"tables": (TABLE, "others")}) as world:
        blocks = {"a": {"use_lockfile": True}, "b": {"use_lockfile": True, "dynamodb_table": TABLE},
                  "c": {"dynamodb_table": "others"}, "d": {"dynamodb_table": TABLE}, "e": {"use_lockfile": True}}
        script = 'echo "start $TFQ_NAME $(date +%s.%N)" >> "$JOURNAL"; sleep 0.3\n' \
                 'echo "end $TFQ_NAME $(date +%s.%N)" >> "$JOURNAL"\n'
        programs = []
        for name, block in blocks.items():
            work = world.directory(name, mode=block, init="by hand")
            env = dict(world.fake_terraform(script), TFQ_NAME=name, JOURNAL=work.journal)
            programs.append(work.spawn("--label", name, "apply", env=env))
            world.wait_job(name)
        for program in programs:
            ran(program.wait())
        work.check_no_overlap()
        same(work.order(), list(blocks), "the order")
        world.wait_unlocked()
        steps = [(entry["bucket"], entry["op"]) for entry in sorted(world.requests(), key=lambda e: e["applied_at"])
                 if entry["op"] in (*WRITE.values(), *REMOVE.values()) and entry["by"] == "tfqd"]
        file, item, other = [[(where, ops["s3" if where == BUCKET else "dynamodb"]) for ops in (WRITE, REMOVE)]
                             for where in (BUCKET, TABLE, "others")]
        same(steps, [*file, file[0], item[0], item[1], file[1], *other, *item, *file], "what was done")
        same({job["lock"] for job in world.jobs()}, {"tfqd"}, "who took the locks")


if __name__ == "__main__":
    main()
