#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Saved plans: tfqd locks the state that the plan names, whatever the directory says."""
import os
import shutil
import sys
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import KEY, World, case, check, contains, main, same, wait_for  # noqa: E402

OTHER = "other/terraform.tfstate"
W1_KEY = f"env:/w1/{KEY}"
UNTIL_END = "while [ ! -e end ]; do sleep 0.05; done"  # a directory's command that waits for that file


def ran(result, code=0):
    same(result.code, code, f"the exit code ({result.err or result.out[-300:]})")
    return result


def plan(work, name="planned", seconds=0, out="p", **how):
    """Make the plan with terraform itself: what is applied later is what is looked at."""
    ran(work.terraform("plan", "-input=false", "-no-color", f"-out={out}", f"-var=name={name}",
                       f"-var=seconds={seconds}", **how))


def apply(work, label, *argv, **how):
    return work.spawn("--label", label, "apply", "-input=false", "-no-color", *(argv or ("p",)), **how)


def reinit(work, key):
    """Point the directory to another state, as an edit of its backend block and terraform init do."""
    work.write("main.tf", work.read("main.tf").replace(work.key, key))
    ran(work.terraform("init", "-reconfigure", "-input=false"))
    work.key = key


def locks_of_tfqd(world, key):
    """The locks that tfqd has written, apart from those of a terraform that ran by hand."""
    return [entry["body"] for entry in world.lock_requests(key) if entry["method"] == "PUT" and "Tfqd" in entry["body"]]


# --- which lock -------------------------------------------------------------------------

@case("a plan's own state is locked by tfqd, and not the one that the directory was initialised for since")
def locks_what_the_plan_names():
    with World() as world:
        work = world.directory()
        plan(work, seconds=1)
        reinit(work, OTHER)
        program = apply(work, "planned")
        work.wait_started("planned")
        job = world.wait_job("planned", "running")
        same((job["state"], job["lock"], job["workspace"]), (f"s3://tfbucket/{KEY}", "tfqd", "default"), "the job")
        lock = world.lock(KEY)
        same((lock["ID"], lock["Path"]), (job["lock_id"], f"tfbucket/{KEY}"), "the lock")
        same((lock["Operation"], lock["Version"]), ("OperationTypeApply", "1.11.4"), "what the lock says")
        same(world.lock(OTHER), None, "the lock of the directory's state")
        ran(program.wait())
        same(world.state(KEY)["outputs"]["name"]["value"], "planned", "the plan's state")
        same((world.state(OTHER), locks_of_tfqd(world, OTHER)), (None, []), "the directory's state and lock")
        world.wait_unlocked()


@case("jobs on the plan's state and on the directory's wait in their own queues")
def own_queue():
    with World() as world:
        first, second = world.directory("first"), world.directory("second", command=UNTIL_END)
        plan(first)
        reinit(first, OTHER)
        holder = second.apply("holder")
        second.wait_started("holder")
        behind = apply(first, "planned")
        same(world.wait_job("planned", "queued")["ahead"]["id"], world.job_of("holder")["id"], "who is ahead")
        beside = first.apply("beside")
        same(beside.wait().code, 0, f"the exit code on the directory's own state ({beside.err})")
        check(holder.is_running(), "it waited for another state's job")
        second.write("end", "")
        same([holder.wait().code, behind.wait().code], [0, 1], f"the exit codes ({behind.err})")
        contains(behind.err, "Saved plan is stale")  # holder has changed the state that it was made for


@case("plans are applied in the order of the queue; the second of one state is stale, in terraform's words")
def in_order():
    with World() as world:
        work = world.directory()
        plan(work, "one", 1, "p1")
        plan(work, "two", 0, "p2")
        first = apply(work, "one", "p1")
        work.wait_started("one")
        second = apply(work, "two", "p2")
        world.wait_job("two", "queued")
        third = work.apply("three")
        same([first.wait().code, second.wait().code, third.wait().code], [0, 1, 0], f"the exit codes ({second.err})")
        contains(second.err, "Saved plan is stale")
        same(work.order(), ["one", "three"], "who ran")
        work.check_no_overlap()
        same({job["lock"] for job in world.jobs()}, {"tfqd"}, "who took the locks")
        world.wait_unlocked()


