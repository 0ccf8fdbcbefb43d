#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One at a time, in order: several applies on one state and on two, and raw terraform beside them."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import World, case, check, contains, main, same, wait_for  # noqa: E402


@case("three applies at the same moment run one after the other under one lock that is never let go")
def three_at_once():
    with World() as world:
        works = [world.directory(f"clone{i}") for i in range(3)]
        programs = [work.apply(f"job{i}", 0.4) for i, work in enumerate(works)]
        for program in programs:
            result = program.wait()
            same(result.code, 0, f"the exit code ({result.err})")
            contains(result.out, "Apply complete! Resources: 1 added")
        works[0].check_no_overlap()
        same(sorted(works[0].order()), ["job0", "job1", "job2"], "who ran")
        plain = world.directory("plain", key="plain/terraform.tfstate", journal=os.devnull)
        for i in range(3):
            same(plain.terraform(*plain.apply_argv(f"job{i}", 0)).code, 0, "raw terraform's exit code")
        same(world.state()["serial"], plain.state()["serial"], "the state's serial")
        world.wait_unlocked()

        done = world.lock_requests()
        same([entry["method"] for entry in done if entry["method"] == "DELETE"], ["DELETE"], "deletions of the lock")
        same(done[-1]["method"], "DELETE", "the last request")
        writes = [entry for entry in done if entry["method"] == "PUT"]
        same([entry["headers"].get("if-none-match") for entry in writes], ["*", None, None], "If-None-Match")
        check(all(entry["headers"].get("if-match") for entry in writes[1:]), "hand-overs without If-Match")
        same(len({entry["body"].split('"ID":"')[1][:36] for entry in writes}), 3, "the number of lock IDs")


@case("ten applies that come one after the other run in that order")
def ten_in_order():
    with World() as world:
        work = world.directory()
        programs = []
        for i in range(10):
            programs.append(work.apply(f"job{i}", 0.15))
            world.wait_job(f"job{i}")
        for program in programs:
            same(program.wait().code, 0, "the exit code")
        same(work.order(), [f"job{i}" for i in range(10)], "the order")
        work.check_no_overlap()
        handovers = [world.job_of(f"job{i}").get("handover") for i in range(10)]
        check(handovers[0] is None, "the first job has a hand-over")
        check(all(isinstance(time, int) and time >= 0 for time in handovers[1:]), f"hand-overs are {handovers}")
        world.wait_unlocked()


@case("raw terraform is refused while a job runs, reads who holds the lock and why, and works right after")
def raw_is_excluded():
    with World() as world:
        work, other = world.directory("one"), world.directory("two")
        job = work.apply("job", 3, "-m", "resize the <db>")
        work.wait_started("job")
        raw = other.terraform(*other.apply_argv("raw"))
        same(raw.code, 1, "raw terraform's exit code")
        number = world.wait_job("job", "running")["id"]
        info = world.job(number)
        contains(raw.err, "Error acquiring the state lock", info["lock_id"], f"tfqd job {number} of {info['user']}",
                 "resize the <db>", "OperationTypeApply", "to queue behind it on")
        contains(world.tfq("info", str(number)).out, info["lock_id"])
        same(world.lock()["ID"], info["lock_id"], "the lock's ID")
        same(job.wait().code, 0, "the job's exit code")
        world.wait_unlocked()
        raw = other.terraform(*other.apply_argv("raw"))
        same(raw.code, 0, f"raw terraform's exit code afterwards ({raw.err})")
        same(work.order(), ["job", "raw"], "who ran")


@case("tfq waits for a raw terraform that holds the lock, names it, and runs once it is done")
def raw_is_first():
    with World("[lock]\npoll_min = 200ms\npoll_max = 500ms\n") as world:
        work, other = world.directory("one"), world.directory("two")
        raw = world.spawn("terraform", *other.apply_argv("raw", 3), cwd=other.path)
        other.wait_started("raw")
        lock = world.lock()
        program = work.apply("job")
        job = wait_for(lambda: (world.job_of("job") or {}).get("holder") and world.job_of("job"), "a known holder")
        same(job["status"], "locking", "the status")
        same(job["holder"]["id"], lock["ID"], "the holder's ID")
        same(job["holder"]["who"], lock["Who"], "the holder")
        same(job["holder"]["is_tfqd"], False, "is_tfqd")
        same(raw.wait().code, 0, "raw terraform's exit code")
        result = program.wait()
        same(result.code, 0, f"the exit code ({result.err})")
        contains(result.err, "queued on s3://tfbucket/app/terraform.tfstate", "locked by " + lock["Who"], lock["ID"])
        same(work.order(), ["raw", "job"], "who ran")
        work.check_no_overlap()
        world.wait_unlocked()


