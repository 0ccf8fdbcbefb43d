#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lock while a job has it, or tries to get it: renewed, deleted, replaced, given up."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUCKET, KEY, World, case, check, contains, main, same, wait_for  # noqa: E402

LOCK = KEY + ".tflock"
QUICK = "[lock]\nlease = 30s\nrenew = 1s\nstop_grace = 5s\npoll_min = 100ms\npoll_max = 200ms\n" \
        "[aws]\nrequest_timeout = 2s\nconnect_timeout = 1s\n"
FOREIGN = json.dumps({"ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "",
                      "Who": "tf@elsewhere", "Version": "1.11.4", "Created": "2025-01-02T03:04:05Z",
                      "Path": f"{BUCKET}/{KEY}"}, separators=(",", ":")).encode()

# Ends when it is interrupted, or told so by a file; says how often it was interrupted.
WAITS = """\
echo started
trap 'echo interrupt; touch end' INT
while [ ! -e end ]; do sleep 0.05; done
sleep 0.2
exit ${CODE:-0}
"""


def started(program):
    wait_for(lambda: "started" in program.out, "the start")


def asked(world, method, suffix=".tflock"):
    """Has such a request come, with or without an answer?"""
    with world.server.lock:
        return any(entry["method"] == method and (entry["key"] or "").endswith(suffix) for entry in world.server.log)


def next_job_runs(world, work):
    result = work.tfq("apply", env=world.fake_terraform("echo ran\n"), seconds=30)
    same((result.code, result.out), (0, "ran\n"), f"the next job ({result.err})")
    world.wait_unlocked()


@case("the lock is renewed while a job runs, and keeps its ID and its time")
def renewals():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        wait_for(lambda: len(world.lock_requests()) >= 4, "three renewals")
        work.write("end", "")
        same(program.wait().code, 0, "the exit code")
        world.wait_unlocked()
        writes = [entry for entry in world.lock_requests() if entry["method"] == "PUT"]
        bodies = [json.loads(entry["body"]) for entry in writes]
        same(len({(body["ID"], body["Created"]) for body in bodies}), 1, "the number of lock IDs")
        same([body["Tfqd"]["seq"] for body in bodies], list(range(bodies[0]["Tfqd"]["seq"],
                                                                  bodies[0]["Tfqd"]["seq"] + len(bodies))), "seq")
        same(len({body["Tfqd"]["nonce"] for body in bodies}), len(bodies), "the number of nonces")
        check(all(entry["headers"].get("if-match") for entry in writes[1:]), "a renewal without If-Match")
        gaps = [after["time"] - before["time"] for before, after in zip(writes, writes[1:])]
        check(all(0.5 < gap < 2.5 for gap in gaps), f"renewals came {gaps} s apart")


@case("a lock that somebody deletes during a job is taken again, with a warning")
def lock_deleted():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        before = world.lock()["ID"]
        world.server.delete_object(BUCKET, LOCK)
        wait_for(world.lock, "the lock is back")
        world.wait_log("removed by somebody")
        same(world.lock()["ID"], before, "the lock's ID")
        taken = world.lock_requests()[-1]
        same(taken["headers"].get("if-none-match"), "*", "If-None-Match")
        work.write("end", "")
        result = program.wait()
        same((result.code, result.out), (0, "started\n"), "how the job ended")
        world.wait_unlocked()


@case("a lock that somebody replaces during a job: one SIGINT, the job failed, the other's lock is left alone")
def lock_replaced():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=dict(world.fake_terraform(WAITS), CODE="1"))
        started(program)
        world.server.put_object(BUCKET, LOCK, FOREIGN)
        result = program.wait()
        same(result.out, "started\ninterrupt\n", "the output")
        same(result.code, 1, "the exit code")
        contains(result.err, "replaced by tf@elsewhere")
        same(world.jobs()[0]["status"], "failed", "the status")
        world.wait_log("was replaced by tf@elsewhere")
        same(world.objects()[LOCK].body, FOREIGN, "the other's lock")
        same([entry["method"] for entry in world.lock_requests()].count("DELETE"), 0, "deletions")

        after = work.spawn("apply", env=world.fake_terraform("echo ran\n"))
        wait_for(lambda: "tf@elsewhere" in after.err, "the name of the holder")
        same(after.out, "", "the output")
        world.server.delete_object(BUCKET, LOCK)
        same(after.wait().code, 0, "the exit code of the one that waited")
        world.wait_unlocked()


@case("a job whose lock was replaced has failed, and says so, even if terraform exits with 0")
def lock_replaced_silently():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        world.server.put_object(BUCKET, LOCK, FOREIGN)
        result = program.wait()
        contains(result.err, "replaced by tf@elsewhere")
        same(world.jobs()[0]["status"], "failed", "the status")
        check(result.code != 0, "the exit code is 0")


@case("a lock is not removed if it was replaced just before it is let go")
def replaced_before_release():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        world.server.put_object(BUCKET, LOCK, FOREIGN)
        work.write("end", "")
        program.wait()
        world.wait_log("was replaced by tf@elsewhere", seconds=10)
        same(world.objects()[LOCK].body, FOREIGN, "the other's lock")


