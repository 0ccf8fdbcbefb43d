#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Leaving early: cancelled jobs, limits of the wait, clients that go away."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import World, case, check, contains, lacks, main, same, wait_for  # noqa: E402

# Counts the SIGINTs it gets, and ends some time after the first.
COUNTS_INTERRUPTS = """\
echo started
trap 'echo interrupt' INT
n=0
while [ $n -lt 200 ]; do
    sleep 0.05
    n=$((n + 1))
    [ -e end ] && exit 1
done
"""


@case("a job cancelled in the queue never runs")
def cancel_queued():
    with World() as world:
        work = world.directory()
        first = work.apply("first", 2)
        work.wait_started("first")
        second, third = work.apply("second"), None
        number = world.wait_job("second", "queued")["id"]
        third = work.apply("third")
        world.wait_job("third", "queued")
        result = world.tfq("cancel", str(number))
        same(result.code, 0, f"the exit code of cancel ({result.err})")
        contains(result.out, f"Job {number}: cancelled.")
        result = second.wait(10)
        same(result.code, 125, "the cancelled job's exit code")
        contains(result.err, f"#{number} cancelled", "by ")
        same([first.wait().code, third.wait().code], [0, 0], "the others' exit codes")
        same(work.order(), ["first", "third"], "who ran")
        same(world.job(number)["status"], "cancelled", "the status")
        same(world.job(number)["started"], 0, "its start")


@case("a running job that is cancelled gets one SIGINT, terraform saves the state, and the lock is let go")
def cancel_running():
    with World() as world:
        work = world.directory(command="sleep ${var.seconds}; sleep 1")
        same(work.apply("before").wait().code, 0, "the exit code of the apply before")
        program = work.apply("job", 30)
        work.wait_started("job")
        number = world.wait_job("job", "running")["id"]
        result = world.tfq("cancel", str(number))
        same(result.code, 0, f"the exit code of cancel ({result.err})")
        contains(result.out, "sent an interrupt")
        result = program.wait()
        same(result.code, 1, "the exit code")
        contains(result.out, "Interrupt received.", "Gracefully shutting down")
        lacks(result.out + result.err, "Two interrupts")
        job = world.job(number)
        same((job["status"], job["exit_code"]), ("cancelled", 1), "how it ended")
        world.wait_unlocked()
        check(not work.has("errored.tfstate"), "there is an errored.tfstate")
        check(world.state()["serial"] >= 2, "the state was not saved")
        same(work.terraform("plan", "-input=false").code, 0, "the exit code of a raw plan afterwards")


@case("terraform gets exactly one SIGINT, however often a job is cancelled; --force sends one more")
def one_interrupt():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(COUNTS_INTERRUPTS))
        wait_for(lambda: "started" in program.out, "the start")
        number = str(world.jobs()[0]["id"])
        for _ in range(3):
            same(world.tfq("cancel", number).code, 0, "the exit code of cancel")
        wait_for(lambda: "interrupt" in program.out, "the SIGINT")
        same(world.job(int(number))["status"], "stopping", "the status")
        same(program.out.count("interrupt"), 1, "the number of SIGINTs")
        same(world.tfq("cancel", "--force", number).code, 0, "the exit code of cancel --force")
        wait_for(lambda: program.out.count("interrupt") == 2, "the second SIGINT")
        work.write("end", "")
        same(program.wait().code, 1, "the exit code")
        same(world.job(int(number))["status"], "cancelled", "the status")
        check(world.lock(), "the lock is gone, although a write of the state might still land")
        world.wait_unlocked(seconds=45)


@case("the client passes one SIGINT on, and none more for the second")
def interrupt_client():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(COUNTS_INTERRUPTS))
        wait_for(lambda: "started" in program.out, "the start")
        for _ in range(2):
            program.send(signal.SIGINT)
            wait_for(lambda: "interrupt" in program.out, "the SIGINT")
        wait_for(lambda: "--force" in program.err, "the word about --force")
        work.write("end", "")
        same(program.wait().code, 1, "the exit code")
        same(program.out.count("interrupt"), 1, "the number of SIGINTs")
        world.wait_unlocked()


@case("SIGINT and SIGTERM to a client in the queue take its job out")
def interrupt_queued_client():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(COUNTS_INTERRUPTS)
        first = work.spawn("apply", env=env)
        wait_for(lambda: "started" in first.out, "the start")
        for number in (signal.SIGINT, signal.SIGTERM):
            program = work.spawn("apply", env=env)
            wait_for(lambda: "queued on" in program.err, "the waiting line")
            program.send(number)
            result = program.wait(10)
            same(result.code, 130, "the exit code")
            contains(result.err, "leaves the queue")
        work.write("end", "")
        same(first.wait().code, 1, "the first one's exit code")
        same([job["status"] for job in world.jobs()], ["failed", "cancelled", "cancelled"], "how they ended")