@case("a queued job says who is ahead of it, in the queue too")
def queue_is_shown():
    with World() as world:
        work = world.directory()
        first = work.apply("first", 2, "-m", "db resize", "--label", "nightly")
        work.wait_started("first")
        second = work.apply("second")
        number = world.wait_job("second", "queued")["id"]
        contains(world.tfq("queue").out, "STATE-NAME", "s3://tfbucket/app/terraform.tfstate", "running", "queued",
                 "1/2", "2/2", "nightly")
        same(world.tfq().out.split()[0], "ID", "the head of what tfq alone prints")
        contains(world.tfq("info", f"#{number}").out, "queued", "2 of 2")
        same([program.wait().code for program in (first, second)], [0, 0], "the exit codes")
        contains(second.err, f"#{number} queued on s3://tfbucket/app/terraform.tfstate (2nd of 2)", '"db resize"')
        same(first.err, "", "what tfq says about a job that did not wait")
        same(world.tfq("queue").out, "Nothing is queued.\n", "the queue afterwards")
        contains(world.tfq("queue", "--all").out, "done")


@case("high priority goes first, low priority last")
def priorities():
    with World() as world:
        work = world.directory()
        programs = [work.apply("running", 2)]
        work.wait_started("running")
        for name in ("low", "normal", "high"):
            programs.append(work.apply(name, 0, "--priority", name))
            world.wait_job(name, "queued")
        for program in programs:
            same(program.wait().code, 0, "the exit code")
        same(work.order(), ["running", "high", "normal", "low"], "the order")


@case("two states run at the same time")
def two_states():
    with World() as world:
        journal = os.path.join(world.path, "shared")
        one = world.directory("one", key="one/terraform.tfstate", journal=journal)
        two = world.directory("two", key="two/terraform.tfstate", journal=journal)
        programs = [one.apply("one", 2), two.apply("two", 2)]
        same([program.wait().code for program in programs], [0, 0], "the exit codes")
        a, b = one.spans()
        check(b.start < a.end, "they did not overlap")
        world.wait_unlocked("one/terraform.tfstate")
        world.wait_unlocked("two/terraform.tfstate")


@case("a full queue refuses one job, and takes the next as soon as there is room")
def full_queue():
    with World("[queue]\nmax_queued = 1\nmax_queued_per_user = 1\n", terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo started; while [ ! -e end ]; do sleep 0.05; done\n")
        first = work.spawn("apply", env=env)
        wait_for(lambda: "started" in first.out, "the start")
        second = work.spawn("--label", "second", "apply", env=env)
        world.wait_job("second", "queued")
        for _ in range(2):
            refused = work.tfq("apply", env=env)
            same(refused.code, 75, f"the exit code where the queue is full ({refused.err})")
            contains(refused.err, "the queue is full")
        work.write("end", "")
        same([program.wait().code for program in (first, second)], [0, 0], "the exit codes")
        after = work.tfq("apply", env=env)
        same(after.code, 0, f"the exit code once there is room ({after.err})")


@case("max_running holds back other states, too")
def max_running():
    with World("[daemon]\nmax_running = 1\n") as world:
        journal = os.path.join(world.path, "shared")
        works = [world.directory(f"w{i}", key=f"{i}/terraform.tfstate", journal=journal) for i in range(3)]
        programs = []
        for i, work in enumerate(works):
            programs.append(work.apply(f"job{i}", 0.3))
            world.wait_job(f"job{i}")
        same([program.wait().code for program in programs], [0, 0, 0], "the exit codes")
        works[0].check_no_overlap()
        same(works[0].order(), ["job0", "job1", "job2"], "the order")


@case("sixty jobs on six states, queued at the same moment: each state has one at a time, in its order")
def many_states():
    with World(terraform=False) as world:
        env = world.fake_terraform('echo "start $3" >> runs; sleep 0.05; echo "end $3" >> runs\n')
        works = [world.directory(f"w{i}", key=f"{i}/terraform.tfstate", init="by hand") for i in range(6)]
        programs = [work.spawn("apply", f"-target={i}", env=env) for i in range(10) for work in works]
        for program in programs:
            result = program.wait()
            same(result.code, 0, f"the exit code ({result.err})")
        accepted = sorted(world.jobs(), key=lambda job: job["id"])
        for i, work in enumerate(works):
            mine = [job["command"].split()[1] for job in accepted if job["directory"] == work.path]
            same(work.read("runs"), "".join(f"start {name}\nend {name}\n" for name in mine), f"who ran on {i}")
            world.wait_unlocked(f"{i}/terraform.tfstate")


@case("after handover_limit jobs the lock is let go for those who wait elsewhere", seconds=90)
def handover_limit():
    with World("[queue]\nhandover_limit = 2\n") as world:
        work = world.directory()
        programs = []
        for i in range(3):
            programs.append(work.apply(f"job{i}", 0.2))
            world.wait_job(f"job{i}")
        same([program.wait(20).code for program in programs[:2]], [0, 0], "the exit codes")
        world.wait_unlocked(seconds=5)
        raw = work.terraform(*work.apply_argv("raw", 0, "-lock-timeout=10s"))
        same(raw.code, 0, f"raw terraform's exit code ({raw.err})")
        same(programs[2].wait(40).code, 0, "the third's exit code")
        same(work.order(), ["job0", "job1", "raw", "job2"], "who ran")
        work.check_no_overlap()


main()