@case("two plans queued on two workspaces of one directory run in their own lines")
def two_queued():
    with World() as world:
        work = world.directory()
        ran(work.terraform("workspace", "new", "w1"))
        ran(work.terraform("workspace", "select", "default"))
        plan(work, "one", out="p1")
        plan(work, "two", out="p2", env={"TF_WORKSPACE": "w1"})
        programs = [apply(work, "one", "p1"), apply(work, "two", "p2", env={"TF_WORKSPACE": "w1"})]
        for program in programs:
            ran(program.wait())
        same([job["lock"] for job in world.jobs()], ["tfqd", "tfqd"], "who took the locks")
        same(world.state(KEY)["outputs"]["name"]["value"], "one", "the state of the default workspace")
        same(world.state(W1_KEY)["outputs"]["name"]["value"], "two", "the state of the other one")


# --- workspaces and directories ---------------------------------------------------------

@case("the workspace is the one that is selected now, not the plan's; terraform says that they do not match")
def workspace():
    with World() as world:
        work = world.directory()
        ran(work.terraform("workspace", "new", "w1"))
        plan(work, seconds=1)
        program = apply(work, "planned")
        work.wait_started("planned")
        job = world.wait_job("planned", "running")
        same((job["workspace"], job["lock"]), ("w1", "tfqd"), "workspace and lock")
        same(world.lock(W1_KEY)["ID"], job["lock_id"], "the lock's ID")
        same(world.lock(KEY), None, "the lock of the default workspace")
        ran(program.wait())
        world.wait_unlocked(W1_KEY)

        ran(work.terraform("workspace", "select", "default"))
        plan(work, out="p2", env={"TF_WORKSPACE": "w1"})
        result = ran(apply(work, "mismatch", "p2").wait(), 1)
        contains(result.err, "Saved plan does not match the given state")
        same(world.job_of("mismatch")["state"], f"s3://tfbucket/{KEY}", "the state that was locked")
        check(locks_of_tfqd(world, KEY), "the lock was not taken")
        ran(apply(work, "again", "p2", env={"TF_WORKSPACE": "w1"}).wait())
        same(world.job_of("again")["state"], f"s3://tfbucket/{W1_KEY}", "the state that was locked")


@case("a plan needs no .terraform and no configuration: neither does terraform")
def no_directory():
    with World() as world:
        work = world.directory()
        plan(work, "one", out="p1")
        shutil.rmtree(os.path.join(work.path, ".terraform"))
        ran(work.terraform("apply", "-input=false", "-no-color", "p1"))
        ran(work.terraform("init", "-input=false"))
        plan(work, "two", out="p2")
        shutil.rmtree(os.path.join(work.path, ".terraform"))
        ran(apply(work, "two", "p2").wait())
        ran(work.terraform("init", "-input=false"))
        plan(work, "three", out="p3")
        empty = os.path.join(world.path, "empty")
        os.mkdir(empty)
        ran(world.tfq("apply", "-input=false", "-no-color", os.path.join(work.path, "p3"), cwd=empty))
        same([job["lock"] for job in world.jobs()], ["tfqd", "tfqd"], "who took the locks")
        same(work.order(), ["one", "two", "three"], "who ran")


@case("with -chdir the plan's path is relative to that directory, with TF_DATA_DIR the workspace is found there")
def chdir():
    with World() as world:
        work = world.directory(init=False)
        env = {"TF_DATA_DIR": "data"}
        ran(work.terraform("init", "-input=false", env=env))
        ran(work.terraform("workspace", "new", "w1", env=env))
        plan(work, env=env)
        ran(world.tfq("-chdir=work", "apply", "-input=false", "-no-color", "p", env=env))
        job = world.jobs()[-1]
        same((job["workspace"], job["lock"]), ("w1", "tfqd"), "workspace and lock")


# --- the file changes, or is none -------------------------------------------------------