@case("cancelling what is over, unknown or no number says so")
def cancel_nothing():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        same(work.spawn("apply", env=world.fake_terraform("exit 0\n")).wait().code, 0, "the exit code")
        same(world.tfq("cancel", "1").code, 0, "cancel of a job that is over")
        same(world.job(1)["status"], "done", "its status")
        result = world.tfq("cancel", "4711")
        same(result.code, 64, "cancel of an unknown job")
        contains(result.err, "there is no job 4711")
        result = world.tfq("cancel", "one")
        same(result.code, 64, "cancel of a word")
        contains(result.err, "'one' is no job's number")
        same(world.tfq("cancel").code, 64, "cancel of nothing")
        same(world.tfq("info", "4711").code, 64, "info of an unknown job")


@case("--no-wait exits with 75 when the state is busy here, or locked elsewhere")
def no_wait():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        first = work.spawn("apply", env=world.fake_terraform(COUNTS_INTERRUPTS))
        wait_for(lambda: "started" in first.out, "the start")
        result = work.tfq("--no-wait", "apply", env=world.fake_terraform(COUNTS_INTERRUPTS))
        same(result.code, 75, "the exit code while a job runs")
        contains(result.err, "busy")
        work.write("end", "")
        first.wait()
        world.wait_unlocked()
        world.server.put_object("tfbucket", "app/terraform.tfstate.tflock",
                                b'{"ID":"abc","Operation":"OperationTypeApply","Info":"","Who":"tf@afar",'
                                b'"Version":"1.11.4","Created":"2025-01-01T00:00:00Z","Path":"x"}')
        result = work.tfq("--no-wait", "apply", env=world.fake_terraform("echo ran\n"))
        same(result.code, 75, "the exit code while somebody else holds the lock")
        contains(result.err, "tf@afar", "abc")
        same(result.out, "", "the output")
        world.server.delete_object("tfbucket", "app/terraform.tfstate.tflock")
        result = work.tfq("--no-wait", "apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), "a free state")


@case("--wait-timeout gives up with 124, and the job leaves the queue")
def wait_timeout():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        first = work.spawn("apply", env=world.fake_terraform(COUNTS_INTERRUPTS))
        wait_for(lambda: "started" in first.out, "the start")
        result = work.tfq("--wait-timeout", "300ms", "apply", env=world.fake_terraform(COUNTS_INTERRUPTS), seconds=10)
        same(result.code, 124, "the exit code")
        contains(result.err, "gave up")
        check(result.seconds >= 0.3, "it gave up too early")
        work.write("end", "")
        first.wait()
        same([job["status"] for job in world.jobs()], ["failed", "cancelled"], "how they ended")
        result = work.tfq("--wait-timeout=1s", "apply", env=world.fake_terraform("sleep 1.5; echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), "one that runs longer than it may wait")
        same(work.tfq("--wait-timeout", "soon", "apply").code, 64, "a bad time")


@case("--detach prints the number and leaves; the job runs to its end")
def detach():
    with World() as world:
        work = world.directory()
        result = work.tfq("--detach", "--label", "x", *work.apply_argv("job", 0.5), seconds=10)
        same(result.code, 0, f"the exit code ({result.err})")
        number = int(result.out)
        same(world.job(number)["label"], "x", "the label")
        wait_for(lambda: world.job(number)["status"] == "done", "the end of the job")
        same(work.spans()[0].name, "job", "who ran")
        same(world.job(number)["exit_code"], 0, "the exit code")
        world.wait_unlocked()


@case("a client that is killed or hung up in mid-apply leaves its job running to the end")
def kill_client():
    for number in (signal.SIGKILL, signal.SIGHUP):
        with World() as world:
            work = world.directory(command="echo one; sleep 1; seq 20000; sleep 0.5")
            program = work.apply("job")
            work.wait_started("job")
            program.send(number)
            check(program.wait(10).code in (-number, 128 + number), "the client's end is another")
            job = world.wait_job("job", "done", "failed", "lost")
            same((job["status"], job["exit_code"]), ("done", 0), "how the job ended")
            check(work.spans()[0].end, "the job did not finish")
            world.wait_unlocked()


@case("a client that is killed in the queue leaves its job in the queue, and it runs")
def kill_queued_client():
    with World() as world:
        work = world.directory()
        first = work.apply("first", 1)
        work.wait_started("first")
        second = work.apply("second")
        world.wait_job("second", "queued")
        second.send(signal.SIGKILL)
        second.wait(10)
        same(first.wait().code, 0, "the first one's exit code")
        same(world.wait_job("second", "done", "failed", "cancelled")["status"], "done", "the second one's end")
        same(work.order(), ["first", "second"], "who ran")
        world.wait_unlocked()


@case("a reader of the output that goes away does not end the job")
def broken_pipe():
    with World() as world:
        work = world.directory(command="seq 50000; sleep 0.3; seq 50000")
        reader, writer = os.pipe()
        program = work.apply("job", stdout=os.fdopen(writer, "wb"))
        program.out_file.close()
        os.read(reader, 10)
        os.close(reader)
        program.process.wait(30)
        same(world.wait_job("job", "done", "failed", "cancelled", "lost")["status"], "done", "the job's end")
        world.wait_unlocked()


main()
