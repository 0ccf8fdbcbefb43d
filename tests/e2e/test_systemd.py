#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfqd as a service of a real systemd: jobs are units of their own, and outlive what happens to tfqd."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from box import GROUPS, USERS, Box  # noqa: E402
from harness import HOLD, ROOT, SECRET, case, check, contains, lacks, main, ran, same, wait_for  # noqa: E402

CONFIG = "[runner]\nmemory_high = 3G\ncpu_weight = 77\ntasks_max = 333\n[lock]\nstop_grace = 20s\n"
SEEN = 'echo "$(id -u) $(id -g) $(umask) $(grep CapEff /proc/self/status | cut -f2) $(id -G)" > seen; '
UMASKS = {"alice": "0022", "bob": "0027", "carol": "0007"}
# Something that hears no signal but one, in a session of its own.
STRAY = "setsid sh -c 'trap \"\" TERM INT HUP; echo $$ > stray; while :; do sleep 0.05; done' & "


def unit_of(number):
    return f"tfq-job-{number}.service"


def begin(box, user, name, command=HOLD, **options):
    """A job that runs, until its directory has a file "end"; return directory and number."""
    work = box.directory_of(user, name, command=command, key=f"{name}/terraform.tfstate", **options)
    number = box.queue(user, work, name)
    work.wait_started(name)
    return work, number


def finish(box, work, name):
    work.write("end", "")
    job = box.wait_job(name, "done", "failed", "cancelled", "lost")
    same((job["status"], job.get("exit_code")), ("done", 0), f"the end of {name} ({job.get('message')})")


def wait_gone(box, number):
    wait_for(lambda: box.cgroup_of(unit_of(number)) is None, f"the end of the unit of job {number}")


@case("three users queue on one state: in order, each as they are, in a unit of their own that tells nothing secret")
def three_users():
    with Box(CONFIG) as box:
        works = {user: box.directory_of(user, user, command=SEEN + HOLD) for user in USERS}
        numbers = {user: box.queue(user, works[user], user, env={"TF_VAR_password": "hush-hush"}, umask=UMASKS[user])
                   for user in USERS}
        works["alice"].wait_started("alice")
        unit = unit_of(numbers["alice"])
        shown = dict(line.partition("=")[::2] for line in box.sh(f"systemctl show {unit}").splitlines())
        same((shown["User"], shown["Group"], shown["Slice"]), ("2001", "2101", "tfq.slice"), "user, group, slice")
        same(shown["ControlGroup"], f"/tfq.slice/{unit}", "its cgroup")
        same((shown["MemoryHigh"], shown["CPUWeight"], shown["TasksMax"]), (str(3 << 30), "77", "333"), "its limits")
        same((shown["KillMode"], shown["OOMPolicy"], shown["TimeoutStopUSec"]), ("mixed", "continue", "50s"), "its end")
        check("tfqd.service" in shown["After"] and "tfqd.service" not in shown["Requires"], shown["After"])
        said = box.sh(f"systemctl cat {unit}; systemctl status {unit}; cat /proc/{shown['MainPID']}/cmdline")
        lacks(str(shown) + said, SECRET, "hush-hush", "testkey")
        for user in USERS:
            works[user].wait_started(user)
            finish(box, works[user], user)
        spans = [span for user in USERS for span in works[user].spans()]
        check(all(one.end <= other.start for one, other in zip(spans, spans[1:])), f"they overlap: {spans}")
        for user in USERS:
            uid, gid, umask, caps, *groups = works[user].read("seen").split()
            group = GROUPS["dbops" if user == "carol" else "netops"]
            same((int(uid), int(gid), umask, int(caps, 16)), (USERS[user], group, UMASKS[user], 0), f"who {user} is")
            same(groups, box.sh(f"id -G {user}").split(), f"the groups of {user}")
        contains(box.sh(f"journalctl -q TFQ_JOB={numbers['bob']} -o cat"), "terraform runs as PID", "done, exit code 0")
        box.wait_unlocked()
        wait_gone(box, numbers["carol"])


