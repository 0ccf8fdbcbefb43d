#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who goes first, what stands still, what was, and what is counted: Pause, Up, supersede, History, Events, Metrics."""
import copy
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (BACKEND_FILE, KEY, Skip, Varlink, VarlinkError, World, case, check, contains,  # noqa: E402
                     main, ran, same, wait_for)

STATE = f"s3://tfbucket/{KEY}"
COLUMNS = "id,state-name,status,pos,user,command,waited/ran,eta,label"
WAITS = "echo started; while [ ! -e end ]; do sleep 0.05; done; echo $TFQ_JOB >> runs\n"


def submit(work, env, *options, subcommand="apply"):
    return int(ran(work.tfq("-d", *options, subcommand, env=env)).out)


def held(world):
    """A directory with a job that runs until open_gate(), and the environment of such jobs."""
    work = world.directory(init="by hand")
    env = world.fake_terraform(WAITS)
    first = submit(work, env)
    wait_for(lambda: world.job(first)["status"] == "running", "the first one's start")
    return work, env, first


def submission(world, work, key):
    """What tfq would send, without a tfq: as fast as it can be."""
    backend = copy.deepcopy(BACKEND_FILE)
    backend["backend"]["config"].update(key=key, endpoints={"s3": world.url})
    return {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
            "backend": json.dumps(backend), "workspace": "default", "umask": 18,
            "environment": ["PATH=" + world.env["PATH"], "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s"]}


def open_gate(work):
    work.write("end", "")


def runs(work, count):
    wait_for(lambda: work.has("runs") and len(work.read("runs").split()) == count, f"{count} runs")
    return [int(number) for number in work.read("runs").split()]


@case("what is paused begins nothing new, says why, also after a restart; resumed it goes on")
def pause():
    for state in (STATE, None):
        with World(terraform=False) as world:
            work, env, first = held(world)
            second = submit(work, env)
            parameters = {"reason": "a freeze\x1b[31m"} | ({"state": state} if state else {})
            world.call("Pause", **parameters)
            open_gate(work)
            wait_for(lambda w=world, n=first: w.job(n)["status"] == "done", "the end of the first one")
            world.wait_unlocked()
            world.restart_daemon()
            job = world.job(second)
            same((job["status"], job["paused"]), ("queued", True), "the second one")
            contains(job["message"], "paused by root: a freeze")
            check("\x1b" not in job["message"], "an escape sequence")
            third = submit(work, env)
            world.call("Resume", **({"state": state} if state else {}))
            same(runs(work, 3), [first, second, third], "who ran")
            world.wait_unlocked()


@case("what cannot be paused or resumed is said")
def no_pause():
    with World(terraform=False) as world:
        for method, parameters, error in (("Pause", {"state": "s3://no/such"}, "NoSuchState"),
                                          ("Resume", {}, "NoSuchState"), ("Resume", {"state": "x"}, "NoSuchState"),
                                          ("Pause", {"state": 7}, "BadRequest"), ("Up", {"id": 7}, "NoSuchJob")):
            try:
                world.call(method, **parameters)
            except VarlinkError as refused:
                same(refused.name, f"io.tfqd.{error}", method)
            else:
                raise AssertionError(f"{method} was carried out")


@case("a job that is moved up is the next one, also after a restart")
def move_up():
    with World(terraform=False) as world:
        work, env, first = held(world)
        numbers = [submit(work, env) for _ in range(4)]
        world.call("Up", id=numbers[3])
        world.call("Up", id=numbers[2])
        same(world.job(numbers[2])["position"], 2, "the place")
        world.restart_daemon()
        open_gate(work)
        same(runs(work, 5), [first, numbers[2], numbers[3], numbers[0], numbers[1]], "who ran")


