#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfqd itself: starting, stopping, dying runners, what jobs leave behind, and secrets."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import s3server  # noqa: E402
from harness import (KEY, TFQ, TFQD, Varlink, World, case, check, children_of, contains, is_alive,  # noqa: E402
                     lacks, main, same, wait_for)

STATE = f"s3://tfbucket/{KEY}"
WAITS = "echo started; while [ ! -e end ]; do sleep 0.05; done; echo ran >> runs\n"


def started(program):
    wait_for(lambda: "started" in program.out, "the start")


def runner_of(world, number):
    """The pid of a job's runner, or None."""
    for pid in children_of(world.daemon.pid):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if f"\0--job\0{number}\0".encode() in file.read():
                return pid
    return None


# --- starting and stopping --------------------------------------------------------------

@case("told to stop, tfqd leaves at once; the next one goes on with what runs and what waits, and clients with it")
def stop():
    with World() as world:
        work = world.directory()
        first = work.apply("first", 2)
        work.wait_started("first")
        second = work.apply("second")
        world.wait_job("second", "queued")
        daemon, world.daemon = world.daemon, None
        daemon.send(signal.SIGTERM)
        same(daemon.process.wait(10), 0, "tfqd's exit code")
        check(not os.path.exists(world.socket), "the socket is still there")
        wait_for(lambda: "tfqd went away" in second.err, "the one in the queue to notice")
        contains(second.err, "stays queued")
        late = work.tfq(*work.apply_argv("late"))
        same(late.code, 69, f"the exit code of one that comes late ({late.err})")
        check(world.lock(), "the lock was let go under a terraform that runs")
        world.start_daemon()
        same(first.wait().code, 0, "the running one's exit code")
        result = second.wait()
        same(result.code, 0, f"the exit code of the one in the queue ({result.err})")
        contains(result.err, "tfqd is back")
        world.wait_unlocked()
        same(work.order(), ["first", "second"], "who ran")


@case("told to stop while it waits for a store that does not answer, tfqd leaves soon, and on a second signal at once")
def stop_twice():
    with World("[aws]\nrequest_timeout = 30s\n[lock]\nstop_grace = 10s\n", terraform=False) as world:
        work = world.directory(init="by hand")
        world.server.set_faults([{"do": "hang", "method": "PUT", "suffix": ".tflock"}])
        program = work.spawn("apply", env=world.fake_terraform("echo ran\n"))
        wait_for(lambda: world.lock_requests(applied=False), "the request for the lock")
        daemon, world.daemon = world.daemon, None
        daemon.send(signal.SIGTERM)
        daemon.send(signal.SIGINT)
        daemon.process.wait(10)
        world.server.set_faults([])
        world.start_daemon()
        same((program.wait().code, program.out), (0, "ran\n"), "the exit code and the output")
        world.wait_unlocked()


@case("tfqd killed in mid-apply: the job goes on, its output and its end reach the client without it")
def kill_daemon():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform(WAITS + "seq 1000\nexit 7\n"))
        started(program)
        world.kill_daemon()
        work.write("end", "")
        result = program.wait()
        same(result.code, 7, "the exit code")
        same(result.out, "started\n" + "".join(f"{i}\n" for i in range(1, 1001)), "the output")
        check(world.lock(), "the lock is gone, though nobody could tell when the job had ended")
        world.start_daemon()
        world.wait_unlocked()


@case("a second tfqd on the same socket or state directory is refused; the first goes on")
def second_daemon():
    with World(terraform=False) as world:
        other = os.path.join(world.path, "other")
        same_socket = world.start_daemon("--state-dir", other, wait=False)
        same(same_socket.process.wait(10), 1, "the exit code with the same socket")
        contains(same_socket.err, "Another tfqd serves", world.socket)
        same_state = world.start_daemon("--runtime-dir", other, wait=False)
        same(same_state.process.wait(10), 1, "the exit code with the same state directory")
        contains(same_state.err, "Another tfqd uses", "--state-dir")
        check(world.is_served(), "the first is gone")


@case("a socket that a killed tfqd left behind is no hindrance, and numbers go on")
def left_socket():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("exit 0\n")
        same(work.tfq("-d", "apply", env=env).out, "1\n", "the first number")
        wait_for(lambda: world.job(1)["status"] == "done", "the end of the first")
        world.wait_unlocked()
        daemon, world.daemon = world.daemon, None
        daemon.send(signal.SIGKILL)
        daemon.process.wait(10)
        check(os.path.exists(world.socket), "the socket is gone")
        world.start_daemon()
        same(work.tfq("-d", "apply", env=env).out, "2\n", "the next number")


