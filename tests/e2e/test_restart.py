#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfqd goes away and comes back: what waits and what runs is there again, and locks are known to be ours."""
import errno
import json
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (KEY, TFQ, World, case, check, children_of, contains, is_alive, lacks, main, ran, same, wait_for)  # noqa: E402

def read_all(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


LEASES = "[lock]\nlease = 20s\nrenew = 1s\nstop_grace = 2s\n[aws]\nrequest_timeout = 2s\n"


def submit(work, name, seconds=0, *options):
    """Queue a job, and return its number once tfqd has accepted it."""
    return int(ran(work.tfq("-d", *options, *work.apply_argv(name, seconds))).out)


def wait_over(world, number, status="done"):
    wait_for(lambda: world.job(number)["status"] == status, f"job {number} to be {status}")
    return world.job(number)


@case("a terraform that runs when tfqd is killed goes on, is known again, and its lock is let go after it")
def running():
    with World(LEASES) as world:
        work = world.directory()
        number = submit(work, "a", 3)
        work.wait_started("a")
        before = world.lock()["ID"]
        world.restart_daemon()
        same(world.job(number)["status"], "running")
        wait_for(lambda: "its runner is back" in world.log(), "the runner's hello")
        same(world.lock()["ID"], before, "the lock's ID")
        job = wait_over(world, number)
        same(job["exit_code"], 0)
        world.wait_unlocked()
        work.check_no_overlap()
        same(work.order(), ["a"])
        contains(world.log(), "left by the tfqd before this one, is regained")


@case("jobs that wait when tfqd is killed run afterwards, in their order, each once")
def waiting():
    with World(LEASES) as world:
        work = world.directory()
        numbers = [submit(work, name, 1 if name == "a" else 0) for name in "abcd"]
        work.wait_started("a")
        world.restart_daemon()
        for number in numbers:
            wait_over(world, number)
        same(work.order(), list("abcd"))
        work.check_no_overlap()
        world.wait_unlocked()


@case("what ended while there was no tfqd is told as it ended, and the next one runs")
def ended_meanwhile():
    with World(LEASES) as world:
        work = world.directory()
        first = submit(work, "a", 1)
        second = submit(work, "b")
        work.wait_started("a")
        runner = world.job(first)["pid"]
        world.kill_daemon()
        wait_for(lambda: not is_alive(runner), "terraform's end")
        world.start_daemon()
        job = wait_over(world, first)
        same(job["exit_code"], 0)
        wait_over(world, second)
        same(work.order(), ["a", "b"])
        world.wait_unlocked()


@case("a lock that is left by a killed tfqd, and that nobody waits for, is removed by the next one")
def swept():
    with World(LEASES) as world:
        work = world.directory()
        number = submit(work, "a", 1)
        work.wait_started("a")
        pid = world.job(number)["pid"]
        world.kill_daemon()
        wait_for(lambda: not is_alive(pid), "terraform's end")
        check(world.lock(), "the lock is gone by itself")
        world.start_daemon()
        world.wait_unlocked()
        wait_over(world, number)
        same(os.listdir(world.vault()), [], "what is left of environments")


@case("a job whose runner died while there was no tfqd is lost; its line waits for the operator, its lock stays")
def lost():
    with World(LEASES) as world:
        work = world.directory()
        first = submit(work, "a", 60)
        second = submit(work, "b")
        work.wait_started("a")
        pid = world.job(first)["pid"]
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            runner = int(file.read().rsplit(")", 1)[1].split()[1])
        world.kill_daemon()
        os.kill(runner, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(runner) and not is_alive(pid), "their end")
        world.end_leftovers()
        world.start_daemon()
        job = wait_over(world, first, "lost")
        contains(job["message"], "tfq resume")
        wait_for(lambda: (world.lock() or {}).get("Tfqd", {}).get("lease") == 0, "the lock to be nobody's to take")
        same(world.job(second)["status"], "queued")
        world.restart_daemon()
        same(world.job(second)["status"], "queued")
        contains(world.job(second)["message"], f"job {first} was lost")
        ran(work.tfq("resume", world.job(first)["state"]))
        wait_over(world, second)
        world.wait_unlocked()


@case("SIGTERM: tfqd leaves at once; the next one goes on with all there was")
def terminated():
    with World(LEASES) as world:
        work = world.directory()
        first, second = submit(work, "a", 3), submit(work, "b")
        work.wait_started("a")
        daemon, world.daemon = world.daemon, None
        daemon.send(signal.SIGTERM)
        same(daemon.wait(5).code, 0)
        check(world.lock(), "the lock of a running job was let go")
        world.start_daemon()
        wait_over(world, first)
        wait_over(world, second)
        same(work.order(), ["a", "b"])
        world.wait_unlocked()


@case("a job that was cancelled before tfqd was killed does not come back")
def cancelled():
    with World(LEASES) as world:
        work = world.directory()
        first, second = submit(work, "a", 1), submit(work, "b")
        work.wait_started("a")
        ran(work.tfq("cancel", str(second)))
        world.restart_daemon()
        wait_over(world, first)
        same(world.job(second)["status"], "cancelled")
        same(work.order(), ["a"])


@case("without what it needs to run, which the machine's memory had, a job is reported and not run")
def forgotten():
    with World(LEASES) as world:
        work = world.directory()
        submit(work, "a", 1)
        second = submit(work, "b")
        work.wait_started("a")
        world.kill_daemon()
        os.unlink(os.path.join(world.vault(), str(second)))
        world.start_daemon()
        job = wait_over(world, second, "failed")
        contains(job["message"], "environment", "queue it again")
        lacks(str(work.order()), "b")


@case("a place for the output of a job that was never accepted, because tfqd was killed, is not there for ever")
def place_of_nobody():
    with World(LEASES, terraform=False) as world:
        work = world.directory(init="by hand")
        jobs = os.path.join(world.path, "state", "jobs")
        world.call("Pause")
        number = submit_marked(world, work, "m1")
        world.kill_daemon()
        for name in ("7", "9"):
            os.mkdir(os.path.join(jobs, name))
        with open(os.path.join(jobs, "9", "output"), "w", encoding="utf-8") as file:
            file.write("of a database that was lost")
        world.start_daemon()
        same(os.listdir(jobs), ["9"], "the places")
        world.call("Resume")
        wait_over(world, number)
        contains(ran(work.tfq("logs", str(number))).out, "ran m1")
        same(submit_marked(world, work, "m2"), 10, "the next number")


def open_by_reader(path):
    """The writing end of a FIFO that somebody reads from; None if nobody does."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):
            raise
        return None


def while_it_restores(world, number, act, time=1):
    """Start tfqd, and act once in the middle of its look at what runners have left: it reads job number's from a FIFO,
    for as long as somebody has that open. Return: has it looked so many times?"""
    path = os.path.join(world.path, "state", "jobs", str(number), "reports")
    os.mkfifo(path)
    times, served = 0, threading.Event()

    def let_it_read():
        nonlocal times
        while not served.wait(0.001):
            writer = open_by_reader(path)
            if writer is None:
                continue
            times += 1
            try:
                if times == time:
                    act()
            finally:
                os.close(writer)
    feeder = threading.Thread(target=let_it_read)
    feeder.start()
    try:
        world.start_daemon()
    finally:
        served.set()
        feeder.join()
    return times >= time


@case("a terraform that ends while tfqd looks through what it has left is told of, and the next one runs")
def ends_meanwhile():
    with World(LEASES, terraform=False) as world:
        script = "echo started\nwhile [ ! -e end ]; do sleep 0.05; done\n"
        work, other = (world.directory(name, key=f"{name}.tfstate", init="by hand") for name in ("work", "other"))
        first, behind = (int(ran(work.tfq("-d", "apply", env=world.fake_terraform(script))).out) for _ in range(2))
        wait_over(world, first, "running")
        world.call("Pause")
        last = int(ran(other.tfq("-d", "apply", env=world.fake_terraform(script))).out)
        reports = os.path.join(world.path, "state", "jobs", str(first), "reports")

        def end():
            work.write("end", "")
            other.write("end", "")
            wait_for(lambda: '"exited"' in read_all(reports), "the end of the first")
        world.kill_daemon()
        check(while_it_restores(world, last, end), "tfqd has not looked")
        same(wait_over(world, first)["exit_code"], 0)
        world.call("Resume")
        for number in (behind, last):
            wait_over(world, number)
        world.wait_unlocked("work.tfstate")
        world.wait_unlocked("other.tfstate")


@case("a runner that dies while tfqd looks for what it has left may have let terraform go: it is not run again")
def dies_meanwhile():
    looked = True
    for time in range(1, 9):
        with World(LEASES, terraform=False) as world:
            work = world.directory(init="by hand")
            env = world.fake_terraform("echo started\necho $TFQ_JOB >> ran\nwhile [ ! -e end ]; do sleep 0.05; done\n")
            first, second = (int(ran(work.tfq("-d", "apply", env=env)).out) for _ in range(2))
            folders = [os.path.join(world.path, "state", "jobs", str(number)) for number in (first, second)]
            wait_over(world, first, "running")
            wait_for(lambda: os.path.exists(os.path.join(folders[1], "reports")), "the second one's runner")
            waiting = wait_for(lambda: next((pid for pid, command in world.leftovers()
                                             if f"tfq-runner --job {second} " in command and children_of(pid)), None),
                               "the second one's child")
            os.kill(waiting, signal.SIGSTOP)  # or it ends as soon as it has lost tfqd
            world.kill_daemon()
            work.write("end", "")
            wait_for(lambda: '"exited"' in read_all(os.path.join(folders[0], "reports")), "the first one's end")
            os.rename(os.path.join(folders[1], "reports"), os.path.join(world.path, "reports"))

            def die():
                with open(os.path.join(world.path, "reports"), "a", encoding="utf-8") as file:
                    file.write(json.dumps({"job": second, "event": "going"}) + "\n")
                os.rename(os.path.join(world.path, "reports"), os.path.join(folders[1], "reports"))
                os.kill(waiting, signal.SIGKILL)
                wait_for(lambda: not is_alive(waiting), "the runner's end")
            looked = while_it_restores(world, second, die, time)
            if not looked:
                break
            wait_over(world, second, "lost")
            same(work.read("ran").split(), [str(first)], "what ran")
            world.call("Resume", state="s3://tfbucket/" + KEY)
    check(time > 1 and not looked, f"tfqd has looked {time} times, or not at all")


MARKED = "echo ran $MARK in $(pwd) as $(umask): $*\n"


def submit_marked(world, work, mark):
    """Each with an environment, words and a umask of its own."""
    env = {**world.fake_terraform(MARKED), "MARK": mark, "TF_VAR_padding": "x" * 4096}
    argv = ["sh", "-c", f'umask 0{mark[-1]}7; exec "$@"', "sh", TFQ, "-d", "apply", f"-var=name={mark}"]
    return int(ran(work.world.run(*argv, env=env, cwd=work.path)).out)


@case("what waits for long runs with what it came with, also after a restart")
def dozing():
    with World(LEASES, terraform=False) as world:
        work, other = (world.directory(name, key=f"{name}.tfstate", init="by hand") for name in ("work", "other"))
        world.call("Pause")
        numbers = [submit_marked(world, work if i % 3 else other, f"m{i}") for i in range(8)]
        ran(work.tfq("cancel", str(numbers[7])))
        ran(work.tfq("up", str(numbers[5])))
        world.restart_daemon()
        same({world.job(number)["status"] for number in numbers[:7]}, {"queued"})
        world.call("Resume")
        for i, number in enumerate(numbers[:7]):
            wait_over(world, number)
            folder = work if i % 3 else other
            contains(ran(work.tfq("logs", str(number))).out,
                     f"ran m{i} in {folder.path} as 00{i}7: apply -lock=false -var=name=m{i}")
        started = {i: world.job(number)["started"] for i, number in enumerate(numbers[:7])}
        same(sorted((1, 2, 4, 5), key=started.get), [5, 1, 2, 4], "the order")
        same(os.listdir(world.vault()), [], "what is left of environments")


@case("whose environment is gone when its turn comes is told so, and neither locks nor holds up the others")
def gone_while_it_waited():
    with World(LEASES, terraform=False) as world:
        work = world.directory(init="by hand")
        world.call("Pause")
        numbers = [submit_marked(world, work, f"m{i}") for i in range(5)]
        for i, half in ((0, False), (2, True), (4, False)):  # the first, one between, the last
            path = os.path.join(world.vault(), str(numbers[i]))
            if half:
                os.truncate(path, 100)
            else:
                os.unlink(path)
        world.call("Resume")
        for i in (1, 3):
            wait_over(world, numbers[i])
        for i in (0, 2, 4):
            job = wait_over(world, numbers[i], "failed")
            contains(job["message"], "environment", "it is damaged" if i == 2 else "it is gone", "queue it again")
            same(job.get("started", 0), 0, "its start")
        world.wait_unlocked()
        ids = {json.loads(entry["body"])["ID"] for entry in world.lock_requests() if entry["method"] == "PUT"}
        same(len(ids), 2, "the locks that were written")


def queue_piped(world, script, text=""):
    """One job that runs until there is a file "end", and one behind it that has text on its stdin: (directory, both)."""
    work = world.directory(init="by hand")
    first = work.spawn("apply", env=world.fake_terraform("echo started; while [ ! -e end ]; do sleep 0.05; done\n"))
    wait_for(lambda: "started" in first.out, "the start")
    with open(os.path.join(world.path, "input"), "w+", encoding="utf-8") as file:
        file.write(text)
        file.seek(0)
        second = work.spawn("apply", stdin=file, env=world.fake_terraform(script))
    wait_for(lambda: "queued on" in second.err, "its place")
    return work, first, second


@case("what is piped into a job that waits gets to it after a restart: tfq comes back with it")
def piped():
    with World(LEASES, terraform=False) as world:
        work, first, second = queue_piped(world, "cat\n", "yes\n" * 1000)
        world.kill_daemon()
        work.write("end", "")
        wait_for(lambda: first.out and first.wait(), "the first one's end")
        world.start_daemon()
        same((second.wait().code, second.out), (0, "yes\n" * 1000), f"the exit code and the output ({second.err})")
        contains(second.err, "tfqd went away", "tfqd is back")


@case("a lock of before for which a job waited that is cancelled before it takes it: it is removed all the same")
def cancelled_before():
    with World(LEASES, terraform=False) as world:
        work, first, second = queue_piped(world, "echo ran\n")
        second.send(signal.SIGKILL)
        world.kill_daemon()
        work.write("end", "")
        same(first.wait().code, 0, "the first one's exit code")
        world.start_daemon()
        ran(work.tfq("cancel", "2"))
        same(world.job(2)["started"], 0, "the second one's start")
        world.wait_unlocked()


@case("a job whose tfq does not come back is not waited for: it reads no input")
def not_piped():
    with World(LEASES, terraform=False) as world:
        work, _, second = queue_piped(world, "cat > input; echo ran\n")
        second.send(signal.SIGKILL)
        world.kill_daemon()
        work.write("end", "")
        world.start_daemon()
        wait_over(world, 2)
        same(work.read("input"), "", "what it has read")


@case("recordings are kept as far as there is room for them: the oldest jobs go first, and their numbers with them")
def expired():
    with World("[history]\nkeep_bytes = 3K\n", terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("head -c 1000 /dev/zero\n")
        for _ in range(6):
            ran(work.tfq("plan", env=env))
        wait_for(lambda: [job["id"] for job in world.jobs()] == [5, 6] or
                 [job["id"] for job in world.jobs()] == [4, 5, 6], "the end of the oldest")
        left = {str(job["id"]) for job in world.jobs()}
        same(set(os.listdir(os.path.join(world.path, "state", "jobs"))), left, "the recordings")
        wait_for(lambda: "no job 1" in work.tfq("logs", "1").err, "its end in the database")
        world.restart_daemon()
        same({str(job["id"]) for job in world.jobs()}, left, "the jobs after a restart")
        same(int(ran(work.tfq("-d", "plan", env=env)).out), 7, "the next number")


@case("numbers go on where they were, and what is over is still known")
def history():
    with World(LEASES) as world:
        work = world.directory()
        first = submit(work, "a")
        wait_over(world, first)
        world.restart_daemon()
        job = world.job(first)
        same((job["status"], job["exit_code"], job["command"].split()[0]), ("done", 0, "apply"))
        same(submit(work, "b"), first + 1)


if __name__ == "__main__":
    main()