@case("what lies in the lock's place and is no lock at all keeps the job waiting, not the daemon")
def unreadable_lock():
    for body in (b"", b"not JSON", b"{}", b'{"ID":5}', b"[" * 5000, b"\xff\xfe\x00",
                 b'{"ID":"' + b"x" * 100000 + b'"}'):
        with World("[lock]\npoll_min = 100ms\npoll_max = 200ms\n", terraform=False) as world:
            work = world.directory(init="by hand")
            world.server.put_object(BUCKET, LOCK, body)
            program = work.spawn("apply", env=world.fake_terraform("echo ran\n"))
            wait_for(lambda: len([e for e in world.lock_requests() if e["method"] == "GET"]) >= 2, "two looks at it")
            same(program.out, "", "the output")
            same(world.objects()[LOCK].body, body, "what lies there")
            world.server.delete_object(BUCKET, LOCK)
            result = program.wait()
            same((result.code, result.out), (0, "ran\n"), f"the end, once it is gone ({result.err})")
            world.wait_unlocked()


# --- given up on the way ----------------------------------------------------------------

@case("a job that is cancelled while it waits for a holder elsewhere leaves that one's lock alone")
def cancel_behind_foreign():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        world.server.put_object(BUCKET, LOCK, FOREIGN)
        program = work.spawn("apply", env=world.fake_terraform("echo ran\n"))
        wait_for(lambda: "tf@elsewhere" in program.err, "the name of the holder")
        same(world.tfq("cancel", "1").code, 0, "the exit code of cancel")
        result = program.wait(10)
        same((result.code, result.out), (125, ""), "the exit code and the output")
        same(world.objects()[LOCK].body, FOREIGN, "the other's lock")
        world.server.delete_object(BUCKET, LOCK)
        next_job_runs(world, work)


@case("a job that is cancelled while the lock is being taken never runs; tfqd stopped then lets the lock go")
def cancel_in_flight():
    for do in ("hang", "hang-after"):
        for stop in (False, True):
            with World(QUICK, terraform=False) as world:
                work = world.directory(init="by hand")
                world.server.set_faults([{"do": do, "method": "PUT", "suffix": ".tflock"}])
                program = work.spawn("apply", env=world.fake_terraform("echo ran\n"))
                wait_for(lambda: asked(world, "PUT"), "the request for the lock")
                if stop:
                    daemon, world.daemon = world.daemon, None
                    daemon.send(signal.SIGTERM)
                    world.server.set_faults([])
                    same(daemon.process.wait(20), 0, "tfqd's exit code")
                    same(world.lock(), None, f"the lock after {do}")
                    world.start_daemon()
                    same(program.wait().code, 0, "the exit code after the restart")
                else:
                    same(world.tfq("cancel", "1").code, 0, "the exit code of cancel")
                    result = program.wait(10)
                    same((result.code, result.out), (125, ""), "the exit code and the output")
                    world.server.set_faults([])
                world.wait_unlocked()
                next_job_runs(world, work)


@case("a job that is cancelled while its workspace is looked for never runs")
def cancel_while_looking():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        world.server.set_faults([{"do": "hang", "suffix": "terraform.tfstate"}])
        program = work.spawn("apply", env=dict(world.fake_terraform("echo ran\n"), TF_WORKSPACE="w1"))
        wait_for(lambda: asked(world, "HEAD", "terraform.tfstate"), "the look for the state")
        same(world.tfq("cancel", "1").code, 0, "the exit code of cancel")
        result = program.wait(10)
        same((result.code, result.out), (125, ""), "the exit code and the output")
        world.server.set_faults([])
        next_job_runs(world, work)


@case("a hand-over that is on its way when the next job is cancelled ends well")
def cancel_in_handover():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo started; echo ran >> runs; sleep 0.5\n")
        programs = [work.spawn("apply", env=env)]
        started(programs[0])
        programs += [work.spawn("apply", env=env) for _ in range(2)]
        wait_for(lambda: len(world.jobs()) == 3, "three jobs")
        world.server.set_faults([{"do": "delay-after", "ms": 400, "method": "PUT", "header": "if-match",
                                  "suffix": ".tflock", "count": None}])
        same(programs[0].wait().code, 0, "the first one's exit code")
        second = wait_for(lambda: [job for job in world.jobs() if job["status"] in ("locking", "running")], "the next")
        same(world.tfq("cancel", str(second[0]["id"])).code, 0, "the exit code of cancel")
        for program in programs[1:]:
            program.wait()
        statuses = sorted(job["status"] for job in world.jobs())
        check(statuses.count("done") >= 2, f"they ended {statuses}")
        world.wait_unlocked()


@case("who cannot ask without credentials: it says what is wrong, and tfqd asks the next one")
def who_without_keys():
    with World(QUICK, terraform=False) as world:
        work = world.directory(init="by hand")
        nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
        result = work.tfq("who", env=nobody)
        check(result.code != 0, f"the exit code is 0 ({result.out})")
        contains(result.err, "cannot tell who holds the lock: ")
        contains(work.tfq("who").out, "lock file in S3: free")


@case("two tfqds share a state: one job at a time, the other one waits and says for whom")
def two_daemons():
    with World(QUICK, terraform=False) as one, World(QUICK, terraform=False, url=one.server.url) as two:
        script = "echo started; echo start >> {0}; sleep 0.3; echo end >> {0}\n".format(os.path.join(one.path, "runs"))
        works = [world.directory(init="by hand") for world in (one, two)]
        envs = [world.fake_terraform(script) for world in (one, two)]
        programs = [work.spawn("apply", env=env) for _ in range(3) for work, env in zip(works, envs)]
        same([program.wait().code for program in programs], [0] * 6, "the exit codes")
        with open(os.path.join(one.path, "runs"), encoding="ascii") as runs:
            same(runs.read(), "start\nend\n" * 6, "who ran when")
        check(any("(another tfqd)" in program.err for program in programs), "nobody waited for the other tfqd")
        one.wait_unlocked()


main()