@case("a configuration that is wrong is refused with its file and line")
def bad_config():
    with World(terraform=False, daemon=False) as world:
        for text, *words in (("[daemon]\nmax_runing = 3\n", ":2:", "max_runing", "max_running"),
                             ("[lock]\nrenew = 10s\nrenew = 20s\n", ":3:", "renew"),
                             ("[lock]\nrenew = 15min\n", "renew"),
                             ("[lock]\nrenew = soon\n", ":2:", "soon"),
                             ("[lock]\nrenew = 5\n", ":2:"),
                             ("[nowhere]\nkey = 1\n", "nowhere"),
                             ("[runner]\nlauncher = systemd\n", "systemd"),
                             ("[access]\noperators = no-such-group-here\n", "no-such-group-here"),
                             ("no section = 1\n", ":1:")):
            world.config = text
            program = world.start_daemon(wait=False)
            check(program.process.wait(10) in (1, 78), f"the exit code is {program.process.returncode} for {text!r}")
            contains(program.err, *words)
        world.config = "[lock]\nrenew = 30s ; quick\n"
        program = world.start_daemon("--check-config", wait=False)
        same(program.process.wait(10), 0, f"the exit code of --check-config ({program.err})")
        same(world.run(TFQD, "--version").code, 0, "the exit code of --version")
        same(world.run(TFQD, "--no-such-option").code, 64, "the exit code for an unknown option")


@case("a socket from systemd is taken over, and left in place at the end")
def inherited_socket():
    with World(terraform=False, daemon=False) as world:
        os.mkdir(os.path.join(world.path, "run"))
        config = os.path.join(world.path, "tfqd.conf")
        with open(config, "wb"):
            pass
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(world.socket)
            listener.listen(5)

            def hand_over():
                os.dup2(listener.fileno(), 3)
            starter = ["/bin/sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh", TFQD, "--config", config,
                       "--state-dir", os.path.join(world.path, "state"), "--runtime-dir",
                       os.path.join(world.path, "run"), "--socket", world.socket]
            with open(os.path.join(world.path, "log"), "wb") as log:
                daemon = subprocess.Popen(starter, stderr=log, pass_fds=[3], preexec_fn=hand_over,
                                          env={k: v for k, v in world.env.items() if not k.startswith("AWS")})
            try:
                work = world.directory(init="by hand")
                result = work.tfq("apply", env=world.fake_terraform("echo ran\n"), seconds=20)
                same((result.code, result.out), (0, "ran\n"), f"the job ({result.err})")
            finally:
                daemon.terminate()
                same(daemon.wait(20), 0, "tfqd's exit code")
            check(os.path.exists(world.socket), "tfqd removed a socket that is not its own")


@case("unlock says that a lock is gone if tfqd says so, and not if it went away or did not tell")
def unlock_and_no_answer():
    holder = {"locks": [{"holder": {"id": "abc"}}], "state": STATE}
    for last, code, says in (({"parameters": {"locks": [], "state": STATE}}, 0, True),
                             ({"error": "io.tfqd.NoSuchState", "parameters": {"message": "hush"}}, 0, True),
                             ({"error": "io.tfqd.NotAllowed", "parameters": {"message": "no"}}, 77, False),
                             (None, 69, False)):
        with World(terraform=False, daemon=False) as world, \
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            os.mkdir(os.path.dirname(world.socket))
            listener.bind(world.socket)
            listener.listen()
            listener.settimeout(20)
            program = world.spawn(TFQ, "unlock", STATE, "--id", "abc", "--yes")
            for answer in ({"parameters": holder}, {"parameters": {}}, {"parameters": holder}, last):
                link = Varlink.__new__(Varlink)
                link.socket, link.rest = listener.accept()[0], b""
                with link:
                    link.receive()
                    if answer:
                        link.send_bytes(json.dumps(answer).encode() + b"\0")
            result = program.wait()
            same(result.code, code, f"the exit code after {last} ({result.err})")
            same(result.out, f"Lock abc of {STATE} is gone.\n" if says else "", f"what it says after {last}")
            same(result.err == "", says, f"that it is silent after {last} ({result.err})")


# --- runners and what jobs leave behind -------------------------------------------------

@case("processes that a job leaves behind are ended before its lock is let go")
def leftovers():
    with World() as world:
        work = world.directory(command="setsid nohup sh -c 'echo $$ > daemon.pid; exec sleep 300' "
                                       ">/dev/null 2>&1 & while [ ! -s daemon.pid ]; do sleep 0.05; done")
        result = work.tfq(*work.apply_argv("job"))
        same(result.code, 0, f"the exit code ({result.err})")
        pid = int(work.read("daemon.pid"))
        world.wait_unlocked()
        check(not is_alive(pid), "it is alive, and the lock is gone")
        contains(result.err, "left processes behind")