@case("a job that supersedes takes the place of its owner's others of its kind, and of no others")
def supersede():
    with World(terraform=False) as world:
        work, env, first = held(world)
        old, plan = submit(work, env), submit(work, env, subcommand="plan")
        with Varlink(world.socket) as varlink:
            new = varlink.call("io.tfqd.Submit", protocol=1, argv=["apply"], directory=work.path,
                               state_directory=work.path, backend=work.read(".terraform/terraform.tfstate"),
                               workspace="default", environment=[f"{k}={v}" for k, v in {**world.env, **env}.items()],
                               umask=0o22, supersede=True)["job"]["id"]
        job = world.job(old)
        same(job["status"], "cancelled", "the old one")
        contains(job["message"], f"superseded by #{new}")
        open_gate(work)
        same(runs(work, 3), [first, plan, new], "who ran")


@case("what was: the latest first, by page, state, user and time; after a restart, too")
def history():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("exit 3\n")
        for _ in range(3):
            work.tfq("apply", env=env)
        world.restart_daemon()
        jobs = world.call("History")["jobs"]
        same([job["id"] for job in jobs], [3, 2, 1], "the jobs")
        same({job["exit_code"] for job in jobs}, {3}, "their exit codes")
        same([job["id"] for job in world.call("History", before=3)["jobs"]], [2, 1], "the next page")
        same([job["id"] for job in world.call("History", since=jobs[0]["ended"])["jobs"]], [3], "the latest")
        for name, value, count in (("state", STATE, 3), ("state", "s3://other", 0), ("user", "root", 3),
                                   ("user", "nobody", 0)):
            same(len(world.call("History", **{name: value})["jobs"]), count, f"{name} {value}")


@case("events come as they happen, and those of before can be read")
def events():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("true\n")
        with Varlink(world.socket) as varlink:
            varlink.send("io.tfqd.Events", {}, more=True)
            same(varlink.receive()["parameters"]["events"], [], "the events of before")
            ran(work.tfq("apply", env=env))
            seen = []
            while "done" not in [event["kind"] for event in seen]:
                seen += varlink.receive()["parameters"]["events"]
        same([event["kind"] for event in seen], ["submit", "start", "done"], "the events")
        same({(event["job"], event["state"]) for event in seen}, {(1, STATE)}, "whose they are")
        same((seen[0]["user"], seen[0]["text"]), ("root", "apply"), "the submit")
        same([event["id"] for event in seen], sorted(event["id"] for event in seen), "their order")
        same(world.call("Events", newest=1)["events"], seen[-1:], "the newest")
        same(world.call("Events", after=seen[0]["id"])["events"], seen[1:], "those after the first")


@case("metrics are OpenMetrics text, and count what happens")
def metrics():
    with World(terraform=False) as world:
        work, env, _ = held(world)
        second = submit(work, env)
        text = world.call("Metrics")["text"]
        contains(text, 'tfqd_jobs{status="running"} 1', 'tfqd_jobs{status="queued"} 1', "tfqd_jobs_submitted_total 2")
        check(text.endswith("# EOF\n"), "no end")
        open_gate(work)
        wait_for(lambda: world.job(second)["status"] == "done", "the end")
        text = world.call("Metrics")["text"]
        contains(text, 'tfqd_jobs_ended_total{status="done"} 2', "tfqd_handover_seconds_count 1",
                 'tfqd_job_waiting_seconds_bucket{le="+Inf"} 2')
        for line in text.splitlines():
            check(line.startswith("# ") or len(line.split()) == 2, f"no metric: {line!r}")


@case("promtool finds nothing to say about the metrics")
def promtool():
    if not shutil.which("promtool"):
        raise Skip("there is no promtool")
    with World(terraform=False) as world:
        work, _, _ = held(world)
        open_gate(work)
        text = ran(world.tfq("metrics")).out
        # It reads the older text format, in which a counter's family has its samples' name.
        counters = re.findall(r"^# TYPE (\S+) counter$", text, re.M)
        check(len(counters) > 5, f"the counters are {counters}")
        for name in counters:
            text = re.sub(rf"^(# (?:TYPE|HELP) {name}) ", r"\1_total ", text, flags=re.M)
        result = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
        same((result.returncode, result.stdout + result.stderr), (0, ""), "what promtool says")