@case("a job has the groups that its submitter has, not those that the user could have; a profile is read as the user")
def exact_groups():
    with Box(CONFIG) as box:
        work = box.directory_of("alice", "fewer", command=SEEN + "true")
        tfqd = box.sh("getent group tfq | cut -d: -f3")
        box.sh("usermod -aG dbops alice")
        variables = " ".join(f"{name}={box.env[name]}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        box.sh(f"cd {work.path} && {variables} setpriv --reuid 2001 --regid 2101 --groups {tfqd} "
               f"tfq -d --label fewer {' '.join(work.apply_argv('fewer'))}")
        finish(box, work, "fewer")
        same(work.read("seen").split()[3:], ["0000000000000000", "2101", tfqd], "capabilities and groups")

        box.sh("mkdir -m 700 /home/bob/.aws && printf '[default]\\naws_access_key_id = testkey\\n"
               f"aws_secret_access_key = {SECRET}\\n' > /home/bob/.aws/credentials && chmod 600 /home/bob/.aws/credentials && "
               "chown -R bob: /home/bob/.aws")
        work = box.directory_of("bob", "profile", command="true", key="profile/terraform.tfstate")
        nothing = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        box.queue("bob", work, "profile", env=nothing)
        finish(box, work, "profile")
        contains(box.sh("journalctl -q -u 'tfq-credentials-*' -o cat"), "AWS credentials for tfqd")
        check([entry for entry in box.lock_requests("profile/terraform.tfstate") if entry["by"] == "tfqd"],
              "tfqd did not take the lock with bob's profile")


@case("for all its sandbox, tfqd reads the CA bundle in a user's home, and for nobody what is not theirs")
def ca_bundle():
    with Box(CONFIG) as box:
        box.sh("install -o alice -m 600 /etc/ssl/certs/ca-certificates.crt /home/alice/ca.pem; chmod 700 /home/alice")
        for name, path, said in (("hers", "/home/alice/ca.pem", "Failed to connect to 127.0.0.1 port 1"),
                                 ("root's", "/etc/shadow", "cannot read the CA bundle /etc/shadow for alice")):
            work = box.directory_of("alice", name, init="by hand")
            work.change_backend(endpoints={"s3": "https://127.0.0.1:1"})
            box.queue("alice", work, name, env={"AWS_CA_BUNDLE": path})
            contains(box.wait_job(name, "failed")["message"], said)


@case("a restart, a reload and a hang of tfqd end no job and lose none")
def daemon_comes_and_goes():
    with Box(CONFIG) as box:
        box.sh("mkdir -p /etc/systemd/system/tfqd.service.d && printf '[Service]\\nWatchdogSec=3s\\n' > "
               "/etc/systemd/system/tfqd.service.d/watchdog.conf && systemctl daemon-reload && systemctl restart tfqd")
        work, number = begin(box, "alice", "first")
        second = box.directory_of("bob", "second", command="true", key=work.key)
        waits = box.typed("bob", second, "--label", "second", *second.apply_argv("second"), start=True)
        box.wait_job("second", "queued")
        before, runner = box.property("tfqd", "MainPID"), box.property(unit_of(number), "MainPID")

        box.sh("systemctl reload tfqd")
        same((box.property("tfqd", "MainPID"), box.property("tfqd", "ActiveState")), (before, "active"), "tfqd, reloaded")
        box.enter("sh", "-c", "systemctl daemon-reexec; until busctl status org.freedesktop.systemd1; do sleep 0.05; done")
        box.sh("systemctl restart tfqd")
        after = box.property("tfqd", "MainPID")
        check(after != before, "it was not restarted")
        box.wait_job("first", "running")
        box.sh(f"kill -STOP {after}")
        wait_for(lambda: box.property("tfqd", "MainPID") not in (after, "0"), "the watchdog")
        box.wait_job("first", "running")
        same(box.property(unit_of(number), "MainPID"), runner, "the runner's PID")
        same(box.property("tfqd", "NRestarts"), "1", "restarts by the watchdog")
        finish(box, work, "first")
        ran(waits.wait())
        same(box.wait_job("second", "done")["user"], "bob", "whose job it is")
        check(work.spans()[0].end <= second.spans()[0].start, "the second began before the first had ended")