@case("one that ignores SIGTERM is killed; the lock is held all the while")
def stubborn_leftovers():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        script = "setsid sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 1; done' >/dev/null 2>&1 &\n" \
                 "while [ ! -s pid ]; do sleep 0.02; done; echo started\n"
        program = work.spawn("apply", env=world.fake_terraform(script))
        started(program)
        pid = int(work.read("pid"))
        end = time.monotonic() + 20
        while is_alive(pid):
            check(world.lock(), "the lock is gone while it lives")
            check(time.monotonic() < end, "it is still alive")
            time.sleep(0.05)
        same(program.wait().code, 0, "the exit code")
        world.wait_unlocked()


@case("a runner killed in mid-apply: job lost, exit code 125, queue held, lock kept; resume lets the next one run")
def kill_runner():
    with World("[lock]\ntakeover = never\n", terraform=False) as world:  # else terraform dies with its runner
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        program = work.spawn("apply", env=env)
        started(program)
        behind = work.spawn("apply", env=env)
        wait_for(lambda: "queued on" in behind.err, "the waiting line")
        job = world.job(1)
        os.kill(runner_of(world, 1), signal.SIGKILL)
        result = program.wait(10)
        same(result.code, 125, f"the exit code ({result.err})")
        contains(result.err, "#1 lost", "tfq resume", STATE)
        same(world.job(1)["status"], "lost", "the status")
        wait_for(lambda: "job 1 was lost" in behind.err, "the word about it in the queue")
        same(world.job(2)["status"], "queued", "the next one's status")
        same(world.lock()["ID"], job["lock_id"], "the lock's ID")
        same(work.tfq("--no-wait", "apply", env=env).code, 75, "the exit code of --no-wait")

        same(world.tfq("resume", "s3://tfbucket/other").code, 64, "resume of an unknown state")
        result = world.tfq("resume", STATE)
        same(result.code, 75, f"the exit code of resume while terraform lives ({result.err})")
        os.kill(job["pid"], signal.SIGKILL)
        work.write("end", "")
        wait_for(lambda: world.tfq("resume", STATE).code == 0, "a resume, once nothing of the lost job lives")
        result = behind.wait()
        same(result.code, 0, f"the next one's exit code ({result.err})")
        same(work.read("runs"), "ran\n", "who ran")
        world.wait_unlocked()
        same(world.tfq("resume", STATE).code, 64, "resume of a queue that does not stand still")


@case("a runner that dies before its terraform starts does no harm to the next job")
def kill_waiting_runner():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        first = work.spawn("apply", env=env)
        started(first)
        second = work.spawn("apply", env=env)
        wait_for(lambda: runner_of(world, 2), "the second one's runner")
        time.sleep(0.2)
        os.kill(runner_of(world, 2), signal.SIGKILL)
        work.write("end", "")
        same(first.wait().code, 0, "the first one's exit code")
        check(second.wait().code in (0, 125), "the second one's exit code")
        if second.process.returncode:
            contains(second.err, "runner")
        same(work.tfq("apply", env=env).code, 0, "the exit code of one after that")
        world.wait_unlocked()


@case("a state that cannot be saved holds the queue until somebody says resume")
def errored_state():
    with World() as world:
        work = world.directory()
        same(work.apply("before").wait().code, 0, "the exit code of the apply before")
        program = work.apply("job", 1)
        work.wait_started("job")
        behind = work.apply("behind")
        world.wait_job("behind", "queued")
        world.server.set_faults([{"do": "error", "status": 403, "code": "AccessDenied", "method": "PUT",
                                  "suffix": "terraform.tfstate", "count": None}])
        result = program.wait()
        same(result.code, 1, f"the exit code ({result.out})")
        check(work.has("errored.tfstate"), "there is no errored.tfstate")
        contains(result.err, "errored.tfstate", "terraform state push", f"tfq resume '{STATE}'")
        world.server.set_faults([])
        wait_for(lambda: "errored.tfstate" in behind.err, "the word about it in the queue")
        same(world.wait_job("behind")["status"], "queued", "the next one's status")

        raw = work.terraform("state", "push", "-lock=false", "errored.tfstate")
        same(raw.code, 0, f"the exit code of terraform state push ({raw.err})")
        same(world.tfq("resume", STATE).code, 0, "the exit code of resume")
        same(behind.wait().code, 0, f"the next one's exit code ({behind.err})")
        same(work.order(), ["before", "job", "behind"], "who ran")
        world.wait_unlocked()

        again = work.tfq(*work.apply_argv("again"))
        same(again.code, 0, "an old errored.tfstate holds nothing")