@case("a plan that is replaced by another state's while it waits is not applied")
def replaced():
    with World() as world:
        work, other = world.directory(), world.directory("elsewhere", key=OTHER)
        plan(work, "planned")
        plan(other, "intruder")
        holder = work.apply("holder", 1)
        work.wait_started("holder")
        waiting = apply(work, "waiting")
        world.wait_job("waiting", "queued")
        shutil.copy(os.path.join(other.path, "p"), os.path.join(work.path, "p"))
        same([holder.wait().code, waiting.wait().code], [0, 125], f"the exit codes ({waiting.err})")
        contains(waiting.err, "the plan file p was replaced", OTHER, "queue it again")
        same(work.order(), ["holder"], "who ran")
        same(locks_of_tfqd(world, OTHER), [], "who took the other state's lock")
        world.wait_unlocked()


@case("a plan that is gone, or cut, when its turn comes is not applied")
def gone():
    with World() as world:
        work = world.directory()
        plan(work, out="p1")
        plan(work, out="p2")
        holder = work.apply("holder", 1)
        work.wait_started("holder")
        waiting = [apply(work, name, name) for name in ("p1", "p2")]
        for name in ("p1", "p2"):
            world.wait_job(name, "queued")
        os.unlink(os.path.join(work.path, "p1"))
        os.truncate(os.path.join(work.path, "p2"), 100)
        same([program.wait().code for program in [holder, *waiting]], [0, 125, 125], "the exit codes")
        contains(waiting[0].err, "there is no such plan file")
        contains(waiting[1].err, "p2", "make it again")
        world.wait_unlocked()


@case("what terraform would refuse as a plan is refused at once, even while somebody else runs")
def no_plan():
    with World() as world:
        work = world.directory(command=UNTIL_END)
        os.mkdir(os.path.join(work.path, "folder"))
        work.write("text", "hello\n")
        work.write("empty", "")
        with zipfile.ZipFile(os.path.join(work.path, "archive"), "w") as archive:
            archive.writestr("main.tf", "")
        plan(work, out="whole")
        with open(os.path.join(work.path, "whole"), "rb") as file:
            data = file.read()
        with open(os.path.join(work.path, "cut"), "wb") as file:
            file.write(data[:-40])
        holder = work.apply("holder")
        work.wait_started("holder")
        for name, says in (("nowhere", "there is no such plan file"), ("folder", "use -chdir=DIR"),
                           ("text", "is no saved plan"), ("empty", "is no saved plan"),
                           ("archive", "a zip file, but no saved plan"), ("cut", "make it again"),
                           ("/dev/null", "no regular file")):
            same(work.terraform("apply", "-input=false", "-lock=false", name).code, 1, f"terraform's code for {name}")
            result = ran(work.tfq("apply", "-input=false", name), 78)
            contains(result.err, name, says)
        check(holder.is_running(), "they have waited")
        same(len(world.jobs()), 1, "the number of jobs")
        work.write("end", "")
        ran(holder.wait())


@case("a plan of HCP Terraform is terraform's to tell: it is queued in the directory's turn, without tfqd's lock")
def cloud_plan():
    with World() as world:
        work = world.directory()
        work.write("p", '{"remote_plan_format":1,"run_id":"run-x","hostname":"app.terraform.io"}\n')
        result = ran(apply(work, "cloud").wait(), 1)
        contains(result.err, "is a plan of HCP Terraform: terraform locks what it names itself",
                 "using a saved cloud plan when executing Terraform locally is not supported")
        job = world.job_of("cloud")
        contains(job["lock"], "cannot tell which backend the saved plan names")
        same((job["state"], locks_of_tfqd(world, KEY)), (f"s3://tfbucket/{KEY}", []), "its state and locks")


@case("a plan of another terraform version is locked by what it names, and terraform says what is wrong")
def other_version():
    with World() as world:
        work = world.directory()
        plan(work, out="new")
        with zipfile.ZipFile(os.path.join(work.path, "new")) as new, \
                zipfile.ZipFile(os.path.join(work.path, "p"), "w", zipfile.ZIP_DEFLATED) as old:
            for name in new.namelist():
                old.writestr(name, new.read(name).replace(b"1.11.4", b"1.10.1"))
        result = ran(apply(work, "old").wait(), 1)
        contains(result.err, "plan file was created by Terraform 1.10.1")
        same(world.job_of("old")["lock"], "tfqd", "who took the lock")
        world.wait_unlocked()


# --- where the plan is named, and what it names -----------------------------------------