@case("systemctl stop of a job's unit is one SIGINT for terraform; what waits in the line goes on")
def polite_stop():
    with Box(CONFIG) as box:
        work, number = begin(box, "alice", "stopped")
        next_one = box.directory_of("bob", "next", command="true", key=work.key)
        box.queue("bob", next_one, "next")
        box.sh(f"systemctl stop {unit_of(number)}")
        same(box.wait_job("stopped", "done", "failed", "lost")["status"], "failed", "its status")
        contains(box.job(number)["message"], "its unit was stopped")
        contains(box.sh(f"tfq logs {number}"), "Interrupt received", "Gracefully shutting down")
        finish(box, next_one, "next")
        check(box.state(work.key), "there is no state")


def kill_runner(box, work, number):
    wait_for(lambda: work.has("stray") and work.read("stray").strip(), "the stray process")
    stray = int(work.read("stray"))
    check(stray in box.cgroup_of(unit_of(number)), "the stray process is in another cgroup")
    box.sh(f"kill -KILL $(systemctl show -P MainPID {unit_of(number)})")
    return stray


def lives(box, pid):
    return box.sh(f"kill -0 {pid} 2>/dev/null && echo yes || true") == "yes"


@case("a runner that is killed: its job is lost only when nothing lives in its unit, not even in another session")
def killed_runner():
    with Box(CONFIG) as box:
        work, number = begin(box, "alice", "killed", command=STRAY + HOLD)
        stray = kill_runner(box, work, number)
        box.wait_job("killed", "lost")
        check(not lives(box, stray), "the stray process lives")
        same(box.cgroup_of(unit_of(number)), None, "what lives in its cgroup")
        check(box.lock(work.key), "the lock was let go")
        box.sh(f"tfq resume s3://tfbucket/{work.key}")
        box.wait_unlocked(work.key)

        # Where systemd does not end what is left, nobody does: then it is waited for, over a restart, too.
        box.sh("mkdir -p /etc/systemd/system/tfq-job-.service.d && printf '[Service]\\nSendSIGKILL=no\\n' > "
               "/etc/systemd/system/tfq-job-.service.d/spare.conf && systemctl daemon-reload")
        work, number = begin(box, "bob", "spared", command=STRAY + HOLD)
        next_one = box.directory_of("carol", "next", command="true", key=work.key)
        box.queue("carol", next_one, "next")
        stray = kill_runner(box, work, number)
        wait_for(lambda: box.property(unit_of(number), "MainPID") == "0", "the end of the runner")
        same(box.job(number)["status"], "running", "the status of a job of which something lives")
        box.sh("systemctl restart tfqd")
        wait_for(box.is_served, "tfqd")
        box.sh(f"tfq resume s3://tfbucket/{work.key}", code=64)
        same(box.job(number)["status"], "running", "the status of a job of which something lives, after a restart")
        check(lives(box, stray), "the stray process does not live any more")
        work.write("end", "")
        box.sh(f"kill -KILL {stray}")
        box.wait_job("spared", "lost")
        same(box.job_of("next")["status"], "queued", "the status of the next one")
        check(box.lock(work.key), "the lock was let go")
        box.sh(f"tfq resume s3://tfbucket/{work.key}")
        finish(box, next_one, "next")


