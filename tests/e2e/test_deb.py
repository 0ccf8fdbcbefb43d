#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian package: what is in it, and what happens to a machine, and to its jobs, when it is installed, upgraded,
removed and purged. The machine is a real systemd in a box (tests/support/systemd-box)."""
import glob
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from box import USERS, Box  # noqa: E402
from deb import package, run  # noqa: E402
from harness import HERE, HOLD, ROOT, Skip, case, check, contains, main, ran, same, wait_for  # noqa: E402

BOX = os.path.join(HERE, "systemd-box")
CASE_SECONDS = 900

# Prints its name, and runs until somebody makes the file "go" in its directory.
TERRAFORM = """#!/bin/sh
case $1 in
version) echo 'Terraform v1.11.4'; exit ;;
esac
echo "terraform $* runs"
echo $$ >pid
while ! [ -e go ]; do sleep 0.05; done
echo "terraform ends"
"""


def newer(deb, folder):
    """The same package with a higher version."""
    tree, path = os.path.join(folder, "tree"), os.path.join(folder, "newer.deb")
    run("dpkg-deb", "--raw-extract", deb, tree)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.write(re.sub(r"^Version: (.*)$", r"Version: \1+next", text, flags=re.M))
    run("dpkg-deb", "--root-owner-group", "--build", tree, path)
    return path


class Machine:
    """A box with nothing of tfqd in it, in which @folder is to be seen."""

    def __init__(self, folder):
        if os.geteuid() != 0:
            raise Skip("only root can boot a systemd in a box")
        for tool in ("/lib/systemd/systemd", "unshare", "nsenter", "setpriv", "deb-systemd-invoke"):
            if not shutil.which(tool):
                raise Skip(f"there is no {tool} to boot a systemd in a box with")
        try:
            run("unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "true")
        except AssertionError as error:
            raise Skip(f"this machine lets nobody make namespaces: {error}") from None
        self.name, self.folder = f"deb{os.getpid()}", folder

    def __enter__(self):
        run(BOX, "start", "-q", "--bind", self.folder, "--max-life", str(CASE_SECONDS), self.name)
        # What a container's image has, so that packages start nothing; and a tfqd of the host's.
        self.sh("rm -f /usr/sbin/policy-rc.d; dpkg --purge tfqd >/dev/null 2>&1; useradd -m -s /bin/sh alice")
        return self

    def __exit__(self, kind, error, trace):
        if error and not isinstance(error, Skip):
            print(run(BOX, "journal", self.name, "-o", "short", "-n", "80", code=None))
        run(BOX, "stop", "--now", self.name, code=None)

    def sh(self, script, code=0, user="root"):
        return run(BOX, "exec", "-q", "--clean-env", "--user", user, "--workdir", "/", "-E",
                   "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.name, "--", "/bin/sh", "-c",
                   script, code=code).strip()

    def pid(self):
        return self.sh("systemctl show -P MainPID tfqd.service")


def begin_job(machine, folder):
    """A terraform that runs, asked for by alice. Return its number, and its directory."""
    work, tools = os.path.join(folder, "work"), os.path.join(folder, "tools")
    for path in (work, tools):
        os.makedirs(path)
        os.chmod(path, 0o777)
    with open(os.path.join(work, "main.tf"), "w", encoding="utf-8") as file:
        file.write('resource "terraform_data" "x" {}\n')
    with open(os.path.join(tools, "terraform"), "w", encoding="utf-8") as file:
        file.write(TERRAFORM)
    os.chmod(os.path.join(tools, "terraform"), 0o755)
    number = machine.sh(f"cd {work} && PATH={tools}:$PATH tfq -d apply -auto-approve", user="alice")
    wait_for(lambda: os.path.exists(os.path.join(work, "pid")), "terraform")
    return number, work


@case("it builds, lintian finds no error, and every file is where it belongs", seconds=CASE_SECONDS)
def contents():
    deb = package()
    listed = {line.split()[-1].lstrip(".") for line in run("dpkg-deb", "--contents", deb).splitlines()}
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
        version = re.search(r"^VERSION := (.*)$", file.read(), re.M)[1]
    same(run("dpkg-deb", "--field", deb, "Version").strip(), version, "version of debian/changelog")
    wanted = ["/usr/sbin/tfqd", "/usr/bin/tfq", "/usr/libexec/tfqd/tfq-runner", "/usr/libexec/tfqd/tfq-credentials",
              "/usr/libexec/tfqd/tfq-doctor", "/etc/tfqd/tfqd.conf", "/usr/lib/sysusers.d/tfqd.conf",
              "/usr/share/bash-completion/completions/tfq", "/usr/share/zsh/vendor-completions/_tfq",
              "/usr/share/fish/vendor_completions.d/tfq.fish", "/usr/share/doc/tfqd/copyright"]
    wanted += [f"/usr/share/man/man{os.path.basename(page)[-1]}/{os.path.basename(page)}.gz"
               for page in glob.glob(os.path.join(ROOT, "man", "*.[1-8]"))]
    same([path for path in wanted if path not in listed], [], "what is missing")
    for unit in ("tfqd.service", "tfqd.socket"):
        check(any(path.endswith("lib/systemd/system/" + unit) for path in listed), f"{unit} is missing")
    same([path for path in listed if re.search(r"/tests?/|\.git|/build/|\.pyc$|/usr/local", path)], [], "what is too much")
    same(run("dpkg-deb", "--info", deb, "conffiles").split(), ["/etc/tfqd/tfqd.conf"], "configuration files")
    if shutil.which("lintian"):
        found = run("lintian", "--tag-display-limit", "0", deb, code=None)
        same(re.findall(r"^[EW]: .*$", found, re.M), [], "what lintian says")


@case("installed it serves at once; an upgrade ends no job, and leaves the socket as it is; a removal keeps what is "
      "queued, a purge nothing", seconds=CASE_SECONDS)
def life():
    deb = package()
    with tempfile.TemporaryDirectory(prefix="tfq-deb.", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        upgrade = newer(deb, folder)
        shutil.copy(deb, os.path.join(folder, "first.deb"))
        with Machine(folder) as machine:
            machine.sh(f"dpkg --install {folder}/first.deb")
            same(machine.sh("systemctl is-active tfqd.socket tfqd.service"), "active\nactive", "socket and service")
            same(machine.sh("systemctl is-enabled tfqd.socket tfqd.service"), "enabled\nenabled", "socket and service")
            same(machine.sh("stat -c '%U %G %a' /run/tfqd/tfqd.sock"), "root tfq 660", "the socket")
            machine.sh("tfq queue")
            contains(machine.sh("tfq queue", code=77, user="alice"), "tfqd")
            machine.sh("usermod -aG tfq alice")
            number, work = begin_job(machine, folder)

            before, inode = machine.pid(), machine.sh("stat -c %i /run/tfqd/tfqd.sock")
            machine.sh(f"dpkg --install {upgrade}")
            check(machine.pid() not in (before, "0"), "tfqd was not restarted")
            same(machine.sh("stat -c %i /run/tfqd/tfqd.sock"), inode, "the socket")
            same(machine.sh("dpkg-query -W -f '${Version}' tfqd")[-5:], "+next", "version")
            wait_for(lambda: " running " in machine.sh("tfq queue", user="alice"), "the job after the upgrade")
            machine.sh(f"kill -0 $(cat {work}/pid)")
            with open(os.path.join(work, "go"), "w", encoding="utf-8"):
                pass
            machine.sh(f"tfq wait {number}", user="alice")
            contains(machine.sh(f"tfq logs {number}", user="alice"), "terraform apply", "terraform ends")

            machine.sh("dpkg --remove tfqd")
            same(machine.sh("systemctl is-active tfqd.socket tfqd.service", code=None).split(), ["inactive"] * 2,
                 "socket and service")
            machine.sh("test -e /var/lib/tfqd/tfqd.db && test -e /etc/tfqd/tfqd.conf")
            machine.sh(f"dpkg --install {upgrade}")
            contains(machine.sh("tfq history", user="alice"), "done")
            machine.sh("dpkg --purge tfqd")
            machine.sh("! ls -d /var/lib/tfqd /run/tfqd /etc/tfqd 2>/dev/null")
            same(machine.sh("find /etc/systemd /usr/lib/systemd /lib/systemd -name 'tfq*'"), "", "units that are left")


# --- all of it --------------------------------------------------------------------------

class Bastion(Box):
    """A box in which tfqd came with its package."""

    def install(self):
        shutil.copy(package(), os.path.join(self.path, "tfqd.deb"))
        super().install()
        parts = self.set_up.split(" && ")
        parts[:3] = ["rm -f /usr/sbin/policy-rc.d", "mkdir -p /etc/tfqd /etc/systemd/system/tfqd.service.d",
                     f"cp '{self.path}/installed/etc/tfqd/tfqd.conf' /etc/tfqd/tfqd.conf",
                     "printf '[Service]\\nWatchdogSec=3s\\n' >/etc/systemd/system/tfqd.service.d/watchdog.conf",
                     f"DEBIAN_FRONTEND=noninteractive dpkg --force-confold --install '{self.path}/tfqd.deb' >/dev/null"]
        self.set_up = " && ".join(part for part in parts if "systemctl enable" not in part)


def queue_all(box, round_of):
    """Each user on each of three states, whose locks are in S3, in DynamoDB, and in both; the first of each runs, and
    waits. Return [(directory, name)] of each state."""
    lines = []
    for mode in ("s3", "dynamodb", "both"):
        line = []
        for i, user in enumerate(USERS):
            name = f"{round_of}-{mode}-{user}"
            work = box.directory_of(user, name, key=f"{round_of}/{mode}.tfstate", mode=mode,
                                    command=HOLD if i == 0 else "true")
            box.queue(user, work, name)
            line.append((work, name))
        line[0][0].wait_started(line[0][1])
        lines.append(line)
    return lines


def check_line(box, line):
    """All of it has run, one after the other, in order; nothing of a lock is left, and the state is whole."""
    spans = []
    for work, name in line:
        same(box.wait_job(name, "done", "failed", "lost", "cancelled")["status"], "done", name)
        spans += [(span.start, span.end) for span in work.spans()]
    same((len(spans), sorted(spans)), (len(line), spans), "who ran when")
    check(all(one[1] <= other[0] for one, other in zip(spans, spans[1:])), f"two at once: {spans}")
    box.wait_unlocked(line[0][0].key)
    check(box.item(line[0][0].key) is None, "a lock is left in the table")
    check(box.state(line[0][0].key)["serial"] > 0, "the state is not whole")


@case("on a bastion: three users, locks in S3, DynamoDB and both, a restart, a hang, a power cut: every promise holds",
      seconds=CASE_SECONDS)
def bastion():
    with Bastion("[lock]\nstop_grace = 20s\n") as box:
        lines = queue_all(box, "first")
        box.sh("systemctl restart tfqd")
        stopped = box.property("tfqd", "MainPID")
        box.sh(f"kill -STOP {stopped}")
        wait_for(lambda: box.property("tfqd", "MainPID") not in (stopped, "0"), "the watchdog")
        for line in lines:
            same(box.wait_job(line[0][1], "running")["status"], "running", "what ran before")
            line[0][0].write("end", "")
        for line in lines:
            check_line(box, line)

        lines = queue_all(box, "second")
        box.reboot("--crash")
        for line in lines:
            statuses = [box.job_of(name)["status"] for _, name in line]
            same(statuses, ["lost", "failed", "failed"], "what ran, and what waited, at the power cut")
            contains(box.job_of(line[1][1])["message"], "queue it again")
            work, name = line[0]
            result = box.typed("alice", work, "--wait-timeout", "1s", *work.apply_argv("too early"))
            same(result.code, 124, f"an apply before somebody has looked ({result.err})")
            box.sh(f"tfq resume '{box.job_of(name)['state']}'")
            work.write("end", "")
            result = ran(box.typed("alice", work, *work.apply_argv("again")))
            contains(result.out, "Apply complete!")
            box.wait_unlocked(work.key)
            check(box.item(work.key) is None, "a lock is left in the table")


main()
