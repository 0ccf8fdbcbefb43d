#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SIGHUP: the configuration is read again, as a whole or not at all; jobs, locks and clients do not notice."""
import json
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from harness import KEY, Varlink, World, case, check, contains, lacks, main, ran, same, wait_for  # noqa: E402
from users import Users  # noqa: E402

STATE = f"s3://tfbucket/{KEY}"
WAITS = "echo started; while [ ! -e end ]; do sleep 0.05; done; echo ran >> runs\n"
TAKEN, LEFT = "The configuration was read again", "The configuration was not read again: all stays as it was"


def reload(world, config, says=TAKEN):
    """Write another configuration and have it read; return what the log says from then on."""
    before = len(world.log())
    with open(os.path.join(world.path, "tfqd.conf"), "w", encoding="utf-8") as file:
        file.write(config)
    world.daemon.send(signal.SIGHUP)
    wait_for(lambda: says in world.log()[before:], f"{says!r} in the log {world.log()[before:]!r}")
    return world.log()[before:]


def submit(work, env, *argv):
    return int(ran(work.tfq("-d", *(argv or ["apply"]), env=env)).out)


def wait_status(world, number, status):
    wait_for(lambda: world.job(number)["status"] == status, f"job {number} is {status}")


@case("limits count at once: what waited for one runs, and nobody's connection or lock is touched")
def limits():
    with World("[daemon]\nmax_running = 1\n", terraform=False) as world:
        works = [world.directory(f"work{i}", key=f"{i}/terraform.tfstate", init="by hand") for i in range(3)]
        env = world.fake_terraform(WAITS)
        programs = [work.spawn("apply", env=env) for work in works[:2]]
        wait_for(lambda: sorted(job["status"] for job in world.jobs()) == ["queued", "running"], "two jobs")
        first = next(job for job in world.jobs() if job["status"] == "running")
        key = first["state"].removeprefix("s3://tfbucket/")
        lock = world.lock(key)
        with Varlink(world.socket) as watcher:
            watcher.send("io.tfqd.Attach", {"id": first["id"]}, more=True)
            same(watcher.receive()["parameters"]["job"]["status"], "running", "the job")
            reload(world, "[daemon]\nmax_running = 2\n[queue]\nmax_queued = 1\nmax_queued_per_user = 1\n")
            wait_for(lambda: [job["status"] for job in world.jobs()] == ["running", "running"], "both run")
            same(world.lock(key), lock, "the lock")
            waiting = submit(works[2], env)
            same(world.job(waiting)["status"], "queued", "the third")
            result = works[2].tfq("-d", "apply", env=env)
            same(result.code, 75, f"the exit code of one over the new limit ({result.err})")
            for work in works:
                work.write("end", "")
            while True:  # the same connection tells the end
                message = watcher.receive()
                if "continues" not in message:
                    break
            same(message["parameters"]["job"]["status"], "done", "what the watcher hears")
        same([program.wait().code for program in programs], [0, 0], "the exit codes")
        lacks("".join(program.err for program in programs), "went away")
        wait_status(world, waiting, "done")


