#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lock in its three modes, beside raw terraform: a lock file in S3, an item in DynamoDB, both."""
import concurrent.futures
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (BUCKET, HOLD, KEY, MODES, TABLE, World, case, check, contains, lacks, main,  # noqa: E402
                     ran, same, wait_for)

MEMBERS = ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]
LEASE = {"LeaseOwner": "S", "LeaseJob": "N", "LeaseRvn": "S", "LeaseSeq": "N", "LeaseMs": "N", "LeaseEpoch": "N",
         "LeaseV": "N"}
STORES = {"s3": ["s3"], "dynamodb": ["dynamodb"], "both": ["s3", "dynamodb"]}
QUICK = "[lock]\nlease = 30s\nrenew = {renew}\nstop_grace = 5s\n[aws]\nrequest_timeout = 2s\nconnect_timeout = 1s\n"
POLL = "[lock]\npoll_min = 100ms\npoll_max = 200ms\n"
W1_KEY = f"env:/w1/{KEY}"

# Ends when it is interrupted, or told so by a file; says how often it was interrupted.
WAITS = """\
echo started
trap 'echo interrupt; touch end' INT
while [ ! -e end ]; do sleep 0.05; done
sleep 0.2
"""


def in_all_modes(sentence):
    """A case that is run for the three modes side by side."""
    def add(function):
        @case(sentence)
        def run():
            with concurrent.futures.ThreadPoolExecutor(len(MODES)) as pool:
                futures = {mode: pool.submit(function, mode) for mode in MODES}
            for mode, future in futures.items():
                try:
                    future.result()
                except AssertionError as error:
                    raise AssertionError(f"{mode}: {error}") from error
        return run
    return add