@case("a list in brief says of each job what the whole one does, but less, page by page")
def brief():
    with World("[queue]\nmax_queued = 700\nmax_queued_per_user = 700\n", terraform=False) as world:
        work, env, first = held(world)
        submit(work, env, "--label", "a label")
        world.call("Pause")
        with Varlink(world.socket) as link:
            for i in range(600):
                link.call("io.tfqd.Submit", **submission(world, work, f"k{i % 7}"))
            pages = {brief: [link.call("io.tfqd.List", brief=brief)] for brief in (True, False)}
            for brief, answers in pages.items():
                while answers[-1]["more"]:
                    after = answers[-1]["jobs"][-1]["id"]
                    answers.append(link.call("io.tfqd.List", brief=brief, after=after))
            jobs = {brief: [job for answer in answers for job in answer["jobs"]] for brief, answers in pages.items()}
            gone = link.call("io.tfqd.List", after=10 ** 9)
        same([len(answer["jobs"]) for answer in pages[True]], [500, 102], "the jobs of each page")
        same(gone, {"jobs": [], "more": False}, "after what never was")
        allowed = {"id", "status", "state", "user", "command", "position", "of", "submitted", "started", "ended",
                   "usual", "eta", "label", "message", "paused"}
        for short, whole in zip(jobs[True], jobs[False], strict=True):
            check(set(short) <= allowed, f"it has {set(short) - allowed}")
            same({**whole, **short}, whole, "the whole one, with what the short one says")
            same(short.get("started", 0), whole["started"], "its start")
        check(any("label" in job for job in jobs[True]), "no label")
        rows = world.tfq("queue").out.splitlines()
        same(world.tfq("queue", "--columns", COLUMNS).out.count("\n"), len(rows), "the lines of both tables")
        same(world.tfq("queue", "--user", "nobody").out, "Nothing is queued.\n", "of a user who has none")
        with Varlink(world.socket) as link:
            for job in jobs[True]:
                if job["id"] != first:
                    link.call("io.tfqd.Cancel", id=job["id"], waiting=True)
        open_gate(work)


@case("how long jobs usually take, and when the next one's turn comes, once three have run")
def estimates():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("sleep 0.3; [ ! -e wait ] || while [ ! -e end ]; do sleep 0.05; done\n")
        for _ in range(3):
            ran(work.tfq("apply", env=env))
        work.write("wait", "")
        first, second, third = [submit(work, env) for _ in range(3)]
        wait_for(lambda: world.job(first)["status"] == "running", "the start")
        jobs = [world.job(number) for number in (first, second, third)]
        check(all(300000 <= job["usual"] < 10000000 for job in jobs), f"the usual time of {jobs}")
        check(jobs[1]["eta"] < jobs[2]["eta"], "their times")
        check("eta" not in jobs[0], "a time for what runs")
        work.write("end", "")
        wait_for(lambda: world.job(third)["status"] == "done", "the end")
        world.restart_daemon()
        os.unlink(os.path.join(work.path, "end"))
        again = submit(work, env)
        same("usual" in world.job(again), True, "whether it is known after a restart")
        work.write("end", "")
        wait_for(lambda: world.job(again)["status"] == "done", "the end")


@case("what was typed is told to its owner after a restart, unless a value in it was hidden")
def argv():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("true\n")
        ran(work.tfq("apply", "-parallelism=3", env=env))
        ran(work.tfq("apply", "-var=a=secret", env=env))
        world.restart_daemon()
        same(world.call("Info", id=1)["job"]["argv"], ["apply", "-parallelism=3"], "the words")
        check("argv" not in world.call("Info", id=2)["job"], "the words are told")


if __name__ == "__main__":
    main()