@case("a plan that TF_CLI_ARGS_apply names waits in its own state's line, and terraform takes the lock")
def named_by_environment():
    with World() as world:
        work = world.directory()
        plan(work, seconds=1)
        reinit(work, OTHER)
        program = work.spawn("--label", "planned", "apply", env={"TF_CLI_ARGS_apply": "-input=false -no-color p"})
        work.wait_started("planned")
        job = world.wait_job("planned", "running")
        contains(job["lock"], "TF_CLI_ARGS* names the plan")
        same(job["state"], f"s3://tfbucket/{KEY}", "the state")
        lock = world.lock(KEY)
        check(lock and "Tfqd" not in lock, f"the lock is not terraform's own: {lock}")
        ran(program.wait())
        ran(work.tfq("apply", "-input=false", env={"TF_CLI_ARGS_apply": "nowhere"}), 78)
        world.wait_unlocked()


@case("flags before a plan work, the user's own -lock included; without a value for a variable nothing is asked")
def flags():
    with World() as world:
        work = world.directory()
        for number, options in enumerate((["-lock=true"], ["-lock-timeout=3s", "-parallelism", "1"],
                                          ["-auto-approve"])):
            plan(work, f"n{number}")
            ran(work.tfq("apply", "-input=false", *options, "p"))
        same([job["lock"] for job in world.jobs()], ["tfqd"] * 3, "who took the locks")
        same(work.order(), ["n0", "n1", "n2"], "who ran")


@case("a plan with a local backend waits in the line of that file, and terraform locks it")
def local():
    with World() as world:
        work = world.directory(backend="", command=UNTIL_END)
        plan(work)
        program = apply(work, "planned")
        work.wait_started("planned")
        behind = work.apply("behind")
        job = world.wait_job("behind", "queued")
        same((job["lock"], job["state"]), ("the state is a local file", f"local:{work.path}/terraform.tfstate"), "it")
        same(job["ahead"]["id"], world.job_of("planned")["id"], "who is ahead: the same line")
        work.write("end", "")
        same([program.wait().code, behind.wait().code], [0, 0], f"the exit codes ({program.err}{behind.err})")
        same(work.order(), ["planned", "behind"], "the order")
        work.check_no_overlap()


@case("a plan with an S3 backend that has no lock is refused with the two lines that help")
def no_lock():
    with World() as world:
        work = world.directory(lock="")
        plan(work)
        result = ran(apply(work, "planned").wait(), 78)
        contains(result.err, "use_lockfile = true", "dynamodb_table")


@case("show of a plan is terraform's at once, without any tfqd")
def show():
    with World(daemon=False) as world:
        work = world.directory()
        plan(work)
        contains(ran(work.tfq("show", "-no-color", "p")).out, "terraform_data.work will be created")


@case("a tfq that does not tell of the plan gets terraform's lock; one that lies of it is found out by the runner")
def told_by_the_client():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        work.write("p", "no plan\n")
        parameters = {"protocol": 1, "argv": ["apply", "p"], "directory": work.path, "state_directory": work.path,
                      "backend": work.read(".terraform/terraform.tfstate"), "workspace": "default", "umask": 18,
                      "environment": [f"{name}={value}" for name, value in world.env.items() if name != "PATH"] +
                      [f"PATH={world.fake_terraform('echo ran >> runs')['PATH']}"]}
        jobs = [world.call("Submit", **parameters, **more)["job"] for more in ({}, {"plan": True})]
        contains(jobs[0]["lock"], "tfq cannot tell which backend the saved plan names")
        same(jobs[1]["lock"], "tfqd", "who is to take the other lock")
        wait_for(lambda: [job["status"] for job in world.jobs()] == ["done", "failed"], "how they ended")
        contains(world.jobs()[1]["message"], "is no saved plan")
        same(work.read("runs"), "ran\n", "who ran")
        world.wait_unlocked()


@case("a secret that is only in the plan's backend is in no list and in no log")
def secrets():
    with World() as world:
        work = world.directory(lock='use_lockfile = true\n    access_key = "testkey"\n    secret_key = "testsecret"')
        env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        plan(work, env=env)
        shutil.rmtree(os.path.join(work.path, ".terraform"))
        ran(apply(work, "planned", env=env).wait())
        same(world.job_of("planned")["lock"], "tfqd", "who took the lock")
        check("testsecret" not in str(world.jobs()) + world.log(), "the secret is shown")


main()