def go_json(value):
    """As Go's encoding/json writes it: what OpenTofu compares an Info with before it removes the item."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def tries(world):
    """How often terraform has asked for the lock."""
    return sum(entry["by"] == "terraform" and entry["key"] in (KEY + ".tflock", f"{BUCKET}/{KEY}")
               for entry in world.requests(applied=False))


def check_content(world, mode, job):
    """The lock of a running job, as it stands in the stores."""
    held = world.held()
    same(sorted(held), sorted(STORES[mode]), "where the lock is")
    same({info["ID"] for info in held.values()}, {job["lock_id"]}, "the lock's ID")
    for where, info in held.items():
        same(list(info)[:7], MEMBERS, f"the members in {where}")
        same((info["Path"], info["Version"], info["Operation"]), (f"{BUCKET}/{KEY}", "1.11.4", "OperationTypeApply"),
             f"Path, Version and Operation in {where}")
        contains(info["Who"], job["user"] + "@")
        contains(info["Info"], f"tfqd job {job['id']} of", '"<why> & \\"')
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", info["Created"]),
              f"{info['Created']} is no time as Go writes it")
    if "s3" in held:
        same(list(held["s3"])[7:], ["Tfqd"], "what we add in S3")
    if "dynamodb" in held:
        item = world.server.items[TABLE][f"{BUCKET}/{KEY}"]
        same({name: next(iter(value)) for name, value in item.items()}, {"LockID": "S", "Info": "S", **LEASE},
             "the item's attributes")
        same(list(held["dynamodb"]), MEMBERS, "the members of Info")
        same(item["Info"]["S"], go_json(held["dynamodb"]), "Info")
        same((item["LeaseJob"]["N"], item["LeaseV"]["N"]), (str(job["id"]), "1"), "LeaseJob and LeaseV")
    if mode == "both":
        same({name: held["s3"][name] for name in MEMBERS}, held["dynamodb"], "what the two say")
        same(world.lock()["Tfqd"]["host"], world.item()["LeaseOwner"], "the host in the two")


@in_all_modes("two applies: the lock reads as terraform's own while they run, is gone after, -md5 is terraform's alone")
def applies(mode):
    with World() as world:
        work = world.directory(mode=mode, command=HOLD)
        program = work.apply("one", 0, "-m", "<why> & \\")
        work.wait_started("one")
        job = world.wait_job("one", "running")
        same(job["lock"], "tfqd", "who took the lock")
        check_content(world, mode, job)
        work.write("end", "")
        ran(program.wait())
        world.wait_unlocked()
        ran(work.apply("two").wait())
        same(world.state()["outputs"]["name"]["value"], "two", "what the state says")
        world.wait_unlocked()

        once = [("take", where) for where in STORES[mode]] + [("remove", where) for where in reversed(STORES[mode])]
        same([(step, where) for _, where, step in world.lock_steps(by="tfqd")], once * 2, "what tfqd did to the lock")
        same(world.lock_steps(by="terraform"), [], "what terraform did to the lock")
        digests = [entry for entry in world.requests(applied=False) if (entry["key"] or "").endswith("-md5")]
        same({entry["by"] for entry in digests}, set() if mode == "s3" else {"terraform"}, "who asked for -md5")
        others = {key for key in world.server.items[TABLE]} - {f"{BUCKET}/{KEY}-md5"}
        same(others, set(), "items left behind")


@in_all_modes("raw terraform is refused while a job runs, sees whose it is, and with -lock-timeout gets in after it")
def raw_beside(mode):
    with World() as world:
        work = world.directory(mode=mode, command=HOLD)
        program = work.apply("job")
        work.wait_started("job")
        job = world.wait_job("job", "running")
        refused = ran(work.terraform(*work.apply_argv("refused")), 1)
        contains(refused.err, "Error acquiring the state lock", job["lock_id"], f"Who: {job['user']}@",
                 f"Info: tfqd job {job['id']} of {job['user']}", f"{BUCKET}/{KEY}")
        same({info["ID"] for info in world.held().values()}, {job["lock_id"]}, "the lock's ID afterwards")
        before = tries(world)
        patient = work.raw_apply("raw", 0, "-lock-timeout=60s")
        wait_for(lambda: tries(world) > before, "its first try")
        work.write("end", "")
        ran(program.wait())
        ran(patient.wait())
        same(work.order(), ["job", "raw"], "who ran")
        work.check_no_overlap()
        same(world.held(), {}, "what is left of the lock")


@in_all_modes("a raw terraform that has the lock is waited for and never touched; then the job goes on")
def raw_before(mode):
    with World(POLL) as world:
        work = world.directory(mode=mode, command=HOLD)
        raw = work.raw_apply("raw")
        work.wait_started("raw")
        theirs = world.held()
        program = work.apply("job")
        holder = next(iter(theirs.values()))
        wait_for(lambda: f"locked by {holder['Who']}" in program.err, "the name of the holder")
        looks = len(world.requests(applied=False))
        wait_for(lambda: len(world.requests(applied=False)) > looks + 2, "more looks at it")
        same(world.held(), theirs, "the raw lock")
        same(world.lock_steps(by="tfqd"), [], "what tfqd did to it")
        work.write("end", "")
        same([ran(raw.wait()).code, ran(program.wait()).code], [0, 0], "the exit codes")
        world.wait_unlocked()
        steps = world.lock_steps()
        last = max(i for i, step in enumerate(steps) if step[0] == "terraform")
        check(mode == "both" or all(step[0] == "terraform" for step in steps[:last]), f"tfqd was too early: {steps}")
        same(work.order(), ["raw", "job"], "who ran")
        work.check_no_overlap()


@in_all_modes("a queue of three keeps its order, and the lock is never absent in between")
def hand_over(mode):
    with World() as world:
        work = world.directory(mode=mode, command=HOLD + "; sleep ${var.seconds}")
        programs = [work.apply("job0")]
        work.wait_started("job0")
        for i in (1, 2):
            programs.append(work.apply(f"job{i}", 0.2))
            world.wait_job(f"job{i}", "queued")
        work.write("end", "")
        for program in programs:
            ran(program.wait())
        world.wait_unlocked()
        same(work.order(), ["job0", "job1", "job2"], "the order")
        work.check_no_overlap()
        same(len({job["lock_id"] for job in world.jobs()}), 3, "the number of lock IDs")
        steps = world.lock_steps()
        for where in STORES[mode]:
            kinds = [step for _, there, step in steps if there == where]
            same(kinds, ["take", "write", "write", "remove"], f"what was done in {where}")
        same({step[0] for step in steps}, {"tfqd"}, "by whom")


def waiting_job(world, work):
    program = work.spawn("apply", env=world.fake_terraform(WAITS))
    wait_for(lambda: "started" in program.out, "the start")
    return program, world.jobs()[-1]["lock_id"]


@in_all_modes("force-unlock of a running job's lock: it is taken again, with a warning, and the job goes on")
def unlocked(mode):
    with World(QUICK.format(renew="1s")) as world:
        work = world.directory(mode=mode)
        program, number = waiting_job(world, work)
        ran(work.terraform("force-unlock", "-force", "another-id"), 1)
        same({info["ID"] for info in world.held().values()}, {number}, "the lock after force-unlock of another ID")
        contains(ran(work.terraform("force-unlock", "-force", number)).out, "successfully unlocked")
        wait_for(lambda: sorted(world.held()) == sorted(STORES[mode]), "the lock is back")
        world.wait_log("removed by somebody while tfqd held it; taking it again")
        same({info["ID"] for info in world.held().values()}, {number}, "the lock's ID")
        work.write("end", "")
        result = ran(program.wait())
        same(result.out, "started\n", "the output")
        world.wait_unlocked()


@in_all_modes("force-unlock, and another's lock in its place: one SIGINT, the job failed, the other's lock untouched")
def replaced(mode):
    with World(QUICK.format(renew="8s")) as world:  # raw terraform has it before the first renewal
        real, work = world.directory("real", mode=mode, command=HOLD), world.directory(mode=mode, init="by hand")
        program, number = waiting_job(world, work)
        ran(real.terraform("force-unlock", "-force", number))
        raw = real.raw_apply("raw")
        real.wait_started("raw")
        theirs = world.held()
        lacks([info["ID"] for info in theirs.values()], number)
        result = program.wait()
        same(result.out, "started\ninterrupt\n", "the output")
        check(result.code != 0, "the exit code is 0")
        contains(result.err, "the lock was replaced by")
        same(world.jobs()[-1]["status"], "failed", "the status")
        same(world.held(), theirs, "the other's lock")
        real.write("end", "")
        ran(raw.wait())
        same([step for step in world.lock_steps(by="tfqd") if step[2] == "remove"], [], "what tfqd removed")
        same(world.held(), {}, "what is left of the lock")
        ran(real.apply("next").wait())


# --- workspaces -------------------------------------------------------------------------

@case("DynamoDB alone: a workspace with a state is locked under its own key; one without is left to terraform once")
def workspaces():
    with World() as world:
        work = world.directory(mode="dynamodb", command=HOLD + "; sleep ${var.seconds}")
        ran(work.terraform("workspace", "new", "w1"))
        program = work.apply("there")
        work.wait_started("there")
        job = world.wait_job("there", "running")
        same((job["workspace"], job["lock"]), ("w1", "tfqd"), "workspace and lock")
        same(world.item(W1_KEY)["Info"], go_json(world.held(W1_KEY)["dynamodb"]), "Info")
        same((world.held(W1_KEY)["dynamodb"]["ID"], world.held(W1_KEY)["dynamodb"]["Path"]),
             (job["lock_id"], f"{BUCKET}/{W1_KEY}"), "ID and Path")
        same(world.held(), {}, "the lock of the default workspace")
        work.write("end", "")
        ran(program.wait())
        same(world.state(W1_KEY)["outputs"]["name"]["value"], "there", "what the workspace's state says")
        world.wait_unlocked(W1_KEY)

        missing = f"env:/w2/{KEY}"
        programs = [work.apply(f"job{i}", 0.3, env={"TF_WORKSPACE": "w2"}) for i in range(3)]
        for program in programs:
            ran(program.wait())
        work.check_no_overlap()
        same(world.state(missing)["outputs"]["name"]["value"], work.order()[-1], "the last one's state")
        same([job["lock"] for job in world.jobs()[1:]], ["the workspace has no state yet", "tfqd", "tfqd"],
             "who took the locks")
        world.wait_unlocked(missing)
        same([key for key in world.server.items[TABLE] if not key.endswith("-md5")], [], "items left behind")


if __name__ == "__main__":
    main()