@case("a runner that its user has stopped does not keep terraform alive beyond the lease: the whole unit is killed")
def stopped_runner():
    short = ("[lock]\nlease = 10s\nrenew = 1s\nstop_grace = 2s\npoll_min = 100ms\npoll_max = 200ms\n"
             "[aws]\nrequest_timeout = 400ms\nconnect_timeout = 300ms\n")
    with Box(short) as box:
        work, number = begin(box, "alice", "stopped", command=STRAY + HOLD)
        wait_for(lambda: work.has("stray"), "the stray process")
        box.sh(f"kill -STOP {box.property(unit_of(number), 'MainPID')}")
        box.server.set_faults([{"service": "s3", "do": "drop-before", "count": -1}])
        box.wait_job("stopped", "lost")
        same(box.cgroup_of(unit_of(number)), None, "what lives in its cgroup")
        check(not lives(box, work.read("stray").strip()), "the stray process lives")
        box.server.set_faults([])


def line_of(journal, text):
    found = [number for number, line in enumerate(journal.splitlines()) if text in line]
    check(found, f"the journal lacks {text!r}")
    return found[0]


@case("a reboot asks terraform to stop, before tfqd goes; what waits is told of; a power cut makes lost what ran")
def reboots():
    with Box(CONFIG) as box:
        work, number = begin(box, "alice", "running")
        waiting = box.directory_of("bob", "waiting", command="true", key=work.key)
        second = box.queue("bob", waiting, "waiting")
        box.reboot()
        same((box.job(number)["status"], box.job(number)["exit_code"]), ("failed", 1), "how the first ended")
        contains(box.sh(f"tfq logs {number}"), "Interrupt received", "Gracefully shutting down")
        same(box.job(second)["status"], "failed", "the status of what waited")
        contains(box.job(second)["message"], "machine")  # going down, before its turn or, by a moment, after
        check(not box.held(work.key), "a lock was left")
        log = box.journal("-b", "-1")
        check(line_of(log, f"Stopped {unit_of(number)}") < line_of(log, "Stopped tfqd.service"), "tfqd went first")
        ran(box.typed("bob", waiting, *waiting.apply_argv("waiting")))

        work, number = begin(box, "carol", "cut")
        waiting = box.directory_of("bob", "after", command="true", key=work.key)
        second = box.queue("bob", waiting, "after")
        box.reboot("--crash")
        same(box.job(number)["status"], "lost", "the status of what ran")
        same(box.job(second)["status"], "failed", "the status of what waited")
        contains(box.job(second)["message"], "queue it again")
        box.sh(f"tfq resume s3://tfbucket/{work.key}")
        same(box.typed("bob", waiting, "--no-wait", *waiting.apply_argv("after")).code, 0, "an apply after that")
        box.wait_unlocked(work.key)
        check(box.state(work.key)["serial"] >= 0, "the state is not whole")


@case("who is not in the job's unit is not its runner; what systemd cannot start is told of, and the queue goes on")
def starts():
    with Box(CONFIG) as box:
        box.sh("mkdir -p /etc/systemd/system/tfq-job-.service.d && printf '[Service]\\nExecStartPre=/bin/sh -c "
               "\"while [ ! -e /run/go ]; do sleep 0.05; done\"\\n' > /etc/systemd/system/tfq-job-.service.d/slow.conf && "
               "systemctl daemon-reload")
        work = box.directory_of("alice", "slow", command="true")
        number = box.queue("alice", work, "slow")
        wait_for(lambda: box.property(unit_of(number), "ActiveState") == "activating", "the unit")
        hello = {"method": "io.tfqd.Hello", "more": True, "parameters": {"protocol": 1, "job": number, "phase": "new"}}
        said = box.sh(f"python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(\"/run/tfqd/tfqd.sock\"); "
                      f"s.send(sys.argv[1].encode() + bytes(1)); print(s.recv(9999))' '{json.dumps(hello)}'", user="alice")
        contains(said, "NotAllowed", f"is not the runner of job {number}")
        box.sh("systemctl restart tfqd; touch /run/go") # it finds a unit of that name there
        finish(box, work, "slow")

        box.enter("systemctl", "restart", "dbus")
        box.sh(f"chmod -R a+rwX {work.path}")
        tfqd = box.sh("getent group tfq | cut -d: -f3")
        variables = " ".join(f"{name}={box.env[name]}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        box.sh(f"cd {work.path} && {variables} setpriv --reuid 4711 --regid {tfqd} --clear-groups "
               f"tfq -d --label unknown {' '.join(work.apply_argv('unknown'))}")
        contains(box.wait_job("unknown", "failed")["message"], "systemd could not start tfq-job-", "journalctl -u")

        programs = "/usr/libexec/tfqd"
        box.sh(f"cp -a {programs} /usr/libexec/kept; printf '#!/bin/sh\\nsleep 0.2\\n' > {programs}/tfq-runner")
        box.queue("alice", work, "mute")
        contains(box.wait_job("mute", "failed")["message"], "its runner died before terraform was started")
        box.sh(f"cp /bin/true {programs}/tfq-runner")
        for count in range(8):  # each may end at another moment of its start
            box.queue("alice", work, f"short{count}")
            contains(box.wait_job(f"short{count}", "failed")["message"], "its runner died before terraform was started")
        box.sh(f"rm {programs}/tfq-runner")
        box.queue("alice", work, "none")
        contains(box.wait_job("none", "failed")["message"], "systemd could not start tfq-job-")
        box.sh(f"cp -a /usr/libexec/kept/tfq-runner {programs}; cp /bin/true {programs}/tfq-credentials")
        nothing = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        box.queue("alice", work, "keyless", env=nothing)
        contains(box.wait_job("keyless", "failed")["message"], "The look-up of AWS credentials failed")
        box.queue("alice", work, "known")
        finish(box, work, "known")