@case("one runner per running job, one for the next in line, none besides; and none afterwards")
def runners():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        programs = [work.spawn("apply", env=env) for _ in range(6)]
        wait_for(lambda: len(world.jobs()) == 6, "six jobs")
        wait_for(lambda: len(children_of(world.daemon.pid)) == 2, "two runners")
        time.sleep(0.3)
        same(len(children_of(world.daemon.pid)), 2, "the number of runners")
        work.write("end", "")
        same([program.wait().code for program in programs], [0] * 6, "the exit codes")
        wait_for(lambda: not children_of(world.daemon.pid), "the end of all runners")
        world.wait_unlocked()


@case("an idle tfqd uses no processor time, and little memory")
def idle():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        same(work.tfq("apply", env=world.fake_terraform("exit 0\n")).code, 0, "the exit code")
        world.wait_unlocked()
        time.sleep(0.5)

        def wakeups():
            with open(f"/proc/{world.daemon.pid}/status", encoding="ascii") as status:
                return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M)[1])
        before = wakeups()
        time.sleep(2)
        check(wakeups() - before <= 1, f"it woke up {wakeups() - before} times in 2 s")


# --- secrets ----------------------------------------------------------------------------

@case("of a variable on the command line others see the name, never the value")
def hidden_values():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", "-var=pw=HUNTER2", "--var=pin=HUNTER2", "-var", "key=HUNTER2",
                             env=world.fake_terraform(WAITS.replace("echo started", 'echo "$@" >> args; echo started', 1)))
        started(program)
        body = json.dumps(world.lock())
        shown = world.tfq("queue").out + world.tfq("info", "1").out + json.dumps(world.job(1)) + body + world.log()
        lacks(shown, "HUNTER2")
        contains(world.job(1)["command"], "-var=pw=...", "--var=pin=...", "key=...")
        work.write("end", "")
        same(program.wait().code, 0, "the exit code")
        same(work.read("args").count("HUNTER2"), 3, "what terraform was given")


@case("secrets are nowhere but in memory: not on disk, in logs, in command lines, in the lock, or in answers")
def secrets():
    planted = {"AWS_SECRET_ACCESS_KEY": "PLANTED-aws-secret", "TF_VAR_password": "PLANTED-variable",
               "AWS_ACCESS_KEY_ID": "plantedkey", "MY_TOKEN": "PLANTED-token"}
    keys = {"plantedkey": s3server.Key("PLANTED-aws-secret")}
    with World("[daemon]\nlog_level = debug\n", terraform=False, server={"keys": keys}, env=planted) as world:
        work = world.directory(init="by hand")
        work.change_backend(sse_customer_key=None, token=None)
        env = world.fake_terraform("echo started; while [ ! -e end ]; do sleep 0.05; done\n"
                                   'test "$TF_VAR_password" = PLANTED-variable\n')
        programs = [work.spawn("apply", env=env) for _ in range(3)]
        wait_for(lambda: any("started" in program.out for program in programs), "the start")
        wait_for(lambda: len(world.jobs()) == 3, "three jobs")

        def look():
            for pid, command in world.leftovers():
                lacks(command, "PLANTED")
                check(pid, "no pid")
            for folder in ("state", "run"):
                for path, _, names in os.walk(os.path.join(world.path, folder)):
                    for name in names:
                        if os.path.isfile(os.path.join(path, name)):
                            with open(os.path.join(path, name), "rb") as file:
                                check(b"PLANTED" not in file.read(), f"a secret is in {path}/{name}")
            lacks(world.log(), "PLANTED")
            lacks(json.dumps(world.jobs()), "PLANTED")
            lacks("".join(entry["body"] for entry in world.lock_requests()), "PLANTED")
            for pid in children_of(world.daemon.pid) + [world.daemon.pid]:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    check(b"PLANTED" not in file.read(), f"a secret is in the environment of PID {pid}")
        look()
        work.write("end", "")
        same([program.wait().code for program in programs], [0, 0, 0], "the exit codes")
        world.wait_unlocked()
        look()
        lacks("".join(program.err for program in programs), "PLANTED")


@case("what a job prints is readable by its owner and root only, as files go")
def recordings():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        same(work.tfq("apply", env=world.fake_terraform("echo secret output\n")).code, 0, "the exit code")
        path = os.path.join(world.path, "state", "jobs", "1", "output")
        with open(path, "rb") as file:
            check(b"secret output" in file.read(), "the recording lacks the output")
        same(os.stat(path).st_mode & 0o777, 0o600, "the recording's mode")
        same(os.stat(os.path.join(world.path, "state")).st_mode & 0o777, 0o700, "the state directory's mode")


main()