@case("what is wrong is said with its file and line, and all of the old configuration stays")
def broken():
    config = "[queue]\nmax_queued_per_user = 1\n"
    with World(config, terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        submit(work, env)
        wait_status(world, 1, "running")
        submit(work, env)
        path = os.path.join(world.path, "tfqd.conf")
        for text, words in (("[queue]\nmax_queued_per_user = 7\nmax_queed = 7\n", f"{path}:3: [queue] has no key"),
                            ("[queue]\nmax_queued_per_user = 7\n[lock]\nlease = soon\n", f"{path}:4: lease = soon"),
                            ("[queue]\nmax_queued_per_user = 7\n[lock]\nlease = 10s\n", "make lease longer"),
                            ("[queue]\nmax_queued_per_user = 7\n[access]\noperators = nosuch\n",
                             "[access] operators = nosuch: there is no such group"),
                            ("[queue]\nmax_queued_per_user = 7\n[state \"s3://*\"]\noperators = nosuch\n",
                             "[state \"s3://*\"] operators = nosuch: there is no such group")):
            contains(reload(world, text, LEFT), words)
            same(work.tfq("-d", "apply", env=env).code, 75, "the exit code of one over the limit, which stays")
        os.unlink(path)
        world.daemon.send(signal.SIGHUP)
        wait_for(lambda: world.log().count(LEFT) == 6, "the last refusal")
        contains(world.log(), f"{path}: cannot be read")
        reload(world, "[queue]\nmax_queued_per_user = 7\n")
        submit(work, env)
        work.write("end", "")
        wait_status(world, 3, "done")


@case("keys that count after a restart are named, and the others of that file count")
def fixed():
    with World("[queue]\nmax_queued_per_user = 1\n", terraform=False) as world:
        before = world.call("Info")["daemon"]["pid"]
        log = reload(world, "[aws]\nendpoint_s3 = http://127.0.0.1:1\ncredentials = daemon\nrequest_timeout = 5s\n"
                            "[queue]\nmax_queued_per_user = 3\n[daemon]\nlog_level = info\n")
        for key in ("aws.endpoint_s3", "aws.credentials", "aws.request_timeout"):
            contains(log, f"{key} is another now; that counts after a restart")
        same(log.count("that counts after a restart"), 3, "the keys that are named")
        work = world.directory(init="by hand")
        env = world.fake_terraform(WAITS)
        numbers = [submit(work, env) for _ in range(3)]
        work.write("end", "")
        wait_status(world, numbers[-1], "done")
        same(world.call("Info")["daemon"]["pid"], before, "the process")
        # What stays and what comes have to fit together.
        log = reload(world, "[aws]\nrequest_timeout = 1s\n[lock]\nlease = 75s\nrenew = 1s\nstop_grace = 50s\n", LEFT)
        contains(log, "With what counts after a restart only: [lock] renew")


@case("log_level, require_lock, and what is kept of the past")
def others():
    with World("[queue]\nrequire_lock = yes\n", terraform=False) as world:
        work = world.directory(init="by hand")
        unlocked = world.directory("unlocked", key="unlocked", mode={"use_lockfile": False}, init="by hand")
        env = world.fake_terraform("true\n")
        ran(work.tfq("apply", env=env))
        same(unlocked.tfq("apply", env=env).code, 78, "the exit code without a lock")
        lacks(world.log(), "holds the lock, ID")
        reload(world, "[daemon]\nlog_level = debug\n[queue]\nrequire_lock = no\n")
        ran(unlocked.tfq("apply", env=env))
        ran(work.tfq("apply", env=env))
        contains(world.log(), "holds the lock, ID")
        wait_for(lambda: len(world.call("History")["jobs"]) == 3, "the jobs that are known")
        reload(world, "[history]\nkeep = 1ms\n")
        wait_for(lambda: not world.call("History")["jobs"], "they are forgotten")


@case("a line keeps the terms of its lock while it is there; the next one has those of now")
def terms():
    with World("[lock]\nlease = 15min\n", terraform=False) as world:
        work, other = world.directory(init="by hand"), world.directory("other", key="other", init="by hand")
        env = world.fake_terraform(WAITS)
        first = submit(work, env)
        wait_status(world, first, "running")
        second = submit(work, env)
        same(world.lock()["Tfqd"]["lease"], 900, "the lease")
        reload(world, f"[lock]\nlease = 40min\nstop_grace = 30min\n[state \"{STATE}\"]\ntakeover = never\n")
        third = submit(other, env)
        wait_status(world, third, "running")
        same(world.lock("other")["Tfqd"]["lease"], 2400, "the lease of another state's lock")
        work.write("end", "")
        other.write("end", "")
        wait_status(world, second, "done")
        world.wait_unlocked()
        leases = [json.loads(entry["body"])["Tfqd"]["lease"] for entry in world.lock_requests()
                  if entry["method"] == "PUT"]
        same(set(leases), {900}, "the leases of that line")
        os.unlink(os.path.join(work.path, "end"))
        fourth = submit(work, env)
        wait_status(world, fourth, "running")
        same(world.lock()["Tfqd"]["lease"], 0, "the lease once the line was gone")
        work.write("end", "")
        wait_status(world, fourth, "done")
        world.wait_unlocked()


@case("who may do what: groups are looked up again, for calls on connections that are there, too")
def access():
    config = "[access]\nsubmitters = *\n"
    with Users(config, terraform=False) as world:
        work = world.directory(init="by hand")
        games, video = world.group("games"), world.group("video")
        submit(work, world.fake_terraform(WAITS))
        wait_status(world, 1, "running")

        def pause(link):
            link.send("io.tfqd.Pause", {"state": STATE})
            return "error" not in link.receive()
        with world.link(world.nobody, [games]) as operator, world.link(world.nobody, [video]) as other:
            for config, answers in ((config, (False, False)), (config + "operators = games\n", (True, False)),
                                    (config + f"operators = games\n[state \"{STATE}\"]\noperators = video\n", (False, True)),
                                    (config, (False, False))):
                reload(world, config)
                same((pause(operator), pause(other)), answers, f"who may pause with {config!r}")
        for group, mode, gid in (("games", 0o660, games), ("*", 0o666, None), ("video", 0o660, video)):
            reload(world, f"[access]\nsubmitters = {group}\n")
            found = os.stat(world.socket)
            same(found.st_mode & 0o777, mode, "the socket's mode")
            check(gid is None or found.st_gid == gid, "the socket's group")
        reload(world, "")
        found = os.stat(world.socket)
        same((found.st_mode & 0o777, found.st_gid), (0o660, 0), "the socket's mode and group by default")
        work.write("end", "")
        world.call("Resume", state=STATE)


@case("systemd is told: RELOADING, with the time, then READY; also if it was for nothing")
def notifications():
    with World("", terraform=False, daemon=False) as world, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = os.path.join(world.path, "notify")
        notify.bind(path)
        notify.settimeout(20)
        world.daemon_env["NOTIFY_SOCKET"] = path
        world.start_daemon()

        def until_ready():
            seen = []
            while not seen or not any(line == "READY=1" for line in seen[-1].split("\n")):
                seen.append(notify.recv(4096).decode())
            return seen
        until_ready()
        for config, says in (("", TAKEN), ("[", LEFT)):
            reload(world, config, says)
            seen = until_ready()
            reloading = [text for text in seen if "RELOADING=1" in text]
            same(len(reloading), 1, f"the times it says RELOADING=1 in {seen}")
            contains(reloading[0], "MONOTONIC_USEC=")
            same(seen[-1], "READY=1", "the end of it")


@case("the snippets beside the main file are read again, too, those that are new among them")
def snippets():
    with Users("", terraform=False, daemon=False) as world:
        home = os.path.join(world.path, "home")
        folder = os.path.join(home, ".config", "tfqd", "tfqd.conf.d")
        os.makedirs(folder)
        os.chown(home, world.nobody.pw_uid, world.nobody.pw_gid)
        world.socket = world.env["TFQ_SOCKET"] = os.path.join(home, "run", "tfqd.sock")
        daemon = world.spawn(harness.TFQD, "--state-dir", os.path.join(home, "state"), "--runtime-dir",
                             os.path.join(home, "run"), env={"XDG_CONFIG_HOME": ""}, **world.become(world.nobody))
        wait_for(lambda: world.is_served() or not daemon.is_running(), "tfqd's socket")
        for number, (name, text) in enumerate((("a.conf", "[daemon]\nmax_running = x\n"),
                                               ("b.conf", "[daemon]\nmax_running = 3\n"))):
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(text)
            daemon.send(signal.SIGHUP)
            wait_for(lambda n=number: daemon.err.count(LEFT) + daemon.err.count(TAKEN) > n, "the end of the reload")
        same(daemon.err.count(f"{folder}/a.conf:2: max_running = x"), 2, "the times that the line is named")
        os.unlink(os.path.join(folder, "a.conf"))
        daemon.send(signal.SIGHUP)
        wait_for(lambda: TAKEN in daemon.err, "the configuration without it")
        daemon.send(signal.SIGTERM)
        same(daemon.wait(10).code, 0, f"tfqd's exit code ({daemon.err})")


main()