@case("one user's own tfqd, by the user's systemd: without root, without the group")
def own_daemon():
    with Box() as box:
        box.sh("systemctl disable --now -q tfqd.socket tfqd.service; gpasswd -d alice tfqd; loginctl enable-linger alice")
        box.sh("systemctl --user -M alice@ enable --now -q tfqd.socket")
        work = box.directory_of("alice", "own", command=SEEN + "true")
        ran(box.typed("alice", work, *work.apply_argv("own"), env={"XDG_RUNTIME_DIR": "/run/user/2001"}))
        same(work.read("seen").split()[0], str(USERS["alice"]), "who it ran as")
        same(box.sh("systemctl --user -M alice@ is-active tfqd.service"), "active", "the service")


def drop_in(box, text):
    box.sh("mkdir -p /etc/systemd/system/tfqd.service.d && cat > /etc/systemd/system/tfqd.service.d/test.conf <<'END' && "
           f"systemctl daemon-reload && systemctl restart tfqd\n[Service]\n{text}\nEND\n")
    wait_for(box.is_served, "tfqd")


def lift():
    """What tfqd(8) tells to those who want launcher = direct in the service."""
    with open(os.path.join(ROOT, "man", "tfqd.8"), encoding="utf-8") as page:
        return re.search(r"\.Bd -literal -offset indent\n(CapabilityBoundingSet=.*?)\.Ed", page.read(), re.S).group(1)


@case("without the bus a job is refused, with what to do; outside of the sandbox it is tfqd's child")
def direct():
    with Box() as box:
        work = box.directory_of("alice", "direct", command=SEEN + HOLD)
        drop_in(box, "InaccessiblePaths=/run/dbus")
        contains(box.journal("-u", "tfqd"), "The system bus does not answer", "as children of tfqd")
        number = box.queue("alice", work, "refused")
        box.wait_job("refused", "failed")
        contains(box.job(number)["message"], "may not become other users", "launcher = systemd", "tfqd(8)")

        box.sh("printf '[runner]\\nlauncher = direct\\n' > /etc/tfqd/tfqd.conf")
        drop_in(box, lift())
        number = box.queue("alice", work, "child")
        work.wait_started("child")
        same(box.sh(f"systemctl is-active {unit_of(number)} || true"), "inactive", "a unit")
        box.sh("systemctl restart tfqd")
        wait_for(box.is_served, "tfqd")
        finish(box, work, "child")
        same(work.read("seen").split()[0], str(USERS["alice"]), "who it ran as")


main()
